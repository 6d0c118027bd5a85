//! A clock that moves only when the run, or the test, says so.

use duolog_broker::{Clock, Monotonic, Now};
use duolog_record::Timestamp;
use parking_lot::Mutex;

/// So many milliseconds before `at`.
pub(crate) fn ms_before(at: Monotonic, ms: u64) -> Monotonic {
    Monotonic(at.0.saturating_sub(Monotonic(0).plus_ms(ms).0))
}

/// Where the other begins, microseconds: so late that nothing is reckoned back to before it.
const START_US: u64 = 1_000_000_000;

/// Where the wall clock of every run begins: some day in 2026, milliseconds since the epoch.
const EPOCH_MS: i64 = 1_790_000_000_000;

/// Both clocks, moved by hand; the wall clock may also step.
#[derive(Debug)]
pub struct ManualClock {
    now: Mutex<Now>,
}

impl ManualClock {
    /// At the beginning of time.
    #[must_use]
    pub fn new() -> Self {
        Self::at(Now { monotonic: Monotonic(START_US), wall: Timestamp(EPOCH_MS) })
    }

    /// At a time of the test's own.
    #[must_use]
    pub fn at(now: Now) -> Self {
        Self { now: Mutex::new(now) }
    }

    /// Lets time pass, milliseconds.
    pub fn advance(&self, ms: u64) {
        let mut now = self.now.lock();
        now.monotonic = now.monotonic.plus_ms(ms);
        now.wall = Timestamp(now.wall.0.saturating_add_unsigned(ms));
    }

    /// Sets the wall clock, by so many milliseconds ahead or back; the time that has passed stays.
    pub fn step_wall(&self, ms: i64) {
        let mut now = self.now.lock();
        now.wall = Timestamp(now.wall.0.saturating_add(ms));
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Now {
        *self.now.lock()
    }
}
