//! The limits of this frontend, each with its unit and its reason. What operators set is in `NatsOptions`.

use std::time::Duration;

/// Bytes of a line without its verb and its end. Source: nats-server, `max_control_line`.
pub const CONTROL_LINE_BYTES: usize = 4096;
/// Bytes of a subject that a client can be told of: more than it may itself write in a line would not fit into its buffers.
pub const SUBJECT_BYTES: usize = CONTROL_LINE_BYTES;
/// PINGs that a client may leave unanswered. Source: nats-server, `ping_max`.
pub const PINGS_OUT_MAX: u32 = 2;
/// The first PING comes soon, so that a client that is none is found out. Source: nats-server.
pub const FIRST_PING: Duration = Duration::from_secs(2);
/// Answers that wait for a client that has no listener yet, bytes: beyond, nothing more is read of it.
pub const REPLIES_BYTES: usize = 1 << 20;
/// Bytes of a request beside the payload that may be left unread for a moment: its line, and what is read at a time.
pub const CARRY_BYTES: usize = 512 << 10;
/// What may wait for a listener, in messages: its bytes are what bounds it.
pub const PENDING_MESSAGES: usize = usize::MAX;
/// Bytes of each text that a client tells about itself and that is kept to be shown.
pub const ABOUT_BYTES: usize = 128;
/// Connections in one answer about them, if the asker does not say. Source: nats-server, `/connz`.
pub const CONNZ_LIMIT: usize = 1024;
