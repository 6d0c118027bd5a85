//! Records with times to live of their own on a log that is damaged.

use std::sync::Arc;

use bytes::Bytes;
use duolog_broker::{
    Broker, BrokerOptions, NewRecord, Permissive, Principal, QueuePolicy, QueueSpec, headers,
};
use duolog_record::Header;

use crate::faulty::FaultyLog;
use crate::support::HandClock;
use crate::{ask, until, values};

fn record(value: &'static str, ttl_ms: Option<&'static str>) -> NewRecord {
    let header = |ms: &'static str| Header {
        key: Bytes::from_static(headers::TTL.as_bytes()),
        value: Some(Bytes::from_static(ms.as_bytes())),
    };
    let value = Some(Bytes::from_static(value.as_bytes()));
    NewRecord { value, headers: ttl_ms.map(header).into_iter().collect(), ..NewRecord::default() }
}

#[tokio::test]
async fn a_batch_that_is_damaged_does_not_keep_others_from_what_comes_behind_it() {
    let log = Arc::new(FaultyLog::default());
    let options = BrokerOptions { seed: 1, retention_check_ms: 60_000, ..BrokerOptions::default() };
    let clock = Arc::new(HandClock::default());
    let broker = Broker::start(Arc::clone(&log) as Arc<_>, clock, Arc::new(Permissive), options).unwrap();
    let session = broker.session(Principal::anonymous());
    let queue = session.create_queue(QueueSpec::new("q", QueuePolicy::default())).await.unwrap();
    let topic = session.catalog().queue_by_id(queue).unwrap().topic;
    // Each in a batch of its own, and nobody has looked ahead yet.
    session.publish(topic, vec![record("timed", Some("600000"))]).await.unwrap();
    session.publish(topic, vec![record("behind", None)]).await.unwrap();
    log.damage(0..1);
    let mut got = Vec::new();
    until(async || {
        got.extend(values(&session.lease(ask(queue, 10, 0)).await.unwrap_or_default()));
        got == ["behind"]
    })
    .await;
}
