//! A message becomes a record.

use bytes::Bytes;
use duolog_broker::{NewRecord, headers};
use duolog_record::Header;

use super::{TRACE_HEADER, TYPE_PREFIX};

/// An attribute whose name, type and value were checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attribute {
    /// Name.
    pub name: Bytes,
    /// `DataType`.
    pub data_type: String,
    /// Value, decoded.
    pub value: Bytes,
}

/// The record of a message.
pub(crate) fn new_record(
    body: Bytes,
    group: Option<Bytes>,
    attributes: &[Attribute],
    trace: Option<Bytes>,
    dedup_id: Option<Bytes>,
    delay_ms: Option<u64>,
) -> NewRecord {
    let typed = attributes.iter().filter(|attribute| attribute.data_type != "String").count();
    let mut kept = Vec::with_capacity(attributes.len() + typed + 2);
    for attribute in attributes {
        kept.push(Header { key: attribute.name.clone(), value: Some(attribute.value.clone()) });
        if attribute.data_type != "String" {
            let key = [TYPE_PREFIX.as_bytes(), &attribute.name].concat();
            let value = Bytes::copy_from_slice(attribute.data_type.as_bytes());
            kept.push(Header { key: key.into(), value: Some(value) });
        }
    }
    if let Some(trace) = trace {
        kept.push(Header { key: Bytes::from_static(TRACE_HEADER.as_bytes()), value: Some(trace) });
    }
    if let Some(id) = &dedup_id {
        let key = Bytes::from_static(headers::IDEMPOTENCY_KEY.as_bytes());
        kept.push(Header { key, value: Some(id.clone()) });
    }
    NewRecord {
        key: group,
        value: Some(body),
        headers: kept,
        idempotency_key: dedup_id,
        delay_ms,
        ..NewRecord::default()
    }
}
