//! The footer of a sealed file: index pages, what of them stays in memory, and a trailer that ends the file.
//!
//! ```text
//! at a multiple of 4096:  pages (index.rs)
//! then:                   fences: base of each page's first entry u64 ...
//!                         partitions, 56 bytes each: partition u64, first u64, end u64, bytes u64, largest timestamp i64,
//!                         latest append time i64, first entry u32, entries u32
//! last 80 bytes:          magic "DUOLOGT1" u64, format version u32, partitions u32, pages u32, entries u32, file id u64,
//!                         pages at u64, end of frames u64, first sequence u64, last sequence u64, zero u64,
//!                         CRC-32C u32 of fences and partitions, CRC-32C u32 of the trailer before, both seeded
//! ```
//! A partition has several rows where other files hold batches between two of its own here: no two rows of a partition, of
//! whichever files, overlap. An entry's number gives its page, so a partition's row and the fences lead to one page read per look-up. Of a file
//! with 10 million batches 1.3 MB stay in memory.

use duolog_record::{Offset, PartitionId, Timestamp};

use super::fields::{Fields, PutFields};
use super::index::{ENTRIES_PER_PAGE, IndexEntry, encode_page};
use super::{BLOCK_BYTES, FormatError, VERSION, align_up, checksum};

const MAGIC: u64 = u64::from_le_bytes(*b"DUOLOGT1");
/// Bytes at the very end.
pub(crate) const TRAILER_BYTES: usize = 80;
const ROW_BYTES: usize = 56;
const FENCE_BYTES: usize = 8;

/// A stretch of one partition that a file holds; no other file has anything within.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) partition: PartitionId,
    /// Base of its first batch here.
    pub(crate) first: Offset,
    /// End of its last batch here.
    pub(crate) end: Offset,
    /// Bytes of its bodies here.
    pub(crate) bytes: u64,
    pub(crate) max_timestamp: Timestamp,
    pub(crate) append_time_max: Timestamp,
    /// Number of its first entry in the index.
    pub(crate) entry_first: u32,
    pub(crate) entries: u32,
}

/// What of a footer stays in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Footer {
    pub(crate) pages_at: u64,
    pub(crate) frames_end: u64,
    pub(crate) first_sequence: u64,
    pub(crate) last_sequence: u64,
    pub(crate) fences: Vec<Offset>,
    /// Rising by partition.
    pub(crate) rows: Vec<Row>,
}

/// The trailer: where the rest is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trailer {
    partitions: usize,
    pages: usize,
    entries: u32,
    pages_at: u64,
    frames_end: u64,
    first_sequence: u64,
    last_sequence: u64,
    meta_crc: u32,
}

/// Bytes that a footer takes at most behind frames that end anywhere.
pub(crate) fn footer_bytes(entries: usize, partitions: usize) -> u64 {
    let pages = entries.div_ceil(ENTRIES_PER_PAGE);
    let bytes = BLOCK_BYTES + pages * (BLOCK_BYTES + FENCE_BYTES) + partitions * ROW_BYTES + TRAILER_BYTES;
    bytes as u64
}

/// The footer of a file whose frames end at `frames_end`, from its entries sorted by (partition, base): the bytes to write at
/// `pages_at`, and what stays in memory.
pub(crate) fn encode(
    (file, seed): (u64, u64),
    frames_end: u64,
    sequences: (u64, u64),
    entries: &[IndexEntry],
    is_apart: impl Fn(&IndexEntry, &IndexEntry) -> bool,
) -> (Vec<u8>, Footer) {
    let pages_at = align_up(frames_end, BLOCK_BYTES as u64);
    let rows = rows_of(entries, is_apart);
    let fences: Vec<Offset> = entries.chunks(ENTRIES_PER_PAGE).map(|page| page[0].base).collect();
    let mut out = Vec::with_capacity(footer_bytes(entries.len(), rows.len()) as usize);
    for page in entries.chunks(ENTRIES_PER_PAGE) {
        let position = pages_at + out.len() as u64;
        encode_page(&mut out, page, seed, position);
    }
    let meta_from = out.len();
    for fence in &fences {
        out.put_u64(fence.0);
    }
    for row in &rows {
        encode_row(&mut out, row);
    }
    let meta_crc = checksum(seed, pages_at + meta_from as u64, &[&out[meta_from..]]);
    let trailer_from = out.len();
    out.put_u64(MAGIC);
    out.put_u32(VERSION);
    out.put_u32(rows.len() as u32);
    out.put_u32(fences.len() as u32);
    out.put_u32(entries.len() as u32);
    out.put_u64(file);
    out.put_u64(pages_at);
    out.put_u64(frames_end);
    out.put_u64(sequences.0);
    out.put_u64(sequences.1);
    out.put_u64(0);
    out.put_u32(meta_crc);
    let crc = checksum(seed, pages_at + trailer_from as u64, &[&out[trailer_from..]]);
    out.put_u32(crc);
    let footer = Footer {
        pages_at,
        frames_end,
        first_sequence: sequences.0,
        last_sequence: sequences.1,
        fences,
        rows,
    };
    (out, footer)
}

/// One row a stretch, from entries sorted by (partition, base). `is_apart` tells where other files have something between two
/// entries of one partition.
pub(crate) fn rows_of(
    entries: &[IndexEntry],
    is_apart: impl Fn(&IndexEntry, &IndexEntry) -> bool,
) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for (number, entry) in entries.iter().enumerate() {
        let goes_on = number > 0
            && entries[number - 1].partition == entry.partition
            && !is_apart(&entries[number - 1], entry);
        match rows.last_mut().filter(|_| goes_on) {
            Some(row) => {
                row.end = entry.end();
                row.bytes += u64::from(entry.body_bytes);
                row.max_timestamp = row.max_timestamp.max(entry.max_timestamp);
                row.append_time_max = row.append_time_max.max(entry.append_time);
                row.entries += 1;
            }
            None => rows.push(Row {
                partition: entry.partition,
                first: entry.base,
                end: entry.end(),
                bytes: u64::from(entry.body_bytes),
                max_timestamp: entry.max_timestamp,
                append_time_max: entry.append_time,
                entry_first: number as u32,
                entries: 1,
            }),
        }
    }
    rows
}

fn encode_row(out: &mut Vec<u8>, row: &Row) {
    out.put_u64(row.partition.0);
    out.put_u64(row.first.0);
    out.put_u64(row.end.0);
    out.put_u64(row.bytes);
    out.put_i64(row.max_timestamp.0);
    out.put_i64(row.append_time_max.0);
    out.put_u32(row.entry_first);
    out.put_u32(row.entries);
}

fn decode_row(fields: &mut Fields<'_>) -> Option<Row> {
    Some(Row {
        partition: PartitionId(fields.u64()?),
        first: Offset(fields.u64()?),
        end: Offset(fields.u64()?),
        bytes: fields.u64()?,
        max_timestamp: Timestamp(fields.i64()?),
        append_time_max: Timestamp(fields.i64()?),
        entry_first: fields.u32()?,
        entries: fields.u32()?,
    })
}

impl Trailer {
    /// Reads the last bytes of the file with this seed, whose length is `file_bytes`.
    ///
    /// # Errors
    /// See [`FormatError`].
    pub(crate) fn decode(bytes: &[u8], seed: u64, file_bytes: u64) -> Result<Self, FormatError> {
        let mut fields = Fields::new(bytes);
        if bytes.len() != TRAILER_BYTES || fields.u64() != Some(MAGIC) {
            return Err(FormatError::Absent);
        }
        let version = fields.u32().unwrap_or(0);
        if version > VERSION {
            return Err(FormatError::Newer(version));
        }
        let covered = TRAILER_BYTES - 4;
        let position = file_bytes.saturating_sub(TRAILER_BYTES as u64);
        if Fields::new(&bytes[covered..]).u32() != Some(checksum(seed, position, &[&bytes[..covered]])) {
            return Err(FormatError::BadChecksum);
        }
        let trailer = Self::decode_rest(&mut fields).ok_or(FormatError::Malformed("short"))?;
        let meta = trailer.meta_bytes() as u64;
        let ends = trailer.meta_at().checked_add(meta).and_then(|end| end.checked_add(TRAILER_BYTES as u64));
        let pages_fit = trailer.pages == (trailer.entries as usize).div_ceil(ENTRIES_PER_PAGE);
        if ends != Some(file_bytes) || !pages_fit || trailer.frames_end > trailer.pages_at {
            return Err(FormatError::Malformed("the lengths of the footer"));
        }
        Ok(trailer)
    }

    fn decode_rest(fields: &mut Fields<'_>) -> Option<Self> {
        let (partitions, pages) = (fields.u32()? as usize, fields.u32()? as usize);
        let entries = fields.u32()?;
        fields.u64()?;
        let (pages_at, frames_end) = (fields.u64()?, fields.u64()?);
        let (first_sequence, last_sequence) = (fields.u64()?, fields.u64()?);
        fields.u64()?;
        let meta_crc = fields.u32()?;
        Some(Self {
            partitions,
            pages,
            entries,
            pages_at,
            frames_end,
            first_sequence,
            last_sequence,
            meta_crc,
        })
    }

    /// Where fences and partitions begin.
    pub(crate) fn meta_at(&self) -> u64 {
        self.pages_at.saturating_add((self.pages * BLOCK_BYTES) as u64)
    }

    /// How long they are; within the file's length, which `decode` has checked.
    pub(crate) fn meta_bytes(&self) -> usize {
        self.pages * FENCE_BYTES + self.partitions * ROW_BYTES
    }

    /// Reads fences and partitions.
    ///
    /// # Errors
    /// See [`FormatError`].
    pub(crate) fn decode_meta(&self, meta: &[u8], seed: u64) -> Result<Footer, FormatError> {
        if meta.len() != self.meta_bytes() || self.meta_crc != checksum(seed, self.meta_at(), &[meta]) {
            return Err(FormatError::BadChecksum);
        }
        let mut fields = Fields::new(meta);
        let fences = (0..self.pages).map(|_| fields.u64().map(Offset)).collect::<Option<Vec<_>>>();
        let rows = (0..self.partitions).map(|_| decode_row(&mut fields)).collect::<Option<Vec<_>>>();
        let (Some(fences), Some(rows)) = (fences, rows) else {
            return Err(FormatError::Malformed("short"));
        };
        let mut next = 0;
        for row in &rows {
            if row.entry_first != next || row.entries == 0 || row.first >= row.end {
                return Err(FormatError::Malformed("a partition of the footer"));
            }
            next = next.checked_add(row.entries).ok_or(FormatError::Malformed("entries of the footer"))?;
        }
        let rising = rows
            .windows(2)
            .all(|pair| (pair[0].partition, pair[0].end) <= (pair[1].partition, pair[1].first));
        if next != self.entries || !rising {
            return Err(FormatError::Malformed("the partitions of the footer"));
        }
        Ok(Footer {
            pages_at: self.pages_at,
            frames_end: self.frames_end,
            first_sequence: self.first_sequence,
            last_sequence: self.last_sequence,
            fences,
            rows,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::index::tests::entry;
    use super::*;

    fn read_back(bytes: &[u8], at: u64) -> Result<Footer, FormatError> {
        let file_bytes = at + bytes.len() as u64;
        let trailer = Trailer::decode(&bytes[bytes.len() - TRAILER_BYTES..], 3, file_bytes)?;
        let meta_at = (trailer.meta_at() - at) as usize;
        trailer.decode_meta(&bytes[meta_at..meta_at + trailer.meta_bytes()], 3)
    }

    #[test]
    fn a_footer_is_read_back_and_within_its_estimate() {
        let mut entries: Vec<_> = (0..100).map(|base| entry(1, base * 2, 2)).collect();
        entries.extend((0..3).map(|base| entry(2, base, 1)));
        let (bytes, footer) = encode((1, 3), 5000, (10, 20), &entries, |_, _| false);
        assert!(8192 + bytes.len() as u64 <= 5000 + footer_bytes(entries.len(), 2));
        assert_eq!(read_back(&bytes, 8192).unwrap(), footer);
        assert_eq!(footer.fences, [Offset(0), Offset(126)]);
        assert_eq!((footer.rows[0].end, footer.rows[1].entry_first), (Offset(200), 100));
        for at in [bytes.len() - 1, bytes.len() - TRAILER_BYTES, bytes.len() - TRAILER_BYTES - 1] {
            let mut damaged = bytes.clone();
            damaged[at] ^= 4;
            assert!(read_back(&damaged, 8192).is_err());
        }
    }

    #[test]
    fn a_partition_has_a_row_for_each_stretch() {
        let entries = [entry(1, 0, 5), entry(1, 5, 5), entry(1, 20, 5), entry(1, 40, 1), entry(2, 0, 1)];
        let (bytes, footer) = encode((1, 3), 4096, (1, 3), &entries, |_, next| next.base == Offset(20));
        assert_eq!(read_back(&bytes, 4096).unwrap(), footer);
        let stretches: Vec<_> = footer.rows.iter().map(|it| (it.partition.0, it.first.0, it.end.0)).collect();
        assert_eq!(stretches, [(1, 0, 10), (1, 20, 41), (2, 0, 1)]);
    }

    #[test]
    fn an_empty_file_has_a_footer_too() {
        let (bytes, footer) = encode((1, 3), 4096, (1, 0), &[], |_, _| false);
        assert_eq!(read_back(&bytes, 4096).unwrap(), footer);
        assert!(footer.rows.is_empty());
    }
}
