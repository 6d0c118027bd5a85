//! A consumer's standing with a queue: it is there between its receives, with a priority, and may have to be the only one.
//!
//! What it means is decided by the core (`core/standings.rs`).

use std::sync::Arc;

use crate::QueueId;
use crate::core::{Command, Stand};
use crate::shard::{Desk, Input};

/// Stands for a queue until it is dropped; see `Session::stand`.
pub struct Standing {
    queue: QueueId,
    stand: Arc<Stand>,
    desk: Arc<Desk>,
}

impl Standing {
    pub(crate) fn new(queue: QueueId, stand: Stand, desk: Arc<Desk>) -> Self {
        let stand = Arc::new(stand);
        desk.put(Input::Command(Command::Join { queue, stand: Arc::clone(&stand) }));
        Self { queue, stand, desk }
    }

    /// Higher ones go first: to be told with each receive.
    #[must_use]
    pub fn priority(&self) -> i64 {
        self.stand.priority()
    }

    /// It may receive. One that is not the only one always may; the only one from when it is woken until it goes.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.stand.is_active()
    }

    /// It would take a record that comes now, though it may not be in line: lower priorities wait for it.
    pub fn gain_credit(&self) {
        self.stand.gain_credit();
    }

    /// It would not: lower priorities are served.
    pub fn lose_credit(&self) {
        if self.stand.lose_credit() {
            self.desk.put(Input::Command(Command::Serve { queue: self.queue }));
        }
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        let stand = Arc::clone(&self.stand);
        self.desk.put(Input::Command(Command::Leave { queue: self.queue, stand }));
    }
}
