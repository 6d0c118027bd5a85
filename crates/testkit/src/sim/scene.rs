//! Scenes: parts of the catalog with clients and a judge of their own, each in some of the runs beside everything else.
//!
//! A scene has a chance of its own, so that runs without it are what they were before it was written.
//! Adding one: a module with a [`Scene`], a line in [`of_run`], counts in `seen.rs`.

use std::future::Future;
use std::pin::Pin;
use std::task::Poll;

use duolog_broker::Session;

use super::burials::Burials;
use super::clock::ManualClock;
use super::fanout::Fanout;
use super::lengths::Short;
use super::node::{Node, poll_once};
use super::seen::Seen;
use crate::Random;
use crate::history::{Broken, When};

/// What a run does with each of its scenes.
pub(super) trait Scene {
    /// Declares what is missing, after a start.
    fn set(&mut self, node: &mut Node) -> Result<(), Broken>;

    /// Its clients ask for something.
    fn ask(&mut self, node: &mut Node, seen: &mut Seen) -> Result<(), Broken>;

    /// Its clients hear what was answered.
    fn hear(&mut self, seen: &mut Seen) -> Result<(), Broken>;

    /// A commit that was begun after everything told so far is synced.
    fn barrier(&mut self) {}

    /// The process is gone, and nobody will be answered.
    fn cut_off(&mut self);

    /// Looks at everything.
    fn look(&mut self, session: &Session, when: When, seen: &mut Seen) -> Result<(), Broken>;

    /// The end: the disk is healthy, and whatever was promised must come out.
    fn over(&mut self, node: &mut Node, clock: &ManualClock, seen: &mut Seen) -> Result<(), Broken>;
}

/// The scenes of a run.
pub(super) fn of_run(seed: u64) -> Vec<Box<dyn Scene>> {
    let mut random = Random::new(seed ^ 0x5ce9_e5ce_9e5c_e9e5);
    let which = random.below(4);
    let mut scenes: Vec<Box<dyn Scene>> = Vec::new();
    match which {
        0 => scenes.push(Box::new(Fanout::new(random.fork()))),
        1 => scenes.push(Box::new(Burials::new(random.fork()))),
        2 => scenes.push(Box::new(Short::new(random.fork()))),
        _ => {}
    }
    scenes
}

/// What the clients of a scene wait for.
pub(super) struct Flights<T> {
    waiting: Vec<Pin<Box<dyn Future<Output = T>>>>,
}

/// Most verbs of one scene that wait at a time.
const FLIGHTS_MAX: usize = 12;

impl<T> Flights<T> {
    pub(super) fn new() -> Self {
        Self { waiting: Vec::new() }
    }

    pub(super) fn are_many(&self) -> bool {
        self.waiting.len() >= FLIGHTS_MAX
    }

    pub(super) fn fly(&mut self, told: impl Future<Output = T> + 'static) {
        self.waiting.push(Box::pin(told));
    }

    /// What was answered, in the order of the asks.
    pub(super) fn answered(&mut self) -> Vec<T> {
        let mut answered = Vec::new();
        self.waiting.retain_mut(|told| match poll_once(told.as_mut()) {
            Poll::Pending => true,
            Poll::Ready(told) => {
                answered.push(told);
                false
            }
        });
        answered
    }

    /// One of those who wait goes away.
    pub(super) fn give_up(&mut self, random: &mut Random) {
        if !self.waiting.is_empty() {
            drop(self.waiting.remove(random.index(self.waiting.len())));
        }
    }

    /// All of them do.
    pub(super) fn cut_off(&mut self) {
        self.waiting.clear();
    }
}
