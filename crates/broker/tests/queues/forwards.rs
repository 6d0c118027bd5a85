//! Topics that are forwarded to exchanges, with the thread that does it running.

use std::sync::Arc;

use bytes::Bytes;
use duolog_broker::errors::CursorError;
use duolog_broker::forward::{Forward, ForwardStats};
use duolog_broker::routing::{BindingSpec, Destination, ExchangeId, ExchangeKind, ExchangeSpec, Filter};
use duolog_broker::{
    Broker, BrokerOptions, CursorMove, DeadLetter, Labels, Overflow, Permissive, Principal, QueueId,
    QueuePolicy, QueueSpec, Session, TopicId, TopicPolicy, TopicSpec, headers,
};
use duolog_record::{Batch, BatchBuilder, Codec, Header, Offset, Record, Timestamp};

use crate::faulty::FaultyLog;
use crate::support::HandClock;
use crate::{Bench, ask, batch, values};

/// A topic, an exchange of kind topic, and queues bound to it.
struct Way {
    bench: Bench,
    topic: TopicId,
    exchange: ExchangeId,
}

impl Way {
    async fn new(partitions: u32) -> Self {
        let bench = Bench::new();
        let spec = TopicSpec::new("events", partitions, TopicPolicy::default());
        let topic = bench.session.create_topic(spec).await.unwrap();
        let spec = ExchangeSpec::new("onward", ExchangeKind::Topic);
        let exchange = bench.session.create_exchange(spec).await.unwrap();
        Self { bench, topic, exchange }
    }

    fn session(&self) -> &Session {
        &self.bench.session
    }

    /// A queue that gets what has such a key.
    async fn bound(&self, name: &str, key: &'static str, policy: QueuePolicy) -> QueueId {
        let queue = self.session().create_queue(QueueSpec::new(name, policy)).await.unwrap();
        self.bind(self.exchange, Destination::Queue(queue), key).await;
        queue
    }

    async fn bind(&self, source: ExchangeId, destination: Destination, key: &'static str) {
        let key = Bytes::from_static(key.as_bytes());
        let spec = BindingSpec { source, destination, key, filter: Filter::All, labels: Labels::new() };
        self.session().bind(spec).await.unwrap();
    }

    /// Forwards what comes from now on. False if it did so before.
    async fn begin(&self) -> bool {
        begin(self.session(), Forward { topic: self.topic, exchange: self.exchange }).await
    }

    async fn append(&self, partition: usize, key: &str, value: &str) {
        self.append_batch(partition, record(key, value, &[])).await;
    }

    async fn append_batch(&self, partition: usize, batch: Batch) {
        let partition = self.session().catalog().topic_by_id(self.topic).unwrap().partitions[partition];
        self.session().append(partition, batch).await.unwrap();
    }

    /// Waits for as many records as there are names, and takes them.
    async fn receive(&self, queue: QueueId, count: u32) -> Vec<Record> {
        let mut records = Vec::new();
        while records.len() < count as usize {
            let left = count - u32::try_from(records.len()).unwrap();
            let leased = self.session().lease(ask(queue, left.min(1_000), 20_000)).await.unwrap();
            self.bench.ack(queue, &leased).await;
            records.extend(leased.into_iter().map(|it| it.record));
        }
        records
    }

    /// Where the first partition of a topic ends.
    fn end_of(&self, topic: TopicId) -> Offset {
        let partition = self.session().catalog().topic_by_id(topic).unwrap().partitions[0];
        self.session().bounds(partition).unwrap().end
    }

    /// Positions of the forward, by the groups that there are.
    async fn cursors(&self) -> Vec<u64> {
        let mut all = Vec::new();
        for group in self.session().groups().await.unwrap() {
            assert!(group.starts_with("duolog-forward.onward."), "{group}");
            all.extend(self.session().cursors(&group).await.unwrap().iter().map(|(_, it)| it.offset.0));
        }
        all
    }
}

async fn begin(session: &Session, forward: Forward) -> bool {
    let catalog = session.catalog();
    let partitions = &catalog.topic_by_id(forward.topic).unwrap().partitions;
    let ends = partitions.iter().map(|it| (*it, session.bounds(*it).unwrap().end)).collect();
    session.forward(forward, ends).await.unwrap()
}

fn record(key: &str, value: &str, headers: &[Header]) -> Batch {
    let mut builder = BatchBuilder::new();
    builder.push(Timestamp(77), Some(key.as_bytes()), Some(value.as_bytes()), headers);
    builder.build()
}

fn header(key: &'static str, value: &'static str) -> Header {
    Header { key: Bytes::from_static(key.as_bytes()), value: Some(Bytes::from_static(value.as_bytes())) }
}

fn texts(records: &[Record]) -> Vec<&str> {
    records.iter().map(|it| std::str::from_utf8(it.value.as_deref().unwrap()).unwrap()).collect()
}

fn values_of(record: &Record, name: &str) -> Vec<String> {
    let of = record.headers.iter().filter(|header| header.key == name);
    of.map(|it| String::from_utf8(it.value.as_deref().unwrap().to_vec()).unwrap()).collect()
}

#[tokio::test]
async fn what_is_appended_from_the_beginning_on_reaches_the_queues_whose_keys_fit() {
    let way = Way::new(1).await;
    let eu = way.bound("eu", "order.eu.*", QueuePolicy::default()).await;
    let all = way.bound("all", "#", QueuePolicy::default()).await;
    way.append(0, "order.eu.old", "before").await;
    assert!(way.begin().await);
    assert!(!way.begin().await, "it is there already");
    way.append_batch(
        0,
        record("order.eu.new", "one", &[header("a", "1"), header("duolog-exchange", "other")]),
    )
    .await;
    way.append(0, "order.us.new", "two").await;
    let mut tombstone = BatchBuilder::new();
    tombstone.push(Timestamp(78), None, None, &[]);
    way.append_batch(0, tombstone.build()).await;
    let records = way.receive(all, 3).await;
    assert_eq!(texts(&records[..2]), ["one", "two"]);
    assert_eq!((&records[2].key, &records[2].value), (&None, &None), "nothing stays nothing");
    let first = &records[0];
    assert_eq!((first.key.as_deref(), first.timestamp), (Some(&b"order.eu.new"[..]), Timestamp(77)));
    let header = |name| values_of(first, name);
    assert_eq!(header("a"), ["1"]);
    assert_eq!(header(headers::EXCHANGE), ["onward"]);
    assert_eq!(header(headers::FORWARDED_FROM), ["events"]);
    assert_eq!(header(headers::ORIGIN), [format!("{:032x}/0/1", way.topic.0)]);
    assert_eq!(texts(&way.receive(eu, 1).await), ["one"]);
    assert_eq!(way.cursors().await, [4]);
    let stats = way.session().forward_stats();
    assert_eq!(stats, ForwardStats { forwarded: 3, ..ForwardStats::default() });
    way.bench.broker.stop();
}

#[tokio::test]
async fn each_record_of_many_large_and_small_batches_comes_once_and_in_order() {
    let way = Way::new(3).await;
    let queue = way.bound("all", "#", QueuePolicy::default()).await;
    way.begin().await;
    for (index, codec) in [Codec::None, Codec::Zstd, Codec::Lz4].into_iter().enumerate() {
        for _ in 0..4 {
            way.append_batch(index, batch(5_000, codec)).await;
        }
    }
    let mut seen: [Vec<(u64, String)>; 3] = Default::default();
    for record in way.receive(queue, 60_000).await {
        let origin = values_of(&record, headers::ORIGIN).remove(0);
        let mut place = origin.split('/').skip(1).map(|it| it.parse::<u64>().unwrap());
        let (partition, offset) = (place.next().unwrap(), place.next().unwrap());
        let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
        seen[usize::try_from(partition).unwrap()].push((offset, value));
    }
    for of_partition in seen {
        let expected: Vec<_> = (0..20_000).map(|offset| (offset, (offset % 5_000).to_string())).collect();
        assert_eq!(of_partition, expected);
    }
    assert_eq!(way.cursors().await, [20_000; 3]);
    way.bench.broker.stop();
}

#[tokio::test]
async fn what_leads_back_ends() {
    let way = Way::new(1).await;
    let other = way.session().create_topic(TopicSpec::new("other", 1, TopicPolicy::default())).await.unwrap();
    let back = way.session().create_exchange(ExchangeSpec::new("back", ExchangeKind::Fanout)).await.unwrap();
    let end = way.bound("end", "#", QueuePolicy::default()).await;
    // events -> onward -> events, other; other -> back -> events, end.
    way.bind(way.exchange, Destination::Topic(way.topic), "#").await;
    way.bind(way.exchange, Destination::Topic(other), "#").await;
    way.bind(back, Destination::Topic(way.topic), "").await;
    way.bind(back, Destination::Queue(end), "").await;
    way.begin().await;
    begin(way.session(), Forward { topic: other, exchange: back }).await;
    way.append(0, "k", "round").await;
    let records = way.receive(end, 2).await;
    assert_eq!(texts(&records), ["round", "round"]);
    let mut paths: Vec<_> = records.iter().map(|it| values_of(it, headers::FORWARDED_FROM)).collect();
    paths.sort();
    assert_eq!(paths, [vec!["events"], vec!["events", "other"]]);
    assert_eq!((way.end_of(way.topic), way.end_of(other)), (Offset(1), Offset(1)));
    way.bench.broker.stop();
}

#[tokio::test]
async fn a_queue_that_takes_no_more_holds_the_forward_up_and_loses_nothing() {
    let way = Way::new(1).await;
    let policy = QueuePolicy { overflow: Overflow::Reject, length_max: Some(2), ..QueuePolicy::default() };
    let queue = way.bound("full", "#", policy).await;
    way.begin().await;
    for value in ["1", "2", "3", "4", "5"] {
        way.append(0, "k", value).await;
    }
    assert_eq!(texts(&way.receive(queue, 2).await), ["1", "2"]);
    let mut got = Vec::new();
    while got.len() < 3 {
        way.bench.pass_ms(20_000);
        let leased = way.session().lease(ask(queue, 10, 0)).await.unwrap();
        got.extend(values(&leased));
        way.bench.ack(queue, &leased).await;
    }
    assert_eq!(got, ["3", "4", "5"]);
    assert_eq!(way.session().forward_stats().refused, 0);
    way.bench.broker.stop();
}

#[tokio::test]
async fn a_record_that_a_topic_never_takes_is_left_out_and_the_others_come() {
    let way = Way::new(1).await;
    let small = TopicPolicy { batch_bytes_max: 1_000, ..TopicPolicy::default() };
    let narrow = way.session().create_topic(TopicSpec::new("narrow", 1, small)).await.unwrap();
    let queue = way.bound("wide", "k", QueuePolicy::default()).await;
    way.bind(way.exchange, Destination::Topic(narrow), "k").await;
    let mut builder = BatchBuilder::new();
    let large = "x".repeat(2_000);
    for (key, value) in [("k", "a"), ("none", "b"), ("k", &large), ("none", "c"), ("k", "d")] {
        builder.push(Timestamp(1), Some(key.as_bytes()), Some(value.as_bytes()), &[]);
    }
    way.begin().await;
    way.append_batch(0, builder.build()).await;
    assert_eq!(texts(&way.receive(queue, 3).await), ["a", &*large, "d"], "the others get it");
    assert_eq!(way.cursors().await, [5]);
    assert_eq!(way.end_of(narrow), Offset(2));
    let stats = way.session().forward_stats();
    assert_eq!((stats.forwarded, stats.unrouted, stats.refused), (3, 2, 1));
    way.bench.broker.stop();
}

#[tokio::test]
async fn a_record_that_a_queue_never_takes_is_left_out_there_and_what_is_refused_goes_where_the_dead_go() {
    let way = Way::new(1).await;
    let policy =
        QueuePolicy { overflow: Overflow::Reject, length_bytes_max: Some(10), ..QueuePolicy::default() };
    let small = way.bound("small", "#", policy).await;
    let dead = way.bound("dead", "none", QueuePolicy::default()).await;
    let policy = QueuePolicy {
        overflow: Overflow::RejectDeadLetter,
        length_max: Some(2),
        dead_letter: Some(DeadLetter::Queue("dead".to_owned())),
        ..QueuePolicy::default()
    };
    let short = way.bound("short", "#", policy).await;
    let all = way.bound("all", "#", QueuePolicy::default()).await;
    let large = "x".repeat(11);
    let mut builder = BatchBuilder::new();
    for value in ["a", &large, "c"] {
        builder.push(Timestamp(1), Some(b"k"), Some(value.as_bytes()), &[]);
    }
    way.begin().await;
    way.append_batch(0, builder.build()).await;
    assert_eq!(texts(&way.receive(all, 3).await), ["a", &*large, "c"]);
    assert_eq!(texts(&way.receive(small, 2).await), ["a", "c"]);
    assert_eq!(texts(&way.receive(short, 2).await), ["a", &*large]);
    assert_eq!(texts(&way.receive(dead, 1).await), ["c"]);
    let stats = way.session().forward_stats();
    assert_eq!((stats.forwarded, stats.refused), (3, 1));
    way.bench.broker.stop();
}

#[tokio::test]
async fn only_the_record_that_a_queue_never_takes_is_left_out_where_it_is_bound_for_no_other() {
    let way = Way::new(1).await;
    let policy =
        QueuePolicy { overflow: Overflow::Reject, length_bytes_max: Some(10), ..QueuePolicy::default() };
    let small = way.bound("small", "#", policy).await;
    let large = "x".repeat(11);
    let mut builder = BatchBuilder::new();
    for value in ["a", &large, &large, "b", "c"] {
        builder.push(Timestamp(1), Some(b"k"), Some(value.as_bytes()), &[]);
    }
    way.begin().await;
    way.append_batch(0, builder.build()).await;
    assert_eq!(texts(&way.receive(small, 3).await), ["a", "b", "c"]);
    assert_eq!(way.session().forward_stats().refused, 2);
    way.bench.broker.stop();
}

#[tokio::test]
async fn what_came_through_five_topics_is_not_forwarded_any_further() {
    let way = Way::new(1).await;
    let queue = way.bound("all", "#", QueuePolicy::default()).await;
    way.begin().await;
    let through = ["a", "b", "c", "d", "e"].map(|topic| header(headers::FORWARDED_FROM, topic));
    way.append_batch(0, record("k", "too far", &through)).await;
    way.append_batch(0, record("k", "far", &through[1..])).await;
    assert_eq!(texts(&way.receive(queue, 1).await), ["far"]);
    assert_eq!(way.session().forward_stats().unrouted, 1);
    way.bench.broker.stop();
}

#[tokio::test]
async fn one_that_ends_publishes_nothing_more_and_one_that_begins_anew_starts_where_it_is_told() {
    let way = Way::new(1).await;
    let queue = way.bound("all", "#", QueuePolicy::default()).await;
    way.append_batch(0, batch(100, Codec::None)).await;
    let forward = Forward { topic: way.topic, exchange: way.exchange };
    for _ in 0..50 {
        // The thread sees some of these in the middle.
        assert!(way.begin().await);
        assert!(way.session().end_forward(forward).await.unwrap());
    }
    assert!(way.begin().await);
    way.append(0, "k", "new").await;
    assert_eq!(texts(&way.receive(queue, 1).await), ["new"], "nothing old came before it");
    assert_eq!(way.cursors().await.len(), 1);
    assert!(way.session().end_forward(forward).await.unwrap());
    let partition = way.session().catalog().topic_by_id(way.topic).unwrap().partitions[0];
    assert!(way.session().forward(forward, vec![(partition, Offset(90))]).await.unwrap());
    let replayed: Vec<_> = (90..100).map(|n| n.to_string()).chain(["new".to_owned()]).collect();
    assert_eq!(texts(&way.receive(queue, 11).await), replayed);
    way.bench.broker.stop();
}

#[tokio::test]
async fn a_forward_ends_and_goes_with_its_exchange_and_covers_partitions_that_come() {
    let way = Way::new(1).await;
    let queue = way.bound("all", "#", QueuePolicy::default()).await;
    way.begin().await;
    way.session().add_partitions(way.topic, 2).await.unwrap();
    way.append(1, "k", "new partition").await;
    assert_eq!(texts(&way.receive(queue, 1).await), ["new partition"]);
    let group = way.session().groups().await.unwrap().remove(0);
    let forward = Forward { topic: way.topic, exchange: way.exchange };
    let to = CursorMove {
        partition: way.session().catalog().topic_by_id(way.topic).unwrap().partitions[0],
        offset: Offset(0),
        leader_epoch: -1,
        metadata: String::new(),
    };
    let moved = way.session().move_cursors(&group, vec![to]).await;
    assert!(matches!(moved, Err(CursorError::Denied)), "its cursors are its own");
    assert!(matches!(way.session().forget_cursors(&group, None).await, Err(CursorError::Denied)));
    assert!(way.session().end_forward(forward).await.unwrap());
    assert!(!way.session().end_forward(forward).await.unwrap());
    assert_eq!(way.cursors().await, []);
    way.append(0, "k", "between").await;
    way.begin().await;
    way.append(0, "k", "again").await;
    assert_eq!(texts(&way.receive(queue, 1).await), ["again"]);
    way.session().delete_exchange(way.exchange, false).await.unwrap();
    assert_eq!(way.session().catalog().forwards().count(), 0);
    // The thread looks twice a second.
    while !way.session().groups().await.unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    way.bench.broker.stop();
}

#[tokio::test]
async fn one_that_nobody_said_the_beginning_of_begins_at_the_end() {
    let way = Way::new(1).await;
    let queue = way.bound("all", "#", QueuePolicy::default()).await;
    way.append(0, "k", "old").await;
    // As a refused beginning leaves it that came to be all the same: the forward without its cursors.
    let known = way.session().catalog().exchange_by_id(way.exchange).unwrap().clone();
    let labels = Labels::from([("from-topics".to_owned(), format!("{:032x} 7", way.topic.0))]);
    assert!(way.session().set_exchange(&known, None, labels).await.unwrap());
    way.session().start_forwards().await.unwrap();
    while way.cursors().await.is_empty() {
        tokio::task::yield_now().await;
    }
    way.append(0, "k", "new").await;
    assert_eq!(texts(&way.receive(queue, 1).await), ["new"]);
    assert_eq!(way.cursors().await, [2]);
    way.bench.broker.stop();
}

#[tokio::test]
async fn damaged_records_are_passed_over_and_counted() {
    let log = Arc::new(FaultyLog::default());
    let options = BrokerOptions { seed: 1, retention_check_ms: 60_000, ..BrokerOptions::default() };
    let clock = Arc::new(HandClock::default());
    let broker = Broker::start(Arc::clone(&log) as Arc<_>, clock, Arc::new(Permissive), options).unwrap();
    let session = broker.session(Principal::anonymous());
    let topic = session.create_topic(TopicSpec::new("t", 1, TopicPolicy::default())).await.unwrap();
    let spec = ExchangeSpec::new("e", ExchangeKind::Direct);
    let exchange = session.create_exchange(spec).await.unwrap();
    let queue = session.create_queue(QueueSpec::new("q", QueuePolicy::default())).await.unwrap();
    let spec = BindingSpec {
        source: exchange,
        destination: Destination::Queue(queue),
        key: Bytes::from_static(b"k"),
        filter: Filter::All,
        labels: Labels::new(),
    };
    session.bind(spec).await.unwrap();
    let partition = session.catalog().topic_by_id(topic).unwrap().partitions[0];
    // The queue's own records come to lie below what is damaged.
    for (key, value) in [("", ""), ("", ""), ("k", "a"), ("k", "b"), ("k", "c")] {
        session.append(partition, record(key, value, &[])).await.unwrap();
    }
    log.damage(3..4);
    session.forward(Forward { topic, exchange }, vec![(partition, Offset(0))]).await.unwrap();
    let mut got = Vec::new();
    while got.len() < 2 {
        got.extend(values(&session.lease(ask(queue, 10, 20_000)).await.unwrap()));
    }
    assert_eq!(got, ["a", "c"]);
    assert_eq!(session.forward_stats().lost, 1);
    broker.stop();
}
