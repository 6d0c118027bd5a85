//! The codecs of a batch's records section, each with a cap on what it may grow to.
//!
//! Nothing is allocated by a length that the input states: output grows as it is produced, up to the cap.
//! Source: KIP-98 attributes bits 0-2; RFC 1952; Snappy format description; LZ4 frame format; RFC 8878; KIP-110.

use std::io::Read;

use bytes::Bytes;

use crate::BatchError;

/// How a batch's records section is compressed.
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

impl Codec {
    /// The value of attribute bits 0-2.
    #[must_use]
    pub fn bits(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    /// The codec of these attributes, or `None` if the bits name no codec.
    #[must_use]
    pub fn from_bits(attributes: i16) -> Option<Self> {
        match attributes & 7 {
            0 => Some(Self::None),
            1 => Some(Self::Gzip),
            2 => Some(Self::Snappy),
            3 => Some(Self::Lz4),
            4 => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// Xerial's framing: this, a version, the oldest compatible version, then blocks behind their lengths.
const XERIAL_MAGIC: &[u8] = b"\x82SNAPPY\0";
const XERIAL_HEADER_BYTES: usize = 16;
/// Plain bytes of one block that we write. Source: the default of snappy-java.
const XERIAL_BLOCK_BYTES: usize = 32 * 1024;
/// No Snappy element yields more than 64 bytes from 2, so a stated length above this ratio is a lie.
const SNAPPY_RATIO: usize = 64;
/// Largest zstd window, as a power of two: 8 MiB, what every decoder must support. Source: RFC 8878, 3.1.1.1.2.
const ZSTD_WINDOW_LOG: u32 = 23;

/// Compresses with the codec's usual level.
#[must_use]
pub fn compress(codec: Codec, plain: &[u8]) -> Bytes {
    match codec {
        Codec::None => Bytes::copy_from_slice(plain),
        Codec::Gzip => {
            let mut packed = Vec::with_capacity(plain.len() / 2 + 32);
            let level = flate2::Compression::default();
            flate2::bufread::GzEncoder::new(plain, level)
                .read_to_end(&mut packed)
                .expect("reading from memory");
            packed.into()
        }
        Codec::Snappy => compress_xerial(plain).into(),
        Codec::Lz4 => {
            let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::with_capacity(plain.len() / 2 + 32));
            std::io::Write::write_all(&mut encoder, plain).expect("writing into memory");
            encoder.finish().expect("writing into memory").into()
        }
        Codec::Zstd => {
            zstd::bulk::compress(plain, zstd::DEFAULT_COMPRESSION_LEVEL).expect("memory for zstd").into()
        }
    }
}

fn compress_xerial(plain: &[u8]) -> Vec<u8> {
    let mut packed = Vec::with_capacity(plain.len() / 2 + 64);
    packed.extend_from_slice(XERIAL_MAGIC);
    packed.extend_from_slice(&1_u32.to_be_bytes());
    packed.extend_from_slice(&1_u32.to_be_bytes());
    let mut encoder = snap::raw::Encoder::new();
    for block in plain.chunks(XERIAL_BLOCK_BYTES) {
        let block = encoder.compress_vec(block).expect("a block of 32 KiB is within the format's limit");
        packed.extend_from_slice(&(block.len() as u32).to_be_bytes());
        packed.extend_from_slice(&block);
    }
    packed
}

/// Decompresses into at most `bytes_max` bytes.
///
/// # Errors
/// `TooLarge` past the cap; `Malformed` if the input is not of its codec.
pub fn decompress(codec: Codec, packed: &[u8], bytes_max: usize) -> Result<Bytes, BatchError> {
    match codec {
        Codec::None if packed.len() > bytes_max => Err(BatchError::TooLarge { bytes_max }),
        Codec::None => Ok(Bytes::copy_from_slice(packed)),
        Codec::Gzip => read_capped(flate2::bufread::MultiGzDecoder::new(packed), packed, bytes_max, "gzip"),
        Codec::Snappy => decompress_snappy(packed, bytes_max).map(Bytes::from),
        Codec::Lz4 => read_capped(lz4_flex::frame::FrameDecoder::new(packed), packed, bytes_max, "lz4"),
        Codec::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(packed)
                .map_err(|_| BatchError::Malformed("no memory for a zstd decoder"))?;
            decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(|_| BatchError::Malformed("zstd window"))?;
            read_capped(decoder, packed, bytes_max, "zstd")
        }
    }
}

fn read_capped(
    reader: impl Read,
    packed: &[u8],
    bytes_max: usize,
    codec: &'static str,
) -> Result<Bytes, BatchError> {
    let broken = match codec {
        "gzip" => "not a gzip stream",
        "lz4" => "not an lz4 frame",
        _ => "not a zstd frame",
    };
    // One byte more tells an end at the cap from what goes on behind it.
    let room_max = bytes_max.saturating_add(1);
    let mut plain = Vec::with_capacity(packed.len().saturating_mul(2).clamp(64, room_max.max(64)));
    let mut capped = reader.take(room_max as u64);
    loop {
        // Doubled by hand: left alone, the buffer could grow to twice the cap.
        let room = plain.capacity().saturating_mul(2).min(room_max);
        let step = (plain.capacity() - plain.len()) as u64;
        let read = capped.by_ref().take(step).read_to_end(&mut plain);
        if read.map_err(|_| BatchError::Malformed(broken))? < step as usize || step == 0 {
            break;
        }
        plain.reserve_exact(room.saturating_sub(plain.len()));
    }
    if plain.len() > bytes_max { Err(BatchError::TooLarge { bytes_max }) } else { Ok(plain.into()) }
}

fn decompress_snappy(packed: &[u8], bytes_max: usize) -> Result<Vec<u8>, BatchError> {
    let mut plain = Vec::new();
    if !packed.starts_with(XERIAL_MAGIC) {
        append_snappy_block(packed, &mut plain, bytes_max)?;
        return Ok(plain);
    }
    let mut rest =
        packed.get(XERIAL_HEADER_BYTES..).ok_or(BatchError::Malformed("a snappy header is cut off"))?;
    while !rest.is_empty() {
        let (length, after) =
            rest.split_first_chunk::<4>().ok_or(BatchError::Malformed("a snappy block is cut off"))?;
        let length = u32::from_be_bytes(*length) as usize;
        let block = after.get(..length).ok_or(BatchError::Malformed("a snappy block is cut off"))?;
        append_snappy_block(block, &mut plain, bytes_max)?;
        rest = &after[length..];
    }
    Ok(plain)
}

fn append_snappy_block(block: &[u8], plain: &mut Vec<u8>, bytes_max: usize) -> Result<(), BatchError> {
    const BROKEN: BatchError = BatchError::Malformed("not a snappy block");
    let stated = snap::raw::decompress_len(block).map_err(|_| BROKEN)?;
    if stated > block.len().saturating_mul(SNAPPY_RATIO) {
        return Err(BROKEN);
    }
    let from = plain.len();
    if stated > bytes_max.saturating_sub(from) {
        return Err(BatchError::TooLarge { bytes_max });
    }
    plain.resize(from + stated, 0);
    let written = snap::raw::Decoder::new().decompress(block, &mut plain[from..]).map_err(|_| BROKEN)?;
    plain.truncate(from + written);
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const CODECS: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    #[test]
    fn every_codec_gives_back_what_went_in() {
        let long: Vec<u8> = (0..200_000_u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
        for codec in CODECS {
            for plain in [&b""[..], b"x", &long] {
                let packed = compress(codec, plain);
                assert_eq!(&decompress(codec, &packed, plain.len()).unwrap()[..], plain, "{codec:?}");
            }
        }
    }

    #[test]
    fn a_bomb_is_stopped_at_the_cap() {
        let zeros = vec![0; 50 << 20];
        for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            let bomb = compress(codec, &zeros);
            let bytes_max = 1 << 20;
            assert_eq!(
                decompress(codec, &bomb, bytes_max),
                Err(BatchError::TooLarge { bytes_max }),
                "{codec:?}"
            );
        }
    }

    #[test]
    fn raw_snappy_is_read_too() {
        let packed = snap::raw::Encoder::new().compress_vec(b"raw raw raw raw").unwrap();
        assert_eq!(&decompress(Codec::Snappy, &packed, 100).unwrap()[..], b"raw raw raw raw");
    }

    #[test]
    fn a_snappy_block_that_states_a_huge_length_allocates_nothing() {
        let lie = [0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0];
        assert!(matches!(decompress(Codec::Snappy, &lie, usize::MAX / 2), Err(BatchError::Malformed(_))));
    }

    #[test]
    fn nonsense_is_malformed() {
        for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            assert!(
                matches!(decompress(codec, b"\xf0nonsense", 1000), Err(BatchError::Malformed(_))),
                "{codec:?}"
            );
        }
    }

    #[test]
    fn the_bits_name_the_codec() {
        for codec in CODECS {
            assert_eq!(Codec::from_bits(codec.bits() | 0x28), Some(codec));
        }
        assert_eq!(Codec::from_bits(5), None);
    }
}
