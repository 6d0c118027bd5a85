//! The limits of this frontend, each with its unit and its reason.

use std::time::Duration;

/// Bytes of structures (not payloads, which are slices of the request) that decoding one request may collect: room
/// for 100,000 partitions, and what a hostile array can cost.
pub const DECODED_BYTES: usize = 16 << 20;
/// Bytes of one string: what a 16-bit length can say, kept for compact strings too so that it can be answered at
/// any version.
pub const STRING_BYTES: usize = i16::MAX as usize;
/// Elements for which an array reserves room before they are read.
pub const ARRAY_PREALLOCATED: usize = 256;
/// Tagged fields of one structure: the schemas know fewer than ten.
pub const TAGS: u32 = 1_000;
/// Bodies below this many bytes are copied into the response: a copy is cheaper than one more slice to write.
pub const COPY_BELOW_BYTES: usize = 1024;
/// Requests of one connection that are served at a time, in order: enough to fill a commit while another is on its way.
pub const IN_FLIGHT: usize = 100;
/// Bytes of an answer above which it is paid for while it stands in line behind others: `IN_FLIGHT` of smaller ones are what
/// a connection costs anyhow.
pub const UNPAID_BYTES: usize = 1024;
/// Bytes of a connection's read buffer: holds a size and most requests without records.
pub const READ_BUFFER_BYTES: usize = 8 << 10;
/// Bytes of a request that are reserved and allocated on its word alone; the rest is, each time, as much as has come.
pub const TRUSTED_BYTES: usize = 1 << 20;
/// Parts of responses that are given to the system in one call; the system's own limit is 1,024.
pub const WRITE_PARTS: usize = 256;
/// Bytes that a fetch reserves at the least; below it waits for memory instead of answering with less.
pub const FETCH_LEAST_BYTES: usize = 64 << 10;
/// Consumers far behind that read from the disk at a time while others write: a sync waits for all of them, several times over.
pub const CATCH_UP_READS: usize = 1;
/// Bytes that one answer to OffsetFetch may cost in memory; a group needs about 150 for each partition, and its metadata
/// twice. Reached by naming a group again and again, or by a million offsets at once.
pub const OFFSETS_BYTES: usize = 128 << 20;
/// What one offset of such an answer costs besides its metadata: the structure, and its bytes on the wire.
pub const OFFSET_OVERHEAD_BYTES: usize = 150;
/// Bytes of metadata of one OffsetCommit, over all its partitions: bounds what one request adds to a commit of the log.
pub const COMMIT_METADATA_BYTES: usize = 4 << 20;
/// Bytes of members in one answer to DescribeGroups: as many as all groups may occupy, for the same reason.
pub const DESCRIBED_BYTES: usize = crate::group::limits::BYTES_TOTAL;
/// Partitions in one answer to DescribeTopicPartitions. Source: Kafka `max.request.partition.size.limit`.
pub const DESCRIBED_PARTITIONS: usize = 2_000;
/// One fetch takes at most this part of all memory for buffers, whatever it asks for: so many clients that do not read
/// their answers can be served before others wait for them.
pub const FETCH_BUDGET_PART: usize = 8;
/// Partitions that all fetch sessions remember together, about 120 bytes each: beyond, consumers are declined and name their
/// partitions with every fetch.
pub const FETCH_SESSION_PARTITIONS: usize = 200_000;
/// Fetches of one connection that gather or hold an answer at a time; clients send one.
pub const FETCHES_AT_A_TIME: usize = 1;
/// How long answers are still sent once the broker goes down: the whole process has ten seconds.
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);
