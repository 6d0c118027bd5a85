//! A frontend behind WebSockets.

use std::sync::Arc;

use tracing::{debug, info};

use super::OriginRule;
use super::upgrade::{UpgradeError, upgrade};
use crate::{Connection, Context, Frontend};

/// Serves what another frontend serves, to clients that come through a WebSocket. Any path is as good as another.
#[derive(Debug)]
pub struct OverWebSocket<F> {
    frontend: Arc<F>,
    protocol: &'static str,
    origins: Vec<OriginRule>,
}

impl<F: Frontend> OverWebSocket<F> {
    /// `frontend` under the name `protocol`, for pages that one of `origins` allows and for all that are no pages.
    #[must_use]
    pub fn new(frontend: Arc<F>, protocol: &'static str, origins: Vec<OriginRule>) -> Self {
        Self { frontend, protocol, origins }
    }
}

impl<F: Frontend> Frontend for OverWebSocket<F> {
    fn protocol(&self) -> &'static str {
        self.protocol
    }

    async fn serve(self: Arc<Self>, connection: Connection, context: Context) {
        let peer = connection.peer();
        match upgrade(connection, &context, &self.origins).await {
            Ok(connection) => Arc::clone(&self.frontend).serve(connection, context).await,
            // The one that an operator may have to do something about.
            Err(error @ UpgradeError::Refused { status, .. }) if status.starts_with("403") => {
                info!(protocol = self.protocol, %peer, %error, "web page is refused");
            }
            Err(error) => debug!(protocol = self.protocol, %peer, %error, "no websocket came about"),
        }
    }
}
