//! Bindings between live subjects and topics: those of the configuration, and those that operators made, which are labels of
//! their topics and go with them.
//!
//! The broker does what the list says; here it is put together, whenever a binding or the catalog has changed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use duolog_broker::catalog::DEFAULT_NAMESPACE;
use duolog_broker::errors::ChangeError;
use duolog_broker::limits::{CAPTURES, ECHOES, PATTERN_TOKENS};
use duolog_broker::live::{Capture, Echo, EchoOverflow, Pattern, SubscribeError, Template};
use duolog_broker::{Broker, Labels, Principal, Session, Topic, TopicId, TopicSpec};
use duolog_net::Shutdown;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::config::{CaptureOf, Config, EchoOf, TopicDefaults};

/// Label of a topic: what it captures, a line each.
const CAPTURE_LABEL: &str = "duolog.capture";
/// Label of a topic: where it is heard, a line each; one that lets listeners catch up ends with ` catch-up`.
const ECHO_LABEL: &str = "duolog.echo";
/// How often it is seen that a topic has come or gone.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// One binding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Binding {
    /// What is published on the subject is appended to the topic.
    Capture {
        /// With wildcards or without.
        subject: String,
        /// By name.
        topic: String,
    },
    /// What is appended to the topic is heard on the subject.
    Echo {
        /// By name.
        topic: String,
        /// With places to fill or without.
        subject: String,
        /// Whether slow listeners are served from the log.
        #[serde(default)]
        catch_up: bool,
    },
}

/// Why a binding is refused.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// It makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// No such topic, or no such binding.
    #[error("{0}")]
    NotFound(String),
    /// It stands in the configuration.
    #[error("it stands in the configuration: take it out there and start the broker again")]
    Configured,
    /// There is one already.
    #[error("there is such a binding already")]
    Exists,
    /// There are as many as may be.
    #[error("there are as many bindings as may be")]
    OverLimit,
    /// The catalog's word.
    #[error(transparent)]
    Change(#[from] ChangeError),
}

impl Binding {
    fn topic(&self) -> &str {
        match self {
            Self::Capture { topic, .. } | Self::Echo { topic, .. } => topic,
        }
    }

    /// True if both bind the same; how listeners are served is no matter.
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Capture { subject, topic }, Self::Capture { subject: its_subject, topic: its_topic }) => {
                (subject, topic) == (its_subject, its_topic)
            }
            (
                Self::Echo { topic, subject, .. },
                Self::Echo { topic: its_topic, subject: its_subject, .. },
            ) => (subject, topic) == (its_subject, its_topic),
            (Self::Capture { .. } | Self::Echo { .. }, _) => false,
        }
    }

    fn check(&self) -> Result<(), BindError> {
        let invalid =
            |subject: &str, error: String| BindError::Invalid(format!("subject {subject:?}: {error}"));
        match self {
            Self::Capture { subject, .. } => {
                let pattern =
                    subject.parse::<Pattern>().map_err(|error| invalid(subject, error.to_string()))?;
                if pattern.is_too_long() {
                    let error = format!("with wildcards it has {PATTERN_TOKENS} tokens at most");
                    return Err(BindError::Invalid(error));
                }
            }
            Self::Echo { subject, .. } => {
                subject.parse::<Template>().map_err(|error| invalid(subject, error.to_string()))?;
                if subject.chars().any(|c| c.is_whitespace() || c.is_control()) {
                    return Err(invalid(
                        subject,
                        "a subject has no blanks and no control characters".to_owned(),
                    ));
                }
            }
        }
        Ok(())
    }
}

impl From<&CaptureOf> for Binding {
    fn from(capture: &CaptureOf) -> Self {
        Self::Capture { subject: capture.subject.clone(), topic: capture.topic.clone() }
    }
}

impl From<&EchoOf> for Binding {
    fn from(echo: &EchoOf) -> Self {
        let EchoOf { topic, subject, catch_up } = echo.clone();
        Self::Echo { topic, subject, catch_up }
    }
}

/// Whether there may be as many.
fn check_number<'a>(bindings: impl Iterator<Item = &'a Binding>) -> Result<(), BindError> {
    let (captures, echoes): (Vec<_>, Vec<_>) =
        bindings.partition(|one| matches!(one, Binding::Capture { .. }));
    if captures.len() > CAPTURES || echoes.len() > ECHOES { Err(BindError::OverLimit) } else { Ok(()) }
}

/// Those of a topic, by its labels.
fn of_topic(topic: &Topic) -> Vec<Binding> {
    let lines = |label: &str| topic.labels.get(label).map_or("", String::as_str).lines();
    let name = || topic.name.clone();
    let captures =
        lines(CAPTURE_LABEL).map(|subject| Binding::Capture { subject: subject.to_owned(), topic: name() });
    let echoes = lines(ECHO_LABEL).map(|line| {
        let (subject, catch_up) =
            line.strip_suffix(" catch-up").map_or((line, false), |subject| (subject, true));
        Binding::Echo { topic: name(), subject: subject.to_owned(), catch_up }
    });
    captures.chain(echoes).collect()
}

/// The labels of a topic that has these.
fn labels(topic: &Topic, bindings: &[Binding]) -> Labels {
    let mut labels = topic.labels.clone();
    let (mut captures, mut echoes) = (String::new(), String::new());
    for binding in bindings {
        match binding {
            Binding::Capture { subject, .. } => captures += &format!("{subject}\n"),
            Binding::Echo { subject, catch_up, .. } => {
                echoes += &format!("{subject}{}\n", if *catch_up { " catch-up" } else { "" });
            }
        }
    }
    for (label, lines) in [(CAPTURE_LABEL, captures), (ECHO_LABEL, echoes)] {
        if lines.is_empty() {
            labels.remove(label);
        } else {
            labels.insert(label.to_owned(), lines);
        }
    }
    labels
}

/// All bindings of a broker.
pub struct Bindings {
    broker: Broker,
    session: Session,
    configured: Vec<Binding>,
    made: Mutex<Made>,
}

/// What is known of the bindings that operators made. They are made here alone, so that no other topic need be looked at.
#[derive(Default)]
struct Made {
    /// Topics whose labels tell of some, or did.
    topics: BTreeSet<TopicId>,
    /// The version of the catalog that the broker's list is of.
    applied: Option<u64>,
}

impl Bindings {
    /// Those of the configuration, whose captures find their topics, and those that were made before.
    ///
    /// # Errors
    /// As the catalog, and above the limits of bindings.
    pub async fn start(broker: &Broker, config: &Config) -> Result<Arc<Self>, BindError> {
        let captures = config.captures.iter().map(Binding::from);
        let configured: Vec<_> = captures.chain(config.echoes.iter().map(Binding::from)).collect();
        check_number(configured.iter())?;
        configured.iter().try_for_each(Binding::check)?;
        for (index, binding) in configured.iter().enumerate() {
            if configured[..index].iter().any(|earlier| earlier.is_same(binding)) {
                let (Binding::Capture { subject, topic } | Binding::Echo { topic, subject, .. }) = binding;
                return Err(BindError::Invalid(format!(
                    "the configuration binds subject {subject:?} and topic {topic:?} twice"
                )));
            }
        }
        let session = broker.session(Principal { name: "admin".to_owned() });
        for binding in &configured {
            if matches!(binding, Binding::Capture { .. }) {
                make_topic(&session, binding.topic(), &config.topics).await?;
            }
        }
        let catalog = session.catalog();
        let bound = catalog.topics(DEFAULT_NAMESPACE).filter(|topic| !of_topic(topic).is_empty());
        let made = Made { topics: bound.map(|topic| topic.id).collect(), applied: None };
        let bindings = Self { broker: broker.clone(), session, configured, made: Mutex::new(made) };
        bindings.apply()?;
        Ok(Arc::new(bindings))
    }

    /// Keeps up with topics that come and go, until `shutdown` begins.
    pub async fn run(self: Arc<Self>, shutdown: Shutdown) {
        let mut every = tokio::time::interval(LOOK_EVERY);
        loop {
            tokio::select! {
                _ = every.tick() => {}
                () = shutdown.begun() => return,
            }
            if let Err(error) = self.apply() {
                warn!(%error, "not all bindings are in force");
            }
        }
    }

    /// Each, and whether it stands in the configuration.
    pub fn list(&self) -> Vec<(Binding, bool)> {
        self.list_of(&self.made.lock().topics)
    }

    fn list_of(&self, topics: &BTreeSet<TopicId>) -> Vec<(Binding, bool)> {
        let catalog = self.session.catalog();
        let mut bound: Vec<_> = topics.iter().filter_map(|&topic| catalog.topic_by_id(topic)).collect();
        bound.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        let made = bound.into_iter().flat_map(|topic| of_topic(topic));
        let made = made.filter(|one| !self.is_configured(one)).map(|one| (one, false));
        self.configured.iter().cloned().map(|one| (one, true)).chain(made).collect()
    }

    /// Makes one.
    ///
    /// # Errors
    /// See [`BindError`].
    pub async fn add(&self, binding: Binding) -> Result<(), BindError> {
        binding.check()?;
        if self.is_configured(&binding) {
            return Err(BindError::Exists);
        }
        // Before it is kept: what is kept and cannot be put in force would stand there at the next start.
        check_number(self.list().iter().map(|(one, _)| one).chain([&binding]))?;
        self.change(binding.topic(), |all| {
            if all.iter().any(|one| one.is_same(&binding)) {
                return Err(BindError::Exists);
            }
            all.push(binding.clone());
            Ok(())
        })
        .await
    }

    /// Ends one that an operator made.
    ///
    /// # Errors
    /// See [`BindError`].
    pub async fn remove(&self, binding: &Binding) -> Result<(), BindError> {
        if self.is_configured(binding) {
            return Err(BindError::Configured);
        }
        self.change(binding.topic(), |all| {
            let at = all.iter().position(|one| one.is_same(binding));
            let at = at.ok_or_else(|| BindError::NotFound("there is no such binding".to_owned()))?;
            all.remove(at);
            Ok(())
        })
        .await
    }

    fn is_configured(&self, binding: &Binding) -> bool {
        self.configured.iter().any(|one| one.is_same(binding))
    }

    /// Changes those of a topic, and does as they say.
    async fn change(
        &self,
        topic: &str,
        change: impl Fn(&mut Vec<Binding>) -> Result<(), BindError>,
    ) -> Result<(), BindError> {
        loop {
            let catalog = self.session.catalog();
            let found = catalog.topic(DEFAULT_NAMESPACE, topic).cloned();
            let found = found.ok_or_else(|| BindError::NotFound(format!("there is no topic {topic:?}")))?;
            let mut all = of_topic(&found);
            change(&mut all)?;
            // Unless somebody else was faster: then from what it is now.
            if self.session.set_topic(&found, found.policy.clone(), labels(&found, &all)).await? {
                let mut made = self.made.lock();
                made.topics.insert(found.id);
                // This version may have been applied meanwhile, without it.
                made.applied = None;
                drop(made);
                return self.apply();
            }
        }
    }

    /// Has the broker do as the list says, if anything may have changed.
    fn apply(&self) -> Result<(), BindError> {
        let mut made = self.made.lock();
        let catalog = self.session.catalog();
        if made.applied == Some(catalog.version) {
            return Ok(());
        }
        made.topics
            .retain(|&topic| catalog.topic_by_id(topic).is_some_and(|topic| !of_topic(topic).is_empty()));
        let (mut captures, mut echoes) = (Vec::new(), Vec::new());
        for (binding, _) in self.list_of(&made.topics) {
            // One of an older version that is no longer understood stays, and does nothing.
            match binding {
                Binding::Capture { subject, topic } => {
                    let pattern = subject.parse().ok().filter(|pattern: &Pattern| !pattern.is_too_long());
                    captures.extend(pattern.map(|pattern| Capture { pattern, topic: topic.into() }));
                }
                Binding::Echo { topic, subject, catch_up } => {
                    let overflow = if catch_up { EchoOverflow::CatchUp } else { EchoOverflow::AsAlways };
                    echoes.extend(subject.parse().ok().map(|subject| Echo {
                        topic: topic.into(),
                        subject,
                        overflow,
                    }));
                }
            }
        }
        // Labels may say more than could be added: the broker starts all the same.
        if captures.len() > CAPTURES || echoes.len() > ECHOES {
            warn!(
                captures = captures.len(),
                echoes = echoes.len(),
                "more bindings than may be: the last are not in force"
            );
            captures.truncate(CAPTURES);
            echoes.truncate(ECHOES);
        }
        let over = |_: SubscribeError| BindError::OverLimit;
        let live = self.session.live();
        if *live.captures() != captures {
            live.set_captures(captures).map_err(over)?;
        }
        if live.echoes() != echoes {
            self.broker.set_echoes(echoes).map_err(over)?;
        }
        made.applied = Some(catalog.version);
        Ok(())
    }
}

/// The topic of a capture, as one that a producer names.
async fn make_topic(session: &Session, name: &str, defaults: &TopicDefaults) -> Result<(), BindError> {
    if session.catalog().topic(DEFAULT_NAMESPACE, name).is_some() {
        return Ok(());
    }
    let spec = TopicSpec::new(name, defaults.partitions, defaults.policy());
    session.create_topic(spec).await?;
    Ok(())
}
