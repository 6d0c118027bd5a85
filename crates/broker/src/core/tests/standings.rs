//! Who goes first among those that stay, and whose turn it is.

use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Wake, Waker};

use super::*;
use crate::core::Stand;

#[derive(Default)]
struct Woken(AtomicU32);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Harness {
    fn join(&mut self, queue: QueueId, priority: i64, number: u64, single: bool) -> (Arc<Stand>, Arc<Woken>) {
        let woken = Arc::new(Woken::default());
        let stand = Arc::new(Stand::new(priority, number, single, Waker::from(Arc::clone(&woken))));
        self.core.handle(self.now, Command::Join { queue, stand: Arc::clone(&stand) });
        (stand, woken)
    }

    fn leave(&mut self, queue: QueueId, stand: &Arc<Stand>) {
        self.core.handle(self.now, Command::Leave { queue, stand: Arc::clone(stand) });
    }

    fn wait_with(&mut self, queue: QueueId, count: u32, priority: i64) -> Answer {
        let (reply, answer) = LeaseReply::new(None);
        let ask = LeaseAsk {
            queue,
            count,
            visibility_ms: None,
            wait_ms: 20_000,
            attempt: None,
            priority,
            bound: false,
        };
        self.core.handle(self.now, Command::Lease { ask, reply });
        answer
    }
}

#[test]
fn of_those_in_line_the_highest_priority_is_served_first() {
    let mut h = harness();
    let q = h.queue("q");
    let mut low = h.wait_with(q, 1, -1);
    let mut none = h.wait(q, 1, 20_000);
    let mut high = [h.wait_with(q, 1, 5), h.wait_with(q, 1, 5)];
    h.send(q, &["a", "b", "c", "d"]);
    let got = high.iter_mut().chain([&mut none, &mut low]).map(|it| offsets(&taken(it).unwrap()));
    assert_eq!(got.collect::<Vec<_>>(), [[0], [1], [2], [3]]);
}

#[test]
fn those_below_wait_for_one_that_has_credit_and_is_not_in_line() {
    let mut h = harness();
    let q = h.queue("q");
    let (high, _) = h.join(q, 1, 0, false);
    high.gain_credit();
    let mut below = h.wait(q, 10, 20_000);
    h.send(q, &["a", "b"]);
    assert!(waits(&mut below));
    // It is back, takes one and has no credit for more.
    let mut above = h.wait_with(q, 1, 1);
    assert_eq!(offsets(&taken(&mut above).unwrap()), [0]);
    assert!(waits(&mut below));
    assert!(high.lose_credit(), "somebody waits for that");
    h.core.handle(h.now, Command::Serve { queue: q });
    assert_eq!(offsets(&taken(&mut below).unwrap()), [1]);
    assert!(!high.lose_credit(), "nobody waits any more");
}

#[test]
fn one_that_leaves_lets_those_below_go_on() {
    let mut h = harness();
    let q = h.queue("q");
    let (high, _) = h.join(q, 1, 0, false);
    high.gain_credit();
    let mut below = h.wait(q, 1, 20_000);
    h.send(q, &["a"]);
    assert!(waits(&mut below));
    h.leave(q, &high);
    assert_eq!(offsets(&taken(&mut below).unwrap()), [0]);
}

#[test]
fn nobody_waits_for_an_equal_or_a_lower_priority() {
    let mut h = harness();
    let q = h.queue("q");
    for (number, priority) in [0, -7].into_iter().enumerate() {
        h.join(q, priority, number as u64, false).0.gain_credit();
    }
    h.send(q, &["a"]);
    assert_eq!(h.offsets(q, 1), [0]);
}

#[test]
fn one_who_does_not_wait_hears_at_once_that_there_is_nothing_for_it() {
    let mut h = harness();
    let q = h.queue("q");
    h.join(q, 1, 0, false).0.gain_credit();
    h.send(q, &["a"]);
    assert_eq!(h.offsets(q, 1), []);
}

#[test]
fn of_single_ones_exactly_one_is_active_until_it_leaves() {
    let mut h = harness();
    let q = h.queue("q");
    let all: Vec<_> = [0, 0, 3, 0]
        .into_iter()
        .zip(0..)
        .map(|(priority, number)| h.join(q, priority, number, true))
        .collect();
    let active = || all.iter().map(|(it, _)| it.is_active()).collect::<Vec<_>>();
    // The first, though the third would go first among those that wait.
    assert_eq!(active(), [true, false, false, false]);
    h.leave(q, &all[1].0);
    assert_eq!(active(), [true, false, false, false]);
    h.leave(q, &all[0].0);
    assert!(all[2].0.is_active() && !all[3].0.is_active());
    h.leave(q, &all[2].0);
    assert!(all[3].0.is_active());
    let woken: Vec<u32> = all.iter().map(|(_, it)| it.0.load(Ordering::Relaxed)).collect();
    assert_eq!(woken, [1, 0, 1, 1]);
}

#[test]
fn one_who_stands_for_a_queue_that_is_gone_harms_nobody() {
    let mut h = harness();
    let q = h.queue("q");
    let (stand, _) = h.join(q, 1, 0, true);
    h.done(|reply| Command::DeleteQueue { queue: q, reply }).unwrap();
    h.leave(q, &stand);
    let (late, woken) = h.join(q, 1, 1, true);
    assert!(!late.is_active());
    assert_eq!(woken.0.load(Ordering::Relaxed), 0);
}
