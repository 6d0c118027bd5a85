//! A stream of requests and answers that gives up on a client that does not go on: no request for too long, a head that drips, an answer that
//! is not taken, or too slowly.
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

use crate::limits::ANSWER_PROGRESS_BYTES;

const IDLE: u8 = 0;
const HEAD: u8 = 1;
const BUSY: u8 = 2;

/// What the connection is doing, told by whoever serves its requests.
#[derive(Clone, Debug, Default)]
pub struct Phase(Arc<AtomicU8>);

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
pub struct Patience {
    /// Between two requests.
    pub idle: Duration,
    /// For a head once begun, and for taking the next `ANSWER_PROGRESS_BYTES` of an answer or the rest of it.
    pub request: Duration,
}

/// A stream under a `Patience`.
#[derive(Debug)]
pub struct Patient<S> {
    stream: S,
    phase: Phase,
    patience: Patience,
    /// The phase that the read deadline was set in.
    armed: u8,
    read_deadline: Pin<Box<Sleep>>,
    write_deadline: Option<Pin<Box<Sleep>>>,
    /// Bytes written since it was set.
    progress: usize,
}

impl<S> Patient<S> {
    /// Wraps a stream.
    #[must_use]
    pub fn new(stream: S, phase: Phase, patience: Patience) -> Self {
        let read_deadline = Box::pin(sleep(patience.idle));
        Self { stream, phase, patience, armed: IDLE, read_deadline, write_deadline: None, progress: 0 }
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

    /// Passes progress on, and gives up when there is too little for too long.
    fn with_write_deadline(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match polled {
            Poll::Ready(Ok(written)) => {
                self.progress += written;
                if self.progress >= ANSWER_PROGRESS_BYTES {
                    self.write_deadline = None;
                }
                polled
            }
            Poll::Ready(Err(_)) => polled,
            Poll::Pending => self.poll_write_deadline(cx).map(Err),
        }
    }

    /// The same for what writes nothing: once it is through, all has been taken.
    fn with_end_deadline(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<()>>,
    ) -> Poll<io::Result<()>> {
        if polled.is_ready() {
            self.write_deadline = None;
            return polled;
        }
        self.poll_write_deadline(cx).map(Err)
    }

    fn poll_write_deadline(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        if self.write_deadline.is_none() {
            self.progress = 0;
        }
        let time = self.patience.request;
        let deadline = self.write_deadline.get_or_insert_with(|| Box::pin(sleep(time)));
        deadline.as_mut().poll(cx).map(|()| io::ErrorKind::TimedOut.into())
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
        self.with_end_deadline(cx, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.with_end_deadline(cx, polled)
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::sleep;

    use super::{Patience, Patient, Phase};

    const PATIENCE: Patience = Patience { idle: Duration::from_secs(60), request: Duration::from_millis(50) };

    #[tokio::test]
    async fn one_who_reads_a_byte_now_and_then_is_given_up() {
        let (to, mut from) = tokio::io::duplex(1);
        let mut to = Patient::new(to, Phase::default(), PATIENCE);
        let dripping = tokio::spawn(async move {
            while from.read_u8().await.is_ok() {
                sleep(Duration::from_millis(1)).await;
            }
        });
        let error = to.write_all(&[7; 20_000]).await.err();
        assert_eq!(error.map(|error| error.kind()), Some(ErrorKind::TimedOut));
        dripping.abort();
    }

    #[tokio::test]
    async fn the_time_between_two_answers_is_nobodys() {
        let (to, mut from) = tokio::io::duplex(1);
        let mut to = Patient::new(to, Phase::default(), PATIENCE);
        let reading = tokio::spawn(async move {
            let mut all = Vec::new();
            from.read_to_end(&mut all).await.map(|_| all.len())
        });
        for _ in 0..2 {
            assert!(to.write_all(b"some").await.is_ok());
            assert!(to.flush().await.is_ok());
            sleep(2 * PATIENCE.request).await;
        }
        drop(to);
        assert!(matches!(reading.await, Ok(Ok(8))));
    }
}
