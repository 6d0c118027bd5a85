//! A directory seen through glass: reads come from the disk beneath, changes stay in memory and end with it.
//!
//! For looking at a directory that must not be changed, above all a damaged one: opening a log writes. What is allocated and
//! never written costs nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind, IoSlice};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::disk::{Disk, DiskFile};

/// Memory is kept in such pieces.
const BLOCK_BYTES: u64 = 4096;

/// See the module. The disk beneath is locked while this one is.
pub struct OverlayDisk {
    beneath: Arc<dyn Disk>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What was created, opened for writing or renamed here, by name.
    files: BTreeMap<String, Arc<OverlayFile>>,
    /// Names of the disk beneath that are gone here.
    gone: BTreeSet<String>,
}

impl OverlayDisk {
    /// Glass over a disk.
    #[must_use]
    pub fn new(beneath: Arc<dyn Disk>) -> Self {
        Self { beneath, state: Mutex::default() }
    }
}

impl State {
    fn file(&mut self, beneath: &dyn Disk, name: &str) -> io::Result<Arc<OverlayFile>> {
        if let Some(file) = self.files.get(name) {
            return Ok(Arc::clone(file));
        }
        if self.gone.contains(name) {
            return Err(io::Error::new(ErrorKind::NotFound, format!("no file {name}")));
        }
        let handle = beneath.open(name)?;
        let length = handle.len()?;
        let changed = Changed { length, beneath_upto: length, blocks: BTreeMap::new() };
        let file = Arc::new(OverlayFile { beneath: Some(handle), changed: Mutex::new(changed) });
        self.files.insert(name.to_owned(), Arc::clone(&file));
        Ok(file)
    }
}

impl Disk for OverlayDisk {
    fn lock(&self) -> io::Result<()> {
        self.beneath.lock()
    }

    fn unlock(&self) {
        self.beneath.unlock();
    }

    fn describe(&self) -> String {
        self.beneath.describe()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let state = self.state.lock();
        let beneath = self.beneath.list()?.into_iter().filter(|name| !state.gone.contains(name));
        let names: BTreeSet<String> = beneath.chain(state.files.keys().cloned()).collect();
        Ok(names.into_iter().collect())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state.lock();
        if state.file(&*self.beneath, name).is_ok() {
            return Err(io::Error::new(ErrorKind::AlreadyExists, format!("{name} exists")));
        }
        let file = Arc::new(OverlayFile { beneath: None, changed: Mutex::default() });
        state.files.insert(name.to_owned(), Arc::clone(&file));
        Ok(file)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.state.lock().file(&*self.beneath, name)?)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        let file = state.file(&*self.beneath, from)?;
        state.files.remove(from);
        state.gone.insert(from.to_owned());
        state.files.insert(to.to_owned(), file);
        Ok(())
    }

    fn unlink(&self, name: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        state.file(&*self.beneath, name)?;
        state.files.remove(name);
        state.gone.insert(name.to_owned());
        Ok(())
    }

    fn sync_directory(&self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Default)]
struct Changed {
    length: u64,
    /// Up to where the file beneath still counts: it may have been cut, and grown again with zeros.
    beneath_upto: u64,
    /// Blocks that were written, by number.
    blocks: BTreeMap<u64, Box<[u8]>>,
}

struct OverlayFile {
    beneath: Option<Arc<dyn DiskFile>>,
    changed: Mutex<Changed>,
}

impl OverlayFile {
    /// What lies beneath, zeros behind its end.
    fn read_beneath(&self, upto: u64, into: &mut [u8], position: u64) -> io::Result<()> {
        into.fill(0);
        let there = upto.saturating_sub(position).min(into.len() as u64);
        match (&self.beneath, usize::try_from(there)) {
            (Some(beneath), Ok(there)) if there > 0 => beneath.read_at(&mut into[..there], position),
            _ => Ok(()),
        }
    }

    fn write(&self, changed: &mut Changed, mut bytes: &[u8], mut position: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            let (number, from) = (position / BLOCK_BYTES, (position % BLOCK_BYTES) as usize);
            let count = bytes.len().min(BLOCK_BYTES as usize - from);
            if !changed.blocks.contains_key(&number) {
                let mut block = vec![0; BLOCK_BYTES as usize].into_boxed_slice();
                self.read_beneath(changed.beneath_upto, &mut block, number * BLOCK_BYTES)?;
                changed.blocks.insert(number, block);
            }
            if let Some(block) = changed.blocks.get_mut(&number) {
                block[from..from + count].copy_from_slice(&bytes[..count]);
            }
            bytes = &bytes[count..];
            position += count as u64;
        }
        changed.length = changed.length.max(position);
        Ok(())
    }
}

impl DiskFile for OverlayFile {
    fn read_at(&self, into: &mut [u8], position: u64) -> io::Result<()> {
        let changed = self.changed.lock();
        let end = position.saturating_add(into.len() as u64);
        if end > changed.length {
            return Err(io::Error::new(ErrorKind::UnexpectedEof, "beyond the end of the file"));
        }
        self.read_beneath(changed.beneath_upto, into, position)?;
        for (number, block) in changed.blocks.range(position / BLOCK_BYTES..end.div_ceil(BLOCK_BYTES)) {
            let block_at = number * BLOCK_BYTES;
            let (from, until) = (block_at.max(position), (block_at + BLOCK_BYTES).min(end));
            let within = (from - block_at) as usize..(until - block_at) as usize;
            into[(from - position) as usize..(until - position) as usize].copy_from_slice(&block[within]);
        }
        Ok(())
    }

    fn write_at(&self, parts: &[IoSlice<'_>], position: u64) -> io::Result<()> {
        let mut changed = self.changed.lock();
        let mut at = position;
        for part in parts {
            self.write(&mut changed, part, at)?;
            at += part.len() as u64;
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn allocate(&self, position: u64, length: u64) -> io::Result<()> {
        let mut changed = self.changed.lock();
        changed.length = changed.length.max(position.saturating_add(length));
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.changed.lock().length)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut changed = self.changed.lock();
        let cut = length / BLOCK_BYTES;
        changed.beneath_upto = changed.beneath_upto.min(length);
        changed.length = length;
        changed.blocks.split_off(&length.div_ceil(BLOCK_BYTES));
        if let Some(block) = changed.blocks.get_mut(&cut) {
            block[(length % BLOCK_BYTES) as usize..].fill(0);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::FsDisk;

    fn bytes(file: &dyn DiskFile) -> Vec<u8> {
        let mut bytes = vec![0; file.len().unwrap() as usize];
        file.read_at(&mut bytes, 0).unwrap();
        bytes
    }

    #[test]
    fn changes_are_seen_through_the_glass_and_not_beneath() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("a"), vec![7; 10_000]).unwrap();
        let disk = OverlayDisk::new(Arc::new(FsDisk::new(directory.path())));
        let file = disk.open("a").unwrap();
        file.write_at(&[IoSlice::new(&[1, 2]), IoSlice::new(&[3])], 4094).unwrap();
        file.set_len(9000).unwrap();
        file.allocate(0, 9500).unwrap();
        let mut expected = vec![7; 10_000];
        expected[4094..4097].copy_from_slice(&[1, 2, 3]);
        expected[9000..].fill(0);
        assert_eq!(bytes(&*file), expected[..9500]);
        disk.rename("a", "b").unwrap();
        assert_eq!(bytes(&*disk.open("b").unwrap()), expected[..9500]);
        assert_eq!(disk.open("a").err().unwrap().kind(), ErrorKind::NotFound);
        assert_eq!(disk.list().unwrap(), ["b"]);
        disk.create("a").unwrap();
        disk.unlink("b").unwrap();
        assert_eq!(disk.list().unwrap(), ["a"]);
        assert_eq!(std::fs::read(directory.path().join("a")).unwrap(), vec![7; 10_000]);
    }
}
