//! The Rust client over librdkafka: topics made, grown and configured, records produced and read by a group.
//! `rdkafka-client BOOTSTRAP NAME`; ends with 0 if all went as it should.

use std::collections::BTreeSet;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{CommitMode, Consumer, StreamConsumer};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};

const RECORDS: usize = 500;
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let (Some(bootstrap), Some(name)) = (arguments.next(), arguments.next()) else {
        panic!("usage: rdkafka-client BOOTSTRAP NAME");
    };
    let client = |more: &[(&str, &str)]| {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &bootstrap);
        for (key, value) in more {
            config.set(*key, *value);
        }
        config
    };
    let admin: AdminClient<DefaultClientContext> = client(&[]).create().expect("an admin client");
    make(&admin, &name).await;
    produce(&client(&[("enable.idempotence", "true"), ("compression.type", "lz4")]), &name).await;
    let group =
        [("group.id", name.as_str()), ("auto.offset.reset", "earliest"), ("enable.auto.commit", "false")];
    consume(&client(&group), &name).await;
    change(&admin, &name).await;
    println!("{RECORDS} records went round");
}

async fn make(admin: &AdminClient<DefaultClientContext>, name: &str) {
    let topic = NewTopic::new(name, 3, TopicReplication::Fixed(1)).set("retention.ms", "1000000");
    let made = admin.create_topics(&[topic], &AdminOptions::new()).await.expect("an answer");
    made[0].as_ref().expect("the topic is made");
}

async fn produce(config: &ClientConfig, topic: &str) {
    let producer: FutureProducer = config.create().expect("a producer");
    let sends = (0..RECORDS).map(|index| {
        let producer = &producer;
        async move {
            let (key, value) = (format!("k{}", index % 7), index.to_string());
            let headers = OwnedHeaders::new().insert(Header { key: "index", value: Some(&value) });
            let record = FutureRecord::to(topic).key(&key).payload(&value).headers(headers);
            producer.send(record, PATIENCE).await.expect("a record is acknowledged");
        }
    });
    futures_util::future::join_all(sends).await;
}

async fn consume(config: &ClientConfig, topic: &str) {
    let consumer: StreamConsumer = config.create().expect("a consumer");
    consumer.subscribe(&[topic]).expect("a subscription");
    let mut seen = BTreeSet::new();
    while seen.len() < RECORDS {
        let message = tokio::time::timeout(PATIENCE, consumer.recv()).await.expect("records keep coming");
        let message = message.expect("a record");
        let value = message.payload_view::<str>().expect("a value").expect("text").to_owned();
        let headers = message.headers().expect("headers");
        assert_eq!(headers.get(0).value, Some(value.as_bytes()));
        assert!(seen.insert(value), "each comes once");
    }
    consumer.commit_consumer_state(CommitMode::Sync).expect("offsets are committed");
    let committed = consumer.committed(PATIENCE).expect("offsets").to_topic_map();
    let sum: i64 = committed.values().filter_map(|offset| offset.to_raw()).filter(|offset| *offset > 0).sum();
    assert_eq!(sum, RECORDS as i64);
}

async fn change(admin: &AdminClient<DefaultClientContext>, name: &str) {
    let options = AdminOptions::new();
    let grown = admin.create_partitions(&[NewPartitions::new(name, 5)], &options).await.expect("an answer");
    grown[0].as_ref().expect("the topic grows");
    let topic = ResourceSpecifier::Topic(name);
    let altered = AlterConfig::new(topic).set("retention.ms", "7777");
    let altered = admin.alter_configs(&[altered], &options).await.expect("an answer");
    altered[0].as_ref().expect("the settings change");
    let described = admin.describe_configs(&[topic], &options).await.expect("an answer");
    let described = described[0].as_ref().expect("the settings are described");
    let retention = described.get("retention.ms").expect("it is one of them");
    assert_eq!(retention.value.as_deref(), Some("7777"));
    let deleted = admin.delete_topics(&[name], &options).await.expect("an answer");
    deleted[0].as_ref().expect("the topic is deleted");
}
