//! What a session writes, and when.

use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use duolog_broker::live::Waiting;
use duolog_net::Then;

use super::NatsSession;
use super::pinger::Due;
use crate::ClientError;
use crate::codec::{message, message_bytes};
use crate::registry::{Traffic, sid_and_blanks};

/// Counted and not yet shown to others.
#[derive(Debug, Default)]
pub(super) struct Counted {
    messages: u64,
    bytes: u64,
}

impl Counted {
    pub(super) fn count(&mut self, bytes: usize) {
        self.messages += 1;
        self.bytes += bytes as u64;
    }

    pub(super) fn add_to(&mut self, traffic: &Traffic) {
        if self.messages > 0 {
            traffic.messages.fetch_add(std::mem::take(&mut self.messages), Ordering::Relaxed);
            traffic.bytes.fetch_add(std::mem::take(&mut self.bytes), Ordering::Relaxed);
        }
    }
}

impl NatsSession {
    pub(super) fn poll_timers(&mut self, waiting: &mut Context<'_>) {
        if let Some(lame_duck) = &mut self.lame_duck
            && lame_duck.as_mut().poll(waiting).is_ready()
        {
            self.lame_duck = None;
            self.ending.get_or_insert_default();
        }
        while self.ending.is_none()
            && let Poll::Ready(due) = self.pinger.poll(waiting)
        {
            match due {
                Due::Nothing => {}
                Due::Ping => {
                    self.pinger.pinged(self.registry.broker().clock().now().monotonic);
                    self.say(b"PING\r\n");
                    self.hand_replies();
                }
                Due::Stale => {
                    self.registry.counts.stale_connections.fetch_add(1, Ordering::Relaxed);
                    self.end_with(&ClientError::StaleConnection);
                }
            }
        }
    }

    /// Writes what waits, then the last words if it ends.
    pub(super) fn poll_write(
        &mut self,
        waiting: &mut Context<'_>,
        out: &mut Vec<u8>,
        room: usize,
    ) -> Poll<Then> {
        // Of before there was a listener: of before anything else.
        out.append(&mut self.replies);
        loop {
            while !self.waiting.is_empty() {
                if out.len() >= room {
                    return Poll::Ready(Then::Sent);
                }
                self.write_first(out, room);
            }
            let Some(listener) = &self.listener else { break };
            match listener.poll_take(waiting, &mut self.waiting) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(cut)) => {
                    self.cut(cut);
                    break;
                }
                Poll::Pending => break,
            }
        }
        if let Some(last) = &mut self.ending {
            out.append(last);
            return Poll::Ready(Then::End);
        }
        Poll::Pending
    }

    /// Writes of the first that waits as much as there is room for.
    fn write_first(&mut self, out: &mut Vec<u8>, room: usize) {
        match self.waiting.front() {
            Some(Waiting::Run(run)) => {
                let subscription = run.subscription();
                let sid = sid_and_blanks(subscription);
                while self.written < run.len() {
                    if out.len() >= room {
                        return;
                    }
                    let heard = run.get(self.written);
                    message(out, sid, &heard, self.connect.headers);
                    self.sent.count(message_bytes(&heard));
                    self.written += 1;
                }
                if subscription.is_over() {
                    self.client.forget(subscription);
                }
            }
            Some(Waiting::Own(text)) => out.extend_from_slice(text),
            None => {}
        }
        self.written = 0;
        self.waiting.pop_front();
    }
}
