//! The limits of the storage, each with its unit and its reason.

/// Largest commit, bytes of bodies: a frame is written, read back and checksummed as one piece.
pub const COMMIT_BYTES: usize = 64 << 20;
/// Targets of one entry: bounds what one frame header can hold; more are several frames.
pub const TARGETS_PER_ENTRY: usize = 1024;
