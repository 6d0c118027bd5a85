//! Messages that nobody can work on: they end in the dead-letter queue, and nobody waits for them longer than that takes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::future::join_all;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::{Bench, Kind, Server, body, delete, receive, receives};

/// How often a message is received before it is dead.
const RECEIVES_MAX: u64 = 3;
const MESSAGES: usize = 120;
/// One message in so many is poison. With as many groups, those of odd number have two of them each, the others none.
const POISON_ONE_IN: usize = 10;
const GROUPS: usize = 12;
const WORKERS: usize = 4;
/// The broker is killed amid the first ones.
const ROUNDS_WITH_A_KILL: usize = 2;

/// What workers received, each with its count as told, in the order in which they did.
type Seen = Arc<Mutex<Vec<(String, u64)>>>;

fn message(at: usize) -> (String, String) {
    let kind = if at % POISON_ONE_IN == 3 { "poison" } else { "good" };
    (format!("{kind}-{at:03}"), format!("g{:02}", at % GROUPS))
}

/// Messages that come while the poisoned ones do, all of them good.
fn later(round: usize) -> Vec<(String, String)> {
    (0..6).map(|it| message(200 + round * GROUPS + it * 2)).collect()
}

fn group(body: &str) -> usize {
    body[body.len() - 3..].parse::<usize>().unwrap() % GROUPS
}

fn is_poison(body: &str) -> bool {
    body.starts_with("poison")
}

impl Bench {
    /// Workers receive until none finds anything more.
    async fn work(&mut self, url: &str, seen: &Seen) {
        // A worker must not go on in a group that it has failed in, so it takes one message at a time where that counts.
        let count = if self.kind == Kind::Fifo { 1 } else { 10 };
        let mut workers = Vec::new();
        for _ in 0..WORKERS {
            let mut client = self.server.client().await;
            workers.push(async move {
                loop {
                    let messages = receive(&mut client, url, count, 0).await;
                    if messages.is_empty() {
                        return;
                    }
                    for message in messages {
                        try_one(&mut client, url, &message, seen).await;
                    }
                }
            });
        }
        join_all(workers).await;
    }

    /// One worker receives poison and then a good message, and the broker is killed when that is deleted: the answer to it
    /// promises that what was received before stays received.
    async fn work_until_killed(&mut self, url: &str, seen: &Seen) {
        let mut has_poison = false;
        loop {
            let message = receive(&mut self.client, url, 1, 20).await.remove(0);
            try_one(&mut self.client, url, &message, seen).await;
            if has_poison && !is_poison(&body(&message)) {
                break;
            }
            has_poison |= is_poison(&body(&message));
        }
        let server = std::mem::replace(&mut self.server, Server::start_at(&self.clock));
        self.server = server.killed(&self.clock).await;
        self.client = self.server.client().await;
    }
}

/// Deletes a good message. Of a poisoned one nothing more is heard.
async fn try_one(client: &mut crate::Client, url: &str, message: &Value, seen: &Seen) {
    seen.lock().push((body(message), receives(message)));
    if !is_poison(&body(message)) {
        delete(client, url, message).await;
    }
}

/// Counts that were told for each message.
fn counts(seen: &Seen) -> BTreeMap<String, Vec<u64>> {
    let mut counts: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for (body, count) in &*seen.lock() {
        counts.entry(body.clone()).or_default().push(*count);
    }
    counts
}

/// Poison is received to the limit and moved once, across kills; the others are received once and wait for no more than they must.
async fn poison_leaves_in_time(kind: Kind) {
    let mut bench = Bench::new(kind).await;
    let dead = bench.queue("dead", json!({})).await;
    let arn = format!("arn:aws:sqs:us-east-1:000000000000:{}", kind.named("dead"));
    let policy = json!({"deadLetterTargetArn": arn, "maxReceiveCount": RECEIVES_MAX}).to_string();
    let work = bench.queue("work", json!({"RedrivePolicy": policy})).await;
    let mut sent: Vec<_> = (0..MESSAGES).map(message).collect();
    let ids = bench.send(&work, &sent).await;
    let identity: BTreeMap<_, _> = sent.iter().map(|(body, _)| body.clone()).zip(ids).collect();
    let seen = Seen::default();

    let mut rounds = 0;
    while rounds == 0 || bench.counts(&work).await != (0, 0) {
        rounds += 1;
        assert!(rounds <= 10, "{kind:?}: not worked off: {:?}", bench.counts(&work).await);
        let later = later(rounds);
        bench.send(&work, &later).await;
        sent.extend(later);
        if rounds <= ROUNDS_WITH_A_KILL {
            bench.work_until_killed(&work, &seen).await;
        }
        bench.work(&work, &seen).await;
        // Poison keeps back its own group in a FIFO queue, and nobody in another.
        let told = counts(&seen);
        let is_free = |body: &str| !is_poison(body) && (kind != Kind::Fifo || group(body).is_multiple_of(2));
        let waiting: Vec<_> = sent
            .iter()
            .map(|(body, _)| body)
            .filter(|body| is_free(body) && !told.contains_key(*body))
            .collect();
        assert!(waiting.is_empty(), "{kind:?}, round {rounds}: {waiting:?}");
        bench.pass_s(crate::VISIBILITY_S);
    }

    for (body, told) in counts(&seen) {
        let expected: Vec<u64> = (1..=if is_poison(&body) { RECEIVES_MAX } else { 1 }).collect();
        assert_eq!(told, expected, "{kind:?}: {body}");
    }
    if kind == Kind::Fifo {
        for of in 0..GROUPS {
            let mut order: Vec<_> = seen.lock().iter().map(|(body, _)| body.clone()).collect();
            order.retain(|body| group(body) == of);
            order.dedup();
            let expected: Vec<_> =
                sent.iter().map(|it| it.0.clone()).filter(|body| group(body) == of).collect();
            assert_eq!(order, expected, "a group in order");
        }
    }
    let mut buried = BTreeSet::new();
    let poison: BTreeSet<_> = sent.iter().map(|it| it.0.clone()).filter(|body| is_poison(body)).collect();
    while buried.len() < poison.len() {
        for message in receive(&mut bench.client, &dead, 10, 20).await {
            assert_eq!(message["MessageId"], identity[&body(&message)]);
            assert!(buried.insert(body(&message)), "{kind:?}: {} was moved twice", body(&message));
            delete(&mut bench.client, &dead, &message).await;
        }
    }
    assert_eq!(buried, poison);
    assert_eq!(bench.counts(&dead).await, (0, 0));
}

#[tokio::test]
async fn poison_leaves_a_standard_queue_after_its_receives_and_keeps_nobody_waiting() {
    poison_leaves_in_time(Kind::Standard).await;
}

#[tokio::test]
async fn poison_leaves_a_fifo_queue_after_its_receives_and_keeps_only_its_group_waiting() {
    poison_leaves_in_time(Kind::Fifo).await;
}

#[tokio::test]
async fn poison_leaves_a_fair_queue_after_its_receives_and_keeps_nobody_waiting() {
    poison_leaves_in_time(Kind::Fair).await;
}
