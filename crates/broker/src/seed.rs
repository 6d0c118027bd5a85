//! Identities from a seed: no chance below the binary, so a simulation repeats.
//!
//! Source: SplitMix64 (Steele, Lea, Flood 2014).

/// A stream of well-mixed numbers.
#[derive(Clone, Debug)]
pub(crate) struct Seed(u64);

impl Seed {
    /// The stream of this run: `incarnation` is a new one at each start, so that no run repeats another's.
    pub(crate) fn new(seed: u64, incarnation: u64) -> Self {
        let mut mixed = Self(seed);
        let first = mixed.next();
        Self(first ^ incarnation.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// An identity in the shape of a random UUID (RFC 9562, version 4), which some clients insist on.
    pub(crate) fn next_id(&mut self) -> u128 {
        let bits = (u128::from(self.next()) << 64) | u128::from(self.next());
        uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid().as_u128()
    }
}

#[cfg(test)]
mod tests {
    use super::Seed;

    #[test]
    fn runs_of_one_seed_differ_and_repeat() {
        let first = Seed::new(1, 1).next_id();
        assert_eq!(first, Seed::new(1, 1).next_id());
        assert_ne!(first, Seed::new(1, 2).next_id());
        assert_ne!(first, Seed::new(2, 1).next_id());
    }
}
