//! Random comings, goings and messages, held against a list that is searched in the plainest way.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::live::{SEPARATOR, Subscription};

#[derive(Clone, Debug)]
enum Op {
    Subscribe { listener: usize, pattern: Shape, group: Option<u8> },
    Unsubscribe { which: usize },
    UnsubscribeAfter { which: usize, messages: u64 },
    Publish { publisher: usize, subject: String },
    Leave { listener: usize },
    Flush,
}

#[derive(Clone, Debug)]
enum Shape {
    Tokens(Vec<String>),
    Glob(String),
}

fn shapes() -> impl Strategy<Value = Shape> {
    let word = prop::sample::select(vec!["a", "b", "a", "b", "*", "#"]).prop_map(str::to_owned);
    let piece = prop::sample::select(vec!["a", "b", ".", "*", "?", "[^b]", "[a-b]"]);
    prop_oneof![
        3 => prop::collection::vec(word, 1..5).prop_map(Shape::Tokens),
        1 => prop::collection::vec(piece, 0..6).prop_map(|pieces| Shape::Glob(pieces.concat())),
    ]
}

fn subjects() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "b"]), 1..5).prop_map(|words| words.join("."))
}

fn ops() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0..4_usize, shapes(), prop::option::weighted(0.3, 0..2_u8))
            .prop_map(|(listener, pattern, group)| Op::Subscribe { listener, pattern, group }),
        2 => any::<usize>().prop_map(|which| Op::Unsubscribe { which }),
        1 => (any::<usize>(), 0..5_u64).prop_map(|(which, messages)| Op::UnsubscribeAfter { which, messages }),
        8 => (0..5_usize, subjects()).prop_map(|(publisher, subject)| Op::Publish { publisher, subject }),
        1 => (0..4_usize).prop_map(|listener| Op::Leave { listener }),
        2 => Just(Op::Flush),
    ]
}

/// One subscription, as the model sees it.
struct Known {
    id: usize,
    listener: usize,
    shape: Shape,
    group: Option<u8>,
    had: u64,
    limit: Option<u64>,
    real: Arc<Subscription>,
}

/// In the plainest way: every choice is tried.
fn names(shape: &Shape, subject: &str) -> bool {
    fn tokens(pattern: &[String], words: &[&[u8]]) -> bool {
        match pattern.split_first() {
            None => words.is_empty(),
            Some((first, behind)) if first == "#" => {
                (0..=words.len()).any(|skipped| tokens(behind, &words[skipped..]))
            }
            Some((first, behind)) => words.split_first().is_some_and(|(word, rest)| {
                (first == "*" || first.as_bytes() == *word) && tokens(behind, rest)
            }),
        }
    }
    fn glob(pattern: &[u8], subject: &[u8]) -> bool {
        match pattern {
            [] => subject.is_empty(),
            [b'*', behind @ ..] => (0..=subject.len()).any(|skipped| glob(behind, &subject[skipped..])),
            [b'[', b'^', not, b']', behind @ ..] => {
                subject.split_first().is_some_and(|(byte, rest)| byte != not && glob(behind, rest))
            }
            [b'[', low, b'-', high, b']', behind @ ..] => subject
                .split_first()
                .is_some_and(|(byte, rest)| (low..=high).contains(&byte) && glob(behind, rest)),
            [one, behind @ ..] => subject
                .split_first()
                .is_some_and(|(byte, rest)| (*one == b'?' || one == byte) && glob(behind, rest)),
        }
    }
    match shape {
        Shape::Tokens(pattern) => {
            tokens(pattern, &subject.as_bytes().split(|byte| *byte == SEPARATOR).collect::<Vec<_>>())
        }
        Shape::Glob(pattern) => glob(pattern.as_bytes(), subject.as_bytes()),
    }
}

fn real_pattern(shape: &Shape) -> Pattern {
    match shape {
        Shape::Tokens(words) => pattern(&words.join(".")),
        Shape::Glob(text) => Pattern::glob(text.as_bytes()),
    }
}

/// The whole, and what of it should be.
struct World {
    bench: Bench,
    listeners: Vec<Listener>,
    publishers: Vec<Publisher>,
    known: Vec<Known>,
    /// Messages by listener: what each subscription should have heard, in order; and for groups who of them may have.
    expected: Vec<BTreeMap<String, Vec<String>>>,
    groups: Vec<(String, Vec<usize>)>,
    next: usize,
}

impl World {
    fn new() -> Self {
        let bench = Bench::new(64 << 20);
        let listeners: Vec<_> = (0..4).map(|_| bench.listen(ROOMY)).collect();
        let publishers = (0..5).map(|_| bench.publisher(None)).collect();
        Self {
            bench,
            listeners,
            publishers,
            known: Vec::new(),
            expected: vec![BTreeMap::new(); 4],
            groups: Vec::new(),
            next: 0,
        }
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Subscribe { listener, pattern, group } => {
                self.flush();
                let id = self.next;
                self.next += 1;
                let name = group.map(|group| [group]);
                let real = self.listeners[listener]
                    .subscribe(
                        real_pattern(&pattern),
                        name.as_ref().map(<[u8; 1]>::as_slice),
                        tag(&id.to_string()),
                    )
                    .unwrap();
                self.known.push(Known { id, listener, shape: pattern, group, had: 0, limit: None, real });
            }
            Op::Unsubscribe { which } if !self.known.is_empty() => {
                self.flush();
                let gone = self.known.swap_remove(which % self.known.len());
                self.listeners[gone.listener].unsubscribe(&gone.real);
            }
            Op::UnsubscribeAfter { which, messages } if !self.known.is_empty() => {
                self.flush();
                let at = which % self.known.len();
                // How many a member of a group has had is not the model's to know.
                if self.known[at].group.is_none() {
                    self.listeners[self.known[at].listener].unsubscribe_after(&self.known[at].real, messages);
                    self.known[at].limit = Some(messages);
                    self.known.retain(|known| known.limit.is_none_or(|limit| known.had < limit));
                }
            }
            Op::Unsubscribe { .. } | Op::UnsubscribeAfter { .. } => {}
            Op::Publish { publisher, subject } => self.publish(publisher, &subject),
            Op::Leave { listener } => {
                self.flush();
                self.check(listener);
                self.listeners[listener] = self.bench.listen(ROOMY);
                self.known.retain(|known| known.listener != listener);
            }
            Op::Flush => self.flush(),
        }
    }

    fn publish(&mut self, publisher: usize, subject: &str) {
        // Within one flush, who has enough is only told at its end: the model does not look so closely.
        self.flush();
        let payload = self.next.to_string();
        self.next += 1;
        let mut groups: BTreeMap<u8, Vec<usize>> = BTreeMap::new();
        let mut count = 0;
        for known in self.known.iter_mut().filter(|known| names(&known.shape, subject)) {
            if let Some(group) = known.group {
                groups.entry(group).or_default().push(known.id);
                continue;
            }
            count += 1;
            known.had += 1;
            let heard = self.expected[known.listener].entry(known.id.to_string()).or_default();
            heard.push(format!("{} {subject} {payload}", known.id));
        }
        count += groups.len() as u64;
        self.groups.extend(groups.into_values().map(|members| (format!("{subject} {payload}"), members)));
        let real = self.publishers[publisher].publish(message(subject, &payload)).unwrap();
        assert_eq!(real, count, "who hears {subject}");
        self.known.retain(|known| known.limit.is_none_or(|limit| known.had < limit));
    }

    fn flush(&mut self) {
        for publisher in &mut self.publishers {
            let _ = publisher.flush();
        }
    }

    /// What a listener has heard is what it should have, and a group's messages went to one member each.
    fn check(&mut self, listener: usize) {
        let mut heard_by: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for line in heard(&self.listeners[listener]) {
            let (id, message) = line.split_once(' ').unwrap();
            let member: usize = id.parse().unwrap();
            let of_group =
                self.groups.iter().position(|(text, members)| text == message && members.contains(&member));
            match of_group {
                Some(at) => {
                    self.groups.swap_remove(at);
                }
                None => heard_by.entry(id.to_owned()).or_default().push(line),
            }
        }
        assert_eq!(heard_by, std::mem::take(&mut self.expected[listener]), "listener {listener}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if std::env::var_os("DUOLOG_TEST_FULL").is_some() { 4_000 } else { 400 }))]

    #[test]
    fn everybody_hears_what_the_model_says(ops in prop::collection::vec(ops(), 1..120)) {
        let mut world = World::new();
        for op in ops {
            world.apply(op);
        }
        world.flush();
        (0..4).for_each(|listener| world.check(listener));
        prop_assert!(world.groups.is_empty(), "heard by no member: {:?}", world.groups);
        prop_assert_eq!(world.bench.live.stats().subscriptions, world.known.len() as u64);
        world.listeners.clear();
        prop_assert!(world.bench.live.inner.space.read().is_bare());
        world.publishers.clear();
        world.known.clear();
        prop_assert_eq!(world.bench.live.stats().bytes, 0);
    }
}
