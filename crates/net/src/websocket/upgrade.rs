//! The request that asks for a WebSocket, and the answer to it. Source: RFC 6455, section 4.2; tungstenite looks at the headers.
//!
//! Invariant: no more of the connection is read than the request: its client must wait for the answer.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tungstenite::error::ProtocolError;
use tungstenite::handshake::machine::TryParse;
use tungstenite::handshake::server::{Request, create_response, write_response};
use tungstenite::http::header::{HOST, ORIGIN};

use super::{OriginRule, WebSocket};
use crate::limits::UPGRADE_BYTES_MAX;
use crate::{Connection, Context, OverBudget};

/// Why there is no WebSocket.
#[derive(Debug, thiserror::Error)]
pub(super) enum UpgradeError {
    #[error("{status}: {reason}")]
    Refused { status: &'static str, reason: String },
    #[error("the client has ended it")]
    Ended,
    #[error("the request has not come within {0:?}")]
    TooLate(Duration),
    #[error("the server ends")]
    Shutdown,
    #[error(transparent)]
    Budget(#[from] OverBudget),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Reads the request and answers it: the connection as a WebSocket, or why not, which the client has been told.
pub(super) async fn upgrade(
    mut connection: Connection,
    context: &Context,
    rules: &[OriginRule],
) -> Result<Connection, UpgradeError> {
    let time = context.limits.request_timeout;
    let result = tokio::select! {
        result = tokio::time::timeout(time, negotiate(&mut connection, context, rules)) => {
            result.unwrap_or(Err(UpgradeError::TooLate(time)))
        }
        () = context.shutdown.begun() => Err(UpgradeError::Shutdown),
    };
    result?;
    let shutdown = context.shutdown.clone();
    Ok(connection.over(|stream| WebSocket::new(stream, shutdown))?)
}

async fn negotiate(
    connection: &mut Connection,
    context: &Context,
    rules: &[OriginRule],
) -> Result<(), UpgradeError> {
    let room = context.budget.reserve(UPGRADE_BYTES_MAX).await?;
    let answered = match read_request(connection).await.and_then(|request| accept(&request, rules)) {
        Ok(answer) => Ok(connection.write_all(&answer).await?),
        Err(UpgradeError::Refused { status, reason }) => {
            connection.write_all(&refusal(status, &reason)).await?;
            // Without the end of the stream some clients wait for more.
            connection.shutdown().await?;
            Err(UpgradeError::Refused { status, reason })
        }
        Err(error) => Err(error),
    };
    drop(room);
    answered
}

async fn read_request(connection: &mut Connection) -> Result<Request, UpgradeError> {
    let mut bytes = Vec::with_capacity(UPGRADE_BYTES_MAX);
    loop {
        if bytes.len() >= UPGRADE_BYTES_MAX {
            return Err(refused("431 Request Header Fields Too Large", "the request is too large"));
        }
        if connection.read_buf(&mut bytes).await? == 0 {
            return Err(UpgradeError::Ended);
        }
        let parsed = Request::try_parse(&bytes).map_err(|error| match error {
            tungstenite::Error::Protocol(ProtocolError::WrongHttpMethod) => {
                refused("405 Method Not Allowed", "a WebSocket is asked for with GET")
            }
            error => refused("400 Bad Request", &error.to_string()),
        })?;
        match parsed {
            None => {}
            Some((length, request)) if length == bytes.len() => return Ok(request),
            Some(_) => return Err(refused("400 Bad Request", "there are bytes before the answer")),
        }
    }
}

/// The answer that accepts, if the request is one for a WebSocket and comes from where it may.
fn accept(request: &Request, rules: &[OriginRule]) -> Result<Vec<u8>, UpgradeError> {
    let text = |name| request.headers().get(name).map(|it| it.to_str().unwrap_or_default());
    let host = text(HOST).ok_or_else(|| refused("400 Bad Request", "no host is named"))?;
    let response =
        create_response(request).map_err(|error| refused("400 Bad Request", &error.to_string()))?;
    if let Some(origin) = text(ORIGIN)
        && !rules.iter().any(|rule| rule.allows(origin, host))
    {
        return Err(refused("403 Forbidden", &format!("pages of the origin {origin:?} may not connect")));
    }
    let mut answer = Vec::new();
    write_response(&mut answer, &response).map_err(|error| refused("400 Bad Request", &error.to_string()))?;
    Ok(answer)
}

fn refused(status: &'static str, reason: &str) -> UpgradeError {
    UpgradeError::Refused { status, reason: reason.to_owned() }
}

fn refusal(status: &str, reason: &str) -> Vec<u8> {
    let body = format!("This is a listener for WebSockets: {reason}.\n");
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nSec-WebSocket-Version: 13\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}
