//! SNS over a real socket, on a clock that is moved by hand.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;

use duolog_aws::AwsOptions;
use duolog_net::Limits;
use duolog_testkit::ManualClock;
use serde_json::{Value, json};
use support::{Client, Server, all, first, form_request};

/// Calls an action of SNS; answers the status and the XML.
async fn asked(client: &mut Client, action: &str, parameters: &[(&str, &str)]) -> (u16, String) {
    let mut pairs = vec![("Action", action), ("Version", "2010-03-31")];
    pairs.extend_from_slice(parameters);
    let reply = client.raw(&form_request("/", &pairs)).await.expect("an answer");
    (reply.status, reply.text())
}

/// Calls one that must work; answers the XML.
async fn sns(client: &mut Client, action: &str, parameters: &[(&str, &str)]) -> String {
    let (status, text) = asked(client, action, parameters).await;
    assert_eq!(status, 200, "{action}: {text}");
    assert!(text.contains("xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\""), "{text}");
    text
}

async fn topic(client: &mut Client, parameters: &[(&str, &str)]) -> String {
    first(&sns(client, "CreateTopic", parameters).await, "TopicArn").unwrap()
}

async fn receive(client: &mut Client, queue: &str) -> Vec<Value> {
    let ask = json!({"QueueUrl": format!("/0/{queue}"), "MaxNumberOfMessages": 10});
    client.call("ReceiveMessage", ask).await["Messages"].as_array().cloned().unwrap_or_default()
}

async fn bodies(client: &mut Client, queue: &str) -> Vec<String> {
    receive(client, queue).await.iter().map(body_of).collect()
}

fn body_of(message: &Value) -> String {
    message["Body"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_message_reaches_all_who_are_subscribed_in_the_form_that_they_asked_for() {
    let server = Server::start_with(Limits::default(), AwsOptions::default());
    let mut client = server.client().await;
    let arn = topic(&mut client, &[("Name", "t")]).await;
    for (queue, raw) in [("wrapped", "false"), ("raw", "true")] {
        client.call("CreateQueue", json!({"QueueName": queue})).await;
        let endpoint = format!("arn:aws:sqs:eu-west-1:0:{queue}");
        let raw = [("Attributes.entry.1.key", "RawMessageDelivery"), ("Attributes.entry.1.value", raw)];
        let subscribed =
            [("TopicArn", arn.as_str()), ("Protocol", "sqs"), ("Endpoint", &endpoint), raw[0], raw[1]];
        sns(&mut client, "Subscribe", &subscribed).await;
    }
    let listed = sns(&mut client, "ListSubscriptionsByTopic", &[("TopicArn", &arn)]).await;
    assert_eq!(all(&listed, "SubscriptionArn").len(), 2);
    let text = "a \u{fffe} \"b\"";
    let sent = sns(&mut client, "Publish", &[("TopicArn", &arn), ("Message", text)]).await;
    let envelope: Value = serde_json::from_str(&bodies(&mut client, "wrapped").await[0]).unwrap();
    assert_eq!((&envelope["Message"], &envelope["TopicArn"]), (&json!(text), &json!(arn)));
    assert_eq!(envelope["MessageId"].as_str(), first(&sent, "MessageId").as_deref());
    assert_eq!(envelope["SignatureVersion"], "1");
    // No message of a queue may hold that character.
    assert_eq!(bodies(&mut client, "raw").await, ["YSDvv74gImIi"]);
    sns(&mut client, "DeleteTopic", &[("TopicArn", &arn)]).await;
    let gone = sns(&mut client, "ListTopics", &[]).await;
    assert!(all(&gone, "TopicArn").is_empty(), "the key is not shown: {gone}");
}

#[tokio::test]
async fn a_full_policy_takes_no_more_statements_and_gives_them_back() {
    let server = Server::start();
    let mut client = server.client().await;
    let arn = topic(&mut client, &[("Name", "t")]).await;
    let who = [("AWSAccountId.member.1", "123456789012"), ("ActionName.member.1", "Publish")];
    // The twentieth is the policy of a new topic.
    for label in 1..20 {
        let label = label.to_string();
        let granted = [("TopicArn", arn.as_str()), ("Label", &label), who[0], who[1]];
        sns(&mut client, "AddPermission", &granted).await;
    }
    let one_more = [("TopicArn", arn.as_str()), ("Label", "l"), who[0], who[1]];
    let (status, text) = asked(&mut client, "AddPermission", &one_more).await;
    assert_eq!((status, first(&text, "Code").as_deref()), (400, Some("InvalidParameter")), "{text}");
    sns(&mut client, "RemovePermission", &[("TopicArn", &arn), ("Label", "7")]).await;
    sns(&mut client, "AddPermission", &one_more).await;
}

#[tokio::test]
async fn an_ordered_topic_delivers_a_repeated_message_again_when_the_window_is_over() {
    let clock = Arc::new(ManualClock::new());
    let server = Server::start_at(&clock);
    let mut client = server.client().await;
    let fifo = [("Attributes.entry.1.key", "FifoTopic"), ("Attributes.entry.1.value", "true")];
    let arn = topic(&mut client, &[("Name", "t.fifo"), fifo[0], fifo[1]]).await;
    client.call("CreateQueue", json!({"QueueName": "q.fifo", "Attributes": {"FifoQueue": "true"}})).await;
    let raw = [("Attributes.entry.1.key", "RawMessageDelivery"), ("Attributes.entry.1.value", "true")];
    let endpoint = ("Endpoint", "arn:aws:sqs:eu-west-1:0:q.fifo");
    sns(&mut client, "Subscribe", &[("TopicArn", &arn), ("Protocol", "sqs"), endpoint, raw[0], raw[1]]).await;
    let publish = async |client: &mut Client, text: &str| {
        let parameters = [
            ("TopicArn", arn.as_str()),
            ("Message", text),
            ("MessageGroupId", "g"),
            ("MessageDeduplicationId", "same"),
        ];
        first(&sns(client, "Publish", &parameters).await, "SequenceNumber").unwrap()
    };
    let numbers = [publish(&mut client, "first").await, publish(&mut client, "repeated").await];
    assert!(numbers[0] < numbers[1]);
    assert_eq!(bodies(&mut client, "q.fifo").await, ["first"]);
    // The window of five minutes is over, and so is the lease of the first. What is behind it may come with it or only after it.
    server.pass_s(&clock, 301);
    assert!(numbers[1] < publish(&mut client, "later").await);
    let again = receive(&mut client, "q.fifo").await;
    let mut received: Vec<String> = again.iter().map(body_of).collect();
    for message in &again {
        let receipt = json!({"QueueUrl": "/0/q.fifo", "ReceiptHandle": message["ReceiptHandle"]});
        client.call("DeleteMessage", receipt).await;
    }
    received.extend(bodies(&mut client, "q.fifo").await);
    assert_eq!(received, ["first", "later"]);
}

#[tokio::test]
async fn a_subscription_that_nobody_confirms_is_gone_after_two_days() {
    let clock = Arc::new(ManualClock::new());
    let server = Server::start_at(&clock);
    let mut client = server.client().await;
    let arn = topic(&mut client, &[("Name", "t")]).await;
    let subscribe = async |client: &mut Client, protocol: &str, endpoint: &str| {
        let what = [("TopicArn", arn.as_str()), ("Protocol", protocol), ("Endpoint", endpoint)];
        sns(client, "Subscribe", &what).await
    };
    let answer = subscribe(&mut client, "http", "http://endpoint.invalid/").await;
    assert_eq!(first(&answer, "SubscriptionArn").as_deref(), Some("pending confirmation"));
    subscribe(&mut client, "email", "a@b.example").await;
    server.pass_s(&clock, 2 * 24 * 60 * 60 + 1);
    // Who comes next has those that are over looked for.
    subscribe(&mut client, "http", "http://other.invalid/").await;
    let session = server.session();
    let is_swept = |catalog: &duolog_broker::Catalog| {
        catalog.queues("default").filter(|queue| queue.name.starts_with("sns:")).count() == 1
    };
    while !is_swept(&session.catalog()) {
        tokio::task::yield_now().await;
    }
    let listed = sns(&mut client, "ListSubscriptionsByTopic", &[("TopicArn", &arn)]).await;
    assert_eq!(all(&listed, "Endpoint"), ["http://other.invalid/"]);
}

#[tokio::test]
async fn an_archive_moves_on_with_time_and_replays_what_is_in_it() {
    let clock = Arc::new(ManualClock::new());
    let server = Server::start_at(&clock);
    let mut client = server.client().await;
    let parameters = [
        ("Name", "t.fifo"),
        ("Attributes.entry.1.key", "FifoTopic"),
        ("Attributes.entry.1.value", "true"),
        ("Attributes.entry.2.key", "ArchivePolicy"),
        ("Attributes.entry.2.value", r#"{"MessageRetentionPeriod":"1"}"#),
    ];
    let arn = topic(&mut client, &parameters).await;
    let publish = async |client: &mut Client, text: &str| {
        let message = [("Message", text), ("MessageGroupId", "g"), ("MessageDeduplicationId", text)];
        sns(client, "Publish", &[("TopicArn", arn.as_str()), message[0], message[1], message[2]]).await;
    };
    let beginning = async |client: &mut Client| {
        let attributes = sns(client, "GetTopicAttributes", &[("TopicArn", &arn)]).await;
        let entries = all(&attributes, "entry").into_iter();
        let its = entries.filter(|it| first(it, "key").as_deref() == Some("BeginningArchiveTime"));
        its.filter_map(|it| first(&it, "value")).next().unwrap()
    };
    let at_first = beginning(&mut client).await;
    publish(&mut client, "old").await;
    server.pass_s(&clock, 3 * 24 * 60 * 60);
    publish(&mut client, "young").await;
    let now = beginning(&mut client).await;
    assert!(now > at_first, "{now} and {at_first}");
    client.call("CreateQueue", json!({"QueueName": "q.fifo", "Attributes": {"FifoQueue": "true"}})).await;
    let subscribe = async |client: &mut Client, from: &str| {
        let policy = json!({"PointType": "Timestamp", "StartingPoint": from}).to_string();
        let replay =
            [("Attributes.entry.1.key", "ReplayPolicy"), ("Attributes.entry.1.value", policy.as_str())];
        let to = [("Protocol", "sqs"), ("Endpoint", "arn:aws:sqs:eu-west-1:0:q.fifo")];
        asked(client, "Subscribe", &[("TopicArn", arn.as_str()), to[0], to[1], replay[0], replay[1]]).await
    };
    assert_eq!(subscribe(&mut client, &at_first).await.0, 400, "that is gone");
    assert_eq!(subscribe(&mut client, &now).await.0, 200);
    let wait = json!({"QueueUrl": "/0/q.fifo", "WaitTimeSeconds": 20, "MaxNumberOfMessages": 10});
    let received = client.call("ReceiveMessage", wait).await;
    let envelope: Value = serde_json::from_str(received["Messages"][0]["Body"].as_str().unwrap()).unwrap();
    assert_eq!((&envelope["Message"], &envelope["Replayed"]), (&json!("young"), &json!(true)));
    let (status, text) = asked(&mut client, "DeleteTopic", &[("TopicArn", &arn)]).await;
    assert_eq!((status, first(&text, "Code").as_deref()), (400, Some("InvalidState")), "{text}");
}
