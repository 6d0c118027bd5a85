//! One file that a rewrite makes: header with the inputs' ids, frames of survivors, footer.
//!
//! Order: the header is synced before anything else is written, so that whatever a power cut leaves of the file says what it
//! was made from; then frames; then the footer; then the last sync. No manifest lists it yet.

use std::io::{self, IoSlice};
use std::sync::Arc;

use bytes::Bytes;
use duolog_record::Timestamp;

use super::sort::{Item, Others};
use crate::disk_log::files::{Index, LogFile, SealedFile};
use crate::disk_log::store::EmptyFile;
use crate::format::file_header::FileHeader;
use crate::format::frame::{self, FrameKind, FramePlace};
use crate::format::index::IndexEntry;
use crate::format::manifest::ManifestFile;
use crate::format::{BLOCK_BYTES, FRAME_ALIGN, footer};
use crate::limits::REWRITE_SYNC_BYTES;
use crate::planted::{self, Bug};
use crate::{Entry, Target};

/// A body that has been read, with its targets.
pub(super) struct Survivor<'a> {
    pub(super) body: Bytes,
    pub(super) targets: &'a [Item],
    pub(super) key_hashes: Vec<u64>,
    pub(super) abort_first: Option<duolog_record::Offset>,
}

impl Survivor<'_> {
    fn entry(&self) -> (Entry, Timestamp) {
        let first = &self.targets[0].entry;
        let targets = self.targets.iter().map(|it| Target {
            partition: it.entry.partition,
            base: it.entry.base,
            leader_epoch: it.entry.leader_epoch,
        });
        let entry = Entry {
            body: crate::Body {
                bytes: self.body.clone(),
                offsets: first.offsets,
                crc: first.body_crc,
                max_timestamp: first.max_timestamp,
                unkeyed: first.unkeyed,
                timed: first.timed,
            },
            targets: targets.collect(),
            key_hashes: self.key_hashes.clone(),
            abort_first: self.abort_first,
        };
        (entry, first.append_time)
    }
}

/// A file that is being written.
pub(super) struct Output {
    pub(super) file: Arc<LogFile>,
    incarnation: u32,
    capacity: u64,
    end: u64,
    unsynced: u64,
    sequence: u64,
    index: Vec<IndexEntry>,
}

impl Output {
    /// Writes and syncs the header.
    pub(super) fn begin(
        empty: &EmptyFile,
        file: Arc<LogFile>,
        incarnation: u32,
        inputs: Vec<u64>,
    ) -> io::Result<Self> {
        let header = FileHeader {
            file: file.id,
            incarnation,
            first_sequence: 1,
            carried_upto: 0,
            seed: file.seed,
            inputs,
        };
        empty.handle.write_at(&[IoSlice::new(&header.encode())], 0)?;
        empty.handle.sync_data()?;
        Ok(Self {
            file,
            incarnation,
            capacity: empty.capacity,
            end: BLOCK_BYTES as u64,
            unsynced: 0,
            sequence: 0,
            index: Vec::new(),
        })
    }

    /// Writes one frame. Gives its bytes.
    pub(super) fn write(&mut self, survivors: &[Survivor<'_>]) -> io::Result<u64> {
        self.sequence += 1;
        let place = FramePlace {
            seed: self.file.seed,
            position: self.end,
            sequence: self.sequence,
            durable_upto: 0,
            incarnation: self.incarnation,
            append_time: Timestamp(0),
            kind: FrameKind::Rewritten,
        };
        let entries: Vec<(Entry, Timestamp)> = survivors.iter().map(Survivor::entry).collect();
        let mut header = Vec::new();
        let header_bytes = frame::encode_rewritten(&mut header, &place, &entries);
        let mut at = self.end + header_bytes as u64;
        for survivor in survivors {
            self.index.extend(survivor.targets.iter().map(|it| IndexEntry {
                body_position: at as u32,
                frame_position: place.position as u32,
                ..it.entry
            }));
            at += survivor.body.len() as u64;
        }
        let bytes = frame::frame_bytes((at - self.end) as usize, 0);
        let padding = [0; FRAME_ALIGN as usize];
        let mut parts = Vec::with_capacity(survivors.len() + 2);
        parts.push(IoSlice::new(&header));
        parts.extend(survivors.iter().map(|it| IoSlice::new(&it.body)));
        parts.push(IoSlice::new(&padding[..(self.end + bytes - at) as usize]));
        self.make_room(self.end + bytes)?;
        self.file.handle.write_at(&parts, self.end)?;
        self.end += bytes;
        self.unsynced += bytes;
        if self.unsynced >= REWRITE_SYNC_BYTES && !planted::is(Bug::OutputNotSynced) {
            self.file.handle.sync_data()?;
            self.unsynced = 0;
        }
        Ok(bytes)
    }

    /// What was allocated was a good guess.
    fn make_room(&mut self, length: u64) -> io::Result<()> {
        if length > self.capacity {
            self.file.handle.allocate(0, length)?;
            self.capacity = length;
        }
        Ok(())
    }

    /// Writes the footer and syncs the file.
    pub(super) fn seal(&mut self, others: &Others) -> io::Result<(Arc<SealedFile>, ManifestFile)> {
        self.index.sort_unstable_by_key(|it| (it.partition, it.base));
        let sequences = (1, self.sequence);
        let (bytes, footer) = footer::encode(
            (self.file.id, self.file.seed),
            self.end,
            sequences,
            &self.index,
            |before, next| others.is_apart(before, next),
        );
        let length = footer.pages_at + bytes.len() as u64;
        self.make_room(length)?;
        self.file.handle.write_at(&[IoSlice::new(&bytes)], footer.pages_at)?;
        self.file.handle.set_len(length)?;
        if !planted::is(Bug::OutputNotSynced) {
            self.file.handle.sync_data()?;
        }
        self.file.bytes.store(length, std::sync::atomic::Ordering::Relaxed);
        let listed = ManifestFile {
            file: self.file.id,
            sealed: true,
            first_sequence: sequences.0,
            last_sequence: sequences.1,
            frames_end: self.end,
        };
        Ok((Arc::new(SealedFile { file: Arc::clone(&self.file), index: Index::Footer(footer) }), listed))
    }
}
