//! What of an exchange is compiled so that finding does not go through all bindings.

use super::{Binding, Destination, ExchangeKind, Filter};
use crate::limits::HASH_WEIGHT_MAX;
use crate::trie::{Place, SEPARATOR, Token, Trie};

/// Destinations in one place of the trie.
#[derive(Clone, Debug, Default)]
pub(crate) struct Destinations(pub(super) Vec<Destination>);

impl Place for Destinations {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// See the module. What is found by key alone needs nothing.
#[derive(Clone, Debug)]
pub(crate) enum Compiled {
    Nothing,
    /// Patterns with wildcards; the others are found by key.
    Patterns(Trie<Destinations>),
    Filters(Vec<(Filter, Destination)>),
    /// Points on a ring of hashes, each the end of a stretch, rising.
    Ring(Vec<(u64, Destination)>),
}

impl Compiled {
    pub(crate) fn new<'a>(kind: ExchangeKind, bindings: impl Iterator<Item = &'a Binding>) -> Self {
        match kind {
            ExchangeKind::Direct | ExchangeKind::Fanout => Self::Nothing,
            ExchangeKind::Topic => {
                let mut trie = Trie::default();
                for binding in bindings {
                    if let Some(tokens) = pattern(&binding.spec.key) {
                        let Destinations(place): &mut Destinations = trie.place(&tokens);
                        place.push(binding.spec.destination);
                    }
                }
                Self::Patterns(trie)
            }
            ExchangeKind::Headers => {
                Self::Filters(bindings.map(|it| (it.spec.filter.clone(), it.spec.destination)).collect())
            }
            ExchangeKind::ConsistentHash => {
                let mut ring: Vec<_> = bindings.flat_map(points).collect();
                ring.sort_unstable();
                Self::Ring(ring)
            }
        }
    }
}

/// The tokens of a binding's key, if any is a wildcard.
fn pattern(key: &[u8]) -> Option<Vec<Token>> {
    let mut tokens: Vec<Token> = key
        .split(|byte| *byte == SEPARATOR)
        .map(|word| match word {
            b"*" => Token::One,
            b"#" => Token::Rest,
            word => Token::Literal(word.into()),
        })
        .collect();
    tokens.dedup_by(|later, earlier| *later == Token::Rest && *earlier == Token::Rest);
    tokens.iter().any(|token| !matches!(token, Token::Literal(_))).then_some(tokens)
}

/// The weight that a binding's key says, if it is one.
pub(crate) fn weight(key: &[u8]) -> Option<u32> {
    let weight = std::str::from_utf8(key).ok()?.parse().ok()?;
    (1..=HASH_WEIGHT_MAX).contains(&weight).then_some(weight)
}

fn points(binding: &Binding) -> impl Iterator<Item = (u64, Destination)> {
    let destination = binding.spec.destination;
    let name = match destination {
        Destination::Queue(id) => u128::from(id.0),
        Destination::Topic(id) => id.0,
        Destination::Exchange(id) => u128::from(id.0) | 1 << 64,
    };
    let weight = weight(&binding.spec.key).unwrap_or(0);
    (0..weight).map(move |point| (hash(name.to_be_bytes().iter().chain(&point.to_be_bytes())), destination))
}

/// FNV-1a with a mixing end, so that neighbours lie far apart on the ring.
pub(super) fn hash<'a>(bytes: impl Iterator<Item = &'a u8>) -> u64 {
    let fnv = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    let mut hash = bytes.fold(0xcbf2_9ce4_8422_2325, fnv);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}
