//! Fetch: batches out of partitions, waiting for them if there are too few.
//!
//! In a session (see `session`) requests and answers name only what has changed. What has been read is kept while waiting for more; only partitions that have moved are read again.
//! Source: Kafka protocol guide, "Fetch"; KIP-74 (limits), KIP-227, KIP-320 (epochs), KIP-516 (topic ids).

mod answer;
mod gather;
mod session;

use std::sync::Arc;
use std::time::Duration;

use duolog_broker::Isolation;

use self::gather::Gathered;
pub(crate) use self::session::FetchSlot;
use super::{Client, Held, IntoReply, Reply, blocking};
use crate::codec::messages::{FetchRequest, FetchResponse};
use crate::codec::{ApiKey, RequestHeader, encode_response};

/// A response and what it holds until it is sent.
pub(super) struct Fetched {
    response: FetchResponse,
    held: Held,
}

impl IntoReply for Fetched {
    fn into_reply(self, api: ApiKey, header: &RequestHeader) -> Reply {
        let frame = encode_response(api, header.api_version, header.correlation_id, &self.response);
        Reply::Frame(frame, self.held)
    }
}

/// What the whole request says, as far as we heed it.
#[derive(Clone, Copy, Debug)]
struct Ask {
    version: i16,
    isolation: Isolation,
    bytes_min: usize,
    bytes_max: usize,
}

pub(super) async fn handle(client: &Client, header: &RequestHeader, request: FetchRequest) -> Fetched {
    let (ask, wait) = (Ask::of(client, header, &request), wait_of(&request));
    // The semaphore lives as long as the connection and is never closed. Who has the turn has the session.
    let turn = Arc::clone(&client.fetching).acquire_owned().await.ok();
    let opened = client.fetch_session.lock().open(header.api_version, request, &client.fetch_room);
    let mut opened = match opened {
        Ok(opened) => opened,
        Err(code) => {
            let response = FetchResponse { error_code: code.code(), ..Default::default() };
            return Fetched { response, held: Held::default() };
        }
    };
    let gathered = gather(client, Gathered::new(client, ask, &opened.wanted), wait).await;
    let (mut response, memory) = answer::build(&mut opened.wanted, gathered);
    response.session_id = opened.session_id();
    client.fetch_session.lock().close(opened);
    Fetched { response, held: Held { memory, _turn: turn, is_paid: true } }
}

impl Ask {
    fn of(client: &Client, header: &RequestHeader, request: &FetchRequest) -> Self {
        let size = |bytes: i32| usize::try_from(bytes).unwrap_or_default();
        let bytes_max = size(request.max_bytes).min(client.options.fetch_bytes_max);
        let isolation = match request.isolation_level {
            1 => Isolation::ReadCommitted,
            _ => Isolation::ReadUncommitted,
        };
        Self {
            version: header.api_version,
            isolation,
            bytes_min: size(request.min_bytes).min(bytes_max),
            bytes_max,
        }
    }
}

/// How long the client waits for enough.
fn wait_of(request: &FetchRequest) -> Duration {
    Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or_default())
}

/// Reads until there is enough, or the wait is over.
async fn gather(client: &Client, mut gathered: Gathered, wait: Duration) -> Gathered {
    let mut deadline = std::pin::pin!(tokio::time::sleep(wait));
    loop {
        gathered = read(gathered).await;
        if gathered.is_enough() || wait.is_zero() {
            return gathered;
        }
        // Entered before the next look at the ends, so that nothing slips between.
        let readable = client.session.readable(&gathered.beyond());
        tokio::select! {
            () = readable => {}
            () = &mut deadline => return gathered,
            () = client.shutdown.begun() => return gathered,
        }
    }
}

/// Reads what has become readable, on a thread that may block if not all of it lies in memory.
async fn read(mut gathered: Gathered) -> Gathered {
    let Some(want) = gathered.look() else { return gathered };
    gathered.reserve(want).await;
    loop {
        let is_done;
        (gathered, is_done) = read_once(gathered).await;
        if is_done {
            return gathered;
        }
        gathered.reserve_short().await;
    }
}

async fn read_once(mut gathered: Gathered) -> (Gathered, bool) {
    if gathered.is_cached() {
        let is_done = gathered.read();
        return (gathered, is_done);
    }
    let (mut turn, before) = (gathered.turn().await, gathered.bytes);
    blocking(move || {
        let is_done = gathered.read();
        turn.read(gathered.bytes.saturating_sub(before));
        (gathered, is_done)
    })
    .await
}
