//! The verbs of exchanges and bindings, and of what is published through them.

use std::sync::Arc;

use super::{Pending, Session, refused};
use crate::core::Command;
use crate::errors::{AppendError, ChangeError};
use crate::routing::{Binding, BindingId, BindingSpec, Exchange, ExchangeId, ExchangeSpec};
use crate::{Action, Advance, Labels, Routed, TopicId};

impl Session {
    /// Publishes records to the topics that [`Catalog::route`] found for each: all of one call are one commit, and what goes to
    /// many topics is stored once. One result for each record, in order; `NotFound` if none of its topics is there any more.
    pub fn route(&self, records: Vec<Routed>) -> Pending<Result<Vec<Result<(), AppendError>>, AppendError>> {
        self.route_as(records, false, None)
    }

    /// The same, all or none: one that a topic cannot take refuses the others, too.
    pub fn route_all(
        &self,
        records: Vec<Routed>,
    ) -> Pending<Result<Vec<Result<(), AppendError>>, AppendError>> {
        self.route_as(records, true, None)
    }

    /// The same, and a cursor moves with them.
    pub(crate) fn route_on(
        &self,
        records: Vec<Routed>,
        advance: Advance,
    ) -> Pending<Result<Vec<Result<(), AppendError>>, AppendError>> {
        self.route_as(records, true, Some(advance))
    }

    fn route_as(
        &self,
        records: Vec<Routed>,
        whole: bool,
        advance: Option<Advance>,
    ) -> Pending<Result<Vec<Result<(), AppendError>>, AppendError>> {
        let mut topics: Vec<TopicId> = records.iter().flat_map(|it| it.topics.iter().copied()).collect();
        topics.sort_unstable();
        topics.dedup();
        if !topics.into_iter().all(|topic| self.may_on_topic(Action::Produce, topic)) {
            return refused(AppendError::Denied);
        }
        self.ask(|reply| Command::Route { records, whole, advance, reply })
    }

    /// Declares an exchange.
    pub fn create_exchange(&self, spec: ExchangeSpec) -> Pending<Result<ExchangeId, ChangeError>> {
        if !self.may(Action::Manage, &spec.name) {
            return refused(ChangeError::Denied);
        }
        self.ask(|reply| Command::CreateExchange { spec: Box::new(spec), reply })
    }

    /// Deletes an exchange and its bindings; `InUse` if it has bindings of its own and is to be deleted only without.
    pub fn delete_exchange(&self, exchange: ExchangeId, if_unused: bool) -> Pending<Result<(), ChangeError>> {
        if !self.may_on_exchange(Action::Manage, exchange) {
            return refused(ChangeError::Denied);
        }
        self.ask(|reply| Command::DeleteExchange { exchange, if_unused, reply })
    }

    /// Binds; one that is the same is the answer. Holds for what is routed with a catalog read after the answer.
    pub fn bind(&self, spec: BindingSpec) -> Pending<Result<BindingId, ChangeError>> {
        if !self.may_on_exchange(Action::Manage, spec.source) {
            return refused(ChangeError::Denied);
        }
        self.ask(|reply| Command::Bind { spec: Box::new(spec), reply })
    }

    /// Undoes a binding; false if there is none such.
    pub fn unbind(&self, spec: BindingSpec) -> Pending<Result<bool, ChangeError>> {
        if !self.may_on_exchange(Action::Manage, spec.source) {
            return refused(ChangeError::Denied);
        }
        self.ask(|reply| Command::Unbind { spec: Box::new(spec), reply })
    }

    /// Replaces the alternate and the labels of an exchange, if it is still what `known` says: see [`Self::set_topic`].
    pub fn set_exchange(
        &self,
        known: &Arc<Exchange>,
        alternate: Option<String>,
        labels: Labels,
    ) -> Pending<Result<bool, ChangeError>> {
        if !self.may_on_exchange(Action::Manage, known.id) {
            return refused(ChangeError::Denied);
        }
        let known = Arc::clone(known);
        self.ask(|reply| Command::SetExchange { known, alternate, labels, reply })
    }

    /// Puts a binding in the place of `known`, in one step and under its identity, if that is still there as it is known. Else nothing
    /// is done, and the answer is `false`. `Exists` if another binding is the same.
    pub fn rebind(&self, known: &Arc<Binding>, spec: BindingSpec) -> Pending<Result<bool, ChangeError>> {
        let may = |exchange| self.may_on_exchange(Action::Manage, exchange);
        if !may(known.spec.source) || !may(spec.source) {
            return refused(ChangeError::Denied);
        }
        let (known, spec) = (Arc::clone(known), Box::new(spec));
        self.ask(|reply| Command::Rebind { known, spec, reply })
    }
}
