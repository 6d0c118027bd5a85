//! The shard's seat: whoever sits there drives the core, taking inputs, deciding, and handing commits to the log.
//!
//! One at a time, but not always the same: who puts something in takes the seat if it is free, and so spares waking a
//! thread that would only do the same. The shard's own thread does what is due by time, and what others leave. Whoever
//! sits there never touches the disk and never waits; slow looks go to the reader's thread.
//!
//! Invariant: what was put in is taken out without anybody waiting for it: who finds the seat taken may go, because who sits
//! there looks into the inbox again after getting up.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use duolog_storage::{Log, LogError};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;

use crate::core::{Command, Core};
use crate::errors::Stopped;
use crate::inbox::Inbox;
use crate::limits::TURNS;
use crate::reader::Reader;
use crate::{Clock, Monotonic};

/// What comes into the shard.
pub(crate) enum Input {
    Command(Command),
    /// The fate of a group.
    Committed(u64, Result<(), LogError>),
    /// End in order.
    End,
}

impl Input {
    /// Says to whoever waits for an answer that the shard has ended.
    fn refuse(self) {
        if let Self::Command(command) = self {
            command.refuse(&shutting_down());
        }
    }
}

/// Who sits on the seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Driver {
    /// The shard's thread and whoever puts something in.
    Threads,
    /// A [`crate::Stepper`] alone: nothing happens but in its steps.
    Hand,
}

/// Where inputs come in, and the seat of whoever works on them.
pub(crate) struct Desk {
    inbox: Inbox<Input>,
    /// Empty before the start and after the end.
    seat: Mutex<Option<Shard>>,
    driver: Driver,
}

/// What one works with on the seat.
pub(crate) struct Shard {
    pub(crate) core: Core,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) reader: Reader,
    /// The end was asked for.
    pub(crate) ending: bool,
    /// Told once, if the shard stops by itself.
    pub(crate) failed: watch::Sender<Option<Stopped>>,
    /// When the shard's thread looks next, if nobody wakes it.
    pub(crate) alarm: Option<Monotonic>,
    /// Commits that the log has and has not answered.
    pub(crate) in_flight: Arc<AtomicUsize>,
}

impl Desk {
    pub(crate) fn new(driver: Driver) -> Self {
        Self { inbox: Inbox::new(), seat: Mutex::new(None), driver }
    }

    /// Puts the shard on the seat, before anything is put in.
    pub(crate) fn open(&self, shard: Shard) {
        *self.seat.lock() = Some(shard);
    }

    /// Puts an input in, and works on what waits if nobody does. After the end a command is refused.
    pub(crate) fn put(self: &Arc<Self>, input: Input) {
        match self.inbox.leave(input) {
            Ok(()) if self.driver == Driver::Threads => self.take_turns(),
            Ok(()) => {}
            Err(input) => input.refuse(),
        }
    }

    /// Puts an input in for the shard's thread. After the end a command is refused.
    pub(crate) fn leave(&self, input: Input) {
        if let Err(input) = self.inbox.put(input) {
            input.refuse();
        }
    }

    /// Lets the shard's thread look at the clock now.
    pub(crate) fn nudge(&self) {
        self.inbox.nudge();
    }

    /// Nobody puts anything in any more: the shard's thread ends once it has done what waits.
    pub(crate) fn close(&self) {
        self.inbox.close();
    }

    /// What the shard's thread does: runs until the inbox is closed, or until the end that was asked for is durable.
    pub(crate) fn run(self: &Arc<Self>) {
        loop {
            let patience = {
                let Some(mut turn) = Turn::of(self, self.seat.lock()) else { break };
                turn.step();
                if turn.shard().has_ended() {
                    break;
                }
                turn.shard().patience()
            };
            if !self.inbox.sleep(patience) {
                break;
            }
        }
        self.end();
    }

    /// Takes what waits, without waiting for more, and hands on what the core decides.
    pub(crate) fn step(self: &Arc<Self>) {
        if let Some(mut turn) = Turn::of(self, self.seat.lock()) {
            turn.step();
        }
    }

    /// The end that was asked for is durable, or never will be.
    pub(crate) fn has_ended(&self) -> bool {
        self.seat.lock().as_ref().is_none_or(Shard::has_ended)
    }

    /// Leaves the seat empty for good; what comes in after the end is answered, not left hanging.
    pub(crate) fn end(&self) {
        self.inbox.close();
        let shard = self.seat.lock().take();
        self.refuse_rest();
        drop(shard);
    }

    fn refuse_rest(&self) {
        let mut inputs = Vec::new();
        self.inbox.take_now(&mut inputs);
        inputs.into_iter().for_each(Input::refuse);
    }

    fn take_turns(self: &Arc<Self>) {
        for _ in 0..TURNS {
            let Some(mut turn) = self.seat.try_lock().and_then(|seat| Turn::of(self, seat)) else { return };
            turn.step();
            turn.set_alarm();
            drop(turn);
            if self.inbox.is_empty() {
                return;
            }
        }
        self.inbox.nudge();
    }
}

/// Sitting on the seat.
struct Turn<'a> {
    desk: &'a Arc<Desk>,
    seat: MutexGuard<'a, Option<Shard>>,
}

impl<'a> Turn<'a> {
    /// `None` after the end.
    fn of(desk: &'a Arc<Desk>, seat: MutexGuard<'a, Option<Shard>>) -> Option<Self> {
        seat.is_some().then(|| Self { desk, seat })
    }

    fn shard(&mut self) -> &mut Shard {
        self.seat.as_mut().expect("a turn begins with a shard and leaves it there")
    }

    fn step(&mut self) {
        let mut inputs = Vec::new();
        self.desk.inbox.take_now(&mut inputs);
        let desk = self.desk;
        let shard = self.shard();
        shard.handle(inputs);
        shard.advance(desk);
    }

    /// Wakes the shard's thread if it would sleep for too long, or has to end.
    fn set_alarm(&mut self) {
        let shard = self.shard();
        let due = shard.core.next_deadline();
        let is_early = due.is_some_and(|due| shard.alarm.is_none_or(|alarm| due < alarm));
        if is_early || shard.has_ended() {
            shard.alarm = due;
            self.desk.nudge();
        }
    }
}

impl Drop for Turn<'_> {
    /// After a panic the state is in doubt: nobody is to build on it.
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(shard) = self.seat.take()
        {
            let reason = "a mistake in the broker itself: see the panic above".to_owned();
            shard.failed.send_replace(Some(Stopped { reason }));
            self.desk.inbox.close();
            self.desk.refuse_rest();
            // Whoever still waits for an answer of the core hears that nobody will give it.
            drop(shard);
        }
    }
}

impl Shard {
    fn has_ended(&self) -> bool {
        self.ending && (self.core.is_idle() || self.core.stopped().is_some())
    }

    fn handle(&mut self, inputs: Vec<Input>) {
        let now = self.clock.now();
        for input in inputs {
            match input {
                Input::Command(command) => self.core.handle(now, command),
                Input::Committed(group, result) => self.core.committed(now, group, result),
                Input::End => {
                    self.ending = true;
                    self.core.end();
                }
            }
        }
    }

    /// Hands on what the core has decided.
    fn advance(&mut self, desk: &Arc<Desk>) {
        let now = self.clock.now();
        self.core.tick(now);
        while let Some(work) = self.core.take_work() {
            self.reader.ask(work);
        }
        while let Some(sealed) = self.core.seal(now) {
            let (desk, in_flight) = (Arc::clone(desk), Arc::clone(&self.in_flight));
            in_flight.fetch_add(1, Ordering::Relaxed);
            let done = move |result| {
                let is_last = in_flight.fetch_sub(1, Ordering::Relaxed) == 1;
                let input = Input::Committed(sealed.group, result);
                // With another commit in its hands the log's thread has better to do than to take a turn.
                if is_last { desk.put(input) } else { desk.leave(input) }
            };
            self.log.commit(sealed.commit, Box::new(done));
        }
        if let Some(stopped) = self.core.stopped()
            && self.failed.borrow().is_none()
        {
            self.failed.send_replace(Some(stopped.clone()));
        }
    }

    /// How long nothing needs to be done by time.
    fn patience(&mut self) -> Option<Duration> {
        self.alarm = self.core.next_deadline();
        let now = self.clock.now().monotonic;
        self.alarm.map(|at| Duration::from_micros(at.0.saturating_sub(now.0)))
    }
}

/// Why a verb fails after the end.
pub(crate) fn shutting_down() -> Stopped {
    Stopped { reason: "the broker is shutting down".to_owned() }
}
