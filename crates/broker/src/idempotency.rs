//! Idempotency keys as they come with records, and as they are remembered.
//!
//! ```text
//! scope u8 (0 topic, 1 records without a key, 2 records of a key) | for 2: length u32, the record's key | idempotency key
//! ```

use std::sync::Arc;

use duolog_record::{Batch, Header, Offset};

use crate::errors::AppendError;
use crate::limits::{DECODED_BATCH_BYTES, DEDUP_KEY_BYTES};
use crate::{DedupPolicy, NewRecord, headers};

/// An idempotency key within its topic: its scope and the key itself.
pub(crate) type ScopedKey = Arc<[u8]>;

/// One for each record of a batch; empty if none has a key.
pub(crate) type BatchKeys = Vec<Option<ScopedKey>>;

/// The key of one record in the scope of a topic that deduplicates.
pub(crate) fn scoped(
    policy: &DedupPolicy,
    record_key: Option<&[u8]>,
    key: &[u8],
) -> Result<ScopedKey, AppendError> {
    if key.is_empty() || key.len() > DEDUP_KEY_BYTES {
        return Err(AppendError::Malformed("an idempotency key has 1 to 1024 bytes"));
    }
    let mut scoped = Vec::with_capacity(5 + record_key.map_or(0, <[u8]>::len) + key.len());
    match record_key {
        _ if !policy.per_key => scoped.push(0),
        None => scoped.push(1),
        Some(record_key) => {
            let length = u32::try_from(record_key.len())
                .map_err(|_| AppendError::Malformed("a key is longer than a batch may be"))?;
            scoped.push(2);
            scoped.extend_from_slice(&length.to_be_bytes());
            scoped.extend_from_slice(record_key);
        }
    }
    scoped.extend_from_slice(key);
    Ok(scoped.into())
}

/// The key of a record that is published.
pub(crate) fn of_record(policy: &DedupPolicy, record: &NewRecord) -> Result<Option<ScopedKey>, AppendError> {
    let key = record.idempotency_key.as_deref();
    key.map(|key| scoped(policy, record.key.as_deref(), key)).transpose()
}

/// The keys that the records of a batch carry in their headers; opens the batch.
///
/// # Errors
/// `Malformed` if a record cannot be decoded: what is not understood cannot be told from its duplicate.
pub(crate) fn of_batch(policy: &DedupPolicy, batch: &Batch) -> Result<BatchKeys, AppendError> {
    const UNREADABLE: AppendError =
        AppendError::Malformed("records that cannot be decoded, on a topic that deduplicates");
    let mut keys = BatchKeys::new();
    let records = batch.records(Offset(0), DECODED_BATCH_BYTES).map_err(|_| UNREADABLE)?;
    for record in records {
        let record = record.map_err(|_| UNREADABLE)?;
        let key = in_headers(&record.headers);
        keys.push(key.map(|key| scoped(policy, record.key.as_deref(), key)).transpose()?);
    }
    if keys.iter().all(Option::is_none) {
        keys.clear();
    }
    Ok(keys)
}

fn in_headers(headers: &[Header]) -> Option<&[u8]> {
    headers.iter().find(|header| header.key == headers::IDEMPOTENCY_KEY)?.value.as_deref()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::scoped;
    use crate::DedupPolicy;
    use crate::limits::DEDUP_KEY_BYTES;

    #[test]
    fn scopes_never_meet() {
        let by_topic = DedupPolicy { window_ms: 1, per_key: false };
        let by_key = DedupPolicy { window_ms: 1, per_key: true };
        assert_eq!(scoped(&by_topic, Some(b"a"), b"k").unwrap(), scoped(&by_topic, None, b"k").unwrap());
        let all = [
            scoped(&by_topic, None, b"bk").unwrap(),
            scoped(&by_key, None, b"bk").unwrap(),
            scoped(&by_key, Some(b""), b"bk").unwrap(),
            scoped(&by_key, Some(b"b"), b"k").unwrap(),
        ];
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
    }

    #[test]
    fn an_empty_or_long_key_is_refused() {
        let policy = DedupPolicy { window_ms: 1, per_key: false };
        assert!(scoped(&policy, None, b"").is_err());
        assert!(scoped(&policy, None, &vec![b'k'; DEDUP_KEY_BYTES]).is_ok());
        assert!(scoped(&policy, None, &vec![b'k'; DEDUP_KEY_BYTES + 1]).is_err());
    }
}
