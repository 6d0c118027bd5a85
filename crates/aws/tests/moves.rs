//! Move tasks over a real socket: dead-lettered messages go back.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::{Value, json};
use support::{Client, Server, first};

const DEAD: &str = "arn:aws:sqs:us-east-1:000000000000:dead";

fn arn(name: &str) -> String {
    format!("arn:aws:sqs:us-east-1:000000000000:{name}")
}

async fn queue(client: &mut Client, name: &str, attributes: Value) -> String {
    let created = client.call("CreateQueue", json!({"QueueName": name, "Attributes": attributes})).await;
    created["QueueUrl"].as_str().unwrap().to_owned()
}

async fn receive(client: &mut Client, url: &str, wait: i64) -> Vec<Value> {
    let ask = json!({"QueueUrl": url, "MaxNumberOfMessages": 10, "WaitTimeSeconds": wait,
        "MessageSystemAttributeNames": ["All"]});
    client.call("ReceiveMessage", ask).await["Messages"].as_array().cloned().unwrap_or_default()
}

/// A queue whose `count` messages lie in its dead-letter queue; the URLs of both.
async fn failed(client: &mut Client, count: usize) -> (String, String) {
    let dead = queue(client, "dead", json!({})).await;
    let redrive = json!({"deadLetterTargetArn": DEAD, "maxReceiveCount": 1}).to_string();
    let work = queue(client, "work", json!({"RedrivePolicy": redrive, "VisibilityTimeout": "0"})).await;
    for index in 0..count {
        let message = json!({"QueueUrl": work, "MessageBody": index.to_string()});
        client.call("SendMessage", message).await;
        receive(client, &work, 5).await;
    }
    assert!(receive(client, &work, 0).await.is_empty());
    // That they are no longer received does not mean that they have arrived there.
    let ask = json!({"QueueUrl": dead, "AttributeNames": ["ApproximateNumberOfMessages"]});
    let arrived = json!(count.to_string());
    while client.call("GetQueueAttributes", ask.clone()).await["Attributes"]["ApproximateNumberOfMessages"]
        != arrived
    {
        tokio::task::yield_now().await;
    }
    (work, dead)
}

async fn status(client: &mut Client) -> Value {
    client.call("ListMessageMoveTasks", json!({"SourceArn": DEAD})).await["Results"][0].clone()
}

async fn ended(client: &mut Client) -> Value {
    loop {
        let task = status(client).await;
        if !matches!(task["Status"].as_str(), Some("RUNNING" | "CANCELLING")) {
            return task;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn dead_letters_go_back_to_their_queue() {
    let server = Server::start();
    let mut client = server.client().await;
    let (work, dead) = failed(&mut client, 3).await;
    let set = json!({"QueueUrl": work, "Attributes": {"VisibilityTimeout": "30"}});
    client.call("SetQueueAttributes", set).await;
    let started = client.call("StartMessageMoveTask", json!({"SourceArn": DEAD})).await;
    assert!(started["TaskHandle"].is_string());
    let task = ended(&mut client).await;
    assert_eq!((&task["Status"], &task["SourceArn"]), (&json!("COMPLETED"), &json!(DEAD)));
    assert_eq!(task["ApproximateNumberOfMessagesMoved"], 3);
    assert_eq!(task["ApproximateNumberOfMessagesToMove"], 3);
    assert!(task["StartedTimestamp"].as_i64().unwrap() > 1_700_000_000_000);
    assert!(task["TaskHandle"].is_null() && task["DestinationArn"].is_null());
    let back = receive(&mut client, &work, 5).await;
    assert_eq!(back.iter().map(|it| it["Body"].as_str().unwrap()).collect::<Vec<_>>(), ["0", "1", "2"]);
    assert_eq!(back[0]["Attributes"]["ApproximateReceiveCount"], "1");
    assert!(receive(&mut client, &dead, 0).await.is_empty());
    // It is over.
    let over = json!({"TaskHandle": started["TaskHandle"]});
    let unsupported = "AWS.SimpleQueueService.UnsupportedOperation";
    assert_eq!(client.fails("CancelMessageMoveTask", over).await, unsupported);
}

#[tokio::test]
async fn a_slow_move_to_another_queue_is_cancelled() {
    let server = Server::start();
    let mut client = server.client().await;
    failed(&mut client, 4).await;
    queue(&mut client, "other", json!({})).await;
    let start =
        [("SourceArn", DEAD), ("DestinationArn", &arn("other")), ("MaxNumberOfMessagesPerSecond", "1")];
    let started = client.query("/", "StartMessageMoveTask", &start).await;
    let handle = first(&started, "TaskHandle").unwrap();
    let second = client.query_fails("/", "StartMessageMoveTask", &[("SourceArn", DEAD)]).await;
    assert_eq!(second, (400, "InvalidParameterValue".to_owned()));
    let listed = client.query("/", "ListMessageMoveTasks", &[("SourceArn", DEAD)]).await;
    let listed = first(&listed, "ListMessageMoveTasksResultEntry").unwrap();
    assert_eq!(first(&listed, "Status").unwrap(), "RUNNING");
    assert!(first(&listed, "DestinationArn").unwrap().ends_with(":000000000000:other"), "{listed}");
    assert_eq!(first(&listed, "MaxNumberOfMessagesPerSecond").unwrap(), "1");
    let cancelled = client.query("/", "CancelMessageMoveTask", &[("TaskHandle", &handle)]).await;
    assert!(first(&cancelled, "ApproximateNumberOfMessagesMoved").is_some());
    assert_eq!(ended(&mut client).await["Status"], "CANCELLED");
}

#[tokio::test]
async fn what_cannot_be_moved_is_refused() {
    let server = Server::start();
    let mut client = server.client().await;
    failed(&mut client, 0).await;
    queue(&mut client, "other.fifo", json!({"FifoQueue": "true"})).await;
    let missing = "ResourceNotFoundException";
    for (action, body, code) in [
        ("StartMessageMoveTask", json!({}), "MissingParameter"),
        ("StartMessageMoveTask", json!({"SourceArn": "dead"}), "InvalidParameterValue"),
        ("StartMessageMoveTask", json!({"SourceArn": arn("none")}), missing),
        ("StartMessageMoveTask", json!({"SourceArn": arn("work")}), "InvalidParameterValue"),
        ("StartMessageMoveTask", json!({"SourceArn": DEAD, "DestinationArn": arn("none")}), missing),
        ("StartMessageMoveTask", json!({"SourceArn": DEAD, "DestinationArn": DEAD}), "InvalidParameterValue"),
        (
            "StartMessageMoveTask",
            json!({"SourceArn": DEAD, "DestinationArn": arn("other.fifo")}),
            "InvalidParameterValue",
        ),
        (
            "StartMessageMoveTask",
            json!({"SourceArn": DEAD, "MaxNumberOfMessagesPerSecond": 0}),
            "InvalidParameterValue",
        ),
        (
            "StartMessageMoveTask",
            json!({"SourceArn": DEAD, "MaxNumberOfMessagesPerSecond": 501}),
            "InvalidParameterValue",
        ),
        ("ListMessageMoveTasks", json!({"SourceArn": DEAD, "MaxResults": 0}), "InvalidParameterValue"),
        ("ListMessageMoveTasks", json!({"SourceArn": DEAD, "MaxResults": 11}), "InvalidParameterValue"),
        ("ListMessageMoveTasks", json!({"SourceArn": arn("none")}), missing),
        ("CancelMessageMoveTask", json!({}), "MissingParameter"),
        ("CancelMessageMoveTask", json!({"TaskHandle": "nonsense"}), "InvalidParameterValue"),
        // {"taskId":"77","sourceArn":"arn:aws:sqs:us-east-1:000000000000:dead"}
        (
            "CancelMessageMoveTask",
            json!({"TaskHandle": "eyJ0YXNrSWQiOiI3NyIsInNvdXJjZUFybiI6ImFybjphd3M6c3FzOnVzLWVhc3QtMTowMDAwMDAwMDAwMDA6ZGVhZCJ9"}),
            missing,
        ),
    ] {
        assert_eq!(client.fails(action, body.clone()).await, code, "{action} {body}");
    }
    assert_eq!(client.call("ListMessageMoveTasks", json!({"SourceArn": DEAD})).await, json!({}));
}
