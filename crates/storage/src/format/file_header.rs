//! The first block of a log file: what it is and what it was made from.
//!
//! ```text
//! 0   magic "DUOLOGF1" u64        24  incarnation u32      44 seed u64
//! 8   format version u32          28  first sequence u64   52 inputs u32
//! 12  zero u32                    36  carried upto u64     56 input file ids u64 ...
//! 16  file id u64                 ... zeros ... 4092 CRC-32C u32 of bytes 0..4092, seeded with (file id, 0)
//! ```
//! Version and magic lie in front so that a later release may change all else. *Inputs* are the files that a cleaner
//! rewrote into this one: a file that is not in the manifest may be deleted only if they all still are.

use super::fields::{Fields, PutFields};
use super::{BLOCK_BYTES, FormatError, VERSION, checksum};
use crate::limits::INPUTS_PER_FILE;

const MAGIC: u64 = u64::from_le_bytes(*b"DUOLOGF1");
const CRC_AT: usize = BLOCK_BYTES - 4;

/// What the header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileHeader {
    pub(crate) file: u64,
    /// Opening of the log that made it.
    pub(crate) incarnation: u32,
    /// Sequence of its first frame.
    pub(crate) first_sequence: u64,
    /// Sequence of the last frame that was synced with the header, before the file was listed: the carried bounds.
    pub(crate) carried_upto: u64,
    /// What the checksums of everything behind this block are seeded with.
    pub(crate) seed: u64,
    /// Files that were rewritten into it.
    pub(crate) inputs: Vec<u64>,
}

impl FileHeader {
    /// The whole block.
    pub(crate) fn encode(&self) -> Vec<u8> {
        assert!(self.inputs.len() <= INPUTS_PER_FILE, "{} inputs", self.inputs.len());
        let mut out = Vec::with_capacity(BLOCK_BYTES);
        out.put_u64(MAGIC);
        out.put_u32(VERSION);
        out.put_u32(0);
        out.put_u64(self.file);
        out.put_u32(self.incarnation);
        out.put_u64(self.first_sequence);
        out.put_u64(self.carried_upto);
        out.put_u64(self.seed);
        out.put_u32(self.inputs.len() as u32);
        for input in &self.inputs {
            out.put_u64(*input);
        }
        out.resize(CRC_AT, 0);
        out.put_u32(checksum(self.file, 0, &[&out]));
        out
    }

    /// Reads the block at the front of file `file`.
    ///
    /// # Errors
    /// See [`FormatError`].
    pub(crate) fn decode(block: &[u8], file: u64) -> Result<Self, FormatError> {
        let mut fields = Fields::new(block);
        if fields.u64() != Some(MAGIC) {
            return Err(FormatError::Absent);
        }
        let version = fields.u32().ok_or(FormatError::Malformed("short"))?;
        if version > VERSION {
            return Err(FormatError::Newer(version));
        }
        let stated = block.get(CRC_AT..BLOCK_BYTES).and_then(|crc| Fields::new(crc).u32());
        if stated != Some(checksum(file, 0, &[&block[..CRC_AT.min(block.len())]])) {
            return Err(FormatError::BadChecksum);
        }
        Self::decode_rest(&mut fields)
            .filter(|it| it.file == file)
            .ok_or(FormatError::Malformed("file header"))
    }

    fn decode_rest(fields: &mut Fields<'_>) -> Option<Self> {
        fields.u32()?;
        let (file, incarnation) = (fields.u64()?, fields.u32()?);
        let (first_sequence, carried_upto, seed) = (fields.u64()?, fields.u64()?, fields.u64()?);
        let count = fields.count(8).filter(|&count| count <= INPUTS_PER_FILE)?;
        let inputs = (0..count).map(|_| fields.u64()).collect::<Option<_>>()?;
        Some(Self { file, incarnation, first_sequence, carried_upto, seed, inputs })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn header() -> FileHeader {
        FileHeader {
            file: 7,
            incarnation: 3,
            first_sequence: 11,
            carried_upto: 12,
            seed: 99,
            inputs: vec![4, 5],
        }
    }

    #[test]
    fn a_header_is_read_back_and_only_in_its_own_file() {
        let block = header().encode();
        assert_eq!(block.len(), BLOCK_BYTES);
        assert_eq!(FileHeader::decode(&block, 7).unwrap(), header());
        assert_eq!(FileHeader::decode(&block, 8), Err(FormatError::BadChecksum));
        assert_eq!(FileHeader::decode(&[0; BLOCK_BYTES], 7), Err(FormatError::Absent));
        assert!(FileHeader::decode(&block[..100], 7).is_err());
    }

    #[test]
    fn a_newer_header_is_told_from_a_damaged_one() {
        let mut block = header().encode();
        block[8] = 9;
        assert_eq!(FileHeader::decode(&block, 7), Err(FormatError::Newer(9)));
    }
}
