//! Receivers and the memory that their batches take: what is opened waits its turn, and nobody waits for ever.

use std::future::{pending, ready};
use std::time::Duration;

use bytes::Bytes;
use duolog_broker::LeaseAsk;
use duolog_broker::errors::LeaseError;
use duolog_record::{Batch, BatchBuilder, Codec, Timestamp};

use crate::{Bench, ask};

const MIB: usize = 1 << 20;

/// A batch that is small until it is opened.
fn bomb(bytes: usize) -> Batch {
    let mut builder = BatchBuilder::new().codec(Codec::Zstd);
    builder.push(Timestamp(1), None, Some(b"small"), &[]);
    builder.push(Timestamp(1), None, Some(&vec![0; bytes]), &[]);
    builder.build()
}

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("it should not wait for anybody")
}

#[tokio::test]
async fn receivers_that_wait_for_room_of_their_own_hold_nothing_that_others_need() {
    let bench = Bench::new();
    let queue = bench.queue("q", None).await;
    let count = 12;
    let bomb = bomb(40 * MIB);
    for _ in 0..=count {
        bench.session.append(bench.partition(queue), bomb.clone()).await.unwrap();
    }
    let mut waiting = Vec::new();
    for _ in 0..count {
        let (session, (asked, has_asked)) = (bench.session.clone(), tokio::sync::oneshot::channel());
        let asked = std::sync::Arc::new(parking_lot::Mutex::new(Some(asked)));
        waiting.push(tokio::spawn(async move {
            let reserve = |bytes| {
                asked.lock().take().unwrap().send(bytes).unwrap();
                pending::<Result<(), LeaseError>>()
            };
            session.lease_within(ask(queue, 2, 0), 64 * MIB, reserve).await
        }));
        assert!(in_time(has_asked).await.unwrap() > MIB);
    }
    let leased = in_time(bench.session.lease(ask(queue, 2, 0))).await.unwrap();
    assert_eq!(leased[1].record.value.as_ref().map(Bytes::len), Some(40 * MIB));
    assert_eq!(leased[0].record.value.as_deref(), Some(&b"small"[..]));
    for waiting in waiting {
        waiting.abort();
        assert!(waiting.await.is_err());
    }
    // What they were to get has come back without a mark.
    let again = in_time(bench.session.lease(ask(queue, 2, 20_000))).await.unwrap();
    assert!(again.iter().all(|it| it.attempts == 1));
    bench.broker.stop();
}

#[tokio::test]
async fn what_was_let_go_of_is_read_again_once_there_is_room() {
    let bench = Bench::new();
    let queue = bench.queue("q", None).await;
    for _ in 0..3 {
        bench.session.append(bench.partition(queue), bomb(MIB)).await.unwrap();
    }
    let (free, is_free) = tokio::sync::oneshot::channel::<()>();
    let is_free = parking_lot::Mutex::new(Some(is_free));
    let reserve = |bytes| {
        let is_free = is_free.lock().take().unwrap();
        async move {
            is_free.await.unwrap();
            Ok::<_, LeaseError>(bytes)
        }
    };
    let receiving = bench.session.lease_within(ask(queue, 10, 0), 2 * MIB, reserve);
    let (received, ()) = tokio::join!(receiving, async {
        tokio::task::yield_now().await;
        free.send(()).unwrap();
    });
    let (leased, reserved) = received.unwrap();
    assert_eq!(leased.len(), 4, "the records of two batches");
    assert_eq!(reserved, Some(2 * (MIB + 5)));
    let rest = bench.lease(queue, 10).await;
    assert_eq!(rest.len(), 2);
    assert!(leased.iter().chain(&rest).all(|it| it.attempts == 1));
    bench.broker.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_receivers_of_bombs_are_all_served() {
    let bench = Bench::new();
    let queue = bench.queue("q", None).await;
    let bomb = bomb(30 * MIB);
    for _ in 0..20 {
        bench.session.append(bench.partition(queue), bomb.clone()).await.unwrap();
    }
    let mut receivers = Vec::new();
    for _ in 0..10 {
        let session = bench.session.clone();
        receivers.push(tokio::spawn(async move {
            let mut count = 0;
            loop {
                let ask = LeaseAsk {
                    queue,
                    count: 3,
                    visibility_ms: None,
                    wait_ms: 0,
                    attempt: None,
                    priority: 0,
                    bound: false,
                };
                let room = |_| ready(Ok::<_, LeaseError>(()));
                let (leased, _) = session.lease_within(ask, 64 * MIB, room).await.unwrap();
                if leased.is_empty() {
                    return count;
                }
                assert!(leased.iter().all(|it| it.attempts == 1));
                count += leased.len();
            }
        }));
    }
    let mut count = 0;
    for receiver in receivers {
        count += in_time(receiver).await.unwrap();
    }
    // What is given back meanwhile comes late for them.
    loop {
        let leased = in_time(bench.session.lease(ask(queue, 3, 0))).await.unwrap();
        if leased.is_empty() {
            break;
        }
        count += leased.len();
    }
    assert_eq!(count, 40);
    bench.broker.stop();
}
