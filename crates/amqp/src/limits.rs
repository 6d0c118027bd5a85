//! The limits of this frontend, each with its unit and its reason.

/// Bytes of a frame around its payload: type, channel and size before it, the end octet behind.
/// Source: AMQP 0-9-1, 2.3.5; RabbitMQ `EMPTY_FRAME_SIZE`.
pub const FRAME_OVERHEAD_BYTES: u32 = 8;
/// Bytes of a frame that every peer takes, and the least that may be agreed on.
/// Source: AMQP 0-9-1, 4.2.3 and constant `frame-min-size`.
pub const FRAME_MIN_BYTES: u32 = 4096;
/// Bytes of a frame before a size is agreed on: room for a long token in the response of `connection.start-ok`.
/// Source: RabbitMQ 4.1 `initial_frame_max`; 4096 before it.
pub const FRAME_INITIAL_BYTES: u32 = 8192;
/// Bytes of a frame that the server offers. Source: the default of RabbitMQ's `frame_max`.
pub const FRAME_MAX_BYTES: u32 = 131_072;
/// Channels of one connection that the server offers, number 0 aside. Source: the default of RabbitMQ's `channel_max`.
pub const CHANNELS: u16 = 2047;
/// Seconds between heartbeats that the server offers. Source: the default of RabbitMQ's `heartbeat`.
pub const HEARTBEAT_S: u16 = 60;
/// Bytes of a short string: its length is one octet. Source: AMQP 0-9-1, 4.2.5.3.
pub const SHORT_STRING_BYTES: usize = 255;
/// Tables and arrays within one another, the outermost counted: reading and dropping them recurses. RabbitMQ has no limit;
/// what clients nest (`x-death`, client capabilities) is three deep.
pub const TABLE_DEPTH: usize = 32;
/// Bytes of a message's body at the most, whatever operators allow. Source: RabbitMQ `MAX_MSG_SIZE`.
pub const BODY_BYTES: u64 = 512 << 20;
