//! Room for batches that are being opened: read, decompressed, looked through.
//!
//! Invariant: whoever waits for room holds none; who has some and finds no more makes do with what there is. So
//! everybody who holds room comes to an end without waiting for anybody, and the room comes back.
//! What it is for is known before it is allocated: a batch that grows beyond what was taken for it is closed, and opened
//! again once there is more.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use duolog_record::{Batch, BatchError, Codec, Offset, PartitionId, Records};
use duolog_storage::{Log, ReadError, ReadLimit, StoredBatch};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits::{DECODED_BATCH_BYTES, DECODED_FIRST_BYTES, OPENING_BYTES};

/// One permit stands for this many bytes.
const UNIT_BYTES: usize = 1024;
/// A batch is first given so many times its compressed size; most of them need no more.
const USUAL_RATIO: usize = 8;
/// What the decoder of a codec holds beside what it gives: the window of zstd.
const WINDOW_BYTES: usize = 8 << 20;

/// The room of a broker.
#[derive(Debug)]
pub(crate) struct Room {
    units: Arc<Semaphore>,
    units_max: u32,
}

/// Bytes of it; dropping gives them back.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    permit: Option<OwnedSemaphorePermit>,
}

impl Default for Room {
    fn default() -> Self {
        Self::new(OPENING_BYTES)
    }
}

impl Room {
    pub(crate) fn new(bytes: usize) -> Self {
        let units_max = u32::try_from(bytes / UNIT_BYTES).unwrap_or(u32::MAX).max(1);
        Self { units: Arc::new(Semaphore::new(units_max as usize)), units_max }
    }

    /// Waits for so much, first come first served. What is more than everything is given everything: it is then alone.
    pub(crate) async fn take(&self, bytes: usize) -> Taken {
        let permit = Arc::clone(&self.units).acquire_many_owned(self.units_of(bytes)).await;
        Taken { permit: permit.ok() }
    }

    /// The same on a thread that may block.
    pub(crate) fn take_blocking(&self, bytes: usize) -> Taken {
        // A task that waits in this way never yields, and so would never be given more of tokio's budget.
        block_on(tokio::task::unconstrained(self.take(bytes)))
    }

    /// Makes `taken` at least so large, if there is room now.
    pub(crate) fn try_grow(&self, taken: &mut Taken, bytes: usize) -> bool {
        let have = taken.permit.as_ref().map_or(0, |permit| permit.num_permits() as u32);
        let Some(more) = self.units_of(bytes).checked_sub(have).filter(|more| *more > 0) else {
            return true;
        };
        match (Arc::clone(&self.units).try_acquire_many_owned(more), &mut taken.permit) {
            (Ok(more), Some(permit)) => permit.merge(more),
            (Ok(more), permit @ None) => *permit = Some(more),
            (Err(_), _) => return false,
        }
        true
    }

    fn units_of(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX).min(self.units_max)
    }

    /// Reads and opens the batch that holds `offset`, on a thread that may block; what it takes is held until `Opened` is
    /// dropped. `None` at the end of the partition.
    ///
    /// # Errors
    /// As `Log::read`.
    pub(crate) fn open_at(
        &self,
        log: &dyn Log,
        partition: PartitionId,
        offset: Offset,
    ) -> Result<Option<Opened>, ReadError> {
        let mut expected: Option<Size> = None;
        loop {
            let spans = log.spans(partition, offset, 1)?;
            let Some(span) = spans.first() else { return Ok(None) };
            let bytes = span.bytes as usize;
            let mut taken = self.take_blocking(bytes + expected.map_or(0, Size::room));
            let limit = ReadLimit { bytes_max: 1, until: offset.plus(1) };
            let Some(stored) = log.read(partition, offset, limit)?.into_iter().next() else {
                return Ok(None);
            };
            let mut size = expected.unwrap_or_else(|| Size::of(&stored));
            // Where there is no room to grow, what is held is given up before more is waited for.
            while self.try_grow(&mut taken, bytes + size.room()) {
                match size.open(&stored) {
                    Err(BatchError::TooLarge { .. }) if size.grow() => {}
                    records => return Ok(Some(Opened { stored, records, _taken: taken })),
                }
            }
            expected = Some(size);
        }
    }
}

/// A batch that was read and opened.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) stored: StoredBatch,
    pub(crate) records: Result<Records, BatchError>,
    /// What both take.
    pub(crate) _taken: Taken,
}

impl Taken {
    /// Gives back what is above `bytes`.
    pub(crate) fn shrink_to(&mut self, bytes: usize) {
        if let Some(permit) = &mut self.permit
            && let Some(above) = permit.num_permits().checked_sub(bytes.div_ceil(UNIT_BYTES))
        {
            drop(permit.split(above));
        }
    }
}

/// How large a batch may become when it is opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// `None`: as large as it is.
    decompressed: Option<usize>,
    stored: usize,
}

impl Size {
    /// A first guess.
    pub(crate) fn of(stored: &StoredBatch) -> Self {
        let header = Batch::header_of_body(stored.base, stored.leader_epoch, &stored.body);
        let bytes = stored.body.len();
        let guess = bytes.saturating_mul(USUAL_RATIO).clamp(DECODED_FIRST_BYTES, DECODED_BATCH_BYTES);
        let is_compressed = header.is_ok_and(|header| header.codec != Codec::None);
        Self { decompressed: is_compressed.then_some(guess), stored: bytes }
    }

    /// Room that opening it takes. A buffer is half as large when it is last moved, so both are there for a moment.
    pub(crate) fn room(self) -> usize {
        match self.decompressed {
            // Its index, and what is copied out of it.
            None => self.stored + self.stored / 2,
            Some(bytes) => bytes + bytes / 2 + bytes.min(WINDOW_BYTES),
        }
    }

    /// True if it is not compressed: its records are slices of what is stored.
    pub(crate) fn is_plain(self) -> bool {
        self.decompressed.is_none()
    }

    /// Opens it if it becomes no larger than that.
    ///
    /// # Errors
    /// As `Batch::open_body`: `TooLarge` if it does.
    pub(crate) fn open(self, stored: &StoredBatch) -> Result<Records, BatchError> {
        let bytes_max = self.decompressed.unwrap_or(DECODED_BATCH_BYTES);
        Batch::open_body(stored.base, stored.leader_epoch, &stored.body, bytes_max)
    }

    /// The next guess; false if there is none, because a batch may not become larger.
    pub(crate) fn grow(&mut self) -> bool {
        match &mut self.decompressed {
            Some(bytes) if *bytes < DECODED_BATCH_BYTES => {
                *bytes = bytes.saturating_mul(USUAL_RATIO).min(DECODED_BATCH_BYTES);
                true
            }
            Some(_) | None => false,
        }
    }
}

/// Waits for a future on this thread.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(done) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return done;
        }
        std::thread::park();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use duolog_record::{BatchBuilder, Timestamp};
    use duolog_storage::{Body, Commit, Durability, Entry, MemoryLog, Target, Trim};

    use super::*;

    fn batch(codec: Codec, bytes: usize) -> Batch {
        let mut builder = BatchBuilder::new().codec(codec);
        builder.push(Timestamp(1), None, Some(&vec![0; bytes]), &[]);
        builder.build()
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let room = Room::new(8 << 10);
        let mut taken = Taken::default();
        assert!(room.try_grow(&mut taken, 4 << 10));
        assert!(room.try_grow(&mut taken, 8 << 10));
        assert!(!room.try_grow(&mut Taken::default(), 1));
        taken.shrink_to(1);
        assert!(room.try_grow(&mut Taken::default(), 7 << 10));
        assert!(!room.try_grow(&mut Taken::default(), 8 << 10));
    }

    #[test]
    fn one_that_is_larger_than_everything_waits_until_it_is_alone() {
        let room = Arc::new(Room::new(4 << 10));
        let held = room.take_blocking(1);
        let (waiting, other) = (Arc::clone(&room), std::sync::mpsc::channel());
        let thread = std::thread::spawn(move || {
            let taken = waiting.take_blocking(usize::MAX);
            other.0.send(()).unwrap();
            drop(taken);
        });
        assert!(other.1.try_recv().is_err());
        drop(held);
        other.1.recv().unwrap();
        thread.join().unwrap();
    }

    fn log_of(batches: &[Batch]) -> MemoryLog {
        let log = MemoryLog::new();
        for (base, batch) in batches.iter().enumerate() {
            let target = Target { partition: PartitionId(1), base: Offset(base as u64), leader_epoch: 0 };
            let entry = Entry {
                body: Body::of(batch),
                targets: vec![target],
                key_hashes: Vec::new(),
                abort_first: None,
            };
            let trims = if base == 0 {
                vec![Trim::Start { partition: PartitionId(1), start: Offset(0) }]
            } else {
                Vec::new()
            };
            let commit = Commit {
                entries: vec![entry],
                trims,
                durability: Durability::Os,
                append_time: Timestamp(1),
                may_use_reserve: true,
            };
            log.commit(commit, Box::new(|result| result.unwrap()));
        }
        log
    }

    #[test]
    fn a_bomb_is_opened_in_steps_and_no_further_than_the_bound() {
        let room = Room::default();
        let log = log_of(&[batch(Codec::Zstd, 10 << 20), batch(Codec::Zstd, DECODED_BATCH_BYTES)]);
        let opened = room.open_at(&log, PartitionId(1), Offset(0)).unwrap().unwrap();
        assert!(opened.records.as_ref().unwrap().section_bytes() > 10 << 20);
        assert!(!room.try_grow(&mut Taken::default(), OPENING_BYTES), "it is paid for while it is open");
        drop(opened);
        let opened = room.open_at(&log, PartitionId(1), Offset(1)).unwrap().unwrap();
        assert_eq!(opened.records.unwrap_err(), BatchError::TooLarge { bytes_max: DECODED_BATCH_BYTES });
        drop(opened._taken);
        assert!(room.try_grow(&mut Taken::default(), OPENING_BYTES));
        assert!(room.open_at(&log, PartitionId(1), Offset(2)).unwrap().is_none());
    }

    #[test]
    fn many_who_look_at_bombs_are_all_served() {
        let room = Room::new(40 << 20);
        let log = log_of(&[batch(Codec::Zstd, 8 << 20)]);
        let look =
            || room.open_at(&log, PartitionId(1), Offset(0)).unwrap().unwrap().records.unwrap().count();
        std::thread::scope(|scope| {
            let looking: Vec<_> = (0..8).map(|_| scope.spawn(look)).collect();
            assert!(looking.into_iter().all(|it| it.join().unwrap() == 1));
        });
    }

    #[test]
    fn an_uncompressed_batch_takes_what_it_is() {
        let body = batch(Codec::None, 1 << 20).body();
        let stored =
            StoredBatch { base: Offset(0), offsets: 1, leader_epoch: 0, append_time: Timestamp(1), body };
        let mut size = Size::of(&stored);
        assert!((1 << 20..=2 << 20).contains(&size.room()));
        assert!(!size.grow());
    }
}
