//! Many who come and go: nothing is left of them, and nothing takes longer the more there are.

use super::*;

#[test]
fn a_hundred_thousand_subjects_come_and_go() {
    let bench = Bench::new(64 << 20);
    let listener = bench.listen(ROOMY);
    let mut publisher = bench.publisher(None);
    for round in 0..2 {
        let subscriptions: Vec<_> = (0..100_000)
            .map(|number| {
                let text = match number % 4 {
                    0 => format!("all.{number}"),
                    1 => format!("*.{number}.>"),
                    2 => format!("x.#.{number}"),
                    _ => format!("one.{number}.*"),
                };
                listener.subscribe(pattern(&text), None, tag("s")).unwrap()
            })
            .collect();
        assert_eq!(bench.live.stats().subscriptions, 100_000);
        assert_eq!(publish(&mut publisher, "x.a.b.99998", "1"), 1);
        assert_eq!(publish(&mut publisher, "all.4", "1"), 1);
        let (first, second) = subscriptions.split_at(50_000);
        // Backwards and forwards.
        first.iter().rev().chain(second).for_each(|subscription| listener.unsubscribe(subscription));
        assert_eq!(bench.live.stats().subscriptions, 0, "round {round}");
        assert!(bench.live.inner.space.read().is_bare(), "round {round}");
        assert_eq!(publish(&mut publisher, "all.4", "1"), 0);
    }
    assert!(listener.subscriptions.lock().memory() < 1_000);
}

#[test]
fn a_hundred_thousand_listeners_of_one_subject_leave_in_any_order() {
    let bench = Bench::new(64 << 20);
    let mut listeners: Vec<_> = (0..100_000)
        .map(|number| {
            let listener = bench.listen(ROOMY);
            let group: Option<&[u8]> = (number % 2 == 0).then_some(b"g");
            listener.subscribe(pattern("a"), group, tag("s")).unwrap();
            Some(listener)
        })
        .collect();
    let mut publisher = bench.publisher(None);
    assert_eq!(publish(&mut publisher, "a", "1"), 50_001);
    // A walk that meets each once: the step and the number have no common divisor.
    for step in 0..100_000_usize {
        listeners[step * 77_773 % 100_000] = None;
    }
    assert_eq!(bench.live.stats().listeners, 0);
    assert!(bench.live.inner.space.read().is_bare());
}

#[test]
fn the_deepest_pattern_is_taken_and_a_deeper_one_refused() {
    let bench = Bench::new(1 << 20);
    let listener = bench.listen(ROOMY);
    let deepest = "*.".repeat(crate::limits::PATTERN_TOKENS - 1) + "z";
    let subscription = listener.subscribe(pattern(&deepest), None, tag("s")).unwrap();
    let mut publisher = bench.publisher(None);
    assert_eq!(publish(&mut publisher, &deepest.replace('*', "a"), "1"), 1);
    listener.unsubscribe(&subscription);
    assert!(bench.live.inner.space.read().is_bare());
    assert!(listener.subscribe(pattern(&("*.".to_owned() + &deepest)), None, tag("s")).is_err());
    assert!(listener.subscribe(Pattern::glob(&[b'*'; 5_000]), None, tag("s")).is_err());
}

#[test]
fn many_wildcards_on_many_levels_are_walked_once() {
    let bench = Bench::new(1 << 20);
    let listener = bench.listen(ROOMY);
    // Each of these could be met in more ways than there are seconds.
    for depth in 1..200 {
        listener.subscribe(pattern(&("#.a.*.".repeat(depth) + "b")), None, tag("s")).unwrap();
    }
    let mut publisher = bench.publisher(None);
    assert_eq!(publish(&mut publisher, &("a.".repeat(2_000) + "c"), "1"), 0);
    assert_eq!(publish(&mut publisher, &("a.".repeat(2_000) + "b"), "1"), 199);
}
