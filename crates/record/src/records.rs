//! The records of one batch, one after the other.
//!
//! ```text
//! length varint | attributes i8 | timestamp delta varint | offset delta varint
//! key length varint, key | value length varint, value | header count varint, (key length, key, value length, value)*
//! ```
//! Every length is checked against the bytes that remain before it is used; -1 is null.
//! Invariant: after an error the iterator ends.
//! Source: KIP-98; KIP-82 (headers).

use std::ops::Range;

use bytes::Bytes;

use crate::limits::{HEADERS_PER_RECORD, RECORD_BYTES_MIN};
use crate::{
    BatchError, BatchHeader, Codec, Header, Offset, Record, Timestamp, TimestampType, compress, varint,
};

/// Iterates over the records of a batch; after an error it ends. Cloning clones a handle.
#[derive(Clone, Debug)]
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

    /// Bytes of the records section, decompressed.
    #[must_use]
    pub fn section_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The place of the record that comes next, to come back to with [`Self::seek`].
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark { at: self.at, left: self.left }
    }

    /// Goes to a place that [`Self::mark`] has given for the same batch.
    pub fn seek(&mut self, mark: Mark) {
        (self.at, self.left) = (mark.at, mark.left);
    }

    /// Checks the next record as decoding would, and gives its offset; allocates nothing.
    pub fn skip_record(&mut self) -> Option<Result<Offset, BatchError>> {
        self.step(|records, layout| {
            let mut at = layout.headers_at;
            for _ in 0..layout.headers {
                skip_header(&records.bytes[..layout.end], &mut at)?;
            }
            Ok((records.offset_of(layout), at))
        })
    }

    /// Takes one record: `read` gives what it is and where its headers end.
    fn step<T>(
        &mut self,
        read: impl Fn(&Self, &Layout) -> Result<(T, usize), BatchError>,
    ) -> Option<Result<T, BatchError>> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        let taken = self.layout().and_then(|layout| {
            let (taken, headers_end) = read(self, &layout)?;
            if headers_end != layout.end {
                return Err(BatchError::Malformed("bytes after the last header of a record"));
            }
            self.at = layout.end;
            if self.left == 0 && self.at != self.bytes.len() {
                return Err(BatchError::Malformed("bytes after the last record"));
            }
            Ok(taken)
        });
        if taken.is_err() {
            self.left = 0;
        }
        Some(taken)
    }

    /// Where the parts of the next record lie.
    fn layout(&self) -> Result<Layout, BatchError> {
        let mut at = self.at;
        let length = varint::read_length(&self.bytes, &mut at)?.ok_or(NULL_LENGTH)?;
        let end = at + length;
        // Attributes: one byte, no bit of which has a meaning yet.
        at += 1;
        let record = &self.bytes[..end];
        if at > end {
            return Err(BatchError::Malformed("an empty record"));
        }
        let timestamp_delta = varint::read(record, &mut at)?;
        let offset_delta = u32::try_from(varint::read(record, &mut at)?)
            .ok()
            .filter(|delta| *delta <= self.last_offset_delta)
            .ok_or(BatchError::Malformed("an offset delta outside the batch"))?;
        let key = skip_bytes(record, &mut at)?;
        let value = skip_bytes(record, &mut at)?;
        let headers = usize::try_from(varint::read(record, &mut at)?)
            .map_err(|_| BatchError::Malformed("a negative number of headers"))?;
        // Each header takes at least the two bytes of its lengths.
        if headers > HEADERS_PER_RECORD || headers > (end - at) / 2 {
            return Err(BatchError::Malformed("more headers than the record holds"));
        }
        Ok(Layout { timestamp_delta, offset_delta, key, value, headers, headers_at: at, end })
    }

    fn offset_of(&self, layout: &Layout) -> Offset {
        self.base.plus(u64::from(layout.offset_delta))
    }

    fn record(&self, layout: &Layout) -> Result<(Record, usize), BatchError> {
        let slice = |range: Range<usize>| self.bytes.slice(range);
        let mut at = layout.headers_at;
        let mut headers = Vec::with_capacity(layout.headers);
        for _ in 0..layout.headers {
            let (key, value) = skip_header(&self.bytes[..layout.end], &mut at)?;
            headers.push(Header { key: slice(key), value: value.map(slice) });
        }
        let timestamp =
            self.append_time.unwrap_or(Timestamp(self.base_timestamp.0.wrapping_add(layout.timestamp_delta)));
        let record = Record {
            offset: self.offset_of(layout),
            timestamp,
            key: layout.key.clone().map(slice),
            value: layout.value.clone().map(slice),
            headers,
        };
        Ok((record, at))
    }
}

/// The place of a record within its batch.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    at: usize,
    left: u32,
}

/// Where the parts of one record lie within the section.
struct Layout {
    timestamp_delta: i64,
    offset_delta: u32,
    key: Option<Range<usize>>,
    value: Option<Range<usize>>,
    headers: usize,
    headers_at: usize,
    end: usize,
}

const NULL_LENGTH: BatchError = BatchError::Malformed("a length that may not be null");

/// Where a nullable byte string lies, which must end within `record`.
fn skip_bytes(record: &[u8], at: &mut usize) -> Result<Option<Range<usize>>, BatchError> {
    let Some(length) = varint::read_length(record, at)? else { return Ok(None) };
    let from = *at;
    *at += length;
    Ok(Some(from..*at))
}

/// Where the key and the value of a header lie.
type HeaderLayout = (Range<usize>, Option<Range<usize>>);

fn skip_header(record: &[u8], at: &mut usize) -> Result<HeaderLayout, BatchError> {
    let key = skip_bytes(record, at)?.ok_or(NULL_LENGTH)?;
    Ok((key, skip_bytes(record, at)?))
}

impl Iterator for Records {
    type Item = Result<Record, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step(Self::record)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.left as usize))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use bytes::Bytes;

    use crate::{Batch, BatchBuilder, Codec, Header, Offset, Timestamp};

    #[test]
    fn records_are_skipped_and_come_back_to_without_decoding_the_rest() {
        let mut builder = BatchBuilder::new().codec(Codec::Zstd);
        for n in 0..10_u8 {
            let header = Header { key: Bytes::from_static(b"h"), value: None };
            builder.push(Timestamp(1), Some(&[n]), None, &[header]);
        }
        let batch = builder.build();
        let mut records = Batch::open_body(Offset(5), 0, &batch.body(), 1 << 20).unwrap();
        for n in 0..7 {
            assert_eq!(records.skip_record().unwrap().unwrap(), Offset(5 + n));
        }
        let mark = records.mark();
        assert_eq!(records.next().unwrap().unwrap().key.as_deref(), Some(&[7][..]));
        assert_eq!(records.by_ref().count(), 2);
        assert!(records.skip_record().is_none());
        records.seek(mark);
        let again = records.next().unwrap().unwrap();
        assert_eq!((again.offset, again.headers.len()), (Offset(12), 1));
    }

    #[test]
    fn a_skip_finds_what_decoding_would_find() {
        let mut builder = BatchBuilder::new();
        builder.push(Timestamp(1), None, Some(b"one"), &[]);
        builder.push(Timestamp(1), None, Some(b"two"), &[]);
        let mut body = builder.build().body().to_vec();
        // The second record's number of headers: one, of which nothing is there.
        *body.last_mut().unwrap() = 2;
        let mut records = Batch::open_body(Offset(0), 0, &body.into(), 1 << 20).unwrap();
        assert!(records.skip_record().unwrap().is_ok());
        assert!(records.skip_record().unwrap().is_err());
        assert!(records.skip_record().is_none());
    }
}
