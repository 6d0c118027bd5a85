//! The writer: takes queued commits, writes them as frames, syncs, and makes them visible, in their order.
//!
//! Invariant: a commit is visible and answered only when it is as durable as it asked; after any failed write or sync
//! nothing more is written, and everything queued is answered with `Stopped`.
//! One group is one `pwritev` and at most one `fdatasync`; bodies are never copied.

use std::collections::BTreeSet;
use std::io::IoSlice;
use std::sync::Arc;

use tracing::error;

use super::files::{Index, SealedFile};
use super::places::{Places, Refusal};
use super::shared::Shared;
use super::store::{Active, RoomError, Sequences, Store, failed, has_room, preamble_bytes};
use super::view::FrameAt;
use super::watermark_file::WatermarkFile;
use crate::format::footer::{self, footer_bytes};
use crate::format::frame::{self, BoundsTarget, FrameKind, FramePlace};
use crate::format::manifest::ManifestFile;
use crate::planted::{self, Bug};
use crate::{Commit, Done, Durability, LogError};

/// Zeros between a frame's bodies and the next frame.
static PADDING: [u8; 8] = [0; 8];

/// A commit and its answer, on the way.
struct Slot {
    done: Done,
    outcome: Outcome,
}

enum Outcome {
    Refused(LogError),
    Written { commit: Commit, bounds: Vec<BoundsTarget>, at: FrameAt },
}

impl Outcome {
    fn needs_sync(&self) -> bool {
        matches!(self, Self::Written { commit, .. } if commit.durability == Durability::Sync)
    }
}

/// An answer that is due.
pub(crate) struct Answer {
    done: Done,
    result: Result<(), LogError>,
}

impl Answer {
    pub(crate) fn give(self) {
        (self.done)(self.result);
    }
}

/// A group that has been written.
pub(crate) struct Group {
    /// Answers that need no sync.
    pub(crate) answers: Vec<Answer>,
    /// From the first commit on that needs one.
    pub(crate) rest: Rest,
}

/// What waits for the sync.
pub(crate) struct Rest(Vec<Slot>);

impl Rest {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Why a commit is not in this group.
enum Miss {
    Refused(LogError),
    /// It needs another file, and this group is in the present one.
    NextGroup,
}

/// The one who writes.
pub(crate) struct Writer {
    pub(crate) store: Store,
    pub(crate) active: Active,
    pub(crate) places: Places,
    pub(crate) sequences: Sequences,
    pub(crate) watermark: WatermarkFile,
    pub(crate) stopped: Option<String>,
    /// Files that are being rewritten: only the cleaner takes them off the list.
    pub(crate) cleaning: BTreeSet<u64>,
    /// Headers of the group that is being written; kept for its capacity.
    pub(crate) headers: Vec<u8>,
}

impl Writer {
    /// Writes the oldest commits that wait, as many as make a group; `None` if none waits.
    pub(crate) fn write_group(&mut self, shared: &Shared) -> Option<Group> {
        let mut slots: Vec<Slot> = Vec::new();
        let mut bodies = 0usize;
        let mut written = 0usize;
        let mut from = self.active.end;
        self.headers.clear();
        while let Some((commit, done)) = shared.pop() {
            let bytes: usize = commit.entries.iter().map(|it| it.body.bytes.len()).sum();
            if written > 0 && bodies + bytes > shared.options.group_bytes {
                shared.put_back(commit, done);
                break;
            }
            let outcome = match self.accept(shared, &commit, bytes, written == 0) {
                Ok((bounds, at)) => {
                    if written == 0 {
                        from = at.position;
                    }
                    (written, bodies) = (written + 1, bodies + bytes);
                    Outcome::Written { commit, bounds, at }
                }
                Err(Miss::Refused(error)) => Outcome::Refused(error),
                Err(Miss::NextGroup) => {
                    shared.put_back(commit, done);
                    break;
                }
            };
            slots.push(Slot { done, outcome });
        }
        if slots.is_empty() {
            return None;
        }
        if written > 0
            && let Err(error) = self.write(&slots, from)
        {
            self.stop(format!("cannot write to the log: {error}"));
            self.fail_written(&mut slots);
        }
        let rest = match slots.iter().position(|slot| slot.outcome.needs_sync()) {
            Some(first) => slots.split_off(first),
            None => Vec::new(),
        };
        Some(Group { answers: self.publish(shared, slots), rest: Rest(rest) })
    }

    /// Syncs what was written and makes the rest of its group visible.
    pub(crate) fn sync_group(&mut self, shared: &Shared, rest: Rest) -> Vec<Answer> {
        let mut slots = rest.0;
        if planted::is(Bug::VisibleBeforeSync) {
            self.show(shared, &slots);
        }
        if self.stopped.is_some() {
            self.fail_written(&mut slots);
        } else if let Err(error) = self.sync(shared) {
            self.stop(format!("cannot sync the log: {error}"));
            self.fail_written(&mut slots);
        }
        self.publish(shared, slots)
    }

    pub(crate) fn sync(&mut self, shared: &Shared) -> std::io::Result<()> {
        let sync = || self.active.file.handle.sync_data();
        if !planted::is(Bug::AckBeforeSync) {
            sync().or_else(|error| if planted::is(Bug::SyncRetried) { sync() } else { Err(error) })?;
        }
        shared.counters.synced();
        self.sequences.durable = self.sequences.last;
        Ok(())
    }

    /// Nothing waits: says durably what is durable. Costs a sync if anything was synced since the last time.
    pub(crate) fn idle(&mut self) {
        if self.stopped.is_none()
            && self.watermark.durable_upto() < self.sequences.durable
            && let Err(error) = self.watermark.write(self.sequences.durable)
        {
            self.stop(format!("cannot write the watermark: {error}"));
        }
    }

    /// True if `idle` has something to do.
    pub(crate) fn is_idle_due(&self) -> bool {
        self.stopped.is_none() && self.watermark.durable_upto() < self.sequences.durable
    }

    /// Makes everything written durable, and says so.
    pub(crate) fn finish(&mut self, shared: &Shared) {
        if self.stopped.is_none()
            && self.sequences.durable < self.sequences.last
            && let Err(error) = self.sync(shared)
        {
            self.stop(format!("cannot sync the log: {error}"));
        }
        self.idle();
    }

    pub(crate) fn stop(&mut self, reason: String) {
        if self.stopped.is_none() {
            error!(%reason, "the log stops");
            self.stopped = Some(reason);
        }
    }

    /// The log has been closed in good order.
    pub(crate) fn stop_quietly(&mut self) {
        self.stopped.get_or_insert_with(|| "the log was closed".to_owned());
    }

    pub(crate) fn stopped_error(&self) -> LogError {
        let reason = self.stopped.clone().unwrap_or_else(|| "the log was closed".to_owned());
        LogError::Stopped { reason }
    }

    fn fail_written(&self, slots: &mut [Slot]) {
        for slot in slots {
            if let Outcome::Written { .. } = slot.outcome {
                slot.outcome = Outcome::Refused(self.stopped_error());
            }
        }
    }

    /// Makes room for a commit and gives it its place; its header is in `headers` afterwards.
    fn accept(
        &mut self,
        shared: &Shared,
        commit: &Commit,
        body_bytes: usize,
        may_roll: bool,
    ) -> Result<(Vec<BoundsTarget>, FrameAt), Miss> {
        if self.stopped.is_some() {
            return Err(Miss::Refused(self.stopped_error()));
        }
        match self.places.check(commit) {
            Ok(()) => {}
            Err(Refusal::Error(error)) => return Err(Miss::Refused(error)),
            Err(Refusal::FollowsRefused) => return Err(self.disk_full(commit, body_bytes as u64)),
        }
        let bounds = self.places.bounds_for(commit);
        let header_bytes = frame::header_bytes(&commit.entries, bounds.len());
        let bytes = frame::frame_bytes(header_bytes, body_bytes);
        let targets = commit.entries.iter().map(|it| it.targets.len()).sum();
        let may_use_reserve = commit.may_use_reserve || commit.entries.is_empty();
        if !may_roll && (!self.fits(bytes, targets) || (self.active.from_reserve && !may_use_reserve)) {
            return Err(Miss::NextGroup);
        }
        match self.make_room(shared, bytes, targets, may_use_reserve) {
            Ok(()) => {}
            Err(RoomError::Full { bytes }) => return Err(self.disk_full(commit, bytes)),
            Err(RoomError::Failed(reason)) => {
                self.stop(reason);
                return Err(Miss::Refused(self.stopped_error()));
            }
        }
        self.sequences.last += 1;
        let at = FrameAt { position: self.active.end, header_bytes };
        let place = FramePlace {
            seed: self.active.file.seed,
            position: at.position,
            sequence: self.sequences.last,
            durable_upto: self.sequences.durable,
            incarnation: shared.incarnation,
            append_time: commit.append_time,
            kind: FrameKind::Commit,
        };
        let encoded = frame::encode_header(&mut self.headers, &place, &commit.entries, &bounds);
        assert_eq!(encoded, header_bytes, "the header is as long as was allocated");
        self.places.apply(commit, &bounds);
        self.active.end += bytes;
        self.active.targets += targets;
        shared.counters.wrote(bytes);
        Ok((bounds, at))
    }

    fn disk_full(&mut self, commit: &Commit, bytes: u64) -> Miss {
        self.places.note_refused(commit);
        Miss::Refused(LogError::DiskFull { bytes, directory: self.store.disk.describe() })
    }

    /// True if the newest file has room for such a frame and for the footer that it will need then.
    fn fits(&self, bytes: u64, targets: usize) -> bool {
        let is_empty = self.active.end == self.active.carried_end;
        self.active.end + self.room_for(bytes, targets) <= self.active.capacity
            && (is_empty || self.active.targets + targets <= self.store.options.file_targets)
    }

    /// Bytes of such a frame and of the footer behind it.
    fn room_for(&self, bytes: u64, targets: usize) -> u64 {
        let targets = self.active.targets + targets;
        // A commit can bring in as many new partitions as it has targets.
        bytes + footer_bytes(targets, targets.min(self.places.len() + targets))
    }

    fn make_room(
        &mut self,
        shared: &Shared,
        bytes: u64,
        targets: usize,
        may_use_reserve: bool,
    ) -> Result<(), RoomError> {
        if self.active.from_reserve && !may_use_reserve {
            if !self.store.restore_reserve()? {
                return Err(RoomError::Full { bytes });
            }
            self.active.from_reserve = false;
        }
        if self.fits(bytes, targets) {
            return Ok(());
        }
        if self.active.end > self.active.carried_end {
            self.roll(shared, bytes, targets, may_use_reserve)?;
        }
        if !self.fits(bytes, targets) {
            let capacity = self.active.end + self.room_for(bytes, targets);
            if !has_room(self.active.file.handle.allocate(0, capacity)).map_err(failed("allocate"))? {
                return Err(RoomError::Full { bytes: capacity });
            }
            self.active.capacity = capacity;
        }
        Ok(())
    }

    /// Seals the newest file and begins another.
    fn roll(
        &mut self,
        shared: &Shared,
        bytes: u64,
        targets: usize,
        may_use_reserve: bool,
    ) -> Result<(), RoomError> {
        let (carried, entries) = {
            let view = shared.view.read();
            (self.places.carried(|id| view.is_in_sealed(id)), view.active_index())
        };
        let needed = preamble_bytes(carried.len()) + bytes + footer_bytes(targets, targets);
        let empty = self.store.create_file(needed.max(self.store.options.file_bytes), may_use_reserve)?;
        let mut next = self.store.manifest.clone();
        let newest = next.files.iter_mut().find(|it| !it.sealed).expect("the manifest lists the newest file");
        (newest.sealed, newest.last_sequence, newest.frames_end) =
            (true, self.sequences.last, self.active.end);
        // The row of the new file is filled in below; the room for it is needed now.
        next.files.push(ManifestFile {
            file: self.store.manifest.next_file - 1,
            sealed: false,
            first_sequence: self.sequences.last + 1,
            last_sequence: 0,
            frames_end: 0,
        });
        let prepared = match self.store.prepare_manifest(next.encoded_bytes()) {
            Ok(prepared) => prepared,
            Err(error) => {
                self.store.discard_file(empty)?;
                return Err(error);
            }
        };
        let sealed = self.seal(shared, &entries)?;
        let active = self.store.begin_file(empty, shared.incarnation, &mut self.sequences, &carried)?;
        self.store.swap_manifest(&*prepared, next)?;
        shared.view.write().roll(Arc::new(sealed), Arc::clone(&active.file));
        self.active = active;
        if self.store.spares.len() < self.store.options.reserve_files as usize && !self.active.from_reserve {
            self.store.restore_reserve()?;
        }
        Ok(())
    }

    /// Writes the footer of the newest file. From now on it does not change.
    fn seal(
        &mut self,
        shared: &Shared,
        entries: &[crate::format::index::IndexEntry],
    ) -> Result<SealedFile, RoomError> {
        let file = &self.active.file;
        let sequences = (self.active.first_sequence, self.sequences.last);
        let (bytes, footer) =
            footer::encode((file.id, file.seed), self.active.end, sequences, entries, |_, _| false);
        let length = footer.pages_at + bytes.len() as u64;
        assert!(length <= self.active.capacity, "the footer fits what was allocated");
        file.handle.write_at(&[IoSlice::new(&bytes)], footer.pages_at).map_err(failed("write a footer"))?;
        file.handle.set_len(length).map_err(failed("cut a sealed file"))?;
        file.handle.sync_data().map_err(failed("sync a sealed file"))?;
        shared.counters.synced();
        file.bytes.store(length, std::sync::atomic::Ordering::Relaxed);
        self.sequences.durable = self.sequences.last;
        Ok(SealedFile { file: Arc::clone(file), index: Index::Footer(footer) })
    }

    /// One vectored write of all frames of the group.
    fn write(&self, slots: &[Slot], position: u64) -> std::io::Result<()> {
        let mut parts: Vec<IoSlice<'_>> = Vec::new();
        let mut headers = &self.headers[..];
        for slot in slots {
            let Outcome::Written { commit, at, .. } = &slot.outcome else { continue };
            let (header, others) = headers.split_at(at.header_bytes);
            headers = others;
            parts.push(IoSlice::new(header));
            let mut bytes = header.len();
            for entry in &commit.entries {
                bytes += entry.body.bytes.len();
                parts.push(IoSlice::new(&entry.body.bytes));
            }
            let padding = frame::frame_bytes(bytes, 0) as usize - bytes;
            if padding > 0 {
                parts.push(IoSlice::new(&PADDING[..padding]));
            }
        }
        self.active.file.handle.write_at(&parts, position)
    }

    /// Makes what was written visible without asking whether it was synced: a planted mistake.
    fn show(&self, shared: &Shared, slots: &[Slot]) {
        let mut view = shared.view.write();
        for slot in slots {
            if let Outcome::Written { commit, bounds, at } = &slot.outcome {
                view.publish(commit, bounds, *at);
            }
        }
    }

    /// Makes what was written visible and gives the answers that are due.
    fn publish(&self, shared: &Shared, slots: Vec<Slot>) -> Vec<Answer> {
        if slots.is_empty() {
            return Vec::new();
        }
        let mut view = shared.view.write();
        slots
            .into_iter()
            .map(|slot| match slot.outcome {
                Outcome::Refused(error) => Answer { done: slot.done, result: Err(error) },
                Outcome::Written { commit, bounds, at } => {
                    if !(planted::is(Bug::VisibleBeforeSync) && commit.durability == Durability::Sync) {
                        view.publish(&commit, &bounds, at);
                    }
                    Answer { done: slot.done, result: Ok(()) }
                }
            })
            .collect()
    }
}
