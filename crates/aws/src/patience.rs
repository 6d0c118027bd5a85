//! A stream that gives up on a client that does not go on: no request for too long, a head that drips, an answer that
//! is not taken.
//!
//! While a request is being worked on (`Phase::begin` to `Phase::end`) reads have no deadline: a long poll waits, and
//! the end of the stream is still noticed. A request's body has a deadline of its own where it is read.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

const IDLE: u8 = 0;
const HEAD: u8 = 1;
const BUSY: u8 = 2;

/// What the connection is doing, told by whoever serves its requests.
#[derive(Clone, Debug, Default)]
pub(crate) struct Phase(Arc<AtomicU8>);

impl Phase {
    /// A request's head has been read.
    pub fn begin(&self) {
        self.0.store(BUSY, Ordering::Relaxed);
    }

    /// The request is answered.
    pub fn end(&self) {
        self.0.store(IDLE, Ordering::Relaxed);
    }

    fn get(&self) -> u8 {
        self.0.load(Ordering::Relaxed)
    }

    fn head_begins(&self) {
        // Only from idle: bytes of a body or of a request behind it are nobody's head yet.
        let _ = self.0.compare_exchange(IDLE, HEAD, Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// How long a client may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// Between two requests.
    pub idle: Duration,
    /// For a head once begun, and for taking the next piece of an answer.
    pub request: Duration,
}

/// The stream.
#[derive(Debug)]
pub(crate) struct Patient<S> {
    stream: S,
    phase: Phase,
    patience: Patience,
    /// The phase that the read deadline was set in.
    armed: u8,
    read_deadline: Pin<Box<Sleep>>,
    write_deadline: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    /// Wraps a stream.
    pub fn new(stream: S, phase: Phase, patience: Patience) -> Self {
        let read_deadline = Box::pin(sleep(patience.idle));
        Self { stream, phase, patience, armed: IDLE, read_deadline, write_deadline: None }
    }

    /// Ready with an error if the next bytes are overdue.
    fn poll_read_deadline(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let phase = self.phase.get();
        if phase != self.armed {
            self.armed = phase;
            let time = if phase == IDLE { self.patience.idle } else { self.patience.request };
            self.read_deadline.set(sleep(time));
        }
        if phase == BUSY {
            return Poll::Pending;
        }
        self.read_deadline.as_mut().poll(cx).map(|()| io::ErrorKind::TimedOut.into())
    }

    /// Passes progress on, and gives up when there is none for too long.
    fn with_write_deadline<T>(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.write_deadline = None;
            return polled;
        }
        let time = self.patience.request;
        let deadline = self.write_deadline.get_or_insert_with(|| Box::pin(sleep(time)));
        deadline.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        match Pin::new(&mut self.stream).poll_read(cx, buf) {
            Poll::Ready(result) => {
                if buf.filled().len() > before {
                    self.phase.head_begins();
                }
                Poll::Ready(result)
            }
            Poll::Pending => self.poll_read_deadline(cx).map(Err),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.with_write_deadline(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.with_write_deadline(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        self.with_write_deadline(cx, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.with_write_deadline(cx, polled)
    }
}
