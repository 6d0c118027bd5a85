//! HTTP/1 to the admin listener: one connection, one request.

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tokio::net::TcpStream;

/// How long an answer may take: a purge or a replay of a large queue is a few commits.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Largest answer that is read.
const ANSWER_BYTES: usize = 64 << 20;
/// What stands in a path as it is.
const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Asks one broker.
#[derive(Debug)]
pub struct Client {
    address: String,
}

impl Client {
    /// For the admin listener at `address`, with or without `http://` before it.
    pub fn new(address: String) -> Self {
        let bare = address.trim_start_matches("http://").trim_end_matches('/');
        Self { address: bare.to_owned() }
    }

    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.ask(Method::GET, path, None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> anyhow::Result<Value> {
        self.ask(Method::POST, path, Some(body)).await
    }

    pub async fn delete(&self, path: &str) -> anyhow::Result<Value> {
        self.ask(Method::DELETE, path, None).await
    }

    pub async fn delete_with(&self, path: &str, body: Value) -> anyhow::Result<Value> {
        self.ask(Method::DELETE, path, Some(body)).await
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> anyhow::Result<Value> {
        let (status, answer) = self.exchange(method, path, body).await?;
        let value = if answer.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&answer).unwrap_or(Value::Null)
        };
        if status.is_success() {
            return Ok(value);
        }
        let word = |name: &str| value.get(name).and_then(Value::as_str);
        // Other servers say "message" too.
        match (word("error"), word("message")) {
            (Some(_), Some(message)) => Err(anyhow!("{message}")),
            _ => Err(anyhow!(
                "{} answered {status} and not as the admin listener of a broker does: name that with --admin ADDR",
                self.address
            )),
        }
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> anyhow::Result<(StatusCode, Bytes)> {
        tokio::time::timeout(TIMEOUT, self.exchange_untimed(method, path, body))
            .await
            .map_err(|_| anyhow!("{} has not answered within {} s", self.address, TIMEOUT.as_secs()))?
    }

    async fn exchange_untimed(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> anyhow::Result<(StatusCode, Bytes)> {
        let stream = TcpStream::connect(&self.address).await.with_context(|| {
            format!(
                "no broker answers at {}: start one with `duolog serve`, or name its admin listener with --admin ADDR",
                self.address
            )
        })?;
        let strange = || format!("{} does not answer as the admin listener of a broker does", self.address);
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.with_context(strange)?;
        // It ends with the exchange, and the exchange reports what goes wrong.
        let connection = tokio::spawn(connection);
        let body = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", &self.address)
            .header("content-type", "application/json")
            .body(Full::new(body))?;
        let answer = sender.send_request(request).await.with_context(strange)?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES).collect().await;
        connection.abort();
        let body = body.map_err(|error| anyhow!("the answer of {} broke off: {error}", self.address))?;
        Ok((status, body.to_bytes()))
    }
}

/// A name as part of a path.
pub fn in_path(name: &str) -> String {
    utf8_percent_encode(name, IN_PATH).to_string()
}
