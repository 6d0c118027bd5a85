//! The exchanges and bindings of a catalog.
//!
//! Invariant: a binding is in `bindings`, `from` and `to`, and its source is there; what an exchange's labels say of forwards is in
//! `forwards`. What is compiled of an exchange is as old as its
//! last change: a change of its bindings puts a new [`Node`] in its place.

use std::ops::Bound;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::map::Map;
use super::{Catalog, FullName, labels_bytes, order};
use crate::forward::{self, Forward};
use crate::limits::BINDING_OVERHEAD;
use crate::routing::{
    Binding, BindingId, BindingSpec, Compiled, Destination, Exchange, ExchangeId, ExchangeKind, Filter,
    HashOn,
};
use crate::{Labels, TopicId};

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Routes {
    exchanges: Map<ExchangeId, Arc<Node>>,
    names: Map<FullName, ExchangeId>,
    bindings: Map<BindingId, Arc<Binding>>,
    from: Map<(ExchangeId, Bytes, BindingId), ()>,
    to: Map<(Destination, ExchangeId, Bytes, BindingId), ()>,
    forwards: Map<(ExchangeId, TopicId), i64>,
}

/// An exchange and what is known of its bindings together.
#[derive(Debug)]
struct Node {
    exchange: Arc<Exchange>,
    compiled: OnceLock<Compiled>,
    /// So many of them lead to exchanges.
    to_exchanges: usize,
    /// So many of them have a filter.
    filtered: usize,
}

impl Node {
    fn with(&self, to_exchanges: usize, filtered: usize) -> Arc<Self> {
        let exchange = Arc::clone(&self.exchange);
        Arc::new(Self { exchange, compiled: OnceLock::new(), to_exchanges, filtered })
    }
}

/// Bytes of memory that a binding takes, about.
pub(crate) fn binding_bytes(spec: &BindingSpec) -> usize {
    BINDING_OVERHEAD + spec.key.len() + spec.filter.bytes() + labels_bytes(&spec.labels)
}

impl Catalog {
    /// The exchange of this name.
    #[must_use]
    pub fn exchange(&self, namespace: &str, name: &str) -> Option<&Arc<Exchange>> {
        self.exchange_by_id(*self.routes.names.find(|is| order(is, namespace, name))?)
    }

    /// The exchange of this id.
    #[must_use]
    pub fn exchange_by_id(&self, id: ExchangeId) -> Option<&Arc<Exchange>> {
        self.routes.exchanges.get(&id).map(|node| &node.exchange)
    }

    /// All exchanges of a namespace, by name.
    pub fn exchanges<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a Arc<Exchange>> + 'a {
        self.exchanges_from(namespace, "")
    }

    /// The exchanges of a namespace whose names are `first` or come after it, by name.
    pub fn exchanges_from<'a>(
        &'a self,
        namespace: &'a str,
        first: &'a str,
    ) -> impl Iterator<Item = &'a Arc<Exchange>> + 'a {
        self.routes
            .names
            .range_by(move |is| order(is, namespace, first).is_ge())
            .take_while(move |((is, _), _)| is == namespace)
            .filter_map(|(_, id)| self.exchange_by_id(*id))
    }

    /// The namespaces in which there are exchanges.
    #[must_use]
    pub fn namespaces_with_exchanges(&self) -> Vec<String> {
        let behind = |last: Option<&String>| {
            let mut names = self.routes.names.range_by(|(is, _)| last.is_none_or(|last| is > last));
            names.next().map(|((namespace, _), _)| namespace.clone())
        };
        std::iter::successors(behind(None), |last| behind(Some(last))).collect()
    }

    /// The bindings of an exchange, by key.
    pub fn bindings_from(&self, source: ExchangeId) -> impl Iterator<Item = &Arc<Binding>> + '_ {
        self.routes
            .from
            .range_by(move |&(is, _, _)| is >= source)
            .take_while(move |&(&(is, _, _), ())| is == source)
            .filter_map(|((_, _, id), ())| self.routes.bindings.get(id))
    }

    /// Those with this key.
    pub fn bindings_by_key<'a>(
        &'a self,
        source: ExchangeId,
        key: &'a [u8],
    ) -> impl Iterator<Item = &'a Arc<Binding>> + 'a {
        self.routes
            .from
            .range_by(move |(is, its, _)| (*is, &**its) >= (source, key))
            .take_while(move |((is, its, _), ())| (*is, &**its) == (source, key))
            .filter_map(|((_, _, id), ())| self.routes.bindings.get(id))
    }

    /// The bindings that lead here.
    pub fn bindings_to(&self, destination: Destination) -> impl Iterator<Item = &Arc<Binding>> + '_ {
        self.routes
            .to
            .range_by(move |(is, ..)| *is >= destination)
            .take_while(move |((is, ..), ())| *is == destination)
            .filter_map(|((.., id), ())| self.routes.bindings.get(id))
    }

    /// The binding that is this.
    #[must_use]
    pub fn binding(&self, spec: &BindingSpec) -> Option<&Arc<Binding>> {
        let at = (spec.destination, spec.source, &*spec.key);
        self.routes
            .to
            .range_by(move |(to, from, key, _)| (*to, *from, &**key) >= at)
            .take_while(move |((to, from, key, _), ())| (*to, *from, &**key) == at)
            .filter_map(|((.., id), ())| self.routes.bindings.get(id))
            .find(|binding| binding.spec == *spec)
    }

    /// Number of exchanges and of bindings.
    #[must_use]
    pub fn routes_len(&self) -> (usize, usize) {
        (self.routes.exchanges.len(), self.routes.bindings.len())
    }

    /// The forwards whose topics are there, by exchange.
    pub fn forwards(&self) -> impl Iterator<Item = Forward> + '_ {
        self.numbered_forwards().map(|(forward, _)| forward)
    }

    /// The same with their numbers.
    pub(crate) fn numbered_forwards(&self) -> impl Iterator<Item = (Forward, i64)> + '_ {
        let all = self.routes.forwards.iter();
        all.map(|(&(exchange, topic), &number)| (Forward { topic, exchange }, number))
            .filter(|(it, _)| self.topic_by_id(it.topic).is_some())
    }

    /// The number of a forward, if it is there.
    pub(crate) fn number_of(&self, forward: Forward) -> Option<i64> {
        self.topic_by_id(forward.topic)?;
        self.routes.forwards.get(&(forward.exchange, forward.topic)).copied()
    }

    /// Those to an exchange.
    pub fn forwards_to(&self, exchange: ExchangeId) -> impl Iterator<Item = Forward> + '_ {
        self.routes
            .forwards
            .range_by(move |&(is, _)| is >= exchange)
            .take_while(move |&(&(is, _), _)| is == exchange)
            .map(|(&(exchange, topic), _)| Forward { topic, exchange })
            .filter(|it| self.topic_by_id(it.topic).is_some())
    }

    /// The first exchange from a bound on.
    pub(crate) fn next_exchange(&self, from: Bound<ExchangeId>) -> Option<ExchangeId> {
        self.routes.exchanges.range_from(from.as_ref()).next().map(|(id, _)| *id)
    }

    /// The first binding from a bound on.
    pub(crate) fn next_binding(&self, from: Bound<BindingId>) -> Option<BindingId> {
        self.routes.bindings.range_from(from.as_ref()).next().map(|(id, _)| *id)
    }

    pub(crate) fn binding_by_id(&self, id: BindingId) -> Option<&Arc<Binding>> {
        self.routes.bindings.get(&id)
    }

    /// What is compiled of an exchange, made now if it is not.
    pub(crate) fn compiled(&self, id: ExchangeId) -> &Compiled {
        self.routes.exchanges.get(&id).map_or(&Compiled::Nothing, |node| {
            let new = || Compiled::new(node.exchange.kind, self.bindings_from(id).map(|it| &**it));
            node.compiled.get_or_init(new)
        })
    }

    /// True if what an exchange finds depends on the key alone: it looks at no header and no body, and leads to no other that might.
    #[must_use]
    pub fn routes_by_key(&self, id: ExchangeId) -> bool {
        self.routes.exchanges.get(&id).is_none_or(|node| {
            let looks_at_headers = match node.exchange.kind {
                ExchangeKind::Headers => true,
                ExchangeKind::ConsistentHash => node.exchange.hash_on != HashOn::Key,
                ExchangeKind::Fanout => node.filtered != 0,
                ExchangeKind::Direct | ExchangeKind::Topic => false,
            };
            !looks_at_headers && node.to_exchanges == 0 && node.exchange.alternate.is_none()
        })
    }

    /// Adds an exchange.
    pub(crate) fn put_exchange(&mut self, exchange: Exchange) {
        self.version += 1;
        self.labels_bytes += labels_bytes(&exchange.labels);
        self.routes.names.insert((exchange.namespace.clone(), exchange.name.clone()), exchange.id);
        let id = exchange.id;
        self.note_forwards(id, &Labels::new(), &exchange.labels);
        let node =
            Node { exchange: Arc::new(exchange), compiled: OnceLock::new(), to_exchanges: 0, filtered: 0 };
        self.routes.exchanges.insert(id, Arc::new(node));
    }

    /// Takes an exchange away; its bindings are taken away before.
    pub(crate) fn remove_exchange(&mut self, id: ExchangeId) -> Option<Arc<Exchange>> {
        let exchange = Arc::clone(&self.routes.exchanges.remove(&id)?.exchange);
        self.version += 1;
        self.labels_bytes -= labels_bytes(&exchange.labels);
        self.routes.names.remove(&(exchange.namespace.clone(), exchange.name.clone()));
        self.note_forwards(id, &exchange.labels, &Labels::new());
        Some(exchange)
    }

    /// Gives an exchange another alternate and other labels.
    pub(crate) fn change_exchange(&mut self, id: ExchangeId, alternate: Option<String>, labels: Labels) {
        let Some(node) = self.routes.exchanges.get(&id).cloned() else { return };
        self.note_forwards(id, &node.exchange.labels, &labels);
        let exchange = Exchange { alternate, labels, ..Exchange::clone(&node.exchange) };
        let (before, now) = (labels_bytes(&node.exchange.labels), labels_bytes(&exchange.labels));
        let (to_exchanges, filtered) = (node.to_exchanges, node.filtered);
        let exchange = Arc::new(exchange);
        let node = Node { exchange, compiled: OnceLock::new(), to_exchanges, filtered };
        self.routes.exchanges.insert(id, Arc::new(node));
        self.labels_bytes = self.labels_bytes - before + now;
        self.version += 1;
    }

    fn note_forwards(&mut self, id: ExchangeId, before: &Labels, now: &Labels) {
        let [before, now] = [before, now].map(forward::topics_in);
        for (topic, _) in before {
            self.routes.forwards.remove(&(id, topic));
        }
        for (topic, number) in now {
            self.routes.forwards.insert((id, topic), number);
        }
    }

    /// Adds a binding between what is there.
    pub(crate) fn put_binding(&mut self, binding: Binding) {
        self.version += 1;
        let Binding { id, spec } = &binding;
        self.labels_bytes += binding_bytes(spec);
        self.routes.from.insert((spec.source, spec.key.clone(), *id), ());
        self.routes.to.insert((spec.destination, spec.source, spec.key.clone(), *id), ());
        self.note_bound(spec, usize::saturating_add);
        self.routes.bindings.insert(*id, Arc::new(binding));
    }

    /// Takes a binding away.
    pub(crate) fn remove_binding(&mut self, id: BindingId) -> Option<Arc<Binding>> {
        let binding = self.routes.bindings.remove(&id)?;
        self.version += 1;
        let spec = &binding.spec;
        self.labels_bytes -= binding_bytes(spec);
        self.routes.from.remove(&(spec.source, spec.key.clone(), id));
        self.routes.to.remove(&(spec.destination, spec.source, spec.key.clone(), id));
        self.note_bound(spec, usize::saturating_sub);
        Some(binding)
    }

    fn note_bound(&mut self, spec: &BindingSpec, change: impl Fn(usize, usize) -> usize) {
        let to_one = usize::from(matches!(spec.destination, Destination::Exchange(_)));
        let has_one = usize::from(spec.filter != Filter::All);
        if let Some(node) = self.routes.exchanges.get(&spec.source) {
            let node = node.with(change(node.to_exchanges, to_one), change(node.filtered, has_one));
            self.routes.exchanges.insert(spec.source, node);
        }
    }
}
