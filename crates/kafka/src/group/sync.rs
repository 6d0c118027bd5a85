//! Syncing: the leader hands over the assignment, everybody receives its share.
//!
//! Source: KIP-62; KIP-559 (protocol type and name are checked if sent); KAFKA-13421 (who never syncs is dropped).

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::machine::{Context, Group};
use super::{GroupError, Identity, Reply, State, SyncAsk, Token};

impl Group {
    /// Handles a sync; a follower's waits for the leader's. `fits` says whether the budget bears the assignments.
    pub(super) fn sync(&mut self, token: Token, ask: SyncAsk, fits: bool, context: &mut Context<'_>) {
        let id = ask.member_id.clone();
        let answer = match self.check_sync(&ask) {
            Err(error) => Err(error),
            Ok(()) => {
                self.settle_sync(&id);
                match self.state {
                    State::Empty | State::Dead => Err(GroupError::UnknownMember),
                    State::PreparingRebalance => Err(GroupError::RebalanceInProgress),
                    State::Stable => {
                        self.touch(&id, context.now);
                        Ok(self.share(&id))
                    }
                    State::CompletingRebalance => {
                        self.park_sync(&id, token, context);
                        if self.is_leader(&id) {
                            self.hand_out(ask.assignments, fits, context);
                        }
                        return;
                    }
                }
            }
        };
        context.replies.push(Reply::Sync(token, answer));
    }

    fn check_sync(&self, ask: &SyncAsk) -> Result<(), GroupError> {
        self.validate(&Identity { member_id: ask.member_id.clone(), instance_id: ask.instance_id.clone() })?;
        if ask.generation != self.generation {
            return Err(GroupError::IllegalGeneration);
        }
        let differs = |said: &Option<Arc<str>>, is: &Option<Arc<str>>| said.is_some() && said != is;
        if differs(&ask.protocol_type, &self.protocol_type) || differs(&ask.protocol, &self.protocol) {
            return Err(GroupError::InconsistentProtocol);
        }
        Ok(())
    }

    /// The member has asked for its assignment; when all have, nobody is waited for.
    fn settle_sync(&mut self, id: &str) {
        if let Some(member) = self.members.get_mut(id) {
            member.owes_sync = false;
        }
        if self.members.values().all(|member| !member.owes_sync) {
            self.sync_by = None;
        }
    }

    /// The leader's assignment becomes the group's. One that does not fit fails everybody, and the group tries again.
    fn hand_out(&mut self, assignments: Vec<(Arc<str>, Bytes)>, fits: bool, context: &mut Context<'_>) {
        if !fits {
            self.cancel_syncs(GroupError::TooLarge, context);
            return self.prepare_rebalance(context);
        }
        let mut shares: BTreeMap<_, _> = assignments.into_iter().collect();
        let ids: Vec<_> = self.members.keys().cloned().collect();
        self.state = State::Stable;
        for id in &ids {
            self.assign(id, shares.remove(id).unwrap_or_default());
            let share = self.share(id);
            if self.answer_sync(id, Ok(share), context) {
                self.touch(id, context.now);
            }
        }
    }
}
