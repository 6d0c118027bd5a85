//! What one connection does, and the account of what came back.

use std::collections::HashMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use hdrhistogram::Histogram;
use indicatif::ProgressBar;
use parking_lot::Mutex;

use super::super::report::note;
use super::load::{Load, NUMBER_DIGITS};
use super::wire::{Message, Outgoing, Wire};

/// Without a message for so long, one is lost.
const PATIENCE: Duration = Duration::from_secs(60);

/// Sends this worker's share of a range: every `connections`th batch. Gives the time of the last answer.
pub fn send(
    wire: &mut Wire,
    load: &Load,
    range: Range<u64>,
    worker: u64,
    bar: &ProgressBar,
    latencies: &mut Histogram<u64>,
) -> anyhow::Result<Instant> {
    let mut first = range.start;
    while first < range.end {
        let end = (first + load.batch - first % load.batch).min(range.end);
        if load.sender_of(first) == worker {
            let messages: Vec<Outgoing> = (first..end).map(|number| load.message(number)).collect();
            let begun = Instant::now();
            wire.send(&load.queue_urls[load.queue_of(first)], &messages)?;
            note(latencies, begun.elapsed());
            bar.inc(end - first);
        }
        first = end;
    }
    Ok(Instant::now())
}

/// Which messages came.
#[derive(Debug)]
pub struct Seen {
    came: Vec<bool>,
    left: u64,
    /// By queue.
    left_in: Vec<u64>,
    /// The last number of each group of each queue.
    last_of: HashMap<(usize, u64), u64>,
    last: Instant,
}

impl Seen {
    /// So many of those that were sent are awaited.
    pub fn new(load: &Load, awaited: u64) -> Self {
        let mut left_in = vec![0; load.queues as usize];
        (0..load.messages).for_each(|number| left_in[load.queue_of(number)] += 1);
        Self {
            came: vec![false; load.messages as usize],
            left: awaited,
            left_in,
            last_of: HashMap::new(),
            last: Instant::now(),
        }
    }

    /// Notes what came in one answer of a queue.
    fn note(&mut self, load: &Load, queue: usize, messages: &[Message]) -> anyhow::Result<()> {
        for message in messages {
            let number = number_of(&message.body)?;
            ensure!(
                number < load.messages && load.body(number) == message.body && load.queue_of(number) == queue,
                "message {number} came with another body or from another queue"
            );
            let came = &mut self.came[number as usize];
            // Nothing is held so long that its visibility timeout ends.
            ensure!(!*came, "message {number} came twice");
            *came = true;
            if load.fifo {
                let before = self.last_of.insert((queue, load.group_of(number)), number);
                ensure!(before < Some(number), "message {number} came after {before:?} of its group");
            }
        }
        let count = messages.len() as u64;
        self.left = self.left.saturating_sub(count);
        self.left_in[queue] -= count;
        self.last = Instant::now();
        Ok(())
    }

    /// Every message came that was awaited.
    pub fn complete(&self) -> anyhow::Result<()> {
        ensure!(self.left == 0, "{} messages never came", self.left);
        Ok(())
    }
}

fn number_of(body: &str) -> anyhow::Result<u64> {
    let digits = body.get(..NUMBER_DIGITS).and_then(|digits| digits.parse().ok());
    digits.context("a message that was never sent")
}

/// Receives and deletes until all came that are awaited, from this worker's share of the queues in turn; a latency is of
/// one receive and one delete. Gives the time of its last delete.
pub fn receive_and_delete(
    wire: &mut Wire,
    load: &Load,
    worker: u64,
    bar: &ProgressBar,
    latencies: &mut Histogram<u64>,
    seen: &Mutex<Seen>,
) -> anyhow::Result<Instant> {
    let queues = load.queues as usize;
    let mut ended = Instant::now();
    let mut queue = worker as usize % queues;
    loop {
        {
            let seen = seen.lock();
            if seen.left == 0 {
                return Ok(ended);
            }
            if seen.last.elapsed() > PATIENCE {
                bail!("{} messages do not come", seen.left);
            }
            // Where nothing is left, nothing is asked for.
            let turns = (0..queues).map(|turn| (queue + turn * load.connections as usize) % queues);
            let Some(next) = turns.into_iter().find(|&it| seen.left_in[it] > 0) else {
                return Ok(ended);
            };
            queue = next;
        }
        let url = &load.queue_urls[queue];
        let begun = Instant::now();
        let messages = wire.receive(url, load.batch)?;
        let received = begun.elapsed();
        if !messages.is_empty() {
            // Before they are deleted: what comes next of a group comes after that.
            seen.lock().note(load, queue, &messages)?;
            let mut handles = Vec::with_capacity(messages.len());
            for message in &messages {
                if !load.is_stuck(number_of(&message.body)?) {
                    handles.push(message.receipt_handle.as_str());
                }
            }
            let begun = Instant::now();
            if !handles.is_empty() {
                wire.delete(url, &handles)?;
            }
            note(latencies, received + begun.elapsed());
            bar.inc(messages.len() as u64);
            ended = Instant::now();
        }
        queue = (queue + load.connections as usize) % queues;
    }
}
