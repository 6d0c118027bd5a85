//! Exchanges of the type `x-delayed-message`: what says `x-delay` enters its queues that many milliseconds later.
//!
//! The broker keeps it meanwhile, durable, in each of the queues that were bound when it came; RabbitMQ's plugin keeps it in the
//! exchange. As there, what is delayed says so with a negative `x-delay` when it comes, so that it is not delayed once more where it is
//! published again, and is returned if it is mandatory.
//! Source: README of the RabbitMQ delayed message exchange plugin.

use bytes::Bytes;
use duolog_broker::NewRecord;
use duolog_record::Header;

use super::AmqpSession;
use crate::codec::{Properties, Scalar, ValueRef};
use crate::convert::TYPE_PREFIX;
use crate::labels;

/// The type.
pub(super) const DELAYED: &str = "x-delayed-message";
/// The argument that says how it routes.
pub(super) const DELAYED_TYPE: &str = "x-delayed-type";
const DELAY: &str = "x-delay";

impl AmqpSession {
    /// Milliseconds by which an exchange delays a message; `None` is not at all.
    pub(super) fn delay_ms(&self, exchange: &[u8], properties: &Properties<'_>) -> Option<u64> {
        let asked = milliseconds(properties.headers?.get(DELAY)?)?;
        let name = std::str::from_utf8(exchange).ok().filter(|name| !name.is_empty())?;
        let exchange = self.catalog.exchange(&self.namespace, name)?;
        labels::is_delayed(exchange).then_some(asked)
    }
}

/// A time that is to pass; none that is over.
fn milliseconds(value: ValueRef<'_>) -> Option<u64> {
    let number = match value {
        ValueRef::Scalar(Scalar::Double(it)) => whole(it),
        ValueRef::Scalar(Scalar::Float(it)) => whole(it.into()),
        value => value.as_integer().or_else(|| value.as_str()?.parse().ok())?,
    };
    u64::try_from(number).ok().filter(|ms| *ms > 0)
}

/// Without what is behind the point.
#[allow(clippy::cast_possible_truncation, reason = "what is too large is as large as it gets")]
fn whole(number: f64) -> i64 {
    number as i64
}

/// Lets a record wait, and writes into it that it has.
pub(super) fn delay(record: &mut NewRecord, ms: u64) {
    record.delay_ms = Some(ms);
    let typed = [TYPE_PREFIX, DELAY.as_bytes()].concat();
    record.headers.retain(|it| it.key != DELAY && it.key != typed);
    let value = |text: String| Some(Bytes::from(text));
    record.headers.push(Header { key: typed.into(), value: value("Number.int64".to_owned()) });
    record.headers.push(Header { key: DELAY.into(), value: value(format!("-{ms}")) });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::LongStr;

    #[test]
    fn a_delay_is_a_number_of_milliseconds_that_is_to_pass() {
        let of = |scalar| milliseconds(ValueRef::Scalar(scalar));
        assert_eq!(of(Scalar::Int(5)), Some(5));
        assert_eq!(of(Scalar::Double(5.9)), Some(5));
        assert_eq!(of(Scalar::Double(f64::NAN)), None);
        assert_eq!((of(Scalar::Long(0)), of(Scalar::Long(-5)), of(Scalar::Bool(true))), (None, None, None));
        assert_eq!(milliseconds(ValueRef::String(LongStr(b"70"))), Some(70));
        assert_eq!(milliseconds(ValueRef::String(LongStr(b"soon"))), None);
    }
}
