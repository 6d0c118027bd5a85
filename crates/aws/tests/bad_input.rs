//! Bad input over a real socket: the answer is the protocol's own error or a closed connection, the budget comes back,
//! and a healthy client beside it is served.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use serde_json::json;
use support::{Client, Server, request};

/// What the client sends, what it must be answered with: a status (0: closed without an answer) and a code.
struct Row {
    name: &'static str,
    sent: Vec<u8>,
    status: u16,
    code: &'static str,
}

fn row(name: &'static str, sent: impl Into<Vec<u8>>, status: u16, code: &'static str) -> Row {
    Row { name, sent: sent.into(), status, code }
}

fn action(name: &'static str, action: &str, body: &str, code: &'static str) -> Row {
    let status = match code {
        "ReceiptHandleIsInvalid" | "InvalidAddress" => 404,
        _ => 400,
    };
    row(name, request(action, body), status, code)
}

/// A form as it stands in the body.
fn form(name: &'static str, body: impl AsRef<[u8]>, status: u16, code: &'static str) -> Row {
    let body = body.as_ref();
    let head = format!(
        "POST /0/q HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    row(name, [head.as_bytes(), body].concat(), status, code)
}

fn head(lines: &str) -> Vec<u8> {
    format!("POST / HTTP/1.1\r\nHost: h\r\nX-Amz-Target: AmazonSQS.SendMessage\r\n{lines}\r\n").into_bytes()
}

/// The same bytes in every run.
fn noise(mut seed: u64, length: usize) -> Vec<u8> {
    (0..length)
        .map(|_| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed as u8
        })
        .collect()
}

fn http_rows() -> Vec<Row> {
    vec![
        row("a method that is none of ours", "PUT / HTTP/1.1\r\nHost: h\r\n\r\n", 405, "InvalidAction"),
        row("a path that is not there", "GET /admin HTTP/1.1\r\nHost: h\r\n\r\n", 404, "InvalidAction"),
        row("no target", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}", 404, "InvalidAction"),
        row("a huge content length", head("Content-Length: 99999999999\r\n"), 413, "RequestTooLarge"),
        row("a content length past 64 bits", head("Content-Length: 99999999999999999999\r\n"), 400, ""),
        row("a negative content length", head("Content-Length: -1\r\n"), 400, ""),
        row("two content lengths", head("Content-Length: 1\r\nContent-Length: 2\r\n"), 400, ""),
        row("length and chunks", head("Content-Length: 5\r\nTransfer-Encoding: nonsense\r\n"), 400, ""),
        row(
            "a body that stops",
            [head("Content-Length: 100\r\n"), b"{".to_vec()].concat(),
            408,
            "RequestTimeout",
        ),
        row(
            "chunks that stop",
            [head("Transfer-Encoding: chunked\r\n"), b"5\r\n{".to_vec()].concat(),
            408,
            "RequestTimeout",
        ),
        row(
            "a chunk of no length",
            [head("Transfer-Encoding: chunked\r\n"), b"zz\r\n".to_vec()].concat(),
            400,
            "MalformedInput",
        ),
        row(
            "a chunk of all lengths",
            [head("Transfer-Encoding: chunked\r\n"), b"ffffffffffffffffff\r\n".to_vec()].concat(),
            400,
            "MalformedInput",
        ),
        row(
            "endless chunks",
            [
                head("Transfer-Encoding: chunked\r\n"),
                b"10000\r\n".to_vec(),
                noise(3, 65536),
                b"\r\n".to_vec(),
            ]
            .concat()
            .into_iter()
            .take(70_000)
            .collect::<Vec<u8>>(),
            408,
            "RequestTimeout",
        ),
        row(
            "chunks past the limit",
            {
                let mut sent = head("Transfer-Encoding: chunked\r\n");
                for _ in 0..120 {
                    sent.extend_from_slice(b"10000\r\n");
                    sent.extend(std::iter::repeat_n(b' ', 65536));
                    sent.extend_from_slice(b"\r\n");
                }
                sent
            },
            413,
            "RequestTooLarge",
        ),
        row("a head without end", format!("POST / HTTP/1.1\r\nX: {}", "a".repeat(100_000)), 431, ""),
        row("a thousand headers", format!("POST / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(1000)), 431, ""),
        row("a head that stops", "POST / HTTP/1.1\r\nHost:", 0, ""),
        row("a version of the future", "POST / HTTP/9.9\r\n\r\n", 400, ""),
        row("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 0, ""),
        row("a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(), 400, ""),
        row(
            "a Kafka request",
            b"\x00\x00\x00\x14\x00\x12\x00\x03\x00\x00\x00\x01\x00\x04test\x00\x00\x00".to_vec(),
            400,
            "",
        ),
        row("a Redis command", "*1\r\n$4\r\nPING\r\n", 400, ""),
        row("an AMQP header", b"AMQP\x00\x00\x09\x01".to_vec(), 400, ""),
        row("zeros", vec![0; 4096], 400, ""),
        row("noise", noise(1, 4096), 400, ""),
        row("a control character in a header", "POST / HTTP/1.1\r\nHost: \x01\r\n\r\n", 400, ""),
        row("a space before the colon", "POST / HTTP/1.1\r\nHost : h\r\n\r\n", 400, ""),
        row(
            "another service",
            "POST / HTTP/1.1\r\nHost: h\r\nX-Amz-Target: AmazonSNS.Publish\r\nContent-Length: 2\r\n\r\n{}",
            400,
            "InvalidAction",
        ),
    ]
}

fn json_rows() -> Vec<Row> {
    let deep = format!("{{\"QueueUrl\":{}", "[".repeat(200_000));
    let wide = format!("{{\"QueueUrl\":\"/0/q\",\"Entries\":[{}]}}", vec!["{}"; 400_000].join(","));
    let names = format!("{{\"QueueUrl\":\"/0/q\",\"AttributeNames\":[{}]}}", vec!["\"\""; 400_000].join(","));
    vec![
        action("an unknown action", "Nonsense", "{}", "InvalidAction"),
        action("an empty action", "", "{}", "InvalidAction"),
        action("no body", "SendMessage", "", "MalformedInput"),
        action("half an object", "SendMessage", "{\"QueueUrl\":", "MalformedInput"),
        action("a list", "SendMessage", "[\"/0/q\",\"x\"]", "MalformedInput"),
        action("a number for a string", "SendMessage", r#"{"QueueUrl":5}"#, "MalformedInput"),
        action(
            "a string for a number",
            "ReceiveMessage",
            r#"{"QueueUrl":"/0/q","WaitTimeSeconds":"5"}"#,
            "MalformedInput",
        ),
        action(
            "a number past 64 bits",
            "ReceiveMessage",
            r#"{"QueueUrl":"/0/q","WaitTimeSeconds":1e99}"#,
            "MalformedInput",
        ),
        action(
            "a list for a map",
            "SendMessage",
            r#"{"QueueUrl":"/0/q","MessageAttributes":[]}"#,
            "MalformedInput",
        ),
        action("a key twice", "SendMessage", r#"{"QueueUrl":"/0/q","QueueUrl":"/0/q"}"#, "MalformedInput"),
        action(
            "half a surrogate pair",
            "SendMessage",
            r#"{"QueueUrl":"/0/q","MessageBody":"\ud800"}"#,
            "MalformedInput",
        ),
        row(
            "text that is no UTF-8",
            [head("Content-Length: 19\r\n"), b"{\"MessageBody\":\"\xff\"}".to_vec()].concat(),
            400,
            "MalformedInput",
        ),
        action("nesting without end", "SendMessage", &deep, "MalformedInput"),
        action(
            "entries without end",
            "SendMessageBatch",
            &wide,
            "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
        ),
        action("names without end", "ReceiveMessage", &names, "InvalidAttributeName"),
        action("no queue", "SendMessage", r#"{"MessageBody":"x"}"#, "MissingParameter"),
        action(
            "a queue that is not there",
            "SendMessage",
            r#"{"QueueUrl":"/0/none","MessageBody":"x"}"#,
            "AWS.SimpleQueueService.NonExistentQueue",
        ),
        action(
            "a URL that is none",
            "SendMessage",
            r#"{"QueueUrl":"ftp://x","MessageBody":"x"}"#,
            "InvalidAddress",
        ),
        action("no message", "SendMessage", r#"{"QueueUrl":"/0/q"}"#, "MissingParameter"),
        action(
            "an empty message",
            "SendMessage",
            r#"{"QueueUrl":"/0/q","MessageBody":""}"#,
            "MissingParameter",
        ),
        action(
            "illegal characters",
            "SendMessage",
            r#"{"QueueUrl":"/0/q","MessageBody":"\u0000"}"#,
            "InvalidMessageContents",
        ),
        action(
            "a noncharacter",
            "SendMessage",
            r#"{"QueueUrl":"/0/q","MessageBody":"\uffff"}"#,
            "InvalidMessageContents",
        ),
        action(
            "a message past the limit",
            "SendMessage",
            &format!(r#"{{"QueueUrl":"/0/q","MessageBody":"{}"}}"#, "x".repeat(1_048_577)),
            "InvalidParameterValue",
        ),
        action(
            "a batch past the limit",
            "SendMessageBatch",
            &format!(
                r#"{{"QueueUrl":"/0/q","Entries":[{{"Id":"a","MessageBody":"{0}"}},{{"Id":"b","MessageBody":"{0}"}}]}}"#,
                "x".repeat(600_000)
            ),
            "AWS.SimpleQueueService.BatchRequestTooLong",
        ),
        action(
            "one message past the limit in a batch",
            "SendMessageBatch",
            &format!(
                r#"{{"QueueUrl":"/0/q","Entries":[{{"Id":"a","MessageBody":"{}"}}]}}"#,
                "x".repeat(1_048_577)
            ),
            "AWS.SimpleQueueService.BatchRequestTooLong",
        ),
        action(
            "an empty id",
            "SendMessageBatch",
            r#"{"QueueUrl":"/0/q","Entries":[{"Id":"","MessageBody":"x"}]}"#,
            "AWS.SimpleQueueService.InvalidBatchEntryId",
        ),
        action(
            "no id",
            "SendMessageBatch",
            r#"{"QueueUrl":"/0/q","Entries":[{"MessageBody":"x"}]}"#,
            "MissingParameter",
        ),
        action(
            "an empty batch",
            "SendMessageBatch",
            r#"{"QueueUrl":"/0/q","Entries":[]}"#,
            "AWS.SimpleQueueService.EmptyBatchRequest",
        ),
        action(
            "ids that repeat",
            "DeleteMessageBatch",
            r#"{"QueueUrl":"/0/q","Entries":[{"Id":"a","ReceiptHandle":"x"},{"Id":"a","ReceiptHandle":"x"}]}"#,
            "AWS.SimpleQueueService.BatchEntryIdsNotDistinct",
        ),
        action(
            "an id that is none",
            "SendMessageBatch",
            r#"{"QueueUrl":"/0/q","Entries":[{"Id":"a b","MessageBody":"x"}]}"#,
            "AWS.SimpleQueueService.InvalidBatchEntryId",
        ),
        action(
            "too many messages",
            "ReceiveMessage",
            r#"{"QueueUrl":"/0/q","MaxNumberOfMessages":11}"#,
            "InvalidParameterValue",
        ),
        action(
            "no messages",
            "ReceiveMessage",
            r#"{"QueueUrl":"/0/q","MaxNumberOfMessages":0}"#,
            "InvalidParameterValue",
        ),
        action(
            "a negative wait",
            "ReceiveMessage",
            r#"{"QueueUrl":"/0/q","WaitTimeSeconds":-1}"#,
            "InvalidParameterValue",
        ),
        action(
            "a wait past the limit",
            "ReceiveMessage",
            r#"{"QueueUrl":"/0/q","WaitTimeSeconds":9223372036854775807}"#,
            "InvalidParameterValue",
        ),
        action(
            "a visibility past the limit",
            "ReceiveMessage",
            r#"{"QueueUrl":"/0/q","VisibilityTimeout":43201}"#,
            "InvalidParameterValue",
        ),
        action(
            "a handle that is none",
            "DeleteMessage",
            r#"{"QueueUrl":"/0/q","ReceiptHandle":"nonsense"}"#,
            "ReceiptHandleIsInvalid",
        ),
        action(
            "a mangled handle",
            "ChangeMessageVisibility",
            &format!(r#"{{"QueueUrl":"/0/q","ReceiptHandle":"{}","VisibilityTimeout":1}}"#, "A".repeat(56)),
            "ReceiptHandleIsInvalid",
        ),
        action(
            "no visibility",
            "ChangeMessageVisibility",
            r#"{"QueueUrl":"/0/q","ReceiptHandle":"x"}"#,
            "ReceiptHandleIsInvalid",
        ),
        action(
            "a name that is none",
            "CreateQueue",
            r#"{"QueueName":"../../etc/passwd"}"#,
            "InvalidParameterValue",
        ),
        action(
            "a name without end",
            "CreateQueue",
            &format!(r#"{{"QueueName":"{}"}}"#, "x".repeat(100_000)),
            "InvalidParameterValue",
        ),
        action(
            "an attribute out of range",
            "CreateQueue",
            r#"{"QueueName":"n","Attributes":{"VisibilityTimeout":"-1"}}"#,
            "InvalidAttributeValue",
        ),
        action(
            "an attribute that is none",
            "SetQueueAttributes",
            r#"{"QueueUrl":"/0/q","Attributes":{"Nonsense":"1"}}"#,
            "InvalidAttributeName",
        ),
        action(
            "a target that is not there",
            "CreateQueue",
            r#"{"QueueName":"n","Attributes":{"RedrivePolicy":"{\"deadLetterTargetArn\":\"arn:aws:sqs:us-east-1:0:none\",\"maxReceiveCount\":1}"}}"#,
            "InvalidParameterValue",
        ),
        action("a token that is none", "ListQueues", r#"{"NextToken":"!"}"#, "InvalidParameterValue"),
        action(
            "eleven attributes",
            "SendMessage",
            &{
                let attributes: Vec<String> =
                    (0..11).map(|i| format!(r#""a{i}":{{"DataType":"String","StringValue":"x"}}"#)).collect();
                format!(
                    r#"{{"QueueUrl":"/0/q","MessageBody":"x","MessageAttributes":{{{}}}}}"#,
                    attributes.join(",")
                )
            },
            "InvalidParameterValue",
        ),
        action(
            "an attribute without a type",
            "SendMessage",
            r#"{"QueueUrl":"/0/q","MessageBody":"x","MessageAttributes":{"a":{"StringValue":"x"}}}"#,
            "InvalidParameterValue",
        ),
        action(
            "an attribute of another type",
            "SendMessage",
            r#"{"QueueUrl":"/0/q","MessageBody":"x","MessageAttributes":{"a":{"DataType":"Float","StringValue":"1"}}}"#,
            "InvalidParameterValue",
        ),
        action(
            "a number that is none",
            "SendMessage",
            r#"{"QueueUrl":"/0/q","MessageBody":"x","MessageAttributes":{"a":{"DataType":"Number","StringValue":"one"}}}"#,
            "InvalidParameterValue",
        ),
        action(
            "base64 that is none",
            "SendMessage",
            r#"{"QueueUrl":"/0/q","MessageBody":"x","MessageAttributes":{"a":{"DataType":"Binary","BinaryValue":"!"}}}"#,
            "MalformedInput",
        ),
        action(
            "an attribute named as ours",
            "SendMessage",
            r#"{"QueueUrl":"/0/q","MessageBody":"x","MessageAttributes":{"duolog-origin":{"DataType":"String","StringValue":"x"}}}"#,
            "InvalidParameterValue",
        ),
        action(
            "a group that is none",
            "SendMessage",
            r#"{"QueueUrl":"/0/q","MessageBody":"x","MessageGroupId":"a b"}"#,
            "InvalidParameterValue",
        ),
        action(
            "tags that are none",
            "TagQueue",
            r#"{"QueueUrl":"/0/q","Tags":{"aws:x":"1"}}"#,
            "InvalidParameterValue",
        ),
    ]
}

fn query_rows() -> Vec<Row> {
    let batch = |count: usize, entry: &dyn Fn(usize) -> String| {
        let entries: Vec<String> = (1..=count).map(entry).collect();
        format!("Action=SendMessageBatch&{}", entries.join("&"))
    };
    let entry = "SendMessageBatchRequestEntry";
    vec![
        form("no action", "Version=2012-11-05", 400, "MissingAction"),
        form("an empty action", "Action=", 400, "MissingAction"),
        form("an unknown action", "Action=Nonsense", 400, "InvalidAction"),
        form("an action as an element", "Action=%3CX%3E%00", 400, "InvalidAction"),
        form("another version", "Action=ListQueues&Version=1999-01-01", 400, "NoSuchVersion"),
        form("a topic that is not named", "Action=Publish&Version=2010-03-31", 400, "InvalidParameter"),
        form("escapes that are no UTF-8", "Action=SendMessage&MessageBody=%ff", 400, "MalformedQueryString"),
        form("bytes that are no UTF-8", b"Action=SendMessage&MessageBody=\xff", 400, "MalformedQueryString"),
        form("a parameter twice", "Action=ListQueues&Action=ListQueues", 400, "MalformedQueryString"),
        form("parameters without end", "a&".repeat(1_000_000), 400, "MalformedQueryString"),
        form("a name without end", "n".repeat(1_000_000), 400, "MalformedQueryString"),
        form("a path without end", format!("Action=ListQueues&{}=1", "a.".repeat(100)), 200, ""),
        form("a text for a number", "Action=ReceiveMessage&WaitTimeSeconds=soon", 400, "MalformedInput"),
        form(
            "a number past 64 bits",
            "Action=ReceiveMessage&WaitTimeSeconds=99999999999999999999",
            400,
            "MalformedInput",
        ),
        form(
            "a number past the limit",
            "Action=ReceiveMessage&WaitTimeSeconds=21",
            400,
            "InvalidParameterValue",
        ),
        form("a list for a text", "Action=SendMessage&MessageBody.1=x", 400, "MalformedInput"),
        form(
            "a text for a map",
            "Action=SendMessage&MessageBody=x&MessageAttribute=1",
            400,
            "MalformedInput",
        ),
        form(
            "a map without keys",
            "Action=SendMessage&MessageBody=x&MessageAttribute.1.Value.DataType=String",
            400,
            "MalformedInput",
        ),
        form(
            "a map without numbers",
            "Action=SendMessage&MessageBody=x&MessageAttribute.x.Name=n",
            400,
            "MalformedInput",
        ),
        form("a list without numbers", "Action=ReceiveMessage&AttributeName.all=1", 400, "MalformedInput"),
        form(
            "an attribute that is none",
            "Action=ReceiveMessage&AttributeName.1=Nonsense",
            400,
            "InvalidAttributeName",
        ),
        form("an empty batch", "Action=SendMessageBatch", 400, "AWS.SimpleQueueService.EmptyBatchRequest"),
        form(
            "entries of another batch",
            "Action=SendMessageBatch&DeleteMessageBatchRequestEntry.1.Id=a",
            400,
            "AWS.SimpleQueueService.EmptyBatchRequest",
        ),
        form(
            "too many entries",
            batch(500, &|i| format!("{entry}.{i}.Id={i}")),
            400,
            "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
        ),
        form(
            "ids that repeat",
            batch(2, &|i| format!("{entry}.{i}.Id=a&{entry}.{i}.MessageBody=x")),
            400,
            "AWS.SimpleQueueService.BatchEntryIdsNotDistinct",
        ),
        form("no message", "Action=SendMessage", 400, "MissingParameter"),
        form("an illegal message", "Action=SendMessage&MessageBody=%00", 400, "InvalidMessageContents"),
        form("a false handle", "Action=DeleteMessage&ReceiptHandle=%3C%01%3E", 404, "ReceiptHandleIsInvalid"),
        form(
            "an address that is none",
            "Action=SendMessage&QueueUrl=ftp%3A%2F%2Fx&MessageBody=x",
            404,
            "InvalidAddress",
        ),
        form(
            "a queue that is not there",
            "Action=PurgeQueue&QueueUrl=/0/none",
            400,
            "AWS.SimpleQueueService.NonExistentQueue",
        ),
        row(
            "a form of another site's page",
            "POST /?Action=DeleteQueue&QueueUrl=/0/q HTTP/1.1\r\nHost: h\r\nOrigin: http://evil\r\nContent-Length: 0\r\n\r\n",
            403,
            "AccessDenied",
        ),
        row(
            "an image of another site's page",
            "GET /?Action=DeleteQueue&QueueUrl=/0/q HTTP/1.1\r\nHost: h\r\nSec-Fetch-Site: cross-site\r\n\r\n",
            403,
            "AccessDenied",
        ),
        row("a URL without an action", "GET /0/q?X=1 HTTP/1.1\r\nHost: h\r\n\r\n", 404, "InvalidAction"),
        row(
            "a URL with a broken query",
            "GET /0/q?Action=SendMessage&MessageBody=%ff HTTP/1.1\r\nHost: h\r\n\r\n",
            400,
            "MalformedQueryString",
        ),
        row(
            "a form that is longer than all",
            "POST /?Action=ListQueues HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999\r\n\r\n",
            413,
            "RequestTooLarge",
        ),
    ]
}

async fn healthy(client: &mut Client) {
    client.call("SendMessage", json!({"QueueUrl": "/0/q", "MessageBody": "alive"})).await;
    let received = client.call("ReceiveMessage", json!({"QueueUrl": "/0/q", "WaitTimeSeconds": 5})).await;
    let message = &received["Messages"][0];
    assert_eq!(message["Body"], "alive");
    client
        .call("DeleteMessage", json!({"QueueUrl": "/0/q", "ReceiptHandle": message["ReceiptHandle"]}))
        .await;
}

#[tokio::test]
async fn every_row_is_answered_and_leaves_nothing_behind() {
    let server = Server::start();
    let mut beside = server.client().await;
    beside.call("CreateQueue", json!({"QueueName": "q"})).await;
    let mut wrong = Vec::new();
    for row in http_rows().into_iter().chain(json_rows()).chain(query_rows()) {
        let mut client = server.client().await;
        let answer = tokio::time::timeout(Duration::from_secs(10), client.raw(&row.sent)).await;
        let answer = answer.unwrap_or_else(|_| panic!("{}: no answer in time", row.name));
        let got = answer.as_ref().map_or((0, String::new()), |reply| (reply.status, reply.code()));
        if got != (row.status, row.code.to_owned()) {
            wrong.push(format!("{}: {got:?} instead of {:?}", row.name, (row.status, row.code)));
        }
        healthy(&mut beside).await;
        drop(client);
        memory_comes_back(&server, row.name).await;
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Waits until nothing is reserved any more.
async fn memory_comes_back(server: &Server, after: &str) {
    let given_back = async {
        while server.budget.used_bytes() != 0 {
            tokio::task::yield_now().await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(20), given_back).await;
    assert!(in_time.is_ok(), "{after}: {} bytes kept", server.budget.used_bytes());
}

#[tokio::test]
async fn an_answer_that_is_not_read_is_given_up() {
    let server = Server::start();
    let mut client = server.client().await;
    client.call("CreateQueue", json!({"QueueName": "q", "Attributes": {"VisibilityTimeout": "0"}})).await;
    client.call("SendMessage", json!({"QueueUrl": "/0/q", "MessageBody": "x".repeat(1 << 20)})).await;
    let ask = request("ReceiveMessage", r#"{"QueueUrl":"/0/q","WaitTimeSeconds":5}"#);
    let mut deaf = server.client().await;
    // Far more than the socket's buffers hold; the server stops reading requests when it cannot write answers.
    let sent = ask.repeat(64);
    let _ = tokio::time::timeout(
        Duration::from_secs(20),
        tokio::io::AsyncWriteExt::write_all(&mut deaf.stream, &sent),
    )
    .await;
    healthy_beside(&mut client).await;
    memory_comes_back(&server, "an answer that is not read").await;
}

async fn healthy_beside(client: &mut Client) {
    let listed = client.call("ListQueues", json!({})).await;
    assert_eq!(listed["QueueUrls"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_dripping_head_and_a_silent_client_are_closed() {
    use tokio::io::AsyncWriteExt;
    let limits = duolog_net::Limits {
        request_timeout: Duration::from_millis(300),
        idle_timeout: Duration::from_millis(600),
        ..Default::default()
    };
    let server = Server::start_with(limits, Default::default());
    let mut silent = server.client().await;
    assert!(silent.reply().await.is_none());
    let mut dripping = server.client().await;
    let drip = tokio::spawn(async move {
        let mut ticks = tokio::time::interval(Duration::from_millis(50));
        for byte in b"POST / HTTP/1.1\r\nHost: a-very-long-host-name-that-never-ends".iter().cycle().take(200)
        {
            ticks.tick().await;
            if dripping.stream.write_all(&[*byte]).await.is_err() {
                return true;
            }
        }
        false
    });
    assert!(drip.await.unwrap(), "the server must close before all is dripped");
    let mut client = server.client().await;
    client.call("ListQueues", json!({})).await;
}

#[tokio::test]
async fn requests_in_a_row_on_one_connection_are_answered_in_order() {
    let server = Server::start();
    let mut client = server.client().await;
    client.call("CreateQueue", json!({"QueueName": "q"})).await;
    let bodies = ["{}", r#"{"QueueNamePrefix":"none"}"#, "{"];
    let sent: Vec<u8> = bodies.iter().flat_map(|body| request("ListQueues", body)).collect();
    let first = client.raw(&sent).await.unwrap();
    assert_eq!(first.json()["QueueUrls"].as_array().unwrap().len(), 1);
    assert_eq!(client.reply().await.unwrap().json(), json!({}));
    assert_eq!(client.reply().await.unwrap().code(), "MalformedInput");
}
