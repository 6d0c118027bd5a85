//! What listeners hear, what they lose and when they are cut off; and a model of the whole, held against it.
#![allow(clippy::unwrap_used)]

mod churn;
mod model;
mod slow;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{
    Flow, Listener, ListenerOptions, Live, Message, Overflow, Pattern, Publisher, Tag, Token, Waiting,
};
use crate::{Clock, Monotonic, Now, Permissive, Principal};

#[derive(Default)]
struct Hand(AtomicU64);

impl Clock for Hand {
    fn now(&self) -> Now {
        Now { monotonic: Monotonic(self.0.load(Ordering::SeqCst)), ..Now::default() }
    }
}

struct Bench {
    live: Live,
    clock: Arc<Hand>,
}

impl Bench {
    fn new(bytes_max: usize) -> Self {
        let clock = Arc::new(Hand::default());
        let live = Live::new(bytes_max, Arc::clone(&clock) as Arc<dyn Clock>, Arc::new(Permissive), 1);
        Self { live, clock }
    }

    fn listen(&self, options: ListenerOptions) -> Listener {
        self.live.listen(Arc::new(Principal::anonymous()), options)
    }

    fn publisher(&self, own: Option<&Listener>) -> Publisher {
        self.live.publisher(Arc::new(Principal::anonymous()), own, None)
    }

    fn wait_ms(&self, ms: u64) {
        self.clock.0.fetch_add(ms * 1000, Ordering::SeqCst);
    }
}

const ROOMY: ListenerOptions = ListenerOptions {
    bytes_max: 64 << 20,
    messages_max: usize::MAX,
    soft: None,
    overflow: Overflow::Cut,
    own: true,
    carries: |_| true,
};

/// NATS-like text: `*` is one token, `>` one or more, `#` any or none.
fn pattern(text: &str) -> Pattern {
    let mut tokens = Vec::new();
    for word in text.split('.') {
        match word {
            "*" => tokens.push(Token::One),
            ">" => tokens.extend([Token::One, Token::Rest]),
            "#" => tokens.push(Token::Rest),
            word => tokens.push(Token::Literal(word.as_bytes().into())),
        }
    }
    Pattern::tokens(tokens)
}

fn tag(text: &str) -> Tag {
    Tag { kind: 0, text: text.as_bytes().into() }
}

fn message<'a>(subject: &'a str, payload: &'a str) -> Message<'a> {
    Message { subject: subject.as_bytes(), reply: b"", headers: b"", payload: payload.as_bytes() }
}

/// What has come for a listener: `tag subject payload` each.
fn heard(listener: &Listener) -> Vec<String> {
    let mut all = Vec::new();
    let mut waiting = VecDeque::new();
    while listener.take(&mut waiting).unwrap() {
        for next in waiting.drain(..) {
            match next {
                Waiting::Run(run) => all.extend((0..run.len()).map(|index| {
                    let Message { subject, payload, .. } = run.get(index);
                    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
                    format!("{} {} {}", text(&run.subscription().tag().text), text(subject), text(payload))
                })),
                Waiting::Own(bytes) => all.push(String::from_utf8(bytes).unwrap()),
            }
        }
    }
    all
}

fn publish(publisher: &mut Publisher, subject: &str, payload: &str) -> u64 {
    let count = publisher.publish(message(subject, payload)).unwrap();
    assert_eq!(publisher.flush(), Flow::On);
    count
}

#[test]
fn each_subscription_hears_what_it_names() {
    let bench = Bench::new(1 << 20);
    let listener = bench.listen(ROOMY);
    for text in ["a.b", "a.*", "a.>", ">", "a.#.z", "x"] {
        listener.subscribe(pattern(text), None, tag(text)).unwrap();
    }
    listener.subscribe(Pattern::glob(b"a?[b-c]*"), None, tag("glob")).unwrap();
    let mut publisher = bench.publisher(None);
    assert_eq!(publish(&mut publisher, "a.b", "1"), 5);
    let mut first = heard(&listener);
    first.sort();
    assert_eq!(first, ["> a.b 1", "a.* a.b 1", "a.> a.b 1", "a.b a.b 1", "glob a.b 1"]);
    assert_eq!(publish(&mut publisher, "a", "2"), 1);
    assert_eq!(publish(&mut publisher, "a.q.z", "3"), 3);
    let mut second = heard(&listener);
    second.sort();
    assert_eq!(second, ["> a 2", "> a.q.z 3", "a.#.z a.q.z 3", "a.> a.q.z 3"]);
    assert_eq!(bench.live.stats().published, 3);
    assert_eq!(bench.live.stats().delivered, 9);
}

#[test]
fn subjects_that_lie_apart_are_heard_by_their_names_only() {
    let bench = Bench::new(64 << 20);
    let listener = bench.listen(ROOMY);
    let mut publisher = bench.publisher(None);
    let subject = [super::APART, b"a.b"].concat();
    let apart = Message { subject: &subject, reply: b"", headers: b"", payload: b"x" };
    for all in
        [Pattern::glob(b"*"), Pattern::glob(&[super::APART, b"*"].concat()), pattern("#"), pattern("*.b")]
    {
        listener.subscribe(all, None, tag("all")).unwrap();
    }
    assert_eq!(publisher.publish(apart), Ok(0));
    listener.subscribe(Pattern::literal(&subject), None, tag("it")).unwrap();
    assert_eq!(publisher.publish(apart), Ok(1));
    assert_eq!(publish(&mut publisher, "a.b", "x"), 3);
}

#[test]
fn who_hears_a_subject_twice_hears_each_message_twice_before_the_next() {
    let bench = Bench::new(1 << 20);
    let listener = bench.listen(ROOMY);
    for text in ["a", "*"] {
        listener.subscribe(pattern(text), None, tag("s")).unwrap();
    }
    let mut publisher = bench.publisher(None);
    for payload in ["1", "2", "3"] {
        publisher.publish(message("a", payload)).unwrap();
    }
    let _ = publisher.flush();
    assert_eq!(heard(&listener), ["s a 1", "s a 1", "s a 2", "s a 2", "s a 3", "s a 3"]);
}

#[test]
fn parts_of_a_message_come_as_they_were_sent() {
    let bench = Bench::new(1 << 20);
    let listener = bench.listen(ROOMY);
    listener.subscribe(pattern("s"), None, tag("1")).unwrap();
    let mut publisher = bench.publisher(None);
    let sent =
        Message { subject: b"s", reply: b"answer.here", headers: b"\r\nA: b\r\n\r\n", payload: b"body" };
    publisher.publish(sent).unwrap();
    publisher.publish(message("s", "")).unwrap();
    let _ = publisher.flush();
    let mut waiting = VecDeque::new();
    assert!(listener.take(&mut waiting).unwrap());
    assert_eq!(waiting.len(), 1, "one run");
    let Waiting::Run(run) = &waiting[0] else { panic!("a run") };
    assert_eq!((run.len(), run.get(0), run.get(1)), (2, sent, message("s", "")));
}

#[test]
fn one_member_of_a_group_hears_each_message_and_all_have_their_turn() {
    let bench = Bench::new(1 << 20);
    let members: Vec<_> = (0..3).map(|_| bench.listen(ROOMY)).collect();
    for (index, member) in members.iter().enumerate() {
        // Other patterns, the same group.
        let pattern = pattern(["jobs", "*", "jobs"][index]);
        member.subscribe(pattern, Some(b"workers"), tag("w")).unwrap();
    }
    let all = bench.listen(ROOMY);
    all.subscribe(pattern("jobs"), None, tag("a")).unwrap();
    let mut publisher = bench.publisher(None);
    for number in 0..300 {
        assert_eq!(publisher.publish(message("jobs", &number.to_string())).unwrap(), 2);
    }
    let _ = publisher.flush();
    let each: Vec<usize> = members.iter().map(|member| heard(member).len()).collect();
    assert_eq!(each, [100, 100, 100]);
    let expected: Vec<String> = (0..300).map(|number| format!("a jobs {number}")).collect();
    assert_eq!(heard(&all), expected, "in order");
    members[1].cut();
    drop(publisher);
    let mut publisher = bench.publisher(None);
    for number in 0..300 {
        publisher.publish(message("jobs", &number.to_string())).unwrap();
    }
    let _ = publisher.flush();
    let left = heard(&members[0]).len() + heard(&members[2]).len();
    assert_eq!(left, 300, "who is cut is passed over");
}

#[test]
fn who_wants_no_own_messages_gets_none() {
    let bench = Bench::new(1 << 20);
    let quiet = bench.listen(ListenerOptions { own: false, ..ROOMY });
    quiet.subscribe(pattern("a"), None, tag("q")).unwrap();
    let other = bench.listen(ListenerOptions { carries: |subject| subject != b"b", ..ROOMY });
    other.subscribe(pattern(">"), None, tag("o")).unwrap();
    let mut publisher = bench.publisher(Some(&quiet));
    assert_eq!(publish(&mut publisher, "a", "1"), 1);
    assert_eq!(publish(&mut publisher, "b", "2"), 0, "a subject that its protocol cannot write down");
    assert!(heard(&quiet).is_empty());
    assert_eq!(heard(&other), ["o a 1"]);
    assert_eq!(publisher.publish_to_own(message("a", "3")), 1);
    let _ = publisher.flush();
    assert_eq!(heard(&quiet), ["q a 3"]);
    assert!(heard(&other).is_empty());
}

#[test]
fn a_subscription_ends_with_the_number_it_asked_for() {
    let bench = Bench::new(1 << 20);
    let listener = bench.listen(ROOMY);
    let subscription = listener.subscribe(pattern("a"), None, tag("s")).unwrap();
    listener.unsubscribe_after(&subscription, 3);
    let mut publisher = bench.publisher(None);
    for number in 0..5 {
        publisher.publish(message("a", &number.to_string())).unwrap();
    }
    let _ = publisher.flush();
    assert_eq!(heard(&listener), ["s a 0", "s a 1", "s a 2"]);
    assert!(subscription.is_over());
    assert_eq!(publish(&mut publisher, "a", "x"), 0);
    let again = listener.subscribe(pattern("a"), None, tag("s")).unwrap();
    assert_eq!(publish(&mut publisher, "a", "y"), 1);
    listener.unsubscribe_after(&again, 1);
    assert_eq!(publish(&mut publisher, "a", "z"), 0, "it has had it already");
    assert_eq!(bench.live.stats().subscriptions, 0);
}

#[test]
fn what_the_connection_says_comes_behind_what_waits() {
    let bench = Bench::new(1 << 20);
    let listener = bench.listen(ROOMY);
    listener.subscribe(pattern("a"), None, tag("s")).unwrap();
    let mut publisher = bench.publisher(Some(&listener));
    publish(&mut publisher, "a", "1");
    listener.say(b"PO");
    listener.say(b"NG");
    publish(&mut publisher, "a", "2");
    assert_eq!(heard(&listener), ["s a 1", "PONG", "s a 2"]);
    assert_eq!(listener.pending().messages, 0);
}

#[test]
fn what_a_listener_leaves_it_no_longer_hears_but_what_waited_it_does() {
    let bench = Bench::new(1 << 20);
    let listener = bench.listen(ROOMY);
    let subscription = listener.subscribe(pattern("a"), None, tag("s")).unwrap();
    let mut publisher = bench.publisher(None);
    publish(&mut publisher, "a", "1");
    listener.unsubscribe(&subscription);
    assert_eq!(publish(&mut publisher, "a", "2"), 0);
    assert_eq!(heard(&listener), ["s a 1"]);
}

#[test]
fn subjects_that_are_too_long_are_refused() {
    let bench = Bench::new(1 << 20);
    let mut publisher = bench.publisher(None);
    let subject = "a".repeat(65_536);
    assert!(publisher.publish(message(&subject, "")).is_err());
    assert!(publisher.publish(message(&subject[1..], "")).is_ok());
}
