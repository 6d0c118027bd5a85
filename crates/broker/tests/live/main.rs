//! Where live channels and the log meet: captures and echoes, with the shard's threads running.
#![allow(clippy::unwrap_used)]

mod captures;
mod echoes;
mod faulty;
#[path = "../support/mod.rs"]
mod support;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use duolog_broker::live::{
    Capture, Captured, Listener, ListenerOptions, Message, Overflow, Pattern, Publisher, Tag, Token, Waiting,
};
use duolog_broker::{
    Broker, BrokerOptions, DedupPolicy, NewRecord, Permissive, Principal, Session, TopicId, TopicPolicy,
    TopicSpec,
};
use duolog_record::{Header, Offset, PartitionId, Record};
use faulty::FaultyLog;
use support::HandClock;

struct Bench {
    broker: Broker,
    session: Session,
    log: Arc<FaultyLog>,
    clock: Arc<HandClock>,
}

const ROOMY: ListenerOptions = ListenerOptions {
    bytes_max: 64 << 20,
    messages_max: usize::MAX,
    soft: None,
    overflow: Overflow::Cut,
    own: true,
    carries: |_| true,
};

impl Bench {
    fn new() -> Self {
        let options = BrokerOptions { seed: 1, ..BrokerOptions::default() };
        let (log, clock) = (Arc::new(FaultyLog::default()), Arc::new(HandClock::default()));
        let broker = Broker::start(log.clone(), clock.clone(), Arc::new(Permissive), options).unwrap();
        let session = broker.session(Principal::anonymous());
        Self { broker, session, log, clock }
    }

    async fn topic(&self, name: &str, partitions: u32, dedup: Option<DedupPolicy>) -> TopicId {
        let policy = TopicPolicy { batch_bytes_max: 100_000, dedup, ..TopicPolicy::default() };
        let spec = TopicSpec::new(name, partitions, policy);
        self.session.create_topic(spec).await.unwrap()
    }

    fn partitions(&self, topic: TopicId) -> Vec<PartitionId> {
        self.session.catalog().topic_by_id(topic).unwrap().partitions.clone()
    }

    /// All records of a partition.
    fn records(&self, partition: PartitionId) -> Vec<Record> {
        let mut all = Vec::new();
        self.session
            .scan(partition, Offset(0), |seen| {
                all.push(seen.unwrap());
                std::ops::ControlFlow::Continue(())
            })
            .unwrap();
        all
    }

    fn capture(&self, pairs: &[(&str, &str)]) {
        let captures = pairs
            .iter()
            .map(|(subject, topic)| Capture { pattern: pattern(subject), topic: (*topic).into() });
        self.session.live().set_captures(captures.collect()).unwrap();
    }

    fn listen(&self, subject: &str, options: ListenerOptions) -> Listener {
        let listener = self.session.listen(options);
        listener.subscribe(pattern(subject), None, Tag::default()).unwrap();
        listener
    }

    async fn append(&self, topic: TopicId, key: &str, value: &str) {
        let bytes = |text: &str| Some(Bytes::copy_from_slice(text.as_bytes()));
        let record = NewRecord { key: bytes(key), value: bytes(value), ..NewRecord::default() };
        self.session.publish(topic, vec![record]).await.unwrap();
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.broker.stop();
    }
}

/// `*` is one token, `>` one or more.
fn pattern(text: &str) -> Pattern {
    let tokens = text.split('.').flat_map(|word| match word {
        "*" => vec![Token::One],
        ">" => vec![Token::One, Token::Rest],
        word => vec![Token::Literal(word.as_bytes().into())],
    });
    Pattern::tokens(tokens.collect())
}

fn message<'a>(subject: &'a str, payload: &'a str) -> Message<'a> {
    Message { subject: subject.as_bytes(), reply: b"", headers: b"", payload: payload.as_bytes() }
}

async fn captured(publisher: &mut Publisher) -> Vec<Captured> {
    std::future::poll_fn(|cx| publisher.poll_captured(cx)).await
}

/// Waits until `count` messages have come: `subject payload` each.
async fn hear(listener: &Listener, count: usize) -> Vec<String> {
    let mut heard = Vec::new();
    let mut waiting = VecDeque::new();
    while heard.len() < count {
        std::future::poll_fn(|cx| listener.poll_take(cx, &mut waiting)).await.unwrap();
        for next in waiting.drain(..) {
            let Waiting::Run(run) = next else { panic!("a run") };
            heard.extend((0..run.len()).map(|index| {
                let Message { subject, payload, .. } = run.get(index);
                format!("{} {}", String::from_utf8_lossy(subject), String::from_utf8_lossy(payload))
            }));
        }
    }
    heard
}
