//! The watermark: what was durable when the log was last idle or closed, in two slots written in turn.
//!
//! ```text
//! slot at 0 and at 4096:
//! 0  magic "DUOLOGW1" u64     16 counter u64            32 CRC-32C u32, seeded with (0, position of the slot)
//! 8  format version u32, 0    24 durable upto u64
//! ```
//! Every frame says what was durable when it was written, which settles all but the last group of a log: this file
//! settles that one. It never says less than the truth for long and never more, so it only ever forbids a cut.

use super::fields::{Fields, PutFields};
use super::{BLOCK_BYTES, VERSION, checksum};

const MAGIC: u64 = u64::from_le_bytes(*b"DUOLOGW1");
const CRC_AT: usize = 32;
const SLOT_BYTES: usize = 36;
/// Length of the file.
pub(crate) const WATERMARK_BYTES: usize = 2 * BLOCK_BYTES;

/// One writing of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Watermark {
    /// Rises with each writing; odd and even go to different slots.
    pub(crate) counter: u64,
    /// Sequence of the last frame that is known to be durable.
    pub(crate) durable_upto: u64,
}

impl Watermark {
    /// Where it goes.
    pub(crate) fn position(&self) -> u64 {
        (self.counter % 2) * BLOCK_BYTES as u64
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(SLOT_BYTES);
        out.put_u64(MAGIC);
        out.put_u32(VERSION);
        out.put_u32(0);
        out.put_u64(self.counter);
        out.put_u64(self.durable_upto);
        out.put_u32(checksum(0, self.position(), &[&out]));
        out
    }

    fn decode_slot(slot: &[u8], position: u64) -> Option<Self> {
        let mut fields = Fields::new(slot);
        if fields.u64()? != MAGIC || fields.u32()? > VERSION {
            return None;
        }
        fields.u32()?;
        let mark = Self { counter: fields.u64()?, durable_upto: fields.u64()? };
        (fields.u32()? == checksum(0, position, &[slot.get(..CRC_AT)?])).then_some(mark)
    }

    /// The newer of the two slots in the file's bytes; a damaged slot counts for nothing.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let slots = bytes.chunks(BLOCK_BYTES).take(2).zip([0, BLOCK_BYTES as u64]);
        slots.filter_map(|(slot, position)| Self::decode_slot(slot, position)).max_by_key(|mark| mark.counter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newer_sound_slot_counts() {
        let mut file = vec![0; WATERMARK_BYTES];
        assert_eq!(Watermark::decode(&file), None);
        for counter in 1..4 {
            let mark = Watermark { counter, durable_upto: counter * 10 };
            let at = mark.position() as usize;
            file[at..at + SLOT_BYTES].copy_from_slice(&mark.encode());
            assert_eq!(Watermark::decode(&file), Some(mark));
        }
        file[BLOCK_BYTES + 20] ^= 1;
        assert_eq!(Watermark::decode(&file), Some(Watermark { counter: 2, durable_upto: 20 }));
    }
}
