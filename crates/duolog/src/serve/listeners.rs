//! From a protocol's name to a listener that serves it. A new protocol is one arm in [`Bound::serve`].

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use duolog_amqp::AmqpFrontend;
use duolog_aws::AwsFrontend;
use duolog_broker::Broker;
use duolog_kafka::KafkaFrontend;
use duolog_nats::NatsFrontend;
use duolog_net::{Context, Frontend, Listener, OverWebSocket};
use duolog_redis::RedisFrontend;
use tokio_util::task::TaskTracker;

use crate::admin::AdminFrontend;
use crate::bindings::Bindings;
use crate::config::{Config, Listen, Protocol};

/// NATS clients above the limit on connections that are told so at a time; more wait.
const REFUSED_AT_A_TIME: usize = 64;

/// What listens where, the real ports included.
pub type Addresses = Vec<(Protocol, SocketAddr)>;

/// What a frontend is made of.
pub struct Parts<'a> {
    pub config: &'a Config,
    pub broker: &'a Broker,
    pub context: &'a Context,
    pub kafka: Arc<KafkaFrontend>,
    pub aws: Arc<AwsFrontend>,
    pub bindings: Arc<Bindings>,
    pub redis: Arc<RedisFrontend>,
    pub nats: Arc<NatsFrontend>,
    pub amqp: Arc<AmqpFrontend>,
}

/// Sockets that are bound and not served yet.
pub struct Bound {
    listeners: Vec<(Protocol, Listener)>,
}

impl Bound {
    /// Binds all or none.
    pub fn all(listen: &[Listen]) -> anyhow::Result<Self> {
        let bind = |listen: &Listen| -> anyhow::Result<_> {
            let listener = Listener::bind(listen.address)
                .with_context(|| format!("cannot open the {} listener", listen.protocol))?;
            Ok((listen.protocol, listener))
        };
        Ok(Self { listeners: listen.iter().map(bind).collect::<anyhow::Result<_>>()? })
    }

    /// Serves all of them.
    pub fn serve(self, parts: &Parts<'_>) -> (TaskTracker, Addresses) {
        let addresses: Addresses =
            self.listeners.iter().map(|(protocol, listener)| (*protocol, listener.address())).collect();
        let tasks = TaskTracker::new();
        tasks.spawn(Arc::clone(&parts.kafka).run(parts.context.shutdown.clone()));
        tasks.spawn(Arc::clone(&parts.aws).run(parts.context.shutdown.clone()));
        tasks.spawn(Arc::clone(&parts.amqp).run(parts.context.shutdown.clone()));
        tasks.spawn(Arc::clone(&parts.bindings).run(parts.context.shutdown.clone()));
        for (protocol, listener) in self.listeners {
            match protocol {
                Protocol::Kafka => start(&tasks, listener, Arc::clone(&parts.kafka), parts),
                Protocol::Aws => start(&tasks, listener, Arc::clone(&parts.aws), parts),
                Protocol::Amqp => start(&tasks, listener, Arc::clone(&parts.amqp), parts),
                Protocol::Redis => start(&tasks, listener, Arc::clone(&parts.redis), parts),
                Protocol::Nats => start_nats(&tasks, listener, Arc::clone(&parts.nats), parts),
                Protocol::NatsWs => {
                    let origins = parts.config.nats.ws_origins.clone();
                    let frontend = OverWebSocket::new(Arc::clone(&parts.nats), protocol.name(), origins);
                    start_nats(&tasks, listener, Arc::new(frontend), parts);
                }
                Protocol::Admin => {
                    start(&tasks, listener, Arc::new(AdminFrontend::new(parts, &addresses)), parts)
                }
            }
        }
        (tasks, addresses)
    }
}

fn start<F: Frontend>(tasks: &TaskTracker, listener: Listener, frontend: Arc<F>, parts: &Parts<'_>) {
    tasks.spawn(listener.run(frontend, parts.context.clone()));
}

/// Those above the limit are told so instead of being left to wait.
fn start_nats<F: Frontend>(tasks: &TaskTracker, listener: Listener, frontend: Arc<F>, parts: &Parts<'_>) {
    let mut context = parts.context.clone();
    context.limits.connections_max += REFUSED_AT_A_TIME;
    tasks.spawn(listener.run(frontend, context));
}
