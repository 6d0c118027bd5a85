//! One budget of bytes for all buffers: reserve first, then allocate.
//!
//! Small reservations have a part of it to themselves, so that requests and answers of ordinary size do not stand in line
//! behind large ones, however long a client takes to read what it asked for. Where that part is used up they take what
//! is free of the rest; large ones never touch it.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits::{BUDGET_SMALL_PART, BUDGET_UNIT_BYTES, RESERVATION_SMALL_BYTES};

/// A shared budget of memory. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Budget {
    small: Pool,
    large: Pool,
}

/// More was asked for at once than there could ever be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{bytes} bytes are more than the memory budget has for one, {bytes_max}")]
pub struct OverBudget {
    /// Asked for.
    pub bytes: usize,
    /// See [`Budget::largest`].
    pub bytes_max: usize,
}

/// Reserved bytes; dropping it gives them back.
#[derive(Debug, Default)]
pub struct Reservation {
    small: Option<OwnedSemaphorePermit>,
    large: Option<OwnedSemaphorePermit>,
}

/// A part of the budget.
#[derive(Clone, Debug)]
struct Pool {
    units: Arc<Semaphore>,
    units_max: usize,
}

impl Pool {
    fn new(units_max: usize) -> Self {
        Self { units: Arc::new(Semaphore::new(units_max)), units_max }
    }

    fn try_take(&self, units: u32) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.units).try_acquire_many_owned(units).ok()
    }

    async fn take(&self, units: u32) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.units).acquire_many_owned(units).await.ok()
    }

    fn used(&self) -> usize {
        self.units_max - self.units.available_permits()
    }
}

impl Reservation {
    /// Adds what another holds.
    pub fn merge(&mut self, other: Self) {
        merge(&mut self.small, other.small);
        merge(&mut self.large, other.large);
    }

    /// Gives back what is above `bytes`, rounded up to the unit; holds what it holds if that is less.
    pub fn shrink_to(&mut self, bytes: usize) {
        let keep = bytes.div_ceil(BUDGET_UNIT_BYTES);
        let small = self.small.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        shrink(&mut self.large, keep.saturating_sub(small));
        shrink(&mut self.small, keep);
    }
}

fn merge(into: &mut Option<OwnedSemaphorePermit>, other: Option<OwnedSemaphorePermit>) {
    match (into, other) {
        (Some(permit), Some(other)) => permit.merge(other),
        (permit @ None, other) => *permit = other,
        (Some(_), None) => {}
    }
}

fn shrink(held: &mut Option<OwnedSemaphorePermit>, units: usize) {
    if units == 0 {
        *held = None;
    }
    if let Some(permit) = held
        && let Some(above) = permit.num_permits().checked_sub(units)
    {
        drop(permit.split(above));
    }
}

impl Budget {
    /// A budget of `bytes_max` bytes.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        let all = (bytes_max / BUDGET_UNIT_BYTES).clamp(1, Semaphore::MAX_PERMITS);
        let small = small_units(all);
        Self { small: Pool::new(small), large: Pool::new(all - small) }
    }

    /// The largest reservation that a budget of `bytes_max` bytes ever grants, bytes.
    #[must_use]
    pub fn largest(bytes_max: usize) -> usize {
        let all = (bytes_max / BUDGET_UNIT_BYTES).clamp(1, Semaphore::MAX_PERMITS);
        (all - small_units(all)) * BUDGET_UNIT_BYTES
    }

    /// Waits until `bytes` are free and takes them; first come first served among the small, and among the large.
    ///
    /// # Errors
    /// `OverBudget` if that could never be.
    pub async fn reserve(&self, bytes: usize) -> Result<Reservation, OverBudget> {
        if let Some(reserved) = self.try_reserve(bytes)? {
            return Ok(reserved);
        }
        let units = self.units_of(bytes)?;
        Ok(if self.is_small(bytes) {
            Reservation { small: self.small.take(units).await, large: None }
        } else {
            Reservation { small: None, large: self.large.take(units).await }
        })
    }

    /// Takes `bytes` if they are free now.
    ///
    /// # Errors
    /// `OverBudget` if that could never be.
    pub fn try_reserve(&self, bytes: usize) -> Result<Option<Reservation>, OverBudget> {
        let units = self.units_of(bytes)?;
        if units == 0 {
            return Ok(Some(Reservation::default()));
        }
        if self.is_small(bytes)
            && let small @ Some(_) = self.small.try_take(units)
        {
            return Ok(Some(Reservation { small, large: None }));
        }
        let large = self.large.try_take(units);
        Ok(large.map(|permit| Reservation { small: None, large: Some(permit) }))
    }

    /// Bytes that are reserved now, rounded up to the unit per reservation.
    #[must_use]
    pub fn used_bytes(&self) -> usize {
        (self.small.used() + self.large.used()) * BUDGET_UNIT_BYTES
    }

    /// The whole budget.
    #[must_use]
    pub fn bytes_max(&self) -> usize {
        (self.small.units_max + self.large.units_max) * BUDGET_UNIT_BYTES
    }

    fn is_small(&self, bytes: usize) -> bool {
        bytes <= RESERVATION_SMALL_BYTES && self.small.units_max > 0
    }

    fn units_of(&self, bytes: usize) -> Result<u32, OverBudget> {
        let bytes_max = self.large.units_max * BUDGET_UNIT_BYTES;
        if bytes > bytes_max {
            return Err(OverBudget { bytes, bytes_max });
        }
        Ok(u32::try_from(bytes.div_ceil(BUDGET_UNIT_BYTES)).unwrap_or(u32::MAX))
    }
}

/// Units for the small ones, of `all`; none where they would not bear one of them.
fn small_units(all: usize) -> usize {
    let part = all / BUDGET_SMALL_PART;
    if part * BUDGET_UNIT_BYTES >= RESERVATION_SMALL_BYTES { part } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::{Budget, Reservation};
    use crate::limits::RESERVATION_SMALL_BYTES;

    #[test]
    fn what_is_dropped_can_be_reserved_again() {
        let budget = Budget::new(4096);
        let first = budget.try_reserve(4000).expect("fits");
        assert!(first.is_some());
        assert!(budget.try_reserve(1).expect("fits").is_none());
        drop(first);
        assert_eq!(budget.used_bytes(), 0);
        assert!(budget.try_reserve(4096).expect("fits").is_some());
    }

    #[test]
    fn reservations_merge_and_shrink() {
        let budget = Budget::new(8192);
        let mut held = budget.try_reserve(2048).expect("fits").expect("free");
        held.merge(budget.try_reserve(4096).expect("fits").expect("free"));
        assert_eq!(budget.used_bytes(), 6144);
        held.shrink_to(1025);
        assert_eq!(budget.used_bytes(), 2048);
        held.shrink_to(8192);
        assert_eq!(budget.used_bytes(), 2048);
        held.shrink_to(0);
        assert_eq!(budget.used_bytes(), 0);
    }

    #[test]
    fn more_than_everything_is_refused_at_once() {
        assert!(Budget::new(4096).try_reserve(4097).is_err());
        let bytes_max = 1 << 20;
        assert!(Budget::new(bytes_max).try_reserve(Budget::largest(bytes_max)).is_ok());
        assert!(Budget::new(bytes_max).try_reserve(Budget::largest(bytes_max) + 1).is_err());
    }

    #[tokio::test]
    async fn small_ones_do_not_wait_for_large_ones() {
        let budget = Budget::new(1 << 20);
        let large = budget.reserve(Budget::largest(1 << 20)).await.expect("fits");
        let waiting = tokio::spawn({
            let budget = budget.clone();
            async move { budget.reserve(RESERVATION_SMALL_BYTES + 1).await }
        });
        tokio::task::yield_now().await;
        let first = budget.reserve(RESERVATION_SMALL_BYTES).await.expect("fits");
        let second = budget.reserve(RESERVATION_SMALL_BYTES).await.expect("fits");
        assert!(budget.try_reserve(1).expect("fits").is_none(), "an eighth is theirs");
        assert_eq!(budget.used_bytes(), budget.bytes_max());
        drop((first, second));
        assert!(budget.try_reserve(1).expect("fits").is_some());
        drop(large);
        assert!(waiting.await.expect("ends").is_ok());
    }

    #[test]
    fn small_ones_take_what_is_free_of_the_rest_and_give_all_back() {
        let budget = Budget::new(1 << 20);
        let mut held = Reservation::default();
        for _ in 0..16 {
            held.merge(budget.try_reserve(RESERVATION_SMALL_BYTES).expect("fits").expect("free"));
        }
        assert!(budget.try_reserve(1).expect("fits").is_none());
        held.shrink_to(3 * RESERVATION_SMALL_BYTES);
        assert_eq!(budget.used_bytes(), 3 * RESERVATION_SMALL_BYTES);
        held.shrink_to(1);
        assert_eq!(budget.used_bytes(), 1024);
        drop(held);
        assert_eq!(budget.used_bytes(), 0);
    }
}
