//! The window of a partition in a queue that looks at keys: records that can be or are to be leased, chained by key.
//!
//! Invariant: a chain rises; it holds every available record of its key below the window's end, except those at or
//! behind `more_from`, which were passed over to save memory and are looked up again when the chain is empty. `open`
//! has exactly the groups from which something may be leased now, in the order in which their turn comes.
//! A key is known by its hash: two keys of one hash are one group, which costs them speed and no order.
//! Source: SQS Developer Guide, "FIFO queue delivery logic", "fair queues".

use std::collections::{BTreeSet, HashMap, VecDeque};

use duolog_storage::planted::{self, Bug};

use crate::Order;

/// No record of the group was passed over.
const NOTHING: u64 = u64::MAX;

/// When a group's turn comes: the least first. In fair order by how much of it is leased, when it was last served, and
/// where it begins; the last keeps those in line that come and go with one record each.
type Rank = (u64, u64, u64);

/// A record that can be leased when its group's turn comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) offset: u64,
    /// When its time to live began.
    pub(super) live_from: i64,
}

/// The records of one key.
#[derive(Debug)]
struct Group {
    chain: VecDeque<Waiting>,
    /// Leased, delayed, or on the way to the dead-letter queue.
    held: u32,
    /// From here on its records were passed over; `NOTHING` if none were.
    more_from: u64,
    /// When it was last served, or came: by `Groups::turn`.
    served: u64,
}

/// What of a group stands in the sums and sets beside it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Place {
    rank: Option<Rank>,
    more_from: Option<u64>,
    is_hungry: bool,
    waiting: usize,
    free: usize,
}

/// All groups of a partition.
#[derive(Debug)]
pub(super) struct Groups {
    order: Order,
    groups: HashMap<u64, Group>,
    open: BTreeSet<(Rank, u64)>,
    /// Groups of which records were passed over, by where.
    skipped: BTreeSet<(u64, u64)>,
    /// Those of them whose chain is empty although it could be leased from.
    hungry: BTreeSet<(u64, u64)>,
    /// Records in chains, and those of them whose group is not blocked.
    waiting: usize,
    free: usize,
    /// Records that hold up their groups.
    held: usize,
    /// Rises with every lease and every group that comes.
    turn: u64,
    /// No record in a chain lives since before then.
    pub(super) live_since: i64,
}

impl Group {
    fn new(turn: u64) -> Self {
        Self { chain: VecDeque::new(), held: 0, more_from: NOTHING, served: turn }
    }

    fn place(&self, order: Order) -> Place {
        let is_blocked = order == Order::ByKey && self.held > 0;
        let rank = self.chain.front().filter(|_| !is_blocked).map(|front| match order {
            Order::Fair if planted::is(Bug::TurnsByArrival) => (front.offset, 0, 0),
            Order::Fair => (u64::from(self.held), self.served, front.offset),
            Order::ByKey | Order::Standard => (front.offset, 0, 0),
        });
        let more_from = (self.more_from != NOTHING).then_some(self.more_from);
        let waiting = self.chain.len();
        Place {
            rank,
            more_from,
            is_hungry: more_from.is_some() && !is_blocked && waiting == 0,
            waiting,
            free: if is_blocked { 0 } else { waiting },
        }
    }

    fn insert(&mut self, record: Waiting) {
        match self.chain.back() {
            Some(back) if back.offset >= record.offset => {
                let at = self.chain.partition_point(|it| it.offset < record.offset);
                if self.chain[at].offset != record.offset {
                    self.chain.insert(at, record);
                }
            }
            Some(_) | None => self.chain.push_back(record),
        }
    }

    fn remove(&mut self, offset: u64) {
        if self.chain.front().is_some_and(|front| front.offset == offset) {
            self.chain.pop_front();
        } else if let Ok(at) = self.chain.binary_search_by_key(&offset, |it| it.offset) {
            self.chain.remove(at);
        }
    }

    /// Passes over all but the first records.
    fn shorten(&mut self, len: usize) {
        if let Some(first) = self.chain.get(len) {
            self.more_from = self.more_from.min(first.offset);
            self.chain.truncate(len);
            self.chain.shrink_to_fit();
        }
    }
}

impl Groups {
    pub(super) fn new(order: Order) -> Self {
        Self {
            order,
            groups: HashMap::new(),
            open: BTreeSet::new(),
            skipped: BTreeSet::new(),
            hungry: BTreeSet::new(),
            waiting: 0,
            free: 0,
            held: 0,
            turn: 0,
            live_since: i64::MAX,
        }
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        *self = Self { turn: self.turn, ..Self::new(self.order) };
    }

    pub(super) fn order(&self) -> Order {
        self.order
    }

    /// Records in chains.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Records that hold up their groups.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Records in chains whose groups are not blocked.
    pub(super) fn free(&self) -> usize {
        self.free
    }

    pub(super) fn has_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// The group behind `after` whose turn it is.
    pub(super) fn next_open(&self, after: Option<(Rank, u64)>) -> Option<(Rank, u64)> {
        match after {
            None => self.open.first().copied(),
            Some(after) => {
                let behind = (std::ops::Bound::Excluded(after), std::ops::Bound::Unbounded);
                self.open.range(behind).next().copied()
            }
        }
    }

    /// Where to look for records of groups that run low.
    pub(super) fn refill_from(&self) -> Option<u64> {
        self.hungry.first().map(|&(from, _)| from)
    }

    /// The first record of a group.
    pub(super) fn front(&self, key: u64) -> Option<Waiting> {
        self.groups.get(&key)?.chain.front().copied()
    }

    /// True while others of the group have to wait.
    pub(super) fn is_blocked(&self, key: u64) -> bool {
        self.order == Order::ByKey && self.groups.get(&key).is_some_and(|group| group.held > 0)
    }

    /// Length of a group's chain.
    pub(super) fn len(&self, key: u64) -> usize {
        self.groups.get(&key).map_or(0, |group| group.chain.len())
    }

    /// Number of groups.
    pub(super) fn count(&self) -> usize {
        self.groups.len()
    }

    /// From where on a group's records were passed over.
    pub(super) fn more_from(&self, key: u64) -> u64 {
        self.groups.get(&key).map_or(NOTHING, |group| group.more_from)
    }

    /// A record can be leased when its turn comes. Unless it lies where the group's records were passed over.
    pub(super) fn add(&mut self, key: u64, record: Waiting) {
        self.live_since = self.live_since.min(record.live_from);
        self.update(key, |group| {
            if record.offset < group.more_from {
                group.insert(record);
            }
        });
    }

    /// A record can no longer be leased.
    pub(super) fn remove(&mut self, key: u64, offset: u64) {
        self.update(key, |group| group.remove(offset));
    }

    /// A record takes on a state that holds up its group.
    pub(super) fn hold(&mut self, key: u64, offset: u64) {
        self.turn += 1;
        self.held += 1;
        let turn = self.turn;
        self.update(key, |group| {
            group.remove(offset);
            group.held += 1;
            group.served = turn;
        });
    }

    /// A record has left such a state.
    pub(super) fn free_one(&mut self, key: u64) {
        self.held -= 1;
        self.update(key, |group| group.held -= 1);
    }

    /// Records of the group from `offset` on are passed over.
    pub(super) fn skip_from(&mut self, key: u64, offset: u64) {
        self.update(key, |group| group.more_from = group.more_from.min(offset));
    }

    /// Records in `from..to` have been looked up again and are about to be added; `is_all` if no record behind `to` was
    /// ever passed over. Gives the groups that take them, and each from which offset on.
    pub(super) fn looked_up(&mut self, from: u64, to: u64, is_all: bool) -> HashMap<u64, u64> {
        let taking = self.skipped.range((from, 0)..(to, 0)).map(|&(more_from, key)| (key, more_from));
        let taking: HashMap<u64, u64> = taking.collect();
        for &key in taking.keys() {
            self.update(key, |group| group.more_from = if is_all { NOTHING } else { to });
        }
        taking
    }

    /// Makes room for records of others: passes over the ends of chains, until a quarter is free.
    pub(super) fn shed(&mut self, room: usize) {
        let enough = room / 4 * 3;
        let fair = room / self.groups.len().max(1) / 2;
        let lengths = match self.order {
            Order::Fair => [fair.max(1), 1, 1, 1],
            Order::ByKey | Order::Standard => [64, 8, 1, 0],
        };
        for len in lengths {
            if self.waiting <= enough {
                return;
            }
            let is_long =
                |key: &u64| self.len(*key) > len && (self.is_blocked(*key) || self.order == Order::Fair);
            let long: Vec<u64> = self.groups.keys().copied().filter(is_long).collect();
            for key in long {
                self.update(key, |group| group.shorten(len));
            }
        }
    }

    /// The chains from which something may have outlived its time, by their fronts: key and front.
    pub(super) fn fronts(&self) -> Vec<(u64, Waiting)> {
        self.groups.iter().filter_map(|(&key, group)| Some((key, *group.chain.front()?))).collect()
    }

    /// Every group: key, offsets in its chain, how many hold it up, from where on its records were passed over.
    #[cfg(test)]
    pub(super) fn audit(&self) -> std::collections::BTreeMap<u64, (Vec<u64>, u32, u64)> {
        let of =
            |group: &Group| (group.chain.iter().map(|it| it.offset).collect(), group.held, group.more_from);
        self.groups.iter().map(|(&key, group)| (key, of(group))).collect()
    }

    /// Changes a group and what stands beside it.
    fn update(&mut self, key: u64, change: impl FnOnce(&mut Group)) {
        let group = self.groups.entry(key).or_insert_with(|| {
            self.turn += 1;
            Group::new(self.turn)
        });
        let before = group.place(self.order);
        change(group);
        let now = group.place(self.order);
        let is_over = now.waiting == 0 && group.held == 0 && now.more_from.is_none();
        if is_over {
            self.groups.remove(&key);
        }
        if before == now {
            return;
        }
        self.waiting = self.waiting - before.waiting + now.waiting;
        self.free = self.free - before.free + now.free;
        replace(&mut self.open, before.rank.map(|it| (it, key)), now.rank.map(|it| (it, key)));
        replace(&mut self.skipped, before.more_from.map(|it| (it, key)), now.more_from.map(|it| (it, key)));
        let hungry = |place: Place| place.more_from.filter(|_| place.is_hungry).map(|it| (it, key));
        replace(&mut self.hungry, hungry(before), hungry(now));
    }
}

/// Puts one element in the place of another.
fn replace<T: Ord>(set: &mut BTreeSet<T>, before: Option<T>, now: Option<T>) {
    if before == now {
        return;
    }
    if let Some(before) = before {
        set.remove(&before);
    }
    if let Some(now) = now {
        set.insert(now);
    }
}
