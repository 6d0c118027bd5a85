//! A broker on a log in memory behind a real socket, and a client that speaks the protocol by our own codec, which the
//! oracle holds against another implementation.
#![allow(dead_code)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use duolog_broker::{Broker, BrokerOptions, Now, Permissive, Principal, Session};
use duolog_kafka::codec::messages::*;
use duolog_kafka::codec::{Api, decode_response, encode_request};
use duolog_kafka::{KafkaFrontend, KafkaOptions};
use duolog_net::{Budget, Context, Limits, Listener, Shutdown};
use duolog_record::{BatchBuilder, Codec, Offset, Producer, Record, Timestamp};
use duolog_storage::MemoryLog;
use duolog_testkit::ManualClock;
pub use duolog_testkit::within;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// Where the clock of tests begins, milliseconds.
pub const NOON: i64 = 1_750_000_000_000;

pub struct Server {
    pub address: SocketAddr,
    pub log: Arc<MemoryLog>,
    pub session: Session,
    pub budget: Budget,
    pub shutdown: Shutdown,
    pub clock: Arc<ManualClock>,
    broker: Broker,
    listening: JoinHandle<()>,
}

pub struct Settings {
    pub options: KafkaOptions,
    pub limits: Limits,
    pub budget_bytes: usize,
    pub log: MemoryLog,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            options: KafkaOptions { initial_rebalance_delay: Duration::ZERO, ..KafkaOptions::default() },
            limits: Limits::default(),
            budget_bytes: 256 << 20,
            log: MemoryLog::new(),
        }
    }
}

impl Server {
    pub async fn start() -> Self {
        Self::with(Settings::default()).await
    }

    pub async fn with(settings: Settings) -> Self {
        let clock = Arc::new(ManualClock::at(Now { wall: Timestamp(NOON), ..Now::default() }));
        let log = Arc::new(settings.log);
        let options = BrokerOptions { seed: 1, retention_check_ms: 1_000_000, ..BrokerOptions::default() };
        let broker = Broker::start(log.clone(), clock.clone(), Arc::new(Permissive), options).unwrap();
        let session = broker.session(Principal::anonymous());
        let frontend = Arc::new(KafkaFrontend::new(session.clone(), settings.options));
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.address();
        let (budget, shutdown) = (Budget::new(settings.budget_bytes), Shutdown::new());
        let context = Context { budget: budget.clone(), shutdown: shutdown.clone(), limits: settings.limits };
        tokio::spawn(Arc::clone(&frontend).run(shutdown.clone()));
        let listening = tokio::spawn(listener.run(frontend, context));
        Self { address, log, session, budget, shutdown, clock, broker, listening }
    }

    pub async fn client(&self) -> Client {
        Client::over(TcpStream::connect(self.address).await.unwrap())
    }

    /// Everything ends, and nothing holds memory any more.
    pub async fn stop(self) {
        self.shutdown.begin();
        within(self.listening).await.unwrap();
        assert_eq!(self.budget.used_bytes(), 0, "memory is still reserved");
        self.broker.stop();
    }
}

pub struct Client {
    pub stream: TcpStream,
    correlation_id: i32,
}

impl Client {
    pub fn over(stream: TcpStream) -> Self {
        Self { stream, correlation_id: 0 }
    }

    pub async fn send<T: Api>(&mut self, version: i16, request: &T) {
        self.correlation_id += 1;
        let frame = encode_request(version, self.correlation_id, Some("test"), request);
        self.stream.write_all(&frame.to_bytes()).await.unwrap();
    }

    /// The next response; its correlation id must be `behind` requests before the last one.
    pub async fn receive<T: Api>(&mut self, version: i16, behind: i32) -> T::Response {
        let (correlation_id, response) = decode_response::<T>(version, self.frame().await).unwrap();
        assert_eq!(correlation_id, self.correlation_id - behind, "answers come in order");
        response
    }

    pub async fn frame(&mut self) -> Bytes {
        within(async {
            let size = self.stream.read_u32().await.unwrap();
            let mut frame = vec![0; size as usize];
            self.stream.read_exact(&mut frame).await.unwrap();
            frame.into()
        })
        .await
    }

    pub async fn ask<T: Api>(&mut self, version: i16, request: &T) -> T::Response {
        self.send(version, request).await;
        self.receive::<T>(version, 0).await
    }

    /// True if the broker closes; nothing else may come.
    pub async fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        // A reset is a close, too: the broker may leave bytes unread.
        let _ = within(self.stream.read_to_end(&mut rest)).await;
        rest.is_empty()
    }

    pub async fn create(
        &mut self,
        name: &str,
        partitions: i32,
        configs: &[(&str, &str)],
    ) -> CreatableTopicResult {
        let configs = configs.iter().map(|(name, value)| CreatableTopicConfig {
            name: (*name).to_owned(),
            value: Some((*value).to_owned()),
        });
        let topic = CreatableTopic {
            name: name.to_owned(),
            num_partitions: partitions,
            replication_factor: 1,
            configs: configs.collect(),
            ..Default::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
        self.ask(7, &request).await.topics.remove(0)
    }

    pub async fn produce(&mut self, topic: &str, partition: i32, records: Bytes) -> PartitionProduceResponse {
        let request = produce(topic, &[(partition, records)], -1);
        self.ask(11, &request).await.responses.remove(0).partition_responses.remove(0)
    }

    pub async fn fetch(&mut self, topic: &str, partition: i32, offset: i64) -> PartitionData {
        let request = fetch(topic, &[(partition, offset)]);
        self.ask(12, &request).await.responses.remove(0).partitions.remove(0)
    }
}

/// A batch of records with these values, at [`NOON`] and the milliseconds after.
pub fn batch(values: &[&[u8]]) -> Bytes {
    batch_with(values, Codec::None, None)
}

pub fn batch_with(values: &[&[u8]], codec: Codec, producer: Option<Producer>) -> Bytes {
    let mut builder = BatchBuilder::new().codec(codec);
    if let Some(producer) = producer {
        builder = builder.producer(producer);
    }
    for (index, value) in (0..).zip(values) {
        builder.push(Timestamp(NOON + index), None, Some(value), &[]);
    }
    builder.build().bytes().clone()
}

pub fn produce(topic: &str, partitions: &[(i32, Bytes)], acks: i16) -> ProduceRequest {
    let partition_data = partitions
        .iter()
        .map(|(index, records)| PartitionProduceData { index: *index, records: Some(records.clone()) })
        .collect();
    let topic = TopicProduceData { name: topic.to_owned(), topic_id: 0, partition_data };
    ProduceRequest { transactional_id: None, acks, timeout_ms: 10_000, topic_data: vec![topic] }
}

/// Of each partition from an offset; does not wait.
pub fn fetch(topic: &str, partitions: &[(i32, i64)]) -> FetchRequest {
    let partitions = partitions
        .iter()
        .map(|(partition, fetch_offset)| FetchPartition {
            partition: *partition,
            fetch_offset: *fetch_offset,
            partition_max_bytes: 1 << 20,
            ..Default::default()
        })
        .collect();
    FetchRequest {
        max_wait_ms: 0,
        min_bytes: 1,
        topics: vec![FetchTopic { topic: topic.to_owned(), topic_id: 0, partitions }],
        ..Default::default()
    }
}

/// The records of a fetched partition, as a consumer decodes them.
pub fn records(data: &PartitionData) -> Vec<Record> {
    let mut bytes: Bytes =
        data.records.0.iter().flat_map(|part| part.prefix.iter().copied().chain(part.body.clone())).collect();
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let batch = duolog_record::Batch::split_checked(&mut bytes).unwrap();
        let base: Offset = batch.header().base_offset;
        all.extend(batch.records(base, 64 << 20).unwrap().map(Result::unwrap));
    }
    all
}

pub fn values(data: &PartitionData) -> Vec<Bytes> {
    records(data).into_iter().map(|record| record.value.unwrap_or_default()).collect()
}
