//! An index page: where the batches of a file are, 63 to a page, sorted by (partition, offset).
//!
//! ```text
//! page (4096 bytes): magic "DLIX" u32, entries u32, CRC-32C u32 of all but these four bytes seeded with (file seed, position),
//!                    52 zeros, then entries of 64 bytes, then zeros
//! entry: partition u64, base u64, largest timestamp i64, append time i64, body position u32, body bytes u32,
//!        offsets u32, body CRC u32, epoch i32, frame position u32, flags u32 (1 damaged, 2 abort mark, 4 key hashes), 0 u32
//! ```
//! What only some entries have (key hashes, an abort mark's first offset) is in the frame, which the entry points to. A
//! damaged entry covers offsets whose bytes were acknowledged and cannot be read.

use duolog_record::{Offset, PartitionId, Timestamp};

use super::fields::{Fields, PutFields};
use super::{BLOCK_BYTES, FormatError, checksum};
use crate::Span;
use crate::planted::{self, Bug};

const MAGIC: u32 = u32::from_le_bytes(*b"DLIX");
const PAGE_HEAD_BYTES: usize = 64;
const ENTRY_BYTES: usize = 64;
/// Entries of a full page.
pub(crate) const ENTRIES_PER_PAGE: usize = (BLOCK_BYTES - PAGE_HEAD_BYTES) / ENTRY_BYTES;
const FLAG_DAMAGED: u32 = 1;
const FLAG_ABORT: u32 = 2;
const FLAG_HASHES: u32 = 4;
const FLAG_UNKEYED: u32 = 8;
const FLAG_TIMED: u32 = 16;

/// One batch in one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IndexEntry {
    pub(crate) partition: PartitionId,
    pub(crate) base: Offset,
    pub(crate) max_timestamp: Timestamp,
    pub(crate) append_time: Timestamp,
    pub(crate) body_position: u32,
    pub(crate) body_bytes: u32,
    pub(crate) offsets: u32,
    pub(crate) body_crc: u32,
    pub(crate) leader_epoch: i32,
    pub(crate) frame_position: u32,
    pub(crate) damaged: bool,
    pub(crate) abort_mark: bool,
    pub(crate) key_hashes: bool,
    /// See `Body::unkeyed`.
    pub(crate) unkeyed: bool,
    /// See `Body::timed`.
    pub(crate) timed: bool,
}

impl IndexEntry {
    /// The offset after its last.
    pub(crate) fn end(&self) -> Offset {
        self.base.plus(u64::from(self.offsets))
    }

    pub(crate) fn span(&self) -> Span {
        Span {
            base: self.base,
            offsets: self.offsets,
            append_time: self.append_time,
            max_timestamp: self.max_timestamp,
            bytes: self.body_bytes,
            unkeyed: self.unkeyed,
            timed: self.timed,
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let flag = |on: bool, flag: u32| if on { flag } else { 0 };
        out.put_u64(self.partition.0);
        out.put_u64(self.base.0);
        out.put_i64(self.max_timestamp.0);
        out.put_i64(self.append_time.0);
        out.put_u32(self.body_position);
        out.put_u32(self.body_bytes);
        out.put_u32(self.offsets);
        out.put_u32(self.body_crc);
        out.put_i32(self.leader_epoch);
        out.put_u32(self.frame_position);
        out.put_u32(
            flag(self.damaged, FLAG_DAMAGED)
                | flag(self.abort_mark, FLAG_ABORT)
                | flag(self.key_hashes, FLAG_HASHES)
                | flag(self.unkeyed, FLAG_UNKEYED)
                | flag(self.timed, FLAG_TIMED),
        );
        out.put_u32(0);
    }

    fn decode(fields: &mut Fields<'_>) -> Option<Self> {
        let (partition, base) = (PartitionId(fields.u64()?), Offset(fields.u64()?));
        let (max_timestamp, append_time) = (Timestamp(fields.i64()?), Timestamp(fields.i64()?));
        let (body_position, body_bytes) = (fields.u32()?, fields.u32()?);
        let (offsets, body_crc) = (fields.u32()?, fields.u32()?);
        let (leader_epoch, frame_position, flags) = (fields.i32()?, fields.u32()?, fields.u32()?);
        fields.u32()?;
        base.0.checked_add(u64::from(offsets))?;
        Some(Self {
            partition,
            base,
            max_timestamp,
            append_time,
            body_position,
            body_bytes,
            offsets,
            body_crc,
            leader_epoch,
            frame_position,
            damaged: flags & FLAG_DAMAGED != 0,
            abort_mark: flags & FLAG_ABORT != 0,
            key_hashes: flags & FLAG_HASHES != 0,
            unkeyed: flags & FLAG_UNKEYED != 0,
            timed: flags & FLAG_TIMED != 0,
        })
    }
}

/// Appends one page with `entries`, which lies at `position` of the file with this seed.
pub(crate) fn encode_page(out: &mut Vec<u8>, entries: &[IndexEntry], seed: u64, position: u64) {
    assert!(entries.len() <= ENTRIES_PER_PAGE, "{} entries in a page", entries.len());
    let from = out.len();
    out.put_u32(MAGIC);
    out.put_u32(entries.len() as u32);
    out.resize(from + PAGE_HEAD_BYTES, 0);
    for entry in entries {
        entry.encode(out);
    }
    out.resize(from + BLOCK_BYTES, 0);
    let crc = page_checksum(&out[from..], seed, position);
    out[from + 8..from + 12].copy_from_slice(&crc.to_le_bytes());
}

fn page_checksum(page: &[u8], seed: u64, position: u64) -> u32 {
    checksum(seed, position, &[&page[..8], &page[12..]])
}

/// Reads a page.
///
/// # Errors
/// See [`FormatError`].
pub(crate) fn decode_page(page: &[u8], seed: u64, position: u64) -> Result<Vec<IndexEntry>, FormatError> {
    if page.len() != BLOCK_BYTES {
        return Err(FormatError::Malformed("short"));
    }
    let mut fields = Fields::new(page);
    if fields.u32() != Some(MAGIC) {
        return Err(FormatError::Absent);
    }
    let (count, crc) = (fields.u32(), fields.u32());
    if crc != Some(page_checksum(page, seed, position)) && !planted::is(Bug::PageCrcIgnored) {
        return Err(FormatError::BadChecksum);
    }
    let count = count.unwrap_or(0) as usize;
    if count > ENTRIES_PER_PAGE {
        return Err(FormatError::Malformed("entries of a page"));
    }
    let mut fields = Fields::new(&page[PAGE_HEAD_BYTES..]);
    (0..count)
        .map(|_| IndexEntry::decode(&mut fields))
        .collect::<Option<_>>()
        .ok_or(FormatError::Malformed("index entry"))
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A sound entry for tests.
    pub(crate) fn entry(partition: u64, base: u64, offsets: u32) -> IndexEntry {
        IndexEntry {
            partition: PartitionId(partition),
            base: Offset(base),
            max_timestamp: Timestamp(base as i64 * 10),
            append_time: Timestamp(base as i64),
            body_position: 4200,
            body_bytes: 100,
            offsets,
            body_crc: 9,
            leader_epoch: 3,
            frame_position: 4096,
            damaged: base == 2,
            abort_mark: base == 3,
            key_hashes: base == 4,
            unkeyed: base == 5,
            timed: base == 7,
        }
    }

    #[test]
    fn a_full_page_is_read_back_and_only_at_its_own_place() {
        let entries: Vec<_> = (0..ENTRIES_PER_PAGE as u64).map(|base| entry(1, base, 1)).collect();
        let mut page = Vec::new();
        encode_page(&mut page, &entries, 5, 8192);
        assert_eq!(page.len(), BLOCK_BYTES);
        assert_eq!(decode_page(&page, 5, 8192).unwrap(), entries);
        assert_eq!(decode_page(&page, 5, 4096), Err(FormatError::BadChecksum));
        page[100] ^= 1;
        assert_eq!(decode_page(&page, 5, 8192), Err(FormatError::BadChecksum));
        assert_eq!(decode_page(&[0; BLOCK_BYTES], 5, 8192), Err(FormatError::Absent));
        assert!(decode_page(&page[..7], 5, 8192).is_err());
    }
}
