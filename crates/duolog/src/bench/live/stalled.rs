//! Many who listen, and then one more who reads nothing: what the others notice of that.
//!
//! The subscribers share one thread of tokio; their clock is the publisher's, so the figures hold the generator's own delay as well, alone
//! and beside the stalled one alike.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use hdrhistogram::Histogram;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

use super::super::report::{Report, Row, histogram};
use super::Load;
use super::peer::Under;
use super::wire::{Said, Wire, parse};

/// What the stalled one's system takes for it: little, so that the server has the rest.
const STALLED_BUFFER_BYTES: u32 = 4 << 10;
/// How long after the last message it is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// Alone, and beside a stalled one.
pub fn run(
    load: &Load,
    server: &Under<'_>,
    resident: impl Fn() -> Option<u64> + Sync,
) -> anyhow::Result<Report> {
    let mut report = Report::default();
    for stalled in [false, true] {
        let before = resident();
        let (latencies, most) = measure(load, server, stalled, &resident)?;
        let beside = if stalled { ", one more reads nothing" } else { "" };
        let mut row = Row::new(format!(
            "{} 1 to {}, {}/s, {} B{beside}",
            load.dialect.name(),
            load.subscribers,
            load.rate,
            load.message_bytes
        ));
        row.latency(&latencies);
        if let (Some(before), Some(most)) = (before, most) {
            row.figure("memory_before_kib", before / 1024);
            row.figure("memory_most_kib", most / 1024);
        }
        report.push(row);
    }
    Ok(report)
}

fn measure(
    load: &Load,
    server: &Under<'_>,
    stalled: bool,
    resident: &(impl Fn() -> Option<u64> + Sync),
) -> anyhow::Result<(Histogram<u64>, Option<u64>)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let address: SocketAddr = server.address.parse().context("an address")?;
    let messages = load.rate * load.seconds;
    let sent: Arc<Vec<std::sync::OnceLock<Instant>>> =
        Arc::new((0..messages).map(|_| std::sync::OnceLock::new()).collect());
    // Dropped, and so ended, at the end.
    let _stalled = if stalled { Some(runtime.block_on(stall(load, address))?) } else { None };
    let mut receiving = Vec::new();
    for _ in 0..load.subscribers {
        let mut wire = Wire::connect(load.dialect, server.address)?;
        wire.subscribe(&load.subject)?;
        let (stream, read) = wire.into_parts();
        receiving.push((stream, read));
    }
    let mut publisher = Wire::connect(load.dialect, server.address)?;
    std::thread::scope(|scope| {
        let publishing = scope.spawn(|| {
            let mut most = resident();
            let (mut one, body) = load.dialect.publish(&load.subject, load.message_bytes);
            let begun = Instant::now();
            for (number, sent) in sent.iter().enumerate() {
                let due = begun + Duration::from_nanos(number as u64 * 1_000_000_000 / load.rate);
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                one[body.start..body.start + 8].copy_from_slice(&(number as u64).to_be_bytes());
                let _ = sent.set(Instant::now());
                publisher.send(&one)?;
                if load.dialect.answers_each() {
                    publisher.answer()?;
                }
                if number.is_multiple_of(16) {
                    most = most.max(resident());
                }
            }
            anyhow::Ok(most)
        });
        let received = runtime.block_on(async {
            let mut tasks = tokio::task::JoinSet::new();
            for (stream, read) in receiving {
                tasks.spawn(receive(load.dialect, load.message_bytes, stream, read, Arc::clone(&sent)));
            }
            let mut all = histogram();
            while let Some(one) = tasks.join_next().await {
                all.add(one.context("a subscriber panicked")??).context("the same bounds")?;
            }
            anyhow::Ok(all)
        });
        let most = publishing.join().expect("the publisher does not panic")?;
        Ok((received?, most))
    })
}

/// One that subscribes and reads nothing.
async fn stall(load: &Load, address: SocketAddr) -> anyhow::Result<tokio::net::TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(STALLED_BUFFER_BYTES)?;
    let mut stream = socket.connect(address).await?;
    stream.write_all(load.dialect.subscribe(&load.subject).as_bytes()).await?;
    Ok(stream)
}

async fn receive(
    dialect: super::Dialect,
    message_bytes: usize,
    stream: TcpStream,
    mut buffer: Vec<u8>,
    sent: Arc<Vec<std::sync::OnceLock<Instant>>>,
) -> anyhow::Result<Histogram<u64>> {
    stream.set_nonblocking(true)?;
    let mut stream = tokio::net::TcpStream::from_std(stream)?;
    let mut latencies = histogram();
    let mut next = 0;
    while next < sent.len() {
        let mut at = 0;
        while let Some((said, used)) = parse(dialect, &buffer[at..])? {
            match said {
                Said::Message(body) => {
                    let body = &buffer[at + body.start..at + body.end];
                    let is_it = body.len() == message_bytes && body[..8] == (next as u64).to_be_bytes();
                    ensure!(is_it, "another message than number {next} has come");
                    let took = sent[next].get().map_or(Duration::ZERO, Instant::elapsed);
                    latencies.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
                    next += 1;
                }
                Said::Ping => stream.write_all(b"PONG\r\n").await?,
                Said::Answer => {}
            }
            at += used;
        }
        buffer.drain(..at);
        if next < sent.len() {
            let read = tokio::time::timeout(PATIENCE, stream.read_buf(&mut buffer)).await;
            ensure!(read.context("the server says nothing")?? > 0, "the server has closed the connection");
        }
    }
    Ok(latencies)
}
