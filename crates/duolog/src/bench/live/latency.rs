//! From publishing a message to having received it, at a steady rate, one publisher and one subscriber.

use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::ensure;
use hdrhistogram::Histogram;

use super::super::progress;
use super::super::report::histogram;
use super::Load;
use super::peer::Under;
use super::wire::{Said, Wire};

/// What came of it: tenths of microseconds, and the server's time of the processor.
pub struct Measured {
    pub latencies: Histogram<u64>,
    pub processor: Option<Duration>,
    pub messages: u64,
}

/// Runs for as long as asked.
pub fn run(load: &Load, server: &Under<'_>) -> anyhow::Result<Measured> {
    let messages = load.rate * load.seconds;
    let mut subscriber = Wire::connect(load.dialect, server.address)?;
    subscriber.subscribe(&load.subject)?;
    let mut publisher = Wire::connect(load.dialect, server.address)?;
    // When each was sent: the clock that the publisher waits on is coarser than what is measured.
    let sent: Vec<OnceLock<Instant>> = (0..messages).map(|_| OnceLock::new()).collect();
    let processor = server.processor_time();
    let latencies = thread::scope(|scope| {
        let receiving = scope.spawn(|| receive(load, subscriber, &sent));
        let (mut one, body) = load.dialect.publish(&load.subject, load.message_bytes);
        let begun = Instant::now();
        for (number, sent) in sent.iter().enumerate() {
            let due = begun + Duration::from_nanos(number as u64 * 1_000_000_000 / load.rate);
            thread::sleep(due.saturating_duration_since(Instant::now()));
            one[body.start..body.start + 8].copy_from_slice(&(number as u64).to_be_bytes());
            // It is this thread's to set.
            let _ = sent.set(Instant::now());
            publisher.send(&one)?;
            if load.dialect.answers_each() {
                publisher.answer()?;
            }
        }
        receiving.join().expect("a subscriber does not panic")
    })?;
    let processor = server.processor_time().zip(processor).map(|(after, before)| after - before);
    Ok(Measured { latencies, processor, messages })
}

fn receive(load: &Load, mut wire: Wire, sent: &[OnceLock<Instant>]) -> anyhow::Result<Histogram<u64>> {
    let bar = progress::bar("latency", sent.len() as u64);
    let mut latencies = histogram();
    let mut next = 0;
    while next < sent.len() {
        match wire.next()? {
            Said::Message(body) => {
                let now = Instant::now();
                let body = wire.body(body);
                let is_it = body.len() == load.message_bytes && body[..8] == (next as u64).to_be_bytes();
                ensure!(is_it, "another message than number {next} has come");
                let took = sent[next].get().map_or(Duration::ZERO, |sent| now - *sent);
                latencies.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
                next += 1;
                bar.set_position(next as u64);
            }
            Said::Ping => wire.send(b"PONG\r\n")?,
            Said::Answer => {}
        }
    }
    bar.finish_and_clear();
    Ok(latencies)
}
