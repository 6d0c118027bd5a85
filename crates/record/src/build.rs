//! Building batches: what the broker seals itself, and what test clients send.

use bytes::Bytes;

use crate::{
    Batch, BatchError, BatchHeader, Codec, Header, Offset, Producer, Record, Timestamp, TimestampType,
    compress, varint,
};

/// Collects records and seals them into a [`Batch`] at offset 0.
#[derive(Debug, Default)]
pub struct BatchBuilder {
    section: Vec<u8>,
    records: u32,
    base_timestamp: Timestamp,
    max_timestamp: Timestamp,
    codec: Codec,
    producer: Option<Producer>,
    transactional: bool,
    control: bool,
    timestamp_type: TimestampType,
}

impl BatchBuilder {
    /// An empty one: no compression, creation time, no producer.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With compression.
    #[must_use]
    pub fn codec(mut self, codec: Codec) -> Self {
        self.codec = codec;
        self
    }

    /// From an idempotent producer.
    #[must_use]
    pub fn producer(mut self, producer: Producer) -> Self {
        self.producer = Some(producer);
        self
    }

    /// As part of a transaction.
    #[must_use]
    pub fn transactional(mut self, transactional: bool) -> Self {
        self.transactional = transactional;
        self
    }

    /// With this kind of time.
    #[must_use]
    pub fn timestamp_type(mut self, kind: TimestampType) -> Self {
        self.timestamp_type = kind;
        self
    }

    /// Adds a record.
    pub fn push(
        &mut self,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header],
    ) {
        if self.records == 0 {
            self.base_timestamp = timestamp;
            self.max_timestamp = timestamp;
        }
        self.max_timestamp = self.max_timestamp.max(timestamp);
        let timestamp_delta = timestamp.0.wrapping_sub(self.base_timestamp.0);
        let offset_delta = i64::from(self.records);
        let headers_bytes: usize = headers
            .iter()
            .map(|header| bytes_of(Some(&header.key)) + bytes_of(header.value.as_deref()))
            .sum();
        let length = 1
            + varint::bytes_of(timestamp_delta)
            + varint::bytes_of(offset_delta)
            + bytes_of(key)
            + bytes_of(value)
            + varint::bytes_of(headers.len() as i64)
            + headers_bytes;
        let section = &mut self.section;
        section.reserve(length + 5);
        varint::write(section, length as i64);
        section.push(0);
        varint::write(section, timestamp_delta);
        varint::write(section, offset_delta);
        write_bytes(section, key);
        write_bytes(section, value);
        varint::write(section, headers.len() as i64);
        for header in headers {
            write_bytes(section, Some(&header.key));
            write_bytes(section, header.value.as_deref());
        }
        self.records += 1;
    }

    /// Number of records so far.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.records
    }

    /// True without records.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Bytes that the batch would take uncompressed.
    #[must_use]
    pub fn bytes(&self) -> usize {
        crate::limits::BATCH_BYTES_MIN + self.section.len()
    }

    /// Seals. An empty builder gives a batch without records that takes one offset; callers avoid it.
    #[must_use]
    pub fn build(self) -> Batch {
        let header = BatchHeader {
            base_offset: Offset(0),
            length: 0,
            leader_epoch: -1,
            crc: 0,
            codec: self.codec,
            timestamp_type: self.timestamp_type,
            transactional: self.transactional,
            control: self.control,
            last_offset_delta: self.records.saturating_sub(1),
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            producer: self.producer,
            records: self.records,
        };
        match self.codec {
            Codec::None => Batch::seal(&header, &self.section),
            codec => Batch::seal(&header, &compress::compress(codec, &self.section)),
        }
    }
}

fn bytes_of(value: Option<&[u8]>) -> usize {
    value.map_or(1, |value| varint::bytes_of(value.len() as i64) + value.len())
}

fn write_bytes(section: &mut Vec<u8>, value: Option<&[u8]>) {
    match value {
        None => varint::write(section, -1),
        Some(value) => {
            varint::write(section, value.len() as i64);
            section.extend_from_slice(value);
        }
    }
}

/// How a transaction ended, as the control record at its end says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// Its records do not count.
    Abort,
    /// They do.
    Commit,
}

impl Control {
    /// The control batch for the end of a transaction: key (version i16, type i16), value (version i16, epoch i32).
    #[must_use]
    pub fn batch(self, producer_id: i64, epoch: i16, coordinator_epoch: i32, at: Timestamp) -> Batch {
        let kind: i16 = match self {
            Self::Abort => 0,
            Self::Commit => 1,
        };
        let mut key = [0; 4];
        key[2..].copy_from_slice(&kind.to_be_bytes());
        let mut value = [0; 6];
        value[2..].copy_from_slice(&coordinator_epoch.to_be_bytes());
        let producer = Producer { id: producer_id, epoch, base_sequence: -1 };
        let mut builder =
            BatchBuilder { control: true, ..BatchBuilder::new().producer(producer).transactional(true) };
        builder.push(at, Some(&key), Some(&value), &[]);
        builder.build()
    }

    /// Reads the control record of a control batch.
    ///
    /// # Errors
    /// `Malformed` if it is of another kind or length.
    pub fn parse(record: &Record) -> Result<Self, BatchError> {
        match record.key.as_ref().map(Bytes::as_ref) {
            Some([_, _, 0, 0]) => Ok(Self::Abort),
            Some([_, _, 0, 1]) => Ok(Self::Commit),
            _ => Err(BatchError::Malformed("a control record of an unknown kind")),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn header(key: &'static [u8], value: Option<&'static [u8]>) -> Header {
        Header { key: Bytes::from_static(key), value: value.map(Bytes::from_static) }
    }

    #[test]
    fn nulls_empties_and_repeated_headers_come_back_from_every_codec() {
        for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            let mut builder = BatchBuilder::new().codec(codec);
            let headers = [header(b"a", Some(b"1")), header(b"a", None), header(b"", Some(b""))];
            builder.push(Timestamp(1000), None, Some(b""), &headers);
            builder.push(Timestamp(-5), Some(b""), None, &[]);
            let batch = builder.build();
            let mut bytes = batch.bytes().clone();
            let read = Batch::split_checked(&mut bytes).unwrap();
            assert!(bytes.is_empty());
            let records: Vec<Record> =
                read.records(Offset(40), 1 << 20).unwrap().map(Result::unwrap).collect();
            assert_eq!(records[0].headers, headers);
            assert_eq!((records[0].key.clone(), records[0].value.clone()), (None, Some(Bytes::new())));
            assert_eq!((records[1].key.clone(), records[1].value.clone()), (Some(Bytes::new()), None));
            assert_eq!((records[1].offset, records[1].timestamp), (Offset(41), Timestamp(-5)));
            assert_eq!(read.header().max_timestamp, Timestamp(1000));
        }
    }

    #[test]
    fn append_time_replaces_every_records_time_and_the_checksum_still_holds() {
        let mut builder = BatchBuilder::new();
        builder.push(Timestamp(1), None, Some(b"x"), &[]);
        builder.push(Timestamp(2), None, Some(b"y"), &[]);
        let batch = builder.build().with_append_time(Timestamp(99));
        let read = Batch::split_checked(&mut batch.bytes().clone()).unwrap();
        assert!(
            read.records(Offset(0), 1000).unwrap().all(|record| record.unwrap().timestamp == Timestamp(99))
        );
        assert!(Batch::body_is_sound(&read.body()));
    }

    #[test]
    fn a_stored_body_is_stamped_without_breaking_its_checksum() {
        let mut builder = BatchBuilder::new().producer(Producer { id: 7, epoch: 1, base_sequence: 3 });
        builder.push(Timestamp(1), Some(b"k"), Some(b"v"), &[]);
        let batch = builder.build();
        let stamped = Batch::from_parts(Offset(1 << 40), 6, &batch.body()).unwrap();
        let read = Batch::split_checked(&mut stamped.bytes().clone()).unwrap();
        assert_eq!((read.header().base_offset, read.header().leader_epoch), (Offset(1 << 40), 6));
        assert_eq!(read.header().producer, batch.header().producer);
    }

    #[test]
    fn a_control_batch_says_how_the_transaction_ended() {
        for control in [Control::Commit, Control::Abort] {
            let batch = control.batch(5, 2, 0, Timestamp(1));
            assert!(batch.header().control && batch.header().transactional);
            let record = batch.records(Offset(0), 100).unwrap().next().unwrap().unwrap();
            assert_eq!(Control::parse(&record), Ok(control));
        }
    }
}
