//! Records that are sent again under one idempotency key: what clients were told of each key, and whether it can be true.

use std::collections::BTreeMap;

use duolog_broker::Published;
use duolog_record::Timestamp;

use super::stage::DEDUP_WINDOW_MS;
use crate::history::{Broken, History, Number, Place};

/// The keys that were acknowledged: where, and the earliest time at which that can have been.
#[derive(Debug, Default)]
pub(super) struct Keyed {
    known: BTreeMap<u64, (Place, Timestamp)>,
}

/// One record under a key, and what was answered when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) key: u64,
    pub(super) number: Number,
    pub(super) asked_at: Timestamp,
    pub(super) heard_at: Timestamp,
}

impl Keyed {
    /// Tells what was answered to a record.
    pub(super) fn hear(&mut self, history: &mut History, sent: Sent, told: Published) -> Result<(), Broken> {
        let place = (told.partition, told.offset);
        let Sent { key, number, asked_at, heard_at } = sent;
        let first = self.known.get(&key).copied();
        // The window began when the first was appended, which was not before it was asked for.
        let is_open = |at: Timestamp| heard_at < Timestamp(at.0.saturating_add_unsigned(DEDUP_WINDOW_MS));
        if let Some((first, at)) = first
            && is_open(at)
            && (!told.duplicate || first != place)
        {
            return Err(Broken(format!(
                "record {number} under key {key} was stored at {}/{} although the first is at {}/{}",
                place.0, place.1, first.0, first.1
            )));
        }
        if told.duplicate {
            history.left_out(number);
            return Ok(());
        }
        self.known.insert(key, (place, asked_at));
        history.appended(place.0, place.1, number)
    }
}
