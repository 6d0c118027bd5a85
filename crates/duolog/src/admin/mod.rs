//! The admin listener: health, metrics, and the JSON API under the command line.
//!
//! Adding a resource: a file with its routes, merged in `router`, and its page in docs/admin-api.md.

mod bindings;
mod bytes_as_text;
mod error;
mod exchanges;
mod exposition;
mod extract;
mod forwards;
mod groups;
mod health;
mod management;
mod metrics;
mod moves;
mod nats;
mod peek;
mod queues;
mod routes;
mod topics;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use duolog_amqp::AmqpFrontend;
use duolog_aws::AwsFrontend;
use duolog_broker::{Principal, Session};
use duolog_kafka::group::Groups;
use duolog_nats::NatsFrontend;
use duolog_net::{Budget, Connection, Context, Frontend, Patience, Patient, Phase, Reservation, Shutdown};
use duolog_redis::RedisFrontend;
use duolog_storage::Log;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;

use self::error::ApiError;
use crate::bindings::Bindings;
use crate::config::TopicDefaults;
use crate::serve::{Addresses, Parts};

/// How long a request waits for memory for its answer.
const ROOM_TIMEOUT: Duration = Duration::from_secs(10);

/// What the handlers work with.
#[derive(Clone)]
pub struct Admin {
    session: Session,
    log: Arc<dyn Log>,
    groups: Arc<Groups>,
    redis: Arc<RedisFrontend>,
    nats: Arc<NatsFrontend>,
    amqp: Arc<AmqpFrontend>,
    aws: Arc<AwsFrontend>,
    bindings: Arc<Bindings>,
    budget: Budget,
    shutdown: Shutdown,
    begun: Instant,
    /// What is listened on, for what.
    listening: Arc<Addresses>,
    defaults: TopicDefaults,
}

impl Admin {
    fn new(parts: &Parts<'_>, listening: &Addresses) -> Self {
        let (broker, context) = (parts.broker, parts.context);
        Self {
            listening: Arc::new(listening.clone()),
            defaults: parts.config.topics,
            groups: Arc::clone(parts.kafka.groups()),
            redis: Arc::clone(&parts.redis),
            nats: Arc::clone(&parts.nats),
            amqp: Arc::clone(&parts.amqp),
            aws: Arc::clone(&parts.aws),
            bindings: Arc::clone(&parts.bindings),
            session: broker.session(Principal { name: "admin".to_owned() }),
            log: Arc::clone(broker.log()),
            budget: context.budget.clone(),
            shutdown: context.shutdown.clone(),
            begun: Instant::now(),
        }
    }

    /// Waits for memory for an answer, but not for ever.
    async fn reserve(&self, bytes: usize) -> Result<Reservation, ApiError> {
        let reserved = tokio::time::timeout(ROOM_TIMEOUT, self.budget.reserve(bytes)).await;
        let reserved = reserved.map_err(|_| {
            ApiError::unavailable(
                "no memory is free for the answer: try again later, or ask for less".to_owned(),
            )
        })?;
        reserved.map_err(|error| ApiError::unavailable(error.to_string()))
    }
}

/// HTTP/1 over the routes of this module.
pub struct AdminFrontend {
    router: Router,
    /// For requests with credentials: see `management`.
    management: Router,
}

impl AdminFrontend {
    /// Its handlers act as the principal `admin`.
    pub fn new(parts: &Parts<'_>, listening: &Addresses) -> Self {
        let admin = Admin::new(parts, listening);
        Self {
            router: router().with_state(admin.clone()),
            management: management::router().with_state(admin),
        }
    }
}

fn router() -> Router<Admin> {
    health::routes()
        .merge(metrics::routes())
        .merge(topics::routes())
        .merge(queues::routes())
        .merge(moves::routes())
        .merge(groups::routes())
        .merge(bindings::routes())
        .merge(exchanges::routes())
        .merge(forwards::routes())
        .merge(routes::routes())
        .merge(nats::routes())
        .fallback(error::no_such_path)
        .method_not_allowed_fallback(error::no_such_method)
}

impl Frontend for AdminFrontend {
    fn protocol(&self) -> &'static str {
        "admin"
    }

    async fn serve(self: Arc<Self>, connection: Connection, context: Context) {
        let peer = connection.peer();
        let phase = Phase::default();
        let patience =
            Patience { idle: context.limits.idle_timeout, request: context.limits.request_timeout };
        let stream = Patient::new(connection, phase.clone(), patience);
        let [router, management] =
            [&self.router, &self.management].map(|it| TowerToHyperService::new(it.clone()));
        let service = service_fn(move |request| {
            phase.begin();
            let router = if management::is_meant(&request) { &management } else { &router };
            let (answer, phase) = (router.call(request), phase.clone());
            async move {
                let answer = answer.await;
                phase.end();
                answer
            }
        });
        let mut http = http1::Builder::new();
        http.header_read_timeout(None);
        let mut serving = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service));
        let done = tokio::select! {
            done = serving.as_mut() => done,
            () = context.shutdown.begun() => {
                serving.as_mut().graceful_shutdown();
                serving.await
            }
        };
        if let Err(error) = done {
            tracing::debug!(%peer, %error, "an admin connection ended early");
        }
    }
}
