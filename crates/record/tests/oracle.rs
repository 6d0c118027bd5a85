//! Batches against another implementation of the format, both ways: what it writes we read, and the reverse.
//! Source: the crate `kafka-protocol`.
#![allow(clippy::unwrap_used)]

use bytes::{Bytes, BytesMut};
use duolog_record::{Batch, BatchBuilder, Header, Offset, Producer, Record, Timestamp};
use kafka_protocol::indexmap::IndexMap;
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::{
    Compression, Record as Theirs, RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};
use proptest::prelude::*;

type Headers = Vec<(String, Option<Bytes>)>;

#[derive(Clone, Debug)]
struct Sample {
    time: i64,
    key: Option<Bytes>,
    value: Option<Bytes>,
    headers: Headers,
}

fn bytes(most: usize) -> impl Strategy<Value = Option<Bytes>> {
    prop::option::weighted(0.8, prop::collection::vec(any::<u8>(), 0..most).prop_map(Bytes::from))
}

fn sample() -> impl Strategy<Value = Sample> {
    // The other implementation keeps headers in a map, so their names differ here.
    let headers = prop::collection::btree_map("[a-z]{0,6}", bytes(10), 0..4)
        .prop_map(|headers| headers.into_iter().collect());
    (0..i64::MAX / 2, bytes(30), bytes(100), headers).prop_map(|(time, key, value, headers)| Sample {
        time,
        key,
        value,
        headers,
    })
}

fn theirs(index: usize, sample: &Sample, producer: Producer) -> Theirs {
    let headers: IndexMap<StrBytes, Option<Bytes>> = sample
        .headers
        .iter()
        .map(|(name, value)| (StrBytes::from_string(name.clone()), value.clone()))
        .collect();
    Theirs {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: 0,
        producer_id: producer.id,
        producer_epoch: producer.epoch,
        timestamp_type: TimestampType::Creation,
        offset: index as i64,
        sequence: producer.base_sequence + index as i32,
        timestamp: sample.time,
        key: sample.key.clone(),
        value: sample.value.clone(),
        headers,
    }
}

fn same(sample: &Sample, record: &Record) -> bool {
    let headers: Vec<Header> = sample
        .headers
        .iter()
        .map(|(name, value)| Header { key: Bytes::from(name.clone()), value: value.clone() })
        .collect();
    record.timestamp == Timestamp(sample.time)
        && record.key == sample.key
        && record.value == sample.value
        && record.headers == headers
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn what_they_write_we_read(
        samples in prop::collection::vec(sample(), 1..12),
        id in 0..1000_i64,
        base_sequence in 0..1_000_000_i32,
    ) {
        let producer = Producer { id, epoch: 3, base_sequence };
        let records: Vec<Theirs> =
            samples.iter().enumerate().map(|(index, sample)| theirs(index, sample, producer)).collect();
        let mut buffer = BytesMut::new();
        let options = RecordEncodeOptions { version: 2, compression: Compression::None };
        RecordBatchEncoder::encode(&mut buffer, &records, &options).unwrap();
        let batch = Batch::split_checked(&mut buffer.freeze()).unwrap();
        prop_assert_eq!(batch.header().producer, Some(producer));
        let ours: Vec<Record> = batch.records(Offset(0), 1 << 20).unwrap().collect::<Result<_, _>>().unwrap();
        prop_assert_eq!(ours.len(), samples.len());
        for (sample, record) in samples.iter().zip(&ours) {
            prop_assert!(same(sample, record), "{sample:?} became {record:?}");
        }
    }

    #[test]
    fn what_we_write_they_read(samples in prop::collection::vec(sample(), 1..12), id in 0..1000_i64) {
        let producer = Producer { id, epoch: 0, base_sequence: 5 };
        let mut builder = BatchBuilder::new().producer(producer);
        for sample in &samples {
            let headers: Vec<Header> = sample
                .headers
                .iter()
                .map(|(name, value)| Header { key: Bytes::from(name.clone()), value: value.clone() })
                .collect();
            builder.push(Timestamp(sample.time), sample.key.as_deref(), sample.value.as_deref(), &headers);
        }
        let mut buffer = builder.build().bytes().clone();
        let set = RecordBatchDecoder::decode(&mut buffer).unwrap();
        let expected: Vec<Theirs> =
            samples.iter().enumerate().map(|(index, sample)| theirs(index, sample, producer)).collect();
        prop_assert_eq!(set.version, 2);
        for (got, wanted) in set.records.iter().zip(&expected) {
            prop_assert_eq!((got.offset, got.timestamp, got.producer_id), (wanted.offset, wanted.timestamp, id));
            prop_assert_eq!((&got.key, &got.value, &got.headers), (&wanted.key, &wanted.value, &wanted.headers));
        }
        prop_assert_eq!(set.records.len(), expected.len());
    }
}
