//! Idempotency keys as they come with records, and as they are remembered.
//!
//! ```text
//! scope u8 (0 topic, 1 records without a key, 2 records of a key) | for 2: length u32, the record's key | idempotency key
//! ```

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::ops::Deref;
use std::sync::{Arc, LazyLock};

use duolog_record::{Batch, Header, Offset};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::errors::AppendError;
use crate::limits::{DECODED_BATCH_BYTES, DEDUP_BATCH_BYTES, DEDUP_KEY_BYTES};
use crate::{DedupPolicy, NewRecord, headers};

/// Nothing depends on the order of keys, so their hashes may be others in each run.
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// An idempotency key within its topic: its scope and the key itself. Hashed by who brings it, so that the core need not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ScopedKey {
    hash: u64,
    bytes: Arc<[u8]>,
}

impl ScopedKey {
    /// The same for equal keys, until the process ends.
    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }
}

impl From<&[u8]> for ScopedKey {
    fn from(bytes: &[u8]) -> Self {
        Self { hash: HASHER.hash_one(bytes), bytes: bytes.into() }
    }
}

impl Deref for ScopedKey {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Serialize for ScopedKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self)
    }
}

impl<'de> Deserialize<'de> for ScopedKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&[u8]>::deserialize(deserializer).map(Self::from)
    }
}

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
    Ok(scoped.as_slice().into())
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
    let mut bytes = 0;
    let records = batch.records(Offset(0), DECODED_BATCH_BYTES).map_err(|_| UNREADABLE)?;
    let count = records.left() as usize;
    for (index, record) in records.enumerate() {
        let record = record.map_err(|_| UNREADABLE)?;
        let key = in_headers(&record.headers);
        let key = key.map(|key| scoped(policy, record.key.as_deref(), key)).transpose()?;
        if key.is_some() && keys.is_empty() {
            check_bytes(count * size_of::<Option<ScopedKey>>())?;
            keys.reserve_exact(count);
            keys.resize(index, None);
        }
        if key.is_some() || !keys.is_empty() {
            keys.push(key);
            bytes += keys.last().map_or(0, key_bytes);
            check_bytes(bytes)?;
        }
    }
    Ok(keys)
}

/// Bytes of memory that the keys of a batch take.
pub(crate) fn bytes_of(keys: &BatchKeys) -> usize {
    keys.iter().map(key_bytes).sum()
}

fn key_bytes(key: &Option<ScopedKey>) -> usize {
    /// Counts of the handles, and what an allocation costs.
    const OVERHEAD: usize = 32;
    size_of::<Option<ScopedKey>>() + key.as_ref().map_or(0, |key| key.len() + OVERHEAD)
}

fn check_bytes(bytes: usize) -> Result<(), AppendError> {
    if bytes <= DEDUP_BATCH_BYTES {
        return Ok(());
    }
    Err(AppendError::Malformed("more idempotency keys than one batch may carry: send smaller batches"))
}

fn in_headers(headers: &[Header]) -> Option<&[u8]> {
    headers.iter().find(|header| header.key == headers::IDEMPOTENCY_KEY)?.value.as_deref()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use bytes::Bytes;
    use duolog_record::{Batch, BatchBuilder, Codec, Header, Timestamp};

    use super::{bytes_of, of_batch, scoped};
    use crate::errors::AppendError;
    use crate::limits::{DEDUP_BATCH_BYTES, DEDUP_KEY_BYTES};
    use crate::{DedupPolicy, headers};

    const POLICY: DedupPolicy = DedupPolicy { window_ms: 1, per_key: false };

    /// A batch of records of which those from `first` on have a key.
    fn keyed(records: u32, first: u32) -> Batch {
        let mut builder = BatchBuilder::new().codec(Codec::Lz4);
        for n in 0..records {
            let key = headers::IDEMPOTENCY_KEY.into();
            let header = Header { key, value: Some(Bytes::copy_from_slice(n.to_string().as_bytes())) };
            let headers = if n < first { &[][..] } else { &[header][..] };
            builder.push(Timestamp(1), None, None, headers);
        }
        builder.build()
    }

    #[test]
    fn keys_stand_where_their_records_stand_and_none_is_nothing() {
        let keys = of_batch(&POLICY, &keyed(5, 3)).unwrap();
        assert_eq!(keys.iter().map(Option::is_some).collect::<Vec<_>>(), [false, false, false, true, true]);
        assert_eq!(of_batch(&POLICY, &keyed(5, 5)).unwrap().capacity(), 0);
    }

    #[test]
    fn the_keys_of_one_batch_are_bounded() {
        let most = of_batch(&POLICY, &keyed(50_000, 0)).unwrap();
        assert!(bytes_of(&most) <= DEDUP_BATCH_BYTES);
        for first in [0, 299_999] {
            let refused = of_batch(&POLICY, &keyed(300_000, first));
            assert!(matches!(refused, Err(AppendError::Malformed(_))), "from {first}");
        }
    }

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
