//! A trie over the tokens of a subject, with a wildcard for one token and one for any number of them, anywhere.
//!
//! Place: below the live channels and the routing of exchanges, which keep different things in its places. Finding is linear in
//! the tokens of the subject and the nodes that they reach, however many wildcards there are.

use std::collections::HashMap;
use std::ptr;

/// Between two tokens of a subject.
pub const SEPARATOR: u8 = b'.';

/// One place of a pattern of tokens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Token {
    /// This token.
    Literal(Box<[u8]>),
    /// Any one token.
    One,
    /// Any tokens, or none.
    Rest,
}

/// What is kept in a place.
pub(crate) trait Place: Default {
    /// Nothing is kept in it: it need not be there.
    fn is_empty(&self) -> bool;
}

/// A place, and those behind it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trie<P> {
    literals: HashMap<Box<[u8]>, Trie<P>>,
    one: Option<Box<Trie<P>>>,
    rest: Option<Box<Trie<P>>>,
    here: P,
}

impl<P: Place> Trie<P> {
    pub(crate) fn is_empty(&self) -> bool {
        self.literals.is_empty() && self.one.is_none() && self.rest.is_none() && self.here.is_empty()
    }

    /// The place of a pattern, made if it is not there.
    pub(crate) fn place(&mut self, tokens: &[Token]) -> &mut P {
        let mut node = self;
        for token in tokens {
            node = match token {
                Token::Literal(text) => node.literals.entry(text.clone()).or_default(),
                Token::One => node.one.get_or_insert_default(),
                Token::Rest => node.rest.get_or_insert_default(),
            };
        }
        &mut node.here
    }

    /// Lets `take` take something out of the place of a pattern, and gives back what is empty then. False without such a
    /// place, or as `take` says. Depth is bounded by `limits::PATTERN_TOKENS`.
    pub(crate) fn take_out(&mut self, tokens: &[Token], take: impl FnOnce(&mut P) -> bool) -> bool {
        let Some((token, behind)) = tokens.split_first() else { return take(&mut self.here) };
        match token {
            Token::Literal(text) => {
                let Some(node) = self.literals.get_mut(text) else { return false };
                let taken = node.take_out(behind, take);
                if node.is_empty() {
                    remove_and_shrink(&mut self.literals, text);
                }
                taken
            }
            Token::One => take_out_below(&mut self.one, behind, take),
            Token::Rest => take_out_below(&mut self.rest, behind, take),
        }
    }

    /// Goes through the subject once with all the nodes where the tokens so far may have led, and visits the places of
    /// all patterns that match it, each once.
    pub(crate) fn find(&self, subject: &[u8], visit: impl FnMut(&P)) {
        self.find_tokens(subject.split(|byte| *byte == SEPARATOR), visit);
    }

    /// The same of a subject's tokens.
    pub(crate) fn find_tokens<'a>(&self, tokens: impl Iterator<Item = &'a [u8]>, mut visit: impl FnMut(&P)) {
        if self.is_empty() {
            return;
        }
        // A node under `rest` stays where it is with each token; the flag says which those are.
        let mut here: Vec<(&Self, bool)> = vec![(self, false)];
        close(&mut here);
        let mut next = Vec::new();
        for token in tokens {
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
            visit(&node.here);
        }
    }

    /// True if nothing is left, memory included.
    #[cfg(test)]
    pub(crate) fn is_bare(&self) -> bool {
        self.is_empty() && self.literals.capacity() <= 64
    }
}

/// Adds the nodes that are reached by no token, and leaves each node once.
fn close<P>(nodes: &mut Vec<(&Trie<P>, bool)>) {
    for index in 0..nodes.len() {
        if let Some(rest) = nodes[index].0.rest.as_deref() {
            nodes.push((rest, true));
        }
    }
    nodes.sort_unstable_by_key(|(node, _)| ptr::from_ref(*node).addr());
    nodes.dedup_by_key(|(node, _)| ptr::from_ref(*node).addr());
}

fn take_out_below<P: Place>(
    child: &mut Option<Box<Trie<P>>>,
    tokens: &[Token],
    take: impl FnOnce(&mut P) -> bool,
) -> bool {
    let Some(node) = child else { return false };
    let taken = node.take_out(tokens, take);
    if node.is_empty() {
        *child = None;
    }
    taken
}

/// Removes an entry and gives memory back that is mostly empty.
pub(crate) fn remove_and_shrink<V>(map: &mut HashMap<Box<[u8]>, V>, key: &[u8]) {
    map.remove(key);
    if map.capacity() > 64 && map.len() < map.capacity() / 8 {
        map.shrink_to(map.len() * 2);
    }
}
