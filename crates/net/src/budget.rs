//! One budget of bytes for all buffers: reserve first, then allocate.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// One permit stands for this many bytes: a semaphore counts in 32 bits.
const UNIT_BYTES: usize = 1024;

/// A shared budget of memory. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Budget {
    units: Arc<Semaphore>,
    bytes_max: usize,
}

/// More was asked for at once than the whole budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{bytes} bytes are more than the memory budget of {bytes_max}")]
pub struct OverBudget {
    /// Asked for.
    pub bytes: usize,
    /// The budget.
    pub bytes_max: usize,
}

/// Reserved bytes; dropping it gives them back.
#[derive(Debug, Default)]
pub struct Reservation {
    permit: Option<OwnedSemaphorePermit>,
}

impl Reservation {
    /// Adds what another holds.
    pub fn merge(&mut self, other: Self) {
        match (&mut self.permit, other.permit) {
            (Some(permit), Some(other)) => permit.merge(other),
            (permit @ None, other) => *permit = other,
            (Some(_), None) => {}
        }
    }

    /// Gives back what is above `bytes`, rounded up to the unit; holds what it holds if that is less.
    pub fn shrink_to(&mut self, bytes: usize) {
        if bytes == 0 {
            self.permit = None;
        }
        if let Some(permit) = &mut self.permit
            && let Some(above) = permit.num_permits().checked_sub(bytes.div_ceil(UNIT_BYTES))
        {
            drop(permit.split(above));
        }
    }
}

impl Budget {
    /// A budget of `bytes_max` bytes.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        let units = (bytes_max / UNIT_BYTES).clamp(1, Semaphore::MAX_PERMITS);
        Self { units: Arc::new(Semaphore::new(units)), bytes_max: units * UNIT_BYTES }
    }

    /// Waits until `bytes` are free and takes them, first come first served.
    ///
    /// # Errors
    /// `OverBudget` if that could never be.
    pub async fn reserve(&self, bytes: usize) -> Result<Reservation, OverBudget> {
        let Some(units) = self.units_of(bytes)? else { return Ok(Reservation { permit: None }) };
        let permit = Arc::clone(&self.units).acquire_many_owned(units).await.ok();
        Ok(Reservation { permit })
    }

    /// Takes `bytes` if they are free now.
    ///
    /// # Errors
    /// `OverBudget` if that could never be.
    pub fn try_reserve(&self, bytes: usize) -> Result<Option<Reservation>, OverBudget> {
        let Some(units) = self.units_of(bytes)? else { return Ok(Some(Reservation { permit: None })) };
        let permit = Arc::clone(&self.units).try_acquire_many_owned(units).ok();
        Ok(permit.map(|permit| Reservation { permit: Some(permit) }))
    }

    /// Bytes that are reserved now, rounded up to the unit per reservation.
    #[must_use]
    pub fn used_bytes(&self) -> usize {
        self.bytes_max - self.units.available_permits() * UNIT_BYTES
    }

    /// The whole budget.
    #[must_use]
    pub fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    fn units_of(&self, bytes: usize) -> Result<Option<u32>, OverBudget> {
        if bytes > self.bytes_max {
            return Err(OverBudget { bytes, bytes_max: self.bytes_max });
        }
        let units = bytes.div_ceil(UNIT_BYTES);
        Ok((units > 0).then(|| u32::try_from(units).unwrap_or(u32::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::Budget;

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
    }
}
