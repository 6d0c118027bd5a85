//! Replays: a subscription of an ordered topic that gets archived messages again, and then goes on with new ones.
//!
//! From its first replay on a subscription is fed from the topic's log, through a queue of its own on it (`http`), by one who copies in
//! order (`deliver/copier.rs`); the exchange leads nothing to it any more. So what is new comes behind what is replayed, and nothing gets lost
//! between the two. The labels of the subscription say how far that is:
//! ```text
//! aws.sns.replay-live-from   offset in the log from which messages are new; there as long as the subscription is fed from the log
//! aws.sns.replay-started     when the replay was asked for, milliseconds since 1970; tells replays apart
//! aws.sns.replay-pending     there until the queue has been set back to where the replay begins
//! aws.sns.replay-done        there when all of it has been delivered
//! ```
//! Source: SNS Developer Guide, "Amazon SNS message replay for FIFO topic subscribers".

use duolog_broker::routing::{BindingSpec, Destination, Exchange};
use duolog_broker::{Labels, Start, when};
use duolog_record::{Offset, Timestamp};
use serde::Deserialize;

use super::subscription::Subscription;
use super::{Call, SnsError, archive, attributes, http, log};

/// The attribute of a subscription.
pub(super) const POLICY: &str = "ReplayPolicy";
const LIVE_FROM: &str = "aws.sns.replay-live-from";
const STARTED: &str = "aws.sns.replay-started";
const PENDING: &str = "aws.sns.replay-pending";
const DONE: &str = "aws.sns.replay-done";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct PolicyIn {
    point_type: Option<String>,
    starting_point: Option<String>,
    ending_point: Option<String>,
}

/// What is to be replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Replay {
    /// From when on.
    pub from: Timestamp,
    /// Until when, that included; `None` is until it was asked for.
    pub until: Option<Timestamp>,
}

/// Reads a policy; `None` if it is the one that ends a replay.
fn read(text: &str) -> Result<Option<Replay>, SnsError> {
    let wrong = |why: String| SnsError::invalid_because(POLICY, why);
    let Some(policy) = attributes::policy::<PolicyIn>(POLICY, text)? else { return Ok(None) };
    let point = |name: &str, text: &str| {
        // Ages and offsets, which are read there as well, have no T.
        match when::parse(text, Timestamp(0)) {
            Ok(Start::Time(at)) if text.contains('T') => Ok(at),
            _ => Err(wrong(format!("{name} is no time as in 2026-11-24T08:00:00Z"))),
        }
    };
    let from = match (policy.point_type.as_deref(), &policy.starting_point) {
        (None, None) if policy.ending_point.is_none() => return Ok(None),
        (Some("Timestamp"), Some(text)) => point("StartingPoint", text)?,
        (Some("Timestamp"), None) => return Err(wrong("it has no StartingPoint".to_owned())),
        _ => return Err(wrong("its PointType must be Timestamp".to_owned())),
    };
    let until = policy.ending_point.as_deref().map(|text| point("EndingPoint", text)).transpose()?;
    match until.is_some_and(|until| until < from) {
        true => Err(wrong("EndingPoint is before StartingPoint".to_owned())),
        false => Ok(Some(Replay { from, until })),
    }
}

/// Sets the policy of a subscription that is to be, or is: begins a replay, or ends one.
///
/// # Errors
/// `InvalidParameter` if it says nothing sensible, or there is no archive; what the broker says.
pub(super) async fn set(
    call: &Call<'_>,
    topic: &Exchange,
    spec: &mut BindingSpec,
    text: &str,
) -> Result<(), SnsError> {
    let wrong = |why: &str| SnsError::invalid_because(POLICY, why);
    let Some(replay) = read(text)? else {
        attributes::set(&mut spec.labels, POLICY, "");
        spec.labels.remove(PENDING);
        return Ok(());
    };
    let now = call.session().now();
    let beginning = archive::beginning(topic, now)
        .ok_or_else(|| wrong("the topic has no ArchivePolicy, so there is nothing to replay"))?;
    if replay.from < beginning || replay.from > now {
        return Err(wrong("StartingPoint must be between BeginningArchiveTime of the topic and now"));
    }
    log::ensure(call.session(), topic).await?;
    let catalog = call.session().catalog();
    let log = log::of(&catalog, topic).ok_or_else(SnsError::no_topic)?;
    let id = std::str::from_utf8(&spec.key).unwrap_or_default();
    http::make_queue(call.session(), topic, id, Some(log)).await?;
    // What the exchange leads to it until it is bound otherwise is behind this, or before it.
    let end = log.partitions.first().and_then(|partition| call.session().bounds(*partition));
    let end = end.map_or(Offset(0), |bounds| bounds.end);
    attributes::set(&mut spec.labels, POLICY, text);
    spec.labels.entry(LIVE_FROM.to_owned()).or_insert_with(|| end.0.to_string());
    spec.labels.insert(STARTED.to_owned(), now.0.to_string());
    spec.labels.insert(PENDING.to_owned(), "true".to_owned());
    spec.labels.remove(DONE);
    spec.destination = Destination::Exchange(topic.id);
    Ok(())
}

/// True if a subscription is fed from the log.
pub(super) fn is_fed(it: Subscription<'_>) -> bool {
    it.label(LIVE_FROM).is_some()
}

/// How a subscription stands that is fed from the log.
#[derive(Clone, Copy, Debug)]
pub(super) struct State<'c> {
    /// Messages are new from here on.
    pub live_from: Offset,
    /// What is replayed of those before.
    pub replay: Option<Replay>,
    /// Tells it apart.
    pub started: &'c str,
    /// It has not begun.
    pub is_pending: bool,
    /// It is over.
    pub is_done: bool,
}

impl<'c> State<'c> {
    pub fn of(it: Subscription<'c>) -> Option<Self> {
        let live_from = Offset(it.label(LIVE_FROM)?.parse().ok()?);
        let replay = it.attribute(POLICY).and_then(|text| read(text).ok().flatten());
        Some(Self {
            live_from,
            replay,
            started: it.label(STARTED).unwrap_or_default(),
            is_pending: it.label(PENDING).is_some(),
            is_done: it.label(DONE).is_some(),
        })
    }

    /// As clients read it.
    pub fn shown(self) -> Option<&'static str> {
        self.replay?;
        Some(match (self.is_pending, self.is_done) {
            (true, _) => "Pending",
            (false, false) => "In progress",
            (false, true) => "Completed",
        })
    }
}

/// The replay is about to begin; what comes from `live_from` on is new.
pub(super) fn about_to_begin(labels: &mut Labels, live_from: Offset) {
    labels.insert(LIVE_FROM.to_owned(), live_from.0.to_string());
}

/// It has begun.
pub(super) fn begun(labels: &mut Labels) {
    labels.remove(PENDING);
}

/// It is over.
pub(super) fn done(labels: &mut Labels) {
    labels.insert(DONE.to_owned(), "true".to_owned());
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_policy_names_points_in_time() {
        let at = |ms| Timestamp(ms);
        let from = r#"{"PointType":"Timestamp","StartingPoint":"1970-01-01T00:00:01.500Z"}"#;
        assert_eq!(read(from).unwrap(), Some(Replay { from: at(1500), until: None }));
        let both = from.replace('}', r#","EndingPoint":"1970-01-01T00:00:02Z"}"#);
        assert_eq!(read(&both).unwrap(), Some(Replay { from: at(1500), until: Some(at(2000)) }));
        assert_eq!((read("").unwrap(), read("{}").unwrap()), (None, None));
        for text in [
            "[]",
            r#"{"PointType":"Timestamp"}"#,
            r#"{"StartingPoint":"1970-01-01T00:00:01Z"}"#,
            r#"{"EndingPoint":"1970-01-01T00:00:01Z"}"#,
            r#"{"PointType":"Offset","StartingPoint":"5"}"#,
            r#"{"PointType":"Timestamp","StartingPoint":"yesterday"}"#,
            r#"{"PointType":"Timestamp","StartingPoint":"1970-01-01T00:00:05Z","EndingPoint":"1970-01-01T00:00:02Z"}"#,
            r#"{"PointType":"Timestamp","StartingPoint":"1970-01-01T00:00:05Z","Speed":2}"#,
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
