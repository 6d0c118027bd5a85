//! The directory: the manifest and its swap, new files, and the space kept in reserve.
//!
//! Order of a new file: blocks allocated, header and carried bounds written and synced, the directory synced, the manifest
//! swapped; only then does it take commits. So a file that no manifest lists holds nothing that was acknowledged.
//! Running out of space before a write is an answer (`Full`); any other failure stops the log.

use std::io::{self, ErrorKind, IoSlice};
use std::sync::Arc;

use duolog_record::Timestamp;
use tracing::{info, warn};

use super::files::{LogFile, Unlinked};
use super::options::Options;
use crate::disk::{Disk, DiskFile};
use crate::format::file_header::FileHeader;
use crate::format::frame::BOUNDS_BYTES;
use crate::format::frame::{self, BoundsTarget, FrameKind, FramePlace};
use crate::format::manifest::Manifest;
use crate::format::names::{MANIFEST, MANIFEST_NEXT, log_name, spare_name};
use crate::format::{BLOCK_BYTES, file_seed};
use crate::limits::CARRIED_PER_FRAME;
use crate::planted::{self, Bug};

/// Why there is no room.
#[derive(Debug)]
pub(crate) enum RoomError {
    /// No blocks: nothing has changed.
    Full {
        /// What was asked for.
        bytes: u64,
    },
    /// Anything else: the log must stop.
    Failed(String),
}

/// Puts what was tried in front of the system's word.
pub(crate) fn failed(what: &str) -> impl FnOnce(io::Error) -> RoomError + '_ {
    move |error| RoomError::Failed(format!("cannot {what}: {error}"))
}

/// False if it was refused for want of space.
pub(crate) fn has_room(result: io::Result<()>) -> io::Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::StorageFull => Ok(false),
        Err(error) => Err(error),
    }
}

/// The newest file.
pub(crate) struct Active {
    pub(crate) file: Arc<LogFile>,
    /// Bytes that are allocated.
    pub(crate) capacity: u64,
    /// Where the next frame goes.
    pub(crate) end: u64,
    /// Where frames began that were not carried.
    pub(crate) carried_end: u64,
    pub(crate) first_sequence: u64,
    /// Targets so far: what its index will hold at most.
    pub(crate) targets: usize,
    /// It lies in what was the reserve: only what frees space may use it.
    pub(crate) from_reserve: bool,
}

/// Where frames stand, for the file header and the carried bounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sequences {
    /// Of the last frame written.
    pub(crate) last: u64,
    /// Of the last frame known to be durable.
    pub(crate) durable: u64,
}

/// A file with blocks and nothing in it.
pub(crate) struct EmptyFile {
    pub(crate) id: u64,
    pub(crate) handle: Arc<dyn DiskFile>,
    pub(crate) capacity: u64,
    from_reserve: bool,
}

/// The directory of one log.
pub(crate) struct Store {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) options: Options,
    pub(crate) manifest: Manifest,
    pub(crate) unlinked: Unlinked,
    /// Numbers of the spares that are there, each of `file_bytes`.
    pub(crate) spares: Vec<u32>,
}

/// Bytes of the file header and of the frames that carry so many bounds.
pub(crate) fn preamble_bytes(bounds: usize) -> u64 {
    let frames = bounds.div_ceil(CARRIED_PER_FRAME);
    (BLOCK_BYTES + frames * frame::FIXED_BYTES + bounds * BOUNDS_BYTES) as u64
}

impl Store {
    /// A new file of `capacity` bytes. What frees space may take a spare for it.
    pub(crate) fn create_file(
        &mut self,
        capacity: u64,
        may_use_reserve: bool,
    ) -> Result<EmptyFile, RoomError> {
        let id = self.manifest.next_file;
        self.manifest.next_file += 1;
        let name = log_name(id);
        if let Some(handle) = self.create_with_blocks(&name, capacity)? {
            return Ok(EmptyFile { id, handle, capacity, from_reserve: false });
        }
        if may_use_reserve
            && capacity <= self.options.file_bytes
            && let Some(spare) = self.spares.pop()
        {
            if !has_room(self.disk.rename(&spare_name(spare), &name)).map_err(failed("take a spare file"))? {
                self.spares.push(spare);
                return Err(RoomError::Full { bytes: capacity });
            }
            let handle = self.disk.open(&name).map_err(failed("open a spare file"))?;
            warn!(file = id, "the disk is full: going on in the reserve");
            return Ok(EmptyFile { id, handle, capacity: self.options.file_bytes, from_reserve: true });
        }
        Err(RoomError::Full { bytes: capacity })
    }

    /// A file of this name with so many bytes; `None` if there is no room, be it for the name or for the bytes: then there is
    /// no such file either.
    fn create_with_blocks(&self, name: &str, bytes: u64) -> Result<Option<Arc<dyn DiskFile>>, RoomError> {
        let handle = match self.disk.create(name) {
            Ok(handle) => handle,
            Err(error) if error.kind() == ErrorKind::StorageFull => return Ok(None),
            Err(error) => return Err(failed(&format!("create {name}"))(error)),
        };
        if has_room(handle.allocate(0, bytes)).map_err(failed(&format!("allocate {name}")))? {
            return Ok(Some(handle));
        }
        drop(handle);
        self.disk.unlink(name).map_err(failed("unlink a file without blocks"))?;
        Ok(None)
    }

    /// Grows a file that must be finished to `length`; gives up a spare if there is no other room.
    pub(crate) fn allocate_with_relief(
        &mut self,
        handle: &dyn DiskFile,
        length: u64,
    ) -> Result<(), RoomError> {
        loop {
            if has_room(handle.allocate(0, length)).map_err(failed("allocate a footer"))? {
                return Ok(());
            }
            let Some(spare) = self.spares.pop() else {
                return Err(RoomError::Full { bytes: length });
            };
            self.disk.unlink(&spare_name(spare)).map_err(failed("unlink a spare file"))?;
        }
    }

    /// Takes back a file that was created for nothing.
    pub(crate) fn discard_file(&mut self, file: EmptyFile) -> Result<(), RoomError> {
        drop(file.handle);
        self.disk.unlink(&log_name(file.id)).map_err(failed("unlink an unused file"))
    }

    /// Allocates the spares that are missing. True if all are there.
    pub(crate) fn restore_reserve(&mut self) -> Result<bool, RoomError> {
        for number in 0..self.options.reserve_files {
            if self.spares.contains(&number) {
                continue;
            }
            if self.create_with_blocks(&spare_name(number), self.options.file_bytes)?.is_none() {
                return Ok(false);
            }
            self.spares.push(number);
        }
        Ok(true)
    }

    /// Makes sure that the next manifest, of so many bytes, will find room; gives up a spare if there is none.
    pub(crate) fn prepare_manifest(&mut self, bytes: usize) -> Result<Arc<dyn DiskFile>, RoomError> {
        loop {
            if let Some(handle) = self.next_manifest(bytes as u64)? {
                return Ok(handle);
            }
            let Some(spare) = self.spares.pop() else {
                return Err(RoomError::Full { bytes: bytes as u64 });
            };
            info!("giving up a spare file for the manifest");
            self.disk.unlink(&spare_name(spare)).map_err(failed("unlink a spare file"))?;
        }
    }

    /// The file that is going to be the manifest, of so many bytes that mean nothing yet. Without room its name stays.
    fn next_manifest(&self, bytes: u64) -> Result<Option<Arc<dyn DiskFile>>, RoomError> {
        let handle = match self.disk.open(MANIFEST_NEXT) {
            Err(error) if error.kind() == ErrorKind::NotFound => self.disk.create(MANIFEST_NEXT),
            other => other,
        };
        let handle = match handle {
            Ok(handle) => handle,
            Err(error) if error.kind() == ErrorKind::StorageFull => return Ok(None),
            Err(error) => return Err(failed("create the next manifest")(error)),
        };
        handle.set_len(0).map_err(failed("empty an unfinished manifest"))?;
        let is_there = has_room(handle.allocate(0, bytes)).map_err(failed("allocate the next manifest"))?;
        Ok(is_there.then_some(handle))
    }

    pub(crate) fn sync_directory(&self) -> Result<(), RoomError> {
        if planted::is(Bug::DirectorySyncSkipped) {
            return Ok(());
        }
        self.disk.sync_directory().map_err(failed("sync the directory"))
    }

    /// Puts `next` in the place of the manifest, in the file that was prepared for it.
    pub(crate) fn swap_manifest(
        &mut self,
        prepared: &dyn DiskFile,
        mut next: Manifest,
    ) -> Result<(), RoomError> {
        next.generation = self.manifest.generation + 1;
        next.next_file = next.next_file.max(self.manifest.next_file);
        // Unlinked before this swap's directory sync: when it is over, they are gone for good.
        let unlinked = std::mem::take(&mut *self.unlinked.lock());
        let bytes = next.encode();
        prepared.write_at(&[IoSlice::new(&bytes)], 0).map_err(failed("write the manifest"))?;
        prepared.sync_data().map_err(failed("sync the manifest"))?;
        self.disk.rename(MANIFEST_NEXT, MANIFEST).map_err(failed("rename the manifest"))?;
        self.sync_directory()?;
        // Its name is part of the reserve: where there is no room for another, what frees some needs a manifest.
        match self.disk.create(MANIFEST_NEXT) {
            Err(error) if error.kind() != ErrorKind::StorageFull => {
                return Err(failed("create the next manifest")(error));
            }
            Ok(_) | Err(_) => {}
        }
        next.dropped.retain(|id| !unlinked.contains(id));
        self.manifest = next;
        Ok(())
    }

    /// Writes what a file begins with, and syncs it and its name. It takes commits once a manifest lists it.
    pub(crate) fn begin_file(
        &self,
        empty: EmptyFile,
        incarnation: u32,
        sequences: &mut Sequences,
        carried: &[BoundsTarget],
    ) -> Result<Active, RoomError> {
        let frames = carried.len().div_ceil(CARRIED_PER_FRAME) as u64;
        let first_sequence = sequences.last + 1;
        let seed = file_seed(self.manifest.salt, empty.id);
        let header = FileHeader {
            file: empty.id,
            incarnation,
            first_sequence,
            carried_upto: sequences.last + frames,
            seed,
            inputs: Vec::new(),
        };
        let mut bytes = header.encode();
        for bounds in carried.chunks(CARRIED_PER_FRAME) {
            sequences.last += 1;
            let place = FramePlace {
                seed,
                position: bytes.len() as u64,
                sequence: sequences.last,
                durable_upto: sequences.durable,
                incarnation,
                append_time: Timestamp(0),
                kind: FrameKind::Carried,
            };
            frame::encode_header(&mut bytes, &place, &[], bounds);
        }
        assert_eq!(
            bytes.len() as u64,
            preamble_bytes(carried.len()),
            "the preamble is as long as was allocated"
        );
        empty.handle.write_at(&[IoSlice::new(&bytes)], 0).map_err(failed("begin a file"))?;
        empty.handle.sync_data().map_err(failed("sync a new file"))?;
        self.sync_directory()?;
        sequences.durable = sequences.last;
        let file = LogFile::new(
            (empty.id, seed),
            empty.handle,
            empty.capacity,
            Arc::clone(&self.disk),
            Arc::clone(&self.unlinked),
        );
        Ok(Active {
            file: Arc::new(file),
            capacity: empty.capacity,
            end: bytes.len() as u64,
            carried_end: bytes.len() as u64,
            first_sequence,
            targets: 0,
            from_reserve: empty.from_reserve,
        })
    }
}
