//! The Query protocol over a real socket: the same actions, forms in and XML out.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::json;
use support::{Client, Server, all, first};

async fn queue(client: &mut Client, name: &str) -> String {
    let xml = client.query("/", "CreateQueue", &[("QueueName", name)]).await;
    first(&xml, "QueueUrl").unwrap()
}

#[tokio::test]
async fn a_message_is_sent_received_and_deleted() {
    let server = Server::start();
    let mut client = server.client().await;
    let url = queue(&mut client, "jobs").await;
    assert_eq!(url, "http://sqs.eu-west-1.test:4566/000000000000/jobs");
    let sent = client
        .query(
            "/",
            "SendMessage",
            &[
                ("QueueUrl", &url),
                ("MessageBody", "a <b> & \r\n\"ä\""),
                ("MessageAttribute.1.Name", "n"),
                ("MessageAttribute.1.Value.DataType", "Number"),
                ("MessageAttribute.1.Value.StringValue", "1"),
                ("MessageAttribute.2.Name", "b"),
                ("MessageAttribute.2.Value.DataType", "Binary"),
                ("MessageAttribute.2.Value.BinaryValue", "AP8="),
                ("MessageSystemAttribute.1.Name", "AWSTraceHeader"),
                ("MessageSystemAttribute.1.Value.DataType", "String"),
                ("MessageSystemAttribute.1.Value.StringValue", "Root=1"),
            ],
        )
        .await;
    // The queue is named by the path, as older SDKs do it.
    let ask = [("WaitTimeSeconds", "5"), ("AttributeName.1", "All"), ("MessageAttributeName.1", "All")];
    let received = client.query("/000000000000/jobs", "ReceiveMessage", &ask).await;
    assert_eq!(first(&received, "Body").unwrap(), "a <b> & \r\n\"ä\"");
    assert_eq!(first(&received, "MessageId"), first(&sent, "MessageId"));
    assert_eq!(first(&received, "MD5OfBody"), first(&sent, "MD5OfMessageBody"));
    assert_eq!(first(&received, "MD5OfMessageAttributes"), first(&sent, "MD5OfMessageAttributes"));
    assert!(first(&sent, "MD5OfMessageSystemAttributes").is_some());
    let attribute = "<Attribute><Name>ApproximateReceiveCount</Name><Value>1</Value></Attribute>";
    assert!(received.contains(attribute), "{received}");
    assert!(received.contains("<Attribute><Name>AWSTraceHeader</Name><Value>Root=1</Value></Attribute>"));
    let binary = "<MessageAttribute><Name>b</Name><Value><BinaryValue>AP8=</BinaryValue><DataType>Binary</DataType></Value></MessageAttribute>";
    assert!(received.contains(binary), "{received}");
    let handle = first(&received, "ReceiptHandle").unwrap();
    let deleted = client.query("/000000000000/jobs", "DeleteMessage", &[("ReceiptHandle", &handle)]).await;
    assert!(!deleted.contains("Result"), "{deleted}");
    let empty = client.query("/000000000000/jobs", "ReceiveMessage", &[]).await;
    assert!(empty.contains("<ReceiveMessageResult></ReceiveMessageResult>"), "{empty}");
}

#[tokio::test]
async fn both_protocols_see_the_same_messages() {
    let server = Server::start();
    let mut client = server.client().await;
    let url = queue(&mut client, "both").await;
    client.call("SendMessage", json!({"QueueUrl": url, "MessageBody": "json"})).await;
    let received = client.query("/", "ReceiveMessage", &[("QueueUrl", &url), ("WaitTimeSeconds", "5")]).await;
    assert_eq!(first(&received, "Body").unwrap(), "json");
    client.query("/", "SendMessage", &[("QueueUrl", &url), ("MessageBody", "form")]).await;
    let received = client.call("ReceiveMessage", json!({"QueueUrl": url, "WaitTimeSeconds": 5})).await;
    assert_eq!(received["Messages"][0]["Body"], "form");
}

#[tokio::test]
async fn a_batch_answers_per_entry() {
    let server = Server::start();
    let mut client = server.client().await;
    let url = queue(&mut client, "batch").await;
    let sent = client
        .query(
            "/",
            "SendMessageBatch",
            &[
                ("QueueUrl", &url),
                ("SendMessageBatchRequestEntry.1.Id", "a"),
                ("SendMessageBatchRequestEntry.1.MessageBody", "1"),
                ("SendMessageBatchRequestEntry.2.Id", "b"),
                ("SendMessageBatchRequestEntry.2.MessageBody", "\u{1}"),
                ("SendMessageBatchRequestEntry.10.Id", "c"),
                ("SendMessageBatchRequestEntry.10.MessageBody", "2"),
            ],
        )
        .await;
    assert_eq!(all(&sent, "SendMessageBatchResultEntry").len(), 2);
    let failed = first(&sent, "BatchResultErrorEntry").unwrap();
    assert!(
        failed.starts_with("<Id>b</Id><SenderFault>true</SenderFault><Code>InvalidMessageContents</Code>"),
        "{failed}"
    );
    let ask = [("QueueUrl", &*url), ("MaxNumberOfMessages", "10"), ("WaitTimeSeconds", "5")];
    let received = client.query("/", "ReceiveMessage", &ask).await;
    assert_eq!(all(&received, "Body"), ["1", "2"]);
    let handles = all(&received, "ReceiptHandle");
    let changed = client
        .query(
            "/",
            "ChangeMessageVisibilityBatch",
            &[
                ("QueueUrl", &url),
                ("ChangeMessageVisibilityBatchRequestEntry.1.Id", "a"),
                ("ChangeMessageVisibilityBatchRequestEntry.1.ReceiptHandle", &handles[0]),
                ("ChangeMessageVisibilityBatchRequestEntry.1.VisibilityTimeout", "60"),
            ],
        )
        .await;
    assert_eq!(first(&changed, "ChangeMessageVisibilityBatchResultEntry").unwrap(), "<Id>a</Id>");
    let deleted = client
        .query(
            "/",
            "DeleteMessageBatch",
            &[
                ("QueueUrl", &url),
                ("DeleteMessageBatchRequestEntry.1.Id", "a"),
                ("DeleteMessageBatchRequestEntry.1.ReceiptHandle", &handles[0]),
                ("DeleteMessageBatchRequestEntry.2.Id", "b"),
                ("DeleteMessageBatchRequestEntry.2.ReceiptHandle", "nonsense"),
            ],
        )
        .await;
    assert_eq!(all(&deleted, "DeleteMessageBatchResultEntry"), ["<Id>a</Id>"]);
    assert_eq!(first(&deleted, "Code").unwrap(), "ReceiptHandleIsInvalid");
}

#[tokio::test]
async fn queues_are_made_described_tagged_listed_and_deleted() {
    let server = Server::start();
    let mut client = server.client().await;
    let create = [
        ("QueueName", "a-1"),
        ("Attribute.1.Name", "VisibilityTimeout"),
        ("Attribute.1.Value", "7"),
        ("Tag.1.Key", "team"),
        ("Tag.1.Value", "red"),
    ];
    let url = first(&client.query("/", "CreateQueue", &create).await, "QueueUrl").unwrap();
    let path = "/000000000000/a-1";
    let found = client.query("/", "GetQueueUrl", &[("QueueName", "a-1")]).await;
    assert_eq!(first(&found, "QueueUrl").unwrap(), url);
    client
        .query(path, "SetQueueAttributes", &[("Attribute.Name", "DelaySeconds"), ("Attribute.Value", "0")])
        .await;
    let ask = [("AttributeName.1", "VisibilityTimeout"), ("AttributeName.2", "QueueArn")];
    let attributes = client.query(path, "GetQueueAttributes", &ask).await;
    assert_eq!(all(&attributes, "Name"), ["QueueArn", "VisibilityTimeout"]);
    // The region is that of the host that the client called.
    assert_eq!(all(&attributes, "Value"), ["arn:aws:sqs:eu-west-1:000000000000:a-1", "7"]);
    client.query(path, "TagQueue", &[("Tag.1.Key", "x"), ("Tag.1.Value", "1")]).await;
    client.query(path, "UntagQueue", &[("TagKey.1", "team")]).await;
    let tags = client.query(path, "ListQueueTags", &[]).await;
    assert_eq!(first(&tags, "Tag").unwrap(), "<Key>x</Key><Value>1</Value>");
    queue(&mut client, "a-2").await;
    let page = client.query("/", "ListQueues", &[("QueueNamePrefix", "a-"), ("MaxResults", "1")]).await;
    assert_eq!(all(&page, "QueueUrl"), [url.as_str()]);
    assert!(first(&page, "NextToken").is_some());
    client.query(path, "PurgeQueue", &[]).await;
    client.query(path, "DeleteQueue", &[]).await;
    let gone = (400, "AWS.SimpleQueueService.NonExistentQueue".to_owned());
    assert_eq!(client.query_fails(path, "PurgeQueue", &[]).await, gone);
}

#[tokio::test]
async fn a_plain_url_is_a_request_too() {
    let server = Server::start();
    let mut client = server.client().await;
    queue(&mut client, "plain").await;
    let get = |query: &str| {
        let host = "Host: eu-central-1.queue.test";
        format!("GET /1/plain?Version=2012-11-05&{query} HTTP/1.1\r\n{host}\r\n\r\n").into_bytes()
    };
    let sent = client.raw(&get("Action=SendMessage&MessageBody=a+b%21")).await.unwrap();
    assert_eq!(sent.status, 200, "{}", sent.text());
    let scope = "X-Amz-Credential=123456789012%2F20261124%2Fus-west-2%2Fsqs%2Faws4_request";
    let got = client
        .raw(&get(&format!("Action=ReceiveMessage&WaitTimeSeconds=5&AttributeName=SenderId&{scope}")))
        .await;
    let got = got.unwrap().text();
    assert_eq!(
        (first(&got, "Body").unwrap(), first(&got, "Value").unwrap()),
        ("a b!".to_owned(), "123456789012".to_owned())
    );
    let arn = |more: &str| get(&format!("Action=GetQueueAttributes&AttributeName.1=QueueArn{more}"));
    let got = client.raw(&arn("")).await.unwrap().text();
    assert_eq!(first(&got, "Value").unwrap(), "arn:aws:sqs:eu-central-1:000000000000:plain");
    let got = client.raw(&arn(&format!("&{scope}"))).await.unwrap().text();
    assert_eq!(first(&got, "Value").unwrap(), "arn:aws:sqs:us-west-2:123456789012:plain");
}
