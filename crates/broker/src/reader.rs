//! The reader's thread: makes the looks at the log that would keep the shard's thread waiting.

use std::sync::Arc;
use std::thread::JoinHandle;

use duolog_storage::Log;

use crate::core::{Command, Work};
use crate::errors::Stopped;
use crate::inbox::Inbox;
use crate::shard::{Input, shutting_down};

/// The handle on the thread; dropping it lets the thread finish what was asked and end.
pub(crate) struct Reader {
    asked: Arc<Inbox<Work>>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    /// Starts the thread: it looks into `log` and puts what it finds into `findings`.
    pub(crate) fn start(log: Arc<dyn Log>, findings: Arc<Inbox<Input>>) -> Result<Self, Stopped> {
        let asked = Arc::new(Inbox::new());
        let inbox = Arc::clone(&asked);
        let thread = std::thread::Builder::new()
            .name("reader".to_owned())
            .spawn(move || run(&*log, &inbox, &findings))
            .map_err(|error| Stopped { reason: format!("no thread for the reader: {error}") })?;
        Ok(Self { asked, thread: Some(thread) })
    }

    /// Asks for a look.
    pub(crate) fn ask(&self, work: Work) {
        // The inbox is closed by the drop alone.
        let _ = self.asked.put(work);
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.asked.close();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the reader's thread has panicked");
        }
    }
}

fn run(log: &dyn Log, asked: &Inbox<Work>, findings: &Inbox<Input>) {
    let mut work = Vec::new();
    while asked.take(&mut work, None) {
        for look in work.drain(..) {
            if let Some(finding) = look.perform(log)
                && let Err(Input::Command(command)) = findings.put(Input::Command(Command::Found(finding)))
            {
                command.refuse(&shutting_down());
            }
        }
    }
}
