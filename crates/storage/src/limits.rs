//! The limits of the storage, each with its unit and its reason.

/// Largest commit, bytes of bodies: a frame is written, read back and checksummed as one piece.
pub const COMMIT_BYTES: usize = 64 << 20;
/// Targets of one entry: bounds what one frame header can hold; more are several frames.
pub const TARGETS_PER_ENTRY: usize = 1024;
/// Targets, trims and key hashes of one commit together: keeps a frame header below `FRAME_HEADER_BYTES`.
pub const TARGETS_PER_COMMIT: usize = 64 << 10;
/// Smallest body, bytes: the fields of a batch header behind the prefix, records excluded.
pub const BODY_BYTES_MIN: usize = 45;
/// Parts of one vectored write: the least `IOV_MAX` of the systems we run on; more go in several calls.
pub const WRITE_PARTS: usize = 1024;
/// Header of one frame, bytes: 60 for each of `TARGETS_PER_COMMIT` and the fixed part.
pub const FRAME_HEADER_BYTES: usize = 4 << 20;
/// Files of one log; at 64 MiB each that is 64 TiB. Bounds what a manifest can make us allocate.
pub const FILES: usize = 1 << 20;
/// Files that one file may have been rewritten from: what fits its first block.
pub const INPUTS_PER_FILE: usize = 500;
/// Live batches that one rewrite handles, over all its inputs; two full files' worth. About 100 bytes of memory each.
pub const REWRITE_ENTRIES: usize = 512 << 10;
/// Bytes of bodies that one rewrite handles: what it needs of disk beside its inputs.
pub const REWRITE_BYTES: u64 = 1 << 30;
/// Bytes that a rewrite copies at a time, and with one write.
pub const REWRITE_CHUNK_BYTES: u64 = 1 << 20;
/// Bodies in one rewritten frame: what is lost with a damaged header, were the index lost too.
pub const REWRITE_FRAME_BODIES: usize = 1024;
/// Targets and key hashes in one rewritten frame: a quarter of what a header may hold.
pub const REWRITE_FRAME_PLACES: usize = 16 << 10;
/// Bytes between two syncs of a file that is being rewritten: what the system has to write at once is what others wait for.
pub const REWRITE_SYNC_BYTES: u64 = 8 << 20;
/// Sealed files below a quarter of the size of one that are merged at once.
pub const SMALL_FILES: usize = 8;
/// Batches of one partition that lie closer together than this, in bytes, are worth sorting.
pub const SCATTERED_BYTES: u64 = 64 << 10;
/// Reads of scattered batches after which they are sorted.
pub const SCATTERED_READS: u64 = 64;
/// Bounds that one frame carries into a new file: half of what its header could hold.
pub const CARRIED_PER_FRAME: usize = 32 << 10;
/// Bytes read at a time when a file is scanned, and when neighbouring bodies are read together.
pub const READ_BYTES: usize = 1 << 20;
/// Bytes between two bodies that are read along rather than read apart.
pub const READ_GAP_BYTES: u64 = 8 << 10;
/// What may be kept in memory of bytes read along, as a part of the bodies' own: one of so many. Above, bodies are copied.
pub const READ_ALONG_SHARE: u64 = 8;
/// Largest manifest that is read: `FILES` listed and as many dropped.
pub const MANIFEST_BYTES: usize = 48 * FILES + 64;
/// Smallest file, bytes: header, carried bounds and footer of a small log, with some frames between them.
pub const FILE_BYTES_MIN: u64 = 32 << 10;
/// Largest file, bytes: positions in an index are 32 bits wide, and one commit may exceed the size by its own.
pub const FILE_BYTES_MAX: u64 = 2 << 30;
/// Bytes by which a file shrinks at a time before it is unlinked: some milliseconds of a file system's time.
pub const UNLINK_STEP_BYTES: u64 = 4 << 20;
