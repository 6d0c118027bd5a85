//! Rounds: gathering the members of the next generation and closing it over those who came.
//!
//! A round ends when everybody has joined and no id that was given out is missing, or when the longest rebalance timeout is
//! over. An empty group's first round ends by time alone. Source: KIP-62; KIP-134 (the initial delay).

use super::machine::{Context, Group, Initial, Round};
use super::{GroupError, State, limits};

impl Group {
    /// Begins a round, unless one is open. Whoever waits for an assignment is told to join again.
    pub(super) fn prepare_rebalance(&mut self, context: &mut Context<'_>) {
        let now = context.now.monotonic;
        let patience_ms = self.rebalance_timeout_ms();
        let round = match self.state {
            State::PreparingRebalance | State::Dead => return,
            State::Empty => {
                let delay_ms = context.config.initial_rebalance_delay_ms;
                let initial = Initial { left_ms: patience_ms.saturating_sub(delay_ms), arrived: false };
                Round { ends_at: now.plus_ms(delay_ms), initial: Some(initial) }
            }
            State::CompletingRebalance | State::Stable => {
                self.cancel_syncs(GroupError::RebalanceInProgress, context);
                Round { ends_at: now.plus_ms(patience_ms), initial: None }
            }
        };
        self.state = State::PreparingRebalance;
        self.round = Some(round);
        self.wake(round.ends_at);
        if round.initial.is_some() && round.ends_at <= now {
            self.end_round(context);
        }
        self.try_complete_round(context);
    }

    /// Answers all waiting syncs with `error`; nobody owes one any more. What was assigned is void if it was not handed out.
    pub(super) fn cancel_syncs(&mut self, error: GroupError, context: &mut Context<'_>) {
        let undecided = self.state == State::CompletingRebalance;
        let ids: Vec<_> = self.members.keys().cloned().collect();
        for id in &ids {
            if self.answer_sync(id, Err(error), context) {
                self.touch(id, context.now);
            }
            if undecided {
                self.assign(id, bytes::Bytes::new());
            }
        }
        for member in self.members.values_mut() {
            member.owes_sync = false;
        }
        self.sync_by = None;
    }

    /// Ends the round if nobody is missing.
    pub(super) fn try_complete_round(&mut self, context: &mut Context<'_>) {
        let Some(round) = &self.round else { return };
        let complete = self.waiting_joins == self.members.len() && self.pending.is_empty();
        if round.initial.is_none() && complete {
            self.end_round(context);
        }
    }

    /// The round's time is over: a first round is extended while members keep arriving, any other is closed.
    pub(super) fn round_over(&mut self, context: &mut Context<'_>) {
        let Some(Round { initial: Some(initial), .. }) = self.round else { return self.end_round(context) };
        if !initial.arrived || initial.left_ms == 0 {
            return self.end_round(context);
        }
        let delay_ms = context.config.initial_rebalance_delay_ms.min(initial.left_ms);
        let ends_at = context.now.monotonic.plus_ms(delay_ms);
        let initial = Initial { left_ms: initial.left_ms - delay_ms, arrived: false };
        self.round = Some(Round { ends_at, initial: Some(initial) });
        self.wake(ends_at);
    }

    /// Closes the round over the members that joined. Dynamic members that did not are dropped; static ones keep their place
    /// until their session ends, because they are expected back.
    fn end_round(&mut self, context: &mut Context<'_>) {
        let missing: Vec<_> = self
            .members
            .values()
            .filter(|member| member.join.is_none() && member.instance_id.is_none())
            .map(|member| member.id.clone())
            .collect();
        for id in missing {
            self.remove(&id, GroupError::UnknownMember, context);
        }
        if self.members.is_empty() {
            self.become_empty(context);
        } else if self.waiting_joins == 0 {
            // Only absent static members are left: there is nobody to lead until they return or expire.
            let patience_ms = self.rebalance_timeout_ms().max(limits::REBALANCE_RETRY_MS);
            let ends_at = context.now.monotonic.plus_ms(patience_ms);
            self.round = Some(Round { ends_at, initial: None });
            self.wake(ends_at);
        } else {
            self.begin_generation(context);
        }
    }

    fn become_empty(&mut self, context: &mut Context<'_>) {
        self.round = None;
        self.generation = next_generation(self.generation);
        self.protocol = None;
        self.leader = None;
        self.state = State::Empty;
        self.emptied_at = context.now.wall;
    }

    /// Everybody who joined is told the new generation, and owes a sync within the rebalance timeout.
    fn begin_generation(&mut self, context: &mut Context<'_>) {
        let leads = self.leader.as_ref().and_then(|id| self.members.get(id));
        if leads.is_none_or(|member| member.join.is_none()) {
            self.leader = self.earliest(|member| member.join.is_some());
        }
        self.round = None;
        self.generation = next_generation(self.generation);
        self.protocol = self.select_protocol();
        self.state = State::CompletingRebalance;
        let by = context.now.monotonic.plus_ms(self.rebalance_timeout_ms());
        self.sync_by = Some(by);
        self.wake(by);
        let ids: Vec<_> = self.members.keys().cloned().collect();
        for id in &ids {
            let place = self.place(id);
            let joined = self.answer_join(id, Ok(place), context);
            if let Some(member) = self.members.get_mut(id) {
                member.newcomer = false;
                member.owes_sync = joined;
            }
            self.touch(id, context.now);
        }
    }
}

/// Generations rise from 1; after the last they begin again, as members of the first are long gone.
fn next_generation(generation: i32) -> i32 {
    generation.checked_add(1).unwrap_or(1)
}
