//! Every action over a real socket, on a log in memory.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::{Value, json};
use support::{Client, Server, request};

async fn queue(client: &mut Client, name: &str, attributes: Value) -> String {
    let created = client.call("CreateQueue", json!({"QueueName": name, "Attributes": attributes})).await;
    created["QueueUrl"].as_str().unwrap().to_owned()
}

async fn receive(client: &mut Client, url: &str, more: Value) -> Vec<Value> {
    let mut ask = json!({"QueueUrl": url, "MaxNumberOfMessages": 10, "AttributeNames": ["All"],
        "MessageAttributeNames": ["All"]});
    ask.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    let received = client.call("ReceiveMessage", ask).await;
    received["Messages"].as_array().cloned().unwrap_or_default()
}

#[tokio::test]
async fn a_message_is_sent_received_and_deleted() {
    let server = Server::start();
    let mut client = server.client().await;
    let url = queue(&mut client, "jobs", json!({})).await;
    assert_eq!(url, "http://sqs.test:4566/000000000000/jobs");
    let sent = client
        .call(
            "SendMessage",
            json!({"QueueUrl": url, "MessageBody": "hällo\n", "MessageAttributes":
                {"n": {"DataType": "Number", "StringValue": "1"}}}),
        )
        .await;
    let messages = receive(&mut client, &url, json!({"WaitTimeSeconds": 5})).await;
    assert_eq!(messages.len(), 1);
    let message = &messages[0];
    assert_eq!(message["Body"], "hällo\n");
    assert_eq!(message["MessageId"], sent["MessageId"]);
    assert_eq!(message["MD5OfBody"], sent["MD5OfMessageBody"]);
    assert_eq!(message["MD5OfMessageAttributes"], sent["MD5OfMessageAttributes"]);
    assert_eq!(message["Attributes"]["ApproximateReceiveCount"], "1");
    let handle = &message["ReceiptHandle"];
    for _ in 0..2 {
        client.call("DeleteMessage", json!({"QueueUrl": url, "ReceiptHandle": handle})).await;
    }
    assert!(receive(&mut client, &url, json!({})).await.is_empty());
}

#[tokio::test]
async fn a_batch_answers_per_entry() {
    let server = Server::start();
    let mut client = server.client().await;
    let url = queue(&mut client, "batch", json!({})).await;
    let entries: Vec<Value> = (0..9)
        .map(|i| json!({"Id": format!("m{i}"), "MessageBody": format!("body {i}")}))
        .chain([json!({"Id": "bad", "MessageBody": "\u{1}"})])
        .collect();
    let sent = client.call("SendMessageBatch", json!({"QueueUrl": url, "Entries": entries})).await;
    assert_eq!(sent["Successful"].as_array().unwrap().len(), 9);
    assert_eq!(sent["Failed"][0]["Code"], "InvalidMessageContents");
    assert_eq!(sent["Failed"][0]["SenderFault"], true);
    let messages = receive(&mut client, &url, json!({"WaitTimeSeconds": 5})).await;
    let bodies: Vec<&str> = messages.iter().map(|message| message["Body"].as_str().unwrap()).collect();
    assert_eq!(bodies, (0..9).map(|i| format!("body {i}")).collect::<Vec<_>>());
    let mut entries: Vec<Value> = messages
        .iter()
        .enumerate()
        .map(|(i, message)| json!({"Id": format!("m{i}"), "ReceiptHandle": message["ReceiptHandle"]}))
        .collect();
    entries[4]["ReceiptHandle"] = json!("nonsense");
    let deleted = client.call("DeleteMessageBatch", json!({"QueueUrl": url, "Entries": entries})).await;
    assert_eq!(deleted["Successful"].as_array().unwrap().len(), 8);
    assert_eq!(deleted["Failed"][0]["Id"], "m4");
    assert_eq!(deleted["Failed"][0]["Code"], "ReceiptHandleIsInvalid");
}

#[tokio::test]
async fn visibility_is_changed_and_a_message_comes_back() {
    let server = Server::start();
    let mut client = server.client().await;
    let url = queue(&mut client, "visible", json!({})).await;
    client.call("SendMessage", json!({"QueueUrl": url, "MessageBody": "x"})).await;
    let first = receive(&mut client, &url, json!({"WaitTimeSeconds": 5})).await.remove(0);
    assert!(receive(&mut client, &url, json!({})).await.is_empty());
    let change = |handle: &Value, seconds: i64| json!({"QueueUrl": url, "ReceiptHandle": handle, "VisibilityTimeout": seconds});
    let handle = &first["ReceiptHandle"];
    client.call("ChangeMessageVisibility", change(handle, 600)).await;
    assert_eq!(
        client.fails("ChangeMessageVisibility", change(handle, 43_201)).await,
        "InvalidParameterValue"
    );
    client.call("ChangeMessageVisibility", change(handle, 0)).await;
    let second = receive(&mut client, &url, json!({})).await.remove(0);
    assert_eq!(second["MessageId"], first["MessageId"]);
    assert_ne!(second["ReceiptHandle"], first["ReceiptHandle"]);
    assert_eq!(second["Attributes"]["ApproximateReceiveCount"], "2");
    let code = client.fails("ChangeMessageVisibility", change(handle, 10)).await;
    assert_eq!(code, "AWS.SimpleQueueService.MessageNotInflight");
    let entries = json!([{"Id": "a", "ReceiptHandle": second["ReceiptHandle"], "VisibilityTimeout": 0}]);
    let changed =
        client.call("ChangeMessageVisibilityBatch", json!({"QueueUrl": url, "Entries": entries})).await;
    assert_eq!(changed, json!({"Successful": [{"Id": "a"}]}));
    // Nobody has received it since: the last handle still deletes.
    client.call("DeleteMessage", json!({"QueueUrl": url, "ReceiptHandle": second["ReceiptHandle"]})).await;
    assert!(receive(&mut client, &url, json!({})).await.is_empty());
    let code = client.fails("ChangeMessageVisibility", change(&second["ReceiptHandle"], 10)).await;
    assert_eq!(code, "InvalidParameterValue");
}

#[tokio::test]
async fn a_message_received_too_often_lies_in_the_dead_letter_queue() {
    let server = Server::start();
    let mut client = server.client().await;
    let dead = queue(&mut client, "dead", json!({})).await;
    let policy = r#"{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:dead","maxReceiveCount":"2"}"#;
    let url = queue(&mut client, "work", json!({"RedrivePolicy": policy, "VisibilityTimeout": "0"})).await;
    let sent = client
        .call(
            "SendMessage",
            json!({"QueueUrl": url, "MessageBody": "poison",
                "MessageAttributes": {"kept": {"DataType": "String.x", "StringValue": "yes"}}}),
        )
        .await;
    for count in ["1", "2"] {
        let message = receive(&mut client, &url, json!({"WaitTimeSeconds": 5})).await.remove(0);
        assert_eq!(message["Attributes"]["ApproximateReceiveCount"], count);
    }
    assert!(receive(&mut client, &url, json!({})).await.is_empty());
    let message = receive(&mut client, &dead, json!({"WaitTimeSeconds": 5})).await.remove(0);
    assert_eq!(message["MessageId"], sent["MessageId"]);
    assert_eq!(message["MessageAttributes"], json!({"kept": {"DataType": "String.x", "StringValue": "yes"}}));
    let source = "arn:aws:sqs:us-east-1:000000000000:work";
    assert_eq!(message["Attributes"]["DeadLetterQueueSourceArn"], source);
    let sources = client.call("ListDeadLetterSourceQueues", json!({"QueueUrl": dead})).await;
    assert_eq!(sources["queueUrls"], json!([url]));
}

#[tokio::test]
async fn a_long_poll_is_woken_and_ends_with_its_client() {
    let server = Server::start();
    let mut client = server.client().await;
    let url = queue(&mut client, "poll", json!({"VisibilityTimeout": "600"})).await;
    let ask = json!({"QueueUrl": url, "WaitTimeSeconds": 20}).to_string();
    // One that hangs up takes nothing with it.
    let mut gone = server.client().await;
    tokio::io::AsyncWriteExt::write_all(&mut gone.stream, &request("ReceiveMessage", &ask)).await.unwrap();
    while server.budget.used_bytes() == 0 {
        tokio::task::yield_now().await;
    }
    drop(gone);
    while server.budget.used_bytes() != 0 {
        tokio::task::yield_now().await;
    }
    let mut waiting = server.client().await;
    let poll = tokio::spawn(async move { waiting.raw(&request("ReceiveMessage", &ask)).await });
    while server.budget.used_bytes() == 0 {
        tokio::task::yield_now().await;
    }
    client.call("SendMessage", json!({"QueueUrl": url, "MessageBody": "wake"})).await;
    assert_eq!(poll.await.unwrap().unwrap().json()["Messages"][0]["Body"], "wake");
}

#[tokio::test]
async fn shutdown_ends_a_long_poll_empty() {
    let server = Server::start();
    let mut client = server.client().await;
    let url = queue(&mut client, "down", json!({})).await;
    let ask = json!({"QueueUrl": url, "WaitTimeSeconds": 20}).to_string();
    let poll = tokio::spawn(async move { client.raw(&request("ReceiveMessage", &ask)).await });
    while server.budget.used_bytes() == 0 {
        tokio::task::yield_now().await;
    }
    server.shutdown.begin();
    assert_eq!(poll.await.unwrap().unwrap().json(), json!({}));
    server.listening.await.unwrap();
}

#[tokio::test]
async fn queues_are_listed_described_changed_tagged_purged_and_deleted() {
    let server = Server::start();
    let mut client = server.client().await;
    let url = queue(&mut client, "a-1", json!({"VisibilityTimeout": "7"})).await;
    assert_eq!(queue(&mut client, "a-1", json!({"VisibilityTimeout": "7"})).await, url);
    let other = json!({"QueueName": "a-1", "Attributes": {"VisibilityTimeout": "8"}});
    assert_eq!(client.fails("CreateQueue", other).await, "QueueAlreadyExists");
    queue(&mut client, "a-2", json!({})).await;
    queue(&mut client, "b", json!({})).await;
    let page = client.call("ListQueues", json!({"QueueNamePrefix": "a-", "MaxResults": 1})).await;
    assert_eq!(page["QueueUrls"], json!([url]));
    let next = json!({"QueueNamePrefix": "a-", "MaxResults": 1, "NextToken": page["NextToken"]});
    let page = client.call("ListQueues", next).await;
    assert_eq!(page, json!({"QueueUrls": ["http://sqs.test:4566/000000000000/a-2"]}));

    client
        .call(
            "SetQueueAttributes",
            json!({"QueueUrl": url, "Attributes": {"MessageRetentionPeriod": "60", "Policy": "{}"}}),
        )
        .await;
    for body in ["x", "y", "z"] {
        client.call("SendMessage", json!({"QueueUrl": url, "MessageBody": body})).await;
    }
    receive(&mut client, &url, json!({"MaxNumberOfMessages": 1, "WaitTimeSeconds": 5})).await;
    let all = json!({"QueueUrl": url, "AttributeNames": ["All"]});
    let attributes = client.call("GetQueueAttributes", all.clone()).await["Attributes"].clone();
    for (name, value) in [
        ("VisibilityTimeout", "7"),
        ("MessageRetentionPeriod", "60"),
        ("MaximumMessageSize", "1048576"),
        ("DelaySeconds", "0"),
        ("ReceiveMessageWaitTimeSeconds", "0"),
        ("Policy", "{}"),
        ("QueueArn", "arn:aws:sqs:us-east-1:000000000000:a-1"),
        ("ApproximateNumberOfMessages", "2"),
        ("ApproximateNumberOfMessagesNotVisible", "1"),
        ("ApproximateNumberOfMessagesDelayed", "0"),
    ] {
        assert_eq!(attributes[name], value, "{name}");
    }

    client.call("TagQueue", json!({"QueueUrl": url, "Tags": {"team": "red", "x": "1"}})).await;
    client.call("UntagQueue", json!({"QueueUrl": url, "TagKeys": ["x", "missing"]})).await;
    let tags = client.call("ListQueueTags", json!({"QueueUrl": url})).await;
    assert_eq!(tags, json!({"Tags": {"team": "red"}}));

    client.call("PurgeQueue", json!({"QueueUrl": url})).await;
    client.call("PurgeQueue", json!({"QueueUrl": url})).await;
    assert!(receive(&mut client, &url, json!({})).await.is_empty());
    client.call("DeleteQueue", json!({"QueueUrl": url})).await;
    let code = client.fails("GetQueueAttributes", all).await;
    assert_eq!(code, "AWS.SimpleQueueService.NonExistentQueue");
    assert_eq!(queue(&mut client, "a-1", json!({})).await, url);
}

#[tokio::test]
async fn permissions_are_kept_in_the_policy() {
    let server = Server::start();
    let mut client = server.client().await;
    let url = queue(&mut client, "shared", json!({})).await;
    let add = |label: &str, actions: Value| {
        json!({"QueueUrl": url, "Label": label,
        "AWSAccountIds": ["111111111111"], "Actions": actions})
    };
    client.call("AddPermission", add("one", json!(["SendMessage"]))).await;
    client
        .query(
            "/0/shared",
            "AddPermission",
            &[
                ("Label", "two"),
                ("AWSAccountId.1", "222222222222"),
                ("ActionName.1", "ReceiveMessage"),
                ("ActionName.2", "DeleteMessage"),
            ],
        )
        .await;
    for (label, actions, code) in [
        ("one", json!(["SendMessage"]), "InvalidParameterValue"),
        ("no label", json!(["SendMessage"]), "InvalidParameterValue"),
        ("x", json!(["CreateQueue"]), "InvalidParameterValue"),
        ("x", json!([]), "MissingParameter"),
        ("", json!(["*"]), "MissingParameter"),
        ("x", json!(["*", "*", "*", "*", "*", "*", "*", "*"]), "OverLimit"),
    ] {
        assert_eq!(client.fails("AddPermission", add(label, actions)).await, code, "{label}");
    }
    let ask = json!({"QueueUrl": url, "AttributeNames": ["Policy"]});
    let policy = client.call("GetQueueAttributes", ask.clone()).await["Attributes"]["Policy"].clone();
    let policy: Value = serde_json::from_str(policy.as_str().unwrap()).unwrap();
    assert_eq!(policy["Statement"][0]["Resource"], "arn:aws:sqs:us-east-1:000000000000:shared");
    assert_eq!(policy["Statement"][1]["Action"], json!(["SQS:ReceiveMessage", "SQS:DeleteMessage"]));
    client.call("RemovePermission", json!({"QueueUrl": url, "Label": "one"})).await;
    let code = client.fails("RemovePermission", json!({"QueueUrl": url, "Label": "one"})).await;
    assert_eq!(code, "InvalidParameterValue");
    client.query("/0/shared", "RemovePermission", &[("Label", "two")]).await;
    assert_eq!(client.call("GetQueueAttributes", ask).await, json!({}));
}

#[tokio::test]
async fn a_dead_letter_queue_says_whose_it_is_and_lists_them() {
    let server = Server::start();
    let mut client = server.client().await;
    let arn = |name: &str| format!("arn:aws:sqs:us-east-1:000000000000:{name}");
    let allow = json!({"redrivePermission": "byQueue", "sourceQueueArns": [arn("s1"), arn("s2")]});
    let dead = queue(&mut client, "dead", json!({"RedriveAllowPolicy": allow.to_string()})).await;
    let redrive = json!({"deadLetterTargetArn": arn("dead"), "maxReceiveCount": 3}).to_string();
    for name in ["s1", "s2"] {
        queue(&mut client, name, json!({"RedrivePolicy": redrive})).await;
    }
    let refused = json!({"QueueName": "s3", "Attributes": {"RedrivePolicy": redrive}});
    assert_eq!(client.fails("CreateQueue", refused.clone()).await, "InvalidParameterValue");
    let deny = json!({"QueueUrl": dead, "Attributes": {"RedriveAllowPolicy": r#"{"redrivePermission":"allowAll"}"#}});
    client.call("SetQueueAttributes", deny).await;
    client.call("CreateQueue", refused).await;
    let mut sources = Vec::new();
    let mut token = Value::Null;
    loop {
        let ask = json!({"QueueUrl": dead, "MaxResults": 2, "NextToken": token});
        let page = client.call("ListDeadLetterSourceQueues", ask).await;
        sources
            .extend(page["queueUrls"].as_array().unwrap().iter().map(|url| url.as_str().unwrap().to_owned()));
        token = page["NextToken"].clone();
        if token.is_null() {
            break;
        }
    }
    assert_eq!(sources, ["s1", "s2", "s3"].map(|name| format!("http://sqs.test:4566/000000000000/{name}")));
}

#[tokio::test]
async fn a_queue_has_at_most_fifty_tags() {
    let server = Server::start();
    let mut client = server.client().await;
    let url = queue(&mut client, "tagged", json!({})).await;
    let tags = |from: usize, to: usize| -> Value {
        (from..to).map(|i| (format!("k{i}"), json!("v"))).collect::<serde_json::Map<_, _>>().into()
    };
    client.call("TagQueue", json!({"QueueUrl": url, "Tags": tags(0, 50)})).await;
    client.call("TagQueue", json!({"QueueUrl": url, "Tags": tags(49, 50)})).await;
    let over = json!({"QueueUrl": url, "Tags": tags(50, 51)});
    assert_eq!(client.fails("TagQueue", over).await, "InvalidParameterValue");
    let over = json!({"QueueName": "other", "tags": tags(0, 51)});
    assert_eq!(client.fails("CreateQueue", over).await, "InvalidParameterValue");
    for (key, value) in [("aws:x", "v"), ("", "v"), (&"k".repeat(129), "v"), ("k", &"v".repeat(257))] {
        let tag = json!({"QueueUrl": url, "Tags": {key: value}});
        assert_eq!(client.fails("TagQueue", tag).await, "InvalidParameterValue", "{key}");
    }
    client.call("UntagQueue", json!({"QueueUrl": url, "TagKeys": ["k0", "absent"]})).await;
    let kept = client.call("ListQueueTags", json!({"QueueUrl": url})).await;
    assert_eq!(kept["Tags"].as_object().unwrap().len(), 49);
}

#[tokio::test]
async fn a_queue_is_attached_to_a_topic_by_name_and_by_tag() {
    use duolog_broker::{NewRecord, TopicPolicy, TopicSpec};
    let server = Server::start();
    let session = server.session();
    let spec = TopicSpec::new("orders", 2, TopicPolicy::default());
    let topic = session.create_topic(spec).await.unwrap();
    let record = |body: &'static str| NewRecord { value: Some(body.into()), ..NewRecord::default() };
    session.publish(topic, vec![record("1"), record("2")]).await.unwrap();
    let mut client = server.client().await;
    let code = client.fails("GetQueueUrl", json!({"QueueName": "orders"})).await;
    assert_eq!(code, "AWS.SimpleQueueService.NonExistentQueue");
    let url = queue(&mut client, "orders", json!({})).await;
    let mut bodies = Vec::new();
    while bodies.len() < 2 {
        let got = receive(&mut client, &url, json!({"WaitTimeSeconds": 5})).await;
        bodies.extend(got.iter().map(|message| message["Body"].as_str().unwrap().to_owned()));
    }
    bodies.sort();
    assert_eq!(bodies, ["1", "2"]);

    let tagged = |name: &str, topic: &str, start: &str| json!({"QueueName": name, "tags": {"duolog:topic": topic, "duolog:start": start}});
    let late = client.call("CreateQueue", tagged("late", "orders", "latest")).await["QueueUrl"].clone();
    assert!(receive(&mut client, late.as_str().unwrap(), json!({})).await.is_empty());
    client.call("SendMessage", json!({"QueueUrl": late, "MessageBody": "3"})).await;
    for url in [late.as_str().unwrap(), &url] {
        let got = receive(&mut client, url, json!({"WaitTimeSeconds": 5})).await;
        assert_eq!(got[0]["Body"], "3");
    }
    let code = client.fails("CreateQueue", tagged("x", "missing", "latest")).await;
    assert_eq!(code, "InvalidParameterValue");
    let code = client.fails("CreateQueue", tagged("x", "orders", "yesterday")).await;
    assert_eq!(code, "InvalidParameterValue");
    let code = client.fails("CreateQueue", tagged("late", "other", "latest")).await;
    assert_eq!(code, "QueueAlreadyExists");
}

#[tokio::test]
async fn a_receive_takes_its_share_of_memory_and_leaves_the_rest_untouched() {
    let server = Server::start();
    let mut client = server.client().await;
    let url = queue(&mut client, "large", json!({})).await;
    let body = "x".repeat(1_000_000);
    for _ in 0..10 {
        client.call("SendMessage", json!({"QueueUrl": url, "MessageBody": body})).await;
    }
    let ask = json!({"MaxNumberOfMessages": 10, "AttributeNames": ["ApproximateReceiveCount"]});
    let mut seen = 0;
    while seen < 10 {
        let got = receive(&mut client, &url, ask.clone()).await;
        // An eighth of the server's 64 MiB, and the message that reaches it.
        assert!((1..=9).contains(&got.len()), "{}", got.len());
        assert!(got.iter().all(|message| message["Attributes"]["ApproximateReceiveCount"] == "1"));
        seen += got.len();
    }
    assert_eq!(seen, 10);
}

/// Tags and attributes live in one place: of changes at the same time none is lost.
#[tokio::test(flavor = "multi_thread")]
async fn changes_of_a_queue_at_the_same_time_all_count() {
    const TASKS: usize = 8;
    const ROUNDS: usize = 10;
    let server = std::sync::Arc::new(Server::start());
    let mut client = server.client().await;
    let url = queue(&mut client, "busy", json!({})).await;
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let (server, url) = (std::sync::Arc::clone(&server), url.clone());
            tokio::spawn(async move {
                let mut client = server.client().await;
                for round in 0..ROUNDS {
                    let tags = json!({"QueueUrl": url, "Tags": {format!("t{task}-{}", round % 5): "x"}});
                    client.call("TagQueue", tags).await;
                    let attribute =
                        ["VisibilityTimeout", "MessageRetentionPeriod", "DelaySeconds", "Policy"][task % 4];
                    let value =
                        if attribute == "Policy" { "{}".to_owned() } else { (70 + round).to_string() };
                    let attributes = json!({"QueueUrl": url, "Attributes": {attribute: value}});
                    client.call("SetQueueAttributes", attributes).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let tags = client.call("ListQueueTags", json!({"QueueUrl": url})).await;
    assert_eq!(tags["Tags"].as_object().unwrap().len(), TASKS * 5);
    let all = client.call("GetQueueAttributes", json!({"QueueUrl": url, "AttributeNames": ["All"]})).await;
    for attribute in ["VisibilityTimeout", "MessageRetentionPeriod", "DelaySeconds"] {
        assert_eq!(all["Attributes"][attribute], "79", "{attribute}");
    }
    assert_eq!(all["Attributes"]["Policy"], "{}");
}
