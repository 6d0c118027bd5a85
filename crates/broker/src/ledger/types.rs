//! What goes into a ledger and what comes out of it.

use duolog_record::{Offset, PartitionId, Timestamp};

/// What the ledger must know of a batch before it can lease its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LedgerSpan {
    /// Offset of the first record.
    pub base: Offset,
    /// Number of offsets.
    pub offsets: u32,
    /// When the broker appended it: time to live counts from here.
    pub append_time: Timestamp,
    /// Holds nothing for a queue (control records): settled silently when its turn comes.
    pub skip: bool,
    /// The time to live that each of its records brought along, milliseconds; `NO_TTL` if none did.
    pub ttl_ms: u64,
}

/// The same for a queue that looks at keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyedSpan {
    /// The batch.
    pub span: LedgerSpan,
    /// The keys of its records.
    pub keys: Keys,
}

impl KeyedSpan {
    /// A batch with the `key_hash` of each of its offsets' records in order; 0 for an offset without a record. Behind
    /// the last of them there are no records.
    pub fn new(span: LedgerSpan, keys: impl AsRef<[u64]> + Into<Vec<u64>>) -> Self {
        let all = keys.as_ref();
        let is_one = all.len() == span.offsets as usize && all.windows(2).all(|two| two[0] == two[1]);
        let keys = match all.first() {
            Some(&key) if is_one => Keys::All(key),
            Some(_) | None => Keys::Each(keys.into()),
        };
        Self { span, keys }
    }
}

/// `key_hash` of the records of a batch; 0 for an offset without a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keys {
    /// The same at every offset.
    All(u64),
    /// Of each offset in order; behind the last there are no records.
    Each(Vec<u64>),
}

impl Keys {
    /// At so many offsets behind the first; none behind the last record.
    #[must_use]
    pub fn at(&self, index: u64) -> Option<u64> {
        match self {
            Self::All(key) => Some(*key),
            Self::Each(keys) => keys.get(usize::try_from(index).ok()?).copied(),
        }
    }

    /// How many of them are stored.
    #[must_use]
    pub fn stored(&self) -> usize {
        match self {
            Self::All(_) => 1,
            Self::Each(keys) => keys.len(),
        }
    }
}

/// How long a lease lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    /// Milliseconds; at most 12 hours.
    pub ms: u64,
    /// It does not outlast the broker: it is written down as one that is over.
    pub bound: bool,
}

impl From<u64> for Term {
    fn from(ms: u64) -> Self {
        Self { ms, bound: false }
    }
}

/// One record leased.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Partition.
    pub partition: PartitionId,
    /// Index of the partition in its topic.
    pub partition_index: u32,
    /// The record.
    pub offset: Offset,
    /// How many times it has been leased, this one included.
    pub attempt: u32,
    /// Goes into the lease id.
    pub incarnation: u64,
    /// When it was first leased (since the last replay).
    pub first_leased_at: Timestamp,
}

/// A record on its way to the dead-letter queue: the caller commits the move and says `moved`, or `move_failed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeadRecord {
    /// Partition.
    pub partition: PartitionId,
    /// The record.
    pub offset: Offset,
    /// How many times it was leased.
    pub attempts: u32,
    /// When it was first leased; before that, when it was given up.
    pub first_leased_at: Timestamp,
    /// It has outlived its time to live.
    pub outlived: bool,
}

/// What a call of `lease` brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaseResult {
    /// Leased; records of one partition stand together, oldest first.
    pub granted: Vec<Grant>,
    /// Had their attempts, or have outlived their time to live, and are to be moved.
    pub dead: Vec<DeadRecord>,
    /// How many were settled because their time to live was over.
    pub expired: u64,
}

/// What a look for what has outlived its time to live brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outlived {
    /// How many were settled.
    pub settled: u64,
    /// Are to be moved.
    pub dead: Vec<DeadRecord>,
    /// When the next is due, milliseconds since the epoch, as far as the window shows.
    pub next: Option<Timestamp>,
}

/// What a settlement did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// The record is settled; answer when the change is durable.
    Acked,
    /// The lease is over; the record is available now, or when its delay is over.
    Released,
    /// The lease ends at another time.
    Extended,
    /// The record waits to be moved: the caller commits the move and says `moved`, or `move_failed`.
    WantsDeadLetter(DeadRecord),
}

/// How full a ledger is. A control batch or hole counts as available until it comes into the look-ahead window.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LedgerDepth {
    /// Could be leased.
    pub available: u64,
    /// Under lease or on the way to the dead-letter queue.
    pub in_flight: u64,
    /// Released with a delay that is not over.
    pub delayed: u64,
    /// The oldest unsettled offset of each partition that has one.
    pub oldest: Vec<(PartitionId, Offset)>,
}
