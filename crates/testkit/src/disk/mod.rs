//! A simulated disk: what a real one may do to a log between two syncs, by seed.
//!
//! Invariant: what `sync_data` and `sync_directory` confirmed survives every power cut unchanged, except for damage that a
//! test does on purpose; anything else may survive, vanish, be torn or be zeroed. It implements the same trait as the
//! real file system, so the production code runs on it unchanged.
//! Adding a fault: a field in [`Faults`], a count in [`Hits`], and the place where it strikes.
//! Source: Pillai et al., "All File Systems Are Not Created Equal" (OSDI 2014); Rebello et al., "Can Applications Recover
//! from fsync Failures?" (USENIX ATC 2020) for pages that turn clean when a sync fails.

mod inode;
mod names;

use std::io;
use std::sync::Arc;

use duolog_storage::disk::{Disk, DiskFile};
use parking_lot::Mutex;

use crate::Random;
use crate::counters::counters;
use inode::Inode;
use names::Names;

/// What shall go wrong. Counts are of calls from now on; `None` is never.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// The power goes off at this many further changing calls (write, allocate, sync, create, rename, unlink).
    pub power_off_after: Option<u64>,
    /// This many further syncs succeed, then one fails, its pages marked clean and lost.
    pub sync_fails_after: Option<u64>,
    /// After the first failed sync all others fail too.
    pub syncs_fail_for_ever: bool,
    /// This many further writes succeed, then one fails after writing a part.
    pub write_fails_after: Option<u64>,
    /// Bytes that may be allocated in all files together.
    pub capacity_bytes: Option<u64>,
    /// Files that may exist: no room is left for the name of another.
    pub files_max: Option<usize>,
}

/// What may happen to a file at rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Damage {
    /// One bit.
    BitFlipped,
    /// A block reads as zeros.
    BlockZeroed,
    /// The file ends early.
    CutShort,
    /// Two blocks have changed places.
    BlocksSwapped,
    /// A block of another file lies in the place of one of its own.
    BlockOfAnother,
}

impl Damage {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::BitFlipped, Self::BlockZeroed, Self::CutShort, Self::BlocksSwapped, Self::BlockOfAnother];
}

counters! {
    /// How often each fault struck, counted where it strikes, so that a run that tests nothing is noticed.
    Hits {
        power_cuts = "power cuts",
        cut_in_write = "power cuts in the middle of a write",
        cut_in_allocate = "power cuts before an allocation",
        cut_in_sync = "power cuts before a file's sync",
        cut_in_create = "power cuts before a creation",
        cut_in_rename = "power cuts at the swap of the manifest",
        cut_in_unlink = "power cuts at an unlink",
        cut_in_directory_sync = "power cuts before a directory's sync",
        writes_kept = "unsynced writes kept",
        writes_dropped = "unsynced writes lost",
        writes_torn = "unsynced writes torn",
        writes_zeroed = "unsynced writes that left zeros",
        lengths_lost = "unsynced lengths lost",
        names_lost = "creations, renames and unlinks undone",
        names_reordered = "names that survived though an earlier one was lost",
        renames_undone = "swaps of the manifest undone",
        sync_errors = "syncs failed (EIO)",
        write_errors = "writes failed halfway (EIO)",
        full = "refusals for want of space (ENOSPC)",
        bits_flipped = "bits flipped at rest",
        blocks_rotten = "blocks zeroed, swapped or foreign, files cut short",
    }
}

struct State {
    names: Names,
    inodes: Vec<Inode>,
    faults: Faults,
    hits: Hits,
    on: bool,
    locked: bool,
    /// Rises with each power-on; handles of an earlier life are dead.
    life: u64,
    random: Random,
}

/// The disk. Clones share it.
#[derive(Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

impl SimDisk {
    /// An empty one.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let state = State {
            names: Names::default(),
            inodes: Vec::new(),
            faults: Faults::default(),
            hits: Hits::default(),
            on: true,
            locked: false,
            life: 0,
            random: Random::new(seed),
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// A healthy disk of its own with the same files, all synced.
    #[must_use]
    pub fn copy(&self, seed: u64) -> Self {
        let copy = Self::new(seed);
        {
            let (from, mut into) = (self.state.lock(), copy.state.lock());
            into.names = from.names.clone();
            into.names.sync();
            into.inodes = vec![Inode::default(); from.inodes.len()];
            // Not those whose names are gone.
            for inode in from.names.inodes() {
                into.inodes[inode] = from.inodes[inode].clone();
                into.inodes[inode].sync();
            }
        }
        copy
    }

    /// Sets what shall go wrong from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.state.lock().faults = faults;
    }

    /// Somebody has added a disk: it is not full any more.
    pub fn make_room(&self) {
        self.state.lock().faults.capacity_bytes = None;
    }

    /// What has gone wrong so far.
    #[must_use]
    pub fn hits(&self) -> Hits {
        self.state.lock().hits
    }

    /// False once the power went off.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.state.lock().on
    }

    /// Cuts the power now, if it is on: every call fails until `power_on`.
    pub fn power_off(&self) {
        self.state.lock().power_off();
    }

    /// Decides by the seed what survived of everything unsynced, and starts a new life without faults.
    pub fn power_on(&self) {
        let mut state = self.state.lock();
        state.power_off();
        let State { names, inodes, random, hits, .. } = &mut *state;
        names.survive(random, hits);
        for inode in names.inodes() {
            inodes[inode].survive(random, hits);
        }
        state.on = true;
        state.locked = false;
        state.life += 1;
        state.faults = Faults::default();
    }

    /// The process dies and the machine lives on (`kill -9`): nothing is lost, handles are dead, the lock is free.
    pub fn kill_process(&self) {
        let mut state = self.state.lock();
        state.on = true;
        state.locked = false;
        state.life += 1;
        state.faults = Faults::default();
    }

    /// Flips one bit at rest, in the file of this name. False if there is none or it is empty.
    pub fn flip_bit(&self, name: &str) -> bool {
        let mut state = self.state.lock();
        let Some(inode) = state.names.find(name) else { return false };
        let State { inodes, random, hits, .. } = &mut *state;
        let flipped = inodes[inode].flip_bit(random);
        hits.bits_flipped += u64::from(flipped);
        flipped
    }

    /// Damages the file of this name at rest. False if nothing was changed.
    pub fn rot(&self, name: &str, damage: Damage) -> bool {
        let mut state = self.state.lock();
        let Some(inode) = state.names.find(name) else { return false };
        let others: Vec<usize> = state.names.inodes().filter(|it| *it != inode).collect();
        let State { inodes, random, hits, .. } = &mut *state;
        let other = match damage {
            Damage::BlockOfAnother if !others.is_empty() => inodes[*random.pick(&others)].bytes().to_vec(),
            _ => Vec::new(),
        };
        let rotten = inodes[inode].rot(damage, &other, random);
        let count =
            if damage == Damage::BitFlipped { &mut hits.bits_flipped } else { &mut hits.blocks_rotten };
        *count += u64::from(rotten);
        rotten
    }

    /// Names of all files, sorted.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.state.lock().names.all()
    }

    /// The bytes of a file as a reader sees them now.
    #[must_use]
    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.state.lock();
        state.names.find(name).map(|inode| state.inodes[inode].bytes().to_vec())
    }

    fn handle(&self, inode: usize, life: u64) -> Arc<dyn DiskFile> {
        Arc::new(SimFile { disk: self.clone(), inode, life })
    }
}

impl State {
    fn power_off(&mut self) {
        if self.on {
            self.on = false;
            self.hits.power_cuts += 1;
        }
    }

    fn check(&self, life: u64) -> io::Result<()> {
        if self.on && life == self.life { Ok(()) } else { Err(io::Error::other("the power is off")) }
    }

    /// To be called by every change: true if the power goes off in the middle of this one.
    fn change(&mut self, life: u64) -> io::Result<bool> {
        self.check(life)?;
        Ok(strikes(&mut self.faults.power_off_after))
    }

    fn sync_fails(&mut self) -> bool {
        let fails = strikes(&mut self.faults.sync_fails_after);
        if fails {
            self.hits.sync_errors += 1;
            if self.faults.syncs_fail_for_ever {
                self.faults.sync_fails_after = Some(0);
            }
        }
        fails
    }

    fn used_bytes(&self) -> u64 {
        self.names.inodes().map(|inode| self.inodes[inode].bytes().len() as u64).sum()
    }

    fn has_room(&mut self, grow: u64) -> bool {
        let room = self.faults.capacity_bytes.is_none_or(|capacity| self.used_bytes() + grow <= capacity);
        self.hits.full += u64::from(!room);
        room
    }
}

/// Counts a fault down; true when it strikes, after which it is spent.
fn strikes(countdown: &mut Option<u64>) -> bool {
    match countdown {
        None => false,
        Some(0) => {
            *countdown = None;
            true
        }
        Some(left) => {
            *left -= 1;
            false
        }
    }
}

fn power_is_off() -> io::Error {
    io::Error::other("the power is off")
}

fn disk_is_full() -> io::Error {
    io::Error::new(io::ErrorKind::StorageFull, "no space left on the simulated disk")
}

impl Disk for SimDisk {
    fn lock(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        if !state.on {
            return Err(power_is_off());
        }
        if std::mem::replace(&mut state.locked, true) {
            return Err(io::Error::new(io::ErrorKind::WouldBlock, "another process holds the lock"));
        }
        Ok(())
    }

    fn unlock(&self) {
        self.state.lock().locked = false;
    }

    fn describe(&self) -> String {
        "the simulated disk".to_owned()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let state = self.state.lock();
        state.check(state.life)?;
        Ok(state.names.all())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state.lock();
        let life = state.life;
        if state.change(life)? {
            state.hits.cut_in_create += 1;
            state.power_off();
            return Err(power_is_off());
        }
        if state.names.find(name).is_some() {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("{name} exists")));
        }
        if state.faults.files_max.is_some_and(|max| state.names.count() >= max) {
            state.hits.full += 1;
            return Err(disk_is_full());
        }
        state.inodes.push(Inode::default());
        let inode = state.inodes.len() - 1;
        state.names.link(name, inode);
        Ok(self.handle(inode, life))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let state = self.state.lock();
        state.check(state.life)?;
        let inode = state
            .names
            .find(name)
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("no file {name}")))?;
        Ok(self.handle(inode, state.life))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        let life = state.life;
        let cut = state.change(life)?;
        let inode = state
            .names
            .find(from)
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("no file {from}")))?;
        state.names.rename(from, to, inode);
        if cut {
            state.hits.cut_in_rename += 1;
            state.power_off();
            return Err(power_is_off());
        }
        Ok(())
    }

    fn unlink(&self, name: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        let life = state.life;
        let cut = state.change(life)?;
        if state.names.find(name).is_none() {
            return Err(io::Error::new(io::ErrorKind::NotFound, format!("no file {name}")));
        }
        state.names.unlink(name);
        if cut {
            state.hits.cut_in_unlink += 1;
            state.power_off();
            return Err(power_is_off());
        }
        Ok(())
    }

    fn sync_directory(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        let life = state.life;
        if state.change(life)? {
            state.hits.cut_in_directory_sync += 1;
            state.power_off();
            return Err(power_is_off());
        }
        if state.sync_fails() {
            return Err(io::Error::other("directory sync failed"));
        }
        state.names.sync();
        Ok(())
    }
}

struct SimFile {
    disk: SimDisk,
    inode: usize,
    life: u64,
}

impl DiskFile for SimFile {
    fn read_at(&self, into: &mut [u8], position: u64) -> io::Result<()> {
        let state = self.disk.state.lock();
        state.check(self.life)?;
        state.inodes[self.inode].read(into, position)
    }

    fn write_at(&self, parts: &[io::IoSlice<'_>], position: u64) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(parts.iter().map(|part| part.len()).sum());
        parts.iter().for_each(|part| bytes.extend_from_slice(part));
        let mut state = self.disk.state.lock();
        let cut = state.change(self.life)?;
        let grow =
            (position + bytes.len() as u64).saturating_sub(state.inodes[self.inode].bytes().len() as u64);
        if grow > 0 && !state.has_room(grow) {
            return Err(disk_is_full());
        }
        let fails = strikes(&mut state.faults.write_fails_after);
        if fails || cut {
            let kept = state.random.index(bytes.len() + 1);
            state.inodes[self.inode].write(position, &bytes[..kept]);
        }
        if cut {
            state.hits.cut_in_write += 1;
            state.power_off();
            return Err(power_is_off());
        }
        if fails {
            state.hits.write_errors += 1;
            return Err(io::Error::other("write failed"));
        }
        state.inodes[self.inode].write(position, &bytes);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.state.lock();
        if state.change(self.life)? {
            state.hits.cut_in_sync += 1;
            state.power_off();
            return Err(power_is_off());
        }
        if state.sync_fails() {
            state.inodes[self.inode].sync_failed();
            return Err(io::Error::other("sync failed"));
        }
        state.inodes[self.inode].sync();
        Ok(())
    }

    fn allocate(&self, position: u64, length: u64) -> io::Result<()> {
        let mut state = self.disk.state.lock();
        if state.change(self.life)? {
            state.hits.cut_in_allocate += 1;
            state.power_off();
            return Err(power_is_off());
        }
        let grow = (position + length).saturating_sub(state.inodes[self.inode].bytes().len() as u64);
        if !state.has_room(grow) {
            return Err(disk_is_full());
        }
        state.inodes[self.inode].grow(position + length);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        let state = self.disk.state.lock();
        state.check(self.life)?;
        Ok(state.inodes[self.inode].bytes().len() as u64)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut state = self.disk.state.lock();
        if state.change(self.life)? {
            state.power_off();
            return Err(power_is_off());
        }
        state.inodes[self.inode].set_len(length);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
