//! The limits of this crate, each with its unit and its reason. What operators set is in `Limits` of the listener.

/// The budget counts in units of so many bytes: a semaphore counts in 32 bits.
pub const BUDGET_UNIT_BYTES: usize = 1024;
/// Bytes of a small reservation at most: most requests, the answers to them, and a piece of a stream.
pub const RESERVATION_SMALL_BYTES: usize = 64 << 10;
/// One part in so many of the budget is for small reservations alone.
pub const BUDGET_SMALL_PART: usize = 8;
/// Bytes of an answer that a client must take within the time that a request may take, or all of it: one that reads
/// slower keeps memory that others wait for, and most clients would have given up by then.
pub const ANSWER_PROGRESS_BYTES: usize = 1 << 20;
