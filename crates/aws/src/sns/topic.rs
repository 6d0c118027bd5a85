//! A topic: an exchange of kind fanout whose name SNS could have given.

use std::sync::Arc;

use duolog_broker::catalog::DEFAULT_NAMESPACE;
use duolog_broker::routing::{Exchange, ExchangeKind};
use duolog_broker::{Catalog, Labels};

use super::{Call, SnsError};
use crate::codec::{arn, rules};
use crate::settings::is_fifo;

/// The topic of this name.
pub(super) fn named<'c>(catalog: &'c Catalog, name: &str) -> Option<&'c Arc<Exchange>> {
    catalog.exchange(DEFAULT_NAMESPACE, name).filter(|exchange| is_topic(exchange))
}

/// True for an exchange that is shown as a topic.
pub(super) fn is_topic(exchange: &Exchange) -> bool {
    exchange.kind == ExchangeKind::Fanout && rules::is_topic_name(&exchange.name)
}

/// True if messages are in order in it.
pub(super) fn is_ordered(exchange: &Exchange) -> bool {
    is_fifo(&exchange.name)
}

/// The name in a topic's ARN.
pub(super) fn name_in<'a>(parameter: &str, text: &'a str) -> Result<&'a str, SnsError> {
    let parts = text.split(':').count();
    if parts < 6 {
        let reason = format!("An ARN must have at least 6 elements, not {parts}");
        return Err(SnsError::invalid_because(parameter, reason));
    }
    arn::topic_name(text).ok_or_else(|| SnsError::invalid_because(parameter, "it is not the ARN of a topic"))
}

impl Call<'_> {
    /// The topic whose ARN is the parameter's value.
    pub(super) fn topic(&self, parameter: &str) -> Result<Arc<Exchange>, SnsError> {
        let name = name_in(parameter, self.params.required(parameter)?)?;
        named(&self.session().catalog(), name).cloned().ok_or_else(SnsError::no_topic)
    }

    /// Changes the labels of a topic: from what they are now, and anew if somebody else was faster.
    pub(super) async fn change_topic(
        &self,
        parameter: &str,
        change: impl Fn(&Exchange, &mut Labels) -> Result<(), SnsError>,
    ) -> Result<(), SnsError> {
        loop {
            let topic = self.topic(parameter)?;
            let mut labels = topic.labels.clone();
            change(&topic, &mut labels)?;
            let alternate = topic.alternate.clone();
            if labels == topic.labels || self.session().set_exchange(&topic, alternate, labels).await? {
                return Ok(());
            }
        }
    }
}
