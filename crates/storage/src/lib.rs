//! The Log: every partition of one shard in one sequence of files, and their durability.
//!
//! Place: floor 1. Knows batch headers (for lengths and times) and nothing inside a batch; knows no topic, no queue,
//! no protocol. New durable bytes enter by one door, [`Log::commit`]. Readers see only what is durable.
//! The clock is the caller's: every commit carries its append time.

mod api;
mod check;
pub mod disk;
mod disk_log;
mod format;
mod fs;
pub mod limits;
mod memory;
mod overlay;
#[doc(hidden)]
pub mod planted;
mod runs;
#[cfg(test)]
mod testing;

pub use api::{
    Body, Bounds, CleanStats, Commit, Done, Durability, Entry, Log, LogError, LogStats, ReadError, ReadLimit,
    Span, StoredBatch, Target, Trim,
};
pub use disk::Volume;
pub use disk_log::{DiskLog, Examination, Finding, OpenError, Options, Severity, examine, is_in_use};
pub use fs::FsDisk;
pub use memory::MemoryLog;
pub use overlay::OverlayDisk;
