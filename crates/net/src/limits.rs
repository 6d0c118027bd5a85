//! The limits of this crate, each with its unit and its reason. What operators set is in `Limits` of the listener.

use std::time::Duration;

/// The budget counts in units of so many bytes: a semaphore counts in 32 bits.
pub const BUDGET_UNIT_BYTES: usize = 1024;
/// Bytes of a small reservation at most: most requests, the answers to them, and a piece of a stream.
pub const RESERVATION_SMALL_BYTES: usize = 64 << 10;
/// One part in so many of the budget is for small reservations alone.
pub const BUDGET_SMALL_PART: usize = 8;
/// Bytes of an answer that a client must take within the time that a request may take, or all of it: one that reads
/// slower keeps memory that others wait for, and most clients would have given up by then.
pub const ANSWER_PROGRESS_BYTES: usize = 1 << 20;
/// Bytes that one read of a talk takes at most, into a buffer of the thread: some hundred small messages a system call.
pub const TALK_READ_BYTES: usize = 128 << 10;
/// Bytes of output that a talk is asked for at a time: they are kept if the peer does not take them.
pub const TALK_OUTPUT_BYTES: usize = 128 << 10;
/// Bytes of a partial request, or of output that is not taken, that need no room in the budget: most have less.
pub const TALK_FREE_BYTES: usize = 4 << 10;
/// How long a session that is cut off may take to read what is unsent and why.
pub const TALK_GOODBYE: Duration = Duration::from_secs(1);
/// How long a session whose input has ended may take to have its say, where it is not held to a time otherwise.
pub const TALK_END: Duration = Duration::from_secs(30);
/// How often a session that reads nothing looks whether its peer is still there.
pub const TALK_LOOK: Duration = Duration::from_secs(1);
/// Bytes of the request that asks for a WebSocket, headers included: browsers send cookies along, which nobody reads here.
pub const UPGRADE_BYTES_MAX: usize = 16 << 10;
/// Bytes of one WebSocket frame that we send: what a talk is asked for at a time goes out as one, and clients that take no frame
/// above some size take this.
pub const FRAME_BYTES_MAX: usize = TALK_OUTPUT_BYTES;
