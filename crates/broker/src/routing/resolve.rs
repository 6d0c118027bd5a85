//! From an address to topics.
//!
//! Invariant: a topic is found once however many ways lead to it, and an exchange is gone through once, so cycles end.

use std::collections::HashMap;
use std::sync::Arc;

use duolog_record::Header;

use super::compiled::{Compiled, hash};
use super::{Destination, Exchange, ExchangeId, ExchangeKind, HashOn, Seen};
use crate::limits::{ROUTES_KNOWN, ROUTES_KNOWN_BYTES};
use crate::trie::SEPARATOR;
use crate::{Catalog, TopicId};

impl Catalog {
    /// The topics that take a record published to an exchange with any of these keys, in no particular order.
    #[must_use]
    pub fn route(&self, exchange: ExchangeId, keys: &[&[u8]], record: &Seen<'_>) -> Vec<TopicId> {
        let (mut topics, mut seen, mut next) = (Vec::new(), vec![exchange], 0);
        while let Some(exchange) = seen.get(next).and_then(|id| self.exchange_by_id(*id)) {
            next += 1;
            let mut any = false;
            self.each_destination(exchange, keys, record, |destination| {
                any = true;
                match destination {
                    Destination::Queue(id) => topics.extend(self.queue_by_id(id).map(|queue| queue.topic)),
                    Destination::Topic(id) => topics.push(id),
                    Destination::Exchange(id) if !seen.contains(&id) => seen.push(id),
                    Destination::Exchange(_) => {}
                }
            });
            if !any
                && let Some(alternate) = &exchange.alternate
                && let Some(alternate) = self.exchange(&exchange.namespace, alternate)
                && !seen.contains(&alternate.id)
            {
                seen.push(alternate.id);
            }
        }
        topics.sort_unstable();
        topics.dedup();
        topics
    }

    /// The same by the exchange's name; the empty name is the default exchange, whose key is the name of a queue or an
    /// addressable topic. Nothing if there is none.
    #[must_use]
    pub fn route_by_name(
        &self,
        namespace: &str,
        exchange: &str,
        key: &[u8],
        record: &Seen<'_>,
    ) -> Vec<TopicId> {
        if exchange.is_empty() {
            return self.addressed(namespace, key).into_iter().collect();
        }
        let exchange = self.exchange(namespace, exchange);
        exchange.map(|it| self.route(it.id, &[key], record)).unwrap_or_default()
    }

    fn each_destination(
        &self,
        exchange: &Exchange,
        keys: &[&[u8]],
        record: &Seen<'_>,
        mut each: impl FnMut(Destination),
    ) {
        match exchange.kind {
            ExchangeKind::Fanout => {
                let takes = self.bindings_from(exchange.id).filter(|it| it.spec.filter.takes(record));
                takes.for_each(|it| each(it.spec.destination));
            }
            ExchangeKind::Direct => {
                for key in keys {
                    self.bindings_by_key(exchange.id, key).for_each(|it| each(it.spec.destination));
                }
            }
            ExchangeKind::Topic | ExchangeKind::Headers | ExchangeKind::ConsistentHash => {
                match self.compiled(exchange.id) {
                    Compiled::Patterns(trie) => {
                        for key in keys {
                            self.bindings_by_key(exchange.id, key).for_each(|it| each(it.spec.destination));
                            trie.find_tokens(words(key), |place| place.0.iter().copied().for_each(&mut each));
                        }
                    }
                    Compiled::Filters(filters) => {
                        let takes = filters.iter().filter(|(filter, _)| filter.takes(record));
                        takes.for_each(|&(_, destination)| each(destination));
                    }
                    Compiled::Ring(ring) => {
                        for key in keys {
                            on_ring(ring, by(&exchange.hash_on, key, record.headers))
                                .into_iter()
                                .for_each(&mut each);
                        }
                    }
                    Compiled::Nothing => {}
                }
            }
        }
    }
}

/// The bytes that decide a record's share.
fn by<'a>(hash_on: &HashOn, key: &'a [u8], headers: &'a [Header]) -> &'a [u8] {
    match hash_on {
        HashOn::Key => key,
        HashOn::Header(name) => {
            let header = headers.iter().find(|header| header.key == name);
            header.and_then(|header| header.value.as_deref()).unwrap_or_default()
        }
    }
}

fn on_ring(ring: &[(u64, Destination)], by: &[u8]) -> Option<Destination> {
    let at = hash(by.iter());
    let index = ring.partition_point(|(end, _)| *end < at);
    ring.get(index).or(ring.first()).map(|&(_, destination)| destination)
}

/// Topics by key.
type Routes = HashMap<Box<[u8]>, Arc<[TopicId]>>;

/// What has been found by exchange and key, remembered by one who publishes, until the catalog changes. What depends on
/// headers or the body is found anew each time.
#[derive(Default)]
pub struct Router {
    version: u64,
    known: HashMap<ExchangeId, Routes>,
    len: usize,
    bytes: usize,
}

/// Stands for the default exchange: ids begin at 1.
const NAMES: ExchangeId = ExchangeId(0);

impl Router {
    /// As [`Catalog::route`] of one key.
    pub fn route(
        &mut self,
        catalog: &Catalog,
        exchange: &Exchange,
        key: &[u8],
        record: &Seen<'_>,
    ) -> Arc<[TopicId]> {
        self.look_again(catalog);
        if !catalog.routes_by_key(exchange.id) {
            return catalog.route(exchange.id, &[key], record).into();
        }
        self.remember(exchange.id, key, || catalog.route(exchange.id, &[key], record).into())
    }

    /// As [`Catalog::addressed`]. A router serves one namespace.
    pub fn addressed(&mut self, catalog: &Catalog, namespace: &str, name: &[u8]) -> Arc<[TopicId]> {
        self.look_again(catalog);
        self.remember(NAMES, name, || catalog.addressed(namespace, name).into_iter().collect())
    }

    /// Forgets what may have changed, and what is too much.
    fn look_again(&mut self, catalog: &Catalog) {
        let is_too_much = self.bytes > ROUTES_KNOWN_BYTES || self.len >= ROUTES_KNOWN;
        if self.version != catalog.version || is_too_much {
            *self = Self { version: catalog.version, ..Self::default() };
        }
    }

    fn remember(
        &mut self,
        exchange: ExchangeId,
        key: &[u8],
        find: impl FnOnce() -> Arc<[TopicId]>,
    ) -> Arc<[TopicId]> {
        if let Some(found) = self.known.get(&exchange).and_then(|routes| routes.get(key)) {
            return Arc::clone(found);
        }
        let found = find();
        self.len += 1;
        self.bytes += key.len() + size_of_val(&*found) + 64;
        self.known.entry(exchange).or_default().insert(key.into(), Arc::clone(&found));
        found
    }
}

/// The words of a routing key. An empty key has none, so `*` does not match it. Source: RabbitMQ `rabbit_exchange_type_topic`.
fn words(key: &[u8]) -> impl Iterator<Item = &[u8]> {
    key.split(|byte| *byte == SEPARATOR).take(if key.is_empty() { 0 } else { usize::MAX })
}
