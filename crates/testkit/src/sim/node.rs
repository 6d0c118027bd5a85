//! One process: a log on the simulated disk and a broker on it, both stepped by hand.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use duolog_broker::errors::Stopped;
use duolog_broker::{Broker, BrokerOptions, Clock as _, Now, Permissive, Principal, Session, Stepper};
use duolog_storage::{DiskLog, OpenError, Options};

use super::clock::ManualClock;
use crate::SimDisk;

/// Small files, so that a short run fills and seals many.
fn log_options() -> Options {
    Options {
        file_bytes: 32 << 10,
        file_targets: 64,
        cache_bytes: 8 << 10,
        extents_max: 60,
        purge_ms: 3000,
        ..Options::default()
    }
}

/// How much time passes when there is nothing to do but to wait, milliseconds.
const IDLE_MS: u64 = 20;
/// How long one answer is waited for before the operator makes room on the disk, milliseconds: what was decided waits until
/// there is some. After as long again without an answer the process counts as stopped.
const PATIENCE_MS: u64 = 60_000;

/// Why a process did not come up.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    #[error("the log does not open: {0}")]
    Log(#[from] OpenError),
    #[error("the broker does not start: {0}")]
    Broker(#[from] Stopped),
}

/// A running process.
pub(super) struct Node {
    pub(super) log: Arc<DiskLog>,
    pub(super) session: Session,
    clock: Arc<ManualClock>,
    disk: SimDisk,
    broker: Broker,
    stepper: Stepper,
}

impl Node {
    /// Opens the log and recovers the broker.
    pub(super) fn start(disk: &SimDisk, clock: &Arc<ManualClock>, seed: u64) -> Result<Self, StartError> {
        let log = Arc::new(DiskLog::open_manual(Arc::new(disk.clone()), log_options())?);
        let options = BrokerOptions { seed, retention_check_ms: 500, ..BrokerOptions::default() };
        let (broker, stepper) =
            Broker::start_manual(log.clone(), clock.clone(), Arc::new(Permissive), options)?;
        let session = broker.session(Principal::anonymous());
        Ok(Self { log, session, clock: Arc::clone(clock), disk: disk.clone(), broker, stepper })
    }

    /// The shard handles what waits for it.
    pub(super) fn step(&mut self) {
        self.stepper.step();
    }

    /// The log completes one group of commits; false if none waits.
    pub(super) fn pump(&self) -> bool {
        self.log.pump()
    }

    /// The log does a piece of rewriting, if there is something to rewrite.
    pub(super) fn clean(&self) {
        // That the log has stopped, the next commit says to everybody.
        drop(self.log.clean(self.clock.now().wall));
    }

    /// Both of them; false if the log had nothing to complete.
    pub(super) fn step_and_pump(&mut self) -> bool {
        self.step();
        self.pump()
    }

    /// What time it is.
    pub(super) fn now(&self) -> Now {
        self.clock.now()
    }

    /// Ends in order, as far as the disk lets it.
    pub(super) fn end(mut self) {
        self.broker.ask_end();
        while !self.stepper.has_ended() {
            self.stepper.step();
            if !self.log.pump() {
                self.clock.advance(IDLE_MS);
            }
        }
        self.broker.stop();
    }

    /// Why it stopped by itself, if it did.
    pub(super) fn failed(&self) -> Option<Stopped> {
        let mut failed = std::pin::pin!(self.broker.failed());
        match poll_once(failed.as_mut()) {
            Poll::Ready(stopped) => Some(stopped),
            Poll::Pending => None,
        }
    }

    /// Drives a future to its end, or gives up when the process has stopped.
    pub(super) fn complete<T>(&mut self, future: impl Future<Output = T>) -> Option<T> {
        let mut future = std::pin::pin!(future);
        let asked = self.now().monotonic;
        loop {
            if let Poll::Ready(answer) = poll_once(future.as_mut()) {
                return Some(answer);
            }
            self.step();
            let pumped = self.pump();
            if !pumped {
                // What waits may wait for the time.
                self.clock.advance(IDLE_MS);
            }
            let now = self.now().monotonic;
            if now >= asked.plus_ms(PATIENCE_MS) {
                self.disk.make_room();
            }
            if !pumped && (self.failed().is_some() || now >= asked.plus_ms(2 * PATIENCE_MS)) {
                return match poll_once(future.as_mut()) {
                    Poll::Ready(answer) => Some(answer),
                    Poll::Pending => None,
                };
            }
        }
    }
}

/// Polls without a waker: the run polls everything again after each step.
pub(super) fn poll_once<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}
