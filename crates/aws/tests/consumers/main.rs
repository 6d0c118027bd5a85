//! Consumers that fail, over real sockets: messages that nobody can work on, and many clients that are cut off at once. The
//! broker's clock is moved by hand.
#![allow(clippy::unwrap_used)]

mod cut_off;
mod poison;
#[path = "../support/mod.rs"]
mod support;

use std::sync::Arc;

use duolog_testkit::ManualClock;
use serde_json::{Value, json};
use support::{Client, Server};

/// Visibility timeout of the queues here, seconds.
const VISIBILITY_S: u64 = 30;

/// Whom a queue's messages go to, and in what order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Standard,
    /// Standard, its messages in groups.
    Fair,
    Fifo,
}

impl Kind {
    fn named(self, name: &str) -> String {
        if self == Self::Fifo { format!("{name}.fifo") } else { name.to_owned() }
    }
}

struct Bench {
    server: Server,
    clock: Arc<ManualClock>,
    kind: Kind,
    /// A client that lives.
    client: Client,
}

impl Bench {
    async fn new(kind: Kind) -> Self {
        let clock = Arc::new(ManualClock::new());
        let server = Server::start_at(&clock);
        let client = server.client().await;
        Self { server, clock, kind, client }
    }

    fn pass_s(&self, seconds: u64) {
        self.server.pass_s(&self.clock, seconds);
    }

    async fn queue(&mut self, name: &str, mut attributes: Value) -> String {
        attributes["VisibilityTimeout"] = json!(VISIBILITY_S.to_string());
        if self.kind == Kind::Fifo {
            attributes["FifoQueue"] = json!("true");
            attributes["ContentBasedDeduplication"] = json!("true");
        }
        let create = json!({"QueueName": self.kind.named(name), "Attributes": attributes});
        self.client.call("CreateQueue", create).await["QueueUrl"].as_str().unwrap().to_owned()
    }

    /// Sends messages, each a body and its group; gives their ids, in this order.
    async fn send(&mut self, url: &str, messages: &[(String, String)]) -> Vec<Value> {
        let mut ids = Vec::with_capacity(messages.len());
        for batch in messages.chunks(10) {
            let entry = |(at, (body, group)): (usize, &(String, String))| match self.kind {
                Kind::Standard => json!({"Id": at.to_string(), "MessageBody": body}),
                Kind::Fair | Kind::Fifo => {
                    json!({"Id": at.to_string(), "MessageBody": body, "MessageGroupId": group})
                }
            };
            let entries: Vec<Value> = batch.iter().enumerate().map(entry).collect();
            let sent =
                self.client.call("SendMessageBatch", json!({"QueueUrl": url, "Entries": entries})).await;
            let sent = sent["Successful"].as_array().unwrap();
            assert_eq!(sent.len(), batch.len());
            ids.extend(sent.iter().map(|it| it["MessageId"].clone()));
        }
        ids
    }

    /// Messages that can be received, and that are in flight.
    async fn counts(&mut self, url: &str) -> (u64, u64) {
        let ask = json!({"QueueUrl": url, "AttributeNames": ["All"]});
        let told = self.client.call("GetQueueAttributes", ask).await;
        let count = |name: &str| told["Attributes"][name].as_str().unwrap().parse().unwrap();
        (count("ApproximateNumberOfMessages"), count("ApproximateNumberOfMessagesNotVisible"))
    }
}

fn ask(url: &str, count: usize, wait_s: u64) -> Value {
    json!({"QueueUrl": url, "MaxNumberOfMessages": count, "WaitTimeSeconds": wait_s,
        "MessageSystemAttributeNames": ["All"]})
}

async fn receive(client: &mut Client, url: &str, count: usize, wait_s: u64) -> Vec<Value> {
    let received = client.call("ReceiveMessage", ask(url, count, wait_s)).await;
    received["Messages"].as_array().cloned().unwrap_or_default()
}

async fn delete(client: &mut Client, url: &str, message: &Value) {
    client.call("DeleteMessage", json!({"QueueUrl": url, "ReceiptHandle": message["ReceiptHandle"]})).await;
}

fn body(message: &Value) -> String {
    message["Body"].as_str().unwrap().to_owned()
}

/// How often it has been received, as the broker counts.
fn receives(message: &Value) -> u64 {
    message["Attributes"]["ApproximateReceiveCount"].as_str().unwrap().parse().unwrap()
}
