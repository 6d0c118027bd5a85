//! The catalog: an immutable, versioned snapshot of what exists. Frontends hold it by `Arc` and look names up in it.
//!
//! Invariant: names are unique per namespace among topics and among queues; a topic and a queue may share one. Ids are
//! never reused. Itself a fold over the state partition.

mod edit;
mod map;
mod routes;

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use duolog_record::{Offset, PartitionId, Timestamp, TimestampType};
use duolog_storage::Durability;

use self::map::Map;
use self::routes::Routes;
pub(crate) use self::routes::binding_bytes;
use crate::limits::{LABEL_OVERHEAD, LABELS_OVERHEAD};

/// The namespace of everything until there are others.
pub const DEFAULT_NAMESPACE: &str = "default";

/// Identity of a topic; a new one for each creation, so a topic deleted and made again is another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId(pub u128);

/// Identity of a queue; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueId(pub u64);

/// The label of a topic to which the default exchange leads by its name, as it does to every queue.
pub const ADDRESSABLE: &str = "addressable";

/// The label of a topic that follows the broker's setting and has got records that were not synced: what of them has been seen may
/// be gone after a run that did not end in order.
pub(crate) const RELAXED: &str = "relaxed";

/// Settings that the broker keeps for a frontend and does not interpret, e.g. the raw values a client set.
pub type Labels = BTreeMap<String, String>;

/// What decides how long a topic keeps its records, beside what queues still hold unsettled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// As `retention_ms` and `retention_bytes` say.
    Retention,
    /// Until every queue on it has settled the record, and `after` records more.
    UntilSettled {
        /// How many settled records to keep.
        after: u64,
    },
}

/// How a topic tells a record that is sent twice: by its idempotency key, for a while after the first append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DedupPolicy {
    /// How long a key is remembered after its record was appended, milliseconds, at most `limits::DEDUP_WINDOW_MS`. A
    /// change holds for what is sent from then on. 0 is switched off: by somebody's wish, and with the scope remembered.
    pub window_ms: u64,
    /// Keys count within records of the same key; else within the topic.
    pub per_key: bool,
}

/// How a topic treats its records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPolicy {
    /// What decides.
    pub keep: Keep,
    /// Age, by the broker's append time, past which records go; `None` keeps them for ever.
    pub retention_ms: Option<u64>,
    /// Bytes per partition past which the oldest go; `None` is no limit.
    pub retention_bytes: Option<u64>,
    /// Largest batch, bytes as sent.
    pub batch_bytes_max: u32,
    /// Whose time the records carry.
    pub timestamps: TimestampType,
    /// What an acknowledgement means; `None` follows the broker's setting.
    pub durability: Option<Durability>,
    /// Whether records with an idempotency key are stored once; `None` ignores such keys.
    pub dedup: Option<DedupPolicy>,
}

impl Default for TopicPolicy {
    /// Everything is kept; batches of 1 MiB, the producers' timestamps, the broker's durability.
    fn default() -> Self {
        Self {
            keep: Keep::Retention,
            retention_ms: None,
            retention_bytes: None,
            batch_bytes_max: 1 << 20,
            timestamps: TimestampType::Create,
            durability: None,
            dedup: None,
        }
    }
}

impl TopicPolicy {
    /// How it deduplicates, if it does.
    #[must_use]
    pub fn deduplicates(&self) -> Option<DedupPolicy> {
        self.dedup.filter(|dedup| dedup.window_ms > 0)
    }
}

/// A topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Identity.
    pub id: TopicId,
    /// Namespace.
    pub namespace: String,
    /// Name, unique in its namespace.
    pub name: String,
    /// Partitions by index.
    pub partitions: Vec<PartitionId>,
    /// Policy.
    pub policy: TopicPolicy,
    /// A queue declaration created it: it goes when its last queue goes.
    pub made_by_queue: bool,
    /// When it was created.
    pub created_at: Timestamp,
    /// Opaque settings of frontends.
    pub labels: Labels,
}

/// Where a queue begins, or a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At the earliest kept record.
    Earliest,
    /// At the end.
    Latest,
    /// At this offset in every partition (clamped to what exists).
    Offset(Offset),
    /// At the first record of each partition whose timestamp is at or after this.
    Time(Timestamp),
}

/// In which order a queue hands out its records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Oldest first, as far as they are available.
    #[default]
    Standard,
    /// Records of one key one after the other: while one of them is leased, delayed or on its way to the dead-letter
    /// queue, the others of its key wait. Records without a key are one group per partition.
    /// Source: SQS Developer Guide, "FIFO queue delivery logic".
    ByKey,
    /// No key has to wait for another that has much to do: the key with the fewest records leased comes first.
    /// Source: SQS Developer Guide, "fair queues".
    Fair,
}

/// How long a record waits whose lease ran out, or that was released with 0 ms: `Outcome::Extend` by 0 ms makes it
/// available at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backoff {
    /// Not at all.
    #[default]
    None,
    /// Always as long.
    Fixed {
        /// Milliseconds.
        ms: u64,
    },
    /// Twice as long after each attempt.
    Exponential {
        /// After the first attempt, milliseconds.
        base_ms: u64,
        /// At most, milliseconds.
        max_ms: u64,
    },
}

impl Backoff {
    /// How long a record waits after so many attempts, milliseconds.
    #[must_use]
    pub fn after_ms(self, attempts: u32) -> u64 {
        match self {
            Self::None => 0,
            Self::Fixed { ms } => ms,
            Self::Exponential { base_ms, max_ms } => {
                let doublings = attempts.saturating_sub(1).min(63);
                base_ms.saturating_mul(1 << doublings).min(max_ms)
            }
        }
    }
}

/// How a queue hands out its records.
///
/// The default is a queue of which nothing is said: oldest first, 30 s for each attempt, as many as it takes.
/// Source: SQS, for the visibility timeout, the most leases and the largest record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuePolicy {
    /// How long a lease lasts if the receiver names no other, milliseconds.
    pub visibility_timeout_ms: u64,
    /// How many times a record may be leased before it is dead-lettered instead; `None` is no limit.
    pub attempts_max: Option<u32>,
    /// Where such records go.
    pub dead_letter: Option<DeadLetter>,
    /// How long a receive waits if it does not say, milliseconds.
    pub receive_wait_ms: u64,
    /// Age, by the broker's append time, past which a record is no longer delivered; `None` never. A record may bring a shorter
    /// one along: see `headers::TTL`.
    pub message_ttl_ms: Option<u64>,
    /// Most records leased at a time.
    pub in_flight_max: u32,
    /// How long after its append a record may be leased, milliseconds. A change holds also for records that wait.
    pub delay_ms: u64,
    /// Largest record in bytes (key, value and headers) that `publish` through this queue accepts.
    pub message_bytes_max: u32,
    /// In which order.
    pub order: Order,
    /// How long a record waits after an attempt that failed.
    pub backoff: Backoff,
    /// Most records that may be available at a time; `None` is no limit.
    pub length_max: Option<u64>,
    /// Most bytes (of values) that may be available at a time; `None` is no limit.
    pub length_bytes_max: Option<u64>,
    /// What happens to those that are too many.
    pub overflow: Overflow,
    /// The highest priority that records may have, if they have any: those of a higher one are handed out first. See `headers::PRIORITY`.
    pub priority_max: Option<u8>,
}

/// Where records go that a queue has given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeadLetter {
    /// To a queue (by name, same namespace): what has had its attempts, and what was rejected. While it is missing they stay.
    Queue(String),
    /// Through an exchange, also what has outlived its time to live and what was too much; what it leads nowhere is gone.
    /// Source: RabbitMQ documentation, "Dead Letter Exchanges".
    Exchange {
        /// By name, same namespace; the empty one leads to the queue that the key names.
        name: String,
        /// The key that they are published with; `None` is the record's own.
        key: Option<Bytes>,
    },
}

impl DeadLetter {
    /// The queue that it names.
    #[must_use]
    pub fn queue(&self) -> Option<&str> {
        match self {
            Self::Queue(name) => Some(name),
            Self::Exchange { .. } => None,
        }
    }
}

/// What happens to the records that are more than a queue may hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// The oldest leave the queue.
    #[default]
    DropHead,
    /// The newest are refused.
    Reject,
    /// The same, and they go where the dead go.
    RejectDeadLetter,
}

impl QueuePolicy {
    fn is_limited(&self) -> bool {
        self.length_max.is_some() || self.length_bytes_max.is_some()
    }

    /// It has a limit of length, and the oldest leave it.
    #[must_use]
    pub fn drops_oldest(&self) -> bool {
        self.is_limited() && self.overflow == Overflow::DropHead
    }

    /// It has a limit of length, and the newest are refused.
    #[must_use]
    pub fn refuses_newest(&self) -> bool {
        self.is_limited() && self.overflow != Overflow::DropHead
    }
}

impl Default for QueuePolicy {
    fn default() -> Self {
        Self {
            visibility_timeout_ms: 30_000,
            attempts_max: None,
            dead_letter: None,
            receive_wait_ms: 0,
            message_ttl_ms: None,
            in_flight_max: 120_000,
            delay_ms: 0,
            message_bytes_max: 1 << 20,
            order: Order::Standard,
            backoff: Backoff::None,
            length_max: None,
            length_bytes_max: None,
            overflow: Overflow::DropHead,
            priority_max: None,
        }
    }
}

/// A queue: a topic read through a ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Identity.
    pub id: QueueId,
    /// Namespace.
    pub namespace: String,
    /// Name, unique in its namespace among queues.
    pub name: String,
    /// The topic it reads.
    pub topic: TopicId,
    /// Policy.
    pub policy: QueuePolicy,
    /// When it was declared.
    pub created_at: Timestamp,
    /// When policy or labels last changed.
    pub modified_at: Timestamp,
    /// Opaque settings of frontends.
    pub labels: Labels,
}

/// A topic to create.
#[derive(Clone, Debug)]
pub struct TopicSpec {
    /// Namespace.
    pub namespace: String,
    /// Name: 1 to 249 bytes; frontends narrow the alphabet further.
    pub name: String,
    /// Number of partitions, 1 to `limits::PARTITIONS_PER_TOPIC`.
    pub partitions: u32,
    /// Policy.
    pub policy: TopicPolicy,
    /// Opaque settings.
    pub labels: Labels,
}

impl TopicSpec {
    /// A topic in the default namespace.
    #[must_use]
    pub fn new(name: &str, partitions: u32, policy: TopicPolicy) -> Self {
        let (namespace, name) = (DEFAULT_NAMESPACE.to_owned(), name.to_owned());
        Self { namespace, name, partitions, policy, labels: Labels::new() }
    }
}

/// A queue to declare.
#[derive(Clone, Debug)]
pub struct QueueSpec {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// The topic it reads; `None` is the topic of the same name. If there is none of that name, it is created with one
    /// partition, kept until settled.
    pub topic: Option<String>,
    /// How a topic that this declaration creates deduplicates; one that exists keeps its own setting.
    pub dedup: Option<DedupPolicy>,
    /// What an acknowledgement means in a topic that this declaration creates; `None` follows the broker.
    pub durability: Option<Durability>,
    /// Where to begin on a topic that exists.
    pub start: Start,
    /// Policy.
    pub policy: QueuePolicy,
    /// Opaque settings.
    pub labels: Labels,
}

impl QueueSpec {
    /// A queue in the default namespace on the topic of the same name, from its beginning.
    #[must_use]
    pub fn new(name: &str, policy: QueuePolicy) -> Self {
        Self {
            namespace: DEFAULT_NAMESPACE.to_owned(),
            name: name.to_owned(),
            topic: None,
            dedup: None,
            durability: None,
            start: Start::Earliest,
            policy,
            labels: Labels::new(),
        }
    }
}

/// What exists, at one version.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// Rises with every change.
    pub version: u64,
    pub(crate) topics: Map<TopicId, Arc<Topic>>,
    topic_names: Map<FullName, TopicId>,
    pub(crate) queues: Map<QueueId, Arc<Queue>>,
    queue_names: Map<FullName, QueueId>,
    topic_queues: Map<(TopicId, QueueId), ()>,
    partition_topics: Map<PartitionId, TopicId>,
    /// What new records of a partition are stamped with.
    pub(crate) epochs: Map<PartitionId, i32>,
    pub(crate) routes: Routes,
    /// What the labels of all topics, queues, exchanges and bindings take, about: see `labels_bytes`.
    pub(crate) labels_bytes: usize,
}

/// Bytes of memory that labels take, about.
pub(crate) fn labels_bytes(labels: &Labels) -> usize {
    let leaf = if labels.is_empty() { 0 } else { LABELS_OVERHEAD };
    leaf + labels.iter().map(|(key, value)| LABEL_OVERHEAD + key.len() + value.len()).sum::<usize>()
}

/// Namespace and name.
type FullName = (String, String);

/// How a name stands to another.
fn order(is: &FullName, namespace: &str, name: &str) -> Ordering {
    is.0.as_str().cmp(namespace).then_with(|| is.1.as_str().cmp(name))
}

impl Catalog {
    /// The topic of this name.
    #[must_use]
    pub fn topic(&self, namespace: &str, name: &str) -> Option<&Arc<Topic>> {
        self.topics.get(self.topic_names.find(|is| order(is, namespace, name))?)
    }

    /// The topic of this id.
    #[must_use]
    pub fn topic_by_id(&self, id: TopicId) -> Option<&Arc<Topic>> {
        self.topics.get(&id)
    }

    /// The topic that a partition belongs to.
    #[must_use]
    pub fn topic_of(&self, partition: PartitionId) -> Option<&Arc<Topic>> {
        self.topics.get(self.partition_topics.get(&partition)?)
    }

    /// All topics of a namespace, by name.
    pub fn topics<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a Arc<Topic>> + 'a {
        self.topic_names
            .range_by(move |(is, _)| is.as_str() >= namespace)
            .take_while(move |((is, _), _)| is == namespace)
            .filter_map(|(_, id)| self.topics.get(id))
    }

    /// The queue of this name.
    #[must_use]
    pub fn queue(&self, namespace: &str, name: &str) -> Option<&Arc<Queue>> {
        self.queues.get(self.queue_names.find(|is| order(is, namespace, name))?)
    }

    /// The queue of this id.
    #[must_use]
    pub fn queue_by_id(&self, id: QueueId) -> Option<&Arc<Queue>> {
        self.queues.get(&id)
    }

    /// Where the default exchange leads by a name: to the topic that the queue of this name reads, or to an addressable topic.
    #[must_use]
    pub fn addressed(&self, namespace: &str, name: &[u8]) -> Option<TopicId> {
        let name = std::str::from_utf8(name).ok()?;
        if let Some(queue) = self.queue(namespace, name) {
            return Some(queue.topic);
        }
        self.topic(namespace, name).filter(|it| it.labels.contains_key(ADDRESSABLE)).map(|it| it.id)
    }

    /// All queues of a namespace, by name.
    pub fn queues<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a Arc<Queue>> + 'a {
        self.queues_from(namespace, "")
    }

    /// The queues of a namespace whose names are `first` or come after it, by name.
    pub fn queues_from<'a>(
        &'a self,
        namespace: &'a str,
        first: &'a str,
    ) -> impl Iterator<Item = &'a Arc<Queue>> + 'a {
        self.queue_names
            .range_by(move |is| order(is, namespace, first).is_ge())
            .take_while(move |((is, _), _)| is == namespace)
            .filter_map(|(_, id)| self.queues.get(id))
    }

    /// The queues that read a topic, the oldest first.
    pub fn queues_on(&self, topic: TopicId) -> impl Iterator<Item = &Arc<Queue>> + '_ {
        self.topic_queues
            .range_by(move |&(of, _)| of >= topic)
            .take_while(move |&(&(of, _), ())| of == topic)
            .filter_map(|((_, id), ())| self.queues.get(id))
    }
}
