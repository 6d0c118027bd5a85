//! One request off the wire, one response onto it.
//!
//! Invariant: the bytes of a request are reserved before they are allocated, and beyond `limits::TRUSTED_BYTES` only in
//! step with what has come, so that announcing much costs the sender as much as the broker.

use std::io::{self, IoSlice};
use std::pin::pin;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use duolog_net::limits::ANSWER_PROGRESS_BYTES;
use duolog_net::{Context, OverBudget, Reservation};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::time::{sleep, timeout};

use crate::codec::Frame;
use crate::limits;

/// Why no request was read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// The client has closed, between requests.
    #[error("closed by the client")]
    Closed,
    /// No request for longer than is allowed.
    #[error("idle for {0:?}")]
    Idle(Duration),
    /// A request was begun and not finished in time.
    #[error("the request was not complete within {0:?}")]
    Slow(Duration),
    /// The size cannot be one.
    #[error("a request of {size} bytes is not possible; the limit is {bytes_max}")]
    Size {
        /// As announced.
        size: i32,
        /// The limit.
        bytes_max: usize,
    },
    /// A web client.
    #[error("this is HTTP, and the port speaks the Kafka protocol")]
    Http,
    /// A client that wants TLS.
    #[error("this is a TLS handshake, and the listener is plain")]
    Tls,
    /// More than all memory for buffers.
    #[error(transparent)]
    OverBudget(#[from] OverBudget),
    /// The socket's word.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The next request without its size, and the memory it holds.
///
/// # Errors
/// See [`ReadError`]; after any of them the stream is of no more use.
pub(crate) async fn read<R: AsyncRead + Unpin>(
    from: &mut BufReader<R>,
    context: &Context,
) -> Result<(Bytes, Reservation), ReadError> {
    let idle = context.limits.idle_timeout;
    let ready = timeout(idle, from.fill_buf()).await.map_err(|_| ReadError::Idle(idle))??;
    if ready.is_empty() {
        return Err(ReadError::Closed);
    }
    let slow = context.limits.request_timeout;
    timeout(slow, read_begun(from, context)).await.map_err(|_| ReadError::Slow(slow))?
}

async fn read_begun<R: AsyncRead + Unpin>(
    from: &mut BufReader<R>,
    context: &Context,
) -> Result<(Bytes, Reservation), ReadError> {
    let size = from.read_i32().await?;
    let bytes_max = context.limits.request_bytes_max;
    let total = usize::try_from(size)
        .ok()
        .filter(|total| *total <= bytes_max)
        .ok_or_else(|| foreign(size).unwrap_or(ReadError::Size { size, bytes_max }))?;
    let mut reserved = Reservation::default();
    let mut buf = BytesMut::new();
    while buf.len() < total {
        let step = (total - buf.len()).min(buf.len().max(limits::TRUSTED_BYTES));
        reserved.merge(context.budget.reserve(step).await?);
        buf.reserve(step);
        let until = buf.len() + step;
        while buf.len() < until {
            let room = until - buf.len();
            if from.read_buf(&mut (&mut buf).limit(room)).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
    }
    Ok((buf.freeze(), reserved))
}

/// What the first four bytes of other protocols look like.
fn foreign(size: i32) -> Option<ReadError> {
    match &size.to_be_bytes() {
        b"GET " | b"POST" | b"PUT " | b"HEAD" | b"OPTI" | b"DELE" | b"CONN" | b"PRI " => {
            Some(ReadError::Http)
        }
        [0x16, 0x03, ..] => Some(ReadError::Tls),
        _ => None,
    }
}

/// Writes a response, its bodies from where they lie. Less progress within `stalled` than `ANSWER_PROGRESS_BYTES` is an
/// error, unless it is the end.
///
/// # Errors
/// The socket's, or `TimedOut`.
pub(crate) async fn write<W: AsyncWrite + Unpin>(
    to: &mut W,
    frame: Frame,
    stalled: Duration,
) -> io::Result<()> {
    let mut parts = frame.parts;
    let mut next = 0;
    let mut progress = 0;
    let mut overdue = pin!(sleep(stalled));
    while next < parts.len() {
        let mut slices = [IoSlice::new(&[]); limits::WRITE_PARTS];
        let rest = &parts[next..];
        let count = rest.len().min(slices.len());
        for (slice, part) in slices.iter_mut().zip(rest) {
            *slice = IoSlice::new(part);
        }
        let written = tokio::select! {
            biased;
            written = to.write_vectored(&slices[..count]) => written?,
            () = &mut overdue => return Err(io::ErrorKind::TimedOut.into()),
        };
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        progress += written;
        if progress >= ANSWER_PROGRESS_BYTES {
            progress = 0;
            overdue.set(sleep(stalled));
        }
        let mut left = written;
        while left > 0 {
            let step = left.min(parts[next].len());
            parts[next].advance(step);
            left -= step;
            if parts[next].is_empty() {
                // Frees what was sent while the rest is still on its way.
                parts[next] = Bytes::new();
                next += 1;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::time::Duration;

    use bytes::Bytes;
    use tokio::io::AsyncReadExt;
    use tokio::time::sleep;

    use super::write;
    use crate::codec::Frame;

    fn frame() -> Frame {
        Frame { parts: vec![Bytes::from(vec![7; 20_000])], bytes: 20_000 }
    }

    #[tokio::test]
    async fn one_who_reads_a_byte_now_and_then_is_given_up() {
        let (mut to, mut from) = tokio::io::duplex(1);
        let dripping = tokio::spawn(async move {
            while from.read_u8().await.is_ok() {
                sleep(Duration::from_millis(1)).await;
            }
        });
        let error = write(&mut to, frame(), Duration::from_millis(50)).await.err();
        assert_eq!(error.map(|error| error.kind()), Some(ErrorKind::TimedOut));
        dripping.abort();
    }

    #[tokio::test]
    async fn one_who_reads_gets_all() {
        let (mut to, mut from) = tokio::io::duplex(100);
        let reading = tokio::spawn(async move {
            let mut all = Vec::new();
            from.read_to_end(&mut all).await.map(|_| all.len())
        });
        assert!(write(&mut to, frame(), Duration::from_secs(30)).await.is_ok());
        drop(to);
        assert!(matches!(reading.await, Ok(Ok(20_000))));
    }
}
