//! Choosing the protocol (assignor) of a generation, and the one look inside a consumer's subscription.
//!
//! Invariant: what is chosen is supported by every member. Source: KIP-62; Kafka protocol guide, "JoinGroup";
//! `ConsumerProtocolSubscription` (a version, then the topics) for the topics of a subscription.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::{Buf, Bytes};

use super::member::Member;
use super::{Protocol, limits};

/// The protocol type of ordinary consumers.
pub(super) const CONSUMER: &str = "consumer";

/// True if a newcomer with these protocols leaves the members one that all of them support.
pub(super) fn fits<'a>(members: impl Iterator<Item = &'a Member> + Clone, offered: &[Protocol]) -> bool {
    offered.iter().any(|protocol| members.clone().all(|member| member.supports(&protocol.name)))
}

/// The protocol that most members prefer among those that all support; of equals, the one `leader` names first.
pub(super) fn select<'a>(
    members: impl Iterator<Item = &'a Member> + Clone,
    leader: Option<&Member>,
) -> Option<Arc<str>> {
    let first = leader.or_else(|| members.clone().next())?;
    let candidates: Vec<&Arc<str>> = first
        .protocols
        .iter()
        .map(|protocol| &protocol.name)
        .filter(|name| members.clone().all(|member| member.supports(name)))
        .collect();
    let known: BTreeSet<&str> = candidates.iter().map(|name| &***name).collect();
    let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
    for member in members {
        let vote = member.protocols.iter().map(|protocol| &*protocol.name).find(|name| known.contains(name));
        if let Some(name) = vote {
            *votes.entry(name).or_default() += 1;
        }
    }
    // `max_by_key` keeps the last of equals, and the leader's first choice is to win.
    let best = candidates.into_iter().rev().max_by_key(|name| votes.get(&***name).copied().unwrap_or(0));
    best.cloned()
}

/// True if a member that comes back with `new` instead of `old` wants other topics than before. Other differences (the
/// partitions it owns, an assignor's notes) change at every restart and are no reason to disturb the group.
///
/// Metadata that cannot be read counts as unchanged: what the group does not understand it does not judge.
pub(super) fn wants_other_topics(protocol_type: &str, old: &Bytes, new: &Bytes) -> bool {
    if protocol_type != CONSUMER {
        return false;
    }
    match (subscribed_topics(old), subscribed_topics(new)) {
        (Some(old), Some(new)) => old != new,
        _ => false,
    }
}

/// The topics of a consumer's subscription: `version: i16, topics: [string], ...`; `None` if it cannot be read.
pub(super) fn subscribed_topics(metadata: &Bytes) -> Option<BTreeSet<Bytes>> {
    let mut bytes = metadata.clone();
    let _version = bytes.try_get_i16().ok()?;
    let count = usize::try_from(bytes.try_get_i32().ok()?).ok()?;
    if count > limits::SUBSCRIBED_TOPICS {
        return None;
    }
    let mut topics = BTreeSet::new();
    for _ in 0..count {
        let length = usize::try_from(bytes.try_get_i16().ok()?).ok()?;
        if bytes.remaining() < length {
            return None;
        }
        topics.insert(bytes.split_to(length));
    }
    Some(topics)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscription(topics: &[&str], tail: &[u8]) -> Bytes {
        let mut out = vec![0, 1];
        out.extend((topics.len() as i32).to_be_bytes());
        for topic in topics {
            out.extend((topic.len() as i16).to_be_bytes());
            out.extend(topic.as_bytes());
        }
        out.extend(tail);
        Bytes::from(out)
    }

    #[test]
    fn only_the_topics_of_a_subscription_count_as_a_change() {
        let before = subscription(&["a", "b"], b"owns everything");
        assert!(!wants_other_topics(CONSUMER, &before, &subscription(&["b", "a"], b"owns nothing")));
        assert!(wants_other_topics(CONSUMER, &before, &subscription(&["a", "c"], b"")));
        assert!(!wants_other_topics("connect", &before, &subscription(&["a", "c"], b"")));
    }

    #[test]
    fn unreadable_metadata_is_never_a_change() {
        let good = subscription(&["a"], b"");
        for bad in [
            &b""[..],
            b"\0",
            b"\0\x01\x7f\xff\xff\xff",
            b"\0\x01\xff\xff\xff\xff",
            b"\0\x01\0\0\0\x01\0\x09a",
        ] {
            assert!(!wants_other_topics(CONSUMER, &good, &Bytes::copy_from_slice(bad)), "{bad:?}");
        }
    }
}
