//! Methods of AMQP without a connection: what the management API asks for is done as a client would do it, and refused as a client
//! would be. What is held by a caller (a message that it got) goes back when it is dropped, as with a connection.

use std::future::poll_fn;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};

use duolog_net::{Budget, Talk as _, Then};

use crate::AmqpFrontend;
use crate::codec::client::ServerMethod;
use crate::codec::{ContentHeader, FrameKind, parse_frame};
use crate::limits::{FRAME_MAX_BYTES, SAID_BYTES};
use crate::session::AmqpSession;

/// Bytes of a frame that a caller says.
pub const CALLER_FRAME_BYTES: u32 = FRAME_MAX_BYTES;

/// One who says methods on channel 1.
pub struct Caller {
    session: AmqpSession,
    /// What was heard and not taken apart yet.
    heard: Vec<u8>,
    answers: Vec<Answer>,
    /// Bytes of the last answer's body that are still to come, or all of its content.
    missing: Missing,
}

/// A method that was answered, and its content.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// The payload of its frame: see [`ServerMethod::decode`].
    pub method: Vec<u8>,
    /// Encoded.
    pub properties: Vec<u8>,
    /// The body.
    pub body: Vec<u8>,
}

/// Why a method was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Refused {
    /// The reply code.
    pub code: u16,
    /// The reply text.
    pub text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Missing {
    Nothing,
    Header,
    Body(u64),
}

impl AmqpFrontend {
    /// A caller in a virtual host; `None` if there is none of this name.
    #[must_use]
    pub fn caller(&self, vhost: &str, budget: &Budget) -> Option<Caller> {
        if !crate::vhosts::is_known(&self.registry().broker().catalog(), vhost) {
            return None;
        }
        let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let mut session = AmqpSession::new(Arc::clone(self.registry()), budget.clone(), nowhere);
        session.begin_inside(crate::vhosts::namespace_of(vhost));
        Some(Caller { session, heard: Vec::new(), answers: Vec::new(), missing: Missing::Nothing })
    }
}

impl Caller {
    /// Says whole frames on channel 1, and takes the answers up to the one that `is_last`.
    ///
    /// # Errors
    /// [`Refused`] with what closed the channel or the connection; the caller is of no use then.
    pub async fn call(
        &mut self,
        frames: &[u8],
        is_last: impl Fn(&ServerMethod<'_>) -> bool,
    ) -> Result<Vec<Answer>, Refused> {
        let mut said = 0;
        poll_fn(|waiting| self.poll_call(waiting, frames, &mut said, &is_last)).await?;
        Ok(std::mem::take(&mut self.answers))
    }

    fn poll_call(
        &mut self,
        waiting: &mut Context<'_>,
        frames: &[u8],
        said: &mut usize,
        is_last: &impl Fn(&ServerMethod<'_>) -> bool,
    ) -> Poll<Result<(), Refused>> {
        loop {
            let before = *said;
            if *said < frames.len() && self.session.poll_resume(waiting).is_ready() {
                *said += self.session.input(&frames[*said..]).used;
            }
            let length = self.heard.len();
            let then = self.session.poll_output(waiting, &mut self.heard, length + SAID_BYTES);
            let is_over = match self.take_apart(is_last) {
                Ok(is_over) => is_over,
                Err(refused) => return Poll::Ready(Err(refused)),
            };
            if is_over && *said == frames.len() {
                return Poll::Ready(Ok(()));
            }
            match then {
                Poll::Ready(Then::End) => {
                    let text = "INTERNAL_ERROR - the broker is shutting down".to_owned();
                    return Poll::Ready(Err(Refused { code: 541, text }));
                }
                Poll::Ready(Then::Sent) => {}
                Poll::Pending if *said == before => return Poll::Pending,
                Poll::Pending => {}
            }
        }
    }

    /// Takes what was heard; true if the last answer has come whole.
    fn take_apart(&mut self, is_last: &impl Fn(&ServerMethod<'_>) -> bool) -> Result<bool, Refused> {
        let mut used = 0;
        while let Ok(Some((frame, length))) = parse_frame(&self.heard[used..], FRAME_MAX_BYTES) {
            used += length;
            match frame.kind {
                FrameKind::Method(payload) => {
                    self.missing = missing_of(payload)?;
                    self.answers.push(Answer { method: payload.to_vec(), ..Answer::default() });
                }
                FrameKind::Header(payload) => {
                    if let (Some(last), Ok(header)) =
                        (self.answers.last_mut(), ContentHeader::decode(payload))
                    {
                        last.properties = header.properties.to_vec();
                        self.missing = Missing::Body(header.body_size);
                    }
                }
                FrameKind::Body(piece) => {
                    if let (Some(last), Missing::Body(left)) = (self.answers.last_mut(), self.missing) {
                        last.body.extend_from_slice(piece);
                        self.missing = Missing::Body(left.saturating_sub(piece.len() as u64));
                    }
                }
                FrameKind::Heartbeat => {}
            }
        }
        self.heard.drain(..used);
        let is_whole = matches!(self.missing, Missing::Nothing | Missing::Body(0));
        let last = self.answers.last().and_then(|it| ServerMethod::decode(&it.method).ok());
        Ok(is_whole && last.is_some_and(|it| is_last(&it)))
    }
}

/// What is to come behind a method.
fn missing_of(payload: &[u8]) -> Result<Missing, Refused> {
    let refused = |code, text: crate::codec::ShortStr<'_>| Refused {
        code,
        text: String::from_utf8_lossy(text.as_bytes()).into_owned(),
    };
    match ServerMethod::decode(payload) {
        Ok(ServerMethod::ChannelClose(it)) => Err(refused(it.reply_code, it.reply_text)),
        Ok(ServerMethod::ConnectionClose(it)) => Err(refused(it.reply_code, it.reply_text)),
        Ok(ServerMethod::BasicGetOk(_) | ServerMethod::BasicReturn(_) | ServerMethod::BasicDeliver(_)) => {
            Ok(Missing::Header)
        }
        _ => Ok(Missing::Nothing),
    }
}
