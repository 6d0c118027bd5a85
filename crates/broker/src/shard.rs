//! The shard's thread: it alone drives the core, in a loop of taking inputs, deciding, and handing commits to the log.
//!
//! It never touches the disk and never blocks but on its inbox; slow looks go to the reader's thread.

use std::sync::Arc;
use std::time::Duration;

use duolog_storage::{Log, LogError};
use tokio::sync::watch;

use crate::Clock;
use crate::core::{Command, Core};
use crate::errors::Stopped;
use crate::inbox::Inbox;
use crate::reader::Reader;

/// What comes into the thread.
pub(crate) enum Input {
    Command(Command),
    /// The fate of a group.
    Committed(u64, Result<(), LogError>),
    /// End in order.
    End,
}

/// What the thread works with.
pub(crate) struct Shard {
    pub(crate) core: Core,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) inbox: Arc<Inbox<Input>>,
    pub(crate) reader: Reader,
    /// The end was asked for.
    pub(crate) ending: bool,
    /// Told once, if the shard stops by itself.
    pub(crate) failed: watch::Sender<Option<Stopped>>,
}

impl Shard {
    /// Runs until the inbox is closed, or until the end that was asked for is durable.
    pub(crate) fn run(mut self) {
        let mut inputs = Vec::new();
        self.advance();
        while self.inbox.take(&mut inputs, self.patience()) {
            self.handle(&mut inputs);
            self.advance();
            if self.has_ended() {
                break;
            }
        }
        self.refuse_rest(&mut inputs);
    }

    /// Takes what waits, without waiting for more, and hands on what the core decides.
    pub(crate) fn step(&mut self) {
        let mut inputs = Vec::new();
        self.inbox.take(&mut inputs, Some(Duration::ZERO));
        self.handle(&mut inputs);
        self.advance();
    }

    /// The end that was asked for is durable, or never will be.
    pub(crate) fn has_ended(&self) -> bool {
        self.ending && (self.core.is_idle() || self.core.stopped().is_some())
    }

    fn handle(&mut self, inputs: &mut Vec<Input>) {
        let now = self.clock.now();
        for input in inputs.drain(..) {
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
    fn advance(&mut self) {
        let now = self.clock.now();
        self.core.tick(now);
        while let Some(work) = self.core.take_work() {
            self.reader.ask(work);
        }
        while let Some(sealed) = self.core.seal(now) {
            let inbox = Arc::clone(&self.inbox);
            let done = move |result| {
                // A closed inbox means that nobody waits for this any more.
                let _ = inbox.put(Input::Committed(sealed.group, result));
            };
            self.log.commit(sealed.commit, Box::new(done));
        }
        if let Some(stopped) = self.core.stopped()
            && self.failed.borrow().is_none()
        {
            self.failed.send_replace(Some(stopped.clone()));
        }
    }

    /// How long nothing needs to be done.
    fn patience(&self) -> Option<Duration> {
        let deadline = self.core.next_deadline()?;
        let now = self.clock.now().monotonic;
        Some(Duration::from_micros(deadline.0.saturating_sub(now.0)))
    }

    /// What came in after the end is answered, not left hanging.
    pub(crate) fn refuse_rest(&self, inputs: &mut Vec<Input>) {
        self.inbox.close();
        while self.inbox.take(inputs, Some(Duration::ZERO)) {
            for input in inputs.drain(..) {
                if let Input::Command(command) = input {
                    command.refuse(&shutting_down());
                }
            }
        }
    }
}

/// Why a verb fails after the end.
pub(crate) fn shutting_down() -> Stopped {
    Stopped { reason: "the broker is shutting down".to_owned() }
}
