//! Records that are sent again under one idempotency key: what clients were told of each key, and whether it can be true.

use std::collections::BTreeMap;

use duolog_broker::{Monotonic, Published};

use super::clock::ms_before;
use super::stage::DEDUP_WINDOW_MS;
use crate::history::{Broken, History, Number, Place};

/// Where a key was stored first, the earliest time at which that can have been, and in which life it was told.
#[derive(Clone, Copy, Debug)]
struct Known {
    place: Place,
    at: Monotonic,
    life: u64,
}

/// The keys that were acknowledged.
#[derive(Debug, Default)]
pub(super) struct Keyed {
    known: BTreeMap<u64, Known>,
    /// By how much the wall clock was set ahead so far, milliseconds.
    stepped_ms: u64,
}

/// One record under a key, and what was answered when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) key: u64,
    pub(super) number: Number,
    pub(super) asked_at: Monotonic,
    pub(super) heard_at: Monotonic,
    /// [`Keyed::stepped_ms`] when it was asked for.
    pub(super) stepped_ms: u64,
}

impl Keyed {
    /// The wall clock was set ahead: a window that goes on over a restart ends so much earlier.
    pub(super) fn stepped_on(&mut self, ms: u64) {
        self.stepped_ms += ms;
        for known in self.known.values_mut() {
            known.at = ms_before(known.at, ms);
        }
    }

    /// By how much that was in all, milliseconds.
    pub(super) fn stepped_ms(&self) -> u64 {
        self.stepped_ms
    }

    /// Tells what was answered to a record.
    pub(super) fn hear(&mut self, history: &mut History, sent: Sent, told: Published) -> Result<(), Broken> {
        let place = (told.partition, told.offset);
        let Sent { key, number, asked_at, heard_at, stepped_ms } = sent;
        let asked_at = ms_before(asked_at, self.stepped_ms - stepped_ms);
        let first = self.known.get(&key).copied();
        // The window began when the first was appended, which was not before it was asked for.
        if let Some(Known { place: first, at, .. }) = first
            && heard_at < at.plus_ms(DEDUP_WINDOW_MS)
            && (!told.duplicate || first != place)
        {
            return Err(Broken(format!(
                "record {number} under key {key} was stored at {}/{} although the first is at {}/{}",
                place.0, place.1, first.0, first.1
            )));
        }
        if told.duplicate {
            history.left_out(number);
            history.seen.duplicates += 1;
            history.seen.duplicates_over += u64::from(first.is_some_and(|it| it.life < history.life()));
            return Ok(());
        }
        self.known.insert(key, Known { place, at: asked_at, life: history.life() });
        history.appended(place.0, place.1, number)
    }
}
