//! The bytes on disk: pure encoders and decoders, one structure a file.
//!
//! Invariant: whatever is decoded was checksummed over its own place (file and position), so that a stale block of another file
//! never passes, and with a salt that no client knows, so that no record can pass for a frame; every count is checked against the bytes that remain; nothing here does I/O or panics on input.
//! All integers are little-endian. Changing a structure: raise `VERSION`, keep reading the old one, store a fixture.
//! Described for operators in docs/storage-format.md.

pub(crate) mod fields;
pub(crate) mod file_header;
pub(crate) mod footer;
pub(crate) mod frame;
pub(crate) mod index;
pub(crate) mod manifest;
pub(crate) mod names;
pub(crate) mod watermark;

use crc_fast::{CrcAlgorithm, Digest};

/// Version of all structures in a directory. A directory of a newer one is refused.
pub(crate) const VERSION: u32 = 2;

/// Bytes of the file header, of an index page, and what the footer is aligned to: one page of the system.
pub(crate) const BLOCK_BYTES: usize = 4096;

/// Frames begin at multiples of this, so that a search for the next frame need not look at every byte.
pub(crate) const FRAME_ALIGN: u64 = 8;

/// The next multiple of `align`, which is a power of two.
pub(crate) const fn align_up(position: u64, align: u64) -> u64 {
    (position + align - 1) & !(align - 1)
}

/// What the checksums in a file are seeded with: its id and the log's salt, mixed.
///
/// Source: the finalizer of splitmix64 (Steele, Lea, Flood 2014).
pub(crate) fn file_seed(salt: u64, file: u64) -> u64 {
    let mut mixed = salt.wrapping_add(file.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// CRC-32C of `parts`, seeded with where they lie: the seed of the file, and the position in it.
pub(crate) fn checksum(file_seed: u64, position: u64, parts: &[&[u8]]) -> u32 {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    let mut seed = [0; 16];
    seed[..8].copy_from_slice(&file_seed.to_le_bytes());
    seed[8..].copy_from_slice(&position.to_le_bytes());
    digest.update(&seed);
    for part in parts {
        digest.update(part);
    }
    digest.finalize() as u32
}

/// Why bytes are not the structure that they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FormatError {
    /// It does not begin as it should: nothing of ours was written here, or it is gone.
    #[error("not there")]
    Absent,
    /// Written by a later release.
    #[error("format version {0}")]
    Newer(u32),
    /// The checksum does not match.
    #[error("checksum mismatch")]
    BadChecksum,
    /// It ends too early, or a field contradicts another.
    #[error("malformed: {0}")]
    Malformed(&'static str),
}
