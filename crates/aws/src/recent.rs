//! Purges and deletions not long ago, for those who want the service's 60 s rules (`strict_timing`).

use std::collections::HashMap;
use std::hash::Hash;

use duolog_broker::{Monotonic, QueueId};
use parking_lot::Mutex;

use crate::limits::{RECENT, RECENT_MS};

/// Purges and deletions of the last 60 s.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    purges: Mutex<HashMap<QueueId, Monotonic>>,
    deletions: Mutex<HashMap<String, Monotonic>>,
}

impl Recent {
    /// True, and noted, if the queue was not purged within the time.
    pub fn may_purge(&self, queue: QueueId, now: Monotonic) -> bool {
        let mut purges = self.purges.lock();
        forget(&mut purges, now);
        if purges.contains_key(&queue) {
            return false;
        }
        purges.insert(queue, now);
        true
    }

    /// A queue was deleted.
    pub fn note_deletion(&self, name: &str, now: Monotonic) {
        let mut deletions = self.deletions.lock();
        forget(&mut deletions, now);
        deletions.insert(name.to_owned(), now);
    }

    /// True if a queue of this name was deleted within the time.
    pub fn was_deleted(&self, name: &str, now: Monotonic) -> bool {
        let deleted = self.deletions.lock().get(name).copied();
        deleted.is_some_and(|at| now.ms_since(at) < RECENT_MS)
    }
}

/// Drops what is over; all, if that leaves too many: the rule is a courtesy and not worth memory.
fn forget<K: Eq + Hash>(times: &mut HashMap<K, Monotonic>, now: Monotonic) {
    times.retain(|_, at| now.ms_since(*at) < RECENT_MS);
    if times.len() >= RECENT {
        times.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_must_pass_between_purges() {
        let recent = Recent::default();
        let at = |ms| Monotonic(0).plus_ms(ms);
        assert!(recent.may_purge(QueueId(1), at(0)));
        assert!(!recent.may_purge(QueueId(1), at(59_999)));
        assert!(recent.may_purge(QueueId(2), at(59_999)));
        assert!(recent.may_purge(QueueId(1), at(60_000)));
    }

    #[test]
    fn a_name_is_free_a_minute_after_its_deletion() {
        let recent = Recent::default();
        let at = |ms| Monotonic(0).plus_ms(ms);
        recent.note_deletion("q", at(0));
        assert!(recent.was_deleted("q", at(59_999)) && !recent.was_deleted("q", at(60_000)));
        assert!(!recent.was_deleted("other", at(1)));
    }
}
