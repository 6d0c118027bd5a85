//! The limits of this frontend, each with its unit and its reason.

use std::time::Duration;

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
/// Bytes of a message's body unless an operator says otherwise: what one commit takes, less its properties.
/// Source: RabbitMQ 4.0 `max_message_size`, 16 MiB.
pub const BODY_BYTES_DEFAULT: u64 = (16 << 20) - (256 << 10);
/// How long a client may take until its connection is open. Source: RabbitMQ `handshake_timeout`.
pub const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a delivery may stay unacknowledged. Source: RabbitMQ `consumer_timeout`.
pub const CONSUMER_TIMEOUT: Duration = Duration::from_secs(30 * 60);
/// How much longer a lease lasts than that: the channel is closed first, and its deliveries come back in their order.
pub const LEASE_GRACE: Duration = Duration::from_secs(5 * 60);
/// How long a client may take nothing. Source: RabbitMQ `tcp_listen_options.send_timeout`.
pub const WRITE_DEADLINE: Duration = Duration::from_secs(15);
/// How long a client may take to say that it knows of the end of the connection.
pub const CLOSE_OK: Duration = Duration::from_secs(5);
/// Records of one publish to the broker; the rest of what came is another.
pub const PUBLISH_RECORDS: usize = 2_048;
/// Bytes after which it is handed over.
pub const PUBLISH_BYTES: usize = 1 << 20;
/// Bytes of published messages of one connection that are on their way to the disk: beyond, it is not read from.
pub const PUBLISH_BYTES_IN_FLIGHT: usize = 4 << 20;
/// Bytes of replies that wait for the client: beyond, it is not read from.
pub const SAID_BYTES: usize = 1 << 20;
/// Deliveries of one consumer that are leased and wait to be written.
pub const CONSUMER_BUFFER: u32 = 1_024;
/// Bytes of them that one lease brings.
pub const CONSUMER_BUFFER_BYTES: usize = 1 << 20;
/// Consumers of one connection: each waits in the line of its queue.
pub const CONSUMERS: usize = 20_000;
/// How long a consumer waits in line before it lines up again.
pub const CONSUMER_LINE: Duration = Duration::from_secs(3_600);
/// Bytes of input behind a frame that is not whole.
pub const CARRY_BYTES: usize = 256 << 10;
/// Bytes of a message of which a queue that is declared here takes, and so the mark of one that says nothing else of itself: those of
/// other protocols take a MiB. What the frontend takes is less: see [`BODY_BYTES_DEFAULT`].
pub const QUEUE_MESSAGE_BYTES: u32 = 16 << 20;
/// Bytes of a policy's pattern: names have 255.
pub const PATTERN_BYTES: usize = 1_024;
/// Bytes that a pattern takes in memory, and as much again while it is looked for.
pub const PATTERN_COMPILED_BYTES: usize = 64 << 10;
/// Bytes of the name of a policy, and of those of exchanges in one. Source: the broker's names.
pub const POLICY_NAME_BYTES: usize = 249;
/// Bytes of a routing key in a policy. Source: a short string.
pub const POLICY_KEY_BYTES: usize = SHORT_STRING_BYTES;
/// Bytes of the policies of a virtual host together: they are labels of one exchange, which may have 64 KiB.
pub const POLICIES_BYTES: usize = 60_000;
/// Queues that are changed at a time when policies are.
pub const POLICY_CHANGES: usize = 256;
/// Milliseconds without use after which a queue may be told to go, at the most. Source: RabbitMQ, a 32-bit number.
pub const QUEUE_EXPIRES_MS: u64 = u32::MAX as u64;
/// Bytes free on the disk below which publishers are asked to wait. Source: RabbitMQ `disk_free_limit`.
pub const DISK_FREE_BYTES: u64 = 50_000_000;
/// How often it is looked for queues that have had their time, and for room on the disk.
pub const LOOK: Duration = Duration::from_secs(1);
/// How long nothing of a large message may come that memory is held for.
pub const BODY_PATIENCE: Duration = Duration::from_secs(60);
/// Bytes of deliveries of one connection that wait to be written, above which no more are leased.
pub const READY_BYTES: usize = 4 << 20;
/// Bytes of answers that wait for a connection that asked: what comes beyond is dropped.
pub const REPLY_BYTES: usize = 18 << 20;
/// Answers that wait for it.
pub const REPLIES: usize = 10_000;
/// Bytes that an open transaction reserves at a time.
pub const TRANSACTION_STEP_BYTES: usize = 64 << 10;
