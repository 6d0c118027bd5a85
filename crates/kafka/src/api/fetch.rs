//! Fetch: batches out of partitions, waiting for them if there are too few.
//!
//! Sessions (KIP-227) are declined: every answer has session id 0, so every request names all its partitions.
//! What has been read is kept while waiting for more; only partitions that have moved are read again.
//! Source: Kafka protocol guide, "Fetch"; KIP-74 (limits), KIP-227, KIP-320 (epochs), KIP-516 (topic ids).

mod answer;
mod gather;

use std::sync::Arc;
use std::time::Duration;

use duolog_broker::Isolation;

use self::gather::Gathered;
use super::{Client, Held, IntoReply, Reply, blocking};
use crate::ErrorCode;
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
    if let Some(code) = refusal_of(&request) {
        let response = FetchResponse { error_code: code.code(), ..Default::default() };
        return Fetched { response, held: Held::default() };
    }
    let size = |bytes: i32| usize::try_from(bytes).unwrap_or_default();
    let bytes_max = size(request.max_bytes).min(client.options.fetch_bytes_max);
    let ask = Ask {
        version: header.api_version,
        isolation: if request.isolation_level == 1 {
            Isolation::ReadCommitted
        } else {
            Isolation::ReadUncommitted
        },
        bytes_min: size(request.min_bytes).min(bytes_max),
        bytes_max,
    };
    let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or_default());
    // The semaphore lives as long as the connection and is never closed.
    let turn = Arc::clone(&client.fetching).acquire_owned().await.ok();
    let mut gathered = Gathered::new(client, ask, &request);
    let mut deadline = std::pin::pin!(tokio::time::sleep(wait));
    loop {
        gathered = read(client, gathered).await;
        if gathered.is_enough() || wait.is_zero() {
            break;
        }
        // Entered before the next look at the ends, so that nothing slips between.
        let readable = client.session.readable(&gathered.beyond());
        tokio::select! {
            () = readable => {}
            () = &mut deadline => break,
            () = client.shutdown.begun() => break,
        }
    }
    let (response, memory) = answer::build(request, gathered);
    Fetched { response, held: Held { _memory: memory, _turn: turn } }
}

/// Why the request as a whole cannot be served.
fn refusal_of(request: &FetchRequest) -> Option<ErrorCode> {
    match (request.session_id, request.session_epoch) {
        // Without a session, asking for one, or ending one that we never opened.
        (0, 0) | (_, -1) => None,
        _ => Some(ErrorCode::FetchSessionIdNotFound),
    }
}

/// Reads what has become readable, on a thread that may block if not all of it lies in memory.
async fn read(client: &Client, mut gathered: Gathered) -> Gathered {
    let Some(want) = gathered.look() else { return gathered };
    gathered.reserve(&client.budget, want).await;
    if gathered.is_cached() {
        gathered.read();
        return gathered;
    }
    blocking(move || {
        gathered.read();
        gathered
    })
    .await
}
