//! Drives a session that is a plain state machine: bytes in, bytes out, nothing that waits.
//!
//! For protocols whose messages are small and many. One task polls one connection for reading and writing alike, so input
//! goes on while the peer does not take its output. Buffers belong to the thread, not to the connection: one that is
//! idle holds none; only a request that has not come whole and output that was not taken are kept, within the budget.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context as Waiting, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};
use tracing::debug;

use crate::connection::Peer;
use crate::limits::{TALK_END, TALK_FREE_BYTES, TALK_GOODBYE, TALK_LOOK, TALK_OUTPUT_BYTES, TALK_READ_BYTES};
use crate::{Budget, Connection, Context, OverBudget, Reservation};

thread_local! {
    /// What has just been read, on this thread.
    static READ: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    /// What is about to be written, on this thread.
    static WRITE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// What a session did with its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Input {
    /// Bytes that it is done with, from the front.
    pub used: usize,
    /// What it wants.
    pub next: Next,
}

/// What a session wants after an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// More bytes. A partial request may be left unused: it comes again with more behind it.
    More,
    /// None until [`Talk::poll_resume`] is ready.
    Wait,
    /// The same, for so long at most.
    Pause(Duration),
    /// None any more: what [`Talk::poll_output`] still has is written, then the connection is closed.
    End,
}

/// What a session did with the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It has grown.
    Sent,
    /// Write it, then close.
    End,
}

/// A session that turns bytes into bytes. One task owns it; nothing in it waits.
pub trait Talk: Send {
    /// Takes what has come: what it left the last time, and more behind it. A parser keeps its place in what it leaves, so that
    /// it parses nothing twice.
    fn input(&mut self, bytes: &[u8]) -> Input;

    /// Appends to `out` what is to be sent, until that is `room` bytes long or nothing is left. `Pending`, the waker registered, when there
    /// is nothing now. Called again when all is written. The place, too, for timers and futures of its own.
    fn poll_output(&mut self, waiting: &mut Waiting<'_>, out: &mut Vec<u8>, room: usize) -> Poll<Then>;

    /// After [`Next::Wait`] or [`Next::Pause`]: ready when it wants input again.
    fn poll_resume(&mut self, waiting: &mut Waiting<'_>) -> Poll<()>;

    /// Ready when the session is to end although the peer may take nothing: polled even while output is not taken.
    fn poll_cut(&mut self, waiting: &mut Waiting<'_>) -> Poll<()>;

    /// True while it has more to say that it waits for itself: an end of the input is then not the end.
    fn is_waiting(&self) -> bool {
        false
    }

    /// The server ends: say goodbye through `poll_output`, then [`Then::End`].
    fn shutdown(&mut self);

    /// The peer has taken nothing for the whole of the write timeout, or there is no memory for what it does not take: the
    /// connection ends. For counting and logging.
    fn overdue(&mut self);
}

/// What a session is held to.
#[derive(Clone, Copy, Debug)]
pub struct TalkOptions {
    /// Bytes of a request that has not come whole; with more the connection ends. The session refuses earlier, with a reason.
    pub carry_bytes_max: usize,
    /// How long the peer may take none of what waits to be written; `None` is for ever.
    pub write_timeout: Option<Duration>,
}

/// Serves `talk` on `connection` until either ends, or until the goodbye after `context.shutdown`.
pub async fn talk<T: Talk>(connection: Connection, context: &Context, options: TalkOptions, talk: T) {
    let peer = connection.peer();
    let talking = Talking {
        stream: connection,
        talk: Box::new(talk),
        options,
        budget: context.budget.clone(),
        state: State::Open,
        carry: Vec::new(),
        carry_room: Reservation::default(),
        carry_reserved: 0,
        reserving: None,
        unsent: Vec::new(),
        sent: 0,
        unsent_room: None,
        deadline: None,
        pause: None,
        look: None,
        silent_for: Duration::ZERO,
        shutdown: Some(Box::pin({
            let shutdown = context.shutdown.clone();
            async move { shutdown.begun().await }
        })),
    };
    if let Err(error) = talking.await {
        debug!(%peer, %error, "connection ended");
    }
}

/// Where the reading side is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Reads.
    Open,
    /// The session wants nothing now.
    Held,
    /// Nothing is read any more; the session has its say until it has nothing more.
    Ending,
    /// The session has had its say: what is unsent is written, then it is over.
    Said,
}

/// A reservation on its way.
type Reserving = Pin<Box<dyn Future<Output = Result<Reservation, OverBudget>> + Send>>;

struct Talking<T> {
    stream: Connection,
    talk: Box<T>,
    options: TalkOptions,
    budget: Budget,
    state: State,
    /// Of a request that has not come whole.
    carry: Vec<u8>,
    carry_room: Reservation,
    /// Bytes that `carry_room` is for.
    carry_reserved: usize,
    reserving: Option<Reserving>,
    /// Output that the peer has not taken, from `sent` on.
    unsent: Vec<u8>,
    sent: usize,
    unsent_room: Option<Reservation>,
    /// For what is unsent; or, once cut, for the goodbye.
    deadline: Option<Pin<Box<Sleep>>>,
    pause: Option<Pin<Box<Sleep>>>,
    /// For the next look at a peer that is not read from.
    look: Option<Pin<Box<Sleep>>>,
    /// When one that is not read from was first seen to say no more.
    silent_for: Duration,
    shutdown: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl<T: Talk> Future for Talking<T> {
    type Output = io::Result<()>;

    fn poll(self: Pin<&mut Self>, waiting: &mut Waiting<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.poll_ends(waiting);
        loop {
            let wrote = match this.poll_write(waiting) {
                Poll::Ready(Ok(Wrote::Over)) => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(Wrote::Some)) => true,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => false,
            };
            let read = match this.poll_read(waiting) {
                Poll::Ready(Ok(())) => true,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => false,
            };
            if !wrote && !read {
                return this.poll_deadline(waiting);
            }
        }
    }
}

/// What a turn of writing came to.
enum Wrote {
    Some,
    Over,
}

impl<T: Talk> Talking<T> {
    /// Sees to what ends the session from elsewhere.
    fn poll_ends(&mut self, waiting: &mut Waiting<'_>) {
        if let Some(shutdown) = &mut self.shutdown
            && shutdown.as_mut().poll(waiting).is_ready()
        {
            self.shutdown = None;
            self.talk.shutdown();
        }
        if matches!(self.state, State::Open | State::Held) && self.talk.poll_cut(waiting).is_ready() {
            self.state = State::Ending;
            self.deadline = Some(Box::pin(sleep(TALK_GOODBYE)));
        }
    }

    fn poll_deadline(&mut self, waiting: &mut Waiting<'_>) -> Poll<io::Result<()>> {
        let Some(deadline) = &mut self.deadline else { return Poll::Pending };
        ready!(deadline.as_mut().poll(waiting));
        if matches!(self.state, State::Open | State::Held) {
            self.talk.overdue();
        }
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Writes what is unsent, then what the session has. `Pending` when the peer takes no more, or there is nothing.
    fn poll_write(&mut self, waiting: &mut Waiting<'_>) -> Poll<io::Result<Wrote>> {
        while self.sent < self.unsent.len() {
            let taken = ready!(Pin::new(&mut self.stream).poll_write(waiting, &self.unsent[self.sent..]))?;
            if taken == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += taken;
            self.arm_write_deadline();
        }
        if !self.unsent.is_empty() {
            (self.unsent, self.sent, self.unsent_room) = (Vec::new(), 0, None);
            self.disarm_write_deadline();
        }
        if self.state == State::Said {
            return Pin::new(&mut self.stream).poll_shutdown(waiting).map_ok(|()| Wrote::Over);
        }
        let mut out = WRITE.take();
        out.clear();
        let said = self.talk.poll_output(waiting, &mut out, TALK_OUTPUT_BYTES);
        let wrote = self.write_or_keep(waiting, &out, said);
        WRITE.set(out);
        wrote
    }

    /// Writes `out` as far as the peer takes it and keeps the rest.
    fn write_or_keep(
        &mut self,
        waiting: &mut Waiting<'_>,
        out: &[u8],
        said: Poll<Then>,
    ) -> Poll<io::Result<Wrote>> {
        match said {
            Poll::Ready(Then::Sent) => {}
            Poll::Ready(Then::End) => {
                if matches!(self.state, State::Open | State::Held) {
                    self.end_input();
                }
                self.state = State::Said;
            }
            // With nothing more to say, an ending session has had its say.
            Poll::Pending if self.state == State::Ending && !self.talk.is_waiting() => {
                self.state = State::Said
            }
            Poll::Pending if out.is_empty() => return Poll::Pending,
            Poll::Pending => {}
        }
        let mut sent = 0;
        while sent < out.len() {
            match Pin::new(&mut self.stream).poll_write(waiting, &out[sent..]) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(taken)) => sent += taken,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.keep(&out[sent..])?;
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(Wrote::Some))
    }

    fn keep(&mut self, rest: &[u8]) -> io::Result<()> {
        if rest.len() > TALK_FREE_BYTES {
            // It waits for the peer, not for memory: without room for it the peer has had its time.
            let Ok(Some(room)) = self.budget.try_reserve(rest.len()) else {
                self.talk.overdue();
                return Err(io::ErrorKind::OutOfMemory.into());
            };
            self.unsent_room = Some(room);
        }
        self.unsent = rest.to_vec();
        self.sent = 0;
        self.arm_write_deadline();
        Ok(())
    }

    /// Anew: the peer has just taken something, or something has just begun to wait. Not over a goodbye's.
    fn arm_write_deadline(&mut self) {
        if matches!(self.state, State::Open | State::Held)
            && let Some(time) = self.options.write_timeout
        {
            self.deadline = Some(Box::pin(sleep(time)));
        }
    }

    fn disarm_write_deadline(&mut self) {
        if matches!(self.state, State::Open | State::Held) {
            self.deadline = None;
        }
    }

    /// Reads once and hands it to the session. `Pending` when nothing has come or the session wants nothing.
    fn poll_read(&mut self, waiting: &mut Waiting<'_>) -> Poll<io::Result<()>> {
        match self.state {
            State::Ending | State::Said => return Poll::Pending,
            State::Held => {
                if self.poll_held(waiting).is_pending() {
                    return self.poll_gone(waiting);
                }
                (self.look, self.silent_for) = (None, Duration::ZERO);
                self.state = State::Open;
                if !self.carry.is_empty() {
                    // The rest of what it left comes first.
                    return Poll::Ready(self.give_carry());
                }
            }
            State::Open => {}
        }
        ready!(self.poll_room(waiting))?;
        if self.carry.len() > TALK_READ_BYTES { self.read_large(waiting) } else { self.read_small(waiting) }
    }

    /// Reads behind a copy of what was left: for the many whose requests are small, which keep next to nothing.
    fn read_small(&mut self, waiting: &mut Waiting<'_>) -> Poll<io::Result<()>> {
        READ.with_borrow_mut(|scratch| {
            scratch.resize(2 * TALK_READ_BYTES, 0);
            let left = self.carry.len();
            let mut buffer = ReadBuf::new(&mut scratch[left..left + TALK_READ_BYTES]);
            ready!(Pin::new(&mut self.stream).poll_read(waiting, &mut buffer))?;
            let read = buffer.filled().len();
            if read == 0 {
                self.end_input();
                return Poll::Ready(Ok(()));
            }
            scratch[..left].copy_from_slice(&self.carry);
            let bytes = &scratch[..left + read];
            let input = self.talk.input(bytes);
            self.carry.clear();
            self.carry.extend_from_slice(&bytes[input.used.min(bytes.len())..]);
            Poll::Ready(self.follow(input.next))
        })
    }

    /// Reads into what was left: for a large request, which is not copied again with each read.
    fn read_large(&mut self, waiting: &mut Waiting<'_>) -> Poll<io::Result<()>> {
        let left = self.carry.len();
        self.carry.resize(left + TALK_READ_BYTES, 0);
        let mut buffer = ReadBuf::new(&mut self.carry[left..]);
        let polled = Pin::new(&mut self.stream).poll_read(waiting, &mut buffer);
        let read = buffer.filled().len();
        self.carry.truncate(left + read);
        ready!(polled)?;
        if read == 0 {
            self.end_input();
            return Poll::Ready(Ok(()));
        }
        Poll::Ready(self.give_carry())
    }

    fn poll_held(&mut self, waiting: &mut Waiting<'_>) -> Poll<()> {
        if self.talk.poll_resume(waiting).is_pending() {
            let Some(pause) = &mut self.pause else { return Poll::Pending };
            ready!(pause.as_mut().poll(waiting));
        }
        self.pause = None;
        Poll::Ready(())
    }

    /// A session that reads nothing would not notice that nobody is there any more: an error once that is so. One that has
    /// said all that it has to say may still wait for answers, as long as one that is cut off may.
    fn poll_gone(&mut self, waiting: &mut Waiting<'_>) -> Poll<io::Result<()>> {
        loop {
            let look = self.look.get_or_insert_with(|| Box::pin(sleep(TALK_LOOK)));
            ready!(look.as_mut().poll(waiting));
            self.look = None;
            let patience = self.options.write_timeout.unwrap_or(TALK_END);
            match self.stream.look_at_peer() {
                Peer::There => self.silent_for = Duration::ZERO,
                Peer::Silent => {
                    self.silent_for += TALK_LOOK;
                    if self.silent_for >= patience {
                        return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
                    }
                }
                Peer::Gone => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            }
        }
    }

    /// Room in the budget for a request that has not come whole and what may come of it next.
    fn poll_room(&mut self, waiting: &mut Waiting<'_>) -> Poll<io::Result<()>> {
        if self.carry.len() <= TALK_FREE_BYTES {
            if self.carry_reserved > 0 {
                (self.carry_room, self.carry_reserved) = (Reservation::default(), 0);
            }
            return Poll::Ready(Ok(()));
        }
        while self.carry_reserved < self.carry.len() + TALK_READ_BYTES {
            // Doubled, so that a large request reserves a few times and not at each read.
            let more = self.carry.len().max(TALK_READ_BYTES);
            let reserving = self.reserving.get_or_insert_with(|| {
                let budget = self.budget.clone();
                Box::pin(async move { budget.reserve(more).await })
            });
            let reserved = ready!(reserving.as_mut().poll(waiting)).map_err(io::Error::other);
            self.reserving = None;
            self.carry_room.merge(reserved?);
            self.carry_reserved += more;
        }
        Poll::Ready(Ok(()))
    }

    /// Hands what is kept to the session, and keeps what it leaves of it.
    fn give_carry(&mut self) -> io::Result<()> {
        let input = self.talk.input(&self.carry);
        self.carry.drain(..input.used.min(self.carry.len()));
        self.follow(input.next)
    }

    /// After an input.
    fn follow(&mut self, next: Next) -> io::Result<()> {
        if self.carry.len() > self.options.carry_bytes_max {
            return Err(io::Error::other("a request is larger than it may be"));
        }
        if self.carry.is_empty() && self.carry.capacity() > TALK_FREE_BYTES {
            self.carry = Vec::new();
        }
        match next {
            Next::More => {}
            Next::Wait => self.state = State::Held,
            Next::Pause(time) => {
                self.state = State::Held;
                self.pause = Some(Box::pin(sleep(time)));
            }
            Next::End => self.end_input(),
        }
        Ok(())
    }

    /// Nothing more is read; what is left to say is to be taken in time, or the connection would never end.
    fn end_input(&mut self) {
        self.state = State::Ending;
        self.deadline = Some(Box::pin(sleep(self.options.write_timeout.unwrap_or(TALK_END))));
    }
}

#[cfg(test)]
mod tests;
