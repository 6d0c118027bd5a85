//! The story of a dead letter: which queues have given it up, why and how often. It travels in a header of the record, as text: the
//! first death in the first line, then each in a line, fields between tabs.
//!
//! Place: the core writes it, frontends tell it in their protocol's words.
//! Source: RabbitMQ documentation, "Dead Letter Exchanges", "Dead-Lettering Effects on Messages".

use std::borrow::Cow;
use std::fmt::{self, Write as _};

use crate::headers;
use duolog_record::Header;

/// Most deaths that a record remembers; those longest ago are forgotten.
const DEATHS: usize = 100;

/// All that is remembered, the latest first. Deaths in one queue for one reason are counted together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deaths {
    /// The very first: reason, queue, exchange.
    pub first: (String, String, String),
    /// Each.
    pub all: Vec<Death>,
}

/// Deaths in one queue for one reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Death {
    /// As `headers::DEAD_REASON` has it.
    pub reason: String,
    /// The queue.
    pub queue: String,
    /// How often.
    pub count: u64,
    /// When it was first, milliseconds since the epoch.
    pub time: i64,
    /// Through which exchange the record had come to the queue; empty for the default one.
    pub exchange: String,
    /// The key that it had there.
    pub key: String,
    /// The time to live that it had brought along, milliseconds, if it had.
    pub ttl_ms: Option<u64>,
}

impl Deaths {
    /// What the headers of a record tell; `None` if nothing.
    #[must_use]
    pub fn of(all: &[Header]) -> Option<Self> {
        let header = all.iter().find(|header| header.key == headers::DEAD_HISTORY)?;
        Self::parse(std::str::from_utf8(header.value.as_deref()?).ok()?)
    }

    /// One more.
    pub(crate) fn add(&mut self, death: Death) {
        if self.all.is_empty() {
            self.first = (death.reason.clone(), death.queue.clone(), death.exchange.clone());
        }
        let known = self.all.iter().position(|it| it.queue == death.queue && it.reason == death.reason);
        let death = match known.map(|at| self.all.remove(at)) {
            Some(known) => Death { count: known.count.saturating_add(1), time: known.time, ..death },
            None => death,
        };
        self.all.insert(0, death);
        self.all.truncate(DEATHS);
    }

    /// True if it has been in the queue before, and nobody has rejected it since: it would go round for ever.
    pub(crate) fn is_cycle(&self, queue: &str) -> bool {
        let since = self.all.iter().position(|it| it.queue == queue);
        since.is_some_and(|at| self.all[..=at].iter().all(|it| it.reason != headers::REASON_REJECTED))
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let mut first = lines.next()?.split('\t').map(unescaped);
        let first = (first.next()?, first.next()?, first.next()?);
        Some(Self { first, all: lines.map(Death::parse).collect::<Option<_>>()? })
    }
}

/// What a header holds.
impl fmt::Display for Deaths {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (reason, queue, exchange) = &self.first;
        write!(out, "{}\t{}\t{}", Escaped(reason), Escaped(queue), Escaped(exchange))?;
        self.all.iter().try_for_each(|death| write!(out, "\n{death}"))
    }
}

impl Death {
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split('\t');
        let mut text = || fields.next().map(unescaped);
        let (reason, queue, exchange, key) = (text()?, text()?, text()?, text()?);
        let (count, time) = (text()?.parse().ok()?, text()?.parse().ok()?);
        let ttl_ms = Some(text()?).filter(|it| !it.is_empty()).map(|it| it.parse()).transpose().ok()?;
        Some(Self { reason, queue, count, time, exchange, key, ttl_ms })
    }
}

impl fmt::Display for Death {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reason, queue, count, time, exchange, key, ttl_ms } = self;
        let ttl = ttl_ms.map(|ms| ms.to_string()).unwrap_or_default();
        let [reason, queue, exchange, key] = [reason, queue, exchange, key].map(|it| Escaped(it));
        write!(out, "{reason}\t{queue}\t{exchange}\t{key}\t{count}\t{time}\t{ttl}")
    }
}

/// What parts fields and lines, and what begins an escape.
const SPECIAL: [(char, &str); 4] = [('%', "%25"), ('\t', "%09"), ('\n', "%0A"), ('\r', "%0D")];

/// A field that holds none of those.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|it| match SPECIAL.iter().find(|(special, _)| *special == it) {
            Some((_, escape)) => out.write_str(escape),
            None => out.write_char(it),
        })
    }
}

fn unescaped(field: &str) -> String {
    // The sign that begins an escape comes last, so that what it stood for is not taken for one.
    SPECIAL.iter().rev().fold(field.to_owned(), |text, (special, escape)| {
        if text.contains(escape) { text.replace(escape, special.encode_utf8(&mut [0; 4])) } else { text }
    })
}

/// Bytes as text; what is no text is marked.
pub(crate) fn text(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn death(queue: &str, reason: &str) -> Death {
        Death { reason: reason.to_owned(), queue: queue.to_owned(), count: 1, ..Death::default() }
    }

    #[test]
    fn deaths_in_one_queue_for_one_reason_are_counted_together_and_the_latest_stands_first() {
        let mut deaths = Deaths::default();
        for (queue, reason) in [("a", "expired"), ("b", "rejected"), ("a", "expired"), ("a", "maxlen")] {
            deaths.add(death(queue, reason));
        }
        let seen: Vec<_> = deaths.all.iter().map(|it| (&*it.queue, &*it.reason, it.count)).collect();
        assert_eq!(seen, [("a", "maxlen", 1), ("a", "expired", 2), ("b", "rejected", 1)]);
        assert_eq!(deaths.first.0, "expired");
    }

    #[test]
    fn it_goes_round_only_if_nobody_has_rejected_it_on_the_way() {
        let mut deaths = Deaths::default();
        deaths.add(death("a", "expired"));
        assert!(deaths.is_cycle("a"));
        assert!(!deaths.is_cycle("b"));
        deaths.add(death("b", "expired"));
        assert!(deaths.is_cycle("a"));
        deaths.add(death("c", "rejected"));
        assert!(!deaths.is_cycle("a"));
    }

    #[test]
    fn what_is_written_is_read_again_whatever_names_there_are() {
        let mut deaths = Deaths::default();
        for name in ["", "a\tb\nc\r", "%09%25%2509", "ü", "plain"] {
            let ttl_ms = (name.len() > 2).then_some(7);
            let names = Death { exchange: name.to_owned(), key: name.to_owned(), ..death(name, "expired") };
            deaths.add(Death { ttl_ms, time: -3, ..names });
        }
        let header = Header { key: headers::DEAD_HISTORY.into(), value: Some(deaths.to_string().into()) };
        assert_eq!(Deaths::of(std::slice::from_ref(&header)), Some(deaths));
        for nonsense in ["", "a", "a\tb\tc\nd", "a\tb\tc\na\tb\tc\td\tx\t1\t"] {
            let header = Header { value: Some(nonsense.into()), ..header.clone() };
            assert_eq!(Deaths::of(&[header]), None, "{nonsense:?}");
        }
    }

    #[test]
    fn a_record_remembers_only_so_many() {
        let mut deaths = Deaths::default();
        (0..300).for_each(|n| deaths.add(death(&n.to_string(), "expired")));
        assert_eq!(deaths.all.len(), DEATHS);
        assert_eq!((&*deaths.all[0].queue, &*deaths.first.1), ("299", "0"));
    }
}
