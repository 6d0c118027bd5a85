//! A topic that grows: its queues and clients see the new partitions, and a queue in order keeps it from growing.

use super::super::harness::{Harness, batch, policy};
use super::*;

impl Harness {
    fn grow(&mut self, topic: TopicId, total: u32) -> Result<(), ChangeError> {
        self.done(|reply| Command::AddPartitions { topic, total, reply })
    }
}

#[test]
fn a_queue_reads_partitions_that_were_added_also_after_a_crash() {
    let mut h = Harness::new(|_| {});
    let topic = h.topic("t", 1, policy());
    let q = h
        .declare(QueueSpec { topic: Some("t".to_owned()), start: Start::Latest, ..queue_spec("q") })
        .unwrap();
    h.grow(topic, 3).unwrap();
    let added = h.partition(topic, 2);
    h.append(added, batch(1, None)).unwrap();
    let leased = h.lease(q, 10);
    assert_eq!((leased.len(), leased[0].partition, leased[0].partition_index), (1, added, 2));
    h.settle_one(lease_id(q, &leased[0]), Outcome::Ack).unwrap();
    h.append(added, batch(1, None)).unwrap();
    h.crash();
    assert_eq!(h.core.catalog.topic_by_id(topic).unwrap().partitions.len(), 3);
    let leased = h.lease(q, 10);
    assert_eq!((leased.len(), leased[0].partition, leased[0].offset), (1, added, Offset(1)));
}

#[test]
fn partitions_are_not_taken_away_nor_too_many() {
    let mut h = Harness::new(|_| {});
    let topic = h.topic("t", 2, policy());
    for total in [0, 1, 2, crate::limits::PARTITIONS_PER_TOPIC + 1] {
        let refused = h.grow(topic, total);
        assert!(matches!(refused, Err(ChangeError::Invalid { what: "partitions", .. })), "{total}");
    }
    assert!(matches!(h.grow(TopicId(1), 3), Err(ChangeError::NotFound(_))));
}

#[test]
fn a_queue_in_key_order_keeps_its_topic_from_growing() {
    let mut h = Harness::new(|_| {});
    let topic = h.topic("t", 1, policy());
    let ordered = QueuePolicy { order: Order::ByKey, ..queue_policy() };
    let spec = QueueSpec { topic: Some("t".to_owned()), policy: ordered, ..queue_spec("q") };
    let q = h.declare(spec).unwrap();
    assert!(matches!(h.grow(topic, 2), Err(ChangeError::Invalid { what: "partitions", .. })));
    h.done(|reply| Command::DeleteQueue { queue: q, reply }).unwrap();
    h.grow(topic, 2).unwrap();
}
