//! The directory: names as they are now, as they were at the last sync, and what happened in between.

use std::collections::BTreeMap;

use super::Hits;
use crate::Random;

#[derive(Clone, Debug)]
enum Change {
    Link(String, usize),
    Rename(String, String, usize),
    Unlink(String),
}

/// Names to inodes.
#[derive(Clone, Default)]
pub(super) struct Names {
    now: BTreeMap<String, usize>,
    synced: BTreeMap<String, usize>,
    unsynced: Vec<Change>,
}

fn apply(names: &mut BTreeMap<String, usize>, change: &Change) {
    match change {
        Change::Link(name, inode) => {
            names.insert(name.clone(), *inode);
        }
        Change::Rename(from, to, inode) => {
            names.remove(from);
            names.insert(to.clone(), *inode);
        }
        Change::Unlink(name) => {
            names.remove(name);
        }
    }
}

impl Names {
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.now.get(name).copied()
    }

    pub(super) fn all(&self) -> Vec<String> {
        self.now.keys().cloned().collect()
    }

    pub(super) fn count(&self) -> usize {
        self.now.len()
    }

    pub(super) fn inodes(&self) -> impl Iterator<Item = usize> + '_ {
        self.now.values().copied()
    }

    pub(super) fn link(&mut self, name: &str, inode: usize) {
        self.change(Change::Link(name.to_owned(), inode));
    }

    pub(super) fn rename(&mut self, from: &str, to: &str, inode: usize) {
        self.change(Change::Rename(from.to_owned(), to.to_owned(), inode));
    }

    pub(super) fn unlink(&mut self, name: &str) {
        self.change(Change::Unlink(name.to_owned()));
    }

    fn change(&mut self, change: Change) {
        apply(&mut self.now, &change);
        self.unsynced.push(change);
    }

    pub(super) fn sync(&mut self) {
        self.unsynced.clear();
        self.synced.clone_from(&self.now);
    }

    /// A power cut: of the unsynced changes either a prefix survives, as on a file system with an ordered journal, or any
    /// subset, as the standard allows.
    pub(super) fn survive(&mut self, random: &mut Random, hits: &mut Hits) {
        let ordered = !random.one_in(3);
        let prefix = random.index(self.unsynced.len() + 1);
        let mut has_lost = false;
        for (index, change) in self.unsynced.drain(..).enumerate() {
            let kept = if ordered { index < prefix } else { random.one_in(2) };
            if kept {
                apply(&mut self.synced, &change);
                hits.names_reordered += u64::from(has_lost);
            } else {
                hits.names_lost += 1;
                hits.renames_undone += u64::from(matches!(change, Change::Rename(..)));
                has_lost = true;
            }
        }
        self.now.clone_from(&self.synced);
    }
}
