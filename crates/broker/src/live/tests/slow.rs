//! Listeners that do not take what waits for them.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use super::*;
use crate::live::bundle::{Packing, Run};
use crate::live::{Cut, SoftLimit};

fn cut_of(listener: &Listener) -> Option<Cut> {
    listener.take(&mut VecDeque::new()).err()
}

fn fill(publisher: &mut Publisher, subject: &str, messages: usize, bytes: usize) {
    let payload = "x".repeat(bytes);
    for _ in 0..messages {
        publisher.publish(message(subject, &payload)).unwrap();
        let _ = publisher.flush();
    }
}

#[test]
fn one_that_is_slow_is_cut_off_and_its_peers_hear_everything() {
    let bench = Bench::new(64 << 20);
    let slow = bench.listen(ListenerOptions { bytes_max: 10_000, ..ROOMY });
    let quick = bench.listen(ROOMY);
    slow.subscribe(pattern("a"), None, tag("s")).unwrap();
    quick.subscribe(pattern("a"), None, tag("q")).unwrap();
    let mut publisher = bench.publisher(None);
    fill(&mut publisher, "a", 50, 1_000);
    assert!(
        matches!(cut_of(&slow), Some(Cut::Overflow { bytes: 10_000..11_000, messages: 10..11 })),
        "{:?}",
        cut_of(&slow)
    );
    assert_eq!(heard(&quick).len(), 50);
    assert_eq!(bench.live.stats().cut, 1);
    assert_eq!(bench.live.stats().bytes, 0, "what waited for it is let go");
}

#[test]
fn messages_are_counted_as_well_as_bytes() {
    let bench = Bench::new(64 << 20);
    let slow = bench.listen(ListenerOptions { messages_max: 10, ..ROOMY });
    slow.subscribe(pattern("a"), None, tag("s")).unwrap();
    let mut publisher = bench.publisher(None);
    fill(&mut publisher, "a", 10, 1);
    assert_eq!(heard(&slow).len(), 10);
    fill(&mut publisher, "a", 11, 1);
    assert!(matches!(cut_of(&slow), Some(Cut::Overflow { messages: 11, .. })));
}

#[test]
fn what_is_taken_counts_until_it_is_sent() {
    let bench = Bench::new(64 << 20);
    let slow = bench.listen(ListenerOptions { bytes_max: 10_000, ..ROOMY });
    slow.subscribe(pattern("a"), None, tag("s")).unwrap();
    let mut publisher = bench.publisher(None);
    fill(&mut publisher, "a", 6, 1_000);
    let mut taken = VecDeque::new();
    assert!(slow.take(&mut taken).unwrap());
    assert_eq!(slow.pending().messages, 6);
    fill(&mut publisher, "a", 6, 1_000);
    assert!(matches!(cut_of(&slow), Some(Cut::Overflow { .. })));
}

#[test]
fn the_soft_limit_may_be_passed_for_a_while() {
    let bench = Bench::new(64 << 20);
    let soft = Some(SoftLimit { bytes: 5_000, ms: 60_000 });
    let slow = bench.listen(ListenerOptions { soft, ..ROOMY });
    slow.subscribe(pattern("a"), None, tag("s")).unwrap();
    let mut publisher = bench.publisher(None);
    fill(&mut publisher, "a", 10, 1_000);
    bench.wait_ms(59_999);
    fill(&mut publisher, "a", 1, 1_000);
    assert_eq!(heard(&slow).len(), 11);
    fill(&mut publisher, "a", 1, 1);
    fill(&mut publisher, "a", 10, 1_000);
    bench.wait_ms(60_000);
    fill(&mut publisher, "a", 1, 1_000);
    assert!(matches!(cut_of(&slow), Some(Cut::Overflow { .. })));
}

#[test]
fn a_part_of_what_is_refused_does_not_begin_the_soft_limit_anew() {
    let bench = Bench::new(64 << 20);
    let soft = Some(SoftLimit { bytes: 5_000, ms: 60_000 });
    let slow = bench.listen(ListenerOptions { soft, ..ROOMY });
    let subscription = slow.subscribe(pattern("a"), None, tag("s")).unwrap();
    let push = |messages: u32| {
        let mut packing = Packing::default();
        (0..messages).for_each(|_| packing.add(message("a", &"x".repeat(1_000))));
        let bundle = packing.seal(&bench.live.inner.memory);
        let run = Run { subscription: Arc::clone(&subscription), bundle, from: 0, to: messages };
        slow.outbox.push(run, &bench.live.inner, true)
    };
    assert!(!push(6).is_refused, "above the limit, from now on");
    assert_eq!(heard(&slow).len(), 6);
    bench.wait_ms(60_000);
    let handed = push(6);
    assert_eq!((handed.is_refused, handed.messages), (true, 4));
}

#[test]
fn what_has_been_sent_wakes_those_who_wait_for_room() {
    let bench = Bench::new(64 << 20);
    let slow = bench.listen(ROOMY);
    slow.subscribe(pattern("a"), None, tag("s")).unwrap();
    fill(&mut bench.publisher(None), "a", 1, 1_000);
    let mut waiting = Context::from_waker(Waker::noop());
    let mut into = VecDeque::new();
    assert!(slow.take(&mut into).unwrap());
    let taken = slow.outbox.taken();
    assert!(slow.outbox.poll_moved(taken, &mut waiting).is_pending());
    assert!(!slow.take(&mut into).unwrap(), "it asks for more when that has been sent");
    assert!(slow.outbox.poll_moved(taken, &mut waiting).is_ready());
}

#[test]
fn who_asked_to_lose_the_newest_or_the_oldest_does_and_is_told_how_many() {
    for (overflow, first, last) in [(Overflow::DropNewest, 0, 8), (Overflow::DropOldest, 91, 99)] {
        let bench = Bench::new(64 << 20);
        let slow = bench.listen(ListenerOptions { messages_max: 9, overflow, ..ROOMY });
        slow.subscribe(pattern("a"), None, tag("s")).unwrap();
        let mut publisher = bench.publisher(None);
        for number in 0..100 {
            publisher.publish(message("a", &number.to_string())).unwrap();
            if number % 7 == 0 {
                let _ = publisher.flush();
            }
        }
        let _ = publisher.flush();
        let expected: Vec<_> = (first..=last).map(|number| format!("s a {number}")).collect();
        assert_eq!(heard(&slow), expected, "{overflow:?}");
        assert_eq!(slow.dropped(), 91);
        assert_eq!(bench.live.stats().dropped, 91);
        assert_eq!(bench.live.stats().cut, 0);
    }
}

#[test]
fn a_single_message_too_large_for_the_outbox_is_lost_or_cuts() {
    for overflow in [Overflow::Cut, Overflow::DropNewest, Overflow::DropOldest] {
        let bench = Bench::new(64 << 20);
        let slow = bench.listen(ListenerOptions { bytes_max: 500, overflow, ..ROOMY });
        slow.subscribe(pattern("a"), None, tag("s")).unwrap();
        let mut publisher = bench.publisher(None);
        fill(&mut publisher, "a", 1, 1_000);
        match overflow {
            Overflow::Cut => assert!(cut_of(&slow).is_some()),
            Overflow::DropNewest | Overflow::DropOldest => {
                assert_eq!((heard(&slow).len(), slow.dropped()), (0, 1));
            }
        }
    }
}

#[test]
fn all_together_never_hold_more_than_may_be_and_the_quick_are_spared() {
    let bench = Bench::new(1 << 20);
    let slow: Vec<_> = (0..20).map(|_| bench.listen(ROOMY)).collect();
    let quick = bench.listen(ROOMY);
    for (index, listener) in slow.iter().enumerate() {
        listener.subscribe(pattern(&format!("s.{index}")), None, tag("s")).unwrap();
    }
    quick.subscribe(pattern(">"), None, tag("q")).unwrap();
    let mut publisher = bench.publisher(None);
    let mut heard_by_quick = 0;
    for round in 0..100 {
        for index in 0..20 {
            fill(&mut publisher, &format!("s.{index}"), 1, 4_000);
            heard_by_quick += heard(&quick).len();
            let bytes = bench.live.stats().bytes;
            assert!(bytes <= (1 << 20) + 5_000, "round {round}: {bytes}");
        }
    }
    assert_eq!(heard_by_quick, 2_000);
    let cut: Vec<_> = slow.iter().filter_map(cut_of).collect();
    assert!(cut.len() > 10 && cut.iter().all(|cut| matches!(cut, Cut::Memory { .. })), "{cut:?}");
}

#[test]
fn small_messages_do_not_hold_the_large_that_were_published_beside_them() {
    let bench = Bench::new(256 << 20);
    let (small, large) = (bench.listen(ROOMY), bench.listen(ROOMY));
    small.subscribe(pattern("small"), None, tag("s")).unwrap();
    large.subscribe(pattern("large"), None, tag("l")).unwrap();
    let mut publisher = bench.publisher(None);
    let payload = "x".repeat(60_000);
    for number in 0..1_000 {
        publisher.publish(message("small", &number.to_string())).unwrap();
        publisher.publish(message("large", &payload)).unwrap();
        let _ = publisher.flush();
        heard(&large);
    }
    let bytes = bench.live.stats().bytes;
    assert!(bytes < 2 << 20, "{bytes} bytes for 1,000 small messages");
    let expected: Vec<_> = (0..1_000).map(|number| format!("s small {number}")).collect();
    assert_eq!(heard(&small), expected);
}

#[test]
fn a_publisher_holds_back_for_one_that_moves_and_not_for_one_that_does_not() {
    let bench = Bench::new(256 << 20);
    let listener = bench.listen(ROOMY);
    listener.subscribe(pattern("a"), None, tag("s")).unwrap();
    let mut publisher = bench.publisher(None);
    let payload = "x".repeat(60_000);
    let publish = |publisher: &mut Publisher| {
        publisher.publish(message("a", &payload)).unwrap();
        publisher.flush()
    };
    let mut waiting = Context::from_waker(Waker::noop());
    while publish(&mut publisher) == Flow::On {}
    assert_eq!(publisher.poll_pace(&mut waiting), Poll::Pending);
    assert!(listener.take(&mut VecDeque::new()).unwrap());
    assert_eq!(publisher.poll_pace(&mut waiting), Poll::Ready(()));
    while publish(&mut publisher) == Flow::On {}
    assert_eq!(publisher.poll_pace(&mut waiting), Poll::Pending);
    // Its time is over and nothing has been taken: from now on nobody waits.
    for _ in 0..100 {
        assert_eq!(publish(&mut publisher), Flow::On);
    }
    let mut other = bench.publisher(None);
    assert_eq!(publish(&mut other), Flow::On);
    assert!(listener.take(&mut VecDeque::new()).unwrap());
    assert_eq!(publish(&mut other), Flow::Pause);
}

#[test]
fn a_publisher_that_fills_bundles_before_it_flushes_holds_back_as_well() {
    let bench = Bench::new(256 << 20);
    let listener = bench.listen(ROOMY);
    listener.subscribe(pattern("a"), None, tag("s")).unwrap();
    let mut publisher = bench.publisher(None);
    let payload = "x".repeat(70_000);
    let mut waiting = Context::from_waker(Waker::noop());
    for round in 0..10 {
        let mut flushes = 0;
        loop {
            publisher.publish(message("a", &payload)).unwrap();
            if publisher.flush() == Flow::Pause {
                break;
            }
            flushes += 1;
            assert!(flushes < 20, "round {round}: nobody holds back");
        }
        assert!(listener.take(&mut VecDeque::new()).unwrap());
        assert_eq!(publisher.poll_pace(&mut waiting), Poll::Ready(()));
    }
}

#[test]
fn who_waits_is_woken_by_a_message_and_by_the_end() {
    let bench = Bench::new(1 << 20);
    let listener = bench.listen(ROOMY);
    listener.subscribe(pattern("a"), None, tag("s")).unwrap();
    let mut publisher = bench.publisher(None);
    let mut taken = VecDeque::new();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let waiting = std::future::poll_fn(|cx| listener.poll_take(cx, &mut taken));
        let publishing = async { publish(&mut publisher, "a", "1") };
        let (taken, _) = tokio::join!(waiting, publishing);
        taken.unwrap();
        let ender = listener.ender();
        let ended = pin!(std::future::poll_fn(|cx| listener.poll_cut(cx)));
        let (cut, ()) = tokio::join!(ended, async { ender.end() });
        assert_eq!(cut, Cut::Ended);
    });
}

#[test]
fn answers_that_nobody_takes_cut_off_too() {
    let bench = Bench::new(1 << 20);
    let listener =
        bench.listen(ListenerOptions { bytes_max: 1_000, overflow: Overflow::DropNewest, ..ROOMY });
    for _ in 0..500 {
        listener.say(b"PONG\r\n");
    }
    assert!(matches!(cut_of(&listener), Some(Cut::Overflow { .. })));
}
