//! One HTTP/1.1 connection: requests in, answers out, within the limits of the listener.
//!
//! Which request is which: `POST` with `X-Amz-Target: AmazonSQS.ACTION` is an action in AWS JSON; a form, or a URL with
//! `Action=` in its query, is one in the Query protocol, of SQS or of SNS (see `sns::is_asked`); `GET /health` and `/_localstack/health` say that we are alive.
//! The body's bytes, and what will be made of them, are reserved before they are read.
//! A receive that waits is dropped with the connection's future when the client goes.

mod body;
mod health;
mod reply;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use duolog_net::{Connection, Context, Patience, Patient, Phase, Reservation};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, ORIGIN};
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tracing::debug;
use uuid::Uuid;

use crate::AwsFrontend;
use crate::api::{self, Call, Wire};
use crate::codec::credential::Credential;
use crate::codec::query::{self, Form};
use crate::codec::queue_url;
use crate::error::{ErrorCode, SqsError};
use crate::limits::{HEAD_BYTES, HEADERS};
use crate::settings::Echo;
use crate::sns::{self, SnsCode, SnsError};

use reply::ReplyBody;

/// How long a connection may go on once shutdown has begun: what is being answered is finished.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);
const TARGET: HeaderName = HeaderName::from_static("x-amz-target");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
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
    Json(&'a str),
    Query,
    Health,
    LocalstackHealth,
    /// That of the key that messages are signed with, by its id.
    Certificate(&'a str),
    Nothing,
    BadMethod,
}

fn asked(head: &Parts) -> Asked<'_> {
    let text = |name: HeaderName| text_of(&head.headers, name);
    let has_action =
        || head.uri.query().is_some_and(|query| query.split('&').any(|pair| pair.starts_with("Action=")));
    match head.method {
        Method::POST => match text(TARGET) {
            Some(target) => Asked::Json(target),
            None if text(CONTENT_TYPE).is_some_and(is_form) || has_action() => Asked::Query,
            None => Asked::Nothing,
        },
        Method::GET | Method::HEAD => match head.uri.path() {
            "/health" => Asked::Health,
            "/_localstack/health" => Asked::LocalstackHealth,
            _ if head.method == Method::GET && has_action() => Asked::Query,
            path => {
                let id = path.strip_prefix(sns::CERTIFICATE_PATH).and_then(|rest| rest.strip_suffix(".pem"));
                id.map_or(Asked::Nothing, Asked::Certificate)
            }
        },
        _ => Asked::BadMethod,
    }
}

fn text_of(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
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
    let asker = Asker { frontend, context, local, head: &head, id };
    match asked(&head) {
        Asked::Json(target) => match asker.json(target, body).await {
            Ok(answered) => reply::json(answered, id),
            Err(error) => {
                debug!(code = error.code.query_code(), request = %id, "request failed");
                reply::error(error.code.status(), &error, id)
            }
        },
        Asked::Query => match asker.query(body).await {
            Ok(answered) => reply::xml(answered, id),
            Err(Failed::Sqs(error)) => {
                debug!(code = error.code.query_code(), request = %id, "request failed");
                reply::xml_error(&error, id)
            }
            Err(Failed::Sns(error)) => {
                debug!(code = error.code.parts().0, request = %id, "request failed");
                reply::sns_error(&error, id)
            }
        },
        Asked::Certificate(wanted) => match frontend.signer().await {
            Ok(signer) if signer.id == wanted => reply::certificate(signer.certificate.clone(), id),
            Ok(_) => reply::sns_error(&SnsError::new(SnsCode::NotFound, "There is no such certificate."), id),
            Err(error) => reply::sns_error(&error, id),
        },
        Asked::Health => health::alive(id),
        Asked::LocalstackHealth => health::localstack(id),
        Asked::Nothing => {
            let error = SqsError::new(
                ErrorCode::UnknownOperation,
                "Nothing is served here; send an action as POST with a header X-Amz-Target: AmazonSQS.<Action> or \
                 with a form Action=<Action>, or GET /health.",
            );
            reply::error(404, &error, id)
        }
        Asked::BadMethod => {
            let error = SqsError::new(ErrorCode::UnknownOperation, "The method is not allowed; use POST.");
            reply::error(405, &error, id)
        }
    }
}

/// Why a request in the Query protocol failed, in the words of the service that it is for.
enum Failed {
    Sqs(SqsError),
    Sns(SnsError),
}

/// What is known of a request before its body is read.
struct Asker<'a> {
    frontend: &'a AwsFrontend,
    context: &'a Context,
    local: &'a str,
    head: &'a Parts,
    id: Uuid,
}

impl Asker<'_> {
    async fn json(&self, target: &str, body: Incoming) -> api::Answer {
        let Some(action) = target.strip_prefix(TARGET_PREFIX) else {
            let shown: String = target.chars().take(100).collect();
            let message = format!("The target {shown} is not known; this endpoint serves {TARGET_PREFIX}*.");
            return Err(SqsError::new(ErrorCode::UnknownOperation, message));
        };
        // Held until the answer is made: the records of a send are pieces of it.
        let (body, _held) = body::read(body, self.context).await?;
        self.dispatch(action, Wire::Json, &body, self.signed()).await
    }

    async fn query(&self, body: Incoming) -> Result<api::Answered, Failed> {
        let signed_for = self.signed().map(|signed| signed.service);
        let failed = |error: SqsError| match signed_for {
            Some("sns") => Failed::Sns(error.into()),
            Some(_) | None => Failed::Sqs(error),
        };
        let (body, _held) = self.read(body).await.map_err(failed)?;
        let mut form = self.form(&body).map_err(failed)?;
        if sns::is_asked(&form, signed_for) {
            return self.sns(&form).await.map_err(Failed::Sns);
        }
        // A queue may be named by the URL that the request is sent to.
        let path = self.head.uri.path();
        if path != "/" {
            form.add_if_absent("QueueUrl", path);
        }
        self.sqs(&form, &body).await.map_err(Failed::Sqs)
    }

    async fn read(&self, body: Incoming) -> Result<(Bytes, Reservation), SqsError> {
        if is_cross_site(&self.head.headers) {
            return Err(SqsError::new(
                ErrorCode::AccessDenied,
                "Requests that web pages of other sites make in a browser are not served.",
            ));
        }
        body::read(body, self.context).await
    }

    fn form<'b>(&'b self, body: &'b Bytes) -> Result<Form<'b>, SqsError> {
        let malformed = |error: &dyn std::fmt::Display| {
            SqsError::new(ErrorCode::MalformedQueryString, format!("The parameters cannot be read: {error}."))
        };
        let text = std::str::from_utf8(body).map_err(|error| malformed(&error))?;
        let in_url = self.head.uri.query().unwrap_or("");
        Form::parse(&[in_url, text]).map_err(|error| malformed(&error))
    }

    async fn sqs(&self, form: &Form<'_>, body: &Bytes) -> api::Answer {
        match form.get("Version") {
            None | Some("" | query::VERSION) => {}
            Some(version) => {
                let shown: String = version.chars().take(30).collect();
                let message = format!("The version {shown} is not spoken here; use {}.", query::VERSION);
                return Err(SqsError::new(ErrorCode::NoSuchVersion, message));
            }
        }
        let action = action(form)?;
        let signed = self.signed().or_else(|| Credential::of_scope(form.get("X-Amz-Credential")?));
        self.dispatch(action, Wire::Query(form), body, signed).await
    }

    async fn sns(&self, form: &Form<'_>) -> Result<api::Answered, SnsError> {
        let signed = self.signed().or_else(|| Credential::of_scope(form.get("X-Amz-Credential")?));
        let advertised = self.advertised();
        let call = sns::Call {
            frontend: self.frontend,
            echo: self.echo(signed),
            action: action(form)?,
            params: sns::Params::new(form),
            host: self.host(advertised.as_deref()),
            is_signed: signed.is_some(),
            id: self.id,
        };
        let body = sns::dispatch(&call).await?;
        Ok(api::Answered { body, held: None })
    }

    fn advertised(&self) -> Option<String> {
        self.frontend.options.advertised.as_ref().map(|(host, port)| format!("{host}:{port}"))
    }

    /// How the client called us, if that is a host.
    fn called(&self) -> Option<&str> {
        text_of(&self.head.headers, HOST).filter(|host| is_host(host))
    }

    fn host<'h>(&'h self, advertised: Option<&'h str>) -> &'h str {
        advertised.or(self.called()).unwrap_or(self.local)
    }

    fn echo<'e>(&'e self, signed: Option<Credential<'e>>) -> Echo<'e> {
        let options = &self.frontend.options;
        let region = signed.map(|signed| signed.region);
        let region = region.or_else(|| queue_url::region_of_host(self.called()?));
        Echo {
            region: region.unwrap_or(&options.region),
            account: signed.and_then(|signed| signed.account()).unwrap_or(&options.account),
        }
    }

    fn signed(&self) -> Option<Credential<'_>> {
        Credential::parse(text_of(&self.head.headers, AUTHORIZATION)?)
    }

    async fn dispatch(
        &self,
        action: &str,
        wire: Wire<'_>,
        body: &Bytes,
        signed: Option<Credential<'_>>,
    ) -> api::Answer {
        let advertised = self.advertised();
        let call = Call {
            session: &self.frontend.session,
            budget: &self.context.budget,
            shutdown: &self.context.shutdown,
            host: self.host(advertised.as_deref()),
            echo: self.echo(signed),
            action,
            wire,
            body,
            id: self.id,
        };
        api::dispatch(&call).await
    }
}

/// What a form asks for.
fn action<'f>(form: &'f Form<'_>) -> Result<&'f str, SqsError> {
    form.get("Action").filter(|action| !action.is_empty()).ok_or_else(|| {
        SqsError::new(ErrorCode::MissingAction, "The request must contain the parameter Action.")
    })
}

/// True if a browser says that a page of another site makes the request. Forms and plain URLs need nobody's leave for
/// that, unlike a request with `X-Amz-Target`. Source: W3C, "Fetch Metadata Request Headers"; RFC 6454, "Origin".
fn is_cross_site(headers: &HeaderMap) -> bool {
    let site = text_of(headers, SEC_FETCH_SITE);
    headers.contains_key(ORIGIN) || site.is_some_and(|site| !matches!(site, "same-origin" | "none"))
}

/// True for what may stand in a URL as host and port: it is written back to clients.
fn is_host(host: &str) -> bool {
    let legal =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'[' | b']');
    (1..=255).contains(&host.len()) && host.bytes().all(legal)
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
