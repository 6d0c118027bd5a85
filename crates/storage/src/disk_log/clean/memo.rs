//! What the cleaner remembers of a file, so that it does not look again where it found nothing to gain. In memory only: after
//! a restart everything is looked at once more.

use std::collections::HashMap;

use duolog_record::Timestamp;
use tracing::error;

use super::alive::{Left, Outlook};
use crate::disk_log::files::SealedFile;

/// What is remembered of one file.
#[derive(Default)]
pub(super) struct Memo {
    /// What the rows let expect when the index was read last and a rewrite would not have paid.
    looked_at: Option<u64>,
    /// Since when some of it is dead.
    dead_since: Option<Timestamp>,
    /// It is damaged: it stays.
    is_left: bool,
}

/// Of all sealed files.
#[derive(Default)]
pub(super) struct Memos {
    by_file: HashMap<u64, Memo>,
}

impl Memos {
    /// Forgets the files that are gone.
    pub(super) fn keep(&mut self, is_there: impl Fn(u64) -> bool) {
        self.by_file.retain(|&file, _| is_there(file));
    }

    /// Takes note of what a file's rows let expect now.
    pub(super) fn note(&mut self, file: u64, outlook: &Outlook, now: Timestamp) {
        let memo = self.by_file.entry(file).or_default();
        if outlook.alive >= outlook.all {
            memo.dead_since = None;
        } else {
            memo.dead_since.get_or_insert(now);
        }
    }

    /// True if the file is damaged and to be left alone.
    pub(super) fn is_left(&self, file: u64) -> bool {
        self.by_file.get(&file).is_some_and(|it| it.is_left)
    }

    /// Number of files that are left alone.
    pub(super) fn left(&self) -> u64 {
        self.by_file.values().filter(|it| it.is_left).count() as u64
    }

    /// True if reading its index may show more than it did the last time.
    pub(super) fn is_worth_a_look(&self, file: u64, outlook: &Outlook) -> bool {
        let looked_at = self.by_file.get(&file).and_then(|it| it.looked_at);
        looked_at.is_none_or(|alive| outlook.alive < alive - alive / 4)
    }

    /// True if something in it has been dead for `purge_ms`.
    pub(super) fn is_purge_due(&self, file: u64, now: Timestamp, purge_ms: u64) -> bool {
        let dead_since = self.by_file.get(&file).and_then(|it| it.dead_since);
        dead_since.is_some_and(|since| now.0.saturating_sub(since.0).max(0) as u64 >= purge_ms)
    }

    /// A rewrite would not pay now.
    pub(super) fn does_not_pay(&mut self, file: u64, outlook: &Outlook) {
        self.by_file.entry(file).or_default().looked_at = Some(outlook.alive);
    }

    /// Nothing in it that a rewrite could leave out is dead.
    pub(super) fn nothing_dead(&mut self, file: u64) {
        self.by_file.entry(file).or_default().dead_since = None;
    }

    /// It is damaged: it stays as it is.
    pub(super) fn leave(&mut self, file: &SealedFile, why: &Left) {
        error!(file = file.file.id, %why, "a damaged file is left as it is, and what is dead in it with it");
        self.by_file.entry(file.file.id).or_default().is_left = true;
    }
}
