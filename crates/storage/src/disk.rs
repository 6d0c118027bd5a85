//! The disk as the log sees it: a flat directory of files, with exactly the calls whose durability matters.
//!
//! The production code on a real file system and the simulated disk of the tests are the two implementations, so
//! that fault injection sees every write, sync, rename and unlink that the log makes.

use std::io;
use std::sync::Arc;

/// The size of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Bytes that it holds.
    pub total_bytes: u64,
    /// Bytes that this process can still have.
    pub usable_bytes: u64,
}

/// A directory that belongs to one log alone. Names are the log's own (`[a-z0-9.-]+`), never a client's.
pub trait Disk: Send + Sync {
    /// Takes the directory's lock for this process, creating the directory if it is not there.
    ///
    /// # Errors
    /// `WouldBlock` if another process holds it; else the system's error.
    fn lock(&self) -> io::Result<()>;

    /// Gives the lock back.
    fn unlock(&self);

    /// For messages only.
    fn describe(&self) -> String;

    /// How large the volume is that it lies on; `None` if it is on none.
    ///
    /// # Errors
    /// The system's.
    fn volume(&self) -> io::Result<Option<Volume>> {
        Ok(None)
    }

    /// All file names, in any order.
    ///
    /// # Errors
    /// The system's.
    fn list(&self) -> io::Result<Vec<String>>;

    /// A new, empty file; it survives a power loss only after `sync_directory`.
    ///
    /// # Errors
    /// `AlreadyExists`; `StorageFull` if there is no room for its name: there is none then, the caller may go on; or the
    /// system's.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// An existing file, for reading and writing.
    ///
    /// # Errors
    /// `NotFound`, or the system's.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Renames over whatever `to` was; survives a power loss only after `sync_directory`.
    ///
    /// # Errors
    /// `StorageFull` if there is no room for the name: nothing has changed, the caller may go on; or the system's.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Takes a name away; the bytes go when the last handle is dropped.
    ///
    /// # Errors
    /// The system's.
    fn unlink(&self, name: &str) -> io::Result<()>;

    /// Makes creations, renames and unlinks so far survive a power loss.
    ///
    /// # Errors
    /// The system's; never retried by the log.
    fn sync_directory(&self) -> io::Result<()>;
}

/// One file.
#[allow(clippy::len_without_is_empty, reason = "an empty file is nothing special to a log")]
pub trait DiskFile: Send + Sync {
    /// Reads exactly `into.len()` bytes at `position`.
    ///
    /// # Errors
    /// `UnexpectedEof` beyond the end; else the system's.
    fn read_at(&self, into: &mut [u8], position: u64) -> io::Result<()>;

    /// Writes all `parts` one after the other at `position` (`pwritev`).
    ///
    /// # Errors
    /// The system's; the log never retries and never acknowledges past it.
    fn write_at(&self, parts: &[io::IoSlice<'_>], position: u64) -> io::Result<()>;

    /// Makes the data (and the length) survive a power loss: fdatasync, on macOS `F_FULLFSYNC`.
    ///
    /// # Errors
    /// The system's; never retried.
    fn sync_data(&self) -> io::Result<()>;

    /// Makes sure that blocks exist for `position..position + length`, growing the file if need be.
    ///
    /// # Errors
    /// `StorageFull` if there are none: nothing has been written, the caller may go on.
    fn allocate(&self, position: u64, length: u64) -> io::Result<()>;

    /// Present length in bytes.
    ///
    /// # Errors
    /// The system's.
    fn len(&self) -> io::Result<u64>;

    /// Cuts or grows (with zeros) to `length`.
    ///
    /// # Errors
    /// The system's.
    fn set_len(&self, length: u64) -> io::Result<()>;
}
