//! [`RedisFrontend`] is what the binary gives to a listener.

use std::sync::Arc;
use std::time::Duration;

use duolog_broker::Session;
use duolog_net::{Connection, Context, Frontend, TalkOptions, talk};

use crate::client::ClientLimits;
use crate::server::{RedisStats, Server};
use crate::session::RedisSession;
use crate::{RedisOptions, limits};

/// The Redis protocol on one broker. Give it to as many listeners as there are; they share their clients.
pub struct RedisFrontend {
    server: Arc<Server>,
}

impl RedisFrontend {
    /// A frontend whose connections act as the principal of `session`.
    #[must_use]
    pub fn new(session: Session, options: RedisOptions) -> Self {
        Self { server: Arc::new(Server::new(session, options)) }
    }

    /// Counts, for operators.
    #[must_use]
    pub fn stats(&self) -> RedisStats {
        self.server.stats()
    }
}

impl Frontend for RedisFrontend {
    fn protocol(&self) -> &'static str {
        "redis"
    }

    async fn serve(self: Arc<Self>, connection: Connection, context: Context) {
        let bulk_bytes_max = context.limits.request_bytes_max.min(limits::BULK_BYTES);
        // Redis waits for ever; here what is not taken may hold memory that others wait for.
        let patience =
            Duration::from_millis(self.server.options.buffer_soft_ms).max(context.limits.request_timeout);
        let options = TalkOptions {
            carry_bytes_max: bulk_bytes_max + limits::REQUEST_OVERHEAD_BYTES,
            write_timeout: Some(patience),
        };
        let (peer, local) = (connection.peer(), connection.local());
        let limits = ClientLimits { bulk_bytes_max, budget: context.budget.clone() };
        let session = RedisSession::new(Arc::clone(&self.server), limits, peer, local);
        talk(connection, &context, options, session).await;
    }
}
