//! The fixed part of the catalog: what a run works on, declared or found anew after each start.

use duolog_broker::catalog::DEFAULT_NAMESPACE;
use duolog_broker::errors::ChangeError;
use duolog_broker::{
    Backoff, DeadLetter, DedupPolicy, Keep, Labels, Order, QueueId, QueuePolicy, QueueSpec, Start, TopicId,
    TopicPolicy, TopicSpec,
};
use duolog_record::PartitionId;

use super::node::Node;
use crate::history::Broken;

/// The fixed part of the catalog: what a run works on, found anew after each start.
#[derive(Clone, Debug)]
pub(super) struct Stage {
    /// Partitions of the topic that is read as a stream and as a queue.
    pub(super) stream: Vec<PartitionId>,
    pub(super) stream_topic: TopicId,
    /// The queue on the stream.
    pub(super) work: QueueId,
    /// A queue with a topic of its own.
    pub(super) jobs: QueueId,
    pub(super) jobs_topic: TopicId,
    /// Another queue on that topic, which is kept until both have settled.
    pub(super) audit: QueueId,
    /// A queue by key with a topic of its own, of two partitions.
    pub(super) lines: QueueId,
    pub(super) lines_topic: TopicId,
    /// A topic of one partition that keeps some of what is settled.
    pub(super) tenants_topic: TopicId,
    pub(super) tenants: PartitionId,
    /// A queue on it in which keys take turns.
    pub(super) turns: QueueId,
    /// Another, whose records outlive their time.
    pub(super) brief: QueueId,
    /// Where both others dead-letter to.
    pub(super) dead: QueueId,
    pub(super) dead_topic: TopicId,
    /// Where move tasks move the dead to.
    pub(super) moved: QueueId,
}

/// How long the stream remembers idempotency keys, milliseconds: longer than most restarts take.
pub(super) const DEDUP_WINDOW_MS: u64 = 8_000;

/// How many settled records the tenants' topic keeps.
pub(super) const KEEP_SETTLED: u64 = 24;

/// How long records of the brief queue live, milliseconds.
pub(super) const BRIEF_MS: u64 = 8_000;

/// Longest back-off, milliseconds.
pub(super) const BACKOFF_MS: u64 = 600;

/// What a shard that ends without a fault has broken.
pub(super) fn stopped() -> Broken {
    Broken("the shard stopped on a healthy disk".to_owned())
}

/// How many move tasks are not over.
pub(super) fn moves_under_way(node: &mut Node) -> Result<u64, Broken> {
    let asked = node.session.list_moves(None);
    let tasks = node.complete(asked).ok_or_else(stopped)?;
    let tasks = tasks.map_err(|error| Broken(format!("the moves: {error}")))?;
    Ok(tasks.iter().filter(|task| task.is_active()).count() as u64)
}

fn topic_policy(keep: Keep) -> TopicPolicy {
    TopicPolicy {
        keep,
        dedup: Some(DedupPolicy { window_ms: DEDUP_WINDOW_MS, per_key: false }),
        ..TopicPolicy::default()
    }
}

fn queue_policy(dead_letter: bool) -> QueuePolicy {
    QueuePolicy {
        visibility_timeout_ms: 2000,
        attempts_max: dead_letter.then_some(3),
        dead_letter: dead_letter.then(|| DeadLetter::Queue("dead".to_owned())),
        in_flight_max: 1000,
        ..QueuePolicy::default()
    }
}

/// The policies of the queues on the tenants' topic.
pub(super) fn turns_policy() -> QueuePolicy {
    let backoff = Backoff::Exponential { base_ms: 100, max_ms: BACKOFF_MS };
    QueuePolicy { order: Order::Fair, backoff, ..queue_policy(false) }
}

pub(super) fn brief_policy() -> QueuePolicy {
    let backoff = Backoff::Fixed { ms: BACKOFF_MS };
    QueuePolicy { message_ttl_ms: Some(BRIEF_MS), backoff, ..queue_policy(false) }
}

pub(super) fn created<T>(answer: Option<Result<T, ChangeError>>) -> Result<(), Broken> {
    match answer {
        // A crash may have hidden that it was made.
        Some(Ok(_) | Err(ChangeError::Exists(_))) => Ok(()),
        Some(Err(error)) => Err(Broken(format!("a declaration was answered: {error}"))),
        None => Err(stopped()),
    }
}

fn declare(node: &mut Node, name: &str, topic: Option<&str>) -> Result<QueueId, Broken> {
    let spec = QueueSpec {
        namespace: DEFAULT_NAMESPACE.to_owned(),
        name: name.to_owned(),
        topic: topic.map(str::to_owned),
        dedup: None,
        durability: None,
        start: Start::Earliest,
        policy: match name {
            "turns" => turns_policy(),
            "brief" => brief_policy(),
            "lines" => QueuePolicy { order: Order::ByKey, ..queue_policy(false) },
            _ => queue_policy(name == "work" || name == "jobs"),
        },
        labels: Labels::new(),
    };
    if node.session.catalog().queue(DEFAULT_NAMESPACE, name).is_none() {
        let asked = node.session.create_queue(spec);
        created(node.complete(asked))?;
    }
    let catalog = node.session.catalog();
    let queue = catalog.queue(DEFAULT_NAMESPACE, name);
    Ok(queue.ok_or_else(|| Broken(format!("queue {name} was declared and is not there")))?.id)
}

/// Declares a queue that is missing; gives it and its topic.
pub(super) fn declare_queue(
    node: &mut Node,
    name: &str,
    policy: QueuePolicy,
) -> Result<(QueueId, TopicId), Broken> {
    if node.session.catalog().queue(DEFAULT_NAMESPACE, name).is_none() {
        let asked = node.session.create_queue(QueueSpec::new(name, policy));
        created(node.complete(asked))?;
    }
    let catalog = node.session.catalog();
    let queue = catalog.queue(DEFAULT_NAMESPACE, name).ok_or_else(stopped)?;
    Ok((queue.id, queue.topic))
}

/// Declares what is missing.
pub(super) fn set(node: &mut Node) -> Result<Stage, Broken> {
    let kept = Keep::UntilSettled { after: KEEP_SETTLED };
    for (name, partitions, keep) in
        [("stream", 2, Keep::Retention), ("lines", 2, Keep::Retention), ("tenants", 1, kept)]
    {
        if node.session.catalog().topic(DEFAULT_NAMESPACE, name).is_some() {
            continue;
        }
        let asked = node.session.create_topic(TopicSpec::new(name, partitions, topic_policy(keep)));
        created(node.complete(asked))?;
    }
    let dead = declare(node, "dead", None)?;
    let moved = declare(node, "moved", None)?;
    let work = declare(node, "work", Some("stream"))?;
    let jobs = declare(node, "jobs", None)?;
    let audit = declare(node, "audit", Some("jobs"))?;
    let lines = declare(node, "lines", Some("lines"))?;
    let turns = declare(node, "turns", Some("tenants"))?;
    let brief = declare(node, "brief", Some("tenants"))?;
    let catalog = node.session.catalog();
    let topic = |name: &str| {
        let topic = catalog.topic(DEFAULT_NAMESPACE, name);
        topic.ok_or_else(|| Broken(format!("topic {name} was declared and is not there")))
    };
    Ok(Stage {
        stream: topic("stream")?.partitions.clone(),
        stream_topic: topic("stream")?.id,
        work,
        jobs,
        jobs_topic: topic("jobs")?.id,
        audit,
        lines,
        lines_topic: topic("lines")?.id,
        tenants_topic: topic("tenants")?.id,
        tenants: topic("tenants")?.partitions[0],
        turns,
        brief,
        dead,
        moved,
        dead_topic: topic("dead")?.id,
    })
}
