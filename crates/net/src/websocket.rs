//! A byte stream inside the frames of a WebSocket: for browsers, and for networks that let only HTTP through.
//!
//! [`OverWebSocket`] makes a frontend's listener one for WebSockets: it answers the request that asks for one and gives the frontend
//! a [`Connection`](crate::Connection) as any other. What the frontend writes goes out as binary frames, cut as it was written; pings are
//! answered and closing is said here. No extension is agreed on, so nothing is compressed. Source: RFC 6455.

mod frames;
mod frontend;
mod origin;
mod upgrade;

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

pub use frames::{Decoder, Ended, Violation};
pub use frontend::OverWebSocket;
pub use origin::OriginRule;

use crate::Shutdown;
use crate::limits::FRAME_BYTES_MAX;

/// The server's end of a WebSocket, as the bytes in it.
#[derive(Debug)]
pub(crate) struct WebSocket {
    stream: TcpStream,
    decoder: Decoder,
    /// To be written next, from `head_sent` on: the header of a data frame, or whole control frames.
    head: Vec<u8>,
    head_sent: usize,
    /// Bytes that the data frame that has begun is still to carry, behind `head`. Until then no control frame can go.
    frame_left: usize,
    is_close_said: bool,
    /// The peer has ended its stream, without a close frame.
    is_read_out: bool,
    shutdown: Shutdown,
}

impl WebSocket {
    /// What carries it.
    pub(crate) fn tcp(&self) -> &TcpStream {
        &self.stream
    }

    /// What follows an accepted upgrade on `stream`. `shutdown` tells whether the end is the server's.
    fn new(stream: TcpStream, shutdown: Shutdown) -> Self {
        Self {
            stream,
            decoder: Decoder::default(),
            head: Vec::new(),
            head_sent: 0,
            frame_left: 0,
            is_close_said: false,
            is_read_out: false,
            shutdown,
        }
    }

    /// Writes the control frames that are due, unless a data frame has begun: they go behind it then.
    fn poll_control(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.frame_left == 0 {
            if self.head_sent < self.head.len() {
                let unsent = &self.head[self.head_sent..];
                let sent = ready!(Pin::new(&mut self.stream).poll_write(cx, unsent))?;
                if sent == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.head_sent += sent;
                continue;
            }
            self.head.clear();
            self.head_sent = 0;
            let Some(payload) = self.decoder.take_pong() else { break };
            frames::control(&mut self.head, Control::Pong, &payload);
        }
        Poll::Ready(Ok(()))
    }

    /// The status of the close frame, and a word on it.
    fn close(&self) -> Option<(u16, String)> {
        match self.decoder.ended() {
            Some(Ended::Closed(status)) => status.map(|status| (status, String::new())),
            Some(Ended::Broken(violation)) => Some((violation.status(), violation.to_string())),
            None if self.is_read_out => Some((CloseCode::Normal.into(), String::new())),
            None if self.shutdown.has_begun() => Some((CloseCode::Away.into(), "the server ends".to_owned())),
            // The session has said why, if it says such things.
            None => Some((CloseCode::Policy.into(), String::new())),
        }
    }

    fn say_close(&mut self) {
        let payload = self.close().map_or_else(Vec::new, |(status, reason)| {
            let mut payload = status.to_be_bytes().to_vec();
            payload.extend_from_slice(reason.as_bytes());
            payload
        });
        frames::control(&mut self.head, Control::Close, &payload);
        self.is_close_said = true;
    }
}

impl AsyncRead for WebSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            // Here too, because one who only reads is not asked to write. That it takes none of it keeps nobody from reading.
            if let Poll::Ready(Err(error)) = this.poll_control(cx) {
                return Poll::Ready(Err(error));
            }
            if this.decoder.ended().is_some() || buf.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            let before = buf.filled().len();
            ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
            if buf.filled().len() == before {
                this.is_read_out = true;
                return Poll::Ready(Ok(()));
            }
            let data = this.decoder.decode(&mut buf.filled_mut()[before..]);
            buf.set_filled(before + data);
            if data > 0 {
                // A ping among it is answered at once: the next read may be long off.
                return match this.poll_control(cx) {
                    Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                    Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(())),
                };
            }
        }
    }
}

impl AsyncWrite for WebSocket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if this.frame_left == 0 {
            ready!(this.poll_control(cx))?;
            this.frame_left = buf.len().min(FRAME_BYTES_MAX);
            frames::head(&mut this.head, OpCode::Data(Data::Binary), this.frame_left);
        }
        loop {
            let head = &this.head[this.head_sent..];
            // Whatever comes after a part is the rest of the frame: all of it is one stream.
            let payload = &buf[..buf.len().min(this.frame_left)];
            let both = [IoSlice::new(head), IoSlice::new(payload)];
            let sent = ready!(Pin::new(&mut this.stream).poll_write_vectored(cx, &both))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let of_head = sent.min(head.len());
            this.head_sent += of_head;
            if sent > of_head {
                this.head.clear();
                this.head_sent = 0;
                this.frame_left -= sent - of_head;
                return Poll::Ready(Ok(sent - of_head));
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_control(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Within a frame nothing can be said any more.
        if self.frame_left == 0 {
            ready!(self.poll_control(cx))?;
            if !self.is_close_said {
                self.say_close();
                ready!(self.poll_control(cx))?;
            }
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
