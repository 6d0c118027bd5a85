//! A thousand consumers that die at once, with messages in their hands or waiting for some.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::sync::{Mutex, MutexGuard};

use crate::support::{Client, request};
use crate::{Bench, Kind, VISIBILITY_S, ask, body, delete, receive, receives};

const CONSUMERS: usize = 1_000;
/// What each of them receives.
const EACH: usize = 2;
/// How often a connection is woken for a request at most: once to answer, and once if it has to read or write another time.
const POLLS_PER_ANSWER: u64 = 2;
/// Whoever has a crowd here. Each takes about 2,000 of what a process may have open, and all at once would pass the 4,096 that
/// is often the most there is.
static CROWDED: Mutex<()> = Mutex::const_new(());
/// Beyond, a test gives up: nothing here waits for time to pass.
const PATIENCE: Duration = Duration::from_secs(60);

/// The turn of one test: it ends after the test's `Bench`, which is made later.
async fn turn() -> MutexGuard<'static, ()> {
    CROWDED.lock().await
}

impl Bench {
    /// So many connections.
    async fn crowd(&self, count: usize) -> Vec<Client> {
        // Each takes two of what a process may have open, and that is often 1,024 at first.
        let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
        let mut crowd = Vec::with_capacity(count);
        for _ in 0..count {
            crowd.push(self.server.client().await);
        }
        crowd
    }

    /// All of them wait for a message, and the broker knows.
    async fn wait(&self, crowd: &mut [Client], url: &str) {
        assert_eq!(self.waiting(url).await, 0);
        begin(crowd, url).await;
        while self.waiting(url).await < crowd.len() as u64 {
            tokio::task::yield_now().await;
        }
        self.settled().await;
    }

    /// No connection has anything more to do: in this runtime of one thread somebody's turn comes with every yield.
    async fn settled(&self) {
        let (mut polls, mut idle) = (self.server.polls(), 0);
        while idle < 100 {
            tokio::task::yield_now().await;
            let now = self.server.polls();
            idle = if now == polls { idle + 1 } else { 0 };
            polls = now;
        }
    }

    /// Receivers that wait.
    async fn waiting(&self, url: &str) -> u64 {
        let session = self.server.session();
        let queue = session.catalog().queue("default", url.rsplit('/').next().unwrap()).unwrap().id;
        session.depth(queue).await.unwrap().waiting
    }

    /// Nobody's request is in work any more.
    async fn quiet(&self) {
        while self.server.budget.used_bytes() > 0 {
            tokio::task::yield_now().await;
        }
    }

    /// Messages of a crowd's own numbers, two to a group.
    async fn send_numbers(&mut self, url: &str, numbers: std::ops::Range<usize>) {
        let messages: Vec<_> = numbers.map(|it| (it.to_string(), format!("g{}", it / EACH))).collect();
        self.send(url, &messages).await;
    }
}

/// Their machines lose power, or their processes are killed: some connections are reset, some are closed.
fn cut(crowd: Vec<Client>) {
    for (at, client) in crowd.into_iter().enumerate() {
        if at.is_multiple_of(2) {
            client.stream.set_zero_linger().unwrap();
        }
    }
}

/// All of them ask for one message each.
async fn begin(crowd: &mut [Client], url: &str) {
    let ask = request("ReceiveMessage", &ask(url, 1, 20).to_string());
    for client in crowd {
        client.stream.write_all(&ask).await.unwrap();
    }
}

/// The answers that a crowd waits for, each of one message.
async fn answers(crowd: &mut [Client]) -> Vec<Value> {
    join_all(crowd.iter_mut().map(async |client| {
        let reply = tokio::time::timeout(PATIENCE, client.reply()).await.expect("somebody waits in vain");
        let answer = reply.expect("an answer").json();
        let messages = answer["Messages"].as_array().cloned().unwrap_or_default();
        assert_eq!(messages.len(), 1);
        messages[0].clone()
    }))
    .await
}

async fn what_a_thousand_dead_consumers_held_comes_again_once(kind: Kind) {
    let _turn = turn().await;
    let mut bench = Bench::new(kind).await;
    let (work, other) = (bench.queue("work", json!({})).await, bench.queue("other", json!({})).await);
    bench.send_numbers(&work, 0..CONSUMERS * EACH).await;
    let mut held = BTreeSet::new();
    let mut crowd = bench.crowd(CONSUMERS).await;
    for client in &mut crowd {
        let messages = receive(client, &work, EACH, 0).await;
        assert_eq!(messages.len(), EACH);
        assert!(messages.iter().all(|it| receives(it) == 1 && held.insert(body(it))));
    }
    cut(crowd);
    // They may be alive: nothing comes again yet, and what is not theirs comes at once.
    assert!(receive(&mut bench.client, &work, 10, 0).await.is_empty());
    for url in [&work, &other] {
        bench.send(url, &[("new".to_owned(), "new".to_owned())]).await;
        let messages = receive(&mut bench.client, url, 10, 20).await;
        assert_eq!(messages.iter().map(body).collect::<Vec<_>>(), ["new"]);
        delete(&mut bench.client, url, &messages[0]).await;
    }

    // Others wait until the time of the dead is over, each for one message.
    bench.pass_s(VISIBILITY_S - 5);
    let mut crowd = bench.crowd(CONSUMERS).await;
    let mut again = BTreeSet::new();
    for wave in 0..EACH {
        if wave == 0 {
            bench.wait(&mut crowd, &work).await;
            bench.pass_s(5);
        } else {
            begin(&mut crowd, &work).await;
        }
        let messages = answers(&mut crowd).await;
        for (client, message) in crowd.iter_mut().zip(&messages) {
            assert_eq!(receives(message), 2);
            assert!(again.insert(body(message)), "{kind:?}: {} came twice", body(message));
            if kind == Kind::Fifo {
                let number: usize = body(message).parse().unwrap();
                assert_eq!(number % EACH, wave, "a group in order");
            }
            delete(client, &work, message).await;
        }
    }
    assert_eq!(again, held);
    assert_eq!(bench.counts(&work).await, (0, 0));
}

#[tokio::test]
async fn what_a_thousand_dead_consumers_held_comes_again_once_from_a_standard_queue() {
    what_a_thousand_dead_consumers_held_comes_again_once(Kind::Standard).await;
}

#[tokio::test]
async fn what_a_thousand_dead_consumers_held_comes_again_once_from_a_fair_queue() {
    what_a_thousand_dead_consumers_held_comes_again_once(Kind::Fair).await;
}

#[tokio::test]
async fn what_a_thousand_dead_consumers_held_comes_again_once_and_in_order_from_a_fifo_queue() {
    what_a_thousand_dead_consumers_held_comes_again_once(Kind::Fifo).await;
}

#[tokio::test]
async fn of_a_thousand_that_wait_each_message_wakes_one() {
    let _turn = turn().await;
    let mut bench = Bench::new(Kind::Standard).await;
    let url = bench.queue("work", json!({})).await;
    let mut crowd = bench.crowd(CONSUMERS).await;
    bench.wait(&mut crowd, &url).await;
    let before = bench.server.polls();
    bench.send_numbers(&url, 0..1).await;
    // The oldest has waited longest.
    let first = answers(&mut crowd[..1]).await;
    assert_eq!(body(&first[0]), "0");
    assert_eq!(bench.waiting(&url).await, CONSUMERS as u64 - 1);
    // The sender's and the receiver's.
    bench.settled().await;
    let polls = bench.server.polls() - before;
    assert!(polls <= 2 * POLLS_PER_ANSWER, "{polls}");

    // As many messages, and what dead consumers held and comes back all at once, wake each of them once.
    bench.send_numbers(&url, 1..CONSUMERS).await;
    let held: BTreeSet<_> = answers(&mut crowd[1..]).await.iter().chain(&first).map(body).collect();
    cut(crowd);
    bench.pass_s(VISIBILITY_S - 5);
    let mut crowd = bench.crowd(CONSUMERS).await;
    bench.wait(&mut crowd, &url).await;
    let before = bench.server.polls();
    bench.pass_s(5);
    let again: BTreeSet<_> = answers(&mut crowd).await.iter().map(body).collect();
    assert_eq!((again.len(), again), (CONSUMERS, held));
    bench.settled().await;
    let polls = bench.server.polls() - before;
    assert!(polls <= CONSUMERS as u64 * POLLS_PER_ANSWER, "{polls}");
}

#[tokio::test]
async fn long_polls_whose_clients_have_gone_are_passed_over() {
    let _turn = turn().await;
    for kind in [Kind::Standard, Kind::Fifo] {
        let mut bench = Bench::new(kind).await;
        let url = bench.queue("work", json!({})).await;
        let mut dead = bench.crowd(CONSUMERS / 2).await;
        bench.wait(&mut dead, &url).await;
        cut(dead);
        bench.quiet().await;
        // Who comes next finds that they have gone.
        assert!(receive(&mut bench.client, &url, 1, 0).await.is_empty());
        let mut crowd = bench.crowd(CONSUMERS / 2).await;
        bench.wait(&mut crowd, &url).await;
        // A group each.
        let messages: Vec<_> = (0..CONSUMERS / 2).map(|it| (it.to_string(), format!("g{it}"))).collect();
        bench.send(&url, &messages).await;
        let messages = answers(&mut crowd).await;
        assert!(messages.iter().all(|it| receives(it) == 1));
        let seen: BTreeSet<_> = messages.iter().map(body).collect();
        assert_eq!(seen.len(), CONSUMERS / 2, "{kind:?}");
    }
}

/// Messages and the end of their receivers cross: what the broker notices in time is as if it had never been received, what
/// it has written to a socket that nobody reads from comes again when its visibility timeout is over. Nothing is lost.
#[tokio::test]
async fn long_polls_whose_clients_go_this_moment_swallow_nothing() {
    let _turn = turn().await;
    for kind in [Kind::Standard, Kind::Fair, Kind::Fifo] {
        let mut bench = Bench::new(kind).await;
        let url = bench.queue("work", json!({})).await;
        let mut dead = bench.crowd(CONSUMERS).await;
        bench.wait(&mut dead, &url).await;
        let messages: Vec<_> = (0..CONSUMERS).map(|it| (it.to_string(), format!("g{it}"))).collect();
        let rest = dead.split_off(CONSUMERS / 2);
        bench.send(&url, &messages[..CONSUMERS / 2]).await;
        cut(dead);
        bench.send(&url, &messages[CONSUMERS / 2..]).await;
        cut(rest);
        bench.quiet().await;
        let mut seen = BTreeSet::new();
        for life in [1, 2] {
            loop {
                let messages = receive(&mut bench.client, &url, 10, 0).await;
                if messages.is_empty() {
                    break;
                }
                for message in messages {
                    assert_eq!(receives(&message), life);
                    assert!(seen.insert(body(&message)), "{kind:?}: {} came twice", body(&message));
                    delete(&mut bench.client, &url, &message).await;
                }
            }
            assert_eq!(bench.counts(&url).await, (0, (CONSUMERS - seen.len()) as u64));
            bench.pass_s(VISIBILITY_S);
        }
        assert_eq!(seen.len(), CONSUMERS, "{kind:?}");
    }
}
