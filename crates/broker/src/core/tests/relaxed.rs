//! Records whose acknowledgement need not wait for the sync.

use duolog_storage::Durability;

use super::*;
use crate::core::harness::policy;
use crate::{Routed, TopicPolicy};

impl Harness {
    /// Seals one record for these topics; what its commit asks of the log.
    fn sealed_for(&mut self, topics: &[TopicId], relaxed: bool) -> Durability {
        let record = NewRecord { value: Some(Bytes::from_static(b"x")), ..NewRecord::default() };
        let records = vec![Routed { record, topics: topics.into(), gate: crate::Gate::Open, relaxed }];
        let mut answer = self.ask(|reply| Command::Route { records, whole: false, advance: None, reply });
        self.seal();
        let asked = self.asked_of_log();
        self.settle();
        assert_eq!(answer.try_recv().unwrap().unwrap(), [Ok(())]);
        asked
    }

    fn epoch(&self, topic: TopicId) -> i32 {
        self.core.catalog.epochs.get(&self.partition(topic, 0)).copied().unwrap_or_default()
    }
}

#[test]
fn the_first_is_synced_with_the_note_of_it_and_the_others_are_not() {
    let mut h = harness();
    let topic = h.topic("t", 1, policy());
    assert_eq!(h.sealed_for(&[topic], true), Durability::Sync);
    assert_eq!(h.sealed_for(&[topic], true), Durability::Os);
    assert_eq!(h.sealed_for(&[topic], false), Durability::Sync);
}

#[test]
fn with_one_that_is_to_be_synced_all_of_a_commit_are() {
    let mut h = harness();
    let topic = h.topic("t", 1, policy());
    h.sealed_for(&[topic], true);
    let record = |relaxed| Routed {
        gate: crate::Gate::Open,
        record: NewRecord { value: Some(Bytes::from_static(b"x")), ..NewRecord::default() },
        topics: [topic].into(),
        relaxed,
    };
    for order in [[true, false], [false, true]] {
        let records = order.map(record).into();
        let _answer = h.ask(|reply| Command::Route { records, whole: false, advance: None, reply });
        h.seal();
        assert_eq!(h.asked_of_log(), Durability::Sync);
        h.settle();
    }
}

#[test]
fn a_topic_that_says_that_it_syncs_does() {
    let mut h = harness();
    let strict = h.topic("strict", 1, TopicPolicy { durability: Some(Durability::Sync), ..policy() });
    let other = h.topic("other", 1, policy());
    for _ in 0..2 {
        assert_eq!(h.sealed_for(&[strict], true), Durability::Sync);
        assert_eq!(h.sealed_for(&[strict, other], true), Durability::Sync);
    }
    assert_eq!(h.sealed_for(&[other], true), Durability::Os);
}

#[test]
fn readers_can_tell_that_what_they_saw_may_be_gone() {
    let mut h = harness();
    let relaxed = h.topic("relaxed", 1, policy());
    let strict = h.topic("strict", 1, policy());
    h.sealed_for(&[relaxed], true);
    h.sealed_for(&[strict], false);
    // A change of its settings does not forget it.
    h.set_topic(relaxed, TopicPolicy { retention_ms: Some(1_000), ..policy() });
    let before = (h.epoch(relaxed), h.epoch(strict));
    h.crash();
    assert!(h.epoch(relaxed) > before.0);
    assert_eq!(h.epoch(strict), before.1);
    h.settle();
    let raised = h.epoch(relaxed);
    h.end();
    assert_eq!(h.epoch(relaxed), raised, "a run that ends in order loses nothing");
}

#[test]
fn a_record_that_is_delayed_is_synced() {
    let mut h = harness();
    let q = h.queue("q");
    let topic = h.topic_of(q);
    h.sealed_for(&[topic], true);
    let value = Some(Bytes::from_static(b"x"));
    let record = NewRecord { value, delay_ms: Some(60_000), ..NewRecord::default() };
    let records = vec![Routed { record, topics: [topic].into(), gate: crate::Gate::Open, relaxed: true }];
    let _answer = h.ask(|reply| Command::Route { records, whole: false, advance: None, reply });
    h.seal();
    assert_eq!(h.asked_of_log(), Durability::Sync);
}
