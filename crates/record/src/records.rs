//! The records of one batch, one after the other.
//!
//! ```text
//! length varint | attributes i8 | timestamp delta varint | offset delta varint
//! key length varint, key | value length varint, value | header count varint, (key length, key, value length, value)*
//! ```
//! Every length is checked against the bytes that remain before it is used; -1 is null.
//! Invariant: after an error the iterator ends.
//! Source: KIP-98; KIP-82 (headers).

use bytes::Bytes;

use crate::limits::{HEADERS_PER_RECORD, RECORD_BYTES_MIN};
use crate::{
    BatchError, BatchHeader, Codec, Header, Offset, Record, Timestamp, TimestampType, compress, varint,
};

/// Iterates over the records of a batch; after an error it ends.
#[derive(Debug)]
pub struct Records {
    bytes: Bytes,
    at: usize,
    left: u32,
    base: Offset,
    last_offset_delta: u32,
    base_timestamp: Timestamp,
    append_time: Option<Timestamp>,
}

impl Records {
    /// Decompresses the records section if need be.
    pub(crate) fn open(
        header: &BatchHeader,
        section: Bytes,
        base: Offset,
        bytes_max: usize,
    ) -> Result<Self, BatchError> {
        let bytes = match header.codec {
            Codec::None if section.len() > bytes_max => return Err(BatchError::TooLarge { bytes_max }),
            Codec::None => section,
            codec => compress::decompress(codec, &section, bytes_max)?,
        };
        if (header.records as usize).saturating_mul(RECORD_BYTES_MIN) > bytes.len() {
            return Err(BatchError::Malformed("fewer bytes than the stated records need"));
        }
        Ok(Self {
            bytes,
            at: 0,
            left: header.records,
            base,
            last_offset_delta: header.last_offset_delta,
            base_timestamp: header.base_timestamp,
            append_time: (header.timestamp_type == TimestampType::Append).then_some(header.max_timestamp),
        })
    }

    /// How many are still to come, if nothing is malformed.
    #[must_use]
    pub fn left(&self) -> u32 {
        self.left
    }

    fn decode(&mut self) -> Result<Record, BatchError> {
        let length = varint::read_length(&self.bytes, &mut self.at)?.ok_or(NULL_LENGTH)?;
        let end = self.at + length;
        // Attributes: one byte, no bit of which has a meaning yet.
        let mut at = self.at + 1;
        let record = &self.bytes[..end];
        if at > end {
            return Err(BatchError::Malformed("an empty record"));
        }
        let timestamp_delta = varint::read(record, &mut at)?;
        let offset_delta = u32::try_from(varint::read(record, &mut at)?)
            .ok()
            .filter(|delta| *delta <= self.last_offset_delta)
            .ok_or(BatchError::Malformed("an offset delta outside the batch"))?;
        let key = read_bytes(&self.bytes, end, &mut at)?;
        let value = read_bytes(&self.bytes, end, &mut at)?;
        let headers = read_headers(&self.bytes, end, &mut at)?;
        if at != end {
            return Err(BatchError::Malformed("bytes after the last header of a record"));
        }
        self.at = end;
        let timestamp =
            self.append_time.unwrap_or(Timestamp(self.base_timestamp.0.wrapping_add(timestamp_delta)));
        Ok(Record { offset: self.base.plus(u64::from(offset_delta)), timestamp, key, value, headers })
    }
}

const NULL_LENGTH: BatchError = BatchError::Malformed("a length that may not be null");

/// A nullable byte string that must end by `end`.
fn read_bytes(bytes: &Bytes, end: usize, at: &mut usize) -> Result<Option<Bytes>, BatchError> {
    let Some(length) = varint::read_length(&bytes[..end], at)? else { return Ok(None) };
    let from = *at;
    *at += length;
    Ok(Some(bytes.slice(from..*at)))
}

fn read_headers(bytes: &Bytes, end: usize, at: &mut usize) -> Result<Vec<Header>, BatchError> {
    let count = usize::try_from(varint::read(&bytes[..end], at)?)
        .map_err(|_| BatchError::Malformed("a negative number of headers"))?;
    // Each header takes at least the two bytes of its lengths.
    if count > HEADERS_PER_RECORD || count > (end - *at) / 2 {
        return Err(BatchError::Malformed("more headers than the record holds"));
    }
    let mut headers = Vec::with_capacity(count);
    for _ in 0..count {
        let key = read_bytes(bytes, end, at)?.ok_or(NULL_LENGTH)?;
        headers.push(Header { key, value: read_bytes(bytes, end, at)? });
    }
    Ok(headers)
}

impl Iterator for Records {
    type Item = Result<Record, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        let mut decoded = self.decode();
        if self.left == 0 && decoded.is_ok() && self.at != self.bytes.len() {
            decoded = Err(BatchError::Malformed("bytes after the last record"));
        }
        if decoded.is_err() {
            self.left = 0;
        }
        Some(decoded)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.left as usize))
    }
}
