//! All methods: what client and server say to one another. One page, in the order of their numbers.
//!
//! [`Method`] is what a client may say to a server; [`super::client::ServerMethod`] is what it may hear. The structs go both
//! ways: each is decoded from the payload of a frame and written as a whole frame. The names of methods and fields are those of the
//! specification; `ticket` and what is called `reserved` there have no meaning. Adding a method: `methods!` and one of the enums.
//! Source: AMQP 0-9-1, section 1 (classes and methods); RabbitMQ's extensions: `exchange.bind`, `basic.nack`, `confirm`,
//! `connection.blocked`, `connection.update-secret`, `no-wait` of `basic.cancel` from the server, as in its `amqp-rabbitmq-0.9.1.json`.

use super::wire::{Field, Reader, Writer};
use super::{LongStr, Malformed, RawTable, ReplyCode, ShortStr, frame};

/// The class of methods that have content.
pub const BASIC: u16 = 60;

/// The numbers of a method. Those of all methods stand in the structs, as `QueueDeclare::ID`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct MethodId {
    /// Number of its class.
    pub class: u16,
    /// Number within the class.
    pub method: u16,
}

impl MethodId {
    /// What a close says if no method is to blame.
    pub const NONE: Self = Self { class: 0, method: 0 };

    /// The name, such as `queue.declare`, if there is such a method.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        ALL.iter().find(|(id, _)| *id == self).map(|(_, name)| *name)
    }
}

impl<'a> Field<'a> for MethodId {
    fn read(from: &mut Reader<'a>) -> Result<Self, Malformed> {
        Ok(Self { class: u16::read(from)?, method: u16::read(from)? })
    }

    fn write(&self, to: &mut Writer<'_>) {
        self.class.write(to);
        self.method.write(to);
    }
}

/// Why a payload is no method that may come here. Always an error of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MethodError {
    /// Too small for one.
    #[error("method frame of {0} bytes")]
    CutShort(usize),
    /// There is no such method.
    #[error("unknown method {} of class {}", .0.method, .0.class)]
    Unknown(MethodId),
    /// There is, but it is the other side that says it.
    #[error("method {} is not to be sent here", .0.name().unwrap_or_default())]
    OtherWay(MethodId),
    /// Its arguments cannot be decoded.
    #[error("cannot decode {}: {malformed}", .method.name().unwrap_or_default())]
    Arguments {
        /// Which method.
        method: MethodId,
        /// What is wrong.
        malformed: Malformed,
    },
}

impl MethodError {
    /// What the connection is closed with.
    #[must_use]
    pub fn reply_code(self) -> ReplyCode {
        match self {
            Self::CutShort(_) => ReplyCode::FrameError,
            Self::Unknown(_) => ReplyCode::NotImplemented,
            Self::OtherWay(_) => ReplyCode::CommandInvalid,
            Self::Arguments { malformed, .. } => malformed.reply_code(),
        }
    }

    /// The method that the close is to blame.
    #[must_use]
    pub fn method(self) -> MethodId {
        match self {
            Self::CutShort(_) => MethodId::NONE,
            Self::Unknown(method) | Self::OtherWay(method) | Self::Arguments { method, .. } => method,
        }
    }
}

/// What all methods can do.
pub trait Arguments<'a>: Sized {
    /// Its numbers.
    const ID: MethodId;
    /// Whether a content follows.
    const HAS_CONTENT: bool;

    /// Takes the arguments from the front.
    ///
    /// # Errors
    /// [`Malformed`].
    fn read(from: &mut Reader<'a>) -> Result<Self, Malformed>;

    /// Appends the whole frame.
    fn write(&self, out: &mut Vec<u8>, channel: u16);
}

/// The numbers in the payload of a method frame, and the arguments behind them.
pub(super) fn split(payload: &[u8]) -> Result<(MethodId, &[u8]), MethodError> {
    let Some((&[c0, c1, m0, m1], arguments)) = payload.split_first_chunk() else {
        return Err(MethodError::CutShort(payload.len()));
    };
    let id = MethodId { class: u16::from_be_bytes([c0, c1]), method: u16::from_be_bytes([m0, m1]) };
    Ok((id, arguments))
}

/// All arguments of a method, and nothing else.
pub(super) fn arguments<'a, A: Arguments<'a>>(bytes: &'a [u8]) -> Result<A, MethodError> {
    // As RabbitMQ does: names are text, but with a message it is not worth the time.
    let mut from = if A::HAS_CONTENT { Reader::new(bytes) } else { Reader::of_text(bytes) };
    A::read(&mut from)
        .and_then(|arguments| from.finish().map(|()| arguments))
        .map_err(|malformed| MethodError::Arguments { method: A::ID, malformed })
}

/// The error for a method that is not among those that may come here.
pub(super) fn unexpected(id: MethodId) -> MethodError {
    if id.name().is_some() { MethodError::OtherWay(id) } else { MethodError::Unknown(id) }
}

macro_rules! methods {
    ($($name:ident $(<$life:lifetime>)? = $class:literal $method:literal $spec:literal $($content:ident)? {
        $($field:ident: $type:ty),*
    })*) => {
        /// All methods and their names.
        const ALL: &[(MethodId, &str)] = &[$(($name::ID, $spec)),*];

        $(
            #[doc = concat!("`", $spec, "`.")]
            #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
            #[allow(missing_docs, reason = "the specification says what its fields are")]
            pub struct $name $(<$life>)? { $(pub $field: $type),* }

            impl $(<$life>)? $name $(<$life>)? {
                /// Its numbers.
                pub const ID: MethodId = MethodId { class: $class, method: $method };

                /// Appends the whole frame.
                pub fn write(&self, out: &mut Vec<u8>, channel: u16) {
                    Arguments::write(self, out, channel);
                }
            }

            impl<'a> Arguments<'a> for $name $(<$life>)? {
                const ID: MethodId = Self::ID;
                const HAS_CONTENT: bool = methods!(@content $($content)?);

                #[allow(unused_variables, reason = "some have no arguments")]
                fn read(from: &mut Reader<'a>) -> Result<Self, Malformed> {
                    Ok(Self { $($field: Field::read(from)?),* })
                }

                fn write(&self, out: &mut Vec<u8>, channel: u16) {
                    frame::write_method(out, channel, |out| {
                        let mut to = Writer::new(out);
                        Self::ID.write(&mut to);
                        $(self.$field.write(&mut to);)*
                    });
                }
            }
        )*
    };
    (@content) => { false };
    (@content content) => { true };
}

methods! {
    ConnectionStart<'a> = 10 10 "connection.start" {
        version_major: u8, version_minor: u8, server_properties: RawTable<'a>, mechanisms: LongStr<'a>, locales: LongStr<'a>
    }
    ConnectionStartOk<'a> = 10 11 "connection.start-ok" {
        client_properties: RawTable<'a>, mechanism: ShortStr<'a>, response: LongStr<'a>, locale: ShortStr<'a>
    }
    ConnectionSecure<'a> = 10 20 "connection.secure" { challenge: LongStr<'a> }
    ConnectionSecureOk<'a> = 10 21 "connection.secure-ok" { response: LongStr<'a> }
    ConnectionTune = 10 30 "connection.tune" { channel_max: u16, frame_max: u32, heartbeat: u16 }
    ConnectionTuneOk = 10 31 "connection.tune-ok" { channel_max: u16, frame_max: u32, heartbeat: u16 }
    ConnectionOpen<'a> = 10 40 "connection.open" { virtual_host: ShortStr<'a>, capabilities: ShortStr<'a>, insist: bool }
    ConnectionOpenOk<'a> = 10 41 "connection.open-ok" { known_hosts: ShortStr<'a> }
    ConnectionClose<'a> = 10 50 "connection.close" { reply_code: u16, reply_text: ShortStr<'a>, method: MethodId }
    ConnectionCloseOk = 10 51 "connection.close-ok" {}
    ConnectionBlocked<'a> = 10 60 "connection.blocked" { reason: ShortStr<'a> }
    ConnectionUnblocked = 10 61 "connection.unblocked" {}
    ConnectionUpdateSecret<'a> = 10 70 "connection.update-secret" { new_secret: LongStr<'a>, reason: ShortStr<'a> }
    ConnectionUpdateSecretOk = 10 71 "connection.update-secret-ok" {}

    ChannelOpen<'a> = 20 10 "channel.open" { out_of_band: ShortStr<'a> }
    ChannelOpenOk<'a> = 20 11 "channel.open-ok" { channel_id: LongStr<'a> }
    ChannelFlow = 20 20 "channel.flow" { active: bool }
    ChannelFlowOk = 20 21 "channel.flow-ok" { active: bool }
    ChannelClose<'a> = 20 40 "channel.close" { reply_code: u16, reply_text: ShortStr<'a>, method: MethodId }
    ChannelCloseOk = 20 41 "channel.close-ok" {}

    AccessRequest<'a> = 30 10 "access.request" {
        realm: ShortStr<'a>, exclusive: bool, passive: bool, active: bool, write: bool, read: bool
    }
    AccessRequestOk = 30 11 "access.request-ok" { ticket: u16 }

    ExchangeDeclare<'a> = 40 10 "exchange.declare" {
        ticket: u16, exchange: ShortStr<'a>, kind: ShortStr<'a>, passive: bool, durable: bool, auto_delete: bool, internal: bool,
        no_wait: bool, arguments: RawTable<'a>
    }
    ExchangeDeclareOk = 40 11 "exchange.declare-ok" {}
    ExchangeDelete<'a> = 40 20 "exchange.delete" { ticket: u16, exchange: ShortStr<'a>, if_unused: bool, no_wait: bool }
    ExchangeDeleteOk = 40 21 "exchange.delete-ok" {}
    ExchangeBind<'a> = 40 30 "exchange.bind" {
        ticket: u16, destination: ShortStr<'a>, source: ShortStr<'a>, routing_key: ShortStr<'a>, no_wait: bool,
        arguments: RawTable<'a>
    }
    ExchangeBindOk = 40 31 "exchange.bind-ok" {}
    ExchangeUnbind<'a> = 40 40 "exchange.unbind" {
        ticket: u16, destination: ShortStr<'a>, source: ShortStr<'a>, routing_key: ShortStr<'a>, no_wait: bool,
        arguments: RawTable<'a>
    }
    ExchangeUnbindOk = 40 51 "exchange.unbind-ok" {}

    QueueDeclare<'a> = 50 10 "queue.declare" {
        ticket: u16, queue: ShortStr<'a>, passive: bool, durable: bool, exclusive: bool, auto_delete: bool, no_wait: bool,
        arguments: RawTable<'a>
    }
    QueueDeclareOk<'a> = 50 11 "queue.declare-ok" { queue: ShortStr<'a>, message_count: u32, consumer_count: u32 }
    QueueBind<'a> = 50 20 "queue.bind" {
        ticket: u16, queue: ShortStr<'a>, exchange: ShortStr<'a>, routing_key: ShortStr<'a>, no_wait: bool, arguments: RawTable<'a>
    }
    QueueBindOk = 50 21 "queue.bind-ok" {}
    QueuePurge<'a> = 50 30 "queue.purge" { ticket: u16, queue: ShortStr<'a>, no_wait: bool }
    QueuePurgeOk = 50 31 "queue.purge-ok" { message_count: u32 }
    QueueDelete<'a> = 50 40 "queue.delete" { ticket: u16, queue: ShortStr<'a>, if_unused: bool, if_empty: bool, no_wait: bool }
    QueueDeleteOk = 50 41 "queue.delete-ok" { message_count: u32 }
    QueueUnbind<'a> = 50 50 "queue.unbind" {
        ticket: u16, queue: ShortStr<'a>, exchange: ShortStr<'a>, routing_key: ShortStr<'a>, arguments: RawTable<'a>
    }
    QueueUnbindOk = 50 51 "queue.unbind-ok" {}

    BasicQos = 60 10 "basic.qos" { prefetch_size: u32, prefetch_count: u16, global: bool }
    BasicQosOk = 60 11 "basic.qos-ok" {}
    BasicConsume<'a> = 60 20 "basic.consume" {
        ticket: u16, queue: ShortStr<'a>, consumer_tag: ShortStr<'a>, no_local: bool, no_ack: bool, exclusive: bool, no_wait: bool,
        arguments: RawTable<'a>
    }
    BasicConsumeOk<'a> = 60 21 "basic.consume-ok" { consumer_tag: ShortStr<'a> }
    BasicCancel<'a> = 60 30 "basic.cancel" { consumer_tag: ShortStr<'a>, no_wait: bool }
    BasicCancelOk<'a> = 60 31 "basic.cancel-ok" { consumer_tag: ShortStr<'a> }
    BasicPublish<'a> = 60 40 "basic.publish" content {
        ticket: u16, exchange: ShortStr<'a>, routing_key: ShortStr<'a>, mandatory: bool, immediate: bool
    }
    BasicReturn<'a> = 60 50 "basic.return" content {
        reply_code: u16, reply_text: ShortStr<'a>, exchange: ShortStr<'a>, routing_key: ShortStr<'a>
    }
    BasicDeliver<'a> = 60 60 "basic.deliver" content {
        consumer_tag: ShortStr<'a>, delivery_tag: u64, redelivered: bool, exchange: ShortStr<'a>, routing_key: ShortStr<'a>
    }
    BasicGet<'a> = 60 70 "basic.get" { ticket: u16, queue: ShortStr<'a>, no_ack: bool }
    BasicGetOk<'a> = 60 71 "basic.get-ok" content {
        delivery_tag: u64, redelivered: bool, exchange: ShortStr<'a>, routing_key: ShortStr<'a>, message_count: u32
    }
    BasicGetEmpty<'a> = 60 72 "basic.get-empty" { cluster_id: ShortStr<'a> }
    BasicAck = 60 80 "basic.ack" { delivery_tag: u64, multiple: bool }
    BasicReject = 60 90 "basic.reject" { delivery_tag: u64, requeue: bool }
    BasicRecoverAsync = 60 100 "basic.recover-async" { requeue: bool }
    BasicRecover = 60 110 "basic.recover" { requeue: bool }
    BasicRecoverOk = 60 111 "basic.recover-ok" {}
    BasicNack = 60 120 "basic.nack" { delivery_tag: u64, multiple: bool, requeue: bool }

    ConfirmSelect = 85 10 "confirm.select" { no_wait: bool }
    ConfirmSelectOk = 85 11 "confirm.select-ok" {}

    TxSelect = 90 10 "tx.select" {}
    TxSelectOk = 90 11 "tx.select-ok" {}
    TxCommit = 90 20 "tx.commit" {}
    TxCommitOk = 90 21 "tx.commit-ok" {}
    TxRollback = 90 30 "tx.rollback" {}
    TxRollbackOk = 90 31 "tx.rollback-ok" {}
}

/// The methods that may come one way.
macro_rules! one_way {
    ($(#[$attr:meta])* $enum:ident: $($name:ident $(<$life:lifetime>)?),* $(,)?) => {
        $(#[$attr])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs, reason = "the structs say what they are")]
        pub enum $enum<'a> { $($name($crate::codec::method::$name $(<$life>)?),)* }

        impl<'a> $enum<'a> {
            /// The method in the payload of a method frame.
            ///
            /// # Errors
            #[doc = "[`MethodError`](crate::codec::MethodError)."]
            pub fn decode(payload: &'a [u8]) -> Result<Self, $crate::codec::MethodError> {
                let (id, bytes) = $crate::codec::method::split(payload)?;
                Ok(match id {
                    $($crate::codec::method::$name::ID => Self::$name($crate::codec::method::arguments(bytes)?),)*
                    id => return Err($crate::codec::method::unexpected(id)),
                })
            }

            /// Appends the whole frame, without content.
            pub fn write(&self, out: &mut Vec<u8>, channel: u16) {
                match self {
                    $(Self::$name(method) => method.write(out, channel),)*
                }
            }

            /// Its numbers.
            #[must_use]
            pub fn id(&self) -> $crate::codec::MethodId {
                match self {
                    $(Self::$name(_) => $crate::codec::method::$name::ID,)*
                }
            }
        }

        #[cfg(test)]
        impl $enum<'_> {
            /// One of each, decoded from zeros.
            pub(crate) fn samples() -> Vec<Self> {
                const ZEROS: &[u8] = &[0; 64];
                let zeroed = |id: $crate::codec::MethodId| match id {
                    $($crate::codec::method::$name::ID => {
                        let mut from = $crate::codec::wire::Reader::new(ZEROS);
                        Self::$name($crate::codec::Arguments::read(&mut from).expect("enough zeros"))
                    })*
                    other => panic!("{other:?} is not among them"),
                };
                [$($crate::codec::method::$name::ID),*].into_iter().map(zeroed).collect()
            }
        }
    };
}
pub(super) use one_way;

one_way! {
    /// What a client may say to a server.
    Method:
    ConnectionStartOk<'a>, ConnectionSecureOk<'a>, ConnectionTuneOk, ConnectionOpen<'a>, ConnectionClose<'a>, ConnectionCloseOk,
    ConnectionUpdateSecret<'a>,
    ChannelOpen<'a>, ChannelFlow, ChannelFlowOk, ChannelClose<'a>, ChannelCloseOk,
    AccessRequest<'a>,
    ExchangeDeclare<'a>, ExchangeDelete<'a>, ExchangeBind<'a>, ExchangeUnbind<'a>,
    QueueDeclare<'a>, QueueBind<'a>, QueuePurge<'a>, QueueDelete<'a>, QueueUnbind<'a>,
    BasicQos, BasicConsume<'a>, BasicCancel<'a>, BasicCancelOk<'a>, BasicPublish<'a>, BasicGet<'a>, BasicAck, BasicReject,
    BasicRecoverAsync, BasicRecover, BasicNack,
    ConfirmSelect,
    TxSelect, TxCommit, TxRollback,
}

#[cfg(test)]
mod tests;
