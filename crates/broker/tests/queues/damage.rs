//! Queues that come to damage of which the index itself knows: what is sound is delivered, before it and behind it, and what is not is told.

use std::collections::BTreeSet;

use duolog_broker::{Order, QueuePolicy};
use duolog_storage::ReadError;

use super::*;
use crate::faulty::{Faults, FaultyLog};

const MESSAGES: u64 = 60;

/// A queue with messages of one batch each.
async fn filled(order: Order) -> (Arc<FaultyLog>, Bench, QueueId) {
    let log = Arc::new(FaultyLog::new(Faults::default()));
    let clock = Arc::new(HandClock::default());
    let options = BrokerOptions { seed: 1, retention_check_ms: 60_000, ..BrokerOptions::default() };
    let broker = Broker::start(log.clone(), clock.clone(), Arc::new(Permissive), options).unwrap();
    let session = broker.session(Principal::anonymous());
    let bench = Bench { clock, broker, session };
    let policy = QueuePolicy { order, ..QueuePolicy::default() };
    let queue = bench.session.create_queue(QueueSpec::new("q", policy)).await.unwrap();
    let partition = bench.partition(queue);
    for number in 0..MESSAGES {
        let mut builder = BatchBuilder::new();
        builder.push(Timestamp(1), None, Some(format!("{number}").as_bytes()), &[]);
        bench.session.append(partition, builder.build()).await.unwrap();
    }
    (log, bench, queue)
}

/// Receives and acks until `wanted` have come; gives how often damage was told of.
async fn work_off(bench: &Bench, queue: QueueId, wanted: usize) -> (BTreeSet<u64>, usize) {
    let (mut seen, mut told) = (BTreeSet::new(), 0);
    for _ in 0..10 * MESSAGES {
        if seen.len() == wanted && told > 0 {
            break;
        }
        match bench.session.lease(ask(queue, 10, 0)).await {
            Ok(leased) => {
                let numbers = values(&leased).into_iter().map(|it| it.parse::<u64>().unwrap());
                assert!(numbers.into_iter().all(|it| seen.insert(it)), "received twice");
                let outcomes = leased.iter().map(|it| (it.id, Outcome::Ack)).collect();
                bench.session.settle(queue, outcomes).await.unwrap();
            }
            Err(LeaseError::Storage(ReadError::Damaged { .. })) => told += 1,
            Err(error) => panic!("{error}"),
        }
    }
    (seen, told)
}

#[tokio::test]
async fn what_is_sound_is_delivered_before_damage_and_behind_it_and_the_damage_is_told() {
    for order in [Order::Standard, Order::Fair, Order::ByKey] {
        for damaged in [0..1, 20..35, 0..20, MESSAGES - 5..MESSAGES] {
            let (log, bench, queue) = filled(order).await;
            log.damage(damaged.clone());
            let sound: BTreeSet<u64> = (0..MESSAGES).filter(|it| !damaged.contains(it)).collect();
            let (seen, told) = work_off(&bench, queue, sound.len()).await;
            assert_eq!(seen, sound, "{order:?} {damaged:?}");
            assert!(told > 0, "{order:?} {damaged:?}");
            bench.broker.stop();
        }
    }
}
