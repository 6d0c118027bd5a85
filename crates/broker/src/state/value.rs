//! What an owner's state looks like when it is written: plain values, versioned, apart from the live types so that
//! those may change without changing what is stored. A field is never taken away or moved; a new shape is a new
//! version, and the old one is read for ever (`tests/fixtures`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::v3;
use crate::idempotency::ScopedKey;
use crate::ledger::LedgerChanges;

/// Format version of a value, its first byte.
const VERSION: u8 = 4;
/// The oldest that is read.
const VERSION_MIN: u8 = 3;

/// Any owner's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Value {
    Broker(BrokerValue),
    Topic(TopicValue),
    Queue(QueueValue),
    Cursor(CursorValue),
    Producer(ProducerValue),
    /// Changes of a ledger, or a piece of its snapshot.
    Ledger(LedgerChanges),
    Dedup(DedupValue),
    Delay(DelayValue),
    Move(MoveValue),
    Exchange(ExchangeValue),
    Binding(BindingValue),
}

/// Counters of identities, and how the last run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BrokerValue {
    pub(crate) next_partition: u64,
    pub(crate) next_queue: u64,
    pub(crate) next_producer: i64,
    pub(crate) catalog_version: u64,
    /// The log's incarnation in the run that wrote this: a later run that left nothing behind shows by the gap.
    pub(crate) incarnation: u32,
    /// True if the run that wrote this ended in order.
    pub(crate) clean: bool,
    /// True if that run acknowledged before the sync where a topic did not say otherwise.
    pub(crate) durability_os: bool,
}

/// A topic and the epochs of its partitions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TopicValue {
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// Id and leader epoch, by index.
    pub(crate) partitions: Vec<(u64, i32)>,
    /// `None` is by retention; else kept until settled, and so many more.
    pub(crate) keep_settled: Option<u64>,
    pub(crate) retention_ms: Option<u64>,
    pub(crate) retention_bytes: Option<u64>,
    pub(crate) batch_bytes_max: u32,
    pub(crate) append_time: bool,
    /// `None` follows the broker; `true` waits for the sync.
    pub(crate) durability_sync: Option<bool>,
    pub(crate) made_by_queue: bool,
    pub(crate) created_at: i64,
    pub(crate) labels: BTreeMap<String, String>,
    /// Window in milliseconds, and whether keys count within records of one key.
    pub(crate) dedup: Option<(u64, bool)>,
}

/// A queue's declaration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct QueueValue {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) topic: u128,
    pub(crate) visibility_timeout_ms: u64,
    pub(crate) attempts_max: Option<u32>,
    pub(crate) dead_letter: Option<DeadLetterValue>,
    pub(crate) receive_wait_ms: u64,
    pub(crate) message_ttl_ms: Option<u64>,
    pub(crate) in_flight_max: u32,
    pub(crate) delay_ms: u64,
    pub(crate) message_bytes_max: u32,
    pub(crate) order: OrderValue,
    pub(crate) backoff: BackoffValue,
    pub(crate) created_at: i64,
    pub(crate) modified_at: i64,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) length_max: Option<u64>,
    pub(crate) length_bytes_max: Option<u64>,
    pub(crate) overflow: OverflowValue,
    pub(crate) priority_max: Option<u8>,
}

/// Where records go that a queue has given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum DeadLetterValue {
    Queue(String),
    /// Name and key.
    Exchange(String, Option<Vec<u8>>),
}

/// What happens to records that are too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum OverflowValue {
    DropHead,
    Reject,
    RejectDeadLetter,
}

/// In which order a queue hands out its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum OrderValue {
    Standard,
    ByKey,
    Fair,
}

/// How long a record waits after an attempt that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum BackoffValue {
    None,
    Fixed { ms: u64 },
    Exponential { base_ms: u64, max_ms: u64 },
}

/// A cursor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CursorValue {
    pub(crate) offset: u64,
    pub(crate) leader_epoch: i32,
    pub(crate) metadata: String,
    pub(crate) moved_at: i64,
}

/// What is known of a producer in one partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProducerValue {
    pub(crate) epoch: i16,
    /// First sequence, last sequence and base offset of its last batches, oldest first.
    pub(crate) batches: Vec<(i32, i32, u64)>,
    pub(crate) used_at: i64,
}

/// Idempotency keys of a topic that were appended in one group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DedupValue {
    /// When they are forgotten, milliseconds since the epoch.
    pub(crate) expires_at: i64,
    /// Key with its scope, partition and offset of the record.
    pub(crate) keys: Vec<(ScopedKey, u64, u64)>,
}

/// Delayed records of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DelayValue {
    /// The hidden partition that they are kept in.
    pub(crate) partition: u64,
    /// Time and offset of what has entered the topic last: all up to here has.
    pub(crate) moved_due: i64,
    pub(crate) moved_offset: u64,
    /// Still to come.
    pub(crate) count: u64,
}

/// A move task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MoveValue {
    pub(crate) source: u64,
    pub(crate) destination: Option<u64>,
    pub(crate) rate_per_s: Option<u32>,
    pub(crate) filter: Option<MoveFilterValue>,
    pub(crate) dry_run: bool,
    pub(crate) status: MoveStatusValue,
    pub(crate) moved: u64,
    pub(crate) to_move: u64,
    pub(crate) started_at: i64,
    pub(crate) ended_at: Option<i64>,
}

/// Which records a move task takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum MoveFilterValue {
    Key(Vec<u8>),
    /// Name and value.
    Header(Vec<u8>, Vec<u8>),
}

/// How a move task stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum MoveStatusValue {
    Running,
    Cancelling,
    Cancelled,
    Completed,
    /// With the reason.
    Failed(String),
}

/// An exchange's declaration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ExchangeValue {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) kind: ExchangeKindValue,
    /// The header that it hashes; `None` is the key.
    pub(crate) hash_header: Option<Vec<u8>>,
    pub(crate) alternate: Option<String>,
    pub(crate) created_at: i64,
    pub(crate) labels: BTreeMap<String, String>,
}

/// How an exchange compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ExchangeKindValue {
    Direct,
    Fanout,
    Topic,
    Headers,
    ConsistentHash,
}

/// A binding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BindingValue {
    pub(crate) source: EndValue,
    pub(crate) destination: EndValue,
    pub(crate) key: Vec<u8>,
    pub(crate) filter: FilterValue,
    pub(crate) labels: BTreeMap<String, String>,
}

/// An end of a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum EndValue {
    Exchange(u64),
    Queue(u64),
    Topic(u128),
}

/// Which records a binding takes: name and value of headers, or rules as they were written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum FilterValue {
    All,
    Every(Vec<(Vec<u8>, Option<Vec<u8>>)>),
    Some(Vec<(Vec<u8>, Option<Vec<u8>>)>),
    Rules {
        /// On the body, else on the headers.
        body: bool,
        text: String,
    },
}

/// Why a value could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ValueError {
    /// Written by a newer broker.
    #[error("state of format version {0} where at most {VERSION} is known; start a newer duolog")]
    Newer(u8),
    /// Written before the first release.
    #[error("state of format version {0}, from before the first release; begin with an empty data directory")]
    Unreleased(u8),
    /// Not what any broker writes.
    #[error("the state record cannot be decoded: {0}")]
    Malformed(String),
}

impl Value {
    /// The record's value.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let start = vec![VERSION];
        postcard::to_extend(self, start).expect("a value has no part that postcard refuses")
    }

    /// The inverse.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, ValueError> {
        match bytes.split_first() {
            Some((&VERSION, rest)) => whole(rest),
            Some((&3, rest)) => whole::<v3::Value>(rest).map(Self::from),
            Some((&version, _)) if version > VERSION => Err(ValueError::Newer(version)),
            Some((&version @ 1..VERSION_MIN, _)) => Err(ValueError::Unreleased(version)),
            Some(_) | None => Err(ValueError::Malformed("no version".to_owned())),
        }
    }
}

/// What the bytes hold, all of them.
fn whole<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, ValueError> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(ValueError::Malformed(format!("{} bytes too many", rest.len()))),
        Err(error) => Err(ValueError::Malformed(error.to_string())),
    }
}
