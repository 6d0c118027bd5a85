//! Exchanges and bindings: declared, bound, unbound, deleted. Records do not come here: see `crate::routing`.

use std::collections::BTreeMap;

use bytes::Bytes;
use duolog_record::Timestamp;

use super::Core;
use super::command::Reply;
use super::topics::check_name;
use super::verdict::when_durable;
use crate::catalog::binding_bytes;
use crate::errors::ChangeError;
use crate::limits::{
    BINDING_KEY_BYTES, BINDINGS, EXCHANGES, FILTER_BYTES, HASH_WEIGHT_MAX, LABELS_BYTES_ALL, RULES_BYTES,
};
use crate::routing::{
    Binding, BindingId, BindingSpec, Destination, Exchange, ExchangeId, ExchangeKind, ExchangeSpec, Filter,
    HashOn, Match, Rules, RulesError, RulesOn, weight,
};
use crate::state::{BindingValue, EndValue, ExchangeKindValue, ExchangeValue, FilterValue, Owner};
use crate::{Labels, Now, QueueId, TopicId};

fn invalid(what: &'static str, why: &str) -> ChangeError {
    ChangeError::Invalid { what, why: why.to_owned() }
}

fn no_exchange() -> ChangeError {
    ChangeError::NotFound("the exchange".to_owned())
}

impl Core {
    pub(super) fn create_exchange(
        &mut self,
        now: Now,
        spec: ExchangeSpec,
        reply: Reply<ExchangeId, ChangeError>,
    ) {
        match self.check_exchange(&spec) {
            Ok(()) => {
                let id = ExchangeId(self.new_route_id());
                let ExchangeSpec { namespace, name, kind, hash_on, alternate, labels } = spec;
                let created_at = now.wall;
                self.catalog.put_exchange(Exchange {
                    id,
                    namespace,
                    name,
                    kind,
                    hash_on,
                    alternate,
                    created_at,
                    labels,
                });
                self.note_routes(Owner::Exchange(id.0));
                self.answer_when_durable(when_durable(reply, id));
            }
            Err(error) => self.refuse_declaration(reply, error),
        }
    }

    fn check_exchange(&self, spec: &ExchangeSpec) -> Result<(), ChangeError> {
        check_name("namespace", &spec.namespace)?;
        check_name("name", &spec.name)?;
        if let Some(alternate) = &spec.alternate {
            check_name("alternate", alternate)?;
        }
        self.check_labels(&spec.labels, &Labels::new())?;
        if self.catalog.exchange(&spec.namespace, &spec.name).is_some() {
            return Err(ChangeError::Exists(spec.name.clone()));
        }
        if self.catalog.routes_len().0 >= EXCHANGES {
            return Err(ChangeError::OverLimit("the broker holds as many exchanges as it may"));
        }
        Ok(())
    }

    /// Exchanges and bindings share the counter of queues.
    fn new_route_id(&mut self) -> u64 {
        let id = self.counters.next_queue;
        self.counters.next_queue += 1;
        id
    }

    fn note_routes(&mut self, owner: Owner) {
        self.catalog_changed = true;
        self.dirty.extend([Owner::Broker, owner]);
    }

    pub(super) fn delete_exchange(&mut self, id: ExchangeId, if_unused: bool, reply: Reply<(), ChangeError>) {
        let is_there = self.catalog.exchange_by_id(id).is_some();
        let is_used = is_there && self.catalog.bindings_from(id).next().is_some();
        if !is_there {
            return drop(reply.send(Err(no_exchange())));
        }
        if if_unused && is_used {
            return drop(reply.send(Err(ChangeError::InUse("the exchange has bindings"))));
        }
        let from: Vec<_> = self.catalog.bindings_from(id).map(|it| it.id).collect();
        from.into_iter().for_each(|binding| self.remove_binding(binding));
        self.forget_bindings_to(Destination::Exchange(id));
        self.catalog.remove_exchange(id);
        self.note_routes(Owner::Exchange(id.0));
        self.answer_when_durable(when_durable(reply, ()));
    }

    /// What was bound is gone.
    pub(super) fn forget_bindings_to(&mut self, destination: Destination) {
        let to: Vec<_> = self.catalog.bindings_to(destination).map(|it| it.id).collect();
        to.into_iter().for_each(|binding| self.remove_binding(binding));
    }

    fn remove_binding(&mut self, id: BindingId) {
        self.catalog.remove_binding(id);
        self.note_routes(Owner::Binding(id.0));
    }

    pub(super) fn bind(&mut self, spec: BindingSpec, reply: Reply<BindingId, ChangeError>) {
        let known = self.catalog.binding(&spec).map(|it| it.id);
        match known.map_or_else(|| self.check_binding(&spec).map(|()| None), |id| Ok(Some(id))) {
            Ok(known) => {
                let id = known.unwrap_or_else(|| self.add_binding(spec));
                self.answer_when_durable(when_durable(reply, id));
            }
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    fn add_binding(&mut self, spec: BindingSpec) -> BindingId {
        let id = BindingId(self.new_route_id());
        self.catalog.put_binding(Binding { id, spec });
        self.note_routes(Owner::Binding(id.0));
        id
    }

    fn check_binding(&self, spec: &BindingSpec) -> Result<(), ChangeError> {
        let source = self.catalog.exchange_by_id(spec.source).ok_or_else(no_exchange)?;
        let namespace = match spec.destination {
            Destination::Queue(id) => self.catalog.queue_by_id(id).map(|it| &it.namespace),
            Destination::Topic(id) => self.catalog.topic_by_id(id).map(|it| &it.namespace),
            Destination::Exchange(id) => self.catalog.exchange_by_id(id).map(|it| &it.namespace),
        };
        if namespace.ok_or_else(|| ChangeError::NotFound("the destination".to_owned()))? != &source.namespace
        {
            return Err(invalid("destination", "it is in another namespace than the exchange"));
        }
        if spec.key.len() > BINDING_KEY_BYTES {
            return Err(invalid("key", "it is longer than 255 bytes"));
        }
        if source.kind == ExchangeKind::ConsistentHash && weight(&spec.key).is_none() {
            let why = format!("it is the weight of the destination, a number from 1 to {HASH_WEIGHT_MAX}");
            return Err(invalid("key", &why));
        }
        check_filter(source.kind, &spec.filter)?;
        self.check_labels(&spec.labels, &Labels::new())?;
        // Keys and filters count with the labels: see `limits::LABELS_BYTES_ALL`.
        if self.catalog.labels_bytes + binding_bytes(spec) > LABELS_BYTES_ALL {
            let all =
                "bindings and the labels of all topics and queues take as much memory as they may (256 MiB)";
            return Err(ChangeError::OverLimit(all));
        }
        if self.catalog.routes_len().1 >= BINDINGS {
            return Err(ChangeError::OverLimit("the broker holds as many bindings as it may"));
        }
        Ok(())
    }

    pub(super) fn set_exchange(
        &mut self,
        known: &Exchange,
        alternate: Option<String>,
        labels: Labels,
        reply: Reply<bool, ChangeError>,
    ) {
        let id = known.id;
        let Some(is) = self.catalog.exchange_by_id(id).cloned() else {
            return drop(reply.send(Err(no_exchange())));
        };
        if (&is.labels, &is.alternate) != (&known.labels, &known.alternate) {
            return self.answer_when_durable(when_durable(reply, false));
        }
        let checked = alternate.as_deref().map_or(Ok(()), |name| check_name("alternate", name));
        match checked.and_then(|()| self.check_labels(&labels, &is.labels)) {
            Ok(()) => {
                self.catalog.change_exchange(id, alternate, labels);
                self.note_routes(Owner::Exchange(id.0));
                self.answer_when_durable(when_durable(reply, true));
            }
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    /// The binding keeps its identity, so that a restart finds one of the two.
    pub(super) fn rebind(&mut self, known: &Binding, spec: BindingSpec, reply: Reply<bool, ChangeError>) {
        if self.catalog.binding_by_id(known.id).is_none_or(|is| **is != *known) {
            return self.answer_when_durable(when_durable(reply, false));
        }
        if self.catalog.binding(&spec).is_some_and(|it| it.id != known.id) {
            return drop(reply.send(Err(ChangeError::Exists("the binding".to_owned()))));
        }
        self.catalog.remove_binding(known.id);
        let checked = self.check_binding(&spec);
        let spec = if checked.is_ok() { spec } else { known.spec.clone() };
        self.catalog.put_binding(Binding { id: known.id, spec });
        match checked {
            Ok(()) => {
                self.note_routes(Owner::Binding(known.id.0));
                self.answer_when_durable(when_durable(reply, true));
            }
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    pub(super) fn unbind(&mut self, spec: &BindingSpec, reply: Reply<bool, ChangeError>) {
        let known = self.catalog.binding(spec).map(|it| it.id);
        if let Some(id) = known {
            self.remove_binding(id);
        }
        self.answer_when_durable(when_durable(reply, known.is_some()));
    }

    /// Exchanges and bindings as they were written.
    pub(super) fn take_routes(
        &mut self,
        exchanges: BTreeMap<u64, ExchangeValue>,
        bindings: BTreeMap<u64, BindingValue>,
    ) {
        for (id, value) in exchanges {
            self.catalog.put_exchange(exchange_of(ExchangeId(id), value));
        }
        for (id, value) in bindings {
            // That of another kind, and rules that are none, were refused by the check of the fold.
            if let Some(spec) = binding_of(value) {
                self.catalog.put_binding(Binding { id: BindingId(id), spec });
            }
        }
    }
}

/// Which filters an exchange looks at, and how large they may be.
fn check_filter(kind: ExchangeKind, filter: &Filter) -> Result<(), ChangeError> {
    match (filter, kind) {
        (Filter::All, _) => Ok(()),
        (Filter::Rules(_), ExchangeKind::Direct | ExchangeKind::Topic | ExchangeKind::ConsistentHash) => {
            Err(invalid("filter", "only exchanges of kind fanout and headers look at rules"))
        }
        (Filter::Rules(rules), ExchangeKind::Fanout | ExchangeKind::Headers) => match rules.text().len() {
            0..=RULES_BYTES => Ok(()),
            _ => Err(invalid("filter", "it is longer than 256 KiB")),
        },
        (Filter::Every(_) | Filter::Some(_), ExchangeKind::Headers) => match filter.bytes() {
            0..=FILTER_BYTES => Ok(()),
            _ => Err(invalid("filter", "it is longer than 64 KiB")),
        },
        (Filter::Every(_) | Filter::Some(_), _) => {
            Err(invalid("filter", "only exchanges of kind headers look at one"))
        }
    }
}

/// Rules as they were written.
///
/// # Errors
/// If no broker wrote them.
pub(super) fn rules_of(body: bool, text: &str) -> Result<Rules, RulesError> {
    Rules::parse(if body { RulesOn::Body } else { RulesOn::Headers }, text)
}

pub(super) fn exchange_value(exchange: &Exchange) -> ExchangeValue {
    ExchangeValue {
        namespace: exchange.namespace.clone(),
        name: exchange.name.clone(),
        kind: match exchange.kind {
            ExchangeKind::Direct => ExchangeKindValue::Direct,
            ExchangeKind::Fanout => ExchangeKindValue::Fanout,
            ExchangeKind::Topic => ExchangeKindValue::Topic,
            ExchangeKind::Headers => ExchangeKindValue::Headers,
            ExchangeKind::ConsistentHash => ExchangeKindValue::ConsistentHash,
        },
        hash_header: match &exchange.hash_on {
            HashOn::Key => None,
            HashOn::Header(name) => Some(name.to_vec()),
        },
        alternate: exchange.alternate.clone(),
        created_at: exchange.created_at.0,
        labels: exchange.labels.clone(),
    }
}

fn exchange_of(id: ExchangeId, value: ExchangeValue) -> Exchange {
    Exchange {
        id,
        namespace: value.namespace,
        name: value.name,
        kind: match value.kind {
            ExchangeKindValue::Direct => ExchangeKind::Direct,
            ExchangeKindValue::Fanout => ExchangeKind::Fanout,
            ExchangeKindValue::Topic => ExchangeKind::Topic,
            ExchangeKindValue::Headers => ExchangeKind::Headers,
            ExchangeKindValue::ConsistentHash => ExchangeKind::ConsistentHash,
        },
        hash_on: value.hash_header.map_or(HashOn::Key, |name| HashOn::Header(name.into())),
        alternate: value.alternate,
        created_at: Timestamp(value.created_at),
        labels: value.labels,
    }
}

pub(super) fn binding_value(spec: &BindingSpec) -> BindingValue {
    let matches = |all: &[Match]| {
        all.iter().map(|it| (it.name.to_vec(), it.value.as_ref().map(|value| value.to_vec()))).collect()
    };
    BindingValue {
        source: EndValue::Exchange(spec.source.0),
        destination: match spec.destination {
            Destination::Queue(id) => EndValue::Queue(id.0),
            Destination::Topic(id) => EndValue::Topic(id.0),
            Destination::Exchange(id) => EndValue::Exchange(id.0),
        },
        key: spec.key.to_vec(),
        filter: match &spec.filter {
            Filter::All => FilterValue::All,
            Filter::Every(all) => FilterValue::Every(matches(all)),
            Filter::Some(all) => FilterValue::Some(matches(all)),
            Filter::Rules(rules) => {
                FilterValue::Rules { body: rules.on() == RulesOn::Body, text: rules.text().to_owned() }
            }
        },
        labels: spec.labels.clone(),
    }
}

fn binding_of(value: BindingValue) -> Option<BindingSpec> {
    let matches = |all: Vec<(Vec<u8>, Option<Vec<u8>>)>| {
        all.into_iter()
            .map(|(name, value)| Match { name: name.into(), value: value.map(Bytes::from) })
            .collect()
    };
    let EndValue::Exchange(source) = value.source else { return None };
    Some(BindingSpec {
        source: ExchangeId(source),
        destination: match value.destination {
            EndValue::Queue(id) => Destination::Queue(QueueId(id)),
            EndValue::Topic(id) => Destination::Topic(TopicId(id)),
            EndValue::Exchange(id) => Destination::Exchange(ExchangeId(id)),
        },
        key: value.key.into(),
        filter: match value.filter {
            FilterValue::All => Filter::All,
            FilterValue::Every(all) => Filter::Every(matches(all)),
            FilterValue::Some(all) => Filter::Some(matches(all)),
            FilterValue::Rules { body, text } => Filter::Rules(rules_of(body, &text).ok()?.into()),
        },
        labels: value.labels,
    })
}
