//! What the owner of a log decides, and why an opening fails.

use std::io;
use std::time::Duration;

use crate::limits::{FILE_BYTES_MAX, FILE_BYTES_MIN};

/// How a log on disk is laid out and how much memory it may take. `Default` is what a broker wants.
#[derive(Clone, Debug)]
pub struct Options {
    /// Bytes of one file, allocated at once. A commit that is larger gets a larger file.
    pub file_bytes: u64,
    /// Targets of one file: bounds the index in memory, 72 bytes each.
    pub file_targets: usize,
    /// Bytes of recent bodies kept in memory.
    pub cache_bytes: usize,
    /// Files' worth of disk kept in reserve, so that what frees space works on a full disk.
    pub reserve_files: u32,
    /// Bytes of bodies written with one sync; a single larger commit is a group of its own.
    pub group_bytes: usize,
    /// A random number, for a directory that is made: with it no client can forge what would pass for a frame where a
    /// torn tail is searched.
    pub salt: u64,
    /// Bytes a second that rewriting reads and writes at most.
    pub clean_bytes_per_second: u64,
    /// What is dead for so long leaves the disk even where little of a file is dead. Counted from when the file is sealed
    /// and the death is seen; milliseconds.
    pub purge_ms: u64,
    /// Stretches of partitions in sealed files (a partition in a file is one, if nothing was rewritten), about 100 bytes of
    /// memory each: above this number files are merged.
    pub extents_max: usize,
    /// After so long without a commit the watermark is written. Without a thread: as soon as nothing waits.
    pub idle: Duration,
}

impl Options {
    /// Positions in an index are 32 bits wide; a file has room for what it begins with.
    pub(crate) fn checked(mut self) -> Self {
        self.file_bytes = self.file_bytes.clamp(FILE_BYTES_MIN, FILE_BYTES_MAX);
        self.file_targets = self.file_targets.max(1);
        self.clean_bytes_per_second = self.clean_bytes_per_second.max(1);
        self
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            file_bytes: 64 << 20,
            file_targets: 256 << 10,
            cache_bytes: 32 << 20,
            reserve_files: 2,
            group_bytes: 16 << 20,
            salt: 0,
            clean_bytes_per_second: 64 << 20,
            purge_ms: 24 * 60 * 60 * 1000,
            extents_max: 128 << 10,
            idle: Duration::from_millis(20),
        }
    }
}

/// Why a directory could not be opened as a log. Nothing in it has been deleted.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("{directory} is in use by another process: stop it, or use another data directory")]
    Locked {
        /// The data directory.
        directory: String,
    },
    /// A later release wrote it.
    #[error(
        "{what} in {directory} has format version {found}, this release reads up to {known}: use a newer release"
    )]
    NewerFormat {
        /// The data directory.
        directory: String,
        /// Which file.
        what: String,
        /// Its version.
        found: u32,
        /// The newest that is known here.
        known: u32,
    },
    /// A file with acknowledged data is not in the manifest: the manifest is older than the data.
    #[error(
        "{name} in {directory} holds data but is not in the manifest, which seems to be an old copy: restore the directory \
         as a whole from one backup, or move the file away to give up what is in it"
    )]
    Unlisted {
        /// The data directory.
        directory: String,
        /// The file.
        name: String,
    },
    /// A file in the manifest is not there.
    #[error(
        "{name} is missing from {directory}, the manifest lists it: restore the directory as a whole from a backup"
    )]
    Missing {
        /// The data directory.
        directory: String,
        /// The file.
        name: String,
    },
    /// The manifest cannot be read.
    #[error("the manifest in {directory} is damaged ({reason}): restore it from a backup")]
    DamagedManifest {
        /// The data directory.
        directory: String,
        /// What was found.
        reason: String,
    },
    /// There is no room for the first files.
    #[error("no space left for {bytes} bytes in {directory}: make room, then start again")]
    DiskFull {
        /// The data directory.
        directory: String,
        /// What was needed.
        bytes: u64,
    },
    /// The system refused.
    #[error("cannot {what} in {directory}: {error}")]
    Io {
        /// The data directory.
        directory: String,
        /// What was tried.
        what: String,
        /// The system's word.
        error: io::Error,
    },
}
