//! Exchanges and bindings that last, and records that go to several topics at once.

use super::super::harness::{Harness, batch, dump, policy};
use super::*;
use duolog_storage::LogError;

use crate::catalog::binding_bytes;
use crate::core::Reply;
use crate::errors::AppendError;
use crate::limits::LABELS_BYTES_ALL;
use crate::routing::{
    BindingId, BindingSpec, Destination, ExchangeId, ExchangeKind, ExchangeSpec, Filter, Match, Rules,
    RulesOn, Seen,
};
use crate::{DedupPolicy, Gate, Routed, TopicPolicy};

fn record(key: &'static str, value: &'static str) -> NewRecord {
    let (key, value) = (Some(Bytes::from_static(key.as_bytes())), Some(Bytes::from_static(value.as_bytes())));
    NewRecord { key, value, ..NewRecord::default() }
}

fn binding(source: ExchangeId, key: &'static str, destination: Destination) -> BindingSpec {
    let key = Bytes::from_static(key.as_bytes());
    BindingSpec { source, destination, key, filter: Filter::All, labels: Labels::new() }
}

impl Harness {
    fn exchange(&mut self, name: &str, kind: ExchangeKind) -> ExchangeId {
        let spec = Box::new(ExchangeSpec::new(name, kind));
        self.done(|reply| Command::CreateExchange { spec, reply }).unwrap()
    }

    fn bind(&mut self, spec: BindingSpec) -> Result<BindingId, ChangeError> {
        let spec = Box::new(spec);
        self.done(|reply| Command::Bind { spec, reply })
    }

    fn unbind(&mut self, spec: BindingSpec) -> bool {
        let spec = Box::new(spec);
        self.done(|reply| Command::Unbind { spec, reply }).unwrap()
    }

    fn routed(&self, exchange: ExchangeId, record: NewRecord) -> Routed {
        let topics = self.core.catalog.route(
            exchange,
            &[record.key.as_deref().unwrap()],
            &Seen::new(&record.headers, b""),
        );
        Routed { record, topics: topics.into(), gate: Gate::Open, relaxed: false }
    }

    fn route(&mut self, records: Vec<Routed>) -> Result<Vec<Result<(), AppendError>>, AppendError> {
        self.done(|reply| Command::Route { records, whole: false, advance: None, reply })
    }

    fn route_all(&mut self, records: Vec<Routed>) -> Result<Vec<Result<(), AppendError>>, AppendError> {
        self.done(|reply| Command::Route { records, whole: true, advance: None, reply })
    }

    fn ask_route(
        &mut self,
        records: Vec<Routed>,
    ) -> oneshot::Receiver<Result<Vec<Result<(), AppendError>>, AppendError>> {
        self.ask(|reply: Reply<_, _>| Command::Route { records, whole: false, advance: None, reply })
    }

    fn batches_of(&self, topic: TopicId) -> Vec<StoredBatch> {
        let partition = self.partition(topic, 0);
        let limit = ReadLimit { bytes_max: 1 << 20, until: Offset(u64::MAX) };
        self.log.read(partition, Offset(0), limit).unwrap()
    }

    fn topic_values(&self, topic: TopicId) -> Vec<String> {
        let mut values = Vec::new();
        for stored in self.batches_of(topic) {
            let batch = Batch::from_parts(stored.base, stored.leader_epoch, &stored.body).unwrap();
            let records = batch.records(stored.base, 1 << 20).unwrap();
            values.extend(records.map(|it| String::from_utf8(it.unwrap().value.unwrap().to_vec()).unwrap()));
        }
        values
    }
}

#[test]
fn routes_are_what_they_were_after_a_crash() {
    let mut h = Harness::new(|_| {});
    let (q, t) = (h.queue("q"), h.topic("t", 2, policy()));
    let (a, b) = (h.exchange("a", ExchangeKind::Topic), h.exchange("b", ExchangeKind::Headers));
    let to_queue = binding(a, "order.*", Destination::Queue(q));
    let id = h.bind(to_queue.clone()).unwrap();
    assert_eq!(h.bind(to_queue.clone()), Ok(id), "the same is the same");
    h.bind(binding(a, "#", Destination::Exchange(b))).unwrap();
    let value = Some(Bytes::from_static(b"eu"));
    let filter = Filter::Every(vec![Match { name: "region".into(), value }]);
    h.bind(BindingSpec { filter, ..binding(b, "", Destination::Topic(t)) }).unwrap();
    assert_eq!(h.durable, dump(&h.core));
    h.crash();
    assert_eq!(h.durable, dump(&h.core));
    assert_eq!(h.fold_from(Offset(0)), h.durable);
    let found = h.core.catalog.route(a, &[b"order.1"], &Seen::new(&[], b""));
    assert_eq!(found, [h.topic_of(q)]);
    assert!(h.unbind(to_queue.clone()));
    assert!(!h.unbind(to_queue));
    h.crash();
    assert_eq!(h.core.catalog.route(a, &[b"order.1"], &Seen::new(&[], b"")), []);
}

#[test]
fn what_is_bound_to_something_goes_with_it() {
    let mut h = Harness::new(|_| {});
    let (q, t) = (h.queue("q"), h.topic("t", 1, policy()));
    let (a, b) = (h.exchange("a", ExchangeKind::Fanout), h.exchange("b", ExchangeKind::Fanout));
    for destination in [Destination::Queue(q), Destination::Topic(t), Destination::Exchange(b)] {
        h.bind(binding(a, "", destination)).unwrap();
    }
    h.bind(binding(b, "", Destination::Exchange(a))).unwrap();
    let delete = |h: &mut Harness, exchange, if_unused| {
        h.done(|reply| Command::DeleteExchange { exchange, if_unused, reply })
    };
    assert!(matches!(delete(&mut h, a, true), Err(ChangeError::InUse(_))));
    h.done(|reply| Command::DeleteQueue { queue: q, reply }).unwrap();
    h.done(|reply| Command::DeleteTopic { topic: t, reply }).unwrap();
    assert_eq!(h.core.catalog.bindings_from(a).count(), 1);
    delete(&mut h, b, false).unwrap();
    assert_eq!(h.core.catalog.bindings_from(a).count(), 0);
    h.crash();
    assert_eq!(h.core.catalog.routes_len(), (1, 0));
    assert_eq!(h.core.catalog.labels_bytes, 0);
    delete(&mut h, a, true).unwrap();
    assert!(matches!(delete(&mut h, a, true), Err(ChangeError::NotFound(_))));
}

#[test]
fn a_binding_has_two_ends_in_one_namespace() {
    let mut h = Harness::new(|_| {});
    let (q, a) = (h.queue("q"), h.exchange("a", ExchangeKind::ConsistentHash));
    let elsewhere = h.declare(QueueSpec { namespace: "other".to_owned(), ..queue_spec("q") }).unwrap();
    let refused =
        |h: &mut Harness, source, key, destination| h.bind(binding(source, key, destination)).unwrap_err();
    let to_q = Destination::Queue(q);
    assert!(matches!(refused(&mut h, ExchangeId(99), "1", to_q), ChangeError::NotFound(_)));
    assert!(matches!(refused(&mut h, a, "1", Destination::Queue(QueueId(99))), ChangeError::NotFound(_)));
    let across = refused(&mut h, a, "1", Destination::Queue(elsewhere));
    assert!(matches!(across, ChangeError::Invalid { what: "destination", .. }));
    for key in ["", "0", "heavy", "1001"] {
        assert!(matches!(refused(&mut h, a, key, to_q), ChangeError::Invalid { what: "key", .. }), "{key}");
    }
    h.bind(binding(a, "1000", to_q)).unwrap();
}

#[test]
fn bindings_take_bounded_memory() {
    let mut h = Harness::new(|_| {});
    let (a, t) = (h.exchange("a", ExchangeKind::Headers), h.topic("t", 1, policy()));
    let name = Bytes::from(vec![b'h'; 1_000]);
    let filter = Filter::Every(vec![Match { name, value: None }]);
    let spec = BindingSpec { filter, ..binding(a, "", Destination::Topic(t)) };
    let bytes = binding_bytes(&spec);
    assert!(bytes > 1_000);
    h.core.catalog.labels_bytes = LABELS_BYTES_ALL - bytes + 1;
    assert!(matches!(h.bind(spec.clone()), Err(ChangeError::OverLimit(_))));
    h.core.catalog.labels_bytes -= 1;
    h.bind(spec).unwrap();
}

#[test]
fn one_body_has_a_place_in_each_topic() {
    let mut h = Harness::new(|_| {});
    let a = h.exchange("a", ExchangeKind::Fanout);
    let queues: Vec<_> = ["x", "y", "z"].into_iter().map(|name| h.queue(name)).collect();
    for queue in &queues {
        h.bind(binding(a, "", Destination::Queue(*queue))).unwrap();
    }
    let y = h.topic_of(queues[1]);
    h.append(h.partition(y, 0), batch(1, None)).unwrap();
    let records = vec![h.routed(a, record("k", "one")), h.routed(a, record("k", "two"))];
    let mut answer = h.ask_route(records);
    let sealed = h.core.seal(h.now).unwrap();
    let bodies: Vec<_> = sealed.commit.entries.iter().map(|entry| entry.targets.len()).collect();
    assert_eq!(bodies, [3], "both records in one batch, once");
    h.log.commit(sealed.commit, Box::new(|result| result.unwrap()));
    assert!(h.log.pump());
    h.core.committed(h.now, sealed.group, Ok(()));
    assert_eq!(answer.try_recv().unwrap(), Ok(vec![Ok(()), Ok(())]));
    for (queue, base) in queues.into_iter().zip([0, 1, 0]) {
        assert_eq!(h.batches_of(h.topic_of(queue)).last().unwrap().base, Offset(base));
        assert_eq!(h.lease(queue, 10).iter().filter(|it| it.offset.0 >= base).count(), 2);
    }
}

#[test]
fn neighbours_with_other_places_keep_their_order() {
    let mut h = Harness::new(|_| {});
    let a = h.exchange("a", ExchangeKind::Direct);
    let (x, y) = (h.topic("x", 1, policy()), h.topic("y", 1, policy()));
    for (key, topic) in [("x", x), ("both", x), ("both", y), ("y", y)] {
        h.bind(binding(a, key, Destination::Topic(topic))).unwrap();
    }
    let all =
        [("x", "1"), ("both", "2"), ("y", "3"), ("both", "4"), ("both", "5"), ("x", "6"), ("none", "7")];
    let records = all.into_iter().map(|(key, value)| h.routed(a, record(key, value))).collect();
    let results = h.route(records).unwrap();
    assert_eq!(results.iter().filter(|it| it.is_ok()).count(), 6);
    assert_eq!(results[6], Err(AppendError::NotFound));
    assert_eq!(
        (h.topic_values(x).concat(), h.topic_values(y).concat()),
        ("12456".to_owned(), "2345".to_owned())
    );
}

#[test]
fn what_one_topic_cannot_take_none_does() {
    let mut h = Harness::new(|_| {});
    let a = h.exchange("a", ExchangeKind::Fanout);
    let small = h.topic("small", 1, TopicPolicy { batch_bytes_max: 100, ..policy() });
    let large = h.topic("large", 1, policy());
    for topic in [small, large] {
        h.bind(binding(a, "", Destination::Topic(topic))).unwrap();
    }
    let long = "0123456789".repeat(10).leak();
    let records = vec![h.routed(a, record("k", long)), h.routed(a, record("k", "v"))];
    let results = h.route(records).unwrap();
    assert!(
        matches!(results[..], [Err(AppendError::TooLarge { bytes_max: 100, .. }), Ok(())]),
        "{results:?}"
    );
    assert_eq!(
        (h.topic_values(small).concat(), h.topic_values(large).concat()),
        ("v".to_owned(), "v".to_owned())
    );
    // A topic that has gone since it was found is left out.
    let records = vec![h.routed(a, record("k", "w"))];
    h.done(|reply| Command::DeleteTopic { topic: small, reply }).unwrap();
    assert_eq!(h.route(records).unwrap(), [Ok(())]);
    assert_eq!(h.topic_values(large).concat(), "vw");
}

#[test]
fn all_or_none_is_stored_of_what_belongs_together() {
    let mut h = Harness::new(|_| {});
    let a = h.exchange("a", ExchangeKind::Direct);
    let small = h.topic("small", 1, TopicPolicy { batch_bytes_max: 100, ..policy() });
    let (large, gone) = (h.topic("large", 1, policy()), h.topic("gone", 1, policy()));
    for (key, topic) in [("s", small), ("l", large), ("g", gone)] {
        h.bind(binding(a, key, Destination::Topic(topic))).unwrap();
    }
    let long = "0123456789".repeat(10).leak();
    let all = [("l", "1"), ("s", &*long), ("l", "2")];
    let records = all.into_iter().map(|(key, value)| h.routed(a, record(key, value))).collect();
    assert!(matches!(h.route_all(records), Err(AppendError::TooLarge { bytes_max: 100, .. })));
    assert_eq!(h.topic_values(large).concat(), "");
    // What goes nowhere is in nobody's way.
    let all = [("l", "3"), ("g", "4"), ("s", "5")];
    let records = all.into_iter().map(|(key, value)| h.routed(a, record(key, value))).collect();
    h.done(|reply| Command::DeleteTopic { topic: gone, reply }).unwrap();
    assert_eq!(h.route_all(records).unwrap(), [Ok(()), Err(AppendError::NotFound), Ok(())]);
    assert_eq!((h.topic_values(large).concat(), h.topic_values(small).concat()), ("3".into(), "5".into()));
    // Damage in one topic keeps the others from taking their part.
    let partition = h.partition(small, 0);
    h.core.partitions.get_mut(&partition).unwrap().quarantined = true;
    let records = vec![h.routed(a, record("l", "6")), h.routed(a, record("s", "7"))];
    assert_eq!(h.route_all(records), Err(AppendError::Quarantined(partition)));
    assert_eq!(h.topic_values(large).concat(), "3");
}

#[test]
fn a_topic_that_deduplicates_does_so_by_itself() {
    let mut h = Harness::new(|_| {});
    let a = h.exchange("a", ExchangeKind::Fanout);
    let dedup = Some(DedupPolicy { window_ms: 60_000, per_key: false });
    let (once, again) =
        (h.topic("once", 1, TopicPolicy { dedup, ..policy() }), h.topic("again", 1, policy()));
    for topic in [once, again] {
        h.bind(binding(a, "", Destination::Topic(topic))).unwrap();
    }
    let idempotency_key = Some(Bytes::from_static(b"id"));
    let record = NewRecord { idempotency_key, ..record("k", "v") };
    for _ in 0..2 {
        let records = vec![h.routed(a, record.clone())];
        assert_eq!(h.route(records).unwrap(), [Ok(())]);
    }
    h.crash();
    let records = vec![h.routed(a, record)];
    assert_eq!(h.route(records).unwrap(), [Ok(())]);
    assert_eq!(
        (h.topic_values(once).concat(), h.topic_values(again).concat()),
        ("v".to_owned(), "vvv".to_owned())
    );
}

#[test]
fn what_a_gate_knows_goes_nowhere_also_after_a_crash() {
    let mut h = Harness::new(|_| ());
    let dedup = Some(DedupPolicy { window_ms: 60_000, per_key: false });
    let (gate, first) =
        (h.topic("gate", 1, TopicPolicy { dedup, ..policy() }), h.topic("first", 1, policy()));
    let second = h.topic("second", 1, policy());
    let keyed = |value: &'static str, id: &'static str, topics: &[TopicId], gate: Gate| {
        let record = NewRecord { idempotency_key: Some(id.into()), ..record("k", value) };
        Routed { record, topics: topics.into(), gate, relaxed: false }
    };
    let by = Gate::Deduplicates(gate);
    let one = [keyed("a", "1", &[gate, first], by), keyed("b", "1", &[second], Gate::Follows)];
    assert_eq!(h.route_all(one.to_vec()), Ok(vec![Ok(()), Ok(())]));
    // Again, in one call with a new one, and with others that would take it.
    let again = vec![
        keyed("again", "1", &[gate, first, second], by),
        keyed("again", "1", &[first], Gate::Follows),
        keyed("c", "2", &[gate, first], by),
        keyed("again", "2", &[gate, second], by),
        keyed("d", "1", &[second], Gate::Open),
    ];
    assert_eq!(h.route(again), Ok(vec![Ok(()); 5]));
    let stored = |h: &Harness| [gate, first, second].map(|topic| h.topic_values(topic));
    assert_eq!(stored(&h), [vec!["a", "c"], vec!["a", "c"], vec!["b", "d"]]);
    h.crash();
    assert_eq!(h.route_all(vec![keyed("again", "2", &[gate, first, second], by)]), Ok(vec![Ok(())]));
    assert_eq!(stored(&h), [vec!["a", "c"], vec!["a", "c"], vec!["b", "d"]]);
    h.pass_ms(60_001);
    assert_eq!(h.route_all(vec![keyed("e", "2", &[gate, second], by)]), Ok(vec![Ok(())]));
    assert_eq!(stored(&h), [vec!["a", "c", "e"], vec!["a", "c"], vec!["b", "d", "e"]]);
}

#[test]
fn what_a_gate_knows_is_no_matter_to_a_full_queue() {
    let mut h = Harness::new(|_| ());
    let dedup = Some(DedupPolicy { window_ms: 60_000, per_key: false });
    let gate = h.topic("gate", 1, TopicPolicy { dedup, ..policy() });
    let limit =
        QueuePolicy { length_max: Some(1), overflow: crate::Overflow::Reject, ..QueuePolicy::default() };
    let spec = Box::new(QueueSpec::new("full", limit));
    let queue = h.done(|reply| Command::CreateQueue { spec, reply }).unwrap();
    let full = h.topic_of(queue);
    let record = NewRecord { idempotency_key: Some("1".into()), ..record("k", "a") };
    let one =
        vec![Routed { record, topics: [gate, full].into(), gate: Gate::Deduplicates(gate), relaxed: false }];
    for _ in 0..2 {
        assert_eq!(h.route_all(one.clone()), Ok(vec![Ok(())]));
    }
    assert_eq!((h.topic_values(gate).len(), h.topic_values(full).len()), (1, 1));
}

#[test]
fn delayed_records_enter_each_topic_when_due() {
    let mut h = Harness::new(|_| {});
    let a = h.exchange("a", ExchangeKind::Fanout);
    let queues = ["x", "y"].map(|name| h.queue(name));
    for queue in queues {
        h.bind(binding(a, "", Destination::Queue(queue))).unwrap();
    }
    let records = vec![h.routed(a, NewRecord { delay_ms: Some(1_000), ..record("k", "v") })];
    assert_eq!(h.route(records).unwrap(), [Ok(())]);
    assert!(queues.into_iter().all(|queue| h.lease(queue, 10).is_empty()));
    h.crash();
    h.pass_ms(1_000);
    h.settle();
    assert!(queues.into_iter().all(|queue| h.lease(queue, 10).len() == 1));
}

#[test]
fn a_full_disk_refuses_all_places_of_a_record() {
    let mut h = Harness::new(|_| {});
    let a = h.exchange("a", ExchangeKind::Fanout);
    let topics = ["x", "y"].map(|name| h.topic(name, 1, policy()));
    for topic in topics {
        h.bind(binding(a, "", Destination::Topic(topic))).unwrap();
    }
    h.log.fail_next(LogError::DiskFull { bytes: 1, directory: "d".to_owned() });
    let refused = vec![h.routed(a, record("k", "refused"))];
    assert_eq!(h.route(refused), Err(AppendError::DiskFull));
    let taken = vec![h.routed(a, record("k", "taken"))];
    assert_eq!(h.route(taken).unwrap(), [Ok(())]);
    for topic in topics {
        assert_eq!(h.topic_values(topic), ["taken"]);
        assert_eq!(h.batches_of(topic)[0].base, Offset(0), "offsets are dense");
    }
}

#[test]
fn more_targets_than_a_body_may_have_are_several_bodies() {
    let mut h = Harness::new(|_| {});
    let a = h.exchange("a", ExchangeKind::Fanout);
    let topics: Vec<_> = (0..duolog_storage::limits::TARGETS_PER_ENTRY + 1)
        .map(|index| h.topic(&format!("t{index}"), 1, policy()))
        .collect();
    for topic in &topics {
        let spec = Box::new(binding(a, "", Destination::Topic(*topic)));
        drop(h.ask(|reply| Command::Bind { spec, reply }));
    }
    h.settle();
    let records = vec![h.routed(a, record("k", "v")), h.routed(a, record("k", "w"))];
    assert_eq!(h.route(records).unwrap(), [Ok(()), Ok(())]);
    assert!(topics.into_iter().all(|topic| h.topic_values(topic) == ["v", "w"]));
}

#[test]
fn what_would_not_fit_into_a_commit_is_refused_before_it_comes_there() {
    let mut h = Harness::new(|_| {});
    let a = h.exchange("a", ExchangeKind::Fanout);
    let large = TopicPolicy { batch_bytes_max: 16 << 20, ..policy() };
    let count = duolog_storage::limits::TARGETS_PER_ENTRY + 1;
    for index in 0..count {
        let topic = h.topic(&format!("t{index}"), 1, large.clone());
        let spec = Box::new(binding(a, "", Destination::Topic(topic)));
        drop(h.ask(|reply| Command::Bind { spec, reply }));
    }
    h.settle();
    // Twice for so many topics, and perhaps once more.
    let body = NewRecord { value: Some(Bytes::from(vec![b'x'; 6 << 20])), ..record("k", "") };
    let records = vec![h.routed(a, body.clone())];
    assert!(matches!(h.route(records), Err(AppendError::TooLarge { .. })));
    let few = NewRecord { delay_ms: Some(1), ..body };
    let topics = h.core.catalog.route(a, &[b"k"], &Seen::new(&[], b""))[..3].to_vec();
    assert!(matches!(
        h.route(vec![Routed { record: few, topics: topics.into(), gate: Gate::Open, relaxed: false }]),
        Err(AppendError::TooLarge { .. })
    ));
    let records = vec![h.routed(a, record("k", "v"))];
    assert_eq!(h.route(records).unwrap(), [Ok(())]);
}

#[test]
fn a_filter_is_for_those_who_look_at_it() {
    let mut h = Harness::new(|_| {});
    let (t, direct, headers) = (
        h.topic("t", 1, policy()),
        h.exchange("d", ExchangeKind::Direct),
        h.exchange("h", ExchangeKind::Headers),
    );
    let filter = Filter::Every(vec![Match { name: "region".into(), value: None }]);
    let with = |source| BindingSpec { filter: filter.clone(), ..binding(source, "k", Destination::Topic(t)) };
    assert!(matches!(h.bind(with(direct)), Err(ChangeError::Invalid { what: "filter", .. })));
    h.bind(with(headers)).unwrap();
}

#[test]
fn a_binding_and_its_rules_are_replaced_in_one_step_and_found_after_a_restart() {
    let mut h = Harness::new(|_| {});
    let a = h.exchange("a", ExchangeKind::Fanout);
    let (first, second) = (h.topic("first", 1, policy()), h.topic("second", 1, policy()));
    let id = h.bind(binding(a, "id", Destination::Topic(first))).unwrap();
    let known = h.core.catalog.binding_by_id(id).cloned().unwrap();
    let rules = Rules::parse(RulesOn::Body, r#"{"n": [1]}"#).unwrap();
    let spec =
        BindingSpec { filter: Filter::Rules(rules.into()), ..binding(a, "id", Destination::Topic(second)) };
    let rebind = |h: &mut Harness, spec: &BindingSpec| {
        let (known, spec) = (known.clone(), Box::new(spec.clone()));
        h.done(|reply| Command::Rebind { known, spec, reply })
    };
    let too_long = BindingSpec { key: Bytes::from(vec![0; 256]), ..spec.clone() };
    assert!(matches!(rebind(&mut h, &too_long), Err(ChangeError::Invalid { what: "key", .. })));
    assert_eq!(h.core.catalog.route(a, &[b""], &Seen::new(&[], b"")), [first], "nothing has changed");
    assert_eq!(rebind(&mut h, &spec), Ok(true));
    assert_eq!(rebind(&mut h, &spec), Ok(false), "it is no longer what is known");
    h.crash();
    let found = |h: &Harness, body: &[u8]| h.core.catalog.route(a, &[b""], &Seen::new(&[], body));
    assert_eq!((found(&h, br#"{"n": 1}"#), found(&h, br#"{"n": 2}"#)), (vec![second], vec![]));
    assert_eq!(h.core.catalog.binding_by_id(id).unwrap().spec, spec);
    assert!(!h.core.catalog.routes_by_key(a));
    assert!(h.unbind(spec));
    assert!(h.core.catalog.routes_by_key(a));
}

#[test]
fn labels_of_an_exchange_are_replaced_if_they_are_what_is_known() {
    let mut h = Harness::new(|_| {});
    let a = h.exchange("a", ExchangeKind::Fanout);
    let known = h.core.catalog.exchange_by_id(a).cloned().unwrap();
    let set = |h: &mut Harness, labels: Labels| {
        let known = known.clone();
        h.done(|reply| Command::SetExchange { known, alternate: None, labels, reply })
    };
    let before = h.core.catalog.labels_bytes;
    let labels = Labels::from([("k".to_owned(), "v".to_owned())]);
    assert!(matches!(
        set(&mut h, Labels::from([("k".to_owned(), "v".repeat(70_000))])),
        Err(ChangeError::Invalid { .. })
    ));
    assert_eq!(set(&mut h, labels.clone()), Ok(true));
    assert!(h.core.catalog.labels_bytes > before);
    assert_eq!(set(&mut h, Labels::new()), Ok(false));
    h.crash();
    assert_eq!(h.core.catalog.exchange_by_id(a).unwrap().labels, labels);
}

#[test]
fn another_alternate_holds_at_once_and_only_where_the_exchange_is_still_what_was_seen() {
    let mut h = Harness::new(|_| {});
    let t = h.topic("t", 1, policy());
    let (a, rest) = (h.exchange("a", ExchangeKind::Direct), h.exchange("rest", ExchangeKind::Fanout));
    h.bind(binding(rest, "", Destination::Topic(t))).unwrap();
    let seen = Arc::clone(h.core.catalog.exchange_by_id(a).unwrap());
    let set = |h: &mut Harness, alternate: Option<&str>| {
        let (known, alternate) = (Arc::clone(&seen), alternate.map(str::to_owned));
        h.done(|reply| Command::SetExchange { known, alternate, labels: Labels::new(), reply })
    };
    assert_eq!(h.routed(a, record("k", "v")).topics.len(), 0);
    assert!(matches!(set(&mut h, Some("")), Err(ChangeError::Invalid { what: "alternate", .. })));
    assert_eq!(set(&mut h, Some("rest")), Ok(true));
    assert_eq!(*h.routed(a, record("k", "v")).topics, [t]);
    assert_eq!(set(&mut h, None), Ok(false), "it is another than was seen");
    h.crash();
    assert_eq!(*h.routed(a, record("k", "v")).topics, [t]);
}
