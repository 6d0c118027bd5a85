//! Records with idempotency keys are stored once, whatever comes between.

use std::collections::BTreeMap;

use bytes::Bytes;
use duolog_record::{BatchBuilder, Header, Offset, PartitionId, Producer, Timestamp};
use duolog_storage::LogError;
use proptest::prelude::*;

use super::super::harness::{Harness, policy};
use super::super::rounds::Pace;
use super::*;
use crate::errors::AppendError;
use crate::{Appended, DedupPolicy, Published, TopicPolicy};

const WINDOW_MS: u64 = 10_000;

fn deduplicating(per_key: bool) -> TopicPolicy {
    TopicPolicy { dedup: Some(DedupPolicy { window_ms: WINDOW_MS, per_key }), ..policy() }
}

fn keyed(key: &str) -> NewRecord {
    NewRecord {
        value: Some(Bytes::from_static(b"v")),
        idempotency_key: Some(Bytes::copy_from_slice(key.as_bytes())),
        ..NewRecord::default()
    }
}

fn batch_of(keys: &[Option<&'static str>], producer: Option<Producer>) -> Batch {
    let mut builder = BatchBuilder::new();
    if let Some(producer) = producer {
        builder = builder.producer(producer);
    }
    for key in keys {
        let header = key.map(|key| Header {
            key: Bytes::from_static(crate::headers::IDEMPOTENCY_KEY.as_bytes()),
            value: Some(Bytes::from_static(key.as_bytes())),
        });
        builder.push(Timestamp(1), None, Some(key.unwrap_or("none").as_bytes()), &Vec::from_iter(header));
    }
    builder.build()
}

impl Harness {
    fn publish(&mut self, topic: TopicId, records: Vec<NewRecord>) -> Result<Vec<Published>, AppendError> {
        self.done(|reply| Command::Publish { topic, records, reply })
    }

    fn send_key(&mut self, topic: TopicId, key: &str) -> (u64, bool) {
        let published = self.publish(topic, vec![keyed(key)]).unwrap();
        (published[0].offset.0, published[0].duplicate)
    }

    fn end_of(&self, topic: TopicId, index: usize) -> u64 {
        self.log.bounds(self.partition(topic, index)).unwrap().end.0
    }

    fn stored(&self, partition: PartitionId) -> Vec<String> {
        let records = self.records(partition).into_iter();
        records.map(|it| String::from_utf8(it.value.unwrap().to_vec()).unwrap()).collect()
    }
}

#[test]
fn a_key_sent_again_is_stored_once_until_its_window_is_over() {
    let mut h = Harness::new(|_| {});
    let topic = h.topic("t", 1, deduplicating(false));
    assert_eq!(h.send_key(topic, "a"), (0, false));
    assert_eq!(h.send_key(topic, "b"), (1, false));
    h.pass_ms(WINDOW_MS - 1);
    assert_eq!(h.send_key(topic, "a"), (0, true));
    h.pass_ms(1);
    assert_eq!(h.send_key(topic, "a"), (2, false));
    assert_eq!(h.end_of(topic, 0), 3);
}

#[test]
fn a_key_on_a_topic_that_does_not_deduplicate_means_nothing() {
    let mut h = Harness::new(|_| {});
    let topic = h.topic("t", 1, policy());
    assert_eq!(h.send_key(topic, "a"), (0, false));
    assert_eq!(h.send_key(topic, "a"), (1, false));
}

#[test]
fn a_window_that_was_switched_off_does_nothing_and_keeps_its_scope() {
    let mut h = harness();
    let topic = h.topic("t", 1, deduplicating(true));
    let off = DedupPolicy { window_ms: 0, per_key: true };
    let policy = TopicPolicy { dedup: Some(off), ..policy() };
    h.set_topic(topic, policy);
    for _ in 0..2 {
        let records = vec![keyed("a")];
        let published = h.done(|reply| Command::Publish { topic, records, reply }).unwrap();
        assert!(!published[0].duplicate);
    }
    h.crash();
    assert_eq!(h.core.catalog.topic_by_id(topic).unwrap().policy.dedup, Some(off));
    assert_eq!(h.core.dedup.size(), (0, 0));
}

#[test]
fn the_window_outlives_crash_settlement_and_purge() {
    let mut h = Harness::new(|_| {});
    let q = h.declare(QueueSpec { dedup: deduplicating(false).dedup, ..queue_spec("q") }).unwrap();
    let topic = h.topic_of(q);
    h.send_key(topic, "a");
    let leased = h.lease(q, 1);
    h.settle_one(lease_id(q, &leased[0]), Outcome::Ack).unwrap();
    h.crash();
    assert_eq!(h.send_key(topic, "a"), (0, true));
    h.done(|reply| Command::PurgeQueue { queue: q, reply }).unwrap();
    h.crash();
    h.pass_ms(WINDOW_MS - 1);
    assert_eq!(h.send_key(topic, "a"), (0, true));
    h.crash();
    h.pass_ms(1);
    assert_eq!(h.send_key(topic, "a"), (1, false));
}

#[test]
fn one_key_within_one_call_is_stored_once() {
    let mut h = Harness::new(|_| {});
    let topic = h.topic("t", 1, deduplicating(false));
    let published = h.publish(topic, vec![keyed("a"), keyed("b"), keyed("a")]).unwrap();
    let told: Vec<_> = published.iter().map(|it| (it.offset.0, it.duplicate)).collect();
    assert_eq!(told, [(0, false), (1, false), (0, true)]);
    assert_eq!(h.end_of(topic, 0), 2);
}

#[test]
fn the_scope_is_the_topic_or_the_record_key() {
    let mut h = Harness::new(|_| {});
    let of =
        |group: &'static str| NewRecord { key: Some(Bytes::from_static(group.as_bytes())), ..keyed("a") };
    let by_key = h.topic("by-key", 1, deduplicating(true));
    let published = h.publish(by_key, vec![of("g"), of("h"), of("g"), keyed("a")]).unwrap();
    let told: Vec<_> = published.iter().map(|it| it.duplicate).collect();
    assert_eq!(told, [false, false, true, false]);
    let by_topic = h.topic("by-topic", 3, deduplicating(false));
    let published = h.publish(by_topic, vec![of("g"), of("h"), of("x")]).unwrap();
    let told: Vec<_> = published.iter().map(|it| it.duplicate).collect();
    assert_eq!(told, [false, true, true]);
    let first = (published[0].partition, published[0].partition_index);
    assert!(published.iter().all(|it| (it.partition, it.partition_index) == first));
}

#[test]
fn what_is_sent_again_while_the_first_is_in_flight_waits_for_its_fate() {
    let mut h = Harness::new(|_| {});
    let topic = h.topic("t", 1, deduplicating(false));
    let publish = |reply| Command::Publish { topic, records: vec![keyed("a")], reply };
    let mut first = h.ask(publish);
    h.seal();
    let mut second = h.ask(publish);
    h.seal();
    assert!(first.try_recv().is_err() && second.try_recv().is_err());
    h.pump();
    assert!(!first.try_recv().unwrap().unwrap()[0].duplicate);
    h.settle();
    let told = second.try_recv().unwrap().unwrap();
    assert_eq!((told[0].offset, told[0].duplicate), (Offset(0), true));
}

#[test]
fn a_refused_append_leaves_no_key_behind() {
    let mut h = Harness::new(|_| {});
    let topic = h.topic("t", 1, deduplicating(false));
    let publish = |reply| Command::Publish { topic, records: vec![keyed("a")], reply };
    let (mut first, mut together) = (h.ask(publish), h.ask(publish));
    h.log.fail_next(LogError::DiskFull { bytes: 1, directory: "there".to_owned() });
    h.seal();
    let mut behind = h.ask(publish);
    h.settle();
    assert_eq!(first.try_recv().unwrap(), Err(AppendError::DiskFull));
    assert_eq!(together.try_recv().unwrap(), Err(AppendError::DiskFull));
    let told = behind.try_recv().unwrap().unwrap();
    assert_eq!((told[0].offset, told[0].duplicate), (Offset(0), false));
    assert_eq!(h.core.dedup.size().0, 1);
    h.crash();
    assert_eq!(h.send_key(topic, "a"), (0, true));
}

#[test]
fn what_was_in_flight_when_power_failed_is_appended_anew() {
    let mut h = Harness::new(|_| {});
    let topic = h.topic("t", 1, deduplicating(false));
    let _lost = h.ask(|reply| Command::Publish { topic, records: vec![keyed("a")], reply });
    h.seal();
    h.crash();
    assert_eq!(h.send_key(topic, "a"), (0, false));
}

#[test]
fn a_batch_is_stored_without_what_was_there_before() {
    let mut h = Harness::new(|_| {});
    let topic = h.topic("t", 1, deduplicating(false));
    let partition = h.partition(topic, 0);
    let append =
        |h: &mut Harness, keys: &[_]| -> Appended { h.append(partition, batch_of(keys, None)).unwrap() };
    let whole = append(&mut h, &[Some("a"), Some("b")]);
    assert_eq!((whole.base, whole.duplicate), (Offset(0), false));
    let again = append(&mut h, &[Some("a"), Some("b")]);
    assert_eq!((again.base, again.duplicate), (Offset(0), true));
    // The last record's place is told as it is.
    let mixed = append(&mut h, &[Some("b"), Some("c"), None, Some("c"), Some("d")]);
    assert_eq!((mixed.base, mixed.duplicate), (Offset(0), false));
    assert_eq!(h.stored(partition), ["a", "b", "c", "none", "d"]);
    let (alone, published) = (append(&mut h, &[Some("d")]), h.publish(topic, vec![keyed("c")]).unwrap());
    assert_eq!((alone.base, alone.duplicate), (Offset(4), true));
    assert_eq!((published[0].offset, published[0].duplicate), (Offset(2), true));
}

#[test]
fn an_idempotent_producer_goes_on_behind_a_batch_that_was_left_out() {
    let mut h = Harness::new(|_| {});
    let topic = h.topic("t", 1, deduplicating(false));
    let partition = h.partition(topic, 0);
    let from = |base_sequence| Some(Producer { id: 7, epoch: 0, base_sequence });
    h.publish(topic, vec![keyed("a")]).unwrap();
    assert!(h.append(partition, batch_of(&[Some("a")], from(0))).unwrap().duplicate);
    h.crash();
    assert_eq!(h.append(partition, batch_of(&[Some("a"), Some("b")], from(1))).unwrap().base, Offset(0));
    assert_eq!(h.append(partition, batch_of(&[None], from(3))).unwrap().base, Offset(2));
}

#[test]
fn records_that_cannot_be_decoded_are_refused_where_they_would_have_to_be() {
    let mut h = Harness::new(|_| {});
    let topic = h.topic("t", 1, deduplicating(false));
    let partition = h.partition(topic, 0);
    let mut bytes = batch_of(&[None], None).bytes().to_vec();
    let last = bytes.len() - 1;
    bytes[last] = 0x7f;
    let crc = duolog_record::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    let nonsense = Batch::split_checked(&mut Bytes::from(bytes)).unwrap();
    assert!(matches!(h.append(partition, nonsense), Err(AppendError::Malformed(_))));
}

#[test]
fn a_full_table_refuses_new_keys_and_forgets_none() {
    let mut h = Harness::new(|core| core.dedup.keys_max = 2);
    let topic = h.topic("t", 1, deduplicating(false));
    h.send_key(topic, "a");
    h.send_key(topic, "b");
    assert_eq!(h.publish(topic, vec![keyed("c")]), Err(AppendError::DedupFull));
    let batch = batch_of(&[Some("c")], None);
    let partition = h.partition(topic, 0);
    assert_eq!(h.append(partition, batch), Err(AppendError::DedupFull));
    assert_eq!((h.send_key(topic, "a"), h.send_key(topic, "b")), ((0, true), (1, true)));
    // A record without a key needs no room.
    assert!(h.publish(topic, vec![NewRecord::default()]).is_ok());
    h.pass_ms(WINDOW_MS);
    assert_eq!(h.send_key(topic, "c"), (3, false));
}

#[test]
fn a_topic_takes_its_keys_with_it() {
    let mut h = Harness::new(|_| {});
    let topic = h.topic("t", 1, deduplicating(false));
    h.send_key(topic, "a");
    h.done(|reply| Command::DeleteTopic { topic, reply }).unwrap();
    assert_eq!(h.core.dedup.size(), (0, 0));
    h.crash();
    assert_eq!(h.core.dedup.size(), (0, 0));
    let topic = h.topic("t", 1, deduplicating(false));
    assert_eq!(h.send_key(topic, "a"), (0, false));
}

#[test]
fn forgotten_keys_are_forgotten_on_disk_as_well() {
    let mut h = Harness::new(|_| {});
    let topic = h.topic("t", 1, deduplicating(false));
    h.send_key(topic, "a");
    h.pass_ms(WINDOW_MS + crate::limits::RETENTION_SETTLED_MS);
    h.settle();
    assert_eq!(h.core.dedup.size(), (0, 0));
    h.crash();
    assert_eq!(h.core.dedup.size(), (0, 0));
}

#[test]
fn a_window_must_be_one() {
    let mut h = Harness::new(|_| {});
    for window_ms in [crate::limits::DEDUP_WINDOW_MS + 1, u64::MAX] {
        let policy = TopicPolicy { dedup: Some(DedupPolicy { window_ms, per_key: false }), ..policy() };
        let spec = super::super::harness::spec("t", 1, policy);
        let refused = h.done(|reply| Command::CreateTopic { spec, reply });
        assert!(matches!(refused, Err(ChangeError::Invalid { what: "dedup_window_ms", .. })));
    }
}

/// What may happen.
#[derive(Clone, Debug)]
enum Step {
    /// Keys in one call; some are repeated.
    Publish(Vec<u8>),
    /// The same, as a batch.
    Append(Vec<u8>),
    Pass(u64),
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    let keys = || prop::collection::vec(0..12u8, 1..5);
    prop_oneof![
        4 => keys().prop_map(Step::Publish),
        4 => keys().prop_map(Step::Append),
        2 => (0..WINDOW_MS / 2).prop_map(Step::Pass),
        1 => Just(Step::Crash),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// A map of keys to when they are forgotten tells the same.
    #[test]
    fn a_map_of_keys_tells_the_same(steps in prop::collection::vec(step(), 1..60)) {
        const NAMES: [&str; 12] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
        let tune = |core: &mut super::super::Core| core.rounds.pace = Pace { round_bytes: 600, bytes_min: 40 };
        let mut h = Harness::new(tune);
        let topic = h.topic("t", 1, deduplicating(false));
        let partition = h.partition(topic, 0);
        // Key to the end of its window and its offset.
        let mut model: BTreeMap<u8, (i64, u64)> = BTreeMap::new();
        let mut end = 0;
        for step in steps {
            let now = h.now.wall.0;
            model.retain(|_, (until, _)| *until > now);
            let until = now + i64::try_from(WINDOW_MS).unwrap();
            let mut expect = |keys: &[u8]| -> Vec<(u64, bool)> {
                keys.iter().map(|&key| match model.get(&key) {
                    Some(&(_, offset)) => (offset, true),
                    None => {
                        model.insert(key, (until, end));
                        end += 1;
                        (end - 1, false)
                    }
                }).collect()
            };
            match step {
                Step::Publish(keys) => {
                    let expected = expect(&keys);
                    let records = keys.iter().map(|&key| keyed(NAMES[usize::from(key)])).collect();
                    let told = h.publish(topic, records).unwrap();
                    let told: Vec<_> = told.iter().map(|it| (it.offset.0, it.duplicate)).collect();
                    prop_assert_eq!(told, expected);
                }
                Step::Append(keys) => {
                    let expected = expect(&keys);
                    let names: Vec<_> = keys.iter().map(|&key| Some(NAMES[usize::from(key)])).collect();
                    let told = h.append(partition, batch_of(&names, None)).unwrap();
                    prop_assert_eq!(told.duplicate, expected.iter().all(|it| it.1));
                    if told.duplicate {
                        prop_assert_eq!(told.base.0, expected[0].0);
                    }
                }
                Step::Pass(ms) => h.pass_ms(ms),
                Step::Crash => h.crash(),
            }
            prop_assert_eq!(h.end_of(topic, 0), end);
            prop_assert!(h.core.dedup.size().0 >= model.len() as u64);
        }
        prop_assert_eq!(h.fold_from(h.core.state.start), h.durable);
    }
}
