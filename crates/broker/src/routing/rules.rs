//! Rules: a condition on a record in JSON, over its headers or over its body.
//!
//! ```text
//! {"store": ["books"], "price": [{"numeric": [">", 10]}], "$or": [{"eu": [true]}, {"country": [{"prefix": "d"}]}]}
//! ```
//! All keys must hold; of a key's list one test must. A header's type stands in the header `duolog-type.NAME`: `Number...` is compared
//! as a number, `String.Array` is a JSON list of which one element must pass, `Binary...` is not looked at. Below a body's lists one
//! element must hold. The text is kept as it was written; what is compiled of it is derived. Adding a test: `Test`, `parse.rs`.
//! Source: Amazon EventBridge User Guide, "Comparison operators"; SNS Developer Guide, "Subscription filter policies".

mod json;
mod parse;
mod pattern;

use std::borrow::Cow;
use std::cell::OnceCell;
use std::net::IpAddr;

use duolog_record::Header;

use self::json::{Json, get};
use self::pattern::Pattern;
use crate::headers::TYPE_PREFIX;
use crate::limits::RULES_BODY_BYTES;

/// What rules are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RulesOn {
    /// The record's headers.
    Headers,
    /// Its body, a JSON object of at most `limits::RULES_BODY_BYTES` bytes; any other body fails.
    Body,
}

/// Why a text is no rules.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RulesError(pub(crate) Cow<'static, str>);

/// See the module. Two are equal if their texts are.
#[derive(Clone, Debug)]
pub struct Rules {
    on: RulesOn,
    text: String,
    all: All,
}

impl PartialEq for Rules {
    fn eq(&self, other: &Self) -> bool {
        (self.on, &self.text) == (other.on, &other.text)
    }
}

impl Eq for Rules {}

/// All of these hold.
#[derive(Clone, Debug, Default)]
struct All(Vec<Field>);

#[derive(Clone, Debug)]
enum Field {
    /// What stands under a name passes one of these.
    Passes(String, Vec<Test>),
    /// What stands under a name is an object for which all of these hold.
    Within(String, All),
    /// One of these holds.
    Or(Vec<All>),
}

#[derive(Clone, Debug, PartialEq)]
enum Test {
    Text(String),
    Number(f64),
    Bool(bool),
    Null,
    Prefix(String),
    Suffix(String),
    /// In lower case.
    IgnoreCase(String),
    Wildcard(Pattern),
    /// Least and most, and whether they themselves pass.
    Range(Option<(f64, bool)>, Option<(f64, bool)>),
    /// Addresses that begin with so many bits of this one.
    Network(IpAddr, u32),
    Exists(bool),
    /// There is a value that passes none of these.
    Not(Vec<Test>),
}

/// Names and values.
type Object<'a> = Vec<(Cow<'a, str>, Json<'a>)>;

/// A value that is compared.
enum Leaf<'a> {
    Text(Cow<'a, str>),
    Number(f64),
    Bool(bool),
    Null,
}

/// A record as conditions see it. Its body is parsed once, if any of them asks.
pub struct Seen<'a> {
    /// Headers.
    pub headers: &'a [Header],
    body: &'a [u8],
    parsed: OnceCell<Option<Json<'a>>>,
}

impl<'a> Seen<'a> {
    /// A record with these headers and this body.
    #[must_use]
    pub fn new(headers: &'a [Header], body: &'a [u8]) -> Self {
        Self { headers, body, parsed: OnceCell::new() }
    }

    fn object(&self) -> Option<&Object<'a>> {
        let parse = || match self.body.len() {
            0..=RULES_BODY_BYTES => json::parse(std::str::from_utf8(self.body).ok()?).ok(),
            _ => None,
        };
        match self.parsed.get_or_init(parse) {
            Some(Json::Object(object)) => Some(object),
            Some(_) | None => None,
        }
    }
}

impl Rules {
    /// Reads rules.
    ///
    /// # Errors
    /// What is wrong, in words for whoever wrote them.
    pub fn parse(on: RulesOn, text: &str) -> Result<Self, RulesError> {
        Ok(Self { on, text: text.to_owned(), all: parse::parse(on, text)? })
    }

    /// What they are about.
    #[must_use]
    pub fn on(&self) -> RulesOn {
        self.on
    }

    /// As they were written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Bytes of memory that they take, about: what is compiled takes no more than twice the text, and a little for each test.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>() + 3 * self.text.len() + self.all.tests() * size_of::<Test>()
    }

    /// True if they hold for a record.
    #[must_use]
    pub fn hold(&self, record: &Seen<'_>) -> bool {
        match self.on {
            RulesOn::Headers => self.all.hold(&Level::Headers(record.headers)),
            RulesOn::Body => record.object().is_some_and(|object| self.all.hold(&Level::Object(object))),
        }
    }
}

/// Where names are looked up.
enum Level<'a> {
    Headers(&'a [Header]),
    Object(&'a Object<'a>),
    Nothing,
}

impl All {
    fn tests(&self) -> usize {
        let of = |field: &Field| match field {
            Field::Passes(_, tests) => 1 + tests.len(),
            Field::Within(_, all) => 1 + all.tests(),
            Field::Or(some) => 1 + some.iter().map(Self::tests).sum::<usize>(),
        };
        self.0.iter().map(of).sum()
    }

    fn hold(&self, level: &Level<'_>) -> bool {
        self.0.iter().all(|field| match field {
            Field::Passes(name, tests) => {
                let leaves = level.leaves(name);
                tests.iter().any(|test| test.passes(&leaves))
            }
            Field::Within(name, all) => match level {
                Level::Object(object) => all.hold_in(get(object, name)),
                Level::Headers(_) | Level::Nothing => all.hold(&Level::Nothing),
            },
            Field::Or(some) => some.iter().any(|all| all.hold(level)),
        })
    }

    fn hold_in(&self, value: Option<&Json<'_>>) -> bool {
        match value {
            Some(Json::Object(object)) => self.hold(&Level::Object(object)),
            Some(Json::List(list)) => list.iter().any(|value| self.hold_in(Some(value))),
            // That something is not there may be what is asked for.
            Some(_) | None => self.hold(&Level::Nothing),
        }
    }
}

impl<'a> Level<'a> {
    /// The values under a name, those of lists each by itself.
    fn leaves(&self, name: &str) -> Vec<Leaf<'a>> {
        let mut leaves = Vec::new();
        match self {
            Self::Headers(headers) => {
                let header = headers.iter().find(|header| header.key == name.as_bytes());
                if let Some(header) = header {
                    add_header(header.value.as_deref(), type_of(headers, name), &mut leaves);
                }
            }
            Self::Object(object) => {
                if let Some(value) = get(object, name) {
                    add_value(value, &mut leaves);
                }
            }
            Self::Nothing => {}
        }
        leaves
    }
}

fn type_of<'a>(headers: &'a [Header], name: &str) -> &'a str {
    let is_its = |header: &&Header| header.key.strip_prefix(TYPE_PREFIX.as_bytes()) == Some(name.as_bytes());
    let header = headers.iter().find(is_its).and_then(|header| header.value.as_deref());
    header.and_then(|value| std::str::from_utf8(value).ok()).unwrap_or("String")
}

fn add_header<'a>(value: Option<&'a [u8]>, data_type: &str, leaves: &mut Vec<Leaf<'a>>) {
    let Some(value) = value else { return leaves.push(Leaf::Null) };
    let Some(text) = std::str::from_utf8(value).ok().filter(|_| !data_type.starts_with("Binary")) else {
        return;
    };
    if data_type == "String.Array"
        && let Ok(list @ Json::List(_)) = json::parse(text)
    {
        return add_value(&list, leaves);
    }
    let number = if data_type.starts_with("Number") { text.parse().ok() } else { None };
    leaves.push(number.map_or(Leaf::Text(text.into()), Leaf::Number));
}

fn add_value<'a>(value: &Json<'a>, leaves: &mut Vec<Leaf<'a>>) {
    match value {
        Json::Text(text) => leaves.push(Leaf::Text(text.clone())),
        Json::List(list) => list.iter().for_each(|value| add_value(value, leaves)),
        Json::Number(number) => leaves.push(Leaf::Number(*number)),
        Json::Bool(is) => leaves.push(Leaf::Bool(*is)),
        Json::Null => leaves.push(Leaf::Null),
        // Only what stands within it is compared.
        Json::Object(_) => {}
    }
}

impl Test {
    fn passes(&self, leaves: &[Leaf<'_>]) -> bool {
        match self {
            Self::Exists(wanted) => *wanted != leaves.is_empty(),
            test => leaves.iter().any(|leaf| test.takes(leaf)),
        }
    }

    fn takes(&self, leaf: &Leaf<'_>) -> bool {
        match (self, leaf) {
            (Self::Text(wanted), Leaf::Text(text)) => wanted == text,
            (Self::Prefix(prefix), Leaf::Text(text)) => text.starts_with(prefix),
            (Self::Suffix(suffix), Leaf::Text(text)) => text.ends_with(suffix),
            // In lower case no character is longer than three times itself, or shorter than a third.
            (Self::IgnoreCase(wanted), Leaf::Text(text)) => {
                text.len() <= 3 * wanted.len() && *wanted == text.to_lowercase()
            }
            (Self::Wildcard(pattern), Leaf::Text(text)) => pattern.fits(text),
            (Self::Network(network, bits), Leaf::Text(text)) => {
                text.parse().is_ok_and(|address| is_within(*network, *bits, address))
            }
            (Self::Number(wanted), Leaf::Number(number)) => wanted == number,
            (Self::Range(least, most), Leaf::Number(number)) => {
                let above = |&(least, itself)| *number > least || (itself && *number == least);
                let below = |&(most, itself)| *number < most || (itself && *number == most);
                least.as_ref().is_none_or(above) && most.as_ref().is_none_or(below)
            }
            (Self::Bool(wanted), Leaf::Bool(is)) => wanted == is,
            (Self::Null, Leaf::Null) => true,
            (Self::Not(tests), leaf) => !tests.iter().any(|test| test.takes(leaf)),
            (Self::Exists(wanted), _) => *wanted,
            (
                Self::Text(_)
                | Self::Prefix(_)
                | Self::Suffix(_)
                | Self::IgnoreCase(_)
                | Self::Wildcard(_)
                | Self::Network(..)
                | Self::Number(_)
                | Self::Range(..)
                | Self::Bool(_)
                | Self::Null,
                _,
            ) => false,
        }
    }
}

fn is_within(network: IpAddr, bits: u32, address: IpAddr) -> bool {
    let (network, address, width) = match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            (u128::from(u32::from(network)), u128::from(u32::from(address)), 32)
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => (u128::from(network), u128::from(address), 128),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return false,
    };
    // A shift by the whole width is none.
    (network ^ address).checked_shr(width - bits).is_none_or(|differs| differs == 0)
}
