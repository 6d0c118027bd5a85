//! The parameters of a request: split, decoded, and sorted by path, so that each structure, list and map is a slice.
//!
//! ```text
//! Action=SendMessage & MessageAttribute.1.Name=n & MessageAttribute.1.Value.DataType=Number & ...
//! ```
//! A path's parts are compared as numbers where both are numbers: `X.2` comes before `X.10`.

use std::borrow::Cow;
use std::cmp::Ordering;

use percent_encoding::percent_decode_str;

use crate::limits::{PARAMETER_NAME_BYTES, PARAMETERS};

/// Why parameters could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// More than the limit.
    #[error("there are more than {PARAMETERS} parameters")]
    TooMany,
    /// A name is longer than the limit.
    #[error("a parameter's name is longer than {PARAMETER_NAME_BYTES} bytes")]
    LongName,
    /// What the escapes give is no UTF-8.
    #[error("the value of {0} is not UTF-8")]
    NotText(String),
    /// A name stands twice.
    #[error("the parameter {0} stands twice")]
    Twice(String),
}

/// One parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Parameter<'a> {
    name: Cow<'a, str>,
    value: Cow<'a, str>,
}

/// The parameters of a request.
#[derive(Clone, Debug, Default)]
pub struct Form<'a> {
    parameters: Vec<Parameter<'a>>,
}

impl<'a> Form<'a> {
    /// Reads `a=b&c=d` texts, such as a URL's query and a form in a body.
    ///
    /// # Errors
    /// See [`FormError`].
    pub fn parse(texts: &[&'a str]) -> Result<Self, FormError> {
        let mut parameters = Vec::new();
        for pair in texts.iter().flat_map(|text| text.split('&')).filter(|pair| !pair.is_empty()) {
            if parameters.len() == PARAMETERS {
                return Err(FormError::TooMany);
            }
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if name.len() > PARAMETER_NAME_BYTES {
                return Err(FormError::LongName);
            }
            let name = unescape(name).ok_or_else(|| FormError::NotText(name.to_owned()))?;
            let value = unescape(value).ok_or_else(|| FormError::NotText(name.clone().into_owned()))?;
            parameters.push(Parameter { name, value });
        }
        parameters.sort_by(|a, b| order(&a.name, &b.name));
        if let Some(pair) = parameters.windows(2).find(|pair| pair[0].name == pair[1].name) {
            return Err(FormError::Twice(pair[0].name.clone().into_owned()));
        }
        Ok(Self { parameters })
    }

    /// The value of the parameter with exactly this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let at = self.parameters.binary_search_by(|parameter| order(&parameter.name, name)).ok()?;
        self.parameters.get(at).map(|parameter| &*parameter.value)
    }

    /// Adds a parameter that stands elsewhere in the request, unless it is there.
    pub fn add_if_absent(&mut self, name: &'static str, value: &'a str) {
        if let Err(at) = self.parameters.binary_search_by(|parameter| order(&parameter.name, name)) {
            self.parameters.insert(at, Parameter { name: name.into(), value: value.into() });
        }
    }

    pub(crate) fn root(&self) -> Node<'_> {
        Node { parameters: &self.parameters, depth: 0 }
    }
}

/// Parameters whose paths begin with the same `depth` parts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node<'f> {
    parameters: &'f [Parameter<'f>],
    depth: usize,
}

impl<'f> Node<'f> {
    /// The value that stands here itself.
    pub fn value(self) -> Option<&'f str> {
        let first = self.parameters.first()?;
        part(&first.name, self.depth).is_none().then_some(&*first.value)
    }

    /// What stands below the part `name`.
    pub fn child(self, name: &str) -> Option<Self> {
        let parameters = self.parameters;
        let compare = |parameter: &Parameter<'_>| order_parts(part(&parameter.name, self.depth), Some(name));
        let from = parameters.partition_point(|parameter| compare(parameter) == Ordering::Less);
        let to = parameters.partition_point(|parameter| compare(parameter) != Ordering::Greater);
        let below = parameters.get(from..to).filter(|below| !below.is_empty())?;
        Some(Self { parameters: below, depth: self.depth + 1 })
    }

    /// All that stands below, part by part.
    pub fn children(self) -> impl Iterator<Item = (&'f str, Self)> {
        let mut rest = self.parameters;
        std::iter::from_fn(move || {
            while let Some(first) = rest.first() {
                let Some(name) = part(&first.name, self.depth) else {
                    rest = &rest[1..];
                    continue;
                };
                let end = rest.partition_point(|parameter| part(&parameter.name, self.depth) == Some(name));
                let (below, after) = rest.split_at(end);
                rest = after;
                return Some((name, Self { parameters: below, depth: self.depth + 1 }));
            }
            None
        })
    }
}

fn part(name: &str, depth: usize) -> Option<&str> {
    name.split('.').nth(depth)
}

/// A total order of paths.
fn order(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.split('.'), b.split('.'));
    loop {
        let (a, b) = (a.next(), b.next());
        match order_parts(a, b) {
            Ordering::Equal if a.is_some() => {}
            order => return order,
        }
    }
}

/// No part, then numbers by value, then texts.
fn order_parts(a: Option<&str>, b: Option<&str>) -> Ordering {
    fn rank(part: Option<&str>) -> (u8, usize, &str) {
        match part {
            None => (0, 0, ""),
            // Without leading zeros, a longer number is a larger one.
            Some(text) if is_index(text) => {
                let digits = text.trim_start_matches('0');
                (1, digits.len(), digits)
            }
            Some(text) => (2, 0, text),
        }
    }
    rank(a).cmp(&rank(b)).then_with(|| a.cmp(&b))
}

/// True for a list's index.
pub(super) fn is_index(part: &str) -> bool {
    !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit())
}

/// Decodes `+` and `%XX`; `None` if the result is no UTF-8. What needs no decoding is borrowed.
fn unescape(text: &str) -> Option<Cow<'_, str>> {
    if !text.bytes().any(|byte| matches!(byte, b'+' | b'%')) {
        return Some(Cow::Borrowed(text));
    }
    let spaced = text.replace('+', " ");
    match percent_decode_str(&spaced).decode_utf8().ok()? {
        Cow::Owned(text) => Some(Cow::Owned(text)),
        Cow::Borrowed(_) => Some(Cow::Owned(spaced)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn parameters_are_decoded_and_found() {
        let form = Form::parse(&["Action=ListQueues&&Empty=&Bare", "X.1=a+b%26%C3%A4%2b"]).unwrap();
        assert_eq!(form.get("Action"), Some("ListQueues"));
        assert_eq!((form.get("Empty"), form.get("Bare"), form.get("X")), (Some(""), Some(""), None));
        assert_eq!(form.get("X.1"), Some("a b&ä+"));
        assert!(matches!(form.root().child("Action").unwrap().parameters[0].value, Cow::Borrowed(_)));
    }

    #[test]
    fn lists_stand_in_the_order_of_their_numbers() {
        let form = Form::parse(&["L.10=c&M.1=x&L.2.Y=b&L.1=a&L.2=z&LL.1=y"]).unwrap();
        let list = form.root().child("L").unwrap();
        let names: Vec<&str> = list.children().map(|(name, _)| name).collect();
        assert_eq!(names, ["1", "2", "10"]);
        let second = list.child("2").unwrap();
        assert_eq!((second.value(), second.child("Y").unwrap().value()), (Some("z"), Some("b")));
        assert!(list.child("3").is_none() && list.child("Y").is_none() && list.value().is_none());
    }

    #[test]
    fn what_is_malformed_is_refused() {
        assert_eq!(Form::parse(&["a=%ff"]).unwrap_err(), FormError::NotText("a".to_owned()));
        assert_eq!(Form::parse(&["a=1", "a=2"]).unwrap_err(), FormError::Twice("a".to_owned()));
        assert_eq!(Form::parse(&["x=1&".repeat(PARAMETERS + 1).as_str()]).unwrap_err(), FormError::TooMany);
        let long = "n".repeat(PARAMETER_NAME_BYTES + 1);
        assert_eq!(Form::parse(&[&long]).unwrap_err(), FormError::LongName);
        // An escape that is none stands for itself, as in browsers.
        assert_eq!(Form::parse(&["a=%zz%"]).unwrap().get("a"), Some("%zz%"));
    }

    #[test]
    fn what_is_absent_can_be_added() {
        let mut form = Form::parse(&["B=1"]).unwrap();
        form.add_if_absent("A", "0");
        form.add_if_absent("B", "2");
        assert_eq!((form.get("A"), form.get("B")), (Some("0"), Some("1")));
    }
}
