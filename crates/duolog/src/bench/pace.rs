//! Sending at a steady rate, and from when on what was sent counts.

use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

/// The schedule of a sender, and when each of its records began to count: when it was due if the sender was held up, so
/// that a broker that stalls is charged for all that had to wait behind it; when the sender woke if that overslept, which is
/// its own doing and the system's. For rates at which a sleep's lateness, a tenth of a millisecond, is short beside the interval.
#[derive(Debug)]
pub struct Pace {
    begun: Instant,
    rate: u64,
    counts_from: Vec<OnceLock<Instant>>,
}

impl Pace {
    /// So many records, `rate` a second, the first at `begun`.
    pub fn new(begun: Instant, rate: u64, records: u64) -> Self {
        Self { begun, rate, counts_from: (0..records).map(|_| OnceLock::new()).collect() }
    }

    fn due(&self, number: u64) -> Instant {
        self.begun + Duration::from_nanos(number * 1_000_000_000 / self.rate)
    }

    /// Waits until a record is due.
    pub fn wait_for(&self, number: u64) {
        let due = self.due(number);
        let early = due.saturating_duration_since(Instant::now());
        let from = if early.is_zero() {
            due
        } else {
            thread::sleep(early);
            Instant::now()
        };
        // One thread alone sends.
        let _ = self.counts_from[number as usize].set(from);
    }

    /// What has passed for a record until `now`.
    pub fn passed(&self, number: u64, now: Instant) -> Duration {
        let from = self.counts_from[number as usize].get().copied();
        now.saturating_duration_since(from.unwrap_or_else(|| self.due(number)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_held_up_counts_from_when_it_was_due_and_who_overslept_from_when_it_woke() {
        let late = Pace::new(Instant::now(), 1_000_000_000, 2);
        while Instant::now() <= late.due(1) {}
        late.wait_for(1);
        assert_eq!(late.passed(1, late.due(1) + Duration::from_secs(3)), Duration::from_secs(3));
        let early = Pace::new(Instant::now() + Duration::from_millis(20), 1, 1);
        early.wait_for(0);
        let woke = Instant::now();
        assert!(woke >= early.due(0) && early.passed(0, woke) <= woke - early.due(0));
    }
}
