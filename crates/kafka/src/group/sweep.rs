//! Expiring offsets, now and then: see `expiry` for what expires.
//!
//! A group that commits or gets a member while its offsets are looked at is left alone until the next sweep.

use std::collections::BTreeSet;

use super::Use;
use super::expiry::expired;
use super::groups::Groups;

impl Groups {
    /// Forgets expired offsets, and groups of which nothing is left.
    pub async fn sweep(&self) {
        self.core.lock().committed = Some(BTreeSet::new());
        match self.session.groups().await {
            Ok(groups) => {
                for group in groups {
                    self.sweep_group(&group).await;
                }
            }
            Err(error) => tracing::warn!(%error, "offsets were not looked through"),
        }
        self.core.lock().committed = None;
        self.forget_bare_groups().await;
    }

    async fn sweep_group(&self, group: &str) {
        if let Some(committed) = &mut self.core.lock().committed {
            committed.remove(group);
        }
        let Ok(cursors) = self.session.cursors(group).await else { return };
        let forgotten = {
            let core = self.core.lock();
            if core.committed.as_ref().is_some_and(|committed| committed.contains(group)) {
                return;
            }
            let usage = core.coordinator.usage(group);
            let retention_ms = core.coordinator.config().offsets_retention_ms;
            let partitions = expired(&cursors, usage, self.started_at, self.now().wall, retention_ms);
            if partitions.is_empty() {
                return;
            }
            tracing::info!(group, offsets = partitions.len(), "offsets have expired");
            self.session.forget_cursors(group, Some(partitions))
        };
        if let Err(error) = forgotten.await {
            tracing::warn!(group, %error, "expired offsets were not forgotten");
        }
    }

    /// An empty group without offsets is only a name.
    async fn forget_bare_groups(&self) {
        let empty: Vec<_> = {
            let core = self.core.lock();
            let unused = |id: &str| !matches!(core.coordinator.usage(id), Use::Busy);
            core.coordinator.list().map(|group| group.id).filter(|id| unused(id)).collect()
        };
        for group in empty {
            let Ok(cursors) = self.session.cursors(&group).await else { return };
            let mut core = self.core.lock();
            if cursors.is_empty() && !matches!(core.coordinator.usage(&group), Use::Busy) {
                // Whether it was still there does not matter.
                let _ = core.coordinator.delete(&group);
            }
        }
    }
}
