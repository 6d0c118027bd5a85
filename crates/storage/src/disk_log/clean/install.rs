//! The swap: outputs in, inputs out.
//!
//! Order: outputs are synced (`output`), the directory is synced, what made the dead dead is synced, the manifest is swapped,
//! the view is changed, the inputs are unlinked when nobody reads them. A crash before the swap leaves unlisted files that name
//! their inputs, all of them listed; after it, unlisted inputs that the manifest names as dropped.

use std::sync::Arc;

use super::job::Finished;
use crate::disk_log::files::SealedFile;
use crate::disk_log::shared::Shared;
use crate::disk_log::store::RoomError;
use crate::disk_log::writer::Writer;
use crate::format::names::log_name;
use crate::planted::{self, Bug};

impl Writer {
    /// Puts the outputs in the place of the inputs. What it gives is to be dropped when the writer is free again.
    pub(super) fn install(
        &mut self,
        shared: &Shared,
        inputs: &[u64],
        outputs: &[Finished],
    ) -> Result<Vec<Arc<SealedFile>>, RoomError> {
        if let Some(reason) = &self.stopped {
            return Err(RoomError::Failed(reason.clone()));
        }
        if !planted::is(Bug::OutputNotSynced) {
            self.store.sync_directory()?;
        }
        // A trim or settlement that was only handed to the system may yet be lost: what it frees may not go before it stays.
        if self.sequences.durable < self.sequences.last {
            self.sync(shared).map_err(|error| RoomError::Failed(format!("cannot sync the log: {error}")))?;
        }
        let mut next = self.store.manifest.clone();
        next.files.retain(|it| !inputs.contains(&it.file));
        next.files.extend(outputs.iter().map(|(_, listed)| *listed));
        next.files.sort_unstable_by_key(|it| it.file);
        next.dropped.extend(inputs);
        let prepared = self.store.prepare_manifest(next.encoded_bytes())?;
        if planted::is(Bug::UnlinkBeforeManifest) {
            for id in inputs {
                let _ = self.store.disk.unlink(&log_name(*id));
            }
        }
        self.store.swap_manifest(&*prepared, next)?;
        self.cleaning.clear();
        let mut view = shared.view.write();
        for id in inputs {
            if let Some(file) = view.sealed.get(id) {
                file.file.drop_when_unread();
            }
        }
        let gone = view.remove_sealed(inputs);
        for (output, _) in outputs {
            view.add_sealed(Arc::clone(output));
        }
        if planted::is(Bug::BoundsDropped) {
            self.places.forget_empty(|partition| view.is_in_sealed(partition));
        }
        Ok(gone)
    }
}
