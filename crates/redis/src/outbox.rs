//! [`Outbox`]: what is about to be sent to one client, replies and messages in the order in which they came about.
//!
//! What waits for long waits in the broker's listener, within the bounds that it is held to, replies included. Here is only what
//! is next: a piece of that, and replies with nothing before them.

use std::collections::VecDeque;

use duolog_broker::live::{Run, Waiting};
use duolog_net::{Budget, Reservation};

use crate::codec::{PushKind, push_head, push_payload};
use crate::limits::{REPLIES_FREE_BYTES, REPLIES_KEPT_BYTES};
use crate::subject::{CHANNEL, PATTERN, SHARD_PREFIX};

/// Replies are bytes already; messages stay in the buffers that all their listeners share until there is room to write them.
#[derive(Default)]
pub struct Outbox {
    /// Replies before everything else.
    first: Vec<u8>,
    first_at: usize,
    pieces: VecDeque<Waiting>,
    /// Message of the first piece that is next, or byte.
    at: usize,
    /// Bytes of replies in `pieces` that did not come from the listener.
    own_bytes: usize,
    /// The form of messages.
    resp3: bool,
    /// When the form changes, counted in bytes of replies.
    switches: VecDeque<(u64, bool)>,
    /// Bytes of all replies that were ever put, and of those that are written.
    replied: u64,
    written: u64,
    /// What stands before the payload of every message of the first piece.
    head: Vec<u8>,
    /// Room in the memory budget for the replies that wait, and its bytes.
    room: Reservation,
    room_bytes: usize,
}

/// No memory is free for replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom;

impl Outbox {
    /// Bytes of replies that wait here.
    pub fn reply_bytes(&self) -> usize {
        self.first.len() - self.first_at + self.own_bytes
    }

    /// Takes back all that has not been sent, and says this in its place.
    pub fn withdraw(&mut self, text: Vec<u8>) {
        *self = Self { resp3: self.resp3, ..Self::default() };
        self.reply(|out| {
            out.push(b'-');
            out.extend_from_slice(&text);
            out.extend_from_slice(b"\r\n");
        });
    }

    /// Where the listener puts what is next.
    pub fn pieces(&mut self) -> &mut VecDeque<Waiting> {
        &mut self.pieces
    }

    /// Lets `write` append a reply behind all that is here.
    pub fn reply(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let (into, counted) = match self.pieces.back_mut() {
            None => (&mut self.first, false),
            Some(Waiting::Own(bytes)) => (bytes, true),
            Some(Waiting::Run(_)) => {
                self.pieces.push_back(Waiting::Own(Vec::new()));
                let Some(Waiting::Own(bytes)) = self.pieces.back_mut() else { return };
                (bytes, true)
            }
        };
        let before = into.len();
        write(into);
        let grown = into.len() - before;
        if counted {
            self.own_bytes += grown;
        }
        self.replied += grown as u64;
    }

    /// Takes room for the replies that wait here, if they are large.
    ///
    /// # Errors
    /// If there is none: what waits is let go.
    pub fn reserve(&mut self, budget: &Budget) -> Result<(), NoRoom> {
        let bytes = self.reply_bytes();
        if bytes <= REPLIES_FREE_BYTES || bytes <= self.room_bytes {
            return Ok(());
        }
        match budget.try_reserve(bytes - self.room_bytes) {
            Ok(Some(room)) => {
                self.room.merge(room);
                self.room_bytes = bytes;
                Ok(())
            }
            Ok(None) | Err(_) => {
                *self = Self::default();
                Err(NoRoom)
            }
        }
    }

    /// Counts a reply that waits in the listener.
    pub fn said(&mut self, bytes: usize) {
        self.replied += bytes as u64;
    }

    /// Messages behind the replies that were put until now are written in this form.
    pub fn switch(&mut self, resp3: bool) {
        self.switches.push_back((self.replied, resp3));
    }

    /// Appends to `out` until it is `room` bytes long or nothing is here.
    pub fn fill(&mut self, out: &mut Vec<u8>, room: usize) {
        if !self.first.is_empty() {
            self.fill_first(out, room);
        }
        if self.room_bytes > 0 && self.reply_bytes() == 0 {
            (self.room, self.room_bytes) = (Reservation::default(), 0);
        }
        while out.len() < room {
            match self.pieces.pop_front() {
                None => return,
                Some(Waiting::Own(bytes)) => self.fill_own(bytes, out, room),
                Some(Waiting::Run(run)) => self.fill_run(run, out, room),
            }
        }
    }

    fn fill_first(&mut self, out: &mut Vec<u8>, room: usize) {
        let end = self.first.len().min(self.first_at + room.saturating_sub(out.len()));
        out.extend_from_slice(&self.first[self.first_at..end]);
        self.written += (end - self.first_at) as u64;
        self.first_at = end;
        if end == self.first.len() {
            self.first_at = 0;
            self.first.clear();
            if self.first.capacity() > REPLIES_KEPT_BYTES {
                self.first = Vec::new();
            }
        }
    }

    fn fill_own(&mut self, bytes: Vec<u8>, out: &mut Vec<u8>, room: usize) {
        let end = bytes.len().min(self.at + (room - out.len()));
        out.extend_from_slice(&bytes[self.at..end]);
        self.written += (end - self.at) as u64;
        // Those of the listener were not counted, and are not here when others are added.
        self.own_bytes = self.own_bytes.saturating_sub(end - self.at);
        self.at = end;
        if end == bytes.len() {
            self.at = 0;
            if self.pieces.is_empty() {
                self.own_bytes = 0;
            }
        } else {
            self.pieces.push_front(Waiting::Own(bytes));
        }
    }

    fn fill_run(&mut self, run: Run, out: &mut Vec<u8>, room: usize) {
        while let Some((_, resp3)) = self.switches.front().filter(|(at, _)| *at <= self.written) {
            self.resp3 = *resp3;
            self.switches.pop_front();
        }
        let (tag, length) = (run.subscription().tag(), run.len());
        let mut last: &[u8] = &[];
        self.head.clear();
        while self.at < length && out.len() < room {
            let message = run.get(self.at);
            if self.head.is_empty() || message.subject != last {
                last = message.subject;
                self.head.clear();
                let (kind, channel) = match tag.kind {
                    CHANNEL => (PushKind::Channel, last),
                    PATTERN => (PushKind::Pattern(&tag.text), last),
                    _ => (PushKind::Shard, last.strip_prefix(SHARD_PREFIX).unwrap_or(last)),
                };
                push_head(&mut self.head, self.resp3, kind, channel);
            }
            out.extend_from_slice(&self.head);
            push_payload(out, message.payload);
            self.at += 1;
        }
        if self.at == length {
            self.at = 0;
        } else {
            self.pieces.push_front(Waiting::Run(run));
        }
    }
}
