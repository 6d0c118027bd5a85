//! [`NatsFrontend`] is what the binary gives to a listener.

use std::sync::Arc;

use duolog_broker::Session;
use duolog_net::{Connection, Context, Frontend, TalkOptions, talk};

use crate::limits::CARRY_BYTES;
use crate::monitor::{Connz, ConnzOptions, Healthz, Subsz, SubszOptions, Totals, Varz};
use crate::registry::Registry;
use crate::session::NatsSession;
use crate::{NatsOptions, monitor};

/// The NATS protocol on one broker. Give it to as many listeners as there are.
pub struct NatsFrontend {
    registry: Arc<Registry>,
}

impl NatsFrontend {
    /// A frontend whose connections act as the principal of `session`.
    #[must_use]
    pub fn new(session: Session, options: NatsOptions) -> Self {
        Self { registry: Arc::new(Registry::new(session, options)) }
    }

    /// The server in numbers, as nats-server's `/varz`.
    #[must_use]
    pub fn varz(&self) -> Varz {
        monitor::varz(&self.registry)
    }

    /// The connections, as nats-server's `/connz`.
    #[must_use]
    pub fn connz(&self, options: &ConnzOptions) -> Connz {
        monitor::connz(&self.registry, options)
    }

    /// The subscriptions, as nats-server's `/subsz`.
    #[must_use]
    pub fn subsz(&self, options: &SubszOptions) -> Subsz {
        monitor::subsz(&self.registry, options)
    }

    /// Whether it serves, as nats-server's `/healthz`.
    #[must_use]
    pub fn healthz(&self) -> Healthz {
        Healthz { status: "ok" }
    }

    /// What metrics are made of.
    #[must_use]
    pub fn totals(&self) -> Totals {
        monitor::totals(&self.registry)
    }
}

impl Frontend for NatsFrontend {
    fn protocol(&self) -> &'static str {
        "nats"
    }

    async fn serve(self: Arc<Self>, connection: Connection, context: Context) {
        let options = self.registry.options();
        let talk_options = TalkOptions {
            carry_bytes_max: options.payload_bytes_max + CARRY_BYTES,
            write_timeout: Some(options.write_deadline),
        };
        let (client, has_room) = self.registry.enter(&connection);
        let session = NatsSession::new(Arc::clone(&self.registry), client, has_room);
        talk(connection, &context, talk_options, session).await;
    }
}
