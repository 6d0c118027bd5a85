//! [`AmqpFrontend`] is what the binary gives to a listener.

use std::sync::Arc;

use duolog_broker::errors::ChangeError;
use duolog_broker::routing::Exchange;
use duolog_broker::{Queue, Session, Topic};
use duolog_net::{Connection, Context, Frontend, Shutdown, TalkOptions, talk};
use tokio::time::sleep;

use crate::AmqpOptions;
use crate::labels;
use crate::limits::{CARRY_BYTES, DISK_FREE_BYTES, LOOK};
use crate::policies::{InForce, Policy, PolicyKind};
use crate::registry::{Connected, Consuming, Registry, Source, Totals};
use crate::session::AmqpSession;
use crate::session::queues::delete;
use crate::session::streams::{is_stream, length};
use crate::vhosts;

/// The AMQP protocol on one broker. Give it to as many listeners as there are.
pub struct AmqpFrontend {
    registry: Arc<Registry>,
}

impl AmqpFrontend {
    /// A frontend whose connections act as the principal of `session`. Deletes what was not to outlive the last run, and
    /// declares the exchanges that are always there.
    ///
    /// # Errors
    /// [`ChangeError`] if the broker refuses that.
    pub async fn start(session: Session, options: AmqpOptions) -> Result<Self, ChangeError> {
        vhosts::open(&session, "/").await?;
        let registry = Arc::new(Registry::new(session, options));
        let catalog = registry.broker().catalog();
        for vhost in vhosts::all(&catalog) {
            let namespace = vhosts::namespace_of(&vhost);
            delete_transient(registry.broker(), namespace).await?;
            // A crash may have left some undone; what cannot be done now is noted and tried again.
            let _ = registry.settle_all(namespace).await;
        }
        Ok(Self { registry })
    }

    /// The virtual hosts, by name.
    #[must_use]
    pub fn vhosts(&self) -> Vec<String> {
        vhosts::all(&self.registry.broker().catalog())
    }

    /// Makes a virtual host; false if there is one of this name.
    ///
    /// # Errors
    /// [`ChangeError`]: `Invalid` for a name that none can have.
    pub async fn create_vhost(&self, name: &str) -> Result<bool, ChangeError> {
        vhosts::open(self.registry.broker(), name).await
    }

    /// Deletes a virtual host with its queues and exchanges, and closes the connections to it; false if there is none.
    ///
    /// # Errors
    /// [`ChangeError`]: `Invalid` for the one that is always there.
    pub async fn delete_vhost(&self, name: &str) -> Result<bool, ChangeError> {
        let deleted = vhosts::delete(self.registry.broker(), name).await?;
        self.registry.wake_all();
        Ok(deleted)
    }

    /// The policies of a virtual host, by name.
    #[must_use]
    pub fn policies(&self, vhost: &str, kind: PolicyKind) -> Vec<Policy> {
        self.registry.policies_in(vhost, kind)
    }

    /// Puts a policy. When this is answered it holds for everything that its pattern matches; false if there was one of its name.
    ///
    /// # Errors
    /// [`ChangeError`]: `NotFound` without the virtual host, `OverLimit` if its policies become too long.
    pub async fn set_policy(
        &self,
        vhost: &str,
        kind: PolicyKind,
        policy: &Policy,
    ) -> Result<bool, ChangeError> {
        self.registry.set_policy(vhost, kind, policy).await
    }

    /// Takes a policy away; false if there was none.
    ///
    /// # Errors
    /// See [`Self::set_policy`].
    pub async fn clear_policy(&self, vhost: &str, kind: PolicyKind, name: &str) -> Result<bool, ChangeError> {
        self.registry.clear_policy(vhost, kind, name).await
    }

    /// The policies that hold for a queue.
    #[must_use]
    pub fn in_force_on_queue(&self, queue: &Queue) -> InForce {
        self.registry.policies.on_queue(&self.registry.broker().catalog(), queue)
    }

    /// The policies that hold for a stream.
    #[must_use]
    pub fn in_force_on_stream(&self, topic: &Topic) -> InForce {
        let catalog = self.registry.broker().catalog();
        self.registry.policies.on_stream(&catalog, &topic.namespace, &topic.name)
    }

    /// The stream of this name, and the records that it has.
    #[must_use]
    pub fn stream(&self, vhost: &str, name: &str) -> Option<(Arc<Topic>, u64)> {
        let (broker, catalog) = (self.registry.broker(), self.registry.broker().catalog());
        let topic = catalog.topic(vhosts::namespace_of(vhost), name).filter(|it| is_stream(it))?;
        Some((Arc::clone(topic), length(broker, topic)))
    }

    /// The streams of a virtual host, by name, with the records that each has.
    #[must_use]
    pub fn streams(&self, vhost: &str) -> Vec<(Arc<Topic>, u64)> {
        let (broker, catalog) = (self.registry.broker(), self.registry.broker().catalog());
        let streams = catalog.topics(vhosts::namespace_of(vhost)).filter(|it| is_stream(it));
        streams.map(|it| (Arc::clone(it), length(broker, it))).collect()
    }

    /// The policies that hold for an exchange.
    #[must_use]
    pub fn in_force_on_exchange(&self, exchange: &Exchange) -> InForce {
        let catalog = self.registry.broker().catalog();
        self.registry.policies.on_exchange(&catalog, &exchange.namespace, &exchange.name)
    }

    pub(crate) fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// The connections that are open, in no particular order.
    #[must_use]
    pub fn connections(&self) -> Vec<Connected> {
        self.registry.connected()
    }

    /// All consumers, in no particular order.
    #[must_use]
    pub fn consumers(&self) -> Vec<Consuming> {
        self.registry.consuming()
    }

    /// Consumers of a queue or stream.
    #[must_use]
    pub fn consumers_on(&self, source: Source) -> u32 {
        self.registry.consumers(source)
    }

    /// True while publishers are asked to wait for room on the disk.
    #[must_use]
    pub fn is_disk_low(&self) -> bool {
        self.registry.is_disk_low()
    }

    /// What metrics are made of.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.registry.totals()
    }

    /// Deletes queues that nobody has used for as long as they were to wait, until the server ends.
    pub async fn run(self: Arc<Self>, shutdown: Shutdown) {
        loop {
            tokio::select! {
                () = shutdown.begun() => return,
                () = sleep(LOOK) => {}
            }
            self.look_at_disk().await;
            self.registry.catch_up().await;
            for queue in self.registry.expired() {
                match delete(self.registry.broker(), queue).await {
                    Ok(()) => self.registry.disown(queue.into()),
                    Err(error) => {
                        tracing::warn!(queue = queue.0, %error, "a queue that has expired cannot be deleted yet")
                    }
                }
            }
        }
    }
}

/// Deletes what was not to outlive the last run.
async fn delete_transient(session: &Session, namespace: &str) -> Result<(), ChangeError> {
    let catalog = session.catalog();
    let mut changes = Vec::new();
    for queue in catalog.queues(namespace).filter(|it| labels::is_transient(&it.labels)) {
        changes.push(session.delete_queue(queue.id));
    }
    for exchange in catalog.exchanges(namespace).filter(|it| labels::is_transient(&it.labels)) {
        changes.push(session.delete_exchange(exchange.id, false));
    }
    for change in changes {
        change.await?;
    }
    Ok(())
}

impl AmqpFrontend {
    /// Room that has come back ends an alarm; too little begins one, before a message is refused.
    async fn look_at_disk(&self) {
        let broker = self.registry.broker().clone();
        if let Ok(volume) = tokio::task::spawn_blocking(move || broker.volume()).await {
            self.registry.set_disk_low(volume.is_some_and(|it| it.usable_bytes < DISK_FREE_BYTES));
        }
    }
}

impl Frontend for AmqpFrontend {
    fn protocol(&self) -> &'static str {
        "amqp"
    }

    async fn serve(self: Arc<Self>, connection: Connection, context: Context) {
        let options = self.registry.options();
        let talk_options = TalkOptions {
            carry_bytes_max: options.frame_bytes_max as usize + CARRY_BYTES,
            write_timeout: Some(options.write_deadline),
        };
        let peer = connection.peer();
        let session = AmqpSession::new(Arc::clone(&self.registry), context.budget.clone(), peer);
        talk(connection, &context, talk_options, session).await;
    }
}
