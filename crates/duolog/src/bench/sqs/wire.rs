//! A minimal SQS client: AWS JSON 1.0 over one kept HTTP/1.1 connection on a blocking socket, or a new one each
//! time where the server closes it.
//!
//! Source: SQS API reference, "Making Query API requests using the AWS JSON protocol".

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Largest answer that is read.
const ANSWER_BYTES: usize = 16 << 20;
/// Longest line of a response's head.
const LINE_BYTES: u64 = 16 << 10;
/// A broker that says nothing for so long is not measured.
const PATIENCE: Duration = Duration::from_secs(60);
/// Long enough that nothing comes twice within a run.
const VISIBILITY_TIMEOUT_S: u32 = 600;
/// How long a receive waits for a message.
const WAIT_S: u32 = 1;
/// Queues of one page of a list: the most that there may be.
const LIST_PAGE: u32 = 1_000;
/// Of the form that clients send; the broker takes any.
const AUTHORIZATION: &str = "AWS4-HMAC-SHA256 Credential=bench/20260101/us-east-1/sqs/aws4_request, \
                             SignedHeaders=host, Signature=0";

/// One connection.
#[derive(Debug)]
pub struct Wire {
    stream: BufReader<TcpStream>,
    host: String,
}

/// A message to send.
#[derive(Debug)]
pub struct Outgoing {
    pub body: String,
    /// Its group, and its deduplication id if the body does not stand for it; only for FIFO queues.
    pub group: Option<(String, Option<String>)>,
}

/// A received message.
#[derive(Debug, Deserialize)]
pub struct Message {
    #[serde(rename = "Body")]
    pub body: String,
    #[serde(rename = "ReceiptHandle")]
    pub receipt_handle: String,
}

#[derive(Deserialize)]
struct Listed {
    #[serde(rename = "QueueUrls", default)]
    queue_urls: Vec<String>,
    #[serde(rename = "NextToken")]
    next_token: Option<String>,
}

#[derive(Deserialize)]
struct Received {
    #[serde(rename = "Messages", default)]
    messages: Vec<Message>,
}

#[derive(Deserialize)]
struct Created {
    #[serde(rename = "QueueUrl")]
    queue_url: String,
}

#[derive(Deserialize)]
struct Batched {
    #[serde(rename = "Failed", default)]
    failed: Vec<Value>,
}

/// The bytes of a request.
pub fn request(host: &str, action: &str, body: &Value) -> anyhow::Result<Vec<u8>> {
    let body = serde_json::to_vec(body)?;
    let mut request = format!(
        "POST / HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/x-amz-json-1.0\r\nx-amz-target: AmazonSQS.{action}\r\n\
         authorization: {AUTHORIZATION}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(&body);
    Ok(request)
}

/// The messages of an answer to ReceiveMessage.
pub fn received(body: &[u8]) -> anyhow::Result<Vec<Message>> {
    Ok(serde_json::from_slice::<Received>(body).context("an answer that makes no sense")?.messages)
}

fn connected(address: &str) -> anyhow::Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect(address).with_context(|| {
        format!(
            "no broker answers at {address}: start one with `duolog serve`, or say --spawn, or --addr ADDR"
        )
    })?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(BufReader::with_capacity(64 << 10, stream))
}

impl Wire {
    pub fn connect(address: &str) -> anyhow::Result<Self> {
        Ok(Self { stream: connected(address)?, host: address.to_owned() })
    }

    /// Declares a queue, a FIFO queue if its name says so.
    pub fn create_queue(&mut self, name: &str, content_dedup: bool) -> anyhow::Result<String> {
        let mut attributes = json!({ "VisibilityTimeout": VISIBILITY_TIMEOUT_S.to_string() });
        if name.ends_with(".fifo") {
            attributes["FifoQueue"] = json!("true");
            attributes["ContentBasedDeduplication"] = json!(content_dedup.to_string());
        }
        let created: Created =
            self.ask("CreateQueue", &json!({ "QueueName": name, "Attributes": attributes }))?;
        Ok(created.queue_url)
    }

    /// How many queues there are, page by page.
    pub fn list_queues(&mut self) -> anyhow::Result<u64> {
        let (mut count, mut token) = (0, None);
        loop {
            let ask = json!({ "MaxResults": LIST_PAGE, "NextToken": token });
            let page: Listed = self.ask("ListQueues", &ask)?;
            count += page.queue_urls.len() as u64;
            token = page.next_token;
            if token.is_none() {
                return Ok(count);
            }
        }
    }

    pub fn delete_queue(&mut self, url: &str) -> anyhow::Result<()> {
        self.ask::<Value>("DeleteQueue", &json!({ "QueueUrl": url })).map(|_| ())
    }

    pub fn send(&mut self, url: &str, messages: &[Outgoing]) -> anyhow::Result<()> {
        let entry = |(id, message): (usize, &Outgoing)| {
            let mut entry = json!({ "Id": id.to_string(), "MessageBody": message.body });
            if let Some((group, dedup)) = &message.group {
                entry["MessageGroupId"] = json!(group);
                if let Some(id) = dedup {
                    entry["MessageDeduplicationId"] = json!(id);
                }
            }
            entry
        };
        let entries: Vec<Value> = messages.iter().enumerate().map(entry).collect();
        let done: Batched = self.ask("SendMessageBatch", &json!({ "QueueUrl": url, "Entries": entries }))?;
        ensure!(done.failed.is_empty(), "messages were refused: {:?}", done.failed);
        Ok(())
    }

    pub fn receive(&mut self, url: &str, count: u64) -> anyhow::Result<Vec<Message>> {
        let ask = json!({ "QueueUrl": url, "MaxNumberOfMessages": count, "WaitTimeSeconds": WAIT_S });
        self.ask::<Received>("ReceiveMessage", &ask).map(|received| received.messages)
    }

    pub fn delete(&mut self, url: &str, handles: &[&str]) -> anyhow::Result<()> {
        let entry = |(id, handle): (usize, &&str)| json!({ "Id": id.to_string(), "ReceiptHandle": handle });
        let entries: Vec<Value> = handles.iter().enumerate().map(entry).collect();
        let done: Batched =
            self.ask("DeleteMessageBatch", &json!({ "QueueUrl": url, "Entries": entries }))?;
        ensure!(done.failed.is_empty(), "messages were not deleted: {:?}", done.failed);
        Ok(())
    }

    fn ask<T: DeserializeOwned>(&mut self, action: &str, body: &Value) -> anyhow::Result<T> {
        let request = request(&self.host, action, body)?;
        self.stream.get_mut().write_all(&request).context("cannot send to the broker")?;
        let (status, answer) = self.answer().context("the broker does not answer")?;
        ensure!(status == 200, "{action} failed with {status}: {}", String::from_utf8_lossy(&answer));
        let answer: &[u8] = if answer.is_empty() { b"null" } else { &answer };
        serde_json::from_slice(answer).or_else(|error| {
            // DeleteQueue answers nothing at all.
            serde_json::from_str("{}").map_err(|_| error).context("an answer that makes no sense")
        })
    }

    /// Status and body of the next response.
    fn answer(&mut self) -> anyhow::Result<(u16, Vec<u8>)> {
        let first = self.line()?;
        let status =
            first.split(' ').nth(1).and_then(|word| word.parse().ok()).context("no HTTP response")?;
        let (mut length, mut is_last) = (None, false);
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            match line.split_once(':') {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.trim().parse::<usize>().ok();
                }
                Some((name, value)) if name.eq_ignore_ascii_case("connection") => {
                    // Servers for tests answer once a connection.
                    is_last = value.trim().eq_ignore_ascii_case("close");
                }
                Some(_) | None => {}
            }
        }
        let length = length.context("a response without a length")?;
        ensure!(length <= ANSWER_BYTES, "a response of {length} bytes");
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        if is_last {
            self.stream = connected(&self.host)?;
        }
        Ok((status, body))
    }

    fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        if (&mut self.stream).take(LINE_BYTES).read_line(&mut line)? == 0 {
            bail!("the broker closed the connection");
        }
        Ok(line.trim_end().to_owned())
    }
}
