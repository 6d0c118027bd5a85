//! Signs of life: heartbeats, and whether a commit comes from a member of the current generation.
//!
//! Source: KIP-62; Kafka's group coordinator for commits while the group rebalances.

use super::machine::{Context, Group};
use super::{GroupError, Identity, State};

impl Group {
    /// # Errors
    /// `RebalanceInProgress` tells the member to join again; others that it has no place.
    pub(super) fn heartbeat(
        &mut self,
        who: &Identity,
        generation: i32,
        context: &Context<'_>,
    ) -> Result<(), GroupError> {
        self.validate(who)?;
        if generation != self.generation {
            return Err(GroupError::IllegalGeneration);
        }
        self.touch(&who.member_id, context.now);
        match self.state {
            State::Empty | State::Dead => Err(GroupError::UnknownMember),
            State::PreparingRebalance => Err(GroupError::RebalanceInProgress),
            State::CompletingRebalance | State::Stable => Ok(()),
        }
    }

    /// Whether offsets may be committed. While members gather, those of the last generation still may: they are told to
    /// rejoin by their heartbeat. Once the next stands but is not assigned, nobody owns anything.
    ///
    /// # Errors
    /// The reason why not.
    pub(super) fn check_commit(
        &mut self,
        who: &Identity,
        generation: i32,
        context: &Context<'_>,
    ) -> Result<(), GroupError> {
        if generation < 0 && self.state == State::Empty {
            return Ok(());
        }
        self.validate(who)?;
        if generation != self.generation {
            return Err(GroupError::IllegalGeneration);
        }
        match self.state {
            State::CompletingRebalance => Err(GroupError::RebalanceInProgress),
            State::PreparingRebalance | State::Stable => {
                self.touch(&who.member_id, context.now);
                Ok(())
            }
            State::Empty | State::Dead => Err(GroupError::UnknownMember),
        }
    }
}
