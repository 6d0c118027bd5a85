//! One HTTP/1.1 connection: requests in, answers out, within the limits of the listener.
//!
//! Which request is which: `POST` with `X-Amz-Target: AmazonSQS.ACTION` is an action; `GET /health` and
//! `/_localstack/health` say that we are alive; a form is the Query protocol, which is answered in its own words.
//! The body's bytes, and what will be made of them, are reserved before they are read.
//! A receive that waits is dropped with the connection's future when the client goes.

mod body;
mod health;
mod reply;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use duolog_net::{Connection, Context};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderName};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tracing::debug;
use uuid::Uuid;

use crate::AwsFrontend;
use crate::api::{self, Call};
use crate::codec::credential::Credential;
use crate::error::{ErrorCode, SqsError};
use crate::limits::{HEAD_BYTES, HEADERS};
use crate::patience::{Patience, Patient, Phase};
use crate::settings::Echo;

use reply::ReplyBody;

/// How long a connection may go on once shutdown has begun: what is being answered is finished.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);
const TARGET: HeaderName = HeaderName::from_static("x-amz-target");
const TARGET_PREFIX: &str = "AmazonSQS.";

/// Serves the connection to its end.
pub(crate) async fn serve(frontend: Arc<AwsFrontend>, connection: Connection, context: Context) {
    let peer = connection.peer();
    let local: Arc<str> = connection.local().to_string().into();
    let phase = Phase::default();
    let patience = Patience { idle: context.limits.idle_timeout, request: context.limits.request_timeout };
    let stream = Patient::new(connection, phase.clone(), patience);
    let shutdown = context.shutdown.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let (frontend, context, phase) = (Arc::clone(&frontend), context.clone(), phase.clone());
        let local = Arc::clone(&local);
        async move {
            phase.begin();
            let response = answer(&frontend, &context, &local, request).await;
            phase.end();
            Ok::<_, Infallible>(response)
        }
    });
    let served = http1::Builder::new()
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEADERS)
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(stream), service);
    let mut served = std::pin::pin!(served);
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = shutdown.begun() => {
            served.as_mut().graceful_shutdown();
            match tokio::time::timeout(SHUTDOWN_GRACE, served).await {
                Ok(ended) => ended,
                Err(_) => return,
            }
        }
    };
    if let Err(error) = ended {
        debug!(%peer, %error, "connection ended");
    }
}

/// What a request asks for, by its head.
enum Asked<'a> {
    Action(&'a str),
    Health,
    LocalstackHealth,
    Query,
    Nothing,
    BadMethod,
}

fn asked<'a>(method: &Method, path: &str, headers: &'a HeaderMap) -> Asked<'a> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    match *method {
        Method::POST => match text(TARGET) {
            Some(target) => Asked::Action(target),
            None if text(CONTENT_TYPE).is_some_and(is_form) => Asked::Query,
            None => Asked::Nothing,
        },
        Method::GET | Method::HEAD => match path {
            "/health" => Asked::Health,
            "/_localstack/health" => Asked::LocalstackHealth,
            _ => Asked::Nothing,
        },
        _ => Asked::BadMethod,
    }
}

fn is_form(content_type: &str) -> bool {
    let form = "application/x-www-form-urlencoded";
    content_type.get(..form.len()).is_some_and(|head| head.eq_ignore_ascii_case(form))
}

async fn answer(
    frontend: &AwsFrontend,
    context: &Context,
    local: &str,
    request: Request<Incoming>,
) -> Response<ReplyBody> {
    let id = frontend.next_request_id();
    let (head, body) = request.into_parts();
    match asked(&head.method, head.uri.path(), &head.headers) {
        Asked::Action(target) => match action(frontend, context, local, &head.headers, target, body).await {
            Ok(answered) => reply::json(200, answered, id),
            Err(error) => failure(&error, id),
        },
        Asked::Health => health::alive(id),
        Asked::LocalstackHealth => health::localstack(id),
        Asked::Query => query(context, body, id).await,
        Asked::Nothing => {
            let error = SqsError::new(
                ErrorCode::UnknownOperation,
                "Nothing is served here; send an action as POST with a header X-Amz-Target: AmazonSQS.<Action>, \
                 or GET /health.",
            );
            reply::error(404, &error, id)
        }
        Asked::BadMethod => {
            let error = SqsError::new(ErrorCode::UnknownOperation, "The method is not allowed; use POST.");
            reply::error(405, &error, id)
        }
    }
}

fn failure(error: &SqsError, id: Uuid) -> Response<ReplyBody> {
    debug!(code = error.code.query_code(), request = %id, "request failed");
    reply::error(error.code.status(), error, id)
}

async fn action(
    frontend: &AwsFrontend,
    context: &Context,
    local: &str,
    headers: &HeaderMap,
    target: &str,
    body: Incoming,
) -> api::Answer {
    let Some(action) = target.strip_prefix(TARGET_PREFIX) else {
        let shown: String = target.chars().take(100).collect();
        let message = format!("The target {shown} is not known; this endpoint serves {TARGET_PREFIX}*.");
        return Err(SqsError::new(ErrorCode::UnknownOperation, message));
    };
    // Held until the answer is made: the records of a send are pieces of it.
    let (body, _held) = body::read(body, context).await?;
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let credential = text(AUTHORIZATION).and_then(Credential::parse);
    let options = &frontend.options;
    let advertised = options.advertised.as_ref().map(|(host, port)| format!("{host}:{port}"));
    let host = advertised.as_deref().or_else(|| text(HOST).filter(|host| is_host(host))).unwrap_or(local);
    let echo = Echo {
        region: credential.map_or(&options.region, |credential| credential.region),
        account: credential.and_then(|credential| credential.account()).unwrap_or(&options.account),
    };
    let call = Call {
        session: &frontend.session,
        budget: &context.budget,
        shutdown: &context.shutdown,
        host,
        echo,
        body: &body,
    };
    api::dispatch(&call, action).await
}

/// True for what may stand in a URL as host and port: it is written back to clients.
fn is_host(host: &str) -> bool {
    let legal =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'[' | b']');
    (1..=255).contains(&host.len()) && host.bytes().all(legal)
}

/// The older protocol is not served; its clients read XML, so they are told in XML.
async fn query(context: &Context, body: Incoming, id: Uuid) -> Response<ReplyBody> {
    let body = match body::read(body, context).await {
        Ok((body, _held)) => body,
        Err(error) => return failure(&error, id),
    };
    let is_sns = body.windows(10).any(|window| window == b"2010-03-31");
    let (namespace, message) = if is_sns {
        ("http://sns.amazonaws.com/doc/2010-03-31/", "SNS is not supported yet; see docs/sqs.md for what is.")
    } else {
        (
            "http://queue.amazonaws.com/doc/2012-11-05/",
            "The Query protocol is not supported yet; use a current SDK, which speaks AWS JSON 1.0.",
        )
    };
    reply::xml(400, namespace, "AWS.SimpleQueueService.UnsupportedOperation", message, id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_is_no_host_is_not_echoed() {
        for host in ["localhost:4566", "10.0.0.1", "[::1]:4566", "sqs.internal_1"] {
            assert!(is_host(host), "{host}");
        }
        for host in ["", "a b", "h/evil", "h\"", "h?x", "user@h", &"x".repeat(256)] {
            assert!(!is_host(host), "{host}");
        }
    }
}
