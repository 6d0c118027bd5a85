//! The system's clock, the only one in the tree.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use duolog_broker::{Clock, Monotonic, Now};
use duolog_record::Timestamp;

/// Wall time from the system, monotonic time counted from its creation.
#[derive(Debug)]
pub struct SystemClock {
    begun: Instant,
}

impl SystemClock {
    /// A clock that starts to count now.
    pub fn new() -> Self {
        Self { begun: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Now {
        let monotonic = u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        // A machine whose clock stands before 1970 gets 1970.
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let wall = i64::try_from(wall.as_millis()).unwrap_or(i64::MAX);
        Now { monotonic: Monotonic(monotonic), wall: Timestamp(wall) }
    }
}
