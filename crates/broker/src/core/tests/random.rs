//! Random lives of a queue and its dead-letter queue, with crashes, refusals and time passing. Whatever happens:
//! a settlement that was answered holds, an attempt that was written counts, and in the end each record was either
//! acked or is in the dead-letter queue, once.

use std::collections::{BTreeMap, BTreeSet};

use duolog_storage::LogError;

use super::*;
use crate::{DeadLetter, headers};

const SEEDS: u64 = 150;
const STEPS: usize = 120;
const ATTEMPTS_MAX: u32 = 4;

/// Source: SplitMix64 (Steele, Lea, Flood 2014).
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % n
    }
}

type Settlement = oneshot::Receiver<Result<Vec<Result<(), SettleError>>, SettleError>>;

struct Life {
    seed: u64,
    dice: Dice,
    h: Harness,
    q: QueueId,
    dead: QueueId,
    held: Vec<Grant>,
    asked: Vec<(Offset, Outcome, Settlement)>,
    acked: BTreeSet<Offset>,
    rejected: BTreeSet<Offset>,
    /// The highest attempt that was granted, and the highest that is known to be written.
    attempts: BTreeMap<Offset, u32>,
    written: BTreeMap<Offset, u32>,
}

impl Life {
    fn new(seed: u64) -> Self {
        let mut h = Harness::new(|core| {
            core.rounds.pace.round_bytes = 400;
            core.rounds.pace.bytes_min = 60;
        });
        let dead = h.queue("dead");
        let policy = QueuePolicy {
            attempts_max: Some(ATTEMPTS_MAX),
            dead_letter: Some(DeadLetter::Queue("dead".to_owned())),
            in_flight_max: 20,
            ..queue_policy()
        };
        let q = h.declare(QueueSpec { policy, ..queue_spec("q") }).unwrap();
        Self {
            seed,
            dice: Dice(seed),
            h,
            q,
            dead,
            held: Vec::new(),
            asked: Vec::new(),
            acked: BTreeSet::new(),
            rejected: BTreeSet::new(),
            attempts: BTreeMap::new(),
            written: BTreeMap::new(),
        }
    }

    fn step(&mut self) {
        match self.dice.below(14) {
            0..=2 => self.send(),
            3..=5 => self.lease(),
            6..=8 => self.end_a_lease(),
            9 => {
                self.h.seal();
            }
            10 => {
                self.h.seal();
                self.h.pump();
            }
            11 => {
                let ms = [3, 1_000, VISIBILITY_MS][self.dice.below(3) as usize];
                self.h.pass_ms(ms);
                self.h.seal();
            }
            12 => match self.dice.below(3) {
                0 => {
                    self.h.log.fail_next(LogError::DiskFull { bytes: 1, directory: "/data".to_owned() });
                }
                1 => self.crash(),
                _ => self.settle(),
            },
            _ => self.h.look(),
        }
        self.listen();
    }

    fn send(&mut self) {
        let topic = self.h.topic_of(self.q);
        let records = vec![NewRecord::default(); 1 + self.dice.below(3) as usize];
        // Whether it is answered does not matter: what becomes readable counts.
        drop(self.h.ask(|reply| Command::Publish { topic, records, reply }));
    }

    fn lease(&mut self) {
        let count = 1 + u32::try_from(self.dice.below(4)).unwrap();
        for grant in self.h.try_lease(self.q, count).unwrap_or_default() {
            self.take(grant);
        }
    }

    fn take(&mut self, grant: Grant) {
        let (seed, offset) = (self.seed, grant.offset);
        assert!(!self.acked.contains(&offset), "seed {seed}: {offset} was acked and came back");
        assert!(!self.rejected.contains(&offset), "seed {seed}: {offset} was moved and came back");
        let written = self.written.get(&offset).copied().unwrap_or_default();
        assert!(grant.attempt > written, "seed {seed}: attempt {} of {offset} again", grant.attempt);
        assert!(grant.attempt <= ATTEMPTS_MAX, "seed {seed}: attempt {} of {offset}", grant.attempt);
        self.attempts.insert(offset, grant.attempt);
        self.held.push(grant);
    }

    fn end_a_lease(&mut self) {
        if self.held.is_empty() {
            return;
        }
        let index = self.dice.below(self.held.len() as u64) as usize;
        let grant = self.held.swap_remove(index);
        let outcome = match self.dice.below(6) {
            0..=2 => Outcome::Ack,
            3 => Outcome::Release { after_ms: self.dice.below(2) * 500 },
            4 => Outcome::Extend { for_ms: 1_000 },
            _ => Outcome::DeadLetter,
        };
        let outcomes = vec![(lease_id(self.q, &grant), outcome)];
        let queue = self.q;
        let answer = self.h.ask(|reply| Command::Settle { queue, outcomes, reply });
        self.asked.push((grant.offset, outcome, answer));
    }

    /// Takes down what has been answered.
    fn listen(&mut self) {
        let (acked, rejected) = (&mut self.acked, &mut self.rejected);
        self.asked.retain_mut(|(offset, outcome, answer)| match answer.try_recv() {
            Err(oneshot::error::TryRecvError::Empty) => true,
            Err(oneshot::error::TryRecvError::Closed) | Ok(Err(_)) => false,
            Ok(Ok(results)) => {
                if results[0].is_ok() {
                    match outcome {
                        Outcome::Ack => drop(acked.insert(*offset)),
                        Outcome::DeadLetter => drop(rejected.insert(*offset)),
                        Outcome::Release { .. } | Outcome::Extend { .. } => {}
                    }
                }
                false
            }
        });
    }

    fn settle(&mut self) {
        self.h.settle();
        self.listen();
        self.written = self.attempts.clone();
    }

    fn crash(&mut self) {
        self.listen();
        self.h.crash();
        self.asked.clear();
        self.attempts = self.written.clone();
        if self.dice.below(2) == 0 {
            self.held.clear();
        }
    }

    /// Where the records in the dead-letter queue came from.
    fn sources(&self) -> Vec<Offset> {
        let records = self.h.records(self.h.partition(self.h.topic_of(self.dead), 0));
        let source = |record: &Record| {
            let header = record.headers.iter().find(|it| it.key == headers::DEAD_OFFSET).unwrap();
            Offset(std::str::from_utf8(header.value.as_ref().unwrap()).unwrap().parse().unwrap())
        };
        records.iter().map(source).collect()
    }

    fn finish(mut self) {
        self.settle();
        for _ in 0..200 {
            self.h.pass_ms(VISIBILITY_MS);
            self.h.core.tick(self.h.now);
            let grants = self.h.try_lease(self.q, 5).unwrap_or_default();
            for grant in &grants {
                self.take(*grant);
                let results = self.h.ack(self.q, std::slice::from_ref(grant));
                assert_eq!(results, [Ok(())], "seed {}", self.seed);
                self.acked.insert(grant.offset);
            }
            self.settle();
        }
        let seed = self.seed;
        let sources = self.sources();
        let dead: BTreeSet<Offset> = sources.iter().copied().collect();
        assert_eq!(dead.len(), sources.len(), "seed {seed}: a record was moved twice");
        assert!(self.rejected.is_subset(&dead), "seed {seed}: a move that was answered is not there");
        let both: Vec<_> = self.acked.intersection(&dead).collect();
        assert!(both.is_empty(), "seed {seed}: acked and dead: {both:?}");
        let depth = self.h.depth(self.q);
        assert_eq!((depth.available, depth.in_flight, depth.delayed), (0, 0, 0), "seed {seed}");
        let end = self.h.log.bounds(self.h.partition(self.h.topic_of(self.q), 0)).unwrap().end;
        let lost: Vec<u64> =
            (0..end.0).filter(|n| !self.acked.contains(&Offset(*n)) && !dead.contains(&Offset(*n))).collect();
        // An ack that was durable but not answered, because of a crash, is no loss.
        let unasked: Vec<_> = lost.iter().filter(|n| !self.attempts.contains_key(&Offset(**n))).collect();
        assert!(unasked.is_empty(), "seed {seed}: never delivered: {unasked:?}");
    }
}

#[test]
fn nothing_is_lost_moved_twice_or_delivered_after_it_was_settled() {
    for seed in 0..SEEDS {
        let mut life = Life::new(seed);
        for _ in 0..STEPS {
            life.step();
        }
        life.finish();
    }
}
