//! Finding, against a catalog that is put together by hand.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use duolog_record::{Header, Timestamp};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::Catalog;
use crate::live::Pattern;
use crate::trie::Token;

/// A catalog in which everything is bound to topics, which need not exist to be found.
#[derive(Default)]
struct Made {
    catalog: Catalog,
    next: u64,
}

impl Made {
    fn exchange(&mut self, name: &str, kind: ExchangeKind, alternate: Option<&str>) -> ExchangeId {
        self.next += 1;
        let spec = ExchangeSpec::new(name, kind);
        self.catalog.put_exchange(Exchange {
            id: ExchangeId(self.next),
            namespace: spec.namespace,
            name: spec.name,
            kind,
            hash_on: HashOn::Key,
            alternate: alternate.map(str::to_owned),
            created_at: Timestamp(0),
            labels: Labels::new(),
        });
        ExchangeId(self.next)
    }

    fn bind(&mut self, source: ExchangeId, key: &str, filter: Filter, destination: Destination) -> BindingId {
        self.next += 1;
        let key = Bytes::copy_from_slice(key.as_bytes());
        let spec = BindingSpec { source, destination, key, filter, labels: Labels::new() };
        self.catalog.put_binding(Binding { id: BindingId(self.next), spec });
        BindingId(self.next)
    }

    fn lead(&mut self, source: ExchangeId, key: &str, topic: u128) -> BindingId {
        self.bind(source, key, Filter::All, Destination::Topic(TopicId(topic)))
    }

    fn found(&self, exchange: ExchangeId, key: &str) -> Vec<u128> {
        self.with_headers(exchange, key, &[])
    }

    fn with_headers(&self, exchange: ExchangeId, key: &str, headers: &[Header]) -> Vec<u128> {
        let found = self.catalog.route(exchange, &[key.as_bytes()], &Seen::new(headers, b""));
        found.into_iter().map(|topic| topic.0).collect()
    }
}

fn header(name: &str, value: Option<&str>) -> Header {
    let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    Header { key: bytes(name), value: value.map(bytes) }
}

#[test]
fn direct_and_fanout_find_each_topic_once() {
    let mut it = Made::default();
    let (direct, fanout) =
        (it.exchange("d", ExchangeKind::Direct, None), it.exchange("f", ExchangeKind::Fanout, None));
    for exchange in [direct, fanout] {
        it.lead(exchange, "a", 1);
        it.lead(exchange, "a", 2);
        it.lead(exchange, "b", 1);
    }
    assert_eq!(
        (it.found(direct, "a"), it.found(direct, "b"), it.found(direct, "ab")),
        (vec![1, 2], vec![1], vec![])
    );
    assert_eq!(it.found(fanout, "whatever"), [1, 2]);
    let both = it.catalog.route(direct, &[b"b", b"a"], &Seen::new(&[], b""));
    assert_eq!(both, [TopicId(1), TopicId(2)]);
}

#[test]
fn exchanges_lead_to_others_and_cycles_end() {
    let mut it = Made::default();
    let (a, b) = (it.exchange("a", ExchangeKind::Fanout, None), it.exchange("b", ExchangeKind::Direct, None));
    it.bind(a, "", Filter::All, Destination::Exchange(b));
    it.bind(b, "k", Filter::All, Destination::Exchange(a));
    it.bind(b, "k", Filter::All, Destination::Exchange(b));
    it.lead(b, "k", 7);
    let to_a = it.lead(a, "", 8);
    assert_eq!((it.found(a, "k"), it.found(b, "k"), it.found(a, "x")), (vec![7, 8], vec![7, 8], vec![8]));
    it.catalog.remove_binding(to_a).unwrap();
    assert_eq!((it.found(a, "k"), it.found(a, "x")), (vec![7], vec![]));
}

#[test]
fn an_alternate_gets_what_nobody_takes() {
    let mut it = Made::default();
    let (a, b) = (
        it.exchange("a", ExchangeKind::Direct, Some("b")),
        it.exchange("b", ExchangeKind::Direct, Some("c")),
    );
    it.lead(a, "a", 1);
    it.lead(b, "b", 2);
    assert_eq!((it.found(a, "a"), it.found(a, "b"), it.found(a, "c")), (vec![1], vec![2], vec![]));
    let c = it.exchange("c", ExchangeKind::Fanout, Some("a"));
    it.lead(c, "", 3);
    assert_eq!(it.found(a, "c"), [3]);
}

#[test]
fn filters_look_at_headers() {
    let mut it = Made::default();
    let exchange = it.exchange("h", ExchangeKind::Headers, None);
    let matches = || {
        let value = Some(Bytes::from_static(b"eu"));
        vec![Match { name: "region".into(), value }, Match { name: "audited".into(), value: None }]
    };
    for (filter, topic) in [
        (Filter::Every(matches()), 1),
        (Filter::Some(matches()), 2),
        (Filter::Every(Vec::new()), 3),
        (Filter::Some(Vec::new()), 4),
    ] {
        it.bind(exchange, "", filter, Destination::Topic(TopicId(topic)));
    }
    let (eu, us) = (header("region", Some("eu")), header("region", Some("us")));
    let audited = header("audited", None);
    let found = |headers: &[Header]| it.with_headers(exchange, "k", headers);
    assert_eq!(found(&[eu.clone(), audited.clone()]), [1, 2, 3]);
    assert_eq!((found(&[eu]), found(std::slice::from_ref(&us))), (vec![2, 3], vec![3]));
    assert_eq!((found(&[us, audited]), found(&[])), (vec![2, 3], vec![3]));
}

#[test]
fn a_hash_gives_shares_by_weight_and_moves_little() {
    let mut it = Made::default();
    let exchange = it.exchange("c", ExchangeKind::ConsistentHash, None);
    for topic in 1..=3 {
        it.lead(exchange, "100", topic);
    }
    let heavy = it.lead(exchange, "300", 4);
    let share = |it: &Made| -> BTreeMap<u32, Vec<u128>> {
        (0..6_000).map(|key| (key, it.found(exchange, &key.to_string()))).collect()
    };
    let before = share(&it);
    assert!(before.values().all(|found| found.len() == 1));
    for (topic, low, high) in [(1, 600, 1_400), (4, 2_300, 3_700)] {
        let count = before.values().filter(|found| **found == [topic]).count();
        assert!((low..high).contains(&count), "topic {topic} has {count}");
    }
    it.catalog.remove_binding(heavy).unwrap();
    let after = share(&it);
    let moved = before.iter().filter(|&(key, found)| *found != [4] && after[key] != **found).count();
    assert_eq!(moved, 0, "only what the one that left had goes elsewhere");
}

#[test]
fn a_router_sees_changes_and_looks_at_headers_each_time() {
    let mut it = Made::default();
    let (a, h) = (it.exchange("a", ExchangeKind::Topic, None), it.exchange("h", ExchangeKind::Headers, None));
    it.lead(a, "#", 1);
    let mut router = Router::default();
    let mut found = |it: &Made, headers: &[Header]| {
        let exchange = it.catalog.exchange_by_id(a).unwrap();
        router
            .route(&it.catalog, exchange, b"k", &Seen::new(headers, b""))
            .iter()
            .map(|topic| topic.0)
            .collect::<Vec<_>>()
    };
    assert_eq!((found(&it, &[]), found(&it, &[])), (vec![1], vec![1]));
    it.lead(a, "k", 2);
    assert_eq!(found(&it, &[]), [1, 2]);
    it.bind(a, "k", Filter::All, Destination::Exchange(h));
    let audited = Filter::Some(vec![Match { name: "audited".into(), value: None }]);
    it.bind(h, "", audited, Destination::Topic(TopicId(3)));
    assert_eq!((found(&it, &[header("audited", None)]), found(&it, &[])), (vec![1, 2, 3], vec![1, 2]));
}

#[test]
fn an_empty_key_has_no_word_for_a_star() {
    let mut it = Made::default();
    let exchange = it.exchange("t", ExchangeKind::Topic, None);
    for (index, pattern) in ["*", "#", "", "#.#", "*.#", ".#"].into_iter().enumerate() {
        it.lead(exchange, pattern, index as u128);
    }
    assert_eq!(it.found(exchange, ""), [1, 2, 3]);
}

fn word() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("a"), Just("b"), Just(""), Just("*"), Just("#")]
}

proptest! {
    /// Patterns come and go; what is found is what each of them says by itself.
    #[test]
    fn patterns_find_what_they_name(
        patterns in vec(vec(word(), 1..6), 1..12),
        gone in vec(any::<bool>(), 12),
        keys in vec(vec(prop_oneof![Just("a"), Just("b"), Just("")], 1..7), 1..12),
    ) {
        let mut it = Made::default();
        let exchange = it.exchange("t", ExchangeKind::Topic, None);
        let bound: Vec<_> = patterns
            .iter()
            .enumerate()
            .map(|(index, words)| it.lead(exchange, &words.join("."), index as u128))
            .collect();
        let mut left = BTreeSet::new();
        for (index, id) in bound.into_iter().enumerate() {
            if gone[index] {
                it.catalog.remove_binding(id).unwrap();
                it.found(exchange, "a.b");
            } else {
                left.insert(index);
            }
        }
        for key in keys {
            let key = key.join(".");
            let named = left.iter().copied().filter(|index| {
                // No key is no word, where one that is empty would be a word.
                if key.is_empty() {
                    return patterns[*index] == [""] || patterns[*index].iter().all(|word| *word == "#");
                }
                let tokens = patterns[*index].iter().map(|word| match *word {
                    "*" => Token::One,
                    "#" => Token::Rest,
                    word => Token::Literal(word.as_bytes().into()),
                });
                Pattern::tokens(tokens.collect()).matches(key.as_bytes())
            });
            prop_assert_eq!(it.found(exchange, &key), named.map(|it| it as u128).collect::<Vec<_>>(), "{}", key);
        }
    }
}
