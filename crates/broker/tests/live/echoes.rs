//! What is appended to an echoed topic is heard, in order and once.

use std::ops::ControlFlow;

use duolog_broker::live::{Cut, Echo, EchoOverflow};
use duolog_record::{BatchBuilder, Codec, Timestamp};

use super::*;

impl Bench {
    fn echo(&self, topic: &str, subject: &str, overflow: EchoOverflow) {
        let echo = Echo { topic: topic.into(), subject: subject.parse().unwrap(), overflow };
        self.broker.set_echoes(vec![echo]).unwrap();
    }
}

#[tokio::test]
async fn what_is_appended_from_now_on_is_heard() {
    let bench = Bench::new();
    let topic = bench.topic("orders", 3, None).await;
    bench.append(topic, "old", "before").await;
    bench.echo("orders", "orders.{key}", EchoOverflow::AsAlways);
    let listener = bench.listen("orders.*", ROOMY);
    let one = bench.listen("orders.b", ROOMY);
    for (key, value) in [("a", "1"), ("b", "2"), ("c", "3")] {
        bench.append(topic, key, value).await;
    }
    let mut heard = hear(&listener, 3).await;
    heard.sort();
    assert_eq!(heard, ["orders.a 1", "orders.b 2", "orders.c 3"]);
    assert_eq!(hear(&one, 1).await, ["orders.b 2"]);
    bench.broker.set_echoes(Vec::new()).unwrap();
    assert!(bench.session.live().echoes().is_empty());
}

#[tokio::test]
async fn topics_and_partitions_that_come_later_are_heard_from_their_beginning() {
    let bench = Bench::new();
    bench.echo("later", "x", EchoOverflow::AsAlways);
    let listener = bench.listen("x", ROOMY);
    let topic = bench.topic("later", 1, None).await;
    bench.append(topic, "k", "1").await;
    assert_eq!(hear(&listener, 1).await, ["x 1"]);
    bench.session.add_partitions(topic, 20).await.unwrap();
    for number in 0..100 {
        bench.append(topic, &number.to_string(), "2").await;
    }
    assert_eq!(hear(&listener, 100).await, vec!["x 2"; 100]);
}

#[tokio::test]
async fn what_was_heard_when_it_was_published_is_not_heard_again_and_nothing_goes_in_circles() {
    let bench = Bench::new();
    let topic = bench.topic("t", 1, None).await;
    bench.capture(&[(">", "t")]);
    bench.echo("t", "{key}", EchoOverflow::AsAlways);
    let listener = bench.listen(">", ROOMY);
    let mut publisher = bench.session.publisher(None);
    publisher.publish(message("a.b", "live")).unwrap();
    let _ = publisher.flush();
    assert!(captured(&mut publisher).await[0].place.is_ok());
    bench.append(topic, "a.b", "appended").await;
    bench.append(topic, "end", "end").await;
    assert_eq!(hear(&listener, 3).await, ["a.b live", "a.b appended", "end end"]);
    assert_eq!(bench.records(bench.partitions(topic)[0]).len(), 3, "what is echoed is not captured");
}

#[tokio::test]
async fn a_slow_listener_is_cut_off_unless_the_operator_lets_it_catch_up() {
    let bench = Bench::new();
    let topic = bench.topic("t", 1, None).await;
    bench.echo("t", "x", EchoOverflow::AsAlways);
    let slow = bench.listen("x", ListenerOptions { messages_max: 10, ..ROOMY });
    let quick = bench.listen("x", ROOMY);
    for number in 0..50 {
        bench.append(topic, "k", &number.to_string()).await;
    }
    hear(&quick, 50).await;
    let cut = std::future::poll_fn(|cx| slow.poll_cut(cx)).await;
    assert!(matches!(cut, Cut::Overflow { messages: 11.., .. }), "{cut}");
}

#[tokio::test]
async fn one_that_may_catch_up_hears_everything_in_order_and_once() {
    let bench = Bench::new();
    let topic = bench.topic("t", 1, None).await;
    bench.echo("t", "x.{key}", EchoOverflow::CatchUp);
    let slow = bench.listen("x.*", ListenerOptions { messages_max: 100, bytes_max: 10_000, ..ROOMY });
    let picky = bench.listen("x.1", ListenerOptions { messages_max: 20, ..ROOMY });
    let quick = bench.listen("x.*", ROOMY);
    let mut expected = Vec::new();
    for round in 0..20 {
        for number in 0..100 {
            let (key, value) = ((number % 2).to_string(), (round * 100 + number).to_string());
            bench.append(topic, &key, &value).await;
            expected.push(format!("x.{key} {value}"));
        }
        // Sometimes it comes as far as the others, and falls behind again.
        if round == 10 {
            assert_eq!(hear(&slow, 1_100).await, expected);
        }
    }
    assert_eq!(hear(&quick, 2_000).await, expected);
    assert_eq!(hear(&slow, 900).await, expected[1_100..]);
    let of_one: Vec<_> = expected.iter().filter(|line| line.starts_with("x.1 ")).cloned().collect();
    assert_eq!(hear(&picky, 1_000).await, of_one);
    bench.append(topic, "1", "last").await;
    for listener in [&slow, &picky, &quick] {
        assert_eq!(hear(listener, 1).await, ["x.1 last"]);
    }
}

#[tokio::test]
async fn one_that_has_no_room_for_a_record_at_all_is_cut_off_and_does_not_wait_for_ever() {
    let bench = Bench::new();
    let topic = bench.topic("t", 1, None).await;
    bench.echo("t", "x", EchoOverflow::CatchUp);
    let slow = bench.listen("x", ListenerOptions { bytes_max: 500, ..ROOMY });
    bench.append(topic, "k", &"x".repeat(1_000)).await;
    let cut = std::future::poll_fn(|cx| slow.poll_cut(cx)).await;
    assert!(matches!(cut, Cut::Overflow { .. }), "{cut}");
    assert_eq!(bench.session.live().stats().cut, 1);
}

#[tokio::test]
async fn one_whose_records_have_gone_is_cut_off() {
    let bench = Bench::new();
    let topic = bench.topic("t", 1, None).await;
    bench.echo("t", "x", EchoOverflow::CatchUp);
    let slow = bench.listen("x", ListenerOptions { messages_max: 10, ..ROOMY });
    let quick = bench.listen("x", ROOMY);
    for number in 0..50 {
        bench.append(topic, "k", &number.to_string()).await;
    }
    hear(&quick, 50).await;
    bench.session.trim(bench.partitions(topic)[0], Offset(40)).await.unwrap();
    let mut taken = VecDeque::new();
    let cut = std::future::poll_fn(|cx| {
        // It takes what it has, so that it is served; what would come next has gone.
        let _ = slow.take(&mut taken);
        slow.poll_cut(cx)
    });
    assert!(matches!(cut.await, Cut::Overflow { .. }));
}

#[tokio::test]
async fn a_group_shares_an_echo() {
    let bench = Bench::new();
    let topic = bench.topic("t", 1, None).await;
    bench.echo("t", "x", EchoOverflow::CatchUp);
    let members: Vec<Listener> = (0..2)
        .map(|_| {
            let member = bench.session.listen(ROOMY);
            member.subscribe(pattern("x"), Some(b"g"), Tag::default()).unwrap();
            member
        })
        .collect();
    for number in 0..100 {
        bench.append(topic, "k", &number.to_string()).await;
    }
    let (one, other) = tokio::join!(hear(&members[0], 50), hear(&members[1], 50));
    let mut all = [one, other].concat();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 100);
}

/// Waits until something in the echo's thread has come about.
async fn until(mut is_so: impl FnMut() -> bool) {
    while !is_so() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_read_that_fails_is_made_again_later_and_nothing_is_passed_over() {
    let bench = Bench::new();
    let topic = bench.topic("t", 1, None).await;
    bench.echo("t", "x", EchoOverflow::AsAlways);
    let listener = bench.listen("x", ROOMY);
    bench.append(topic, "k", "0").await;
    assert_eq!(hear(&listener, 1).await, ["x 0"]);
    bench.log.failures.store(2, Ordering::SeqCst);
    for number in 1..=3 {
        bench.append(topic, "k", &number.to_string()).await;
    }
    let failures = || bench.log.failures.load(Ordering::SeqCst);
    let stats = || bench.session.live().stats();
    until(|| failures() == 1).await;
    // Once it is looked at again, it is known when it was that it failed.
    let turns = stats().echo_turns;
    until(|| stats().echo_turns > turns).await;
    bench.clock.pass_ms(99);
    // Too early, it is not tried; what is appended meanwhile waits as well.
    let turns = stats().echo_turns;
    bench.append(topic, "k", "4").await;
    until(|| stats().echo_turns > turns + 1).await;
    assert_eq!(failures(), 1);
    until(|| {
        bench.clock.pass_ms(1);
        stats().delivered == 5
    })
    .await;
    assert_eq!(hear(&listener, 4).await, ["x 1", "x 2", "x 3", "x 4"]);
    assert_eq!(stats().echo_lost, 0);
}

#[tokio::test]
async fn damage_is_passed_over_and_counted_and_what_is_around_it_is_heard() {
    let bench = Bench::new();
    let topic = bench.topic("t", 1, None).await;
    for number in 0..3 {
        bench.append(topic, "k", &number.to_string()).await;
    }
    bench.log.damage(4..6);
    bench.echo("t", "x", EchoOverflow::AsAlways);
    let listener = bench.listen("x", ROOMY);
    for number in 3..8 {
        bench.append(topic, "k", &number.to_string()).await;
    }
    assert_eq!(hear(&listener, 3).await, ["x 3", "x 6", "x 7"]);
    assert_eq!(bench.session.live().stats().echo_lost, 2);
}

#[tokio::test]
async fn a_scan_tells_what_it_cannot_read_wherever_that_is() {
    let bench = Bench::new();
    let topic = bench.topic("t", 1, None).await;
    for number in 0..6 {
        bench.append(topic, "k", &number.to_string()).await;
    }
    let partition = bench.partitions(topic)[0];
    let seen = || {
        let mut seen = Vec::new();
        let scanned = bench.session.scan(partition, Offset(0), |next| {
            seen.push(match next {
                Ok(record) => (record.offset.0, record.offset.0 + 1, true),
                Err(gap) => (gap.offsets.start.0, gap.offsets.end.0, false),
            });
            ControlFlow::Continue(())
        });
        scanned.map(|()| seen)
    };
    bench.log.damage(0..2);
    let behind: Vec<_> = (2..6).map(|offset| (offset, offset + 1, true)).collect();
    assert_eq!(seen().unwrap(), [&[(0, 2, false)], &behind[..]].concat());
    bench.log.damage(2..5);
    assert_eq!(seen().unwrap(), [(0, 1, true), (1, 2, true), (2, 5, false), (5, 6, true)]);
    bench.log.damage(5..9);
    assert_eq!(seen().unwrap().last(), Some(&(5, 6, false)));
    bench.log.damage(0..0);
    bench.log.failures.store(1, Ordering::SeqCst);
    assert!(seen().is_err());
    assert_eq!(seen().unwrap().len(), 6);
}

#[tokio::test]
async fn a_large_batch_is_opened_once_for_all_of_its_turns() {
    let bench = Bench::new();
    let policy = TopicPolicy { batch_bytes_max: 8 << 20, ..TopicPolicy::default() };
    let topic = bench.session.create_topic(TopicSpec::new("t", 1, policy)).await.unwrap();
    bench.echo("t", "x", EchoOverflow::AsAlways);
    let listener = bench.listen("x", ROOMY);
    let mut builder = BatchBuilder::new().codec(Codec::Zstd);
    let value = vec![b'v'; 8 << 10];
    for _ in 0..1_000 {
        builder.push(Timestamp(1), None, Some(&value), &[]);
    }
    let before = bench.log.reads.load(Ordering::SeqCst);
    let turns = bench.session.live().stats().echo_turns;
    bench.session.append(bench.partitions(topic)[0], builder.build()).await.unwrap();
    assert_eq!(hear(&listener, 1_000).await.len(), 1_000);
    let reads = bench.log.reads.load(Ordering::SeqCst) - before;
    let turns = bench.session.live().stats().echo_turns - turns;
    assert!(turns > 100, "{turns} turns");
    // Once as large as a guess, once as large as it is, and some of the broker's own.
    assert!(reads < 10, "{reads} reads");
}

#[tokio::test]
async fn partitions_in_which_nothing_happens_are_not_looked_at() {
    let bench = Bench::new();
    let many = bench.topic("t", 2_000, None).await;
    bench.echo("t", "x", EchoOverflow::AsAlways);
    let listener = bench.listen("x", ROOMY);
    bench.append(many, "k", "first").await;
    assert_eq!(hear(&listener, 1).await, ["x first"]);
    let turns = || bench.session.live().stats().echo_turns;
    until(|| turns() >= 2_000).await;
    let before = turns();
    for number in 0..100 {
        bench.append(many, "k", &number.to_string()).await;
    }
    assert_eq!(hear(&listener, 100).await.len(), 100);
    let looked = turns() - before;
    assert!(looked < 1_000, "{looked} looks for 100 records in one of 2,000 partitions");
}
