//! [`Broker`] is the handle on a running shard: it starts the threads and ends them.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread::JoinHandle;

use duolog_storage::{Durability, Log};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::core::{Command, Core, CoreOptions, Shared};
use crate::errors::Stopped;
use crate::forward::Forwards;
use crate::limits::ECHOES;
use crate::live::{Echo, Live, SubscribeError};
use crate::reader::{Reader, ReaderThread};
use crate::shard::{Desk, Driver, Input, Shard};
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
    /// Bytes that wait for the listeners of live channels, all together.
    pub live_bytes_max: usize,
}

impl Default for BrokerOptions {
    fn default() -> Self {
        Self { durability: Durability::Sync, seed: 0, retention_check_ms: 30_000, live_bytes_max: 256 << 20 }
    }
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
    pub(crate) desk: Arc<Desk>,
    pub(crate) live: Live,
    pub(crate) forwards: Forwards,
    /// Consumers that came to stay.
    pub(crate) stands: AtomicU64,
    failed: watch::Receiver<Option<Stopped>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Inner {
    /// Hands a command to the shard; it is answered in any case.
    pub(crate) fn send(&self, command: Command) {
        self.desk.put(Input::Command(command));
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Without handles nobody can ask any more: the thread ends by itself.
        self.desk.close();
    }
}

impl Broker {
    /// Recovers the state from the log and starts the shard's threads.
    ///
    /// # Errors
    /// `Stopped` if the state partition cannot be read.
    pub fn start(
        log: Arc<dyn Log>,
        clock: Arc<dyn Clock>,
        authorizer: Arc<dyn Authorizer>,
        options: BrokerOptions,
    ) -> Result<Self, Stopped> {
        let broker = Self::recover(log, clock, authorizer, &options, Driver::Threads)?;
        let desk = Arc::clone(&broker.inner.desk);
        let thread = std::thread::Builder::new()
            .name("shard".to_owned())
            .spawn(move || desk.run())
            .map_err(|error| Stopped { reason: format!("no thread for the shard: {error}") })?;
        *broker.inner.thread.lock() = Some(thread);
        Ok(broker)
    }

    /// The same without threads: nothing happens but in the steps of the [`Stepper`], in an order that its caller decides.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_manual(
        log: Arc<dyn Log>,
        clock: Arc<dyn Clock>,
        authorizer: Arc<dyn Authorizer>,
        options: BrokerOptions,
    ) -> Result<(Self, Stepper), Stopped> {
        let broker = Self::recover(log, clock, authorizer, &options, Driver::Hand)?;
        let stepper = Stepper { desk: Arc::clone(&broker.inner.desk) };
        Ok((broker, stepper))
    }

    fn recover(
        log: Arc<dyn Log>,
        clock: Arc<dyn Clock>,
        authorizer: Arc<dyn Authorizer>,
        options: &BrokerOptions,
        driver: Driver,
    ) -> Result<Self, Stopped> {
        let shared = Arc::new(Shared::default());
        let &BrokerOptions { durability, seed, retention_check_ms, live_bytes_max } = options;
        let core_options = CoreOptions { durability, seed, retention_check_ms };
        let core = Core::recover(&*log, clock.now(), &core_options, Arc::clone(&shared))?;
        let desk = Arc::new(Desk::new(driver));
        let (failed, failure) = watch::channel(None);
        let reader = match driver {
            Driver::Threads => Reader::Thread(ReaderThread::start(Arc::clone(&log), Arc::clone(&desk))?),
            Driver::Hand => Reader::Inline { log: Arc::clone(&log), findings: Arc::clone(&desk) },
        };
        desk.open(Shard {
            core,
            log: Arc::clone(&log),
            clock: Arc::clone(&clock),
            reader,
            ending: false,
            failed,
            alarm: None,
            in_flight: Arc::default(),
        });
        let thread = Mutex::new(None);
        let live = Live::new(live_bytes_max, Arc::clone(&clock), Arc::clone(&authorizer), seed);
        let inner = Inner {
            shared,
            log,
            clock,
            authorizer,
            desk,
            live,
            forwards: Forwards::default(),
            stands: AtomicU64::new(0),
            failed: failure,
            thread,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// A session for `principal`.
    #[must_use]
    pub fn session(&self, principal: Principal) -> Session {
        Session { inner: Arc::clone(&self.inner), principal: Arc::new(principal) }
    }

    /// Echoes these topics on subjects from now on, in place of those before; the first start the thread that does it.
    ///
    /// # Errors
    /// `OverLimit` above `limits::ECHOES`.
    pub fn set_echoes(&self, echoes: Vec<Echo>) -> Result<(), SubscribeError> {
        if echoes.len() > ECHOES {
            return Err(SubscribeError::OverLimit);
        }
        // It reads for everybody who may listen; whether one may is asked when they subscribe.
        let session = self.session(Principal { name: "echo".to_owned() });
        self.inner.live.set_echoes(echoes, &session);
        Ok(())
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
        self.inner.desk.nudge();
    }

    /// Asks the shard to end in order; nothing is taken after what is queued now.
    pub fn ask_end(&self) {
        self.inner.desk.put(Input::End);
    }

    /// Answers what is queued, stops the thread, closes the log. Blocks; waiting receives are answered empty.
    pub fn stop(&self) {
        self.inner.live.stop();
        self.inner.forwards.stop();
        self.ask_end();
        let thread = self.inner.thread.lock().take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the shard's thread has panicked");
        }
        self.inner.log.close();
    }
}

/// Drives a shard by hand: for a simulator, which decides what happens when.
pub struct Stepper {
    desk: Arc<Desk>,
}

impl Stepper {
    /// The shard takes what waits for it, looks at the clock, and hands its commits to the log.
    pub fn step(&mut self) {
        self.desk.step();
    }

    /// True once the end that [`Broker::ask_end`] asked for is durable, or never will be.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.desk.has_ended()
    }
}

impl Drop for Stepper {
    fn drop(&mut self) {
        self.desk.end();
    }
}
