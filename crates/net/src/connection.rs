//! One byte stream between a client and a frontend.

use std::future::Future as _;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

use crate::websocket::WebSocket;

/// A connection, whatever carries it. Reads and writes as any tokio stream does, vectored writes included.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    peer: SocketAddr,
    local: SocketAddr,
}

/// What carries the bytes, as operators are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// TCP and nothing above it.
    Tcp,
    /// The frames of a WebSocket.
    WebSocket,
}

/// What is known of the other end without reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// It may say more.
    There,
    /// It says no more; it may still listen.
    Silent,
    /// It has gone.
    Gone,
}

/// The carrier itself. TLS will be another arm. Boxed what few have, so that the many are not larger for it.
#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    WebSocket(Box<WebSocket>),
}

impl Connection {
    pub(crate) fn plain(stream: TcpStream, peer: SocketAddr) -> io::Result<Self> {
        let local = stream.local_addr()?;
        Ok(Self { stream: Stream::Plain(stream), peer, local })
    }

    /// The same connection with another carrier above the one that it has, which must be TCP as it is.
    pub(crate) fn over(self, wrap: impl FnOnce(TcpStream) -> WebSocket) -> io::Result<Self> {
        let Stream::Plain(stream) = self.stream else {
            return Err(io::Error::other("a WebSocket within a WebSocket"));
        };
        Ok(Self { stream: Stream::WebSocket(Box::new(wrap(stream))), ..self })
    }

    /// The client's address.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// The address that the client reached.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// What carries the bytes.
    #[must_use]
    pub fn carrier(&self) -> Carrier {
        match &self.stream {
            Stream::Plain(_) => Carrier::Tcp,
            Stream::WebSocket(_) => Carrier::WebSocket,
        }
    }
}

impl Connection {
    /// Looks at the other end, whatever of it is still to be read.
    pub(crate) fn look_at_peer(&self) -> Peer {
        let stream = match &self.stream {
            Stream::Plain(stream) => stream,
            Stream::WebSocket(stream) => stream.tcp(),
        };
        let mut waiting = Context::from_waker(Waker::noop());
        let ready = pin!(stream.ready(Interest::READABLE | Interest::WRITABLE)).poll(&mut waiting);
        match ready {
            Poll::Ready(Ok(ready)) if ready.is_write_closed() || ready.is_error() => Peer::Gone,
            Poll::Ready(Ok(ready)) if ready.is_read_closed() => Peer::Silent,
            Poll::Ready(Ok(_)) | Poll::Pending => Peer::There,
            Poll::Ready(Err(_)) => Peer::Gone,
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::WebSocket(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::WebSocket(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Stream::WebSocket(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::WebSocket(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::WebSocket(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::WebSocket(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
