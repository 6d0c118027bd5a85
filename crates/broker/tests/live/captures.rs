//! What is published on a captured subject is in the topic once its publisher is told so.

use duolog_broker::errors::AppendError;
use duolog_broker::live::{CapturedAt, Flow};
use duolog_broker::{Isolation, ReadAsk};

use super::*;

#[tokio::test]
async fn what_is_captured_is_appended_in_order_and_then_answered() {
    let bench = Bench::new();
    let topic = bench.topic("orders", 1, None).await;
    bench.capture(&[("orders.>", "orders")]);
    let listener = bench.listen("orders.*", ROOMY);
    let mut publisher = bench.session.publisher(None);
    for number in 0..1_000 {
        let reply = format!("inbox.{number}");
        let payload = number.to_string();
        let message = Message { reply: reply.as_bytes(), ..message("orders.new", &payload) };
        assert_eq!(publisher.publish(message).unwrap(), 2, "a listener and a topic");
    }
    assert_eq!(publisher.publish(message("other", "x")).unwrap(), 0);
    assert_eq!(publisher.flush(), Flow::On);
    let mut all = Vec::new();
    while publisher.is_capturing() {
        all.append(&mut captured(&mut publisher).await);
    }
    assert_eq!(all.len(), 1_000);
    for (number, one) in all.into_iter().enumerate() {
        assert_eq!(one.reply, format!("inbox.{number}"));
        assert_eq!(&*one.topic, "orders");
        let place = CapturedAt { partition: 0, offset: Offset(number as u64), duplicate: false };
        assert_eq!(one.place, Ok(place));
    }
    let records = bench.records(bench.partitions(topic)[0]);
    let values: Vec<_> = records.iter().map(|record| record.value.clone().unwrap()).collect();
    assert_eq!(values, (0..1_000).map(|number| number.to_string()).collect::<Vec<_>>());
    assert!(records.iter().all(|record| record.key.as_deref() == Some(b"orders.new")));
    assert_eq!(hear(&listener, 1_000).await.len(), 1_000);
}

#[tokio::test]
async fn a_subject_of_two_topics_is_appended_to_each_in_batches_and_answered_in_order() {
    let bench = Bench::new();
    let topics = [bench.topic("one", 1, None).await, bench.topic("two", 1, None).await];
    bench.capture(&[("a", "one"), ("a", "two")]);
    let mut publisher = bench.session.publisher(None);
    for number in 0..1_000 {
        let reply = format!("inbox.{number}");
        let payload = number.to_string();
        let message = Message { reply: reply.as_bytes(), ..message("a", &payload) };
        assert_eq!(publisher.publish(message).unwrap(), 2);
    }
    assert_eq!(publisher.flush(), Flow::On);
    let mut all = Vec::new();
    while publisher.is_capturing() {
        all.append(&mut captured(&mut publisher).await);
    }
    let told: Vec<_> =
        all.iter().map(|one| (one.reply.clone(), &*one.topic, one.place.clone().unwrap().offset)).collect();
    let expected: Vec<_> = (0..1_000)
        .flat_map(|number| {
            let reply = Bytes::from(format!("inbox.{number}"));
            [(reply.clone(), "one", Offset(number)), (reply, "two", Offset(number))]
        })
        .collect();
    assert!(told == expected, "in the order of publishing");
    for topic in topics {
        let partition = bench.partitions(topic)[0];
        let values: Vec<_> =
            bench.records(partition).iter().map(|record| record.value.clone().unwrap()).collect();
        assert_eq!(values, (0..1_000).map(|number| number.to_string()).collect::<Vec<_>>());
        let ask = ReadAsk {
            partition,
            from: Offset(0),
            bytes_max: 10 << 20,
            isolation: Isolation::ReadUncommitted,
        };
        let batches = bench.session.read(ask).unwrap().batches.len();
        assert!(batches < 10, "{batches} batches of 1,000 records");
    }
}

#[tokio::test]
async fn a_publisher_for_very_many_topics_is_answered_in_order_by_all() {
    let bench = Bench::new();
    let mut pairs = Vec::new();
    for number in 0..40 {
        let name = format!("t{number}");
        bench.topic(&name, 1, None).await;
        pairs.push((format!("s{number}"), name));
    }
    let pairs: Vec<_> = pairs.iter().map(|(subject, topic)| (subject.as_str(), topic.as_str())).collect();
    bench.capture(&[&pairs[..], &[("s39", "gone")]].concat());
    let mut publisher = bench.session.publisher(None);
    let mut expected = Vec::new();
    for round in 0..5 {
        for (subject, topic) in &pairs {
            publisher.publish(message(subject, "x")).unwrap();
            expected.push(((*topic).to_owned(), Some(Offset(round))));
        }
        expected.push(("gone".to_owned(), None));
    }
    let _ = publisher.flush();
    let mut told = Vec::new();
    while publisher.is_capturing() {
        told.extend(
            captured(&mut publisher)
                .await
                .into_iter()
                .map(|one| (one.topic.to_string(), one.place.ok().map(|place| place.offset))),
        );
    }
    assert_eq!(told, expected);
    assert_eq!(publisher.flush(), Flow::On);
}

#[tokio::test]
async fn headers_are_kept_and_the_subject_is_one_of_them() {
    let bench = Bench::new();
    let topic = bench.topic("t", 1, None).await;
    bench.capture(&[("a", "t")]);
    let mut publisher = bench.session.publisher(None);
    publisher.publish(Message { headers: b"\r\nColour: red\r\nSize:\r\n\r\n", ..message("a", "v") }).unwrap();
    let _ = publisher.flush();
    assert!(captured(&mut publisher).await[0].place.is_ok());
    let header = |name: &'static str, value: &'static str| Header {
        key: Bytes::from_static(name.as_bytes()),
        value: Some(Bytes::from_static(value.as_bytes())),
    };
    let expected = [header("Colour", "red"), header("Size", ""), header("duolog-subject", "a")];
    assert_eq!(bench.records(bench.partitions(topic)[0])[0].headers, expected);
}

#[tokio::test]
async fn one_that_cannot_be_stored_is_refused_alone() {
    let bench = Bench::new();
    let topic = bench.topic("t", 1, None).await;
    bench.capture(&[("a", "t"), ("b", "gone")]);
    let mut publisher = bench.session.publisher(None);
    let large = "x".repeat(100_001);
    for (subject, payload) in [("a", "1"), ("a", &large), ("b", "2"), ("a", "3")] {
        publisher.publish(message(subject, payload)).unwrap();
    }
    let _ = publisher.flush();
    let mut all = Vec::new();
    while publisher.is_capturing() {
        all.append(&mut captured(&mut publisher).await);
    }
    assert!(all[0].place.is_ok() && all[3].place.is_ok(), "{all:?}");
    assert!(matches!(all[1].place, Err(AppendError::TooLarge { .. })), "{all:?}");
    assert_eq!(all[2].place, Err(AppendError::NotFound));
    assert_eq!(bench.records(bench.partitions(topic)[0]).len(), 2);
}

#[tokio::test]
async fn a_message_with_a_known_idempotency_key_is_stored_once() {
    let bench = Bench::new();
    let dedup = Some(DedupPolicy { window_ms: 60_000, per_key: false });
    let topic = bench.topic("t", 1, dedup).await;
    bench.capture(&[("a", "t")]);
    let mut publisher = bench.session.publisher(None);
    publisher.name_idempotency_header(b"Msg-Id");
    let mut places = Vec::new();
    for payload in ["first", "again"] {
        publisher.publish(Message { headers: b"\r\nmsg-id: 7\r\n\r\n", ..message("a", payload) }).unwrap();
        let _ = publisher.flush();
        places.push(captured(&mut publisher).await[0].place.clone().unwrap());
    }
    assert_eq!(places[1], CapturedAt { duplicate: true, ..places[0] });
    assert_eq!(bench.records(bench.partitions(topic)[0]).len(), 1);
}

#[tokio::test]
async fn a_publisher_over_what_may_be_on_its_way_is_held() {
    let bench = Bench::new();
    bench.topic("t", 1, None).await;
    bench.capture(&[("a", "t")]);
    let mut publisher = bench.session.publisher(None);
    let payload = "x".repeat(90_000);
    let mut published = 0;
    // What is durable meanwhile counts until its publisher has heard of it.
    while publisher.flush() == Flow::On {
        publisher.publish(message("a", &payload)).unwrap();
        published += 1;
    }
    assert!((40..60).contains(&published), "{published}");
    let mut heard = 0;
    while publisher.is_capturing() {
        heard += captured(&mut publisher).await.len();
    }
    assert_eq!(heard, published);
    assert_eq!(publisher.flush(), Flow::On);
}

#[tokio::test]
async fn one_that_was_held_goes_on_without_waiting_for_a_listener_that_does_not_move() {
    let bench = Bench::new();
    bench.topic("t", 1, None).await;
    bench.capture(&[("a", "t")]);
    let _deaf = bench.listen("a", ROOMY);
    let mut publisher = bench.session.publisher(None);
    let payload = "x".repeat(10_000);
    for _ in 0..500 {
        publisher.publish(message("a", &payload)).unwrap();
    }
    assert_eq!(publisher.flush(), Flow::Hold);
    while publisher.is_capturing() {
        captured(&mut publisher).await;
    }
    std::future::poll_fn(|cx| publisher.poll_pace(cx)).await;
}

#[tokio::test]
async fn messages_that_are_refused_count_as_well_until_their_publisher_has_heard_of_it() {
    let bench = Bench::new();
    bench.capture(&[("a", "gone")]);
    let mut publisher = bench.session.publisher(None);
    let payload = "x".repeat(1_000);
    let mut published = 0;
    while publisher.flush() == Flow::On {
        publisher.publish(message("a", &payload)).unwrap();
        published += 1;
        assert!(published < 10_000, "it is never held");
    }
    let mut heard = 0;
    while publisher.is_capturing() {
        heard += captured(&mut publisher).await.len();
    }
    assert_eq!(heard, published);
}
