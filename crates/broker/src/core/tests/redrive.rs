//! Move tasks: every record is in one queue or the other, whatever comes between.

use std::collections::BTreeSet;

use bytes::Bytes;
use duolog_record::Header;
use duolog_storage::LogError;
use proptest::prelude::*;

use super::super::harness::Harness;
use super::*;
use crate::{DeadLetter, MoveFilter, MoveId, MoveSpec, MoveStatus, MoveTask, headers};

/// A queue, its dead-letter queue, and so many records that have gone there.
fn with_dead(h: &mut Harness, values: &[&str]) -> (QueueId, QueueId) {
    let dead = h.queue("dead");
    let policy = QueuePolicy {
        dead_letter: Some(DeadLetter::Queue("dead".to_owned())),
        attempts_max: Some(9),
        ..queue_policy()
    };
    let q = h.declare(QueueSpec { policy, ..queue_spec("q") }).unwrap();
    h.send(q, values);
    bury_all(h, q);
    assert_eq!(h.depth(dead).available, values.len() as u64);
    (q, dead)
}

fn bury_all(h: &mut Harness, q: QueueId) {
    let leased = h.lease(q, 1_000);
    let outcomes = leased.iter().map(|grant| (lease_id(q, grant), Outcome::DeadLetter)).collect();
    h.done(|reply| Command::Settle { queue: q, outcomes, reply }).unwrap();
}

fn back(source: QueueId) -> MoveSpec {
    MoveSpec { source, destination: None, rate_per_s: None, filter: None, dry_run: false }
}

impl Harness {
    fn begin(&mut self, spec: MoveSpec) -> Result<MoveId, ChangeError> {
        self.done(|reply| Command::StartMove { spec: Box::new(spec), reply })
    }

    fn task(&mut self, id: MoveId) -> MoveTask {
        let all = self.done(|reply| Command::ListMoves { source: None, reply }).unwrap();
        all.into_iter().find(|task| task.id == id).unwrap()
    }

    /// Lets the task go on until it is over.
    fn finish(&mut self, id: MoveId) -> MoveTask {
        for _ in 0..1_000 {
            let task = self.task(id);
            if !task.is_active() {
                return task;
            }
            self.pass_ms(10);
            self.settle();
        }
        panic!("{:?} does not end", self.task(id));
    }

    /// Leases everything, as text.
    fn texts(&mut self, queue: QueueId) -> BTreeSet<String> {
        let leased = self.lease(queue, 1_000);
        let mut texts = BTreeSet::new();
        for grant in leased {
            let records = self.records(grant.partition);
            let record = records.iter().find(|record| record.offset == grant.offset).unwrap();
            let text = String::from_utf8(record.value.clone().unwrap().to_vec()).unwrap();
            assert!(texts.insert(text), "twice");
        }
        texts
    }
}

fn set(values: &[&str]) -> BTreeSet<String> {
    values.iter().map(|&it| it.to_owned()).collect()
}

#[test]
fn records_go_back_to_where_they_came_from() {
    let mut h = Harness::new(|_| {});
    let (q, dead) = with_dead(&mut h, &["a", "b", "c"]);
    let id = h.begin(back(dead)).unwrap();
    let task = h.finish(id);
    assert_eq!((task.status, task.moved, task.to_move), (MoveStatus::Completed, 3, 3));
    assert_eq!((h.depth(dead).available, h.depth(q).available), (0, 3));
    let leased = h.lease(q, 1);
    assert_eq!(leased[0].attempt, 1);
    let topic = h.topic_of(q);
    let records = h.records(leased[0].partition);
    let record = records.iter().find(|record| record.offset == leased[0].offset).unwrap();
    let names: Vec<_> = record.headers.iter().map(|it| it.key.clone()).collect();
    assert_eq!(names, [Bytes::from_static(headers::ORIGIN.as_bytes())]);
    let origin = format!("{:032x}/0/0", topic.0);
    assert_eq!(record.headers[0].value.as_deref(), Some(origin.as_bytes()));
}

#[test]
fn records_go_to_the_queue_that_is_named() {
    let mut h = Harness::new(|_| {});
    let plain = h.queue("plain");
    let other = h.queue("other");
    h.send(plain, &["a", "b"]);
    let id = h.begin(MoveSpec { destination: Some(other), ..back(plain) }).unwrap();
    assert_eq!(h.finish(id).moved, 2);
    assert_eq!(h.texts(other), set(&["a", "b"]));
    assert_eq!(h.texts(plain), set(&[]));
}

#[test]
fn a_move_goes_on_after_a_crash_and_moves_nothing_twice() {
    let mut h = Harness::new(|_| {});
    let values: Vec<String> = (0..40).map(|n| n.to_string()).collect();
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    let (q, dead) = with_dead(&mut h, &values);
    let id = h.begin(MoveSpec { rate_per_s: Some(30), ..back(dead) }).unwrap();
    for _ in 0..2 {
        h.pass_ms(100);
        h.seal();
        h.crash();
        for _ in 0..6 {
            h.pass_ms(25);
            h.settle();
        }
    }
    let moved = h.task(id).moved;
    assert!(moved > 0 && moved < 40, "{moved}");
    h.crash();
    assert_eq!(h.finish(id).moved, 40);
    assert_eq!(h.texts(q), set(&values));
    assert_eq!(h.depth(dead).available, 0);
}

#[test]
fn a_rate_is_kept() {
    let mut h = Harness::new(|_| {});
    let values = ["a"; 50];
    let (_, dead) = with_dead(&mut h, &values);
    let id = h.begin(MoveSpec { rate_per_s: Some(10), ..back(dead) }).unwrap();
    for _ in 0..20 {
        h.pass_ms(100);
        h.settle();
    }
    let moved = h.task(id).moved;
    assert!((18..=23).contains(&moved), "{moved} in two seconds");
}

#[test]
fn a_cancelled_move_leaves_the_rest() {
    let mut h = Harness::new(|_| {});
    let (q, dead) = with_dead(&mut h, &["a", "b", "c", "d"]);
    let id = h.begin(MoveSpec { rate_per_s: Some(1), ..back(dead) }).unwrap();
    h.settle();
    h.done(|reply| Command::CancelMove { id, reply }).unwrap();
    let task = h.finish(id);
    assert_eq!(task.status, MoveStatus::Cancelled);
    assert_eq!(h.depth(dead).available + h.depth(q).available, 4);
    assert!(h.depth(dead).available > 0);
    let again = h.done(|reply| Command::CancelMove { id, reply });
    assert!(matches!(again, Err(ChangeError::Invalid { what: "move", .. })));
}

#[test]
fn only_what_matches_is_moved_and_the_rest_is_as_it_was() {
    let mut h = Harness::new(|_| {});
    let (plain, other) = (h.queue("plain"), h.queue("other"));
    let topic = h.topic_of(plain);
    let record = |key: &'static str, value: &'static str| NewRecord {
        key: Some(Bytes::from_static(key.as_bytes())),
        value: Some(Bytes::from_static(value.as_bytes())),
        ..NewRecord::default()
    };
    let records = vec![record("x", "1"), record("y", "2"), record("x", "3"), record("z", "4")];
    h.done(|reply| Command::Publish { topic, records, reply }).unwrap();
    let spec = MoveSpec {
        destination: Some(other),
        filter: Some(MoveFilter::Key(Bytes::from_static(b"x"))),
        ..back(plain)
    };
    let dry = h.begin(MoveSpec { dry_run: true, ..spec.clone() }).unwrap();
    let told = h.finish(dry);
    assert_eq!((told.status, told.moved), (MoveStatus::Completed, 2));
    assert_eq!((h.depth(plain).available, h.depth(other).available), (4, 0));
    let id = h.begin(spec).unwrap();
    assert_eq!(h.finish(id).moved, 2);
    assert_eq!(h.texts(other), set(&["1", "3"]));
    let leased = h.lease(plain, 10);
    assert_eq!((leased.len(), leased[0].attempt), (2, 1));
}

/// So many records, each with the key of one of a few groups; every seventh has the header `kind: rare`.
fn with_kinds(h: &mut Harness, order: Order, count: usize, groups: usize) -> (QueueId, QueueId) {
    let policy = QueuePolicy { order, ..queue_policy() };
    let q = h.declare(QueueSpec { policy, ..queue_spec("q") }).unwrap();
    let (other, topic) = (h.queue("other"), h.topic_of(q));
    for from in (0..count).step_by(50) {
        let records = (from..count.min(from + 50)).map(|n| NewRecord {
            key: Some(Bytes::from(format!("g{}", n % groups))),
            value: Some(Bytes::from(n.to_string())),
            headers: if n % 7 == 0 {
                vec![Header { key: "kind".into(), value: Some("rare".into()) }]
            } else {
                vec![]
            },
            ..NewRecord::default()
        });
        let records = records.collect();
        h.done(|reply| Command::Publish { topic, records, reply }).unwrap();
    }
    (q, other)
}

fn rare(source: QueueId, destination: QueueId) -> MoveSpec {
    let filter = MoveFilter::Header { name: "kind".into(), value: "rare".into() };
    MoveSpec { destination: Some(destination), filter: Some(filter), ..back(source) }
}

#[test]
fn a_move_by_filter_looks_at_all_whatever_stands_before() {
    for (order, groups) in
        [(Order::ByKey, 1), (Order::ByKey, 9), (Order::Fair, 1), (Order::Fair, 9), (Order::Standard, 3)]
    {
        let mut h = Harness::new(|_| {});
        let (q, other) = with_kinds(&mut h, order, 1_000, groups);
        // One in flight, of which the others of its group do not have to wait.
        let leased = h.lease(q, 1);
        let (offset, is_rare) = (leased[0].offset.0, leased[0].offset.0.is_multiple_of(7));
        let all = MoveSpec { destination: Some(other), dry_run: true, ..back(q) };
        let id = h.begin(all).unwrap();
        assert_eq!(h.finish(id).moved, 999, "{order:?}");
        let id = h.begin(MoveSpec { dry_run: true, ..rare(q, other) }).unwrap();
        assert_eq!(h.finish(id).moved, 143 - u64::from(is_rare), "{order:?}");
        assert_eq!((h.depth(q).available, h.depth(other).available), (999, 0));
        let id = h.begin(rare(q, other)).unwrap();
        let task = h.finish(id);
        assert_eq!((task.status, task.moved), (MoveStatus::Completed, 143 - u64::from(is_rare)), "{order:?}");
        let expected = (0..1_000).filter(|n| n % 7 == 0 && *n != offset).map(|n| n.to_string());
        assert_eq!(h.texts(other), expected.collect(), "{order:?}");
        assert_eq!(h.depth(q).available, 999 - task.moved);
    }
}

#[test]
fn what_a_move_by_filter_does_not_want_can_be_received_meanwhile() {
    let mut h = Harness::new(|_| {});
    let (q, other) = with_kinds(&mut h, Order::ByKey, 700, 70);
    let id = h.begin(MoveSpec { rate_per_s: Some(10), ..rare(q, other) }).unwrap();
    h.pass_ms(500);
    h.settle();
    assert!(h.task(id).is_active());
    assert!(h.texts(q).len() > 400);
    assert!(h.finish(id).moved < 100);
}

#[test]
fn a_move_by_filter_goes_on_after_a_crash_and_moves_nothing_twice() {
    let mut h = Harness::new(|_| {});
    let (q, other) = with_kinds(&mut h, Order::ByKey, 700, 3);
    let id = h.begin(MoveSpec { rate_per_s: Some(50), ..rare(q, other) }).unwrap();
    for _ in 0..3 {
        h.pass_ms(300);
        h.seal();
        h.crash();
    }
    let task = h.finish(id);
    assert_eq!((task.status, task.moved), (MoveStatus::Completed, 100));
    assert_eq!(h.texts(other).len(), 100);
    assert_eq!(h.depth(q).available, 600);
}

#[test]
fn a_search_that_is_cancelled_or_purged_ends() {
    let mut h = Harness::new(|_| {});
    let (q, other) = with_kinds(&mut h, Order::Fair, 700, 3);
    let id = h.begin(MoveSpec { rate_per_s: Some(10), ..rare(q, other) }).unwrap();
    h.pass_ms(500);
    h.settle();
    h.done(|reply| Command::CancelMove { id, reply }).unwrap();
    assert_eq!(h.finish(id).status, MoveStatus::Cancelled);
    assert_eq!(h.depth(q).available + h.depth(other).available, 700);
    let id = h.begin(MoveSpec { rate_per_s: Some(10), ..rare(q, other) }).unwrap();
    h.pass_ms(500);
    h.settle();
    h.done(|reply| Command::PurgeQueue { queue: q, reply }).unwrap();
    assert_eq!(h.finish(id).status, MoveStatus::Completed);
    assert_eq!(h.depth(q).available, 0);
}

#[test]
fn what_cannot_go_anywhere_fails_the_move_and_stays() {
    let mut h = Harness::new(|_| {});
    let plain = h.queue("plain");
    h.send(plain, &["a"]);
    let id = h.begin(back(plain)).unwrap();
    let MoveStatus::Failed { reason } = h.finish(id).status else { panic!("it did not fail") };
    assert!(reason.contains("name a destination"), "{reason}");
    assert_eq!(h.lease(plain, 1)[0].attempt, 1);
    let (q, dead) = with_dead(&mut h, &["b"]);
    h.done(|reply| Command::DeleteQueue { queue: q, reply }).unwrap();
    let id = h.begin(back(dead)).unwrap();
    assert!(matches!(h.finish(id).status, MoveStatus::Failed { .. }));
    assert_eq!(h.depth(dead).available, 1);
}

#[test]
fn one_move_runs_from_a_queue_at_a_time_and_goes_with_it() {
    let mut h = Harness::new(|_| {});
    let (_, dead) = with_dead(&mut h, &["a", "b"]);
    let slow = MoveSpec { rate_per_s: Some(1), ..back(dead) };
    h.begin(slow.clone()).unwrap();
    assert!(matches!(h.begin(slow), Err(ChangeError::Exists(_))));
    h.done(|reply| Command::DeleteQueue { queue: dead, reply }).unwrap();
    h.crash();
    assert_eq!(h.done(|reply| Command::ListMoves { source: None, reply }), Ok(Vec::new()));
}

#[test]
fn a_purge_ends_a_move() {
    let mut h = Harness::new(|_| {});
    let (q, dead) = with_dead(&mut h, &["a", "b", "c"]);
    let id = h.begin(MoveSpec { rate_per_s: Some(1), ..back(dead) }).unwrap();
    h.settle();
    h.done(|reply| Command::PurgeQueue { queue: dead, reply }).unwrap();
    assert_eq!(h.finish(id).status, MoveStatus::Completed);
    assert_eq!(h.depth(dead).available, 0);
    assert!(h.depth(q).available <= 1);
}

#[test]
fn the_last_moves_are_remembered() {
    let mut h = Harness::new(|_| {});
    let (_, dead) = with_dead(&mut h, &[]);
    for _ in 0..crate::limits::MOVE_TASKS_KEPT + 3 {
        let id = h.begin(back(dead)).unwrap();
        h.finish(id);
    }
    h.crash();
    let all = h.done(|reply| Command::ListMoves { source: Some(dead), reply }).unwrap();
    assert!(all.len() <= crate::limits::MOVE_TASKS_KEPT + 1);
    assert!(all.windows(2).all(|two| two[0].id > two[1].id));
}

#[test]
fn a_move_to_its_own_topic_is_refused() {
    let mut h = Harness::new(|_| {});
    let q = h.queue("q");
    let same = h.declare(QueueSpec { topic: Some("q".to_owned()), ..queue_spec("same") }).unwrap();
    for destination in [q, same] {
        let refused = h.begin(MoveSpec { destination: Some(destination), ..back(q) });
        assert!(matches!(refused, Err(ChangeError::Invalid { what: "destination", .. })));
    }
    assert!(matches!(h.begin(back(QueueId(99))), Err(ChangeError::NotFound(_))));
}

/// What may happen while a move goes on.
#[derive(Clone, Debug)]
enum Step {
    Pass(u64),
    Seal,
    Crash,
    DiskFull,
    Cancel,
    Start(Option<u32>),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..300u64).prop_map(Step::Pass),
        2 => Just(Step::Seal),
        2 => Just(Step::Crash),
        1 => Just(Step::DiskFull),
        1 => Just(Step::Cancel),
        3 => prop::option::of(20..400u32).prop_map(Step::Start),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn every_record_is_in_one_queue(steps in prop::collection::vec(step(), 1..40)) {
        let mut h = Harness::new(|_| {});
        let values: Vec<String> = (0..30).map(|n| n.to_string()).collect();
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        let (q, dead) = with_dead(&mut h, &values);
        for step in steps {
            match step {
                Step::Pass(ms) => {
                    h.pass_ms(ms);
                    h.settle();
                }
                Step::Seal => h.seal(),
                Step::Crash => h.crash(),
                Step::DiskFull => h.log.fail_next(LogError::DiskFull { bytes: 1, directory: "d".to_owned() }),
                Step::Cancel => {
                    let all = h.done(|reply| Command::ListMoves { source: None, reply });
                    if let Some(task) = all.unwrap_or_default().iter().find(|task| task.is_active()) {
                        let id = task.id;
                        let _ = h.done(|reply| Command::CancelMove { id, reply });
                    }
                }
                Step::Start(rate_per_s) => drop(h.begin(MoveSpec { rate_per_s, ..back(dead) })),
            }
        }
        h.crash();
        h.settle();
        let id = match h.begin(back(dead)) {
            Ok(id) => id,
            Err(_) => h.done(|reply| Command::ListMoves { source: None, reply }).unwrap()[0].id,
        };
        h.finish(id);
        let here = h.texts(q);
        let there = h.texts(dead);
        prop_assert!(here.is_disjoint(&there));
        prop_assert_eq!(here.len() + there.len(), 30);
    }
}
