//! Numbers of messages in ordered topics: rising, also over restarts, as long as the clock is not set back.

use duolog_record::Timestamp;
use parking_lot::Mutex;

/// What numbers begin with, so that all have twenty digits.
const BASE: u64 = 10_000_000_000_000_000_000;
/// So many bits of a number are counted within a millisecond.
const COUNTED_BITS: u32 = 20;

/// The last number given out.
#[derive(Debug, Default)]
pub(crate) struct Numbers(Mutex<u64>);

impl Numbers {
    /// Hands messages over with rising numbers: nobody else is given one in between, so their order is that of the numbers.
    pub fn hand_over<T>(&self, now: Timestamp, hand_over: impl FnOnce(&mut dyn FnMut() -> String) -> T) -> T {
        let mut last = self.0.lock();
        let mut next = || {
            *last = (now.0.max(0).unsigned_abs() << COUNTED_BITS).max(*last + 1);
            BASE.saturating_add(*last).to_string()
        };
        hand_over(&mut next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_rise_within_a_millisecond_and_if_the_clock_is_set_back() {
        let numbers = Numbers::default();
        let at = |ms| numbers.hand_over(Timestamp(ms), |next| [next(), next()]);
        let all =
            [at(1_700_000_000_000), at(1_700_000_000_000), at(1_600_000_000_000), at(1_700_000_000_001)];
        let all = all.concat();
        assert!(all.windows(2).all(|pair| pair[0] < pair[1]), "{all:?}");
        assert!(all.iter().all(|number| number.len() == 20));
    }
}
