//! Delayed records enter their topic when they are due: once, whatever comes between.

use std::collections::BTreeMap;

use bytes::Bytes;
use duolog_storage::LogError;
use proptest::prelude::*;

use super::super::harness::{Harness, policy};
use super::super::rounds::Pace;
use super::*;
use crate::errors::AppendError;
use crate::{Published, TopicPolicy, headers};

fn delayed(value: &str, delay_ms: u64) -> NewRecord {
    let value = Some(Bytes::copy_from_slice(value.as_bytes()));
    NewRecord { value, delay_ms: Some(delay_ms), ..NewRecord::default() }
}

impl Harness {
    fn send_delayed(&mut self, topic: TopicId, value: &str, delay_ms: u64) -> Published {
        let records = vec![delayed(value, delay_ms)];
        self.done(|reply| Command::Publish { topic, records, reply }).unwrap()[0]
    }

    /// All records of a topic's first partition.
    fn entered(&self, topic: TopicId) -> Vec<Record> {
        self.records(self.partition(topic, 0))
    }

    fn entered_values(&self, topic: TopicId) -> Vec<String> {
        let text = |it: Record| String::from_utf8(it.value.unwrap().to_vec()).unwrap();
        self.entered(topic).into_iter().map(text).collect()
    }

    /// Lets time pass and does what is due.
    pub(super) fn pass(&mut self, ms: u64) {
        self.pass_ms(ms);
        self.settle_all_due();
    }

    /// As a thread would that sleeps until there is something to do.
    fn settle_all_due(&mut self) {
        self.settle();
        while self.core.next_deadline().is_some_and(|at| at <= self.now.monotonic) {
            self.settle();
        }
    }

    fn hidden(&self, topic: TopicId) -> (u64, u64) {
        let partition = self.core.delays.get(topic).unwrap().partition;
        let bounds = self.log.bounds(partition).unwrap();
        (bounds.start.0, bounds.end.0)
    }

    fn depth_of(&mut self, queue: QueueId) -> Depth {
        let mut answer = self.ask(|reply| Command::Depth { queue, reply });
        self.look();
        answer.try_recv().unwrap().unwrap()
    }
}

#[test]
fn a_record_enters_its_topic_when_it_is_due_and_not_before() {
    let mut h = Harness::new(|_| {});
    let topic = h.topic("t", 1, policy());
    let sent_at = h.now.wall;
    let told = h.send_delayed(topic, "later", 5_000);
    assert_eq!((told.partition_index, told.offset), (Published::DELAYED, Offset(0)));
    h.send_delayed(topic, "sooner", 2_000);
    h.send_delayed(topic, "at once", 0);
    assert_eq!(h.entered_values(topic), ["at once"]);
    h.pass(1_999);
    assert_eq!(h.entered_values(topic), ["at once"]);
    h.pass(1);
    assert_eq!(h.entered_values(topic), ["at once", "sooner"]);
    h.pass(3_000);
    assert_eq!(h.entered_values(topic), ["at once", "sooner", "later"]);
    let last = h.entered(topic).pop().unwrap();
    assert_eq!(last.timestamp, sent_at);
    assert_eq!(last.headers.len(), 1);
    assert_eq!(last.headers[0].key, headers::ORIGIN);
    let origin = format!("{:032x}/{}/0", topic.0, Published::DELAYED);
    assert_eq!(last.headers[0].value.as_deref(), Some(origin.as_bytes()));
}

#[test]
fn the_core_wakes_up_for_what_is_due() {
    let mut h = Harness::new(|_| {});
    let topic = h.topic("t", 1, policy());
    h.send_delayed(topic, "a", 1_500);
    let due = h.now.monotonic.plus_ms(1_500);
    assert!(h.core.next_deadline().is_some_and(|at| at <= due));
    while h.now.monotonic < due {
        let at = h.core.next_deadline().unwrap();
        assert!(at <= due);
        h.pass(at.ms_since(h.now.monotonic).max(1));
    }
    assert_eq!(h.entered_values(topic), ["a"]);
}

#[test]
fn a_restart_delivers_what_is_overdue_and_keeps_the_rest() {
    let mut h = Harness::new(|_| {});
    let topic = h.topic("t", 1, policy());
    for (value, delay_ms) in [("b", 2_000), ("a", 1_000), ("c", 60 * 60 * 1000)] {
        h.send_delayed(topic, value, delay_ms);
    }
    h.pass(1_000);
    h.crash();
    h.settle_all_due();
    assert_eq!(h.entered_values(topic), ["a"]);
    h.pass_ms(10_000);
    h.crash();
    h.settle_all_due();
    assert_eq!(h.entered_values(topic), ["a", "b"]);
    h.pass(60 * 60 * 1000);
    assert_eq!(h.entered_values(topic), ["a", "b", "c"]);
}

#[test]
fn a_crash_between_neither_doubles_nor_loses() {
    let mut h = Harness::new(|_| {});
    let topic = h.topic("t", 1, policy());
    h.send_delayed(topic, "a", 1_000);
    h.send_delayed(topic, "b", 1_000);
    h.pass_ms(1_000);
    // Sealed, and the power fails before it is durable.
    h.seal();
    h.crash();
    h.settle_all_due();
    assert_eq!(h.entered_values(topic), ["a", "b"]);
    h.crash();
    h.pass(1_000);
    assert_eq!(h.entered_values(topic), ["a", "b"]);
}

#[test]
fn what_is_in_flight_keeps_what_is_due_later_from_leaving_before_it() {
    let mut h = Harness::new(|_| {});
    let topic = h.topic("t", 1, policy());
    h.send_delayed(topic, "later", 20);
    let _slow = h.ask(|reply| Command::Publish { topic, records: vec![delayed("sooner", 10)], reply });
    h.seal();
    // Its commit takes so long that both are due.
    h.pass_ms(100);
    h.core.tick(h.now);
    h.look();
    assert_eq!(h.core.delayed_count(topic), 2);
    h.pump();
    h.seal();
    h.crash();
    h.settle_all_due();
    assert_eq!(h.entered_values(topic), ["sooner", "later"]);
}

#[test]
fn a_full_disk_delays_a_move_and_refuses_what_is_new() {
    let mut h = Harness::new(|_| {});
    let topic = h.topic("t", 1, policy());
    h.send_delayed(topic, "a", 1_000);
    h.pass_ms(1_000);
    let mut refused = h.ask(|reply| Command::Publish { topic, records: vec![delayed("b", 1_000)], reply });
    h.log.fail_next(LogError::DiskFull { bytes: 1, directory: "there".to_owned() });
    h.settle();
    assert_eq!(refused.try_recv().unwrap(), Err(AppendError::DiskFull));
    assert_eq!(h.entered_values(topic), ["a"]);
    assert_eq!(h.core.delayed_count(topic), 0);
    h.crash();
    h.settle_all_due();
    h.send_delayed(topic, "c", 10);
    h.pass(1_000);
    assert_eq!(h.entered_values(topic), ["a", "c"]);
}

#[test]
fn the_hidden_partition_is_given_back_and_its_places_never_come_again() {
    let mut h = Harness::new(|_| {});
    let topic = h.topic("t", 1, policy());
    h.send_delayed(topic, "a", 1_000);
    h.pass(1_000);
    assert_eq!(h.hidden(topic), (1, 1));
    h.crash();
    assert_eq!(h.send_delayed(topic, "b", 1_000).offset, Offset(1));
}

#[test]
fn delayed_records_count_in_the_depth_of_the_queues_and_go_with_a_purge() {
    let mut h = Harness::new(|_| {});
    let q = h.queue("q");
    let topic = h.topic_of(q);
    h.send(q, &["now"]);
    h.send_delayed(topic, "a", 1_000);
    h.send_delayed(topic, "b", 2_000);
    let depth = h.depth_of(q);
    assert_eq!((depth.available, depth.delayed), (1, 2));
    h.pass(1_000);
    let depth = h.depth_of(q);
    assert_eq!((depth.available, depth.delayed), (2, 1));
    assert_eq!(h.done(|reply| Command::PurgeQueue { queue: q, reply }), Ok(3));
    h.pass(5_000);
    let depth = h.depth_of(q);
    assert_eq!((depth.available, depth.delayed), (0, 0));
    h.crash();
    h.pass(5_000);
    assert!(!h.entered_values(topic).contains(&"b".to_owned()));
}

#[test]
fn a_purge_leaves_what_others_wait_for() {
    let mut h = Harness::new(|_| {});
    let topic = h.topic("t", 1, policy());
    let q = h.declare(QueueSpec { topic: Some("t".to_owned()), ..queue_spec("q") }).unwrap();
    h.send_delayed(topic, "a", 1_000);
    assert_eq!(h.done(|reply| Command::PurgeQueue { queue: q, reply }), Ok(0));
    h.pass(1_000);
    assert_eq!(h.entered_values(topic), ["a"]);
}

#[test]
fn a_topic_takes_its_delayed_records_with_it() {
    let mut h = Harness::new(|_| {});
    let topic = h.topic("t", 1, policy());
    h.send_delayed(topic, "a", 1_000);
    h.pass_ms(1_000);
    let partition = h.core.delays.get(topic).unwrap().partition;
    h.done(|reply| Command::DeleteTopic { topic, reply }).unwrap();
    assert!(h.log.bounds(partition).is_none());
    h.crash();
    h.pass(1_000);
    assert!(h.core.delays.get(topic).is_none());
}

#[test]
fn what_outgrows_the_index_is_found_again() {
    let room = crate::limits::DELAY_INDEX_MIN as u64;
    // As many topics as make the room of each the least.
    let tune = |core: &mut super::super::Core| core.delays.room_max = crate::limits::DELAY_INDEX_MIN;
    let mut h = Harness::new(tune);
    let topic = h.topic("t", 1, policy());
    let count = room * 3;
    // The latest first, so that each pushes another out.
    let records: Vec<_> = (0..count).map(|n| delayed(&n.to_string(), 10_000 + (count - n) * 10)).collect();
    h.done(|reply| Command::Publish { topic, records, reply }).unwrap();
    h.pass(10_000 + count * 5);
    h.crash();
    h.settle_all_due();
    h.pass(count * 10);
    let expected: Vec<_> = (0..count).rev().map(|n| n.to_string()).collect();
    assert_eq!(h.entered_values(topic), expected);
    assert_eq!((h.hidden(topic), h.core.delayed_count(topic)), ((count, count), 0));
}

#[test]
fn a_wall_clock_that_is_set_back_loses_nothing() {
    let mut h = Harness::new(|_| {});
    let topic = h.topic("t", 1, policy());
    h.send_delayed(topic, "a", 1_000);
    h.pass(1_000);
    h.now.wall.0 -= 50_000;
    h.send_delayed(topic, "b", 1_000);
    h.crash();
    h.pass(51_001);
    assert_eq!(h.entered_values(topic), ["a", "b"]);
}

#[test]
fn a_delayed_record_is_stored_once_as_well() {
    let mut h = Harness::new(|_| {});
    let dedup = Some(crate::DedupPolicy { window_ms: 60_000, per_key: false });
    let topic = h.topic("t", 1, TopicPolicy { dedup, ..policy() });
    let record = NewRecord { idempotency_key: Some(Bytes::from_static(b"k")), ..delayed("a", 1_000) };
    let publish = |reply| Command::Publish { topic, records: vec![record.clone(), record.clone()], reply };
    let told = h.done(publish).unwrap();
    assert_eq!((told[0].duplicate, told[1].duplicate), (false, true));
    assert_eq!((told[0].partition_index, told[0].offset), (told[1].partition_index, told[1].offset));
    h.crash();
    h.pass(1_000);
    assert!(h.done(|reply| Command::Publish { topic, records: vec![record], reply }).unwrap()[0].duplicate);
    assert_eq!(h.entered_values(topic), ["a"]);
}

/// What may happen.
#[derive(Clone, Debug)]
enum Step {
    Send(u64),
    Pass(u64),
    Crash,
    /// Power fails while something is in flight.
    CrashInFlight,
    DiskFull,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1..5_000u64).prop_map(Step::Send),
        4 => (0..2_000u64).prop_map(Step::Pass),
        1 => Just(Step::Crash),
        1 => Just(Step::CrashInFlight),
        1 => Just(Step::DiskFull),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// A list of records and their times tells what has entered.
    #[test]
    fn a_list_of_times_tells_the_same(steps in prop::collection::vec(step(), 1..60)) {
        let tune = |core: &mut super::super::Core| {
            core.rounds.pace = Pace { round_bytes: 600, bytes_min: 40 };
            core.delays.room_max = 3;
        };
        let mut h = Harness::new(tune);
        let topic = h.topic("t", 1, policy());
        let mut model: BTreeMap<String, i64> = BTreeMap::new();
        let mut sent = 0;
        for step in steps {
            match step {
                Step::Send(delay_ms) => {
                    let value = sent.to_string();
                    sent += 1;
                    let at = h.now.wall.0 + i64::try_from(delay_ms).unwrap();
                    let records = vec![delayed(&value, delay_ms)];
                    match h.done(|reply| Command::Publish { topic, records, reply }) {
                        Ok(_) => drop(model.insert(value, at)),
                        Err(error) => prop_assert_eq!(error, AppendError::DiskFull),
                    }
                }
                Step::Pass(ms) => h.pass(ms),
                Step::Crash => h.crash(),
                Step::CrashInFlight => {
                    h.seal();
                    h.crash();
                }
                Step::DiskFull => h.log.fail_next(LogError::DiskFull { bytes: 1, directory: "d".to_owned() }),
            }
            h.settle_all_due();
            let now = h.now.wall.0;
            let mut entered = h.entered_values(topic);
            entered.sort_unstable();
            let mut due: Vec<_> = model.iter().filter(|&(_, &at)| at <= now).map(|(it, _)| it.clone()).collect();
            due.sort_unstable();
            prop_assert_eq!(&entered, &due);
            prop_assert_eq!(h.core.delayed_count(topic) as usize, model.len() - due.len());
        }
        h.pass(10_000);
        prop_assert_eq!(h.entered_values(topic).len(), model.len());
        prop_assert_eq!(h.fold_from(h.core.state.start), h.durable);
    }
}

#[test]
fn what_is_due_waits_for_a_damaged_topic_and_is_not_lost() {
    let mut h = Harness::new(|_| {});
    let topic = h.topic("t", 1, policy());
    h.send_delayed(topic, "a", 1_000);
    let partition = h.partition(topic, 0);
    h.core.partitions.get_mut(&partition).unwrap().quarantined = true;
    h.pass(60_000);
    assert_eq!(h.entered_values(topic), Vec::<String>::new());
    h.core.partitions.get_mut(&partition).unwrap().quarantined = false;
    h.pass(60_000);
    assert_eq!(h.entered_values(topic), ["a"]);
}
