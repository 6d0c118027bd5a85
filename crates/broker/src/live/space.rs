//! Who listens to what: literals by hash, patterns of tokens in a trie, globs by the bytes they begin with.
//!
//! Invariant: a subscription is in exactly one place, which it knows, so that leaving costs no search; what is empty is
//! given back.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Subscription;
use super::pattern::{APART, Kind, glob_matches, glob_prefix};
use crate::trie::{Place, Trie, remove_and_shrink};

/// A subject, or a part of one, or a name.
type Text = Box<[u8]>;
/// Who are in a place alike.
type Members = Vec<Arc<Subscription>>;

/// All subscriptions of a broker.
#[derive(Default)]
pub(super) struct Space {
    literals: HashMap<Text, Here>,
    tokens: Trie<Here>,
    /// By the length of the beginning, then by the beginning, then by the glob.
    globs: BTreeMap<usize, HashMap<Text, HashMap<Text, Here>>>,
    subscriptions: usize,
    globs_len: usize,
}

/// Who listens in one place.
#[derive(Default)]
pub(super) struct Here {
    plain: Members,
    groups: HashMap<Text, Members>,
}

/// What a subject finds.
#[derive(Default)]
pub(super) struct Found {
    pub(super) plain: Members,
    pub(super) groups: Vec<(Text, Members)>,
}

impl Place for Here {
    fn is_empty(&self) -> bool {
        self.plain.is_empty() && self.groups.is_empty()
    }
}

impl Here {
    fn len(&self) -> usize {
        self.plain.len() + self.groups.values().map(Vec::len).sum::<usize>()
    }

    fn add(&mut self, subscription: &Arc<Subscription>) {
        let list = match subscription.group() {
            Some(group) => self.groups.entry(group.into()).or_default(),
            None => &mut self.plain,
        };
        subscription.slot.store(list.len(), Ordering::Relaxed);
        list.push(Arc::clone(subscription));
    }

    fn remove(&mut self, subscription: &Arc<Subscription>) -> bool {
        let list = match subscription.group() {
            Some(group) => match self.groups.get_mut(group) {
                Some(list) => list,
                None => return false,
            },
            None => &mut self.plain,
        };
        let slot = subscription.slot.load(Ordering::Relaxed);
        if !list.get(slot).is_some_and(|there| Arc::ptr_eq(there, subscription)) {
            return false;
        }
        list.swap_remove(slot);
        if let Some(moved) = list.get(slot) {
            moved.slot.store(slot, Ordering::Relaxed);
        }
        let is_empty = list.is_empty();
        shrink_list(list);
        if let Some(group) = subscription.group()
            && is_empty
        {
            remove_and_shrink(&mut self.groups, group);
        }
        true
    }

    fn find(&self, found: &mut Found) {
        found.plain.extend_from_slice(&self.plain);
        for (name, members) in &self.groups {
            // One group however many patterns its members have.
            match found.groups.iter_mut().find(|(known, _)| known == name) {
                Some((_, known)) => known.extend_from_slice(members),
                None => found.groups.push((name.clone(), members.clone())),
            }
        }
    }
}

impl Space {
    pub(super) fn len(&self) -> usize {
        self.subscriptions
    }

    /// Different globs.
    pub(super) fn globs(&self) -> usize {
        self.globs_len
    }

    /// Literal subscriptions to a subject.
    pub(super) fn count(&self, subject: &[u8]) -> usize {
        self.literals.get(subject).map_or(0, Here::len)
    }

    /// Each literal subject and how many listen.
    pub(super) fn each_literal(&self, each: &mut dyn FnMut(&[u8], usize)) {
        for (subject, here) in &self.literals {
            each(subject, here.len());
        }
    }

    pub(super) fn insert(&mut self, subscription: &Arc<Subscription>) {
        self.subscriptions += 1;
        match subscription.pattern().kind() {
            Kind::Literal(subject) => self.literals.entry(subject.clone()).or_default().add(subscription),
            Kind::Tokens(tokens) => self.tokens.place(tokens).add(subscription),
            Kind::Glob(glob) => {
                let prefix = glob_prefix(glob);
                let by_prefix = self.globs.entry(prefix.len()).or_default();
                let here = by_prefix.entry(prefix.into()).or_default().entry(glob.clone()).or_default();
                self.globs_len += usize::from(here.is_empty());
                here.add(subscription);
            }
        }
    }

    /// True if it was there.
    pub(super) fn remove(&mut self, subscription: &Arc<Subscription>) -> bool {
        let removed = match subscription.pattern().kind() {
            Kind::Literal(subject) => remove_at(&mut self.literals, subject, subscription),
            Kind::Tokens(tokens) => self.tokens.take_out(tokens, |here| here.remove(subscription)),
            Kind::Glob(glob) => self.remove_glob(glob, subscription),
        };
        self.subscriptions -= usize::from(removed);
        removed
    }

    fn remove_glob(&mut self, glob: &[u8], subscription: &Arc<Subscription>) -> bool {
        let prefix = glob_prefix(glob);
        let Some(by_prefix) = self.globs.get_mut(&prefix.len()) else { return false };
        let Some(by_glob) = by_prefix.get_mut(prefix) else { return false };
        let removed = remove_at(by_glob, glob, subscription);
        self.globs_len -= usize::from(removed && !by_glob.contains_key(glob));
        if by_glob.is_empty() {
            remove_and_shrink(by_prefix, prefix);
        }
        if by_prefix.is_empty() {
            self.globs.remove(&prefix.len());
        }
        removed
    }

    /// All who listen to a subject.
    pub(super) fn find(&self, subject: &[u8]) -> Found {
        let mut found = Found::default();
        if let Some(here) = self.literals.get(subject) {
            here.find(&mut found);
        }
        if subject.starts_with(APART) {
            return found;
        }
        self.tokens.find(subject, |here| here.find(&mut found));
        for (length, by_prefix) in self.globs.range(..=subject.len()) {
            let Some(by_glob) = by_prefix.get(&subject[..*length]) else { continue };
            for (glob, here) in by_glob {
                if glob_matches(glob, subject) {
                    here.find(&mut found);
                }
            }
        }
        found
    }
}

#[cfg(test)]
impl Space {
    /// True if nothing is left, memory included.
    pub(super) fn is_bare(&self) -> bool {
        self.tokens.is_bare()
            && self.literals.is_empty()
            && self.literals.capacity() <= 64
            && self.globs.is_empty()
            && (self.subscriptions, self.globs_len) == (0, 0)
    }
}

fn remove_at(places: &mut HashMap<Text, Here>, at: &[u8], subscription: &Arc<Subscription>) -> bool {
    let Some(here) = places.get_mut(at) else { return false };
    let removed = here.remove(subscription);
    if here.is_empty() {
        remove_and_shrink(places, at);
    }
    removed
}

fn shrink_list(list: &mut Members) {
    if list.capacity() > 64 && list.len() < list.capacity() / 8 {
        list.shrink_to(list.len() * 2);
    }
}
