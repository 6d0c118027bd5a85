//! Writes responses: JSON, the two error forms, and the headers that SDKs read.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use duolog_net::Reservation;
use hyper::Response;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue};
use uuid::Uuid;

use crate::api::Answered;
use crate::codec::{query, response, xml};
use crate::error::{ErrorCode, SqsError};
use crate::sns::{self, SnsCode, SnsError};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const QUERY_ERROR: HeaderName = HeaderName::from_static("x-amzn-query-error");
const JSON_1_0: HeaderValue = HeaderValue::from_static("application/x-amz-json-1.0");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PEM: HeaderValue = HeaderValue::from_static("application/x-pem-file");
const XML: HeaderValue = HeaderValue::from_static("text/xml");

/// A body in one piece.
#[derive(Debug)]
pub(crate) struct ReplyBody(Option<Held>);

/// Bytes on their way out. The connection keeps them in its queue until the client has taken them, and with them their
/// reservation: clients that do not read their answers are paid for.
#[derive(Debug)]
pub(crate) struct Held {
    bytes: Bytes,
    _held: Option<Reservation>,
}

impl Buf for Held {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }
}

impl Body for ReplyBody {
    type Data = Held;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Held>, Infallible>>> {
        Poll::Ready(self.0.take().map(|held| Ok(Frame::data(held))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_ref().map_or(0, |held| held.bytes.len() as u64))
    }
}

fn respond(status: u16, content_type: HeaderValue, body: Answered, id: Uuid) -> Response<ReplyBody> {
    let held = Held { bytes: body.body, _held: body.held };
    let mut response = Response::new(ReplyBody((!held.bytes.is_empty()).then_some(held)));
    *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or_default();
    let mut text = [0; 36];
    let id = id.as_hyphenated().encode_lower(&mut text);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(REQUEST_ID, HeaderValue::from_str(id).expect("hexadecimal digits and hyphens"));
    response
}

fn whole(body: impl Into<Bytes>) -> Answered {
    Answered { body: body.into(), held: None }
}

/// An action's answer.
pub(super) fn json(body: Answered, id: Uuid) -> Response<ReplyBody> {
    respond(200, JSON_1_0, body, id)
}

/// An action's answer in the Query protocol.
pub(super) fn xml(body: Answered, id: Uuid) -> Response<ReplyBody> {
    respond(200, XML, body, id)
}

/// Plain JSON that is no action's.
pub(super) fn plain_json(body: String, id: Uuid) -> Response<ReplyBody> {
    respond(200, JSON, whole(body), id)
}

/// An error in the JSON protocol; the extra header carries the code that users of the Query protocol know.
pub(super) fn error(status: u16, error: &SqsError, id: Uuid) -> Response<ReplyBody> {
    let shape = error.code.shape();
    let body =
        serde_json::to_vec(&response::Error { shape, message: &error.message }).expect("text into memory");
    let mut response = respond(status, JSON_1_0, whole(body), id);
    let fault = if error.code.is_senders() { "Sender" } else { "Receiver" };
    let query = format!("{};{fault}", error.code.query_code());
    let query = HeaderValue::from_str(&query).expect("codes are ASCII");
    response.headers_mut().insert(QUERY_ERROR, query);
    close_after(&mut response, error.code);
    response
}

/// An error in the Query protocol.
pub(super) fn xml_error(error: &SqsError, id: Uuid) -> Response<ReplyBody> {
    let code = error.code.query_code();
    let body = xml::error(query::NAMESPACE, error.code.is_senders(), code, &error.message, &id.to_string());
    let mut response = respond(error.code.status(), XML, whole(body), id);
    close_after(&mut response, error.code);
    response
}

/// An error of SNS.
pub(super) fn sns_error(error: &SnsError, id: Uuid) -> Response<ReplyBody> {
    let mut response = respond(error.code.parts().1, XML, whole(sns::xml::error(error, id)), id);
    if matches!(error.code, SnsCode::RequestTooLarge | SnsCode::RequestTimeout) {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// The certificate of the key that messages are signed with.
pub(super) fn certificate(pem: String, id: Uuid) -> Response<ReplyBody> {
    respond(200, PEM, whole(pem), id)
}

/// What is left of some requests is not worth reading.
fn close_after(response: &mut Response<ReplyBody>, code: ErrorCode) {
    if matches!(code, ErrorCode::RequestTooLarge | ErrorCode::RequestTimeout) {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use duolog_net::Budget;
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn an_answer_is_paid_for_until_the_last_byte_is_taken() {
        let budget = Budget::new(1 << 20);
        let held = budget.try_reserve(4096).unwrap();
        let answered = Answered { body: Bytes::from_static(b"{}"), held };
        let mut body = json(answered, Uuid::nil()).into_body();
        assert_eq!(body.size_hint().exact(), Some(2));
        let mut queued = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert!(body.is_end_stream());
        drop(body);
        assert_eq!((queued.chunk(), budget.used_bytes()), (&b"{}"[..], 4096));
        queued.advance(2);
        drop(queued);
        assert_eq!(budget.used_bytes(), 0);
    }
}
