//! Variable-length integers, zigzag, as the records of a batch carry them.
//!
//! Source: KIP-98; the Protocol Buffers encoding guide.

use crate::BatchError;
use crate::limits::VARINT_BYTES_MAX;

/// Reads one integer at `*at` and moves on.
pub(crate) fn read(bytes: &[u8], at: &mut usize) -> Result<i64, BatchError> {
    let mut value = 0_u64;
    for index in 0..VARINT_BYTES_MAX {
        let byte = *bytes.get(*at).ok_or(BatchError::Malformed("a record ends inside an integer"))?;
        *at += 1;
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(((value >> 1) as i64) ^ -((value & 1) as i64));
        }
    }
    Err(BatchError::Malformed("an integer of more than ten bytes"))
}

/// Reads a length: `None` is null, which is written as -1. The length is checked against the bytes that remain.
pub(crate) fn read_length(bytes: &[u8], at: &mut usize) -> Result<Option<usize>, BatchError> {
    let length = read(bytes, at)?;
    if length == -1 {
        return Ok(None);
    }
    let length = usize::try_from(length).map_err(|_| BatchError::Malformed("a negative length"))?;
    if length > bytes.len() - *at {
        return Err(BatchError::Malformed("a length beyond the end of its record"));
    }
    Ok(Some(length))
}

/// Appends one integer.
pub(crate) fn write(into: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        into.push((rest as u8 & 0x7f) | 0x80);
        rest >>= 7;
    }
    into.push(rest as u8);
}

/// How many bytes [`write`] appends for it.
pub(crate) fn bytes_of(value: i64) -> usize {
    let zigzag = ((value << 1) ^ (value >> 63)) as u64;
    (64 - (zigzag | 1).leading_zeros() as usize).div_ceil(7)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_round_trips_in_the_bytes_foretold() {
        for shift in 0..64 {
            for value in
                [1_i64 << shift, -(1_i64 << (shift % 63)), (1_i64 << (shift % 63)) - 1, i64::MIN, i64::MAX]
            {
                let mut bytes = Vec::new();
                write(&mut bytes, value);
                assert_eq!(bytes.len(), bytes_of(value));
                assert_eq!(read(&bytes, &mut 0), Ok(value));
            }
        }
    }

    #[test]
    fn an_endless_integer_is_refused() {
        assert!(read(&[0xff; 11], &mut 0).is_err());
        assert!(read(&[0x80], &mut 0).is_err());
    }
}
