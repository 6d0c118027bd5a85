//! Who waits until a partition has more to read.
//!
//! Invariant: no wake-up is lost. A waiter is entered first and looks afterwards; what becomes durable before it is
//! entered it sees by looking, what becomes durable later wakes it. Waiters that have gone are swept out when a
//! partition's list has doubled, so entering costs O(1) on the average and nobody has to be found to be removed.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use duolog_record::{Offset, PartitionId};
use parking_lot::{Mutex, RwLock};

/// A list shorter than this is not swept.
const SWEEP_LEN: usize = 16;

/// All waiters, by partition.
#[derive(Default)]
pub(crate) struct Watch {
    partitions: RwLock<HashMap<PartitionId, Arc<Mutex<Line>>>>,
}

#[derive(Default)]
struct Line {
    waiting: Vec<(Offset, Arc<Bell>)>,
    /// Length at which to sweep.
    sweep_at: usize,
}

/// Rings once.
#[derive(Default)]
struct Bell {
    rung: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Bell {
    fn ring(&self) {
        self.rung.store(true, Ordering::Release);
        let waker = self.waker.lock().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// Resolves when something that was not readable has become so, or a partition is gone.
#[must_use = "nothing waits unless it is awaited"]
pub struct Readable {
    bell: Arc<Bell>,
}

impl Future for Readable {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.bell.rung.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        *self.bell.waker.lock() = Some(context.waker().clone());
        // It may have rung between the first look and leaving the waker.
        if self.bell.rung.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Watch {
    /// A partition exists from now on.
    pub(crate) fn add(&self, partition: PartitionId) {
        self.partitions.write().entry(partition).or_default();
    }

    /// A partition is gone: whoever waits for it hears so.
    pub(crate) fn remove(&self, partition: PartitionId) {
        let line = self.partitions.write().remove(&partition);
        if let Some(line) = line {
            let waiting = std::mem::take(&mut line.lock().waiting);
            waiting.iter().for_each(|(_, bell)| bell.ring());
        }
    }

    /// Everything below `end` is readable now.
    pub(crate) fn advance(&self, partition: PartitionId, end: Offset) {
        let Some(line) = self.partitions.read().get(&partition).map(Arc::clone) else {
            return;
        };
        let mut ready = Vec::new();
        line.lock().waiting.retain(|(beyond, bell)| {
            let is_ready = end > *beyond;
            if is_ready {
                ready.push(Arc::clone(bell));
            }
            !is_ready
        });
        ready.iter().for_each(|bell| bell.ring());
    }

    /// Enters a waiter for all of `beyond`, then looks at each with `end_of` (`None`: no such partition).
    pub(crate) fn wait(
        &self,
        beyond: &[(PartitionId, Offset)],
        end_of: impl Fn(PartitionId) -> Option<Offset>,
    ) -> Readable {
        let bell = Arc::new(Bell::default());
        let mut all_there = true;
        {
            let partitions = self.partitions.read();
            for (partition, offset) in beyond {
                match partitions.get(partition) {
                    Some(line) => line.lock().enter(*offset, &bell),
                    None => all_there = false,
                }
            }
        }
        let ready =
            |&(partition, offset): &(PartitionId, Offset)| end_of(partition).is_none_or(|end| end > offset);
        if !all_there || beyond.iter().any(ready) {
            bell.ring();
        }
        Readable { bell }
    }
}

impl Line {
    fn enter(&mut self, beyond: Offset, bell: &Arc<Bell>) {
        if self.waiting.len() >= self.sweep_at.max(SWEEP_LEN) {
            self.waiting.retain(|(_, bell)| !bell.rung.load(Ordering::Acquire));
            self.sweep_at = self.waiting.len() * 2;
        }
        self.waiting.push((beyond, Arc::clone(bell)));
    }
}

impl Drop for Readable {
    fn drop(&mut self) {
        // So that the lists can tell that nobody waits any more.
        self.bell.rung.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::task::{Context, Poll, Waker};

    use duolog_record::{Offset, PartitionId};

    use super::{Readable, Watch};

    const P: PartitionId = PartitionId(16);

    fn is_ready(readable: &mut Readable) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        std::pin::Pin::new(readable).poll(&mut context) == Poll::Ready(())
    }

    fn waiting(watch: &Watch) -> usize {
        watch.partitions.read()[&P].lock().waiting.len()
    }

    #[test]
    fn waits_until_the_end_passes_the_offset() {
        let watch = Watch::default();
        watch.add(P);
        let mut readable = watch.wait(&[(P, Offset(5))], |_| Some(Offset(5)));
        assert!(!is_ready(&mut readable));
        watch.advance(P, Offset(5));
        assert!(!is_ready(&mut readable));
        watch.advance(P, Offset(6));
        assert!(is_ready(&mut readable));
    }

    #[test]
    fn what_is_readable_already_is_ready_at_once() {
        let watch = Watch::default();
        watch.add(P);
        assert!(is_ready(&mut watch.wait(&[(P, Offset(5))], |_| Some(Offset(6)))));
    }

    #[test]
    fn a_partition_that_goes_or_never_was_is_ready() {
        let watch = Watch::default();
        watch.add(P);
        let mut readable = watch.wait(&[(P, Offset(0))], |_| Some(Offset(0)));
        watch.remove(P);
        assert!(is_ready(&mut readable));
        assert!(is_ready(&mut watch.wait(&[(P, Offset(0))], |_| None)));
    }

    #[test]
    fn waiters_that_gave_up_do_not_pile_up() {
        let watch = Watch::default();
        watch.add(P);
        let kept: Vec<Readable> =
            (0..10).map(|_| watch.wait(&[(P, Offset(0))], |_| Some(Offset(0)))).collect();
        for _ in 0..10_000 {
            drop(watch.wait(&[(P, Offset(0))], |_| Some(Offset(0))));
        }
        assert!(waiting(&watch) <= 64, "{} remain", waiting(&watch));
        watch.advance(P, Offset(1));
        assert!(kept.into_iter().all(|mut readable| is_ready(&mut readable)));
    }
}
