//! Leaving, one member or many at a time. Source: KIP-345 (static members leave by instance id).

use super::machine::{Context, Group};
use super::{GroupError, Identity, State};

impl Group {
    /// Removes members; one answer each, in order. Those who stay gather once, however many leave.
    pub(super) fn leave(
        &mut self,
        leaving: &[Identity],
        context: &mut Context<'_>,
    ) -> Vec<Result<(), GroupError>> {
        let answers = leaving.iter().map(|who| self.leave_one(who, context)).collect();
        self.members_gone(context);
        answers
    }

    fn leave_one(&mut self, who: &Identity, context: &mut Context<'_>) -> Result<(), GroupError> {
        let id = match &who.instance_id {
            Some(instance) if who.member_id.is_empty() => {
                self.instances.get(instance).cloned().ok_or(GroupError::UnknownMember)?
            }
            _ => who.member_id.clone(),
        };
        if who.instance_id.is_none() && self.forget_pending(&id) {
            return Ok(());
        }
        self.validate(&Identity { member_id: id.clone(), instance_id: who.instance_id.clone() })?;
        self.remove(&id, GroupError::UnknownMember, context);
        self.departed = true;
        Ok(())
    }

    /// After members or pending ids went: those who stay form a new generation, or the open round may now be complete.
    pub(super) fn members_gone(&mut self, context: &mut Context<'_>) {
        let departed = std::mem::take(&mut self.departed);
        match self.state {
            State::CompletingRebalance | State::Stable if departed => self.prepare_rebalance(context),
            State::PreparingRebalance => self.try_complete_round(context),
            State::CompletingRebalance | State::Stable | State::Empty | State::Dead => {}
        }
    }
}
