//! [`Broker`] is the handle on a running shard: it starts the threads and ends them.

use std::sync::Arc;
use std::thread::JoinHandle;

use duolog_storage::{Durability, Log};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::core::{Command, Core, CoreOptions, Shared};
use crate::errors::Stopped;
use crate::inbox::Inbox;
use crate::reader::Reader;
use crate::shard::{Input, Shard, shutting_down};
use crate::{Authorizer, Clock, Principal, Session};

/// Settings of a shard.
#[derive(Clone, Debug)]
pub struct BrokerOptions {
    /// What an acknowledgement means where a topic does not say.
    pub durability: Durability,
    /// Seed of identities (topic ids, incarnations): randomness is a parameter.
    pub seed: u64,
    /// How often retention is applied, milliseconds.
    pub retention_check_ms: u64,
}

/// The handle on a running shard. Cheap to clone.
#[derive(Clone)]
pub struct Broker {
    inner: Arc<Inner>,
}

/// What sessions share.
pub(crate) struct Inner {
    pub(crate) shared: Arc<Shared>,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) authorizer: Arc<dyn Authorizer>,
    pub(crate) inbox: Arc<Inbox<Input>>,
    failed: watch::Receiver<Option<Stopped>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Inner {
    /// Hands a command to the shard; it is answered in any case.
    pub(crate) fn send(&self, command: Command) {
        if let Err(Input::Command(command)) = self.inbox.put(Input::Command(command)) {
            command.refuse(&shutting_down());
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Without handles nobody can ask any more: the thread ends by itself.
        self.inbox.close();
    }
}

impl Broker {
    /// Recovers the state from the log and starts the shard's thread.
    ///
    /// # Errors
    /// `Stopped` if the state partition cannot be read.
    pub fn start(
        log: Arc<dyn Log>,
        clock: Arc<dyn Clock>,
        authorizer: Arc<dyn Authorizer>,
        options: BrokerOptions,
    ) -> Result<Self, Stopped> {
        let shared = Arc::new(Shared::default());
        let core_options = CoreOptions { durability: options.durability, seed: options.seed };
        let core = Core::recover(&*log, clock.now(), &core_options, Arc::clone(&shared))?;
        let inbox = Arc::new(Inbox::new());
        let (failed, failure) = watch::channel(None);
        let shard = Shard {
            core,
            log: Arc::clone(&log),
            clock: Arc::clone(&clock),
            inbox: Arc::clone(&inbox),
            reader: Reader::start(Arc::clone(&log), Arc::clone(&inbox))?,
            failed,
        };
        let thread = std::thread::Builder::new()
            .name("shard".to_owned())
            .spawn(move || shard.run())
            .map_err(|error| Stopped { reason: format!("no thread for the shard: {error}") })?;
        let thread = Mutex::new(Some(thread));
        let inner = Inner { shared, log, clock, authorizer, inbox, failed: failure, thread };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// A session for `principal`.
    #[must_use]
    pub fn session(&self, principal: Principal) -> Session {
        Session { inner: Arc::clone(&self.inner), principal: Arc::new(principal) }
    }

    /// Resolves when the shard has stopped by itself, with the reason: the process should exit and be restarted.
    pub async fn failed(&self) -> Stopped {
        let mut failed = self.inner.failed.clone();
        let reason = match failed.wait_for(Option::is_some).await {
            Ok(stopped) => stopped.clone(),
            Err(_) => None,
        };
        match reason {
            Some(stopped) => stopped,
            // It has ended in order, which is no failure.
            None => std::future::pending().await,
        }
    }

    /// The log under the shard, for metrics.
    #[must_use]
    pub fn log(&self) -> &Arc<dyn Log> {
        &self.inner.log
    }

    /// Lets the shard look at the clock now: for clocks that are moved by hand.
    pub fn nudge(&self) {
        self.inner.inbox.nudge();
    }

    /// Answers what is queued, stops the thread, closes the log. Blocks; waiting receives are answered empty.
    pub fn stop(&self) {
        // If the inbox is closed, the thread has ended already.
        let _ = self.inner.inbox.put(Input::End);
        let thread = self.inner.thread.lock().take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the shard's thread has panicked");
        }
        self.inner.log.close();
    }
}
