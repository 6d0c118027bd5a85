//! The reader's thread: makes the looks at the log that would keep the shard waiting.

use std::sync::Arc;
use std::thread::JoinHandle;

use duolog_storage::Log;

use crate::core::{Command, Work};
use crate::errors::Stopped;
use crate::inbox::Inbox;
use crate::shard::{Desk, Input};

/// Who makes the looks.
pub(crate) enum Reader {
    /// A thread of its own.
    Thread(ReaderThread),
    /// Whoever asks, at once: for a shard that is stepped by hand.
    Inline {
        /// Where to look.
        log: Arc<dyn Log>,
        /// Where what is found goes.
        findings: Arc<Desk>,
    },
}

impl Reader {
    /// Asks for a look.
    pub(crate) fn ask(&self, work: Work) {
        match self {
            // The inbox is closed by the drop alone.
            Self::Thread(thread) => drop(thread.asked.put(work)),
            Self::Inline { log, findings } => look(&**log, work, findings),
        }
    }
}

/// The handle on the thread; dropping it lets the thread finish what was asked and end.
pub(crate) struct ReaderThread {
    asked: Arc<Inbox<Work>>,
    thread: Option<JoinHandle<()>>,
}

impl ReaderThread {
    /// Starts the thread: it looks into `log` and puts what it finds into `findings`.
    pub(crate) fn start(log: Arc<dyn Log>, findings: Arc<Desk>) -> Result<Self, Stopped> {
        let asked = Arc::new(Inbox::new());
        let inbox = Arc::clone(&asked);
        let thread = std::thread::Builder::new()
            .name("reader".to_owned())
            .spawn(move || run(&*log, &inbox, &findings))
            .map_err(|error| Stopped { reason: format!("no thread for the reader: {error}") })?;
        Ok(Self { asked, thread: Some(thread) })
    }
}

impl Drop for ReaderThread {
    fn drop(&mut self) {
        self.asked.close();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the reader's thread has panicked");
        }
    }
}

fn run(log: &dyn Log, asked: &Inbox<Work>, findings: &Arc<Desk>) {
    let mut work = Vec::new();
    while asked.take(&mut work, None) {
        work.drain(..).for_each(|work| look(log, work, findings));
    }
}

fn look(log: &dyn Log, work: Work, findings: &Arc<Desk>) {
    if let Some(finding) = work.perform(log) {
        findings.put(Input::Command(Command::Found(finding)));
    }
}
