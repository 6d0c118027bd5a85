//! [`KafkaFrontend`] is what the binary gives to a listener.

use std::sync::Arc;

use duolog_broker::Session;
use duolog_net::{Connection, Context, Frontend, Shutdown};
use tokio::sync::Semaphore;

use crate::api::Client;
use crate::catch_up::CatchUp;
use crate::group::{GroupConfig, Groups};
use crate::{KafkaOptions, connection, limits};

/// The Kafka protocol on one broker. Give it to as many listeners as there are; they share its groups.
pub struct KafkaFrontend {
    session: Session,
    groups: Arc<Groups>,
    options: Arc<KafkaOptions>,
    /// Room for the partitions of fetch sessions.
    fetch_room: Arc<Semaphore>,
    /// What consumers that are far behind share.
    catch_up: Arc<CatchUp>,
}

impl KafkaFrontend {
    /// A frontend whose connections act as the principal of `session`.
    #[must_use]
    pub fn new(session: Session, options: KafkaOptions) -> Self {
        let groups = Groups::new(session.clone(), GroupConfig::from(&options), options.seed);
        Self {
            session,
            groups,
            catch_up: Arc::new(CatchUp::new(options.catch_up_bytes_per_second)),
            options: Arc::new(options),
            fetch_room: Arc::new(Semaphore::new(limits::FETCH_SESSION_PARTITIONS)),
        }
    }

    /// The consumer groups of all listeners, for operators.
    #[must_use]
    pub fn groups(&self) -> &Arc<Groups> {
        &self.groups
    }

    /// Keeps the deadlines of the consumer groups until `shutdown` begins: spawn it once beside the listeners.
    pub async fn run(self: Arc<Self>, shutdown: Shutdown) {
        Arc::clone(&self.groups).run(shutdown).await;
    }
}

impl Frontend for KafkaFrontend {
    fn protocol(&self) -> &'static str {
        "kafka"
    }

    async fn serve(self: Arc<Self>, connection: Connection, context: Context) {
        let client = Client {
            session: self.session.clone(),
            groups: Arc::clone(&self.groups),
            options: Arc::clone(&self.options),
            budget: context.budget.clone(),
            fetching: Arc::new(Semaphore::new(limits::FETCHES_AT_A_TIME)),
            fetch_session: Arc::default(),
            fetch_room: Arc::clone(&self.fetch_room),
            catch_up: Arc::clone(&self.catch_up),
            shutdown: context.shutdown.clone(),
            peer: connection.peer(),
            local: connection.local(),
        };
        connection::serve(client, connection, context).await;
    }
}
