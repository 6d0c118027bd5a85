//! Member ids: a readable prefix and 122 bits from a seeded sequence.
//!
//! Invariant: one seed never gives the same id twice. The seed is a parameter: the binary draws it, tests fix it.

use std::sync::Arc;

use uuid::Builder;

/// Gives out member ids.
#[derive(Clone, Debug)]
pub struct MemberIds {
    state: u64,
}

impl MemberIds {
    /// A sequence that depends on `seed` alone.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self { state: seed }
    }

    /// `prefix-uuid`, where the prefix is the instance id or the client id of the member.
    pub fn next(&mut self, prefix: &str) -> Arc<str> {
        let bits = (u128::from(self.word()) << 64) | u128::from(self.word());
        let uuid = Builder::from_random_bytes(bits.to_be_bytes()).into_uuid();
        Arc::from(format!("{prefix}-{uuid}"))
    }

    /// One step of splitmix64. Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators" (2014).
    fn word(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_carry_their_prefix_and_never_repeat() {
        let mut ids = MemberIds::seeded(7);
        let all: std::collections::BTreeSet<_> = (0..1000).map(|_| ids.next("app")).collect();
        assert_eq!(all.len(), 1000);
        assert!(all.iter().all(|id| id.starts_with("app-") && id.len() == 4 + 36));
    }
}
