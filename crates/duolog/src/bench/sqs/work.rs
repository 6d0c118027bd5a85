//! What one connection does, and the account of what came back.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use hdrhistogram::Histogram;
use indicatif::ProgressBar;
use parking_lot::Mutex;

use super::super::content;
use super::super::report::note;
use super::wire::Wire;
use super::{Load, NUMBER_DIGITS};

/// Without a message for so long, one is lost.
const PATIENCE: Duration = Duration::from_secs(60);

/// The body of a message: its number, then text that follows from it.
fn body(load: &Load, number: u64) -> String {
    let mut bytes = vec![0; (load.message_bytes - NUMBER_DIGITS).div_ceil(2) + content::BYTES_MIN];
    content::fill(&mut bytes, 0, number);
    let mut text = format!("{number:0width$}", width = NUMBER_DIGITS);
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for byte in &bytes[content::BYTES_MIN..] {
        text.push(char::from(HEX[usize::from(byte >> 4)]));
        text.push(char::from(HEX[usize::from(byte & 15)]));
    }
    text.truncate(load.message_bytes);
    text
}

/// Sends this worker's share: every `connections`th batch.
pub fn send(
    wire: &mut Wire,
    load: &Load,
    worker: u64,
    bar: &ProgressBar,
    latencies: &mut Histogram<u64>,
) -> anyhow::Result<()> {
    let stride = load.batch * load.connections;
    let mut first = worker * load.batch;
    while first < load.messages {
        let end = (first + load.batch).min(load.messages);
        let bodies: Vec<String> = (first..end).map(|number| body(load, number)).collect();
        let begun = Instant::now();
        wire.send(&load.queue_url, &bodies)?;
        note(latencies, begun.elapsed());
        bar.inc(end - first);
        first += stride;
    }
    Ok(())
}

/// Which messages came.
#[derive(Debug)]
pub struct Seen {
    came: Vec<bool>,
    left: u64,
    last: Instant,
}

impl Seen {
    pub fn new(messages: u64) -> Self {
        Self { came: vec![false; messages as usize], left: messages, last: Instant::now() }
    }

    fn note(&mut self, load: &Load, body: &str) -> anyhow::Result<()> {
        let number = number_of(body)?;
        ensure!(
            number < load.messages && self::body(load, number) == body,
            "message {number} came with another body"
        );
        let came = &mut self.came[number as usize];
        // Nothing is held so long that its visibility timeout ends.
        ensure!(!*came, "message {number} came twice");
        *came = true;
        self.left -= 1;
        self.last = Instant::now();
        Ok(())
    }

    /// Every message came.
    pub fn complete(&self) -> anyhow::Result<()> {
        ensure!(self.left == 0, "{} messages never came", self.left);
        Ok(())
    }
}

fn number_of(body: &str) -> anyhow::Result<u64> {
    let digits = body.get(..NUMBER_DIGITS).and_then(|digits| digits.parse().ok());
    digits.context("a message that was never sent")
}

/// Receives and deletes until nothing is left; a latency is of one receive and one delete.
pub fn receive_and_delete(
    wire: &mut Wire,
    load: &Load,
    _worker: u64,
    bar: &ProgressBar,
    latencies: &mut Histogram<u64>,
    seen: &Mutex<Seen>,
) -> anyhow::Result<()> {
    loop {
        let begun = Instant::now();
        let messages = wire.receive(&load.queue_url, load.batch)?;
        if messages.is_empty() {
            let seen = seen.lock();
            if seen.left == 0 {
                return Ok(());
            }
            if seen.last.elapsed() > PATIENCE {
                bail!("{} messages do not come", seen.left);
            }
            continue;
        }
        let mut handles = Vec::with_capacity(messages.len());
        for message in &messages {
            if !load.is_stuck(number_of(&message.body)?) {
                handles.push(message.receipt_handle.as_str());
            }
        }
        if !handles.is_empty() {
            wire.delete(&load.queue_url, &handles)?;
        }
        note(latencies, begun.elapsed());
        let mut seen = seen.lock();
        for message in &messages {
            seen.note(load, &message.body)?;
        }
        bar.inc(messages.len() as u64);
        if seen.left == 0 {
            return Ok(());
        }
    }
}
