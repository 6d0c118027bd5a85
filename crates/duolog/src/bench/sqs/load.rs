//! What is sent where: everything follows from a message's number.

use super::super::content;
use super::wire::Outgoing;
use super::{Dedup, SqsBench};

/// Characters of a body that tell one message from another.
pub const NUMBER_DIGITS: usize = 16;

/// The settings that the measurements work with.
#[derive(Debug)]
pub struct Load {
    pub queue_urls: Vec<String>,
    pub queues: u64,
    /// All that are sent, the backlog included.
    pub messages: u64,
    pub backlog: u64,
    pub message_bytes: usize,
    pub batch: u64,
    pub connections: u64,
    pub fifo: bool,
    pub groups: u64,
    pub dedup: Dedup,
    /// One message in so many is received and not deleted.
    pub stuck_every: Option<u64>,
}

impl Load {
    /// As the arguments say; the queues do not exist yet.
    pub fn of(bench: &SqsBench, message_bytes: usize) -> Self {
        Self {
            queue_urls: Vec::new(),
            queues: bench.queues,
            messages: bench.backlog + bench.messages,
            backlog: bench.backlog,
            message_bytes,
            batch: bench.batch,
            connections: bench.connections,
            fifo: bench.fifo,
            groups: bench.groups,
            dedup: bench.dedup,
            stuck_every: bench.stuck_every.map(|it| it.0 / message_bytes as u64),
        }
    }

    /// For the head of a row.
    pub fn described(&self) -> String {
        let mut text = format!("{} B", self.message_bytes);
        if self.fifo {
            text += &format!(", FIFO, {} groups", self.groups);
        }
        if self.queues > 1 {
            text += &format!(", {} queues", self.queues);
        }
        if self.backlog > 0 {
            text += &format!(", {} waiting", self.backlog);
        }
        text
    }

    /// True if this message is left undeleted: the middle one of each stretch.
    pub fn is_stuck(&self, number: u64) -> bool {
        self.stuck_every.is_some_and(|every| number % every == every / 2)
    }

    /// Index of the queue that a message goes to: batches take turns.
    pub fn queue_of(&self, number: u64) -> usize {
        (number / self.batch % self.queues) as usize
    }

    /// The connection that sends it.
    pub fn sender_of(&self, number: u64) -> u64 {
        number / self.batch % self.connections
    }

    /// The group of a message: one of those that its sender has for itself, so that the order in a group is known.
    pub fn group_of(&self, number: u64) -> u64 {
        let of_sender = self.groups / self.connections;
        let turn = number / (self.batch * self.connections) * self.batch + number % self.batch;
        self.sender_of(number) + turn % of_sender * self.connections
    }

    /// A message as it is sent.
    pub fn message(&self, number: u64) -> Outgoing {
        let dedup = || (self.dedup == Dedup::Id).then(|| format!("{number:016x}"));
        let group = self.fifo.then(|| (format!("group-{}", self.group_of(number)), dedup()));
        Outgoing { body: self.body(number), group }
    }

    /// The body of a message: its number, then text that follows from it.
    pub fn body(&self, number: u64) -> String {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut bytes = vec![0; (self.message_bytes - NUMBER_DIGITS).div_ceil(2) + content::BYTES_MIN];
        content::fill(&mut bytes, 0, number);
        let mut text = format!("{number:0width$}", width = NUMBER_DIGITS);
        for byte in &bytes[content::BYTES_MIN..] {
            text.push(char::from(HEX[usize::from(byte >> 4)]));
            text.push(char::from(HEX[usize::from(byte & 15)]));
        }
        text.truncate(self.message_bytes);
        text
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{Dedup, Load};

    #[test]
    fn a_group_has_one_sender_and_all_groups_are_used() {
        let load = Load {
            queue_urls: Vec::new(),
            queues: 3,
            messages: 10_000,
            backlog: 0,
            message_bytes: 16,
            batch: 10,
            connections: 4,
            fifo: true,
            groups: 100,
            dedup: Dedup::Id,
            stuck_every: None,
        };
        let mut senders = BTreeMap::new();
        for number in 0..load.messages {
            let sender = *senders.entry(load.group_of(number)).or_insert(load.sender_of(number));
            assert_eq!(sender, load.sender_of(number));
        }
        assert!(senders.keys().copied().eq(0..100));
    }
}
