//! What publishers and consumers do. Each message has a number in its first eight bytes; the consumer sees that all come, in
//! order.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::ensure;

use super::super::progress;
use super::Load;
use super::wire::{Event, Wire, message};

/// Bytes of one write.
const WRITE_BYTES: usize = 64 << 10;

/// Publishes all; the time until the last is confirmed, or until a method behind it is answered.
pub fn publish(address: &str, load: &Load) -> anyhow::Result<Duration> {
    let mut wire = Wire::connect(address)?;
    if load.lasting {
        wire.confirm()?;
    }
    let bar = progress::bar("amqp", load.messages);
    let (one, body) = message(&load.queue, load.message_bytes, load.lasting);
    let at_once = ((WRITE_BYTES / one.len()).max(1) as u64).min(load.in_flight);
    let mut buffer = one.repeat(usize::try_from(at_once)?);
    let (mut sent, mut confirmed) = (0, 0);
    let begun = Instant::now();
    while confirmed < load.messages {
        while sent < load.messages && sent + at_once <= confirmed + load.in_flight {
            let now = at_once.min(load.messages - sent);
            for index in 0..now {
                let at = usize::try_from(index)? * one.len() + body;
                buffer[at..at + 8].copy_from_slice(&(sent + index).to_be_bytes());
            }
            wire.send(&buffer[..usize::try_from(now)? * one.len()])?;
            sent += now;
            if !load.lasting {
                confirmed = sent;
                bar.set_position(sent);
            }
        }
        if !load.lasting {
            wire.declare(&load.queue)?;
            break;
        }
        if let Event::Confirmed(number) = wire.next()? {
            confirmed = confirmed.max(number);
            bar.set_position(confirmed);
        }
    }
    let took = begun.elapsed();
    bar.finish_and_clear();
    Ok(took)
}

/// Consumes all; the time from the first credit to the last delivery.
pub fn consume(address: &str, load: &Load) -> anyhow::Result<Duration> {
    let mut wire = Wire::connect(address)?;
    let begun = Instant::now();
    wire.consume(&load.queue, load.prefetch)?;
    let (mut next, mut tag, mut left) = (0, 0, 0);
    while next < load.messages {
        match wire.next()? {
            Event::Delivery(number) => tag = number,
            Event::Body(number, bytes) => {
                if left == 0 {
                    ensure!(number == Some(next), "message {number:?} where {next} was expected");
                    left = load.message_bytes;
                }
                left -= bytes.min(left);
                next += u64::from(left == 0);
            }
            Event::Confirmed(_) | Event::Other => {}
        }
        if left == 0 && tag > 0 && (!wire.has_next() || next == load.messages) {
            wire.acknowledge(tag)?;
            tag = 0;
        }
    }
    let took = begun.elapsed();
    // What was acknowledged has come there once something behind it is answered.
    wire.declare(&load.queue)?;
    Ok(took)
}

/// Both at once; the time until the last is delivered.
pub fn together(address: &str, load: &Load) -> anyhow::Result<Duration> {
    thread::scope(|scope| {
        let consuming = scope.spawn(|| consume(address, load));
        publish(address, load)?;
        consuming.join().expect("a consumer does not panic")
    })
}
