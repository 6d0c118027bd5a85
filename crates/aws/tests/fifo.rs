//! FIFO queues, delays and fair queues over a real socket.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::{Value, json};
use support::{Client, Server};

async fn queue(client: &mut Client, name: &str, attributes: Value) -> String {
    let created = client.call("CreateQueue", json!({"QueueName": name, "Attributes": attributes})).await;
    created["QueueUrl"].as_str().unwrap().to_owned()
}

async fn fifo(client: &mut Client, name: &str, content_based: bool) -> String {
    let attributes = json!({"FifoQueue": "true", "ContentBasedDeduplication": content_based.to_string()});
    queue(client, name, attributes).await
}

async fn send(client: &mut Client, url: &str, body: &str, group: &str) -> Value {
    let message = json!({"QueueUrl": url, "MessageBody": body, "MessageGroupId": group});
    client.call("SendMessage", message).await
}

async fn receive(client: &mut Client, url: &str, count: i64, wait: i64) -> Vec<Value> {
    let ask = json!({"QueueUrl": url, "MaxNumberOfMessages": count, "WaitTimeSeconds": wait,
        "MessageSystemAttributeNames": ["All"], "MessageAttributeNames": ["All"]});
    client.call("ReceiveMessage", ask).await["Messages"].as_array().cloned().unwrap_or_default()
}

fn bodies(messages: &[Value]) -> Vec<&str> {
    messages.iter().map(|message| message["Body"].as_str().unwrap()).collect()
}

async fn delete(client: &mut Client, url: &str, message: &Value) {
    client.call("DeleteMessage", json!({"QueueUrl": url, "ReceiptHandle": message["ReceiptHandle"]})).await;
}

#[tokio::test]
async fn a_group_waits_for_its_message_in_flight_and_others_do_not() {
    let server = Server::start();
    let mut client = server.client().await;
    let url = fifo(&mut client, "orders.fifo", true).await;
    for (body, group) in [("a1", "a"), ("a2", "a"), ("b1", "b"), ("a3", "a")] {
        send(&mut client, &url, body, group).await;
    }
    let first = receive(&mut client, &url, 1, 5).await;
    assert_eq!(bodies(&first), ["a1"]);
    assert_eq!(first[0]["Attributes"]["MessageGroupId"], "a");
    let other = receive(&mut client, &url, 10, 0).await;
    assert_eq!(bodies(&other), ["b1"]);
    assert!(receive(&mut client, &url, 10, 0).await.is_empty());
    delete(&mut client, &url, &first[0]).await;
    let rest = receive(&mut client, &url, 10, 5).await;
    assert_eq!(bodies(&rest), ["a2", "a3"]);
    // Given back, it comes again before what follows it.
    let back = json!({"QueueUrl": url, "ReceiptHandle": rest[0]["ReceiptHandle"], "VisibilityTimeout": 0});
    client.call("ChangeMessageVisibility", back).await;
    delete(&mut client, &url, &rest[1]).await;
    assert_eq!(bodies(&receive(&mut client, &url, 10, 5).await), ["a2"]);
    // Its first handle is over, and on a FIFO queue that is told.
    let code = client
        .fails("DeleteMessage", json!({"QueueUrl": url, "ReceiptHandle": rest[0]["ReceiptHandle"]}))
        .await;
    assert_eq!(code, "InvalidParameterValue");
}

#[tokio::test]
async fn a_message_that_is_sent_twice_is_stored_once() {
    let server = Server::start();
    let mut client = server.client().await;
    let url = fifo(&mut client, "once.fifo", true).await;
    let first = send(&mut client, &url, "same", "g").await;
    let again = send(&mut client, &url, "same", "other").await;
    assert_eq!(
        (&again["MessageId"], &again["SequenceNumber"]),
        (&first["MessageId"], &first["SequenceNumber"])
    );
    let number = |sent: &Value| sent["SequenceNumber"].as_str().unwrap().to_owned();
    assert_eq!(number(&first).len(), 20);
    let by_id =
        json!({"QueueUrl": url, "MessageBody": "same", "MessageGroupId": "g", "MessageDeduplicationId": "x"});
    let other = client.call("SendMessage", by_id).await;
    assert!(number(&other) > number(&first));
    let messages = receive(&mut client, &url, 10, 5).await;
    assert_eq!(bodies(&messages), ["same", "same"]);
    // SHA-256 of "same".
    let id = "0967115f2813a3541eaef77de9d9d5773f1c0c04314b0bbfe4ff3b3b1c55b5d5";
    assert_eq!(messages[0]["Attributes"]["MessageDeduplicationId"], id);
    assert_eq!(messages[1]["Attributes"]["MessageDeduplicationId"], "x");
    assert_eq!(messages[1]["Attributes"]["SequenceNumber"], other["SequenceNumber"]);
    // A deleted message is remembered too.
    for message in &messages {
        delete(&mut client, &url, message).await;
    }
    send(&mut client, &url, "same", "g").await;
    assert!(receive(&mut client, &url, 10, 0).await.is_empty());

    // Within its group alone, if so set.
    let scope = json!({"FifoQueue": "true", "DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId"});
    let url = queue(&mut client, "groups.fifo", scope).await;
    for group in ["a", "a", "b"] {
        let message = json!({"QueueUrl": url, "MessageBody": group, "MessageGroupId": group, "MessageDeduplicationId": "1"});
        client.call("SendMessage", message).await;
    }
    assert_eq!(bodies(&receive(&mut client, &url, 10, 5).await), ["a", "b"]);
}

#[tokio::test]
async fn what_a_fifo_queue_does_not_take_is_refused() {
    let server = Server::start();
    let mut client = server.client().await;
    let plain = queue(&mut client, "plain", json!({})).await;
    let url = fifo(&mut client, "strict.fifo", false).await;
    assert_eq!(fifo(&mut client, "strict.fifo", false).await, url);
    let on = json!({"QueueName": "strict.fifo", "Attributes": {"FifoQueue": "true", "ContentBasedDeduplication": "true"}});
    assert_eq!(client.fails("CreateQueue", on).await, "QueueAlreadyExists");
    for (name, attributes) in [("a.fifo", json!({})), ("a", json!({"FifoQueue": "true"}))] {
        let create = json!({"QueueName": name, "Attributes": attributes});
        assert_eq!(client.fails("CreateQueue", create).await, "InvalidParameterValue", "{name}");
    }
    let message = |url: &str, more: Value| {
        let mut message = json!({"QueueUrl": url, "MessageBody": "x"});
        message.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
        message
    };
    for (url, more, code) in [
        (&url, json!({}), "MissingParameter"),
        (&url, json!({"MessageGroupId": "g"}), "InvalidParameterValue"),
        (&url, json!({"MessageGroupId": "g h", "MessageDeduplicationId": "d"}), "InvalidParameterValue"),
        (
            &url,
            json!({"MessageGroupId": "g", "MessageDeduplicationId": "x".repeat(129)}),
            "InvalidParameterValue",
        ),
        (
            &url,
            json!({"MessageGroupId": "g", "MessageDeduplicationId": "d", "DelaySeconds": 1}),
            "InvalidParameterValue",
        ),
        (&plain, json!({"MessageDeduplicationId": "d"}), "InvalidParameterValue"),
        (&plain, json!({"DelaySeconds": 901}), "InvalidParameterValue"),
        (&plain, json!({"DelaySeconds": -1}), "InvalidParameterValue"),
    ] {
        assert_eq!(client.fails("SendMessage", message(url, more.clone())).await, code, "{more}");
    }
    // What one message of a batch lacks refuses all of them.
    let whole = json!({"Id": "a", "MessageBody": "x", "MessageGroupId": "g", "MessageDeduplicationId": "d"});
    for (lacks, code) in
        [("MessageGroupId", "MissingParameter"), ("MessageDeduplicationId", "InvalidParameterValue")]
    {
        let mut other = whole.clone();
        other["Id"] = json!("b");
        other.as_object_mut().unwrap().remove(lacks);
        let batch = json!({"QueueUrl": url, "Entries": [whole, other]});
        assert_eq!(client.fails("SendMessageBatch", batch).await, code, "{lacks}");
    }
    assert!(receive(&mut client, &url, 10, 0).await.is_empty());
    let attempt = |url: &str| json!({"QueueUrl": url, "ReceiveRequestAttemptId": "a"});
    assert_eq!(client.fails("ReceiveMessage", attempt(&plain)).await, "InvalidParameterValue");
    client.call("ReceiveMessage", attempt(&url)).await;
    let redrive = |target: &str| {
        let arn = format!("arn:aws:sqs:us-east-1:000000000000:{target}");
        json!({"deadLetterTargetArn": arn, "maxReceiveCount": 1}).to_string()
    };
    for (url, target) in [(&url, "plain"), (&plain, "strict.fifo")] {
        let set = json!({"QueueUrl": url, "Attributes": {"RedrivePolicy": redrive(target)}});
        assert_eq!(client.fails("SetQueueAttributes", set).await, "InvalidParameterValue");
    }
}

#[tokio::test]
async fn a_receive_can_be_repeated_by_its_id() {
    let server = Server::start();
    let mut client = server.client().await;
    let url = fifo(&mut client, "again.fifo", true).await;
    send(&mut client, &url, "1", "g").await;
    send(&mut client, &url, "2", "g").await;
    let ask = |id: &str| {
        json!({"QueueUrl": url, "WaitTimeSeconds": 1, "ReceiveRequestAttemptId": id,
        "MessageSystemAttributeNames": ["ApproximateReceiveCount"]})
    };
    let first = client.call("ReceiveMessage", ask("one")).await;
    assert_eq!(first["Messages"][0]["Body"], "1");
    assert_eq!(client.call("ReceiveMessage", ask("one")).await, first);
    assert_eq!(client.call("ReceiveMessage", ask("two")).await, json!({}));
    delete(&mut client, &url, &first["Messages"][0]).await;
    let second = client.call("ReceiveMessage", ask("one")).await;
    assert_eq!(second["Messages"][0]["Body"], "2");
}

#[tokio::test]
async fn a_fifo_message_that_fails_lies_in_a_fifo_queue() {
    let server = Server::start();
    let mut client = server.client().await;
    let dead = fifo(&mut client, "dead.fifo", true).await;
    let redrive =
        r#"{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:dead.fifo","maxReceiveCount":1}"#;
    let attributes = json!({"FifoQueue": "true", "ContentBasedDeduplication": "true", "VisibilityTimeout": "0",
        "RedrivePolicy": redrive});
    let url = queue(&mut client, "work.fifo", attributes).await;
    send(&mut client, &url, "poison", "g").await;
    send(&mut client, &url, "next", "g").await;
    assert_eq!(bodies(&receive(&mut client, &url, 1, 5).await), ["poison"]);
    let next = receive(&mut client, &url, 1, 5).await;
    assert_eq!(bodies(&next), ["next"]);
    let moved = receive(&mut client, &dead, 1, 5).await;
    assert_eq!(bodies(&moved), ["poison"]);
    assert_eq!(moved[0]["Attributes"]["MessageGroupId"], "g");
}

#[tokio::test]
async fn a_delayed_message_comes_when_it_is_due() {
    let server = Server::start();
    let mut client = server.client().await;
    let url = queue(&mut client, "later", json!({"DelaySeconds": "1"})).await;
    let sent = client.call("SendMessage", json!({"QueueUrl": url, "MessageBody": "by the queue"})).await;
    client.call("SendMessage", json!({"QueueUrl": url, "MessageBody": "at once", "DelaySeconds": 0})).await;
    client
        .call("SendMessage", json!({"QueueUrl": url, "MessageBody": "much later", "DelaySeconds": 900}))
        .await;
    assert_eq!(bodies(&receive(&mut client, &url, 10, 1).await), ["at once"]);
    let ask = json!({"QueueUrl": url, "AttributeNames": ["All"]});
    let attributes = client.call("GetQueueAttributes", ask).await["Attributes"].clone();
    assert_eq!(attributes["DelaySeconds"], "1");
    let due = receive(&mut client, &url, 10, 5).await;
    assert_eq!(bodies(&due), ["by the queue"]);
    assert_eq!(due[0]["MessageId"], sent["MessageId"]);
    let ask = json!({"QueueUrl": url, "AttributeNames": ["ApproximateNumberOfMessagesDelayed"]});
    let delayed = client.call("GetQueueAttributes", ask).await;
    assert_eq!(delayed["Attributes"]["ApproximateNumberOfMessagesDelayed"], "1");

    let attributes = json!({"FifoQueue": "true", "ContentBasedDeduplication": "true", "DelaySeconds": "1"});
    let url = queue(&mut client, "later.fifo", attributes).await;
    let sent = send(&mut client, &url, "1", "g").await;
    send(&mut client, &url, "2", "g").await;
    let due = receive(&mut client, &url, 1, 5).await;
    assert_eq!(bodies(&due), ["1"]);
    assert_eq!(due[0]["Attributes"]["SequenceNumber"], sent["SequenceNumber"]);
    assert_eq!(due[0]["MessageId"], sent["MessageId"]);
}

#[tokio::test]
async fn a_noisy_tenant_does_not_delay_the_others() {
    let server = Server::start();
    let mut client = server.client().await;
    let url = queue(&mut client, "fair", json!({})).await;
    for start in 0..5 {
        let entries: Vec<Value> = (0..10)
            .map(|i| json!({"Id": i.to_string(), "MessageBody": format!("noisy {}", start * 10 + i), "MessageGroupId": "noisy"}))
            .collect();
        client.call("SendMessageBatch", json!({"QueueUrl": url, "Entries": entries})).await;
    }
    send(&mut client, &url, "quiet", "quiet").await;
    client.call("SendMessage", json!({"QueueUrl": url, "MessageBody": "nobody's"})).await;
    let got = receive(&mut client, &url, 10, 5).await;
    let got = bodies(&got);
    assert!(got.contains(&"quiet") && got.contains(&"nobody's"), "{got:?}");
}

#[tokio::test]
async fn what_is_set_on_the_topic_stays_when_the_queue_is_changed() {
    let server = Server::start();
    let session = server.session();
    let mut client = server.client().await;
    let url = fifo(&mut client, "kept.fifo", true).await;
    let topic = || session.catalog().topic("default", "kept.fifo").unwrap().clone();
    let set = async |window_ms, per_key| {
        let dedup = Some(duolog_broker::DedupPolicy { window_ms, per_key });
        let policy = duolog_broker::TopicPolicy { dedup, ..topic().policy.clone() };
        assert!(session.set_topic(&topic(), policy, topic().labels.clone()).await.unwrap());
        dedup
    };
    assert_eq!(topic().policy.dedup.unwrap().window_ms, 300_000);
    // Longer, shorter, or switched off: somebody wants it so.
    for window_ms in [3_600_000, 1_000, 0] {
        let dedup = set(window_ms, true).await;
        let attributes = json!({"QueueUrl": url, "Attributes": {"VisibilityTimeout": "7"}});
        client.call("SetQueueAttributes", attributes).await;
        assert_eq!(topic().policy.dedup, dedup);
    }
    for _ in 0..2 {
        send(&mut client, &url, "same", "g").await;
    }
    assert_eq!(receive(&mut client, &url, 10, 5).await.len(), 2, "it is switched off");
    // The scope is an attribute of the queue.
    let attributes = json!({"QueueUrl": url, "Attributes": {"DeduplicationScope": "queue"}});
    client.call("SetQueueAttributes", attributes).await;
    assert_eq!(topic().policy.dedup, Some(duolog_broker::DedupPolicy { window_ms: 0, per_key: false }));
}
