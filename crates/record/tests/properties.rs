//! Any records survive any codec; any bytes are a batch or an error, and never a panic or a large allocation.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use duolog_record::compress::decompress;
use duolog_record::{Batch, BatchBuilder, Codec, Header, Offset, Producer, Record, Timestamp};
use proptest::prelude::*;

fn codec() -> impl Strategy<Value = Codec> {
    prop::sample::select(vec![Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd])
}

fn text(bytes: usize) -> impl Strategy<Value = Option<Bytes>> {
    prop::option::weighted(0.8, prop::collection::vec(any::<u8>(), 0..bytes).prop_map(Bytes::from))
}

fn record() -> impl Strategy<Value = Record> {
    // Few different header keys, so that repeated ones occur.
    let header = (prop::sample::select(vec!["", "a", "trace-id"]), text(20))
        .prop_map(|(key, value)| Header { key: Bytes::from(key), value });
    (any::<i64>(), text(40), text(200), prop::collection::vec(header, 0..5)).prop_map(
        |(time, key, value, headers)| Record {
            offset: Offset(0),
            timestamp: Timestamp(time),
            key,
            value,
            headers,
        },
    )
}

fn build(records: &[Record], codec: Codec, producer: Option<Producer>) -> Batch {
    let mut builder = BatchBuilder::new().codec(codec);
    if let Some(producer) = producer {
        builder = builder.producer(producer);
    }
    for record in records {
        builder.push(record.timestamp, record.key.as_deref(), record.value.as_deref(), &record.headers);
    }
    builder.build()
}

proptest! {
    #[test]
    fn records_come_back_as_they_went_in(
        records in prop::collection::vec(record(), 1..20),
        codec in codec(),
        base in 0..u64::from(u32::MAX),
        producer in prop::option::of((0..i64::MAX, 0..i16::MAX, 0..i32::MAX)),
    ) {
        let producer = producer.map(|(id, epoch, base_sequence)| Producer { id, epoch, base_sequence });
        let batch = build(&records, codec, producer);
        let mut bytes = batch.bytes().clone();
        let again = Batch::split_checked(&mut bytes).unwrap();
        prop_assert!(bytes.is_empty());
        prop_assert_eq!(again.header().producer, producer);
        prop_assert_eq!(again.header().offsets() as usize, records.len());
        let stored = Batch::from_parts(Offset(base), 7, &again.body()).unwrap();
        let back: Vec<Record> =
            stored.records(Offset(base), 1 << 20).unwrap().collect::<Result<_, _>>().unwrap();
        prop_assert_eq!(back.len(), records.len());
        for (index, (back, sent)) in back.iter().zip(&records).enumerate() {
            prop_assert_eq!(back.offset, Offset(base + index as u64));
            prop_assert_eq!(back.timestamp, sent.timestamp);
            prop_assert_eq!((&back.key, &back.value, &back.headers), (&sent.key, &sent.value, &sent.headers));
        }
    }

    #[test]
    fn a_flipped_bit_behind_the_prefix_is_noticed(
        records in prop::collection::vec(record(), 1..5),
        codec in codec(),
        at in any::<prop::sample::Index>(),
        bit in 0..8_u32,
    ) {
        let batch = build(&records, codec, None);
        let mut bytes = batch.bytes().to_vec();
        // The magic byte lies before the checksum and is checked by itself.
        let at = duolog_record::PREFIX_BYTES + at.index(bytes.len() - duolog_record::PREFIX_BYTES);
        bytes[at] ^= 1 << bit;
        prop_assert!(Batch::split_checked(&mut Bytes::from(bytes)).is_err());
    }

    #[test]
    fn any_bytes_are_a_batch_or_an_error(
        records in prop::collection::vec(record(), 1..5),
        codec in codec(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = build(&records, codec, None).bytes().to_vec();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(cut.index(bytes.len() + 1));
        // Without the checksum in the way, so that the records themselves are nonsense.
        if let Ok(batch) = Batch::split_trusted(&mut Bytes::from(bytes)) {
            let opened = batch.records(Offset(3), 64 << 10);
            let decoded = opened.map(|records| records.take_while(Result::is_ok).count());
            prop_assert!(decoded.unwrap_or_default() <= batch.header().records as usize);
        }
    }

    #[test]
    fn decompression_stops_at_its_cap(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        codec in codec(),
        bytes_max in 0..4096_usize,
    ) {
        if let Ok(plain) = decompress(codec, &bytes, bytes_max) {
            prop_assert!(plain.len() <= bytes_max);
        }
    }
}
