//! Cursors: where each group stands in each partition.

use std::collections::{BTreeMap, BTreeSet};

use duolog_record::{Offset, PartitionId, Timestamp};

use super::Core;
use super::command::Reply;
use super::group::Group;
use super::verdict::when_durable;
use crate::errors::{AppendError, CursorError};
use crate::limits::{CURSOR_METADATA_BYTES, CURSORS, CURSORS_BYTES, PRODUCER_ID_BLOCK};
use crate::state::{CursorValue, Owner};
use crate::{Advance, Cursor, CursorMove, GroupCursors, Now};

/// All cursors of a shard, by group and partition.
#[derive(Clone, Debug, Default)]
pub(super) struct Cursors {
    groups: BTreeMap<String, BTreeMap<PartitionId, Cursor>>,
    count: usize,
    /// Of names of groups and metadata.
    bytes: usize,
}

impl Cursors {
    pub(super) fn get(&self, group: &str, partition: PartitionId) -> Option<&Cursor> {
        self.groups.get(group)?.get(&partition)
    }

    pub(super) fn set(&mut self, group: &str, partition: PartitionId, cursor: Cursor) {
        if !self.groups.contains_key(group) {
            self.groups.insert(group.to_owned(), BTreeMap::new());
            self.bytes += group.len();
        }
        self.bytes += cursor.metadata.len();
        let known = self.groups.get_mut(group).and_then(|group| group.insert(partition, cursor));
        self.count += usize::from(known.is_none());
        self.bytes -= known.map_or(0, |known| known.metadata.len());
    }

    pub(super) fn remove(&mut self, group: &str, partition: PartitionId) -> bool {
        let Some(cursors) = self.groups.get_mut(group) else {
            return false;
        };
        let gone = cursors.remove(&partition);
        if let Some(gone) = &gone {
            self.count -= 1;
            self.bytes -= gone.metadata.len();
        }
        if cursors.is_empty() {
            self.groups.remove(group);
            self.bytes -= group.len();
        }
        gone.is_some()
    }

    /// Forgets the cursors in partitions that are not `kept`; gives their groups and partitions.
    pub(super) fn retain(&mut self, kept: impl Fn(PartitionId) -> bool) -> Vec<(String, PartitionId)> {
        let mut gone = Vec::new();
        let mut bytes = 0;
        self.groups.retain(|group, cursors| {
            cursors.retain(|&partition, cursor| {
                let is_kept = kept(partition);
                if !is_kept {
                    gone.push((group.clone(), partition));
                    bytes += cursor.metadata.len();
                }
                is_kept
            });
            bytes += if cursors.is_empty() { group.len() } else { 0 };
            !cursors.is_empty()
        });
        self.count -= gone.len();
        self.bytes -= bytes;
        gone
    }

    pub(super) fn of(&self, group: &str) -> GroupCursors {
        let all = self.groups.get(group).into_iter().flatten();
        all.map(|(&partition, cursor)| (partition, cursor.clone())).collect()
    }

    pub(super) fn groups(&self) -> impl Iterator<Item = &String> {
        self.groups.keys()
    }

    /// The first cursor after this one, in order.
    pub(super) fn next_after(&self, after: Option<(&str, PartitionId)>) -> Option<(&String, PartitionId)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let Some((group, partition)) = after else {
            let (group, cursors) = self.groups.iter().next()?;
            return cursors.keys().next().map(|&partition| (group, partition));
        };
        if let Some((group, cursors)) = self.groups.get_key_value(group)
            && let Some((&next, _)) = cursors.range((Excluded(partition), Unbounded)).next()
        {
            return Some((group, next));
        }
        let (group, cursors) = self.groups.range::<str, _>((Excluded(group), Unbounded)).next()?;
        cursors.keys().next().map(|&partition| (group, partition))
    }
}

/// As it is written down.
pub(super) fn to_value(cursor: &Cursor) -> CursorValue {
    CursorValue {
        offset: cursor.offset.0,
        leader_epoch: cursor.leader_epoch,
        metadata: cursor.metadata.clone(),
        moved_at: cursor.moved_at.0,
    }
}

/// From what was written down.
pub(super) fn from_value(value: CursorValue) -> Cursor {
    Cursor {
        offset: Offset(value.offset),
        leader_epoch: value.leader_epoch,
        metadata: value.metadata,
        moved_at: Timestamp(value.moved_at),
    }
}

/// A cursor that a group moves with what it appends.
pub(super) struct Advanced {
    advance: Advance,
    before: Cursor,
    after: Cursor,
}

impl Core {
    pub(super) fn move_cursors(
        &mut self,
        now: Now,
        group: String,
        moves: Vec<CursorMove>,
        reply: Reply<(), CursorError>,
    ) {
        if let Err(error) = self.check_moves(&group, &moves) {
            drop(reply.send(Err(error)));
            return;
        }
        for CursorMove { partition, offset, leader_epoch, metadata } in moves {
            let cursor = Cursor { offset, leader_epoch, metadata, moved_at: now.wall };
            self.cursors.set(&group, partition, cursor);
            self.dirty.insert(Owner::Cursor(group.clone(), partition.0));
        }
        self.answer_when_durable(when_durable(reply, ()));
    }

    fn check_moves(&self, group: &str, moves: &[CursorMove]) -> Result<(), CursorError> {
        let is_known = self.cursors.groups.contains_key(group);
        let (mut added, mut more, mut less) = (0, if is_known { 0 } else { group.len() }, 0);
        for it in moves {
            if !self.partitions.contains_key(&it.partition) {
                return Err(CursorError::NotFound(it.partition));
            }
            if it.metadata.len() > CURSOR_METADATA_BYTES {
                return Err(CursorError::MetadataTooLarge(it.metadata.len()));
            }
            more += it.metadata.len();
            match self.cursors.get(group, it.partition) {
                Some(known) => less += known.metadata.len(),
                None => added += 1,
            }
        }
        // Whoever is known may go on at the limits.
        if added > 0 && self.cursors.count + added > CURSORS {
            return Err(CursorError::TooMany(CURSORS));
        }
        if more > less && self.cursors.bytes + (more - less) > CURSORS_BYTES {
            return Err(CursorError::Full(CURSORS_BYTES));
        }
        Ok(())
    }

    pub(super) fn look_at_cursors(&mut self, group: &str, reply: Reply<GroupCursors, CursorError>) {
        let cursors = self.cursors.of(group);
        self.answer_when_durable(when_durable(reply, cursors));
    }

    pub(super) fn look_at_groups(&mut self, reply: Reply<Vec<String>, CursorError>) {
        let groups = self.cursors.groups().cloned().collect();
        self.answer_when_durable(when_durable(reply, groups));
    }

    pub(super) fn forget_cursors(
        &mut self,
        group: &str,
        partitions: Option<Vec<PartitionId>>,
        reply: Reply<bool, CursorError>,
    ) {
        let all = || self.cursors.of(group).into_iter().map(|(partition, _)| partition).collect();
        let mut any = false;
        for partition in partitions.unwrap_or_else(all) {
            any |= self.forget_cursor(group, partition);
        }
        self.answer_when_durable(when_durable(reply, any));
    }

    fn forget_cursor(&mut self, group: &str, partition: PartitionId) -> bool {
        let was_there = self.cursors.remove(group, partition);
        if was_there {
            self.dirty.insert(Owner::Cursor(group.to_owned(), partition.0));
        }
        was_there
    }

    /// Partitions go, and with them where groups stood in them.
    pub(super) fn forget_cursors_in(&mut self, partitions: &[PartitionId]) {
        let gone: BTreeSet<PartitionId> = partitions.iter().copied().collect();
        for (group, partition) in self.cursors.retain(|partition| !gone.contains(&partition)) {
            self.dirty.insert(Owner::Cursor(group, partition.0));
        }
    }

    /// # Errors
    /// `CursorMoved` if a cursor is not where it is to move from.
    pub(super) fn check_advance(&self, advance: &Advance) -> Result<(), AppendError> {
        let cursor = self.cursors.get(&advance.group, advance.partition);
        match cursor.is_some_and(|cursor| cursor.offset == advance.from) {
            true => Ok(()),
            false => Err(AppendError::CursorMoved),
        }
    }

    /// A cursor moves with what the group appends, and is written with it: what is dirty may have to wait for the next group.
    pub(super) fn advance(&mut self, now: Now, group: &mut Group, advance: &Advance) {
        let Some(before) = self.cursors.get(&advance.group, advance.partition).cloned() else { return };
        let after = Cursor { offset: advance.to, moved_at: now.wall, ..before.clone() };
        self.cursors.set(&advance.group, advance.partition, after.clone());
        let name = advance.group.to_string();
        group.changes.records.push(self.state_record(Owner::Cursor(name, advance.partition.0)));
        group.advances.push(Advanced { advance: advance.clone(), before, after });
    }

    /// A group was refused: its cursors did not move with what was not appended.
    pub(super) fn take_advances_back(&mut self, group: &mut Group) {
        for Advanced { advance, before, after } in std::mem::take(&mut group.advances).into_iter().rev() {
            let owner = Owner::Cursor(advance.group.to_string(), advance.partition.0);
            group.changes.records.retain(|record| record.owner != owner);
            // It may have been moved or forgotten since.
            if self.cursors.get(&advance.group, advance.partition) == Some(&after) {
                self.cursors.set(&advance.group, advance.partition, before);
            }
            self.dirty.insert(owner);
        }
    }

    pub(super) fn new_producer_id(&mut self, reply: Reply<i64, CursorError>) {
        if self.producer_ids.is_empty() {
            // A block is reserved at a time, so that not every producer costs a sync of its own; what a restart leaves
            // over is never given out.
            let first = self.counters.next_producer;
            self.counters.next_producer = first.saturating_add(PRODUCER_ID_BLOCK);
            self.producer_ids = first..self.counters.next_producer;
            self.dirty.insert(Owner::Broker);
        }
        match self.producer_ids.next() {
            Some(id) => self.answer_when_durable(when_durable(reply, id)),
            None => drop(reply.send(Err(CursorError::TooMany(usize::MAX)))),
        }
    }
}

#[cfg(test)]
mod tests {
    use duolog_record::{Offset, PartitionId, Timestamp};

    use super::Cursors;
    use crate::Cursor;

    fn cursor(metadata: &str) -> Cursor {
        Cursor { offset: Offset(1), leader_epoch: -1, metadata: metadata.to_owned(), moved_at: Timestamp(1) }
    }

    #[test]
    fn what_is_counted_goes_again_with_what_it_was_counted_for() {
        let mut cursors = Cursors::default();
        for (partition, metadata) in [(1, "four"), (1, "seven 7"), (2, ""), (3, "xy")] {
            cursors.set("group", PartitionId(partition), cursor(metadata));
        }
        cursors.set("g", PartitionId(3), cursor("z"));
        assert_eq!((cursors.count, cursors.bytes), (4, 5 + 7 + 2 + 1 + 1));
        assert!(cursors.remove("group", PartitionId(1)));
        assert!(!cursors.remove("group", PartitionId(1)));
        assert_eq!(cursors.bytes, 5 + 2 + 2);
        assert_eq!(cursors.retain(|partition| partition == PartitionId(2)).len(), 2);
        assert_eq!((cursors.count, cursors.bytes), (1, 5));
        assert!(cursors.remove("group", PartitionId(2)));
        assert_eq!((cursors.count, cursors.bytes), (0, 0));
    }
}
