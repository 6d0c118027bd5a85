//! The accept loop: one per listener, with a cap on connections, and an orderly end.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::{Budget, Connection, Shutdown};

/// Pending connections that the kernel holds for us.
const BACKLOG: u32 = 1024;
/// Wait after an accept that failed for want of descriptors, so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Caps of one listener.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at a time; more wait in the kernel's backlog.
    pub connections_max: usize,
    /// Largest request that a client may announce, bytes.
    pub request_bytes_max: usize,
    /// A client must have finished a request it began within this time.
    pub request_timeout: Duration,
    /// A connection without any request for so long is closed.
    pub idle_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 10_000,
            request_bytes_max: 100 << 20,
            request_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(600),
        }
    }
}

/// What a connection lives in.
#[derive(Clone, Debug)]
pub struct Context {
    /// Bytes to reserve before allocating.
    pub budget: Budget,
    /// To watch.
    pub shutdown: Shutdown,
    /// To keep.
    pub limits: Limits,
}

/// A protocol: serves one connection until it ends. Errors of the peer are the frontend's to answer and to log.
pub trait Frontend: Send + Sync + 'static {
    /// The name that flags and logs use.
    fn protocol(&self) -> &'static str;

    /// Serves the connection to its end; returns soon after `context.shutdown` has begun, what was answered flushed.
    fn serve(self: Arc<Self>, connection: Connection, context: Context) -> impl Future<Output = ()> + Send;
}

/// Why a listener could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody else has the port.
    #[error(
        "{address} is already in use; stop what listens there, or name another address (port 0 takes a free one)"
    )]
    InUse {
        /// Asked for.
        address: SocketAddr,
    },
    /// Not ours to take.
    #[error("not permitted to listen on {address}: {source}")]
    NotPermitted {
        /// Asked for.
        address: SocketAddr,
        /// The system's word.
        source: io::Error,
    },
    /// Anything else.
    #[error("cannot listen on {address}: {source}")]
    Other {
        /// Asked for.
        address: SocketAddr,
        /// The system's word.
        source: io::Error,
    },
}

/// A bound socket that accepts nothing yet.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Binds. Port 0 takes a free one.
    ///
    /// # Errors
    /// See [`BindError`].
    pub fn bind(address: SocketAddr) -> Result<Self, BindError> {
        let open = || -> io::Result<TcpListener> {
            let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            socket.listen(BACKLOG)
        };
        let socket = open().map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => BindError::InUse { address },
            io::ErrorKind::PermissionDenied => BindError::NotPermitted { address, source },
            _ => BindError::Other { address, source },
        })?;
        let address = socket.local_addr().map_err(|source| BindError::Other { address, source })?;
        Ok(Self { socket, address })
    }

    /// Where it listens, the real port included.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts until shutdown begins, then waits for the connections to end.
    pub async fn run<F: Frontend>(self, frontend: Arc<F>, context: Context) {
        let tasks = TaskTracker::new();
        let places = Arc::new(Semaphore::new(context.limits.connections_max));
        loop {
            let place = tokio::select! {
                place = Arc::clone(&places).acquire_owned() => place,
                () = context.shutdown.begun() => break,
            };
            let accepted = tokio::select! {
                accepted = self.socket.accept() => accepted,
                () = context.shutdown.begun() => break,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    warn!(protocol = frontend.protocol(), %error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let connection = stream.set_nodelay(true).and_then(|()| Connection::plain(stream, peer));
            let connection = match connection {
                Ok(connection) => connection,
                Err(error) => {
                    debug!(protocol = frontend.protocol(), %peer, %error, "connection ended before it began");
                    continue;
                }
            };
            let (frontend, context) = (Arc::clone(&frontend), context.clone());
            tasks.spawn(async move {
                frontend.serve(connection, context).await;
                drop(place);
            });
        }
        drop(self.socket);
        tasks.close();
        tasks.wait().await;
    }
}
