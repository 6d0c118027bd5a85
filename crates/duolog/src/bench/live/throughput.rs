//! One publisher, any number of subscribers, as fast as it goes.
//!
//! The publisher stays a bounded number of bytes ahead of the slowest subscriber, so that no server has to cut one off;
//! every subscriber checks that it gets every message, in order.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::ensure;

use super::super::progress;
use super::Load;
use super::peer::Under;
use super::wire::{Said, Wire};

/// Bytes that the publisher may be ahead of the slowest subscriber, and of the server's answers.
const AHEAD_BYTES: u64 = 4 << 20;
/// Bytes of one write.
const WRITE_BYTES: usize = 64 << 10;
/// Messages after which a subscriber says how far it is.
const TELL_EVERY: u64 = 256;
/// How long the publisher waits before it looks again.
const LOOK_AGAIN: Duration = Duration::from_micros(100);

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// Messages that were delivered; where nobody listens, those that were taken.
    pub messages: u64,
    /// From the first byte sent to the last received.
    pub took: Duration,
    /// The server's.
    pub processor: Option<Duration>,
}

/// Runs once.
pub fn run(load: &Load, server: &Under<'_>) -> anyhow::Result<Measured> {
    let mut wires = Vec::new();
    for _ in 0..load.subscribers {
        let mut wire = Wire::connect(load.dialect, server.address)?;
        wire.subscribe(&load.subject)?;
        wires.push(wire);
    }
    let places: Vec<AtomicU64> = wires.iter().map(|_| AtomicU64::new(0)).collect();
    let publisher = Wire::connect(load.dialect, server.address)?;
    let processor = server.processor_time();
    let begun = Instant::now();
    thread::scope(|scope| {
        let receiving: Vec<_> = wires
            .into_iter()
            .zip(&places)
            .map(|(wire, place)| scope.spawn(move || receive(load, wire, place)))
            .collect();
        let published = publish(load, publisher, &places);
        for one in receiving {
            one.join().expect("a subscriber does not panic")?;
        }
        published
    })?;
    let took = begun.elapsed();
    let processor = server.processor_time().zip(processor).map(|(after, before)| after - before);
    let messages = load.messages * u64::from(load.subscribers.max(1));
    Ok(Measured { messages, took, processor })
}

/// Publishes all, each with its number.
fn publish(load: &Load, mut wire: Wire, places: &[AtomicU64]) -> anyhow::Result<()> {
    let bar = progress::bar(load.dialect.name(), load.messages);
    let (one, body) = load.dialect.publish(&load.subject, load.message_bytes);
    let each = one.len();
    let at_once = (WRITE_BYTES / each).max(1) as u64;
    let ahead = (AHEAD_BYTES / each as u64).max(at_once);
    let mut buffer = one.repeat(at_once as usize);
    let (mut sent, mut answered) = (0, 0);
    while sent < load.messages {
        let now = at_once.min(load.messages - sent);
        for index in 0..now {
            let place = index as usize * each + body.start;
            buffer[place..place + 8].copy_from_slice(&(sent + index).to_be_bytes());
        }
        wire.send(&buffer[..now as usize * each])?;
        sent += now;
        while load.dialect.answers_each() && answered + ahead.min(8 * at_once) < sent {
            wire.answer()?;
            answered += 1;
        }
        while places.iter().any(|place| place.load(Ordering::Relaxed) + ahead < sent) {
            thread::sleep(LOOK_AGAIN);
        }
        bar.set_position(sent);
    }
    while load.dialect.answers_each() && answered < sent {
        wire.answer()?;
        answered += 1;
    }
    wire.sync()?;
    bar.finish_and_clear();
    Ok(())
}

/// Receives all, in order. One that fails lets the publisher go on, so that its reason is heard.
fn receive(load: &Load, wire: Wire, place: &AtomicU64) -> anyhow::Result<()> {
    let received = receive_all(load, wire, place);
    place.store(load.messages, Ordering::Relaxed);
    received
}

fn receive_all(load: &Load, mut wire: Wire, place: &AtomicU64) -> anyhow::Result<()> {
    let mut next = 0_u64;
    while next < load.messages {
        match wire.next()? {
            Said::Message(body) => {
                let body = wire.body(body);
                let is_it = body.len() == load.message_bytes && body[..8] == next.to_be_bytes();
                ensure!(is_it, "another message than number {next} has come");
                next += 1;
                if next.is_multiple_of(TELL_EVERY) {
                    place.store(next, Ordering::Relaxed);
                }
            }
            Said::Ping => wire.send(b"PONG\r\n")?,
            Said::Answer => {}
        }
    }
    Ok(())
}
