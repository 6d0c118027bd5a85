//! Many long polls at a time, each on a connection of its own: what they cost while they wait, whether one message wakes one
//! of them, and how fast as many messages reach them all.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};

use super::super::report::{Report, Row, histogram, note};
use super::super::server::{Server, metrics};
use super::load::{Load, NUMBER_DIGITS};
use super::wire::{self, Message, Wire};

/// Connections that are being made at a time: fewer than wait in a listener's backlog.
const CONNECTING: usize = 200;
/// The longest wait that there is, seconds.
const WAIT_S: u32 = 20;
/// Until all wait, and until all are answered.
const PATIENCE: Duration = Duration::from_secs(60);

/// What one receiver got, and when.
type Got = anyhow::Result<(Message, Instant)>;

/// Lets `load.messages` receivers wait on the first queue, sends one message, then one for each of the others.
pub fn run(server: &Server, load: &Load, report: &mut Report) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (tell, mut answers) = mpsc::unbounded_channel();
    let waiters = load.messages;
    for _ in 0..waiters {
        let (address, url, tell) = (server.address().to_owned(), load.queue_urls[0].clone(), tell.clone());
        runtime.spawn(async move {
            // If nobody listens, the run is over.
            let _ = tell.send(receive(&address, &url).await);
        });
    }
    // The receivers have a thread to themselves, so that what is sent here keeps none of them from reading.
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let receiving = std::thread::spawn(move || runtime.block_on(stopped));
    let measured = measure(server, load, &mut answers, report);
    let _ = stop.send(());
    drop(receiving.join());
    measured
}

fn measure(
    server: &Server,
    load: &Load,
    answers: &mut mpsc::UnboundedReceiver<Got>,
    report: &mut Report,
) -> anyhow::Result<()> {
    let waiters = load.messages;
    await_waiting(server, waiters)?;
    let mut row = Row::new(format!("sqs {waiters} long polls"));
    if let Some(bytes) = server.resident_bytes() {
        row.figure("broker_rss_mib", bytes >> 20);
    }
    let mut wire = Wire::connect(server.address())?;
    let mut came = vec![false; waiters as usize];
    let begun = Instant::now();
    wire.send(&load.queue_urls[0], &[load.message(0)])?;
    let at = take(load, answers, &mut came)?;
    row.figure("one_message_us", at.duration_since(begun).as_micros() as u64);
    await_waiting(server, waiters - 1)?;
    ensure!(answers.is_empty(), "one message was given to more than one receiver");

    let begun = Instant::now();
    let mut latencies = histogram();
    let mut sent = Vec::with_capacity(waiters as usize);
    for first in (1..waiters).step_by(load.batch as usize) {
        let messages: Vec<_> =
            (first..(first + load.batch).min(waiters)).map(|it| load.message(it)).collect();
        sent.extend(messages.iter().map(|_| Instant::now()));
        wire.send(&load.queue_urls[0], &messages)?;
    }
    let mut last = begun;
    for sent in sent {
        let at = take(load, answers, &mut came)?;
        note(&mut latencies, at.saturating_duration_since(sent));
        last = last.max(at);
    }
    row.throughput(waiters - 1, (waiters - 1) * load.message_bytes as u64, last.duration_since(begun));
    row.latency(&latencies);
    report.push(row);
    Ok(())
}

/// Waits until the broker tells of so many receivers that wait.
fn await_waiting(server: &Server, waiters: u64) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        let text = metrics(server.admin())?;
        let samples = text.lines().filter_map(|line| line.strip_prefix("duolog_queue_receivers_waiting{"));
        let waiting: u64 = samples.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum();
        if waiting == waiters {
            return Ok(());
        }
        ensure!(begun.elapsed() < PATIENCE, "{waiting} receivers wait instead of {waiters}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The next answer, with a message that did not come before.
fn take(
    load: &Load,
    answers: &mut mpsc::UnboundedReceiver<Got>,
    came: &mut [bool],
) -> anyhow::Result<Instant> {
    let (message, at) = answers.blocking_recv().context("the receivers have gone")??;
    let number = message.body.get(..NUMBER_DIGITS).and_then(|digits| digits.parse::<u64>().ok());
    let number = number.filter(|&number| number < load.messages && load.body(number) == message.body);
    let number = number.context("a message that was never sent")?;
    ensure!(!std::mem::replace(&mut came[number as usize], true), "message {number} came twice");
    Ok(at)
}

/// One connection and one long poll on it.
async fn receive(address: &str, url: &str) -> Got {
    static MAKING: Semaphore = Semaphore::const_new(CONNECTING);
    let place = MAKING.acquire().await?;
    let mut stream = TcpStream::connect(address).await.context("cannot connect to the broker")?;
    drop(place);
    stream.set_nodelay(true)?;
    let ask = json!({ "QueueUrl": url, "MaxNumberOfMessages": 1, "WaitTimeSeconds": WAIT_S });
    stream.write_all(&wire::request(address, "ReceiveMessage", &ask)?).await?;
    let mut answer = Vec::new();
    let body = loop {
        if let Some(body) = body_of(&answer)? {
            break body;
        }
        if stream.read_buf(&mut answer).await? == 0 {
            bail!("the broker closed the connection");
        }
    };
    let at = Instant::now();
    let message = wire::received(body)?.pop().context("a long poll came back empty")?;
    Ok((message, at))
}

/// The body of a whole answer; `None` if more is to come.
fn body_of(answer: &[u8]) -> anyhow::Result<Option<&[u8]>> {
    let Some(end) = answer.windows(4).position(|it| it == b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&answer[..end])?;
    ensure!(head.starts_with("HTTP/1.1 200"), "a receive failed: {head}");
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let length = length.context("a response without a length")?;
    Ok(answer.get(end + 4..).filter(|body| body.len() >= length))
}
