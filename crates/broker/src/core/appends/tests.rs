//! Tests of idempotent producers through commits, refusals and restarts.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use duolog_record::{Offset, PartitionId, Producer};
use duolog_storage::{Log, LogError};

use crate::core::Command;
use crate::core::harness::{Harness, batch, large_batch, policy};
use crate::errors::AppendError;
use crate::limits::{PRODUCER_ID_BLOCK, PRODUCERS};

fn sent(epoch: i16, base_sequence: i32) -> Option<Producer> {
    Some(Producer { id: 7, epoch, base_sequence })
}

fn one_partition() -> (Harness, PartitionId) {
    let mut it = Harness::new(|_| ());
    let topic = it.topic("orders", 1, policy());
    let partition = it.partition(topic, 0);
    (it, partition)
}

#[test]
fn a_batch_sent_again_after_a_restart_is_stored_once() {
    let (mut it, partition) = one_partition();
    for n in 0..7 {
        assert_eq!(it.append(partition, batch(10, sent(0, n * 10))).unwrap().base, Offset(n as u64 * 10));
    }
    it.crash();
    for n in 2..7 {
        let again = it.append(partition, batch(10, sent(0, n * 10))).unwrap();
        assert_eq!((again.base, again.duplicate), (Offset(n as u64 * 10), true));
    }
    let too_old = AppendError::OutOfOrder { got: 10, expected: 70 };
    assert_eq!(it.append(partition, batch(10, sent(0, 10))), Err(too_old));
    let gap = AppendError::OutOfOrder { got: 80, expected: 70 };
    assert_eq!(it.append(partition, batch(10, sent(0, 80))), Err(gap));
    assert_eq!(it.append(partition, batch(10, sent(0, 70))).unwrap().base, Offset(70));
}

#[test]
fn a_new_epoch_starts_at_zero_and_fences_the_old_one_across_restarts() {
    let (mut it, partition) = one_partition();
    it.append(partition, batch(1, sent(0, 0))).unwrap();
    let not_zero = AppendError::OutOfOrder { got: 1, expected: 0 };
    assert_eq!(it.append(partition, batch(1, sent(1, 1))), Err(not_zero));
    it.append(partition, batch(1, sent(1, 0))).unwrap();
    it.crash();
    let stale = AppendError::StaleEpoch { got: 0, current: 1 };
    assert_eq!(it.append(partition, batch(1, sent(0, 1))), Err(stale));
    assert_eq!(it.append(partition, batch(1, sent(1, 1))).unwrap().base, Offset(2));
}

#[test]
fn sequences_wrap_across_a_restart() {
    let (mut it, partition) = one_partition();
    it.append(partition, batch(2, sent(0, i32::MAX - 1))).unwrap();
    it.crash();
    assert_eq!(it.append(partition, batch(3, sent(0, 0))).unwrap().base, Offset(2));
    assert!(it.append(partition, batch(2, sent(0, i32::MAX - 1))).unwrap().duplicate);
}

#[test]
fn a_producer_is_known_although_its_records_are_trimmed() {
    let (mut it, partition) = one_partition();
    it.append(partition, batch(5, sent(0, 0))).unwrap();
    it.trim(partition, 5).unwrap();
    it.crash();
    assert_eq!(it.log.bounds(partition), Some(Offset(5)..Offset(5)));
    assert!(it.append(partition, batch(5, sent(0, 0))).unwrap().duplicate);
    let gap = AppendError::OutOfOrder { got: 6, expected: 5 };
    assert_eq!(it.append(partition, batch(1, sent(0, 6))), Err(gap));
}

#[test]
fn a_refused_batch_may_be_sent_again() {
    let (mut it, partition) = one_partition();
    it.append(partition, batch(1, sent(0, 0))).unwrap();
    for _ in 0..3 {
        it.log.fail_next(LogError::DiskFull { bytes: 1, directory: "memory".to_owned() });
        assert_eq!(it.append(partition, batch(4, sent(0, 1))), Err(AppendError::DiskFull));
    }
    let stored = it.append(partition, batch(4, sent(0, 1))).unwrap();
    assert_eq!((stored.base, stored.duplicate), (Offset(1), false));
}

#[test]
fn a_batch_sent_again_while_its_first_append_is_in_flight_shares_its_fate() {
    let mut it = Harness::new(|_| ());
    let topic = it.topic("orders", 2, policy());
    let (partition, other) = (it.partition(topic, 0), it.partition(topic, 1));
    let ask = |it: &mut Harness, partition, batch| {
        it.ask(|reply| Command::Append { partition, batch, keys: None, reply })
    };
    let mut first = ask(&mut it, partition, batch(4, sent(0, 0)));
    it.seal();
    // Enough for a second group while the first is on its way; the first finds no space, the second does.
    let mut beside = ask(&mut it, other, large_batch());
    let mut again = ask(&mut it, partition, batch(4, sent(0, 0)));
    it.seal();
    it.log.fail_next(LogError::DiskFull { bytes: 1, directory: "memory".to_owned() });
    it.settle();
    assert_eq!(first.try_recv().unwrap(), Err(AppendError::DiskFull));
    assert_eq!(beside.try_recv().unwrap().unwrap().base, Offset(0));
    let again = again.try_recv().unwrap().unwrap();
    assert_eq!((again.base, again.duplicate), (Offset(0), false));
    assert_eq!(it.log.bounds(partition), Some(Offset(0)..Offset(4)));
}

#[test]
fn over_the_cap_who_was_idle_longest_is_forgotten_for_good() {
    let (mut it, partition) = one_partition();
    let first = Some(Producer { id: 0, epoch: 0, base_sequence: 0 });
    it.append(partition, batch(1, first)).unwrap();
    it.pass_ms(1);
    for id in 1..=PRODUCERS as i64 {
        let batch = batch(1, Some(Producer { id, epoch: 0, base_sequence: 0 }));
        drop(it.ask(|reply| Command::Append { partition, batch, keys: None, reply }));
        if id % 10_000 == 0 {
            it.settle();
        }
    }
    it.settle();
    assert!(it.core.producers.get((partition, 0)).is_none());
    assert!(it.core.producers.get((partition, PRODUCERS as i64)).is_some());
    it.crash();
    assert!(it.core.producers.get((partition, 0)).is_none());
    assert!(it.core.producers.get((partition, PRODUCERS as i64)).is_some());
}

#[test]
fn a_producer_id_is_given_out_once_and_not_before_it_is_durable() {
    let mut it = Harness::new(|_| ());
    it.settle();
    let mut given = BTreeSet::new();
    let mut early = it.ask(|reply| Command::NewProducerId { reply });
    it.seal();
    assert!(early.try_recv().is_err(), "not durable yet");
    it.settle();
    given.insert(early.try_recv().unwrap().unwrap());
    let frames = it.log.stats().frames;
    for _ in 1..PRODUCER_ID_BLOCK {
        assert!(given.insert(it.done(|reply| Command::NewProducerId { reply }).unwrap()));
    }
    assert_eq!(it.log.stats().frames, frames, "reserved at once");
    for _ in 0..3 {
        it.crash();
        assert!(given.insert(it.done(|reply| Command::NewProducerId { reply }).unwrap()));
    }
}

#[test]
fn damage_in_one_partition_stops_appends_to_it_and_to_no_other() {
    let mut it = Harness::new(|_| ());
    let topic = it.topic("orders", 2, policy());
    let (damaged, sound) = (it.partition(topic, 0), it.partition(topic, 1));
    it.core.partitions.get_mut(&damaged).unwrap().quarantined = true;
    assert_eq!(it.append(damaged, batch(1, None)), Err(AppendError::Quarantined(damaged)));
    it.append(sound, batch(1, None)).unwrap();
}
