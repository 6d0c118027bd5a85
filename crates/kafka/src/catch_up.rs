//! The pace of consumers that are far behind: while others write, they read from the disk one at a time and share one bandwidth.
//!
//! Place: between a fetch that does not find everything in memory and its read. A replay takes all that disk and processors give,
//! and a producer's sync stands in line behind it; nobody waits for a replay as one waits for an acknowledgement. Where
//! nobody writes, nothing is held back. One at a time, as each of the few writes behind a sync waits for all reads that the
//! disk has been given before it. The time is a parameter.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use duolog_broker::{Monotonic, Written};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits::CATCH_UP_READS;

/// Others are taken to be writing for so many times what lay between their last commits, after the last one...
const WRITING_GAPS: u64 = 8;
/// ... but at least so long: a commit on a busy disk takes as long. At most it is a second, as the broker remembers no longer
/// gap: who writes less often meets a replay that is at work, and makes it slow down for the next.
const WRITING_LEAST_US: u64 = 100_000;
/// Whoever waits looks so often whether others still write.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// What nobody used of the bandwidth for so long may be used at once: timers are late by about a millisecond.
const UNUSED_US: u64 = 20_000;

/// The bandwidth that all consumers behind the cache share.
#[derive(Debug)]
pub(crate) struct CatchUp {
    /// `None` holds nobody back.
    bytes_per_second: Option<NonZeroU64>,
    /// From when on it is free.
    free_at: Mutex<Monotonic>,
    /// Who reads.
    reading: Arc<Semaphore>,
}

/// A turn to read from the disk; the next one's begins when it is dropped, and what was not read of its bytes is given back.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    /// Of which bandwidth how many bytes are taken and not read yet; `None` where nobody is held back.
    taken: Option<(Arc<CatchUp>, usize)>,
    _reading: Option<OwnedSemaphorePermit>,
}

impl Turn {
    /// So many bytes were read.
    pub fn read(&mut self, bytes: usize) {
        if let Some((_, left)) = &mut self.taken {
            *left = left.saturating_sub(bytes);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some((of, left)) = &self.taken {
            of.give_back(*left);
        }
    }
}

impl CatchUp {
    pub fn new(bytes_per_second: Option<u64>) -> Self {
        let bytes_per_second = bytes_per_second.map(|rate| NonZeroU64::new(rate).unwrap_or(NonZeroU64::MIN));
        Self {
            bytes_per_second,
            free_at: Mutex::default(),
            reading: Arc::new(Semaphore::new(CATCH_UP_READS)),
        }
    }

    /// Waits for a turn to read so many bytes, as long as others write; `look` tells what time it is, and of the last commits.
    pub async fn turn(
        self: &Arc<Self>,
        look: impl Fn() -> (Monotonic, Option<Written>),
        bytes: usize,
    ) -> Turn {
        let (now, written) = look();
        let Some(mut wait) = self.wait(now, written, bytes) else { return Turn::default() };
        let mut turn = Turn { taken: Some((Arc::clone(self), bytes)), _reading: None };
        while !wait.is_zero() {
            let step = wait.min(LOOK_AGAIN);
            tokio::time::sleep(step).await;
            wait -= step;
            let (now, written) = look();
            if !wait.is_zero() && !written.is_some_and(|it| is_going_on(it, now)) {
                return Turn::default();
            }
        }
        // It is never closed.
        turn._reading = Arc::clone(&self.reading).acquire_owned().await.ok();
        turn
    }

    /// Takes so many bytes of the bandwidth. Gives how long to wait for them, `None` where nobody is held back.
    fn wait(&self, now: Monotonic, written: Option<Written>, bytes: usize) -> Option<Duration> {
        let rate = self.bytes_per_second.filter(|_| written.is_some_and(|it| is_going_on(it, now)))?;
        let mut free_at = self.free_at.lock();
        let start = free_at.0.max(now.0.saturating_sub(UNUSED_US));
        *free_at = Monotonic(start.saturating_add(took_us(bytes, rate)));
        Some(Duration::from_micros(start.saturating_sub(now.0)))
    }

    fn give_back(&self, bytes: usize) {
        if let Some(rate) = self.bytes_per_second {
            let mut free_at = self.free_at.lock();
            *free_at = Monotonic(free_at.0.saturating_sub(took_us(bytes, rate)));
        }
    }
}

/// Whether the next commit is to be expected soon.
fn is_going_on(written: Written, now: Monotonic) -> bool {
    let expected_us = written.gap_us.saturating_mul(WRITING_GAPS);
    written.is_going_on || now.0.saturating_sub(written.at.0) <= expected_us.max(WRITING_LEAST_US)
}

/// How long so many bytes keep the bandwidth.
fn took_us(bytes: usize, rate: NonZeroU64) -> u64 {
    let us = bytes as u128 * 1_000_000 / u128::from(rate.get());
    u64::try_from(us).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::cell::Cell;
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll, Waker};

    use super::*;

    const NOW: Monotonic = Monotonic(50_000_000);
    const MS: Duration = Duration::from_millis(1);

    fn written(at: Monotonic) -> Option<Written> {
        Some(Written { at, gap_us: 1_000, is_going_on: false })
    }

    #[test]
    fn consumers_share_the_bandwidth_while_others_write() {
        let pace = CatchUp::new(Some(1_000_000));
        let turn = || pace.wait(NOW, written(NOW), 10_000).unwrap();
        let waits: Vec<_> = (0..10).map(|_| turn()).collect();
        // Two may go at once: 20 ms were not used. The others follow one by one.
        let expected = [0, 0, 0, 10, 20, 30, 40, 50, 60, 70].map(|ms| ms * MS);
        assert_eq!(waits, expected);
        let rest = (0..1000).take_while(|_| turn() < 1000 * MS).count();
        assert_eq!(10 + rest, 102, "a second has room for a hundred, and two were late");
        let later = NOW.plus_ms(1000);
        assert_eq!(pace.wait(later, written(later), 1), Some(10 * MS));
    }

    #[test]
    fn nobody_waits_where_nobody_writes_or_no_bandwidth_is_set() {
        let pace = CatchUp::new(Some(1_000));
        for written in [None, written(Monotonic(NOW.0 - WRITING_LEAST_US - 1))] {
            assert_eq!(pace.wait(NOW, written, 1 << 30), None);
        }
        assert_eq!(CatchUp::new(None).wait(NOW, written(NOW), 1 << 30), None);
    }

    #[test]
    fn writing_goes_on_for_some_times_what_lies_between_commits() {
        let for_us = |gap_us| {
            let is_held = |after: &u64| {
                is_going_on(Written { at: NOW, gap_us, is_going_on: false }, Monotonic(NOW.0 + after))
            };
            (0..2_000_000).step_by(10_000).take_while(is_held).last()
        };
        assert_eq!([0, 1_000, 20_000, 125_000].map(for_us), [100_000, 100_000, 160_000, 1_000_000].map(Some));
    }

    #[test]
    fn a_commit_on_its_way_counts_however_long_it_takes() {
        let stuck = Written { at: NOW, gap_us: 0, is_going_on: true };
        assert!(is_going_on(stuck, NOW.plus_ms(60_000)));
    }

    /// Bytes that a turn has left.
    fn left(turn: &Turn) -> Option<usize> {
        turn.taken.as_ref().map(|(_, left)| *left)
    }

    /// Begins a future; `None` if it has to wait.
    fn begin<T>(future: Pin<&mut impl Future<Output = T>>) -> Option<T> {
        match future.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(it) => Some(it),
            Poll::Pending => None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_goes_on_when_others_have_stopped_writing() {
        let pace = Arc::new(CatchUp::new(Some(1_000_000)));
        let looks = Cell::new(0);
        let look = || {
            looks.set(looks.get() + 1);
            (NOW.plus_ms(50 * looks.get()), written(NOW))
        };
        let first = pace.turn(|| (NOW, written(NOW)), 60_000_000).await;
        assert_eq!(left(&first), Some(60_000_000));
        // This one would wait for a minute, but nobody writes any more from 100 ms on.
        assert_eq!(left(&pace.turn(look, 1_000_000).await), None);
        assert_eq!(looks.get(), 3);
        assert_eq!(pace.wait(NOW, written(NOW), 0), Some(59_980 * MS));
    }

    #[tokio::test]
    async fn one_that_is_given_up_keeps_nothing_of_what_it_waited_for() {
        let pace = Arc::new(CatchUp::new(Some(1_000_000)));
        let mut first = pace.turn(|| (NOW, written(NOW)), 60_000_000).await;
        first.read(60_000_000);
        drop(first);
        {
            let mut waits = pin!(pace.turn(|| (NOW, written(NOW)), 5_000_000));
            assert!(begin(waits.as_mut()).is_none());
            assert_eq!(pace.wait(NOW, written(NOW), 0), Some(64_980 * MS));
        }
        assert_eq!(pace.wait(NOW, written(NOW), 0), Some(59_980 * MS));
    }

    #[tokio::test]
    async fn what_was_not_read_is_given_back() {
        let pace = Arc::new(CatchUp::new(Some(1_000_000)));
        let mut turn = pace.turn(|| (NOW, written(NOW)), 1_020_000).await;
        turn.read(20_000);
        drop(turn);
        assert_eq!(pace.wait(NOW, written(NOW), 0), Some(Duration::ZERO));
    }

    #[tokio::test]
    async fn one_reads_at_a_time_while_others_write() {
        let pace = Arc::new(CatchUp::new(Some(1 << 40)));
        let first = pace.turn(|| (NOW, written(NOW)), 1).await;
        let mut second = pin!(pace.turn(|| (NOW, written(NOW)), 1));
        assert!(begin(second.as_mut()).is_none());
        // Without writers nobody stands in line.
        assert_eq!(left(&pace.turn(|| (NOW, None), 1).await), None);
        drop(first);
        assert_eq!(left(&second.await), Some(1));
    }
}
