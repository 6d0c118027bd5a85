//! The codecs of a batch's records section, each with a cap on what it may grow to.

use bytes::Bytes;

use crate::BatchError;

/// How a batch's records section is compressed. Source: KIP-98 attributes bits 0-2; KIP-110 for zstd.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Codec {
    /// Not.
    #[default]
    None,
    /// RFC 1952.
    Gzip,
    /// Raw or in Xerial's framing; we write Xerial's, as Java clients do.
    Snappy,
    /// LZ4 frame.
    Lz4,
    /// Zstandard.
    Zstd,
}

/// Compresses with the codec's usual level.
#[must_use]
pub fn compress(codec: Codec, plain: &[u8]) -> Bytes {
    let _ = (codec, plain);
    unimplemented!()
}

/// Decompresses into at most `bytes_max` bytes, never allocating by a length that the input states.
///
/// # Errors
/// `TooLarge` past the cap; `Malformed`.
pub fn decompress(codec: Codec, packed: &[u8], bytes_max: usize) -> Result<Bytes, BatchError> {
    let _ = (codec, packed, bytes_max);
    unimplemented!()
}
