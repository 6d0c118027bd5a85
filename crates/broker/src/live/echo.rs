//! Echoes: what is appended to a topic, by any protocol, is heard on a subject.
//!
//! One thread reads the end of every echoed partition, as a consumer would, and is the only one that publishes what it reads: so
//! what a listener hears of a partition comes in order and once. A listener with too much before it is cut off, as always; or,
//! where the operator said so, it is left out from then on and served from the log, from the record where it was left, until
//! it has come as far as the others. What was captured on the very subject that it would be echoed on is left out: it was
//! heard when it was published.

mod behind;
mod block;
mod feeder;
mod read;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use duolog_record::{Offset, PartitionId};
use parking_lot::Mutex;

use self::feeder::Feeder;
use super::{Inner, Template};
use crate::Session;
use crate::catalog::DEFAULT_NAMESPACE;
use crate::ready::LazyThread;

/// What is appended to `topic` is heard on `subject`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Echo {
    /// Name of the topic.
    pub topic: Arc<str>,
    /// Where its records are heard.
    pub subject: Template,
    /// What happens to a listener that has too much before it.
    pub overflow: EchoOverflow,
}

/// What happens to a listener of an echo that has too much before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EchoOverflow {
    /// What it asked for when it connected: it is cut off, or loses messages.
    #[default]
    AsAlways,
    /// It gets the rest from the log, in order and once, as fast as it takes it. A group's members are never served so: the
    /// others are there for that.
    CatchUp,
}

/// The thread and what it is to do.
pub(crate) struct Echoes {
    wanted: Mutex<Wanted>,
    thread: LazyThread,
}

/// An echo, and where the partitions ended when it was asked for: what is appended from then on is heard.
#[derive(Clone)]
struct Wish {
    echo: Echo,
    ends: HashMap<PartitionId, Offset>,
}

#[derive(Default)]
struct Wanted {
    wishes: Arc<[Wish]>,
    changes: u64,
}

impl Echoes {
    pub(crate) fn new() -> Self {
        Self { wanted: Mutex::default(), thread: LazyThread::default() }
    }

    /// What is echoed.
    pub(crate) fn get(&self) -> Vec<Echo> {
        self.wanted.lock().wishes.iter().map(|wish| wish.echo.clone()).collect()
    }

    /// Echoes these from now on, in place of those before. `session` is the broker's own.
    pub(super) fn set(self: &Arc<Self>, echoes: Vec<Echo>, session: &Session, live: &Arc<Inner>) {
        let is_any = !echoes.is_empty();
        {
            let mut wanted = self.wanted.lock();
            wanted.wishes = wishes(&wanted.wishes, echoes, |topic| ends(session, topic));
            wanted.changes += 1;
        }
        if is_any || self.thread.is_running() {
            let (echoes, session, live) = (Arc::clone(self), session.clone(), Arc::clone(live));
            self.thread.wake("echo", move || Feeder::new(echoes, session, live).run());
        }
    }

    /// Ends the thread, and waits for it.
    pub(crate) fn stop(&self) {
        self.thread.stop();
    }
}

/// What is wanted from now on. What was wanted before is heard from where it was asked for: the thread may not have begun with it.
fn wishes(
    before: &[Wish],
    echoes: Vec<Echo>,
    ends: impl Fn(&str) -> HashMap<PartitionId, Offset>,
) -> Arc<[Wish]> {
    let wish = |echo: Echo| match before.iter().find(|wish| wish.echo == echo) {
        Some(known) => known.clone(),
        None => Wish { ends: ends(&echo.topic), echo },
    };
    echoes.into_iter().map(wish).collect()
}

/// Where the partitions of a topic end now; none if there is no such topic.
fn ends(session: &Session, topic: &str) -> HashMap<PartitionId, Offset> {
    let catalog = session.catalog();
    let Some(topic) = catalog.topic(DEFAULT_NAMESPACE, topic) else { return HashMap::new() };
    topic.partitions.iter().filter_map(|it| Some((*it, session.bounds(*it)?.end))).collect()
}
