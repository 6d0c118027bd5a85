//! A frame: one commit, whole or not there.
//!
//! ```text
//! 0   magic "DLFR" u32            24  sequence u64          52  flags u32: 1 carried bounds, 2 rewritten
//! 4   header bytes u32            32  durable upto u64      56  zero u32
//! 8   body bytes u32              40  append time i64       60  CRC-32C u32 of the header but these four bytes,
//! 12  entries u32                 48  incarnation u32           seeded with (file seed, position)
//! 16  bounds u32                                            64  entries, bounds, zeros to a multiple of 8
//! 20  zero u32                                              ..  bodies one after the other, zeros to a multiple of 8
//! entry:  body bytes u32, offsets u32, body CRC u32, targets u32, key hashes u32, flags u32 (1 abort mark, 2 own append time),
//!         largest timestamp i64, targets (partition u64, base u64, epoch i32), [abort first u64], [append time i64],
//!         key hashes u64 ...
//! bounds: partition u64, start u64, end u64, epoch i32, flags u32 (1 removed, 2 quarantined)
//! ```
//! The checksum covers targets, lengths, the bodies' own checksums and the append time; a body carries its checksum at its
//! front, so a frame is sound if its header is and each body matches the one stated. *Durable upto* is the sequence of the
//! last frame that was on stable storage when this one was written: a damaged frame at or below it was acknowledged.
//! A *rewritten* frame holds survivors of other files: its entries keep their own append times, and where one begins says
//! nothing about where the one before it ended.

use duolog_record::{Offset, PartitionId, Timestamp};

use super::fields::{Fields, PutFields};
use super::{FRAME_ALIGN, FormatError, align_up, checksum};
use crate::limits::{FRAME_HEADER_BYTES, TARGETS_PER_COMMIT};
use crate::{Entry, Target};

/// The first four bytes of a frame.
pub(crate) const MAGIC: [u8; 4] = *b"DLFR";
/// Bytes before the entries.
pub(crate) const FIXED_BYTES: usize = 64;
const CRC_AT: usize = 60;
const ENTRY_BYTES: usize = 32;
const TARGET_BYTES: usize = 20;
/// Bytes of one bounds target.
pub(crate) const BOUNDS_BYTES: usize = 32;
const HASH_BYTES: usize = 8;
const TIME_BYTES: usize = 8;
const FLAG_CARRIED: u32 = 1;
const FLAG_REWRITTEN: u32 = 2;
const FLAG_ABORT: u32 = 1;
const FLAG_OWN_TIME: u32 = 2;
const FLAG_UNKEYED: u32 = 4;
const FLAG_TIMED: u32 = 8;
const FLAG_REMOVED: u32 = 1;
const FLAG_QUARANTINED: u32 = 2;

/// The first and next offset of a partition, as told by a trim or carried into a new file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BoundsTarget {
    pub(crate) partition: PartitionId,
    pub(crate) start: Offset,
    pub(crate) end: Offset,
    /// The last that was stamped.
    pub(crate) leader_epoch: i32,
    /// The partition is gone for good.
    pub(crate) removed: bool,
    /// Its end is in doubt after damage: it takes no appends.
    pub(crate) quarantined: bool,
}

/// What a frame says besides its commit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FramePlace {
    pub(crate) seed: u64,
    pub(crate) position: u64,
    pub(crate) sequence: u64,
    pub(crate) durable_upto: u64,
    pub(crate) incarnation: u32,
    pub(crate) append_time: Timestamp,
    /// What kind of frame it is.
    pub(crate) kind: FrameKind,
}

/// Where what is in a frame comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameKind {
    /// A commit.
    Commit,
    /// Bounds brought over from the file before.
    Carried,
    /// Survivors of other files.
    Rewritten,
}

impl FrameKind {
    fn flags(self) -> u32 {
        match self {
            Self::Commit => 0,
            Self::Carried => FLAG_CARRIED,
            Self::Rewritten => FLAG_REWRITTEN,
        }
    }

    fn of(flags: u32) -> Self {
        if flags & FLAG_REWRITTEN != 0 {
            Self::Rewritten
        } else if flags & FLAG_CARRIED != 0 {
            Self::Carried
        } else {
            Self::Commit
        }
    }
}

/// A body of a decoded frame and where it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FrameEntry {
    /// From the beginning of the file.
    pub(crate) body_position: u64,
    pub(crate) body_bytes: u32,
    pub(crate) offsets: u32,
    pub(crate) body_crc: u32,
    pub(crate) max_timestamp: Timestamp,
    pub(crate) unkeyed: bool,
    pub(crate) timed: bool,
    pub(crate) targets: Vec<Target>,
    pub(crate) key_hashes: Vec<u64>,
    pub(crate) abort_first: Option<Offset>,
    /// Of a rewritten frame's entries.
    pub(crate) append_time: Option<Timestamp>,
}

/// A decoded frame header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) position: u64,
    /// Header, bodies and padding.
    pub(crate) length: u64,
    pub(crate) sequence: u64,
    pub(crate) durable_upto: u64,
    pub(crate) incarnation: u32,
    pub(crate) append_time: Timestamp,
    pub(crate) kind: FrameKind,
    pub(crate) entries: Vec<FrameEntry>,
    pub(crate) bounds: Vec<BoundsTarget>,
}

/// Bytes of the header for these entries and this many bounds, padded.
pub(crate) fn header_bytes(entries: &[Entry], bounds: usize) -> usize {
    let entries: usize = entries.iter().map(entry_bytes).sum();
    align_up((FIXED_BYTES + entries + bounds * BOUNDS_BYTES) as u64, FRAME_ALIGN) as usize
}

fn entry_bytes(entry: &Entry) -> usize {
    ENTRY_BYTES
        + entry.targets.len() * TARGET_BYTES
        + entry.key_hashes.len() * HASH_BYTES
        + entry.abort_first.map_or(0, |_| 8)
}

/// Bytes that one body with these targets and key hashes adds to a rewritten frame's header at most.
pub(crate) const fn rewritten_entry_bytes(targets: usize, key_hashes: usize) -> usize {
    ENTRY_BYTES + targets * TARGET_BYTES + key_hashes * HASH_BYTES + 8 + TIME_BYTES
}

/// Bytes of a whole frame with such a header and such bodies.
pub(crate) fn frame_bytes(header_bytes: usize, body_bytes: usize) -> u64 {
    align_up((header_bytes + body_bytes) as u64, FRAME_ALIGN)
}

/// Appends the header to `out` and gives its length.
pub(crate) fn encode_header(
    out: &mut Vec<u8>,
    place: &FramePlace,
    entries: &[Entry],
    bounds: &[BoundsTarget],
) -> usize {
    let from = out.len();
    let length = header_bytes(entries, bounds.len());
    let body_bytes = entries.iter().map(|it| it.body.bytes.len()).sum();
    encode_fixed(out, place, length, (entries.len(), bounds.len(), body_bytes));
    for entry in entries {
        encode_entry(out, entry, None);
    }
    for target in bounds {
        encode_bounds(out, target);
    }
    finish_header(out, from, length, place)
}

/// The same for survivors of other files, each with its own append time.
pub(crate) fn encode_rewritten(
    out: &mut Vec<u8>,
    place: &FramePlace,
    entries: &[(Entry, Timestamp)],
) -> usize {
    let from = out.len();
    let bytes: usize = entries.iter().map(|(entry, _)| entry_bytes(entry) + TIME_BYTES).sum();
    let length = align_up((FIXED_BYTES + bytes) as u64, FRAME_ALIGN) as usize;
    let body_bytes = entries.iter().map(|(entry, _)| entry.body.bytes.len()).sum();
    encode_fixed(out, place, length, (entries.len(), 0, body_bytes));
    for (entry, append_time) in entries {
        encode_entry(out, entry, Some(*append_time));
    }
    finish_header(out, from, length, place)
}

fn encode_fixed(
    out: &mut Vec<u8>,
    place: &FramePlace,
    length: usize,
    (entries, bounds, body_bytes): (usize, usize, usize),
) {
    out.reserve(length);
    out.extend_from_slice(&MAGIC);
    out.put_u32(length as u32);
    out.put_u32(body_bytes as u32);
    out.put_u32(entries as u32);
    out.put_u32(bounds as u32);
    out.put_u32(0);
    out.put_u64(place.sequence);
    out.put_u64(place.durable_upto);
    out.put_i64(place.append_time.0);
    out.put_u32(place.incarnation);
    out.put_u32(place.kind.flags());
    out.put_u32(0);
    out.put_u32(0);
}

fn finish_header(out: &mut Vec<u8>, from: usize, length: usize, place: &FramePlace) -> usize {
    out.resize(from + length, 0);
    let crc = header_checksum(place.seed, place.position, &out[from..]);
    out[from + CRC_AT..from + CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
    length
}

fn header_checksum(seed: u64, position: u64, header: &[u8]) -> u32 {
    checksum(seed, position, &[&header[..CRC_AT], &header[CRC_AT + 4..]])
}

fn encode_entry(out: &mut Vec<u8>, entry: &Entry, append_time: Option<Timestamp>) {
    out.put_u32(entry.body.bytes.len() as u32);
    out.put_u32(entry.body.offsets);
    out.put_u32(entry.body.crc);
    out.put_u32(entry.targets.len() as u32);
    out.put_u32(entry.key_hashes.len() as u32);
    let abort = entry.abort_first.map_or(0, |_| FLAG_ABORT);
    let own_time = append_time.map_or(0, |_| FLAG_OWN_TIME);
    let unkeyed = if entry.body.unkeyed { FLAG_UNKEYED } else { 0 };
    let timed = if entry.body.timed { FLAG_TIMED } else { 0 };
    out.put_u32(abort | own_time | unkeyed | timed);
    out.put_i64(entry.body.max_timestamp.0);
    for target in &entry.targets {
        out.put_u64(target.partition.0);
        out.put_u64(target.base.0);
        out.put_i32(target.leader_epoch);
    }
    if let Some(first) = entry.abort_first {
        out.put_u64(first.0);
    }
    if let Some(at) = append_time {
        out.put_i64(at.0);
    }
    for hash in &entry.key_hashes {
        out.put_u64(*hash);
    }
}

fn encode_bounds(out: &mut Vec<u8>, target: &BoundsTarget) {
    out.put_u64(target.partition.0);
    out.put_u64(target.start.0);
    out.put_u64(target.end.0);
    out.put_i32(target.leader_epoch);
    let removed = if target.removed { FLAG_REMOVED } else { 0 };
    out.put_u32(removed | if target.quarantined { FLAG_QUARANTINED } else { 0 });
}

/// Bytes of the header whose first [`FIXED_BYTES`] these are, before its checksum can be looked at.
///
/// # Errors
/// `Absent` if no frame begins here; `Malformed` if its lengths cannot be true.
pub(crate) fn header_length(fixed: &[u8]) -> Result<usize, FormatError> {
    let mut fields = Fields::new(fixed);
    if fields.u32() != Some(u32::from_le_bytes(MAGIC)) {
        return Err(FormatError::Absent);
    }
    let length = fields.u32().ok_or(FormatError::Malformed("short"))? as usize;
    if !(FIXED_BYTES..=FRAME_HEADER_BYTES).contains(&length) || !(length as u64).is_multiple_of(FRAME_ALIGN) {
        return Err(FormatError::Malformed("header length"));
    }
    Ok(length)
}

/// Reads a whole header, which lies at `position` of the file with this seed.
///
/// # Errors
/// See [`FormatError`].
pub(crate) fn decode_header(header: &[u8], seed: u64, position: u64) -> Result<Frame, FormatError> {
    let length = header_length(header)?;
    let header = header.get(..length).ok_or(FormatError::Malformed("short"))?;
    let stated = Fields::new(&header[CRC_AT..]).u32();
    if stated != Some(header_checksum(seed, position, header)) {
        return Err(FormatError::BadChecksum);
    }
    decode_fields(header, position).ok_or(FormatError::Malformed("frame header"))
}

fn decode_fields(header: &[u8], position: u64) -> Option<Frame> {
    let mut fields = Fields::new(header.get(8..)?);
    let body_bytes = fields.u32()? as usize;
    let (entries, bounds) = (fields.u32()? as usize, fields.u32()? as usize);
    fields.u32()?;
    let (sequence, durable_upto) = (fields.u64()?, fields.u64()?);
    let append_time = Timestamp(fields.i64()?);
    let (incarnation, flags) = (fields.u32()?, fields.u32()?);
    let mut fields = Fields::new(header.get(FIXED_BYTES..)?);
    let fits = entries.checked_mul(ENTRY_BYTES)?.checked_add(bounds.checked_mul(BOUNDS_BYTES)?)?;
    if entries > TARGETS_PER_COMMIT || fits > fields.left() {
        return None;
    }
    let mut at = position + header.len() as u64;
    let bodies_end = at + body_bytes as u64;
    let entries =
        (0..entries).map(|_| decode_entry(&mut fields, &mut at)).collect::<Option<Vec<FrameEntry>>>()?;
    let bounds = (0..bounds).map(|_| decode_bounds(&mut fields)).collect::<Option<Vec<_>>>()?;
    let length = frame_bytes(header.len(), body_bytes);
    (at == bodies_end).then_some(Frame {
        position,
        length,
        sequence,
        durable_upto,
        incarnation,
        append_time,
        kind: FrameKind::of(flags),
        entries,
        bounds,
    })
}

fn decode_entry(fields: &mut Fields<'_>, at: &mut u64) -> Option<FrameEntry> {
    let (body_bytes, offsets, body_crc) = (fields.u32()?, fields.u32()?, fields.u32()?);
    let (targets, hashes, flags) = (fields.u32()? as usize, fields.u32()? as usize, fields.u32()?);
    let max_timestamp = Timestamp(fields.i64()?);
    let fits = targets.checked_mul(TARGET_BYTES)?.checked_add(hashes.checked_mul(HASH_BYTES)?)?;
    if fits > fields.left() {
        return None;
    }
    let mut decoded = Vec::with_capacity(targets);
    for _ in 0..targets {
        let (partition, base) = (PartitionId(fields.u64()?), Offset(fields.u64()?));
        base.0.checked_add(u64::from(offsets))?;
        decoded.push(Target { partition, base, leader_epoch: fields.i32()? });
    }
    let abort_first = if flags & FLAG_ABORT == 0 { None } else { Some(Offset(fields.u64()?)) };
    let append_time = if flags & FLAG_OWN_TIME == 0 { None } else { Some(Timestamp(fields.i64()?)) };
    let key_hashes = (0..hashes).map(|_| fields.u64()).collect::<Option<Vec<_>>>()?;
    let body_position = *at;
    *at = at.checked_add(u64::from(body_bytes))?;
    Some(FrameEntry {
        body_position,
        body_bytes,
        offsets,
        body_crc,
        max_timestamp,
        unkeyed: flags & FLAG_UNKEYED != 0,
        timed: flags & FLAG_TIMED != 0,
        targets: decoded,
        key_hashes,
        abort_first,
        append_time,
    })
}

fn decode_bounds(fields: &mut Fields<'_>) -> Option<BoundsTarget> {
    let partition = PartitionId(fields.u64()?);
    let (start, end) = (Offset(fields.u64()?), Offset(fields.u64()?));
    let (leader_epoch, flags) = (fields.i32()?, fields.u32()?);
    let (removed, quarantined) = (flags & FLAG_REMOVED != 0, flags & FLAG_QUARANTINED != 0);
    (start <= end).then_some(BoundsTarget { partition, start, end, leader_epoch, removed, quarantined })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing::{append, body};
    use proptest::prelude::*;

    fn place(position: u64) -> FramePlace {
        FramePlace {
            seed: 9,
            position,
            sequence: 5,
            durable_upto: 4,
            incarnation: 2,
            append_time: Timestamp(77),
            kind: FrameKind::Commit,
        }
    }

    fn sample() -> (Vec<Entry>, Vec<BoundsTarget>) {
        let mut fan_out = append(1, 0, 3, b"abc");
        fan_out.targets.push(Target { partition: PartitionId(2), base: Offset(8), leader_epoch: 4 });
        let mut mark = append(3, 7, 1, b"");
        mark.abort_first = Some(Offset(2));
        mark.key_hashes = vec![1, 2, 3];
        mark.body.unkeyed = true;
        let bounds = BoundsTarget {
            partition: PartitionId(4),
            start: Offset(3),
            end: Offset(9),
            leader_epoch: 1,
            removed: false,
            quarantined: true,
        };
        (vec![fan_out, mark], vec![bounds])
    }

    #[test]
    fn a_header_is_read_back_and_only_at_its_own_place() {
        let (entries, bounds) = sample();
        let mut out = vec![0xff; 3];
        let length = encode_header(&mut out, &place(4096), &entries, &bounds);
        let header = &out[3..];
        assert_eq!(header.len(), length);
        assert_eq!(header_length(&header[..FIXED_BYTES]).unwrap(), length);
        let frame = decode_header(header, 9, 4096).unwrap();
        assert_eq!(frame.bounds, bounds);
        assert_eq!(frame.entries[0].targets, entries[0].targets);
        assert_eq!(frame.entries[1].abort_first, Some(Offset(2)));
        assert_eq!(frame.entries[1].key_hashes, [1, 2, 3]);
        assert_eq!([0, 1].map(|it: usize| frame.entries[it].unkeyed), [false, true]);
        assert_eq!(frame.entries[1].body_position, 4096 + length as u64 + 48);
        assert_eq!(frame.length % FRAME_ALIGN, 0);
        assert_eq!(decode_header(header, 9, 8192), Err(FormatError::BadChecksum));
        assert_eq!(decode_header(header, 8, 4096), Err(FormatError::BadChecksum));
    }

    #[test]
    fn survivors_keep_their_append_times() {
        let (entries, _) = sample();
        let survivors: Vec<_> = entries.into_iter().zip([Timestamp(5), Timestamp(6)]).collect();
        let mut out = Vec::new();
        let place = FramePlace { kind: FrameKind::Rewritten, ..place(4096) };
        let length = encode_rewritten(&mut out, &place, &survivors);
        let estimate: usize = survivors
            .iter()
            .map(|(it, _)| rewritten_entry_bytes(it.targets.len(), it.key_hashes.len()))
            .sum();
        assert!(length <= FIXED_BYTES + estimate + FRAME_ALIGN as usize);
        let frame = decode_header(&out, 9, 4096).unwrap();
        assert_eq!(frame.kind, FrameKind::Rewritten);
        assert_eq!(frame.entries[0].append_time, Some(Timestamp(5)));
        assert_eq!(frame.entries[1].append_time, Some(Timestamp(6)));
        assert_eq!(frame.entries[1].abort_first, Some(Offset(2)));
        assert_eq!(frame.entries[1].key_hashes, [1, 2, 3]);
        assert_eq!([0, 1].map(|it: usize| frame.entries[it].unkeyed), [false, true]);
    }

    #[test]
    fn the_largest_commit_fits_the_header_limit() {
        let mut largest = append(1, 0, 1, b"");
        largest.abort_first = Some(Offset(0));
        let pair = header_bytes(&[largest.clone(), largest], 0) - FIXED_BYTES;
        assert!(FIXED_BYTES + TARGETS_PER_COMMIT / 2 * pair <= FRAME_HEADER_BYTES);
    }

    proptest! {
        #[test]
        fn any_frame_is_read_back_and_any_flip_is_noticed(
            shapes in prop::collection::vec((1u32..5, prop::collection::vec(any::<u8>(), 0..50), 1usize..4), 0..6),
            trims in 0usize..4, position in 0u64..1000, flip in any::<prop::sample::Index>(), bit in 0u8..8,
        ) {
            let entries: Vec<Entry> = shapes.iter().map(|(offsets, filling, targets)| Entry {
                body: body(*offsets, filling, 5),
                targets: (0..*targets as u64).map(|id| Target { partition: PartitionId(id), base: Offset(id), leader_epoch: -1 }).collect(),
                key_hashes: vec![7; *targets],
                abort_first: None,
            }).collect();
            let bounds = vec![sample().1[0]; trims];
            let mut header = Vec::new();
            encode_header(&mut header, &place(position * 8), &entries, &bounds);
            let frame = decode_header(&header, 9, position * 8).unwrap();
            prop_assert_eq!(frame.entries.len(), entries.len());
            for (decoded, entry) in frame.entries.iter().zip(&entries) {
                prop_assert_eq!(&decoded.targets, &entry.targets);
                prop_assert_eq!(&decoded.key_hashes, &entry.key_hashes);
                prop_assert_eq!(decoded.body_crc, entry.body.crc);
            }
            prop_assert_eq!(&frame.bounds, &bounds);
            let at = flip.index(header.len());
            header[at] ^= 1 << bit;
            prop_assert!(decode_header(&header, 9, position * 8).is_err());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut bytes = bytes;
            let _ = decode_header(&bytes, 1, 0);
            if bytes.len() >= FIXED_BYTES {
                // Past the magic and the checksum, so that the counts are what is tried.
                bytes[..4].copy_from_slice(&MAGIC);
                let length = bytes.len() & !7;
                bytes[4..8].copy_from_slice(&(length as u32).to_le_bytes());
                let crc = header_checksum(1, 0, &bytes[..length]);
                bytes[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
                let _ = decode_header(&bytes, 1, 0);
            }
        }
    }
}
