//! Direct reply-to: answers that go straight to the connection that asked, and are not stored.
//!
//! A channel that consumes from `amq.rabbitmq.reply-to` has an address of its own, which is put into what it publishes. What is
//! published to that address waits in the mailbox of its connection. Nobody waits for one who reads slowly: what does not fit
//! is dropped, as is what comes when the channel has gone.
//! Source: RabbitMQ documentation, "Direct Reply-to".

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::task::{Context, Waker};

use bytes::Bytes;
use duolog_net::{Budget, Reservation};
use parking_lot::Mutex;

use crate::convert::apart;
use crate::limits::{REPLIES, REPLY_BYTES};

/// What a client consumes from, and puts into `reply-to`.
pub(crate) const REPLY_TO: &str = "amq.rabbitmq.reply-to";
/// What all addresses begin with.
pub(crate) const ADDRESSES: &str = "amq.rabbitmq.reply-to.";

/// An answer on its way.
pub(crate) struct Reply {
    /// The channel that asked.
    pub(crate) channel: u16,
    /// Which of those with its number.
    pub(crate) serial: u64,
    pub(crate) exchange: Bytes,
    pub(crate) key: Bytes,
    /// Encoded.
    pub(crate) properties: Bytes,
    pub(crate) body: Bytes,
    _room: Reservation,
}

#[derive(Default)]
struct Inside {
    replies: VecDeque<Reply>,
    bytes: usize,
    waker: Option<Waker>,
}

/// What waits for a connection.
#[derive(Default)]
pub(crate) struct Mailbox {
    inside: Mutex<Inside>,
}

impl Mailbox {
    /// Takes the first; `None` if there is none, the waker kept.
    pub(crate) fn take(&self, waiting: &mut Context<'_>) -> Option<Reply> {
        let mut inside = self.inside.lock();
        let reply = inside.replies.pop_front();
        match &reply {
            Some(reply) => inside.bytes -= bytes_of(&reply.properties, &reply.body),
            None => inside.waker = Some(waiting.waker().clone()),
        }
        reply
    }

    /// False if there is no room.
    fn put(&self, reply: Reply) -> bool {
        let bytes = bytes_of(&reply.properties, &reply.body);
        let mut inside = self.inside.lock();
        if inside.replies.len() >= REPLIES || inside.bytes.saturating_add(bytes) > REPLY_BYTES {
            return false;
        }
        inside.bytes += bytes;
        inside.replies.push_back(reply);
        let waker = inside.waker.take();
        drop(inside);
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }
}

fn bytes_of(properties: &Bytes, body: &Bytes) -> usize {
    properties.len() + body.len()
}

/// Where an answer is to go.
#[derive(Clone)]
struct Address {
    mailbox: Arc<Mailbox>,
    channel: u16,
    serial: u64,
}

/// Who can be answered, by address.
#[derive(Default)]
pub(crate) struct Addresses {
    known: Mutex<HashMap<Box<[u8]>, Address>>,
}

impl Addresses {
    pub(crate) fn enter(&self, address: &str, mailbox: &Arc<Mailbox>, (channel, serial): (u16, u64)) {
        let it = Address { mailbox: Arc::clone(mailbox), channel, serial };
        self.known.lock().insert(address.as_bytes().into(), it);
    }

    pub(crate) fn leave(&self, address: &str) {
        self.known.lock().remove(address.as_bytes());
    }

    pub(crate) fn is_known(&self, address: &[u8]) -> bool {
        self.known.lock().contains_key(address)
    }

    /// Puts an answer into the mailbox of the address `to`, if somebody is there and has room. The answer says that it came by `key`.
    pub(crate) fn post(
        &self,
        to: &[u8],
        (exchange, key): (&Bytes, &Bytes),
        (properties, body): (&Bytes, &Bytes),
        budget: &Budget,
    ) {
        let Some(Address { mailbox, channel, serial }) = self.known.lock().get(to).cloned() else { return };
        let Ok(Some(room)) = budget.try_reserve(bytes_of(properties, body)) else { return };
        let [exchange, key, properties, body] = [exchange, key, properties, body].map(apart);
        if !mailbox.put(Reply { channel, serial, exchange, key, properties, body, _room: room }) {
            tracing::debug!("reply to a client that does not read is dropped");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn one_who_does_not_read_misses_what_does_not_fit() {
        let (addresses, mailbox, budget) = (Addresses::default(), Arc::default(), Budget::new(64 << 20));
        addresses.enter("a", &mailbox, (1, 7));
        let (key, body) = (Bytes::from_static(b"a"), Bytes::from(vec![0; REPLY_BYTES / 3]));
        let none = Bytes::new();
        let post = |to: &[u8]| addresses.post(to, (&none, &key), (&none, &body), &budget);
        post(b"nobody");
        for _ in 0..5 {
            post(b"a");
        }
        let mut waiting = Context::from_waker(Waker::noop());
        let got = std::iter::from_fn(|| mailbox.take(&mut waiting)).map(|it| it.serial).collect::<Vec<_>>();
        assert_eq!(got, [7, 7, 7]);
        assert_eq!(budget.used_bytes(), 0);
        post(b"a");
        addresses.leave("a");
        post(b"a");
        assert!(mailbox.take(&mut waiting).is_some() && mailbox.take(&mut waiting).is_none());
    }
}
