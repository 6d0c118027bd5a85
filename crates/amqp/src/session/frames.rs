//! Which frame may come when, and what each method does.
//!
//! Source: AMQP 0-9-1, 2.2 and 4.2; RabbitMQ `rabbit_reader`, `rabbit_command_assembler` for the codes.

use duolog_broker::Outcome;
use duolog_net::Next;

use super::channel::Channel;
use super::publish::Source;
use super::{AmqpSession, Stage, replies};
use crate::codec::method::{
    AccessRequestOk, BasicNack, BasicQosOk, ChannelCloseOk, ChannelFlowOk, ChannelOpenOk, ConfirmSelectOk,
    ConnectionClose, ConnectionCloseOk, ConnectionUpdateSecretOk,
};
use crate::codec::{
    ContentHeader, END, Frame, FrameError, FrameKind, LongStr, Method, MethodId, ReplyCode, body_beginning,
    parse_frame,
};
use crate::error::AmqpError;

impl AmqpSession {
    /// The channel, which is open.
    pub(super) fn channel(&mut self, number: u16) -> Result<&mut Channel, AmqpError> {
        self.channels
            .get_mut(&number)
            .ok_or_else(|| AmqpError::new(ReplyCode::ChannelError, "expected 'channel.open'"))
    }

    /// Takes frames until there are no more, or something has to be waited for. Gives the bytes that it is done with.
    pub(super) fn take_frames(&mut self, bytes: &[u8]) -> (usize, Next) {
        let source = Source::new(bytes);
        let mut used = 0;
        loop {
            if self.stage == Stage::Over {
                return (bytes.len(), Next::End);
            }
            if self.is_held() {
                return (used, Next::Wait);
            }
            let rest = &bytes[used..];
            if self.stage == Stage::Protocol {
                match self.take_protocol(rest) {
                    Some(length) => used += length,
                    None => return (used, Next::More),
                }
                continue;
            }
            if let Some((number, left)) = self.partial {
                match self.take_piece(number, left, rest, &source) {
                    Some(length) => used += length,
                    None => return (used, Next::More),
                }
                continue;
            }
            match parse_frame(rest, self.frame_max) {
                Ok(Some((frame, length))) => {
                    used += length;
                    self.take_frame(&frame, &source);
                }
                Ok(None) => match self.begin_piece(rest) {
                    Some(length) => used += length,
                    None => return (used, Next::More),
                },
                Err(error) => self.lose_frames(&error),
            }
        }
    }

    /// Where the next frame would begin is not known: what comes is not looked at.
    fn lose_frames(&mut self, error: &FrameError) {
        self.fail(0, MethodId::NONE, &AmqpError::new(error.reply_code(), error));
        self.stage = Stage::Over;
    }

    /// Begins with the frame of a body that there is room for already: it is taken as it comes. To wait for the whole frame
    /// would take more memory, for which others may wait who hold what this one waits for.
    fn begin_piece(&mut self, rest: &[u8]) -> Option<usize> {
        let (number, size, length) = body_beginning(rest)?;
        let publishing = self.channels.get(&number)?.publishing.as_ref();
        publishing.filter(|it| it.has_room())?;
        self.partial = Some((number, size));
        Some(length)
    }

    /// What has come of such a frame; `None` if nothing has.
    fn take_piece(&mut self, number: u16, left: usize, rest: &[u8], source: &Source<'_>) -> Option<usize> {
        if left == 0 {
            let end = *rest.first()?;
            self.partial = None;
            if end != END {
                self.lose_frames(&FrameError::End(end));
            }
            return Some(1);
        }
        let piece = &rest[..left.min(rest.len())];
        if piece.is_empty() {
            return None;
        }
        self.partial = Some((number, left - piece.len()));
        if self.stage != Stage::Closing
            && let Err(error) = self.take_body(number, piece, source)
        {
            self.fail(number, MethodId::NONE, &error);
        }
        Some(piece.len())
    }

    fn take_frame(&mut self, frame: &Frame<'_>, source: &Source<'_>) {
        let number = frame.channel;
        if self.stage == Stage::Closing {
            let FrameKind::Method(payload) = frame.kind else { return };
            match Method::decode(payload) {
                Ok(Method::ConnectionCloseOk(_)) => self.stage = Stage::Over,
                // Both have closed at the same time.
                Ok(Method::ConnectionClose(_)) => {
                    ConnectionCloseOk {}.write(&mut self.said, 0);
                    self.stage = Stage::Over;
                }
                _ => {}
            }
            return;
        }
        let taken = match frame.kind {
            FrameKind::Heartbeat => return,
            FrameKind::Method(payload) => match Method::decode(payload) {
                Ok(method) => self.take_method(number, &method, source).map_err(|error| (method.id(), error)),
                Err(error) => Err((error.method(), AmqpError::new(error.reply_code(), error))),
            },
            FrameKind::Header(payload) => {
                self.take_header(number, payload, source).map_err(|error| (MethodId::NONE, error))
            }
            FrameKind::Body(piece) => {
                self.take_body(number, piece, source).map_err(|error| (MethodId::NONE, error))
            }
        };
        if let Err((method, error)) = taken {
            self.fail(number, method, &error);
        }
    }

    /// True if frames of the channel are to be left alone: it is closed, and the client does not know yet.
    fn is_closing(&self, number: u16) -> bool {
        self.channels.get(&number).is_some_and(|channel| channel.is_closing)
    }

    fn take_header(&mut self, number: u16, payload: &[u8], source: &Source<'_>) -> Result<(), AmqpError> {
        if self.is_closing(number) {
            return Ok(());
        }
        let expects = self.channel(number)?.publishing.as_ref().is_some_and(|it| it.expects_header());
        if !expects {
            let text = "expected method frame, got non method frame instead";
            return Err(AmqpError::new(ReplyCode::UnexpectedFrame, text));
        }
        let header =
            ContentHeader::decode(payload).map_err(|error| AmqpError::new(error.reply_code(), error))?;
        self.header(number, &header, source)
    }

    fn take_body(&mut self, number: u16, piece: &[u8], source: &Source<'_>) -> Result<(), AmqpError> {
        if self.is_closing(number) {
            return Ok(());
        }
        let expects = self.channel(number)?.publishing.as_ref().is_some_and(|it| !it.expects_header());
        if !expects {
            let text = "expected method frame, got non method frame instead";
            return Err(AmqpError::new(ReplyCode::UnexpectedFrame, text));
        }
        self.body(number, piece, source)
    }

    fn take_method(
        &mut self,
        number: u16,
        method: &Method<'_>,
        source: &Source<'_>,
    ) -> Result<(), AmqpError> {
        if number == 0 {
            return self.take_connection_method(method);
        }
        if self.stage != Stage::Running {
            return Err(AmqpError::new(ReplyCode::CommandInvalid, "the connection is not open"));
        }
        if self.is_closing(number) {
            match method {
                Method::ChannelCloseOk(_) => self.forget_channel(number),
                Method::ChannelClose(_) => {
                    ChannelCloseOk {}.write(&mut self.said, number);
                    self.forget_channel(number);
                }
                _ => {}
            }
            return Ok(());
        }
        if let Method::ChannelOpen(_) = method {
            return self.open_channel(number);
        }
        if self.channel(number)?.publishing.is_some() && !matches!(method, Method::ChannelClose(_)) {
            let text = "expected content header or body, got method frame instead";
            return Err(AmqpError::new(ReplyCode::UnexpectedFrame, text));
        }
        match method {
            Method::BasicPublish(it) => self.publish(number, it, source),
            Method::BasicAck(it) => self.acknowledge(number, it.delivery_tag, it.multiple, Outcome::Ack),
            Method::BasicNack(it) => self.negative(number, it),
            Method::BasicReject(it) => {
                let nack = BasicNack { delivery_tag: it.delivery_tag, multiple: false, requeue: it.requeue };
                self.negative(number, &nack)
            }
            Method::BasicConsume(it) => self.consume(number, it),
            Method::BasicCancel(it) => self.cancel(number, it),
            Method::BasicCancelOk(_) => Ok(()),
            Method::BasicGet(it) => self.get(number, it),
            Method::BasicQos(it) => {
                self.qos(number, *it)?;
                BasicQosOk {}.write(&mut self.said, number);
                Ok(())
            }
            Method::BasicRecover(it) => self.recover(number, it.requeue, true),
            Method::BasicRecoverAsync(it) => self.recover(number, it.requeue, false),
            _ => self.take_other_method(number, method),
        }
    }

    /// Those that change what exists, or the channel itself.
    fn take_other_method(&mut self, number: u16, method: &Method<'_>) -> Result<(), AmqpError> {
        match method {
            Method::QueueDeclare(it) if replies::is_reply_to(it.queue) => self.declare_replies(number, it),
            Method::QueueDeclare(it) => self.declare_queue(number, it),
            Method::QueueBind(it) => self.bind_queue(number, it),
            Method::QueueUnbind(it) => self.unbind_queue(number, it),
            Method::QueuePurge(it) => self.purge_queue(number, it),
            Method::QueueDelete(it) => self.delete_queue(number, it),
            Method::ExchangeDeclare(it) => self.declare_exchange(number, it),
            Method::ExchangeBind(it) => self.bind_exchange(number, it),
            Method::ExchangeUnbind(it) => self.unbind_exchange(number, it),
            Method::ExchangeDelete(it) => self.delete_exchange(number, it),
            Method::ConfirmSelect(it) => {
                let channel = self.channel(number)?;
                if channel.transaction.is_some() {
                    return Err(AmqpError::precondition("cannot switch from tx to confirm mode"));
                }
                channel.confirming.get_or_insert(1);
                if !it.no_wait {
                    ConfirmSelectOk {}.write(&mut self.said, number);
                }
                Ok(())
            }
            Method::ChannelClose(_) => {
                self.flush();
                self.leave_channel(number);
                self.forget_channel(number);
                ChannelCloseOk {}.write(&mut self.said, number);
                Ok(())
            }
            Method::ChannelFlow(it) if it.active => {
                ChannelFlowOk { active: true }.write(&mut self.said, number);
                Ok(())
            }
            Method::ChannelFlow(_) => Err(AmqpError::not_implemented("active=false")),
            Method::ChannelFlowOk(_) => Ok(()),
            Method::AccessRequest(_) => {
                AccessRequestOk { ticket: 1 }.write(&mut self.said, number);
                Ok(())
            }
            Method::TxSelect(_) => self.tx_select(number),
            Method::TxCommit(_) => self.tx_commit(number),
            Method::TxRollback(_) => self.tx_rollback(number),
            _ => Err(AmqpError::new(
                ReplyCode::CommandInvalid,
                "method of the connection on another channel than 0",
            )),
        }
    }

    fn negative(&mut self, number: u16, method: &BasicNack) -> Result<(), AmqpError> {
        let outcome = if method.requeue { Outcome::Release { after_ms: 0 } } else { Outcome::DeadLetter };
        self.acknowledge(number, method.delivery_tag, method.multiple, outcome)
    }

    /// The client knows that a channel is closed.
    fn forget_channel(&mut self, number: u16) {
        self.channels.remove(&number);
        self.bell.close_channel(number);
    }

    fn open_channel(&mut self, number: u16) -> Result<(), AmqpError> {
        if self.channels.contains_key(&number) {
            return Err(AmqpError::new(ReplyCode::ChannelError, "second 'channel.open' seen"));
        }
        if number > self.channels_max {
            let text = format!(
                "number of channels opened ({number}) has reached the negotiated channel_max ({})",
                self.channels_max
            );
            return Err(AmqpError::new(ReplyCode::NotAllowed, text));
        }
        let serial = self.next_serial();
        self.channels.insert(number, Channel::new(number, serial));
        self.bell.open_channel(number);
        ChannelOpenOk { channel_id: LongStr(b"") }.write(&mut self.said, number);
        Ok(())
    }

    fn take_connection_method(&mut self, method: &Method<'_>) -> Result<(), AmqpError> {
        match (self.stage, method) {
            (_, Method::ConnectionClose(_)) => {
                self.flush();
                let left = self.leave_all();
                // Its exclusive queues are gone before it hears so.
                self.operate(0, ConnectionClose::ID, left, |session, ()| {
                    ConnectionCloseOk {}.write(&mut session.said, 0);
                    session.stage = Stage::Over;
                    Ok(())
                });
                Ok(())
            }
            (Stage::Start, Method::ConnectionStartOk(it)) => self.start_ok(it),
            (Stage::Tune, Method::ConnectionTuneOk(it)) => self.tune_ok(*it),
            (Stage::Open, Method::ConnectionOpen(it)) => self.open(it),
            (Stage::Running, Method::ConnectionUpdateSecret(_)) => {
                ConnectionUpdateSecretOk {}.write(&mut self.said, 0);
                Ok(())
            }
            _ => {
                let text = format!("unexpected method in connection state {}", self.stage.name());
                Err(AmqpError::new(ReplyCode::ChannelError, text))
            }
        }
    }
}
