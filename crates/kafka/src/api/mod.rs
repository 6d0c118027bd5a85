//! One module per api: takes a decoded request, asks the broker, gives the response.
//!
//! A handler has the shape `async fn handle(client: &Client, header: &RequestHeader, request: X) -> XResponse`. Adding
//! an api: its messages in `codec/messages`, its row in `codec/api.rs`, a module here, an arm in `dispatch`.

use std::net::SocketAddr;
use std::sync::Arc;

use duolog_broker::Session;

use crate::KafkaOptions;
use crate::group::Groups;

/// What a handler knows of the connection that asks. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Client {
    /// The broker's verbs, as the principal of the connection.
    pub session: Session,
    /// The consumer groups.
    pub groups: Arc<Groups>,
    /// Settings.
    pub options: Arc<KafkaOptions>,
    /// The client's address.
    pub peer: SocketAddr,
    /// The address that the client reached.
    pub local: SocketAddr,
}

impl Client {
    /// Host and port that clients are told to connect to.
    pub fn advertised(&self) -> (String, i32) {
        match &self.options.advertised {
            Some((host, port)) => (host.clone(), i32::from(*port)),
            None => (self.local.ip().to_string(), i32::from(self.local.port())),
        }
    }
}
