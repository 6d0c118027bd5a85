//! Reads rules out of their JSON, and says what is wrong with it.

use std::borrow::Cow;
use std::net::IpAddr;

use super::json::{self, Json};
use super::pattern::Pattern;
use super::{All, Field, RulesError, RulesOn, Test};
use crate::limits::{RULES_COMBINATIONS, RULES_KEYS};

const OR: &str = "$or";

pub(super) fn parse(on: RulesOn, text: &str) -> Result<All, RulesError> {
    let value = json::parse(text).map_err(|error| wrong(format!("failed to parse JSON. {error}")))?;
    let Json::Object(object) = value else { return Err(wrong("Filter policy must be a JSON object")) };
    if object.len() > RULES_KEYS {
        return Err(wrong(format!("Filter policy can not have more than {RULES_KEYS} keys")));
    }
    let mut reading = Reading { on, combinations: 1 };
    let all = reading.all(&object, 1)?;
    match reading.combinations > RULES_COMBINATIONS {
        true => Err(wrong("Filter policy is too complex")),
        false => Ok(all),
    }
}

fn wrong(what: impl Into<Cow<'static, str>>) -> RulesError {
    RulesError(what.into())
}

fn only_objects() -> RulesError {
    wrong("Only non-empty objects are allowed in the list of $or")
}

/// A name or value as a complaint shows it.
fn shown(text: &str) -> String {
    text.chars().take(100).collect()
}

struct Reading {
    on: RulesOn,
    /// The product over all lists of their lengths times their depths; alternatives are added.
    combinations: u64,
}

impl Reading {
    fn all(&mut self, object: &[(Cow<'_, str>, Json<'_>)], depth: u64) -> Result<All, RulesError> {
        let fields = object.iter().map(|(name, value)| self.field(name, value, depth));
        fields.collect::<Result<Vec<_>, _>>().map(All)
    }

    fn field(&mut self, name: &str, value: &Json<'_>, depth: u64) -> Result<Field, RulesError> {
        match value {
            Json::List(some) if name == OR => self.or(some, depth),
            Json::List(tests) if tests.is_empty() => Err(wrong("Empty arrays are not allowed")),
            Json::List(tests) => {
                self.combinations = self.combinations.saturating_mul(tests.len() as u64 * depth);
                let tests = tests.iter().map(test).collect::<Result<_, _>>()?;
                Ok(Field::Passes(name.to_owned(), tests))
            }
            Json::Object(_) if self.on == RulesOn::Headers => {
                Err(wrong("Filter policy scope MessageAttributes does not support nested filter policy"))
            }
            Json::Object(object) if object.is_empty() => Err(wrong("Empty objects are not allowed")),
            Json::Object(object) => Ok(Field::Within(name.to_owned(), self.all(object, depth + 1)?)),
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::Text(_) => {
                Err(wrong(format!("\"{}\" must be an object or an array", shown(name))))
            }
        }
    }

    fn or(&mut self, some: &[Json<'_>], depth: u64) -> Result<Field, RulesError> {
        if some.len() < 2 {
            return Err(wrong("There must have at least 2 Objects in OR relationship."));
        }
        let (before, mut sum) = (self.combinations, 0_u64);
        let mut all = Vec::with_capacity(some.len());
        for value in some {
            let Json::Object(object) = value else { return Err(only_objects()) };
            if object.is_empty() {
                return Err(only_objects());
            };
            self.combinations = 1;
            all.push(self.all(object, depth)?);
            sum = sum.saturating_add(self.combinations);
        }
        self.combinations = before.saturating_mul(sum);
        Ok(Field::Or(all))
    }
}

fn test(value: &Json<'_>) -> Result<Test, RulesError> {
    match value {
        Json::Object(object) => match object.first() {
            Some((operator, value)) if object.len() == 1 => operation(operator, value),
            Some(_) | None => Err(wrong("Only one key allowed in match expression")),
        },
        Json::List(_) => Err(wrong("Match value must be String, number, true, false, or null")),
        simple => simple_test(simple),
    }
}

fn simple_test(value: &Json<'_>) -> Result<Test, RulesError> {
    Ok(match value {
        Json::Text(text) => Test::Text(text.clone().into_owned()),
        Json::Number(number) => Test::Number(*number),
        Json::Bool(is) => Test::Bool(*is),
        Json::Null => Test::Null,
        Json::List(_) | Json::Object(_) => {
            return Err(wrong("Match value must be String, number, true, false, or null"));
        }
    })
}

fn operation(operator: &str, value: &Json<'_>) -> Result<Test, RulesError> {
    match operator {
        "prefix" | "suffix" | "equals-ignore-case" | "wildcard" => text_test(operator, value),
        "anything-but" => anything_but(value).map(Test::Not),
        "numeric" => numeric(value),
        "exists" => match value {
            Json::Bool(wanted) => Ok(Test::Exists(*wanted)),
            _ => Err(wrong("exists match pattern must be either true or false.")),
        },
        "cidr" => match value {
            Json::Text(text) => network(text),
            _ => Err(wrong("cidr match pattern must be a string")),
        },
        unknown => Err(wrong(format!("Unrecognized match type {}", shown(unknown)))),
    }
}

fn text_test(operator: &str, value: &Json<'_>) -> Result<Test, RulesError> {
    let Json::Text(text) = value else {
        return Err(wrong(format!("{operator} match pattern must be a string")));
    };
    Ok(match operator {
        "prefix" => Test::Prefix(text.clone().into_owned()),
        "suffix" => Test::Suffix(text.clone().into_owned()),
        "equals-ignore-case" => Test::IgnoreCase(text.to_lowercase()),
        _ => Test::Wildcard(Pattern::parse(text)?),
    })
}

fn anything_but(value: &Json<'_>) -> Result<Vec<Test>, RulesError> {
    let each = |list: &[Json<'_>], test: &dyn Fn(&Json<'_>) -> Result<Test, RulesError>| match list {
        [] => Err(wrong("Empty arrays are not allowed")),
        list => list.iter().map(test).collect(),
    };
    match value {
        Json::List(list) => each(list, &simple_test),
        Json::Object(object) => match object.first().map(|(name, value)| (&**name, value)) {
            Some((operator @ ("prefix" | "suffix" | "equals-ignore-case" | "wildcard"), value))
                if object.len() == 1 =>
            {
                match value {
                    Json::List(list) => each(list, &|value| text_test(operator, value)),
                    one => Ok(vec![text_test(operator, one)?]),
                }
            }
            Some((unknown, _)) if object.len() == 1 => {
                Err(wrong(format!("Unsupported anything-but pattern: {}", shown(unknown))))
            }
            Some(_) | None => Err(wrong("Only one key allowed in match expression")),
        },
        one => Ok(vec![simple_test(one)?]),
    }
}

fn numeric(value: &Json<'_>) -> Result<Test, RulesError> {
    let Json::List(list) = value else { return Err(wrong("Value of numeric must be an array.")) };
    let mut rest = list.iter();
    let operator = match rest.next() {
        Some(Json::Text(operator)) => &**operator,
        Some(other) => {
            return Err(wrong(format!("Invalid member in numeric match: {}", shown(&other.to_string()))));
        }
        None => return Err(wrong("Invalid member in numeric match: ]")),
    };
    let first = number(operator, rest.next());
    let test = match operator {
        "=" => Test::Number(first?),
        "<" | "<=" => Test::Range(None, Some((first?, *operator == *"<="))),
        ">" | ">=" => return above(operator, first?, rest.as_slice()),
        unknown => return Err(wrong(format!("Unrecognized numeric range operator: {}", shown(unknown)))),
    };
    match rest.as_slice() {
        [] => Ok(test),
        _ => Err(wrong("Too many elements in numeric expression")),
    }
}

/// What follows a lower bound: nothing, or an upper one.
fn above(operator: &str, least: f64, rest: &[Json<'_>]) -> Result<Test, RulesError> {
    let lower = Some((least, operator == ">="));
    let Some((operator, rest)) = rest.split_first() else { return Ok(Test::Range(lower, None)) };
    let operator = match operator {
        Json::Text(operator) if matches!(&**operator, "<" | "<=") => operator,
        other => return Err(wrong(format!("Bad numeric range operator: {}", shown(&other.to_string())))),
    };
    let most = number(operator, rest.first())?;
    if rest.len() > 1 {
        return Err(wrong("Too many terms in numeric range expression"));
    }
    match most > least {
        true => Ok(Test::Range(lower, Some((most, *operator == *"<=")))),
        false => Err(wrong("Bottom must be less than top")),
    }
}

fn number(operator: &str, value: Option<&Json<'_>>) -> Result<f64, RulesError> {
    let number = match value {
        Some(Json::Number(number)) => Some(*number),
        Some(_) | None => None,
    };
    number.ok_or_else(|| wrong(format!("Value of {} must be numeric", shown(operator))))
}

fn network(text: &str) -> Result<Test, RulesError> {
    let Some((address, bits)) = text.split_once('/') else {
        return Err(wrong("Malformed CIDR, one '/' required"));
    };
    let address: IpAddr =
        address.parse().map_err(|_| wrong(format!("Nonstandard IP address: {}", shown(address))))?;
    let width = if address.is_ipv4() { 32 } else { 128 };
    match bits.parse::<u32>() {
        Ok(bits) if bits <= width => Ok(Test::Network(address, bits)),
        Ok(_) | Err(_) => {
            Err(wrong("Malformed CIDR, mask bits must be between 0 and the width of the address"))
        }
    }
}
