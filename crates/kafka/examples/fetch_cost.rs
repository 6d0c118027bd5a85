//! What a fetch costs by the number of partitions that a consumer reads, when one of them has something new.
//!
//! `cargo run -p duolog-kafka --example fetch_cost`: each row names how many partitions, whether they are named
//! each time or once, the median time from the request to the answer, and the bytes of both.
#![allow(clippy::unwrap_used)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::time::Instant;

use common::{Client, Server, batch, fetch};
use duolog_kafka::codec::encode_request;
use duolog_kafka::codec::messages::*;

const ROUNDS: i32 = 500;

#[tokio::main]
async fn main() {
    for partitions in [1, 10, 100, 1_000] {
        for with_session in [false, true] {
            let server = Server::start().await;
            let mut client = server.client().await;
            client.create("t", partitions, &[]).await;
            row(&mut client, partitions, with_session).await;
            server.stop().await;
        }
    }
}

async fn row(client: &mut Client, partitions: i32, with_session: bool) {
    let mut asked: Vec<_> = (0..partitions).map(|index| (index, 0)).collect();
    let mut session_id = 0;
    if with_session {
        let all = FetchRequest { session_epoch: 0, ..fetch("t", &asked) };
        session_id = client.ask(12, &all).await.session_id;
        asked.truncate(1);
    }
    let (mut times, mut sent, mut received) = (Vec::new(), 0, 0);
    for round in 0..ROUNDS {
        client.produce("t", 0, batch(&[&[7; 100]])).await;
        asked[0].1 = i64::from(round);
        let session_epoch = if with_session { round + 1 } else { -1 };
        let request = FetchRequest { max_bytes: 1 << 20, session_id, session_epoch, ..fetch("t", &asked) };
        let begun = Instant::now();
        client.send(12, &request).await;
        let answer = client.frame().await;
        times.push(begun.elapsed());
        sent = encode_request(12, 0, Some("test"), &request).to_bytes().len();
        received = answer.len();
    }
    times.sort_unstable();
    let median = times[times.len() / 2].as_micros();
    let kind = if with_session { "in a session" } else { "one by one  " };
    println!("{partitions:>5} {kind}: {median:>6} us, {sent:>6} bytes asked, {received:>6} bytes answered");
}
