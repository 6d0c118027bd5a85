//! The stored form of the state is a promise: what this version wrote is read for ever, byte for byte.
//!
//! `tests/fixtures/state-v4.txt` has one record a line: key and value in hexadecimal. A new version adds a file of its own.
//! Never edit a line; to print those of a new owner: `DUOLOG_PRINT_FIXTURE=1 cargo test -p duolog-broker fixture -- --nocapture`.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{
    BackoffValue, BindingValue, BrokerValue, CursorValue, DeadLetterValue, DedupValue, DelayValue, EndValue,
    ExchangeKindValue, ExchangeValue, FilterValue, MoveFilterValue, MoveStatusValue, MoveValue, OrderValue,
    OverflowValue, Owner, ProducerValue, QueueValue, TopicValue, Value,
};
use crate::ledger::{Hold, LedgerChanges, NO_TTL, Part, PartitionChanges, RecordState, ReplayMark};

const STORED_3: &str = include_str!("../../tests/fixtures/state-v3.txt");
const STORED_4: &str = include_str!("../../tests/fixtures/state-v4.txt");

fn labels() -> BTreeMap<String, String> {
    BTreeMap::from([("retention.ms".to_owned(), "604800000".to_owned())])
}

fn ledger() -> LedgerChanges {
    let record = |hold| RecordState {
        attempts: 2,
        incarnation: 0x0003_0000_0001,
        live_from: 1_764_000_000_000,
        first_leased_at: 1_764_000_000_001,
        key: 0xfeed_0000_0000_0001,
        hold,
        ttl_ms: NO_TTL,
    };
    let leased = Hold::Leased { leased_at: 1_764_000_000_002, until: 1_764_000_030_002, granted_ms: 30_000 };
    let delayed = Hold::Delayed { not_before: 1_764_000_000_900, granted_ms: 900 };
    LedgerChanges {
        partitions: vec![PartitionChanges {
            partition: 17,
            floor: 40,
            replay: ReplayMark { below: 30, at: 1_764_000_000_000 },
            parts: vec![
                Part::Settled(42, 3),
                Part::Fresh(50, 1),
                Part::Record(51, record(Hold::Free)),
                Part::Record(52, record(delayed)),
                Part::Record(53, record(leased)),
            ],
        }],
    }
}

fn topic(made_by_queue: bool) -> TopicValue {
    TopicValue {
        namespace: "default".to_owned(),
        name: "orders".to_owned(),
        partitions: vec![(16, 0), (17, 3)],
        keep_settled: made_by_queue.then_some(100),
        retention_ms: Some(604_800_000),
        retention_bytes: None,
        batch_bytes_max: 1_048_588,
        append_time: false,
        durability_sync: Some(true),
        made_by_queue,
        created_at: 1_764_000_000_000,
        labels: labels(),
        dedup: made_by_queue.then_some((300_000, true)),
    }
}

fn queue() -> QueueValue {
    QueueValue {
        namespace: "default".to_owned(),
        name: "orders".to_owned(),
        topic: 7,
        visibility_timeout_ms: 30_000,
        attempts_max: Some(5),
        dead_letter: Some(DeadLetterValue::Queue("orders-dead".to_owned())),
        receive_wait_ms: 20_000,
        message_ttl_ms: Some(345_600_000),
        in_flight_max: 120_000,
        delay_ms: 0,
        message_bytes_max: 1_048_576,
        order: OrderValue::ByKey,
        backoff: BackoffValue::Exponential { base_ms: 100, max_ms: 60_000 },
        created_at: 1_764_000_000_000,
        modified_at: 1_764_000_000_001,
        labels: labels(),
        length_max: None,
        length_bytes_max: None,
        overflow: OverflowValue::DropHead,
        priority_max: None,
    }
}

/// What version 3 could not say.
fn limited(key: Option<&str>, overflow: OverflowValue) -> QueueValue {
    QueueValue {
        dead_letter: Some(DeadLetterValue::Exchange("dead".to_owned(), key.map(|it| it.as_bytes().to_vec()))),
        length_max: Some(1_000),
        length_bytes_max: Some(1 << 30),
        overflow,
        priority_max: Some(9),
        ..queue()
    }
}

fn moving(filter: Option<MoveFilterValue>, status: MoveStatusValue) -> MoveValue {
    MoveValue {
        source: 3,
        destination: filter.as_ref().map(|_| 2),
        rate_per_s: filter.as_ref().map(|_| 500),
        filter,
        dry_run: false,
        ended_at: (status != MoveStatusValue::Running).then_some(1_764_000_000_009),
        status,
        moved: 17,
        to_move: 100,
        started_at: 1_764_000_000_000,
    }
}

fn exchange(kind: ExchangeKindValue, hash_header: Option<&str>) -> ExchangeValue {
    ExchangeValue {
        namespace: "default".to_owned(),
        name: "orders".to_owned(),
        kind,
        hash_header: hash_header.map(|it| it.as_bytes().to_vec()),
        alternate: Some("unrouted".to_owned()),
        created_at: 1_764_000_000_000,
        labels: labels(),
    }
}

fn matches() -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    vec![(b"region".to_vec(), Some(b"eu".to_vec())), (b"audited".to_vec(), None)]
}

fn binding(destination: EndValue, filter: FilterValue) -> BindingValue {
    let (source, key) = (EndValue::Exchange(4), b"order.*".to_vec());
    BindingValue { source, destination, key, filter, labels: labels() }
}

/// One of each, in the order of the file; `None` forgets the owner.
fn records() -> Vec<(Owner, Option<Value>)> {
    let broker = BrokerValue {
        next_partition: 18,
        next_queue: 4,
        next_producer: 1_001,
        catalog_version: 12,
        incarnation: 3,
        clean: true,
        durability_os: false,
    };
    let cursor = CursorValue {
        offset: 300,
        leader_epoch: 3,
        metadata: "note".to_owned(),
        moved_at: 1_764_000_000_000,
    };
    let producer = ProducerValue {
        epoch: 2,
        batches: vec![(0, 9, 0), (10, 2_147_483_647, 10)],
        used_at: 1_764_000_000_000,
    };
    let dedup = DedupValue { expires_at: 1_764_000_300_000, keys: vec![(b"\0order-7"[..].into(), 16, 300)] };
    let delay = DelayValue { partition: 19, moved_due: i64::MIN, moved_offset: 0, count: 2 };
    let failed = MoveStatusValue::Failed("the destination queue was deleted".to_owned());
    let group = || "billing".to_owned();
    vec![
        (Owner::Broker, Some(Value::Broker(broker))),
        (Owner::Topic(7), Some(Value::Topic(topic(false)))),
        (Owner::Topic(u128::MAX), Some(Value::Topic(topic(true)))),
        (Owner::Topic(8), None),
        (Owner::Queue(3), Some(Value::Queue(queue()))),
        (Owner::Queue(2), None),
        (Owner::Ledger(3), Some(Value::Ledger(ledger()))),
        (Owner::Ledger(2), None),
        (Owner::Cursor(group(), 16), Some(Value::Cursor(cursor))),
        (Owner::Cursor(group(), 17), None),
        (Owner::Producer(16, 1_000), Some(Value::Producer(producer))),
        (Owner::Producer(17, -1), None),
        (Owner::Dedup(7, 4), Some(Value::Dedup(dedup))),
        (Owner::Dedup(7, 3), None),
        (Owner::Delay(7), Some(Value::Delay(delay))),
        (Owner::Delay(8), None),
        (Owner::Move(1), Some(Value::Move(moving(None, MoveStatusValue::Running)))),
        (Owner::Move(2), Some(Value::Move(moving(Some(MoveFilterValue::Key(b"k".to_vec())), failed)))),
        (Owner::Move(3), None),
        (Owner::Exchange(4), Some(Value::Exchange(exchange(ExchangeKindValue::Topic, None)))),
        (
            Owner::Exchange(5),
            Some(Value::Exchange(exchange(ExchangeKindValue::ConsistentHash, Some("account")))),
        ),
        (Owner::Exchange(6), None),
        (Owner::Binding(7), Some(Value::Binding(binding(EndValue::Queue(3), FilterValue::All)))),
        (Owner::Binding(8), Some(Value::Binding(binding(EndValue::Topic(7), FilterValue::Every(matches()))))),
        (
            Owner::Binding(9),
            Some(Value::Binding(binding(EndValue::Exchange(5), FilterValue::Some(matches())))),
        ),
        (Owner::Binding(10), None),
    ]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        write!(out, "{byte:02x}").unwrap();
        out
    })
}

fn bytes(hex: &str) -> Vec<u8> {
    hex.as_bytes()
        .chunks(2)
        .map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap())
        .collect()
}

fn rules(body: bool) -> FilterValue {
    FilterValue::Rules { body, text: r#"{"region":["eu"]}"#.to_owned() }
}

/// What version 4 says besides.
fn records_4() -> Vec<(Owner, Option<Value>)> {
    let timed = |part: Part| match part {
        Part::Record(offset, state) => Part::Timed(offset, state, 60_000),
        part => part,
    };
    let mut ledger = ledger();
    for it in &mut ledger.partitions {
        it.parts = it.parts.drain(..).map(timed).collect();
    }
    vec![
        (Owner::Queue(11), Some(Value::Queue(limited(Some("late"), OverflowValue::Reject)))),
        (Owner::Queue(12), Some(Value::Queue(limited(None, OverflowValue::RejectDeadLetter)))),
        (Owner::Ledger(11), Some(Value::Ledger(ledger))),
        (Owner::Binding(11), Some(Value::Binding(binding(EndValue::Queue(11), rules(false))))),
        (Owner::Binding(12), Some(Value::Binding(binding(EndValue::Queue(12), rules(true))))),
    ]
}

fn lines(stored: &str) -> Vec<(&str, &str)> {
    let lines = stored.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split_once(' ').unwrap()).collect()
}

fn check_read(lines: &[(&str, &str)], records: &[(Owner, Option<Value>)]) {
    assert_eq!(lines.len(), records.len());
    for ((key, stored), (owner, value)) in lines.iter().zip(records) {
        assert_eq!(Owner::decode(&bytes(key)).as_ref(), Some(owner), "{key}");
        match value {
            None => assert_eq!(*stored, "-"),
            Some(value) => assert_eq!(Value::decode(&bytes(stored)).as_ref(), Ok(value), "{key} {stored}"),
        }
    }
}

#[test]
fn what_version_3_wrote_is_read() {
    check_read(&lines(STORED_3), &records());
}

#[test]
fn what_version_4_wrote_is_read_and_written_as_it_was() {
    let records = [records(), records_4()].concat();
    if std::env::var_os("DUOLOG_PRINT_FIXTURE").is_some() {
        for (owner, value) in &records {
            let value = value.as_ref().map_or("-".to_owned(), |value| hex(&value.encode()));
            println!("{} {value}", hex(&owner.encode()));
        }
    }
    let lines = lines(STORED_4);
    check_read(&lines, &records);
    for ((key, stored), (owner, value)) in lines.into_iter().zip(records) {
        assert_eq!(hex(&owner.encode()), key);
        assert_eq!(value.map_or("-".to_owned(), |value| hex(&value.encode())), stored);
    }
}
