//! What the records of a benchmark hold: bytes that follow from a stream and a number, cheap to make and to check.

/// Shortest content that tells one number from another.
pub const BYTES_MIN: usize = 8;

/// Fills `into` with the content of record `number` of `stream`: its number, then words of a counter that is mixed once.
pub fn fill(into: &mut [u8], stream: u64, number: u64) {
    let (head, rest) = into.split_at_mut(BYTES_MIN.min(into.len()));
    head.copy_from_slice(&number.to_be_bytes()[..head.len()]);
    let mut word = mix(stream.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number);
    for chunk in rest.chunks_mut(8) {
        chunk.copy_from_slice(&word.to_le_bytes()[..chunk.len()]);
        word = word.wrapping_add(0x9e37_79b9_7f4a_7c15).rotate_left(23);
    }
}

/// True if `found` is what [`fill`] made; `scratch` has the expected length.
pub fn matches(found: &[u8], scratch: &mut [u8], stream: u64, number: u64) -> bool {
    fill(scratch, stream, number);
    found == scratch
}

/// SplitMix64's finaliser. Source: Steele, Lea, Flood 2014.
fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::{fill, matches};

    #[test]
    fn content_tells_numbers_streams_and_damage_apart() {
        let (mut one, mut scratch) = ([0; 100], [0; 100]);
        fill(&mut one, 3, 7);
        assert!(matches(&one, &mut scratch, 3, 7));
        assert!(!matches(&one, &mut scratch, 3, 8));
        assert!(!matches(&one, &mut scratch, 4, 7));
        one[99] ^= 1;
        assert!(!matches(&one, &mut scratch, 3, 7));
    }
}
