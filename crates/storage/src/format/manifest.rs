//! The manifest: which files make up the log. Replaced as a whole, by a rename.
//!
//! ```text
//! 0   magic "DUOLOGM1" u64        24  incarnation u32       36 salt u64
//! 8   format version u32, 0       28  next file id u64      44 files u32, dropped u32
//! 16  generation u64                                        52 files, 40 bytes each; dropped ids, u64 each;
//!                                                              CRC-32C u32 of all before, seeded with (0, 0)
//! file: id u64, state u32 (0 newest, 1 sealed), 0 u32, first sequence u64, last sequence u64, end of frames u64
//! ```
//! *Dropped* are files that left the list and may still lie in the directory: those, and only those, may be deleted although
//! they hold frames. The last two fields of a file are zero while it is the newest.

use super::fields::{Fields, PutFields};
use super::{FormatError, VERSION, checksum};
use crate::limits::FILES;

const MAGIC: u64 = u64::from_le_bytes(*b"DUOLOGM1");
const HEAD_BYTES: usize = 52;
const ROW_BYTES: usize = 40;

/// One file of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ManifestFile {
    pub(crate) file: u64,
    pub(crate) sealed: bool,
    pub(crate) first_sequence: u64,
    /// Of a sealed file.
    pub(crate) last_sequence: u64,
    /// Of a sealed file: where its last frame ends.
    pub(crate) frames_end: u64,
}

/// The list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Manifest {
    /// Rises with each swap.
    pub(crate) generation: u64,
    /// How often the log has been opened.
    pub(crate) incarnation: u32,
    /// Above every id ever given out.
    pub(crate) next_file: u64,
    /// Seeds all checksums in the files, mixed with their ids; given when the directory was made, unknown to clients.
    pub(crate) salt: u64,
    /// Rising by id.
    pub(crate) files: Vec<ManifestFile>,
    /// Files that left the list and may still be there.
    pub(crate) dropped: Vec<u64>,
}

impl Manifest {
    /// Length of `encode`.
    pub(crate) fn encoded_bytes(&self) -> usize {
        HEAD_BYTES + self.files.len() * ROW_BYTES + self.dropped.len() * 8 + 4
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.encoded_bytes());
        out.put_u64(MAGIC);
        out.put_u32(VERSION);
        out.put_u32(0);
        out.put_u64(self.generation);
        out.put_u32(self.incarnation);
        out.put_u64(self.next_file);
        out.put_u64(self.salt);
        out.put_u32(self.files.len() as u32);
        out.put_u32(self.dropped.len() as u32);
        for file in &self.files {
            out.put_u64(file.file);
            out.put_u32(u32::from(file.sealed));
            out.put_u32(0);
            out.put_u64(file.first_sequence);
            out.put_u64(file.last_sequence);
            out.put_u64(file.frames_end);
        }
        for dropped in &self.dropped {
            out.put_u64(*dropped);
        }
        out.put_u32(checksum(0, 0, &[&out]));
        out
    }

    /// # Errors
    /// See [`FormatError`].
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut fields = Fields::new(bytes);
        if fields.u64() != Some(MAGIC) {
            return Err(FormatError::Absent);
        }
        let version = fields.u32().ok_or(FormatError::Malformed("short"))?;
        if version > VERSION {
            return Err(FormatError::Newer(version));
        }
        let Some((covered, crc)) = bytes.split_last_chunk::<4>() else {
            return Err(FormatError::Malformed("short"));
        };
        if u32::from_le_bytes(*crc) != checksum(0, 0, &[covered]) {
            return Err(FormatError::BadChecksum);
        }
        Self::decode_rest(&mut fields).ok_or(FormatError::Malformed("manifest"))
    }

    fn decode_rest(fields: &mut Fields<'_>) -> Option<Self> {
        fields.u32()?;
        let (generation, incarnation, next_file) = (fields.u64()?, fields.u32()?, fields.u64()?);
        let salt = fields.u64()?;
        let (files, dropped) = (fields.u32()? as usize, fields.u32()? as usize);
        if files > FILES || dropped > FILES || files * ROW_BYTES + dropped * 8 + 4 != fields.left() {
            return None;
        }
        let files = (0..files).map(|_| Self::decode_file(fields)).collect::<Option<Vec<_>>>()?;
        let dropped = (0..dropped).map(|_| fields.u64()).collect::<Option<Vec<_>>>()?;
        let rising = files.windows(2).all(|pair| pair[0].file < pair[1].file);
        let known = files.iter().map(|it| it.file).chain(dropped.iter().copied()).all(|id| id < next_file);
        (rising && known).then_some(Self { generation, incarnation, next_file, salt, files, dropped })
    }

    fn decode_file(fields: &mut Fields<'_>) -> Option<ManifestFile> {
        let file = fields.u64()?;
        let state = fields.u32()?;
        fields.u32()?;
        Some(ManifestFile {
            file,
            sealed: match state {
                0 => false,
                1 => true,
                _ => return None,
            },
            first_sequence: fields.u64()?,
            last_sequence: fields.u64()?,
            frames_end: fields.u64()?,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn manifest() -> Manifest {
        let file =
            |file, sealed| ManifestFile { file, sealed, first_sequence: 1, last_sequence: 2, frames_end: 3 };
        Manifest {
            generation: 5,
            incarnation: 2,
            next_file: 10,
            salt: 77,
            files: vec![file(3, true), file(4, false)],
            dropped: vec![1, 2],
        }
    }

    #[test]
    fn a_manifest_is_read_back_and_no_prefix_or_flip_passes() {
        let bytes = manifest().encode();
        assert_eq!(bytes.len(), manifest().encoded_bytes());
        assert_eq!(Manifest::decode(&bytes).unwrap(), manifest());
        for length in 0..bytes.len() {
            assert!(Manifest::decode(&bytes[..length]).is_err(), "{length} bytes");
        }
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert!(Manifest::decode(&damaged).is_err(), "flip at {at}");
        }
    }
}
