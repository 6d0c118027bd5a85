//! The bytes of one file: as a reader sees them, as they were at the last sync, and the writes in between.

use std::io;
use std::ops::Range;

use super::{Damage, Hits};
use crate::Random;

/// Disks write such units whole or not at all.
const SECTOR_BYTES: usize = 512;
/// What goes bad at rest is a block of the file system.
const BLOCK_BYTES: usize = 4096;

#[derive(Clone, Debug)]
enum Change {
    Write { position: usize, bytes: Vec<u8> },
    Length(usize),
}

/// One file.
#[derive(Clone, Debug, Default)]
pub(super) struct Inode {
    now: Vec<u8>,
    synced: Vec<u8>,
    unsynced: Vec<Change>,
    /// What readers see may not be what is on the disk.
    is_dirty: bool,
}

fn write_into(bytes: &mut Vec<u8>, position: usize, from: &[u8]) {
    let end = position + from.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[position..end].copy_from_slice(from);
}

/// One of the blocks of so many bytes; the last may be a part of one.
fn block_of(length: usize, unit: usize, random: &mut Random) -> Range<usize> {
    let at = random.index(length.div_ceil(unit)) * unit;
    at..(at + unit).min(length)
}

fn position_of(position: u64) -> usize {
    usize::try_from(position).expect("simulated files fit the memory")
}

impl Inode {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.now
    }

    pub(super) fn read(&self, into: &mut [u8], position: u64) -> io::Result<()> {
        let from = position_of(position);
        let bytes = self.now.get(from..from.saturating_add(into.len())).ok_or_else(|| {
            io::Error::new(io::ErrorKind::UnexpectedEof, "beyond the end of the simulated file")
        })?;
        into.copy_from_slice(bytes);
        Ok(())
    }

    pub(super) fn write(&mut self, position: u64, bytes: &[u8]) {
        let position = position_of(position);
        write_into(&mut self.now, position, bytes);
        self.is_dirty = true;
        self.unsynced.push(Change::Write { position, bytes: bytes.to_vec() });
    }

    pub(super) fn grow(&mut self, length: u64) {
        if position_of(length) > self.now.len() {
            self.set_len(length);
        }
    }

    pub(super) fn set_len(&mut self, length: u64) {
        let length = position_of(length);
        self.now.resize(length, 0);
        self.is_dirty = true;
        self.unsynced.push(Change::Length(length));
    }

    pub(super) fn sync(&mut self) {
        for change in self.unsynced.drain(..) {
            match change {
                Change::Write { position, bytes } => write_into(&mut self.synced, position, &bytes),
                Change::Length(length) => self.synced.resize(length, 0),
            }
        }
    }

    /// The pages turn clean without having reached the disk: readers still see them, no later sync will write them.
    pub(super) fn sync_failed(&mut self) {
        self.unsynced.clear();
    }

    /// A power cut: each unsynced write is dropped, kept, torn by sectors, or leaves zeros.
    pub(super) fn survive(&mut self, random: &mut Random, hits: &mut Hits) {
        if !std::mem::take(&mut self.is_dirty) {
            return;
        }
        let changes = std::mem::take(&mut self.unsynced);
        // Now and then everything made it, or nothing: both happen on real machines more often than chance would have it.
        let all_or_none = random.below(4);
        for change in changes {
            match change {
                Change::Length(length) => {
                    if all_or_none == 0 || random.one_in(2) {
                        self.synced.resize(length, 0);
                    } else {
                        hits.lengths_lost += 1;
                    }
                }
                Change::Write { position, bytes } => {
                    let fate = if all_or_none < 2 { all_or_none } else { random.below(4) };
                    self.land(fate, position, &bytes, random, hits);
                }
            }
        }
        self.now.clone_from(&self.synced);
    }

    fn land(&mut self, fate: u64, position: usize, bytes: &[u8], random: &mut Random, hits: &mut Hits) {
        match fate {
            0 => {
                hits.writes_kept += 1;
                write_into(&mut self.synced, position, bytes);
            }
            1 => hits.writes_dropped += 1,
            2 => {
                hits.writes_torn += 1;
                let mut at = position;
                let end = position + bytes.len();
                while at < end {
                    let next = ((at / SECTOR_BYTES + 1) * SECTOR_BYTES).min(end);
                    if random.one_in(2) {
                        write_into(&mut self.synced, at, &bytes[at - position..next - position]);
                    }
                    at = next;
                }
            }
            _ => {
                hits.writes_zeroed += 1;
                // The length was journalled, the data was not: zeros where nothing had been, the old bytes elsewhere.
                let end = position + bytes.len();
                if self.synced.len() < end {
                    self.synced.resize(end, 0);
                }
            }
        }
    }

    /// Goes bad at rest; `other` is what another file holds. False if that changes nothing.
    pub(super) fn rot(&mut self, damage: Damage, other: &[u8], random: &mut Random) -> bool {
        let before = self.synced.clone();
        if before.is_empty() {
            return false;
        }
        let bytes = &mut self.synced;
        match damage {
            Damage::BitFlipped => return self.flip_bit(random),
            Damage::BlockZeroed => {
                let block = block_of(bytes.len(), BLOCK_BYTES, random);
                bytes[block].fill(0);
            }
            Damage::CutShort => bytes.truncate(random.index(before.len())),
            Damage::BlocksSwapped => {
                // A file of one block has its halves swapped.
                let unit = if bytes.len() < 2 * BLOCK_BYTES { bytes.len() / 2 } else { BLOCK_BYTES };
                if unit == 0 {
                    return false;
                }
                let units = bytes.len() / unit;
                let (one, other) = (random.index(units) * unit, random.index(units) * unit);
                for at in 0..unit {
                    bytes.swap(one + at, other + at);
                }
            }
            Damage::BlockOfAnother if other.is_empty() => return false,
            Damage::BlockOfAnother => {
                let (from, into) =
                    (block_of(other.len(), BLOCK_BYTES, random), block_of(bytes.len(), BLOCK_BYTES, random));
                let length = from.len().min(into.len());
                bytes[into.start..into.start + length]
                    .copy_from_slice(&other[from.start..from.start + length]);
            }
        }
        self.now.clone_from(&self.synced);
        self.unsynced.clear();
        self.synced != before
    }

    pub(super) fn flip_bit(&mut self, random: &mut Random) -> bool {
        if self.synced.is_empty() {
            return false;
        }
        let (at, bit) = (random.index(self.synced.len()), random.below(8));
        self.synced[at] ^= 1 << bit;
        if let Some(byte) = self.now.get_mut(at) {
            *byte ^= 1 << bit;
        }
        true
    }
}
