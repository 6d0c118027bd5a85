//! A way to one endpoint: looks it up, connects, and posts.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{AUTHORIZATION, HOST, HeaderMap};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tracing::debug;

use super::address::is_public;
use super::{Authorities, Endpoint};
use crate::limits::{
    ENDPOINT_ANSWER_BYTES, ENDPOINT_ANSWER_WAIT, ENDPOINT_CONNECT_WAIT, ENDPOINT_HEAD_BYTES, ENDPOINT_LANES,
    ENDPOINT_LOOKUPS, HEADERS,
};

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PostError {
    /// It is not to be reached.
    #[error("{host} leads to {address}, which is no public address")]
    Private {
        /// As the URL has it.
        host: String,
        /// What it leads to.
        address: IpAddr,
    },
    /// There is no such name, or nobody who knows.
    #[error("the name cannot be looked up: {0}")]
    Lookup(io::Error),
    /// Nobody takes the connection.
    #[error("it cannot be connected to: {0}")]
    Connect(io::Error),
    /// It is not who it should be, or speaks no TLS.
    #[error("the TLS handshake failed: {0}")]
    Tls(io::Error),
    /// The connection broke, or what came back is no HTTP.
    #[error("the request failed: {0}")]
    Http(#[from] hyper::Error),
    /// It takes too long.
    #[error("there was no answer within {} seconds", .0.as_secs())]
    TimedOut(Duration),
}

/// What all ways have in common.
#[derive(Debug)]
pub(crate) struct Network {
    /// Private addresses may be reached.
    allows_private: bool,
    authorities: Authorities,
    /// Each takes a thread while it lasts.
    lookups: Arc<Semaphore>,
}

impl Network {
    pub fn new(allows_private: bool, authorities: Authorities) -> Self {
        Self { allows_private, authorities, lookups: Arc::new(Semaphore::new(ENDPOINT_LOOKUPS)) }
    }

    pub fn allows_private(&self) -> bool {
        self.allows_private
    }
}

type Sender = SendRequest<Full<Bytes>>;

/// See the module.
#[derive(Debug)]
pub(crate) struct Way {
    network: Arc<Network>,
    endpoint: Endpoint,
    /// Connections that wait for the next request.
    idle: Mutex<Vec<Sender>>,
    /// One who is slow to be looked up takes one thread of all that there are.
    lookup: Semaphore,
}

impl Way {
    pub fn new(network: Arc<Network>, endpoint: Endpoint) -> Self {
        Self { network, endpoint, idle: Mutex::default(), lookup: Semaphore::new(1) }
    }

    /// Closes the connections that nobody uses.
    pub fn rest(&self) {
        self.idle.lock().clear();
    }

    /// Posts; answers the status. `within` is for all of it.
    ///
    /// # Errors
    /// See [`PostError`].
    pub async fn post(
        &self,
        headers: &HeaderMap,
        body: &Bytes,
        within: Duration,
    ) -> Result<StatusCode, PostError> {
        let posting = self.post_in_time(headers, body);
        tokio::time::timeout(within, posting).await.unwrap_or(Err(PostError::TimedOut(within)))
    }

    async fn post_in_time(&self, headers: &HeaderMap, body: &Bytes) -> Result<StatusCode, PostError> {
        let known = self.idle.lock().pop();
        if let Some(sender) = known {
            // It may have been closed at the other end in the meantime. Then it is tried on a new one, even if the endpoint may
            // have seen the request: what is delivered is delivered at least once.
            match self.send(sender, headers, body).await {
                Ok(status) => return Ok(status),
                Err(error) => debug!(%error, "a connection to an endpoint is replaced"),
            }
        }
        let sender = self.connect().await?;
        Ok(self.send(sender, headers, body).await?)
    }

    async fn send(
        &self,
        mut sender: Sender,
        headers: &HeaderMap,
        body: &Bytes,
    ) -> Result<StatusCode, hyper::Error> {
        sender.ready().await?;
        let mut request = Request::new(Full::new(body.clone()));
        *request.method_mut() = Method::POST;
        // It was read as part of a URL.
        *request.uri_mut() = self.endpoint.path.parse().unwrap_or_default();
        *request.headers_mut() = headers.clone();
        request.headers_mut().insert(HOST, self.endpoint.named.clone());
        if let Some(authorization) = &self.endpoint.authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        let response = sender.send_request(request).await?;
        let status = response.status();
        let reading = tokio::time::timeout(ENDPOINT_ANSWER_WAIT, is_read(response));
        if reading.await == Ok(true) && sender.ready().await.is_ok() {
            let mut idle = self.idle.lock();
            if idle.len() < ENDPOINT_LANES {
                idle.push(sender);
            }
        }
        Ok(status)
    }

    async fn connect(&self) -> Result<Sender, PostError> {
        let stream = self.connect_to(self.look_up().await?).await.map_err(PostError::Connect)?;
        // Small requests are not to wait for one another.
        let _ = stream.set_nodelay(true);
        if !self.endpoint.is_tls {
            return speak(stream).await;
        }
        let name = ServerName::try_from(self.endpoint.host.clone())
            .map_err(|error| PostError::Tls(io::Error::other(error)))?;
        let stream = self.network.authorities.connector().connect(name, stream).await;
        speak(stream.map_err(PostError::Tls)?).await
    }

    /// The addresses that may be reached.
    async fn look_up(&self) -> Result<Vec<SocketAddr>, PostError> {
        let stopped = |_| PostError::Lookup(io::Error::other("the broker stops"));
        let _one = self.lookup.acquire().await.map_err(stopped)?;
        let permit = Arc::clone(&self.network.lookups).acquire_owned().await.map_err(stopped)?;
        let (host, port) = (self.endpoint.host.clone(), self.endpoint.port);
        let looking = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            (host.as_str(), port).to_socket_addrs().map(Iterator::collect::<Vec<_>>)
        });
        let found = looking.await.map_err(|error| PostError::Lookup(io::Error::other(error)))?;
        let found = found.map_err(PostError::Lookup)?;
        let may = |address: &SocketAddr| self.network.allows_private || is_public(address.ip());
        let reachable: Vec<_> = found.iter().copied().filter(may).collect();
        match (reachable.is_empty(), found.first()) {
            (false, _) => Ok(reachable),
            (true, Some(private)) => {
                Err(PostError::Private { host: self.endpoint.host.clone(), address: private.ip() })
            }
            (true, None) => Err(PostError::Lookup(io::Error::other("it has no address"))),
        }
    }

    /// Connects to the first that takes the connection.
    async fn connect_to(&self, addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
        let mut last = io::Error::other("there is no address");
        for address in addresses {
            match tokio::time::timeout(ENDPOINT_CONNECT_WAIT, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => last = error,
                Err(_) => last = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(last)
    }
}

async fn speak(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<Sender, PostError> {
    let builder = http1::Builder::new()
        .max_buf_size(ENDPOINT_HEAD_BYTES)
        .max_headers(HEADERS)
        .handshake(TokioIo::new(stream));
    let (sender, connection) = builder.await?;
    // It ends with the sender.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            debug!(%error, "a connection to an endpoint ended");
        }
    });
    Ok(sender)
}

/// True if the rest of the answer is short enough to be read, so that the connection may be used again.
async fn is_read(response: Response<Incoming>) -> bool {
    let mut body = response.into_body();
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return false };
        bytes += frame.data_ref().map_or(0, Bytes::len);
        if bytes > ENDPOINT_ANSWER_BYTES {
            return false;
        }
    }
    true
}
