//! Reclaiming: sealed files in which nothing is alive leave the manifest and are unlinked when nobody reads them any more.
//!
//! What is alive is computed: a row of the footer is dead if its partition was removed, starts at or above the row's end, or
//! had all of the rest discarded. Order: manifest without the files durable, then the view, then the unlink.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tracing::info;

use super::files::SealedFile;
use super::shared::Shared;
use super::store::RoomError;
use super::view::View;
use super::writer::Writer;
use crate::LogError;

impl Writer {
    /// See `Log::reclaim`.
    ///
    /// What it gives is to be dropped when the writer is free again: the unlinks take their time. Then `after_reclaim`.
    pub(crate) fn reclaim(&mut self, shared: &Shared) -> Result<Vec<Arc<SealedFile>>, LogError> {
        if self.stopped.is_some() {
            return Err(self.stopped_error());
        }
        let dead: Vec<u64> = {
            let view = shared.view.read();
            let free = view.sealed.iter().filter(|(id, _)| !self.cleaning.contains(id));
            free.filter(|(_, file)| is_dead(&view, file)).map(|(&id, _)| id).collect()
        };
        if dead.is_empty() {
            return Ok(Vec::new());
        }
        // A trim that was only handed to the system is visible and may yet be lost: what it frees may not go before it stays.
        if self.sequences.durable < self.sequences.last
            && let Err(error) = self.sync(shared)
        {
            self.stop(format!("cannot sync the log: {error}"));
            return Err(self.stopped_error());
        }
        match self.drop_files(shared, &dead) {
            Ok(gone) => Ok(gone),
            // Not even a manifest's room: the next call tries again.
            Err(RoomError::Full { .. }) => Ok(Vec::new()),
            Err(RoomError::Failed(reason)) => {
                self.stop(reason);
                Err(self.stopped_error())
            }
        }
    }

    /// The space is free: makes the reserve whole again, if it was not.
    pub(crate) fn after_reclaim(&mut self) -> Result<(), LogError> {
        if self.stopped.is_some()
            || self.store.spares.len() as u64 >= u64::from(self.store.options.reserve_files)
        {
            return Ok(());
        }
        match self.store.restore_reserve() {
            Ok(is_whole) => {
                self.active.from_reserve &= !is_whole;
                Ok(())
            }
            Err(RoomError::Full { .. }) => Ok(()),
            Err(RoomError::Failed(reason)) => {
                self.stop(reason);
                Err(self.stopped_error())
            }
        }
    }

    fn drop_files(&mut self, shared: &Shared, dead: &[u64]) -> Result<Vec<Arc<SealedFile>>, RoomError> {
        let mut next = self.store.manifest.clone();
        next.files.retain(|it| !dead.contains(&it.file));
        next.dropped.extend(dead);
        let prepared = self.store.prepare_manifest(next.encoded_bytes())?;
        self.store.swap_manifest(&*prepared, next)?;
        let mut view = shared.view.write();
        for id in dead {
            if let Some(file) = view.sealed.get(id) {
                file.file.drop_when_unread();
            }
        }
        let gone = view.remove_sealed(dead);
        let bytes = gone.iter().map(|it| it.file.bytes.load(Ordering::Relaxed)).sum();
        shared.cleaned.freed(bytes);
        info!(files = dead.len(), bytes, "reclaimed");
        Ok(gone)
    }
}

fn is_dead(view: &View, file: &SealedFile) -> bool {
    file.rows().iter().all(|row| {
        view.partitions.get(&row.partition).is_none_or(|it| {
            let rest = row.first.max(it.start)..row.end;
            rest.start >= rest.end || it.discarded.covers(&rest)
        })
    })
}
