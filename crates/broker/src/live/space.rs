//! Who listens to what: literals by hash, patterns of tokens in a trie, globs by the bytes they begin with.
//!
//! Invariant: a subscription is in exactly one place, which it knows, so that leaving costs no search; what is empty is
//! given back. Finding is linear in the tokens of the subject and the nodes that they reach, however many wildcards there are.

use std::collections::{BTreeMap, HashMap};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Subscription;
use super::pattern::{APART, Kind, SEPARATOR, Token, glob_matches, glob_prefix};

/// A subject, or a part of one, or a name.
type Text = Box<[u8]>;
/// Who are in a place alike.
type Members = Vec<Arc<Subscription>>;

/// All subscriptions of a broker.
#[derive(Default)]
pub(super) struct Space {
    literals: HashMap<Text, Here>,
    tokens: Node,
    /// By the length of the beginning, then by the beginning, then by the glob.
    globs: BTreeMap<usize, HashMap<Text, HashMap<Text, Here>>>,
    subscriptions: usize,
    globs_len: usize,
}

/// A place in the trie.
#[derive(Default)]
struct Node {
    literals: HashMap<Text, Node>,
    one: Option<Box<Node>>,
    rest: Option<Box<Node>>,
    here: Here,
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

impl Here {
    fn is_empty(&self) -> bool {
        self.plain.is_empty() && self.groups.is_empty()
    }

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
            take_out(&mut self.groups, group);
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
            Kind::Tokens(tokens) => {
                let mut node = &mut self.tokens;
                for token in tokens {
                    node = match token {
                        Token::Literal(text) => node.literals.entry(text.clone()).or_default(),
                        Token::One => node.one.get_or_insert_default(),
                        Token::Rest => node.rest.get_or_insert_default(),
                    };
                }
                node.here.add(subscription);
            }
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
            Kind::Tokens(tokens) => self.tokens.remove(tokens, subscription),
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
            take_out(by_prefix, prefix);
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
        self.tokens.find(subject, &mut found);
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
        self.tokens.is_empty()
            && self.tokens.literals.capacity() <= 64
            && self.literals.is_empty()
            && self.literals.capacity() <= 64
            && self.globs.is_empty()
            && (self.subscriptions, self.globs_len) == (0, 0)
    }
}

impl Node {
    fn is_empty(&self) -> bool {
        self.literals.is_empty() && self.one.is_none() && self.rest.is_none() && self.here.is_empty()
    }

    /// Depth is bounded by `limits::PATTERN_TOKENS`.
    fn remove(&mut self, tokens: &[Token], subscription: &Arc<Subscription>) -> bool {
        let Some((token, behind)) = tokens.split_first() else { return self.here.remove(subscription) };
        match token {
            Token::Literal(text) => {
                let Some(node) = self.literals.get_mut(text) else { return false };
                let removed = node.remove(behind, subscription);
                if node.is_empty() {
                    take_out(&mut self.literals, text);
                }
                removed
            }
            Token::One => remove_below(&mut self.one, behind, subscription),
            Token::Rest => remove_below(&mut self.rest, behind, subscription),
        }
    }

    /// Goes through the subject once with all the nodes where the tokens so far may have led.
    fn find(&self, subject: &[u8], found: &mut Found) {
        if self.is_empty() {
            return;
        }
        // A node under `rest` stays where it is with each token; the flag says which those are.
        let mut here: Vec<(&Self, bool)> = vec![(self, false)];
        close(&mut here);
        let mut next = Vec::new();
        for token in subject.split(|byte| *byte == SEPARATOR) {
            for &(node, stays) in &here {
                if stays {
                    next.push((node, true));
                }
                next.extend(node.literals.get(token).map(|node| (node, false)));
                next.extend(node.one.as_deref().map(|node| (node, false)));
            }
            close(&mut next);
            std::mem::swap(&mut here, &mut next);
            next.clear();
            if here.is_empty() {
                return;
            }
        }
        for (node, _) in here {
            node.here.find(found);
        }
    }
}

/// Adds the nodes that are reached by no token, and leaves each node once.
fn close(nodes: &mut Vec<(&Node, bool)>) {
    for index in 0..nodes.len() {
        if let Some(rest) = nodes[index].0.rest.as_deref() {
            nodes.push((rest, true));
        }
    }
    nodes.sort_unstable_by_key(|(node, _)| ptr::from_ref(*node).addr());
    nodes.dedup_by_key(|(node, _)| ptr::from_ref(*node).addr());
}

fn remove_below(child: &mut Option<Box<Node>>, tokens: &[Token], subscription: &Arc<Subscription>) -> bool {
    let Some(node) = child else { return false };
    let removed = node.remove(tokens, subscription);
    if node.is_empty() {
        *child = None;
    }
    removed
}

fn remove_at(places: &mut HashMap<Text, Here>, at: &[u8], subscription: &Arc<Subscription>) -> bool {
    let Some(here) = places.get_mut(at) else { return false };
    let removed = here.remove(subscription);
    if here.is_empty() {
        take_out(places, at);
    }
    removed
}

/// Removes an entry and gives memory back that is mostly empty.
fn take_out<V>(map: &mut HashMap<Text, V>, key: &[u8]) {
    map.remove(key);
    if map.capacity() > 64 && map.len() < map.capacity() / 8 {
        map.shrink_to(map.len() * 2);
    }
}

fn shrink_list(list: &mut Members) {
    if list.capacity() > 64 && list.len() < list.capacity() / 8 {
        list.shrink_to(list.len() * 2);
    }
}
