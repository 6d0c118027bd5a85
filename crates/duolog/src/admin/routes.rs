//! `/api/routes`: which exchange is bound to what.
//!
//! A route is shown as it is made and deleted: its JSON is the same each way.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use bytes::Bytes;
use duolog_broker::catalog::DEFAULT_NAMESPACE;
use duolog_broker::routing::{
    Binding, BindingSpec, Destination, Exchange, ExchangeKind, Filter, Match, Rules, RulesOn,
};
use duolog_broker::{Catalog, Labels};
use duolog_net::Budget;
use serde::{Deserialize, Serialize};

use super::Admin;
use super::bytes_as_text::{as_text, to_base64, to_bytes};
use super::error::ApiError;
use super::exchanges::{Described, described};
use super::extract::{Body, Options};
use super::peek;

/// Memory that the largest answer may take while it is made.
const ROOM_BYTES: usize = 64 << 20;
/// Of that an exchange or a route takes so much, and its texts this many times their length: JSON has up to six bytes for one.
const ITEM_BYTES: usize = 512;
const TEXT_TIMES: usize = 8;

pub fn routes() -> Router<Admin> {
    Router::new().route("/api/routes", get(list).post(add).delete(remove))
}

/// A way from an exchange to where records go.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Route {
    exchange: String,
    to: End,
    #[serde(default)]
    key: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    key_base64: bool,
    #[serde(default, rename = "match", skip_serializing_if = "Option::is_none")]
    matching: Option<Matching>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rules: Option<RulesOf>,
}

/// Where it leads, by name.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", try_from = "Ends")]
enum End {
    Queue(String),
    Topic(String),
    Exchange(String),
}

/// As it is asked for, of which one must be there.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ends {
    queue: Option<String>,
    topic: Option<String>,
    exchange: Option<String>,
}

impl TryFrom<Ends> for End {
    type Error = &'static str;

    fn try_from(ends: Ends) -> Result<Self, Self::Error> {
        match (ends.queue, ends.topic, ends.exchange) {
            (Some(queue), None, None) => Ok(Self::Queue(queue)),
            (None, Some(topic), None) => Ok(Self::Topic(topic)),
            (None, None, Some(exchange)) => Ok(Self::Exchange(exchange)),
            _ => Err("name one of queue, topic and exchange"),
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Queue(name) => write!(to, "the queue {name:?}"),
            Self::Topic(name) => write!(to, "the topic {name:?}"),
            Self::Exchange(name) => write!(to, "the exchange {name:?}"),
        }
    }
}

/// What the headers of a record must be like.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Matching {
    mode: Mode,
    /// `null` if it need only be there.
    headers: BTreeMap<String, Option<String>>,
    /// All names and values are base64.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    base64: bool,
}

/// What must hold for a record: see `duolog_broker::routing::Rules`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RulesOf {
    on: On,
    /// JSON, as it was written.
    text: String,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum On {
    Headers,
    Body,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    All,
    Any,
}

/// Which routes: from an exchange, or to one thing. For a deletion, the one.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    exchange: Option<String>,
    queue: Option<String>,
    topic: Option<String>,
    to_exchange: Option<String>,
    key: Option<String>,
    #[serde(default)]
    key_base64: bool,
}

/// The graph.
#[derive(Debug, Serialize)]
struct Graph {
    exchanges: Vec<Described>,
    routes: Vec<Route>,
    /// There are more of them.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    cut: bool,
}

/// An exchange and what is bound to it.
#[derive(Debug, Serialize)]
struct Whole {
    #[serde(flatten)]
    exchange: Described,
    routes: Vec<Route>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    cut: bool,
}

/// What an answer will show, counted before it is made.
struct Room {
    bytes: usize,
    bytes_max: usize,
    cut: bool,
}

impl Room {
    /// As many as there is room for, from the first on.
    fn take<'a, T: 'a>(
        &mut self,
        all: impl Iterator<Item = &'a Arc<T>>,
        text: impl Fn(&T) -> usize,
    ) -> Vec<Arc<T>> {
        let mut taken = Vec::new();
        for it in all {
            let bytes = ITEM_BYTES + TEXT_TIMES * text(it);
            if self.bytes + bytes > self.bytes_max {
                self.cut = true;
                break;
            }
            self.bytes += bytes;
            taken.push(Arc::clone(it));
        }
        taken
    }
}

impl Which {
    fn end(&self) -> Result<Option<End>, ApiError> {
        let mut ends = [
            self.queue.clone().map(End::Queue),
            self.topic.clone().map(End::Topic),
            self.to_exchange.clone().map(End::Exchange),
        ]
        .into_iter()
        .flatten();
        match (ends.next(), ends.next()) {
            (end, None) => Ok(end),
            _ => Err(ApiError::invalid("name one of queue, topic and to_exchange")),
        }
    }

    fn route(self) -> Result<Route, ApiError> {
        match (self.end()?, self.exchange) {
            (Some(to), Some(exchange)) => Ok(Route {
                exchange,
                to,
                key: self.key.unwrap_or_default(),
                key_base64: self.key_base64,
                matching: None,
                rules: None,
            }),
            _ => Err(ApiError::invalid(
                "which one: name exchange, key if it has one, and queue, topic or to_exchange",
            )),
        }
    }
}

impl Matching {
    fn filter(self) -> Result<Filter, ApiError> {
        let bytes = |text| to_bytes("match", text, self.base64);
        let matches = self
            .headers
            .into_iter()
            .map(|(name, value)| Ok(Match { name: bytes(name)?, value: value.map(bytes).transpose()? }));
        let matches = matches.collect::<Result<Vec<_>, ApiError>>()?;
        Ok(match self.mode {
            Mode::All => Filter::Every(matches),
            Mode::Any => Filter::Some(matches),
        })
    }

    fn of(filter: &Filter) -> Option<Self> {
        let (mode, matches) = match filter {
            Filter::All | Filter::Rules(_) => return None,
            Filter::Every(matches) => (Mode::All, matches),
            Filter::Some(matches) => (Mode::Any, matches),
        };
        let base64 = matches
            .iter()
            .any(|it| as_text(&it.name).1 || it.value.as_deref().is_some_and(|it| as_text(it).1));
        let text = |bytes: &Bytes| if base64 { to_base64(bytes) } else { as_text(bytes).0 };
        let headers = matches.iter().map(|it| (text(&it.name), it.value.as_ref().map(text))).collect();
        Some(Self { mode, headers, base64 })
    }
}

impl RulesOf {
    fn filter(self) -> Result<Filter, ApiError> {
        let on = match self.on {
            On::Headers => RulesOn::Headers,
            On::Body => RulesOn::Body,
        };
        let rules =
            Rules::parse(on, &self.text).map_err(|error| ApiError::invalid(format!("rules: {error}")))?;
        Ok(Filter::Rules(Arc::new(rules)))
    }

    fn of(filter: &Filter) -> Option<Self> {
        let Filter::Rules(rules) = filter else { return None };
        let on = match rules.on() {
            RulesOn::Headers => On::Headers,
            RulesOn::Body => On::Body,
        };
        Some(Self { on, text: rules.text().to_owned() })
    }
}

impl Admin {
    fn destination(&self, end: &End) -> Result<Destination, ApiError> {
        Ok(match end {
            End::Queue(name) => Destination::Queue(self.queue(name)?.id),
            End::Topic(name) => Destination::Topic(self.topic(name)?.id),
            End::Exchange(name) => Destination::Exchange(self.exchange(name)?.id),
        })
    }

    fn spec(&self, route: Route) -> Result<BindingSpec, ApiError> {
        let source = self.exchange(&route.exchange)?;
        if route.matching.is_some() && source.kind != ExchangeKind::Headers {
            return Err(ApiError::invalid(format!(
                "match: the exchange {:?} does not look at headers; one of kind headers does",
                route.exchange
            )));
        }
        let filter = match (route.matching, route.rules) {
            (None, None) => Filter::All,
            (Some(matching), None) => matching.filter()?,
            (None, Some(rules)) => rules.filter()?,
            (Some(_), Some(_)) => return Err(ApiError::invalid("name one of match and rules")),
        };
        Ok(BindingSpec {
            source: source.id,
            destination: self.destination(&route.to)?,
            key: to_bytes("key", route.key, route.key_base64)?,
            filter,
            labels: Labels::new(),
        })
    }

    /// The bindings that a route names. What frontends have labelled counts, and the order of headers does not.
    fn bound(&self, spec: &BindingSpec) -> Vec<Arc<Binding>> {
        let catalog = self.session.catalog();
        let same = catalog.bindings_by_key(spec.source, &spec.key).filter(|binding| {
            binding.spec.destination == spec.destination
                && in_order(&binding.spec.filter) == in_order(&spec.filter)
        });
        same.cloned().collect()
    }
}

/// Condition and headers, these in an order of their own.
fn in_order(filter: &Filter) -> (u8, Vec<(&Bytes, Option<&Bytes>)>, &str) {
    let (kind, matches, rules) = match filter {
        Filter::All => (0, &[][..], ""),
        Filter::Every(matches) => (1, &matches[..], ""),
        Filter::Some(matches) => (2, &matches[..], ""),
        Filter::Rules(rules) if rules.on() == RulesOn::Headers => (3, &[][..], rules.text()),
        Filter::Rules(rules) => (4, &[][..], rules.text()),
    };
    let mut headers: Vec<_> = matches.iter().map(|it| (&it.name, it.value.as_ref())).collect();
    headers.sort_unstable();
    (kind, headers, rules)
}

fn text_of_exchange(exchange: &Exchange) -> usize {
    exchange.name.len() + exchange.alternate.as_ref().map_or(0, String::len)
}

fn text_of_binding(catalog: &Catalog, binding: &Binding) -> usize {
    let spec = &binding.spec;
    let names = name_of(catalog, spec.destination).map_or(0, String::len);
    let headers: usize = match &spec.filter {
        Filter::All => 0,
        Filter::Every(matches) | Filter::Some(matches) => {
            matches.iter().map(|it| 16 + it.name.len() + it.value.as_ref().map_or(0, Bytes::len)).sum()
        }
        Filter::Rules(rules) => rules.text().len(),
    };
    names + spec.key.len() + headers
}

/// Of what is at the end of a binding.
fn name_of(catalog: &Catalog, destination: Destination) -> Option<&String> {
    Some(match destination {
        Destination::Queue(id) => &catalog.queue_by_id(id)?.name,
        Destination::Topic(id) => &catalog.topic_by_id(id)?.name,
        Destination::Exchange(id) => &catalog.exchange_by_id(id)?.name,
    })
}

/// `None` if one of its ends is gone, which a catalog does not have.
fn route(catalog: &Catalog, binding: &Binding) -> Option<Route> {
    let spec = &binding.spec;
    let name = name_of(catalog, spec.destination)?.clone();
    let (key, key_base64) = as_text(&spec.key);
    Some(Route {
        exchange: catalog.exchange_by_id(spec.source)?.name.clone(),
        to: match spec.destination {
            Destination::Queue(_) => End::Queue(name),
            Destination::Topic(_) => End::Topic(name),
            Destination::Exchange(_) => End::Exchange(name),
        },
        key,
        key_base64,
        matching: Matching::of(&spec.filter),
        rules: RulesOf::of(&spec.filter),
    })
}

fn all_routes(catalog: &Catalog, bindings: &[Arc<Binding>]) -> Vec<Route> {
    bindings.iter().filter_map(|it| route(catalog, it)).collect()
}

impl Admin {
    fn room(&self) -> Room {
        Room { bytes: 0, bytes_max: ROOM_BYTES.min(Budget::largest(self.budget.bytes_max())), cut: false }
    }

    /// Makes an answer once there is memory for it, and holds that until the answer is sent.
    async fn answer<T: Serialize>(
        &self,
        room: &Room,
        make: impl FnOnce() -> T,
    ) -> Result<Response, ApiError> {
        let mut reserved = self.reserve(room.bytes).await?;
        let body = serde_json::to_vec(&make()).map_err(|error| ApiError::internal(error.to_string()))?;
        reserved.shrink_to(body.capacity());
        Ok(([(CONTENT_TYPE, "application/json")], peek::held(body, reserved)).into_response())
    }

    /// An exchange with its routes.
    pub(super) async fn whole(&self, exchange: &Exchange) -> Result<Response, ApiError> {
        let catalog = self.session.catalog();
        let mut room = self.room();
        let bindings = room.take(catalog.bindings_from(exchange.id), |it| text_of_binding(&catalog, it));
        let make = || Whole {
            exchange: described(&catalog, exchange),
            routes: all_routes(&catalog, &bindings),
            cut: room.cut,
        };
        self.answer(&room, make).await
    }
}

async fn list(State(admin): State<Admin>, Options(which): Options<Which>) -> Result<Response, ApiError> {
    let catalog = admin.session.catalog();
    let to = which.end()?.map(|end| admin.destination(&end)).transpose()?;
    let from = which.exchange.as_deref().map(|name| admin.exchange(name)).transpose()?;
    let key = which.key.map(|key| to_bytes("key", key, which.key_base64)).transpose()?;
    let sources: Option<BTreeSet<_>> =
        to.map(|to| catalog.bindings_to(to).map(|it| it.spec.source).collect());
    let is_source = |it: &&Arc<Exchange>| {
        from.as_ref().is_none_or(|from| from.id == it.id)
            && sources.as_ref().is_none_or(|sources| sources.contains(&it.id))
    };
    let mut room = admin.room();
    let exchanges = room.take(catalog.exchanges(DEFAULT_NAMESPACE).filter(is_source), text_of_exchange);
    let bindings = exchanges.iter().flat_map(|it| catalog.bindings_from(it.id)).filter(|it| {
        key.as_ref().is_none_or(|key| it.spec.key == key) && to.is_none_or(|to| it.spec.destination == to)
    });
    let bindings = room.take(bindings, |it| text_of_binding(&catalog, it));
    let make = || Graph {
        exchanges: exchanges.iter().map(|it| described(&catalog, it)).collect(),
        routes: all_routes(&catalog, &bindings),
        cut: room.cut,
    };
    admin.answer(&room, make).await
}

/// 201 with the route, or 200 if it was there.
async fn add(State(admin): State<Admin>, Body(asked): Body<Route>) -> Result<Response, ApiError> {
    let spec = admin.spec(asked)?;
    let known = admin.bound(&spec);
    let status = if known.is_empty() { StatusCode::CREATED } else { StatusCode::OK };
    if known.is_empty() {
        admin.session.bind(spec.clone()).await?;
    }
    let bound = admin.bound(&spec);
    let route = bound.first().and_then(|binding| route(&admin.session.catalog(), binding));
    let gone = || ApiError::not_found("the binding was deleted in the meantime");
    Ok((status, Json(route.ok_or_else(gone)?)).into_response())
}

async fn remove(
    State(admin): State<Admin>,
    Options(which): Options<Which>,
    body: Result<Bytes, BytesRejection>,
) -> Result<StatusCode, ApiError> {
    let body = body.map_err(|error| ApiError::refused(error.status(), error.body_text()))?;
    let asked = if body.is_empty() {
        which.route()?
    } else {
        serde_json::from_slice(&body).map_err(|error| ApiError::invalid(error.to_string()))?
    };
    let Route { exchange, to, key, .. } = &asked;
    let sentence =
        format!("the exchange {exchange:?} has no binding to {to} with the key {key:?} and this match");
    let spec = admin.spec(asked)?;
    let mut any = false;
    for binding in admin.bound(&spec) {
        any |= admin.session.unbind(binding.spec.clone()).await?;
    }
    if any { Ok(StatusCode::NO_CONTENT) } else { Err(ApiError::not_found(sentence)) }
}
