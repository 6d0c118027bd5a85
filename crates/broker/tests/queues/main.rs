//! Queues through the public verbs, with the shard's and the reader's threads running. The clock is moved by hand.
#![allow(clippy::unwrap_used)]

mod backlog;
mod damage;
#[path = "../live/faulty.rs"]
mod faulty;
mod forwards;
mod overview;
mod room;
#[path = "../support/mod.rs"]
mod support;
mod timed;
mod turns;

use std::sync::Arc;

use bytes::Bytes;
use duolog_broker::errors::LeaseError;
use duolog_broker::{
    Broker, BrokerOptions, Clock, DeadLetter, LeaseAsk, Leased, NewRecord, Outcome, Permissive, Principal,
    QueueId, QueuePolicy, QueueSpec, Session, Start, TopicPolicy, TopicSpec, headers,
};
use duolog_record::{Batch, BatchBuilder, Codec, PartitionId, Timestamp, crc32c};
use duolog_storage::MemoryLog;
use support::HandClock;

struct Bench {
    clock: Arc<HandClock>,
    broker: Broker,
    session: Session,
}

/// A broker on a log in memory.
fn broker(clock: Arc<dyn Clock>) -> Broker {
    let options = BrokerOptions { seed: 1, retention_check_ms: 60_000, ..BrokerOptions::default() };
    Broker::start(Arc::new(MemoryLog::new()), clock, Arc::new(Permissive), options).unwrap()
}

impl Bench {
    fn new() -> Self {
        let clock = Arc::new(HandClock::default());
        let broker = broker(clock.clone());
        let session = broker.session(Principal::anonymous());
        Self { clock, broker, session }
    }

    fn pass_ms(&self, ms: u64) {
        self.clock.pass_ms(ms);
        self.broker.nudge();
    }

    async fn queue(&self, name: &str, dead_letter: Option<&str>) -> QueueId {
        let policy = QueuePolicy {
            dead_letter: dead_letter.map(|name| DeadLetter::Queue(name.to_owned())),
            ..QueuePolicy::default()
        };
        let spec = QueueSpec::new(name, policy);
        self.session.create_queue(spec).await.unwrap()
    }

    /// The queue's only partition.
    fn partition(&self, queue: QueueId) -> PartitionId {
        let catalog = self.session.catalog();
        catalog.topic_by_id(catalog.queue_by_id(queue).unwrap().topic).unwrap().partitions[0]
    }

    async fn send(&self, queue: QueueId, value: &'static str) {
        let topic = self.session.catalog().queue_by_id(queue).unwrap().topic;
        let record = NewRecord { value: Some(Bytes::from_static(value.as_bytes())), ..NewRecord::default() };
        self.session.publish(topic, vec![record]).await.unwrap();
    }

    async fn lease(&self, queue: QueueId, count: u32) -> Vec<Leased> {
        self.session.lease(ask(queue, count, 0)).await.unwrap()
    }

    /// Receives and acks until nothing is left, which is to be `count` records.
    async fn work_off(&self, queue: QueueId, count: usize) {
        let mut seen = 0;
        loop {
            let leased = self.lease(queue, 1_000).await;
            if leased.is_empty() {
                break;
            }
            self.ack(queue, &leased).await;
            seen += leased.len();
        }
        assert_eq!(seen, count);
    }

    async fn ack(&self, queue: QueueId, leased: &[Leased]) {
        let outcomes = leased.iter().map(|it| (it.id, Outcome::Ack)).collect();
        let results = self.session.settle(queue, outcomes).await.unwrap();
        assert!(results.iter().all(Result::is_ok), "{results:?}");
    }
}

#[tokio::test]
async fn an_overview_counts_all_queues_some_at_a_time() {
    let bench = Bench::new();
    let mut queues = Vec::new();
    for number in 0..1_100 {
        queues.push(bench.queue(&format!("q{number}"), None).await);
    }
    bench.send(queues[1_000], "a").await;
    let counted = bench.session.overview().await.unwrap().queues;
    assert_eq!(counted.iter().map(|it| it.0).collect::<Vec<_>>(), queues);
    assert!(counted.iter().all(|(id, depth)| depth.available == u64::from(*id == queues[1_000])));
}

fn ask(queue: QueueId, count: u32, wait_ms: u64) -> LeaseAsk {
    LeaseAsk { queue, count, visibility_ms: None, wait_ms, attempt: None, priority: 0, bound: false }
}

fn values(leased: &[Leased]) -> Vec<String> {
    let value = |it: &Leased| String::from_utf8(it.record.value.clone().unwrap().to_vec()).unwrap();
    leased.iter().map(value).collect()
}

/// A batch of numbered records.
fn batch(records: u32, codec: Codec) -> Batch {
    let mut builder = BatchBuilder::new().codec(codec);
    for n in 0..records {
        builder.push(Timestamp(1), None, Some(n.to_string().as_bytes()), &[]);
    }
    builder.build()
}

/// A batch whose checksum holds and whose last record does not.
fn nonsense(records: u32) -> Batch {
    /// Where the checksum stands and where what it covers begins. Source: KIP-98.
    const CRC_AT: usize = 17;
    const COVERED_FROM: usize = 21;
    let mut bytes = batch(records, Codec::None).bytes().to_vec();
    let last = bytes.len() - 1;
    bytes[last] = 0x7e;
    let crc = crc32c(&bytes[COVERED_FROM..]);
    bytes[CRC_AT..COVERED_FROM].copy_from_slice(&crc.to_be_bytes());
    Batch::split_checked(&mut Bytes::from(bytes)).unwrap()
}

async fn until(mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..10_000 {
        if holds().await {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("it never came to that");
}

#[tokio::test]
async fn records_that_cannot_be_decoded_are_moved_and_the_receiver_gets_the_others() {
    let bench = Bench::new();
    let dead = bench.queue("dead", None).await;
    let q = bench.queue("q", Some("dead")).await;
    let bad = nonsense(3);
    bench.session.append(bench.partition(q), bad.clone()).await.unwrap();
    bench.send(q, "good").await;
    let leased = bench.lease(q, 10).await;
    assert_eq!(values(&leased), ["0", "1", "good"]);
    until(async || bench.session.depth(q).await.unwrap().dead_lettered == 1).await;
    let buried = bench.session.lease(ask(dead, 10, 20_000)).await.unwrap();
    assert_eq!(buried.len(), 1);
    let header = |name: &str| {
        let found = buried[0].record.headers.iter().find(|it| it.key == name).unwrap();
        found.value.clone().unwrap()
    };
    assert_eq!(header(headers::DEAD_REASON), "malformed");
    assert_eq!(header(headers::DEAD_OFFSET), "2");
    let kept = buried[0].record.value.clone().unwrap();
    assert_eq!(kept[16..], bad.bytes()[16..], "the stored batch is what is left of the record");
    bench.broker.stop();
}

#[tokio::test]
async fn a_batch_of_nothing_but_nonsense_does_not_hold_up_one_who_waits() {
    let bench = Bench::new();
    let q = bench.queue("q", None).await;
    let session = bench.session.clone();
    let waiting = tokio::spawn(async move { session.lease(ask(q, 10, 20_000)).await });
    until(async || bench.session.depth(q).await.unwrap().waiting == 1).await;
    bench.session.append(bench.partition(q), nonsense(1)).await.unwrap();
    until(async || {
        let depth = bench.session.depth(q).await.unwrap();
        (depth.malformed, depth.waiting) == (1, 1)
    })
    .await;
    bench.send(q, "good").await;
    assert_eq!(values(&waiting.await.unwrap().unwrap()), ["good"]);
    assert_eq!(bench.session.depth(q).await.unwrap().available, 0);
    bench.broker.stop();
}

#[tokio::test]
async fn compressed_batches_are_received_piece_by_piece() {
    let bench = Bench::new();
    let q = bench.queue("q", None).await;
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        bench.session.append(bench.partition(q), batch(95, codec)).await.unwrap();
    }
    let mut seen = Vec::new();
    loop {
        let leased = bench.lease(q, 10).await;
        if leased.is_empty() {
            break;
        }
        bench.ack(q, &leased).await;
        seen.extend(values(&leased));
    }
    let expected: Vec<String> = (0..4).flat_map(|_| (0..95).map(|n: u32| n.to_string())).collect();
    assert_eq!(seen, expected);
    bench.broker.stop();
}

#[tokio::test]
async fn one_who_gives_up_leaves_the_line() {
    let bench = Bench::new();
    let q = bench.queue("q", None).await;
    let session = bench.session.clone();
    let first = tokio::spawn(async move { session.lease(ask(q, 1, 20_000)).await });
    until(async || bench.session.depth(q).await.unwrap().waiting == 1).await;
    let session = bench.session.clone();
    let second = tokio::spawn(async move { session.lease(ask(q, 1, 20_000)).await });
    until(async || bench.session.depth(q).await.unwrap().waiting == 2).await;
    first.abort();
    assert!(first.await.is_err());
    bench.send(q, "a").await;
    let leased = second.await.unwrap().unwrap();
    assert_eq!((values(&leased), leased[0].attempts), (vec!["a".to_owned()], 1));
    bench.broker.stop();
}

#[tokio::test]
async fn waiting_ends_by_the_clock_and_by_the_end() {
    let bench = Bench::new();
    let q = bench.queue("q", None).await;
    for by_clock in [true, false] {
        let session = bench.session.clone();
        let waiting = tokio::spawn(async move { session.lease(ask(q, 1, 20_000)).await });
        until(async || bench.session.depth(q).await.unwrap().waiting == 1).await;
        if by_clock {
            bench.pass_ms(20_000);
        } else {
            bench.broker.stop();
        }
        assert!(waiting.await.unwrap().unwrap().is_empty());
    }
    assert!(bench.session.lease(ask(q, 1, 0)).await.is_err());
}

#[tokio::test]
async fn a_stream_and_a_queue_read_the_same_topic() {
    let bench = Bench::new();
    let spec = TopicSpec::new("orders", 4, TopicPolicy::default());
    let topic = bench.session.create_topic(spec).await.unwrap();
    let partitions = bench.session.catalog().topic_by_id(topic).unwrap().partitions.clone();
    for &partition in &partitions {
        bench.session.append(partition, batch(25, Codec::Lz4)).await.unwrap();
    }
    let q = bench.queue("orders", None).await;
    bench.work_off(q, 100).await;
    for &partition in &partitions {
        assert_eq!(bench.session.bounds(partition).unwrap().end.0, 25, "the stream is untouched");
    }
    assert_eq!(bench.session.replay_queue(q, Start::Earliest).await.unwrap(), 100);
    bench.work_off(q, 100).await;
    bench.broker.stop();
}

/// Four receivers at a sender's heels, each message taken once. Prints how long it took, and judges nothing by it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_thousand_messages_are_each_received_once() {
    let bench = Bench::new();
    let q = bench.queue("q", None).await;
    let topic = bench.session.catalog().queue_by_id(q).unwrap().topic;
    let began = std::time::Instant::now();
    let sender = bench.session.clone();
    let sending = tokio::spawn(async move {
        for _ in 0..2_000 {
            let record = NewRecord { value: Some(vec![7; 256].into()), ..NewRecord::default() };
            sender.publish(topic, vec![record; 10]).await.unwrap();
        }
    });
    let mut receivers = Vec::new();
    for _ in 0..4 {
        let session = bench.session.clone();
        receivers.push(tokio::spawn(async move {
            let mut seen = Vec::new();
            while seen.len() < 5_000 {
                let count = u32::try_from(5_000 - seen.len()).unwrap().min(10);
                let leased = session.lease(ask(q, count, 20_000)).await.unwrap();
                seen.extend(leased.iter().map(|it| it.id.offset.0));
                let outcomes = leased.iter().map(|it| (it.id, Outcome::Ack)).collect();
                session.settle(q, outcomes).await.unwrap();
            }
            seen
        }));
    }
    sending.await.unwrap();
    let mut seen = Vec::new();
    for receiver in receivers {
        seen.extend(receiver.await.unwrap());
    }
    println!("20,000 messages in {:?}", began.elapsed());
    seen.sort_unstable();
    assert_eq!(seen, (0..20_000).collect::<Vec<u64>>());
    let depth = bench.session.depth(q).await.unwrap();
    assert_eq!((depth.available, depth.in_flight), (0, 0));
    bench.broker.stop();
}

#[tokio::test]
async fn an_answer_is_bounded_in_bytes_and_what_is_left_costs_no_attempt() {
    let bench = Bench::new();
    let queue = bench.queue("large", None).await;
    let topic = bench.session.catalog().queue_by_id(queue).unwrap().topic;
    let value = Bytes::from(vec![7; 1_000_000]);
    for _ in 0..20 {
        let record = NewRecord { value: Some(value.clone()), ..NewRecord::default() };
        bench.session.publish(topic, vec![record]).await.unwrap();
    }
    let first = bench.lease(queue, 20).await;
    assert_eq!(first.len(), 17, "sixteen MiB and the record that reaches them");
    // The rest comes back to the queue with a command of its own, which the next ask follows.
    let rest = bench.lease(queue, 20).await;
    assert_eq!(rest.len(), 3);
    assert!(rest.iter().all(|lease| lease.attempts == 1), "never given to anybody before");
    bench.ack(queue, &first).await;
    bench.ack(queue, &rest).await;
    assert!(bench.lease(queue, 20).await.is_empty());
}

#[tokio::test]
async fn a_receiver_without_room_costs_no_attempt() {
    let bench = Bench::new();
    let queue = bench.queue("narrow", None).await;
    for value in ["one", "two", "three"] {
        bench.send(queue, value).await;
    }
    let no_room = |_| std::future::ready(Err::<(), _>(LeaseError::Overloaded));
    for _ in 0..5 {
        let refused = bench.session.lease_within(ask(queue, 3, 0), 1 << 20, no_room).await;
        assert!(matches!(refused, Err(LeaseError::Overloaded)));
    }
    let asked = std::cell::Cell::new(0);
    let room = |bytes| {
        asked.set(bytes);
        std::future::ready(Ok::<_, LeaseError>("room"))
    };
    let (leased, reserved) = bench.session.lease_within(ask(queue, 3, 0), 4, room).await.unwrap();
    assert_eq!(
        (leased.len(), reserved),
        (2, Some("room")),
        "three bytes, and the record that reaches the fourth"
    );
    assert_eq!(asked.get(), 6);
    let (rest, _) = bench.session.lease_within(ask(queue, 3, 0), 1 << 20, room).await.unwrap();
    assert_eq!(rest.len(), 1);
    assert!(leased.iter().chain(&rest).all(|lease| lease.attempts == 1));
}
