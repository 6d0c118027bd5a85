//! Static members: an instance that comes back without its member id takes the place of its former self.
//!
//! The former self is fenced. While the group is stable and the newcomer wants what its former self wanted, the group keeps
//! its assignment and nobody else notices. Source: KIP-345, KIP-814, KAFKA-9801, KAFKA-12759.

use std::sync::Arc;

use super::machine::{Context, Group};
use super::{GroupError, JoinAsk, Reply, State, Token, protocol};

impl Group {
    /// Gives the place of `old` to the same instance under the id `new`.
    pub(super) fn replace_static(
        &mut self,
        token: Token,
        old: &Arc<str>,
        new: Arc<str>,
        ask: JoinAsk,
        context: &mut Context<'_>,
    ) {
        let led = self.is_leader(old);
        let old_metadata = self.chosen_metadata(old);
        self.rename(old, &new, context);
        self.set_offer(&new, ask.protocols.clone(), ask.session_timeout_ms, ask.rebalance_timeout_ms);
        if let Some(member) = self.members.get_mut(&new) {
            member.client_id = ask.client_id.clone();
            member.client_host = ask.client_host.clone();
        }
        self.recount();
        self.touch(&new, context.now);

        let kind = self.protocol_type.as_deref().unwrap_or_default();
        let same_wishes = self.select_protocol() == self.protocol
            && !protocol::wants_other_topics(kind, &old_metadata, &self.chosen_metadata(&new));
        if self.state == State::Stable && same_wishes {
            let answer = self.take_over(old, &new, led, ask.can_skip_assignment);
            context.replies.push(Reply::Join(token, Ok(answer)));
        } else {
            // While the leader's assignment is awaited it would name the old id, so the round is begun again.
            self.rejoin(token, &new, ask, context);
        }
    }

    /// What the successor is told. It must not assign, as nobody would hear of it: a client that knows `skip_assignment` is
    /// told that it leads, so that it watches the topics; another is told that its former self leads.
    fn take_over(&self, old: &Arc<str>, new: &Arc<str>, led: bool, can_skip: bool) -> super::Joined {
        let mut place = self.place(new);
        if led && can_skip {
            place.skip_assignment = true;
        } else if led {
            place.leader = old.clone();
            place.members.clear();
        }
        place
    }

    /// Moves a member to another id; whoever waits under the old one is fenced.
    fn rename(&mut self, old: &Arc<str>, new: &Arc<str>, context: &mut Context<'_>) {
        self.refuse_join(old, GroupError::Fenced, context);
        self.answer_sync(old, Err(GroupError::Fenced), context);
        let Some(mut member) = self.members.remove(old) else { return };
        member.id = new.clone();
        if let Some(instance) = &member.instance_id {
            self.instances.insert(instance.clone(), new.clone());
        }
        self.members.insert(new.clone(), member);
        if self.is_leader(old) {
            self.leader = Some(new.clone());
        }
    }

    /// Counts the bytes anew after fields were replaced in place.
    fn recount(&mut self) {
        let pending: usize = self.pending.keys().map(|id| super::machine::pending_bytes(id)).sum();
        self.bytes = pending + self.members.values().map(super::member::Member::footprint).sum::<usize>();
    }

    fn chosen_metadata(&self, id: &str) -> bytes::Bytes {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        self.members.get(id).map(|member| member.metadata(protocol)).unwrap_or_default()
    }
}
