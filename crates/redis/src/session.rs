//! [`RedisSession`]: one connection as a state machine, driven by `duolog_net::talk`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use duolog_broker::live::PACE;
use duolog_net::{Input, Next, Talk, Then};
use tracing::debug;

use crate::client::{Client, ClientLimits};
use crate::codec::Parser;
use crate::server::Server;

/// One connection.
pub struct RedisSession {
    parser: Parser,
    client: Client,
    /// The last input was left because of what waits to be sent.
    full: bool,
    /// The server ends.
    leaving: bool,
    /// Who is woken when another connection ends this one.
    waker: Option<std::task::Waker>,
}

impl RedisSession {
    /// A connection that has just begun.
    pub fn new(server: Arc<Server>, limits: ClientLimits, peer: SocketAddr, local: SocketAddr) -> Self {
        let parser = Parser::new(limits.bulk_bytes_max);
        let client = Client::new(server, limits, peer, local);
        Self { parser, client, full: false, leaving: false, waker: None }
    }

    /// Serves all whole requests, as far as there is room for the replies; how many bytes they are.
    fn serve(&mut self, bytes: &[u8]) -> usize {
        let mut used = 0;
        while !self.client.ending && !self.client.paused {
            if self.client.is_full() {
                self.full = true;
                break;
            }
            let rest = &bytes[used..];
            match self.parser.request(rest) {
                Ok(None) => break,
                Ok(Some(length)) => {
                    let args = self.parser.args(rest);
                    if !args.is_empty() {
                        self.client.serve(args);
                    }
                    self.parser.advance();
                    used += length;
                }
                Err(malformed) => {
                    debug!(peer = %self.client.entry.peer, ?malformed, "bytes that are no request");
                    self.client.answer(|reply| reply.error(malformed.text().as_bytes()));
                    self.client.ending = true;
                }
            }
        }
        used
    }
}

impl Talk for RedisSession {
    fn input(&mut self, bytes: &[u8]) -> Input {
        self.full = false;
        self.client.begin_input();
        let used = self.serve(bytes);
        self.client.end_input();
        let next = if self.client.ending {
            Next::End
        } else if self.client.is_capturing() {
            // For the disk, which is the moment for listeners, too: afterwards nothing would end one.
            self.client.paused = false;
            Next::Wait
        } else if self.client.paused {
            Next::Pause(PACE)
        } else if self.full {
            Next::Wait
        } else {
            Next::More
        };
        Input { used, next }
    }

    fn poll_output(&mut self, waiting: &mut Context<'_>, out: &mut Vec<u8>, room: usize) -> Poll<Then> {
        if self.client.poll_captured(waiting).is_pending() {
            return Poll::Pending;
        }
        loop {
            if self.client.is_cut() || self.client.entry.is_killed() {
                return Poll::Ready(Then::End);
            }
            self.client.outbox.fill(out, room);
            if out.len() >= room || self.client.ending || self.client.poll_take(waiting).is_pending() {
                break;
            }
        }
        match (out.is_empty(), self.client.ending) {
            (false, _) => Poll::Ready(Then::Sent),
            (true, true) => Poll::Ready(Then::End),
            (true, false) => Poll::Pending,
        }
    }

    fn poll_resume(&mut self, waiting: &mut Context<'_>) -> Poll<()> {
        if self.client.is_capturing() {
            // Polled with the output.
            return Poll::Pending;
        }
        if self.client.paused {
            return self.client.poll_pace(waiting);
        }
        if self.client.has_room() { Poll::Ready(()) } else { Poll::Pending }
    }

    fn poll_cut(&mut self, waiting: &mut Context<'_>) -> Poll<()> {
        if self.waker.as_ref().is_none_or(|waker| !waker.will_wake(waiting.waker())) {
            self.client.entry.register(waiting.waker());
            self.waker = Some(waiting.waker().clone());
        }
        // A client that reads nothing does not hold up the end.
        if self.leaving { Poll::Ready(()) } else { self.client.poll_cut(waiting) }
    }

    fn is_waiting(&self) -> bool {
        self.client.is_capturing()
    }

    fn shutdown(&mut self) {
        self.leaving = true;
        self.client.ending = true;
    }

    fn overdue(&mut self) {
        debug!(peer = %self.client.entry.peer, "the client does not take what it is sent");
    }
}
