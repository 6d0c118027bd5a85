//! A channel: its consumers, what it has delivered and not heard of, what it is about to publish.

use std::collections::{BTreeMap, HashMap};

use duolog_broker::{LeaseId, Monotonic, Outcome};

use super::AmqpSession;
use super::publish::Publishing;
use super::replies::Replies;
use super::transactions::Transaction;
use crate::codec::ShortString;

/// A delivery that is not acknowledged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unacknowledged {
    /// `None` of a stream, which is read and not leased.
    pub(super) lease: Option<LeaseId>,
    /// The consumer; `None` of a `basic.get`.
    pub(super) consumer: Option<u64>,
    pub(super) since: Monotonic,
}

/// See the module.
pub(super) struct Channel {
    pub(super) number: u16,
    /// Another for each channel of the same number.
    pub(super) serial: u64,
    /// The server has closed it and waits for the client to know.
    pub(super) is_closing: bool,
    /// A message of which not all has come.
    pub(super) publishing: Option<Publishing>,
    /// The number of the next message to confirm, if they are.
    pub(super) confirming: Option<u64>,
    /// What waits for `tx.commit`, if something does.
    pub(super) transaction: Option<Box<Transaction>>,
    /// It can be answered directly.
    pub(super) replies: Option<Replies>,
    /// The number of the next delivery.
    pub(super) next_delivery: u64,
    pub(super) unacknowledged: BTreeMap<u64, Unacknowledged>,
    /// Of these, how many came to consumers.
    pub(super) consumed: u32,
    pub(super) consumers: HashMap<ShortString, u64>,
    /// For consumers that come; 0 is no limit.
    pub(super) prefetch: u16,
    /// For all consumers together; 0 is no limit.
    pub(super) prefetch_all: u16,
    /// Leased for its consumers and not delivered yet.
    pub(super) buffered: u32,
    pub(super) last_queue: Option<String>,
}

impl Channel {
    pub(super) fn new(number: u16, serial: u64) -> Self {
        Self {
            number,
            serial,
            is_closing: false,
            publishing: None,
            confirming: None,
            transaction: None,
            replies: None,
            next_delivery: 1,
            unacknowledged: BTreeMap::new(),
            consumed: 0,
            consumers: HashMap::new(),
            prefetch: 0,
            prefetch_all: 0,
            buffered: 0,
            last_queue: None,
        }
    }

    /// The number of a delivery, which is remembered if it is to be acknowledged.
    pub(super) fn deliver(&mut self, unacknowledged: Option<Unacknowledged>) -> u64 {
        let tag = self.next_delivery;
        self.next_delivery += 1;
        if let Some(it) = unacknowledged {
            self.consumed += u32::from(it.consumer.is_some());
            self.unacknowledged.insert(tag, it);
        }
        tag
    }

    pub(super) fn oldest_unacknowledged(&self) -> Option<Monotonic> {
        let first = self.unacknowledged.first_key_value().map(|(_, it)| it.since);
        // What a transaction has acknowledged it still holds.
        let held = self.transaction.iter().flat_map(|it| it.settled()).map(|it| it.since);
        held.chain(first).min()
    }

    /// So many more may be leased for all consumers together.
    pub(super) fn credit(&self) -> u32 {
        match self.prefetch_all {
            0 => u32::MAX,
            most => u32::from(most).saturating_sub(self.consumed.saturating_add(self.buffered)),
        }
    }
}

impl AmqpSession {
    /// Ends what a channel does; it stays until the client knows.
    pub(super) fn leave_channel(&mut self, number: u16) {
        self.leave_replies(number);
        let Some(channel) = self.channels.get_mut(&number) else { return };
        channel.publishing = None;
        let mut held = std::mem::take(&mut channel.unacknowledged);
        if let Some(mut transaction) = channel.transaction.take() {
            held.extend(transaction.take_settled().into_iter().map(|(tag, (it, _))| (tag, it)));
        }
        let consumers: Vec<u64> = channel.consumers.drain().map(|(_, serial)| serial).collect();
        // First, so that what it held is not leased for it once more.
        consumers.into_iter().for_each(|serial| self.remove_consumer(serial));
        for it in held.into_values() {
            self.settle(&it, Outcome::Release { after_ms: 0 });
        }
        self.flush_settles();
    }
}
