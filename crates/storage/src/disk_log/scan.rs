//! Reading a file frame by frame: what of it is sound, where a torn tail begins, what is damaged.
//!
//! Invariant: a frame is cut only if nothing says that it was durable: no frame's `durable_upto`, not the watermark, not the
//! header. What was durable and cannot be read is damage; it is recorded, never cut. Where a frame's header is lost, so is
//! which partitions it went to: all are in doubt until a later frame continues them.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;

use duolog_record::{Batch, Offset, PartitionId, Timestamp};
use tracing::warn;

use super::files::LogFile;
use super::places::Place;
use crate::Target;
use crate::format::FRAME_ALIGN;
use crate::format::frame::{self, BoundsTarget, FIXED_BYTES, Frame, FrameEntry, FrameKind};
use crate::format::index::IndexEntry;
use crate::limits::READ_BYTES;
use crate::planted::{self, Bug};

/// What is known of a file before it is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    pub(crate) frames_at: u64,
    pub(crate) first_sequence: u64,
    /// Sequence of the last frame that carries bounds.
    pub(crate) carried_upto: u64,
    /// Sequence of the last frame that is known to have been durable.
    pub(crate) durable_upto: u64,
    /// Where a sealed file's frames end.
    pub(crate) frames_end: Option<u64>,
}

/// What was found.
#[derive(Default)]
pub(crate) struct Scanned {
    /// In the order of the frames.
    pub(crate) entries: Vec<IndexEntry>,
    pub(crate) places: HashMap<PartitionId, Place>,
    pub(crate) removed: BTreeSet<PartitionId>,
    /// Where the frames end that are kept.
    pub(crate) end: u64,
    /// Sequence of the last of them.
    pub(crate) last_sequence: u64,
    /// Where the frames begin that are kept without being known to be durable.
    pub(crate) unsure_from: u64,
    /// Any frame besides the carried ones.
    pub(crate) has_commits: bool,
    /// Carried bounds were read, or there were none to read.
    pub(crate) has_carried: bool,
    /// Something that was durable is lost.
    pub(crate) is_damaged: bool,
    /// Of which partition, a lost header does not say.
    pub(crate) has_lost_header: bool,
    /// Where headers were lost: partitions of which it says all the same where they stood at every point.
    pub(crate) told: HashSet<PartitionId>,
    /// Its frames hold survivors of other files.
    pub(crate) is_rewritten: bool,
}

/// A frame or the lack of one, in order.
struct Found {
    frame: Frame,
    /// Indexes of the entries whose bodies are not sound.
    unsound: Vec<usize>,
    /// Where unreadable bytes begin that lie before it.
    gap_from: Option<u64>,
}

/// A window on a file, so that a scan reads it once and in large pieces.
struct Window<'a> {
    file: &'a LogFile,
    length: u64,
    at: u64,
    bytes: Vec<u8>,
}

impl Window<'_> {
    /// Bytes at `position`, fewer at the end of the file.
    fn get(&mut self, position: u64, length: usize) -> io::Result<&[u8]> {
        let length = length.min(usize::try_from(self.length.saturating_sub(position)).unwrap_or(usize::MAX));
        if length == 0 {
            return Ok(&[]);
        }
        let end = position + length as u64;
        if position < self.at || end > self.at + self.bytes.len() as u64 {
            let whole = usize::try_from(self.length.saturating_sub(position)).unwrap_or(usize::MAX);
            self.bytes.resize(length.max(READ_BYTES).min(whole), 0);
            self.file.handle.read_at(&mut self.bytes, position)?;
            self.at = position;
        }
        let from = (position - self.at) as usize;
        Ok(&self.bytes[from..from + length])
    }

    fn frame_at(&mut self, position: u64) -> io::Result<Option<Frame>> {
        let seed = self.file.seed;
        let Ok(length) = frame::header_length(self.get(position, FIXED_BYTES)?) else { return Ok(None) };
        Ok(frame::decode_header(self.get(position, length)?, seed, position).ok())
    }

    /// The next readable frame from `position` on whose sequence is above `above`.
    fn search(&mut self, position: u64, above: u64, until: u64) -> io::Result<Option<Frame>> {
        let mut at = position.next_multiple_of(FRAME_ALIGN);
        while at + FIXED_BYTES as u64 <= until {
            let bytes = self.get(at, READ_BYTES)?;
            let mut steps = bytes.chunks(FRAME_ALIGN as usize).take_while(|it| it.len() >= 4);
            match steps.position(|it| it[..4] == frame::MAGIC) {
                Some(index) => {
                    at += index as u64 * FRAME_ALIGN;
                    match self.frame_at(at)? {
                        Some(frame) if frame.sequence > above => return Ok(Some(frame)),
                        Some(_) | None => at += FRAME_ALIGN,
                    }
                }
                None => at += (bytes.len() as u64).next_multiple_of(FRAME_ALIGN).max(FRAME_ALIGN),
            }
        }
        Ok(None)
    }

    fn unsound(&mut self, frame: &Frame) -> io::Result<Vec<usize>> {
        let mut unsound = Vec::new();
        for (index, entry) in frame.entries.iter().enumerate() {
            let body = self.get(entry.body_position, entry.body_bytes as usize)?;
            if !body_matches(body, entry.body_bytes, entry.body_crc) {
                unsound.push(index);
            }
        }
        Ok(unsound)
    }
}

/// True if a body is the one that was written: whole, sound, and of the stated checksum.
pub(crate) fn body_matches(body: &[u8], bytes: u32, crc: u32) -> bool {
    body.len() == bytes as usize && body.get(1..5) == Some(&crc.to_be_bytes()) && Batch::body_is_sound(body)
}

/// All readable frames, in order.
fn find_frames(file: &LogFile, known: &Known) -> io::Result<Vec<Found>> {
    let length = file.handle.len()?;
    let until = known.frames_end.unwrap_or(length).min(length);
    let mut window = Window { file, length, at: 0, bytes: Vec::new() };
    let mut found: Vec<Found> = Vec::new();
    let mut at = known.frames_at;
    let mut last = known.first_sequence.saturating_sub(1);
    while at < until {
        let (frame, gap_from) = match window.frame_at(at)?.filter(|frame| frame.sequence > last) {
            Some(frame) => {
                let gap_from = (frame.sequence != last + 1).then_some(at);
                (frame, gap_from)
            }
            None => match window.search(at + FRAME_ALIGN, last, until)? {
                Some(frame) => (frame, Some(at)),
                None => break,
            },
        };
        let unsound = window.unsound(&frame)?;
        last = frame.sequence;
        at = frame.position + frame.length;
        found.push(Found { frame, unsound, gap_from });
    }
    Ok(found)
}

/// What a doctor sees of a file's frames.
pub(crate) struct Looked {
    pub(crate) frames: u64,
    /// Of the last frame that is there, or known to be lost.
    pub(crate) last_sequence: u64,
    /// Of the last frame that anything says was durable.
    pub(crate) durable_upto: u64,
    pub(crate) damages: Vec<String>,
    /// CRC of each sound body, by where it lies.
    pub(crate) bodies: HashMap<u64, u32>,
}

/// Looks at the frames of a file as `scan` does, and says what is wrong with them.
///
/// # Errors
/// The system's, where a read failed.
pub(crate) fn look(file: &LogFile, known: &Known) -> io::Result<Looked> {
    let found = find_frames(file, known)?;
    let durable = found.iter().map(|it| it.frame.durable_upto).fold(known.durable_upto, u64::max);
    let last_sequence = known.first_sequence.saturating_sub(1);
    let mut out = Looked {
        frames: 0,
        last_sequence,
        durable_upto: durable,
        damages: Vec::new(),
        bodies: HashMap::new(),
    };
    for Found { frame, unsound, gap_from } in &found {
        if let Some(gap_from) = gap_from {
            if out.last_sequence >= durable {
                break;
            }
            let (first, last) = (out.last_sequence + 1, frame.sequence - 1);
            out.damages.push(format!(
                "bytes {gap_from} to {} cannot be read: frames {first} to {last} are lost",
                frame.position
            ));
            out.last_sequence = last;
        }
        // A torn tail; yet it says what was durable before it, and that may be lost.
        if !unsound.is_empty() && frame.sequence > durable {
            break;
        }
        for (index, entry) in frame.entries.iter().enumerate() {
            if !unsound.contains(&index) {
                out.bodies.insert(entry.body_position, entry.body_crc);
                continue;
            }
            for target in &entry.targets {
                let until = target.base.plus(u64::from(entry.offsets));
                let (partition, from) = (target.partition, target.base);
                out.damages.push(format!("partition {partition}: offsets {from} to {until} cannot be read"));
            }
        }
        out.frames += 1;
        out.last_sequence = frame.sequence;
    }
    Ok(out)
}

/// True if any readable frame of a file is a commit: it may hold what was acknowledged.
///
/// # Errors
/// The system's, where a read failed.
pub(crate) fn holds_commits(file: &LogFile) -> io::Result<bool> {
    let length = file.handle.len()?;
    let mut window = Window { file, length, at: 0, bytes: Vec::new() };
    let mut at = 0;
    while let Some(frame) = window.search(at, 0, length)? {
        if frame.kind != FrameKind::Carried {
            return Ok(true);
        }
        at = frame.position + frame.length;
    }
    Ok(false)
}

/// Reads the frames of a file.
///
/// # Errors
/// The system's, where a read failed.
pub(crate) fn scan(file: &LogFile, known: &Known) -> io::Result<Scanned> {
    let found = find_frames(file, known)?;
    let durable = found.iter().map(|it| it.frame.durable_upto).fold(known.durable_upto, u64::max);
    let mut fold = Fold {
        file: file.id,
        carried_upto: known.carried_upto,
        durable,
        in_doubt: BTreeSet::new(),
        untold: BTreeSet::new(),
        out: Scanned {
            end: known.frames_at,
            unsure_from: u64::MAX,
            last_sequence: known.first_sequence.saturating_sub(1),
            has_carried: true,
            ..Scanned::default()
        },
    };
    for it in &found {
        if !fold.take(it) {
            break;
        }
    }
    let mut out = fold.finish();
    if out.unsure_from > out.end {
        out.unsure_from = out.end;
    }
    Ok(out)
}

struct Fold {
    file: u64,
    carried_upto: u64,
    durable: u64,
    in_doubt: BTreeSet<PartitionId>,
    /// First seen behind a lost header: what they held before is not known.
    untold: BTreeSet<PartitionId>,
    out: Scanned,
}

impl Fold {
    /// False if the tail is cut in front of it.
    fn take(&mut self, found: &Found) -> bool {
        let Found { frame, unsound, gap_from } = found;
        if planted::is(Bug::CutAtFirstBadCrc) && (gap_from.is_some() || !unsound.is_empty()) {
            return false;
        }
        if let Some(gap_from) = *gap_from {
            if self.out.last_sequence >= self.durable {
                return false;
            }
            self.lose_header(gap_from);
        }
        if !unsound.is_empty() && frame.sequence > self.durable {
            return false;
        }
        if frame.sequence > self.durable && self.out.unsure_from == u64::MAX {
            self.out.unsure_from = frame.position;
        }
        self.out.has_commits |= frame.kind != FrameKind::Carried;
        self.out.is_rewritten |= frame.kind == FrameKind::Rewritten;
        for (index, entry) in frame.entries.iter().enumerate() {
            let is_sound = !unsound.contains(&index);
            if !is_sound {
                self.out.is_damaged = true;
                warn!(file = self.file, position = entry.body_position, "a body is damaged");
            }
            for target in &entry.targets {
                self.append(frame, entry, target, is_sound);
            }
        }
        for bounds in &frame.bounds {
            self.bounds(bounds);
        }
        self.out.last_sequence = frame.sequence;
        self.out.end = frame.position + frame.length;
        true
    }

    fn lose_header(&mut self, position: u64) {
        warn!(file = self.file, position, "a frame header is damaged: every partition is in doubt");
        self.out.is_damaged = true;
        self.out.has_lost_header = true;
        self.out.has_carried &= self.out.last_sequence >= self.carried_upto;
        self.in_doubt.extend(self.out.places.keys().copied());
    }

    fn append(&mut self, frame: &Frame, entry: &FrameEntry, target: &Target, is_sound: bool) {
        if frame.kind == FrameKind::Rewritten {
            // Where its partition stood, other files say.
            self.out.entries.push(index_entry(frame, entry, target, is_sound));
            return;
        }
        self.note_untold(target.partition);
        let expected = self.out.places.get(&target.partition).map_or(target.base, |place| place.end);
        if expected > target.base {
            // Two frames claim the same offsets: the first stands, which readers may have seen.
            warn!(file = self.file, partition = %target.partition, "offsets were written twice");
            self.quarantine(target.partition);
            return;
        }
        self.lose(target.partition, expected, target.base);
        let place =
            self.out.places.entry(target.partition).or_insert_with(|| Place::starting_at(target.base));
        place.end = target.base.plus(u64::from(entry.offsets));
        place.leader_epoch = target.leader_epoch;
        place.quarantined |= !is_sound;
        self.in_doubt.remove(&target.partition);
        self.out.entries.push(index_entry(frame, entry, target, is_sound));
    }

    fn bounds(&mut self, bounds: &BoundsTarget) {
        let partition = bounds.partition;
        self.in_doubt.remove(&partition);
        if bounds.removed {
            self.out.places.remove(&partition);
            self.out.removed.insert(partition);
            return;
        }
        self.note_untold(partition);
        let before = self.out.places.get(&partition).copied();
        if let Some(before) = before {
            self.lose(partition, before.end, bounds.end);
        }
        let place = self.out.places.entry(partition).or_insert_with(|| Place::starting_at(bounds.start));
        place.start = place.start.max(bounds.start);
        place.end = place.end.max(bounds.end);
        place.leader_epoch = bounds.leader_epoch;
        place.quarantined |= bounds.quarantined;
    }

    /// A partition that appears behind a lost header may have been in it.
    fn note_untold(&mut self, partition: PartitionId) {
        if self.out.has_lost_header && !self.out.places.contains_key(&partition) {
            self.untold.insert(partition);
        }
    }

    /// Offsets that were durable and are not there.
    fn lose(&mut self, partition: PartitionId, from: Offset, until: Offset) {
        if from >= until {
            return;
        }
        self.out.is_damaged = true;
        warn!(file = self.file, %partition, %from, %until, "acknowledged records are lost");
        self.out.entries.extend(lost_entries(partition, from, until));
        self.quarantine(partition);
    }

    fn quarantine(&mut self, partition: PartitionId) {
        self.in_doubt.remove(&partition);
        if let Some(place) = self.out.places.get_mut(&partition) {
            place.quarantined = true;
        }
    }

    fn finish(mut self) -> Scanned {
        if self.out.last_sequence < self.durable && !planted::is(Bug::CutAtFirstBadCrc) {
            self.lose_header(self.out.end);
            self.out.last_sequence = self.durable;
        }
        for partition in std::mem::take(&mut self.in_doubt) {
            self.quarantine(partition);
        }
        if self.out.has_carried {
            let untold = &self.untold;
            self.out.told = self.out.places.keys().filter(|it| !untold.contains(it)).copied().collect();
        }
        self.out
    }
}

fn index_entry(frame: &Frame, entry: &FrameEntry, target: &Target, is_sound: bool) -> IndexEntry {
    IndexEntry {
        partition: target.partition,
        base: target.base,
        max_timestamp: entry.max_timestamp,
        append_time: entry.append_time.unwrap_or(frame.append_time),
        body_position: entry.body_position as u32,
        body_bytes: entry.body_bytes,
        offsets: entry.offsets,
        body_crc: entry.body_crc,
        leader_epoch: target.leader_epoch,
        frame_position: frame.position as u32,
        damaged: !is_sound,
        abort_mark: entry.abort_first.is_some(),
        key_hashes: !entry.key_hashes.is_empty(),
        unkeyed: entry.unkeyed,
        timed: entry.timed,
    }
}

/// Entries that cover lost offsets.
pub(crate) fn lost_entries(
    partition: PartitionId,
    from: Offset,
    until: Offset,
) -> impl Iterator<Item = IndexEntry> {
    let mut at = from;
    std::iter::from_fn(move || {
        let offsets = u32::try_from(until.since(at)).unwrap_or(u32::MAX);
        if offsets == 0 {
            return None;
        }
        let base = at;
        at = at.plus(u64::from(offsets));
        Some(IndexEntry {
            partition,
            base,
            max_timestamp: Timestamp(i64::MIN),
            append_time: Timestamp(i64::MIN),
            body_position: 0,
            body_bytes: 0,
            offsets,
            body_crc: 0,
            leader_epoch: 0,
            frame_position: 0,
            damaged: true,
            abort_mark: false,
            key_hashes: false,
            unkeyed: false,
            timed: false,
        })
    })
}
