//! Reads a request's body: bounded, paid for in advance, in time.

use bytes::{Bytes, BytesMut};
use duolog_net::{Context, Reservation};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};

use crate::error::{ErrorCode, SqsError};
use crate::limits::{BODY_BYTES, BODY_COPIES};

/// Bytes for which room is made before they have come.
const FIRST_BYTES: usize = 64 << 10;

/// Reads the body; keep the reservation for as long as anything of it lives.
///
/// # Errors
/// `RequestTooLarge`, `RequestTimeout`, `RequestThrottled` if the memory budget stays full, `Serialization` if the
/// client breaks off.
pub(super) async fn read(body: Incoming, context: &Context) -> Result<(Bytes, Reservation), SqsError> {
    let bytes_max = context.limits.request_bytes_max.min(BODY_BYTES);
    // A chunked body does not say how long it is: it pays for the longest.
    let announced =
        body.size_hint().upper().map_or(bytes_max, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    if announced > bytes_max {
        return Err(too_large(bytes_max));
    }
    let limit = context.limits.request_timeout;
    let reserving = context.budget.reserve(announced.saturating_mul(1 + BODY_COPIES));
    let reserved = tokio::time::timeout(limit, reserving).await.map_err(|_| {
        SqsError::new(ErrorCode::RequestThrottled, "No memory is free for the request; try again later.")
    })?;
    let mut reservation =
        reserved.map_err(|error| SqsError::new(ErrorCode::ServiceUnavailable, error.to_string()))?;
    let bytes = tokio::time::timeout(limit, collect(body, announced, bytes_max)).await.map_err(|_| {
        SqsError::new(ErrorCode::RequestTimeout, "The request's body did not arrive in time.")
    })??;
    reservation.shrink_to(bytes.len() * (1 + BODY_COPIES));
    Ok((bytes, reservation))
}

async fn collect(mut body: Incoming, announced: usize, bytes_max: usize) -> Result<Bytes, SqsError> {
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            SqsError::new(ErrorCode::Serialization, format!("The request's body broke off: {error}."))
        })?;
        // Trailers say nothing that matters here.
        let Ok(data) = frame.into_data() else { continue };
        if first.len() + all.len() + data.len() > bytes_max {
            return Err(too_large(bytes_max));
        }
        if first.is_empty() && all.is_empty() {
            first = data;
            continue;
        }
        if all.is_empty() {
            all.reserve(announced.min(FIRST_BYTES).max(first.len() + data.len()));
            all.extend_from_slice(&first);
            first = Bytes::new();
        }
        all.extend_from_slice(&data);
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

fn too_large(bytes_max: usize) -> SqsError {
    SqsError::new(ErrorCode::RequestTooLarge, format!("The request is longer than {bytes_max} bytes."))
}
