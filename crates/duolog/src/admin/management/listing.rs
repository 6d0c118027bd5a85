//! Lists as tools ask for them: some columns, in some order, of some lists a page.
//!
//! A layer over all answers, because it is the same for each: what was answered is taken apart again only where that is asked for.
//! Source: RabbitMQ documentation, "HTTP API Reference", "Pagination"; RabbitMQ 3.10, observed, for defaults and refusals.

use std::cmp::Ordering;

use axum::body::{Body, to_bytes};
use axum::extract::{Query, Request};
use axum::http::header::CONTENT_LENGTH;
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use regex::bytes::RegexBuilder;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::error::Refusal;

/// Items of a page if the request does not say.
const PAGE_ITEMS: usize = 100;
/// Items of a page at the most.
const PAGE_ITEMS_MAX: usize = 500;
/// Bytes that a pattern of names takes in memory.
const PATTERN_BYTES: usize = 64 << 10;

/// What a query may ask of a list.
#[derive(Debug, Default, Deserialize)]
struct Asked {
    page: Option<String>,
    page_size: Option<String>,
    name: Option<String>,
    use_regex: Option<String>,
    columns: Option<String>,
    sort: Option<String>,
    sort_reverse: Option<String>,
}

/// A page of a list.
#[derive(Clone, Copy, Debug)]
struct Page {
    number: usize,
    items: usize,
}

/// Gives of an answer what its request asks for.
pub async fn shape(request: Request, next: Next) -> Response {
    if request.method() != Method::GET {
        return next.run(request).await;
    }
    let has_pages = has_pages(request.uri().path());
    let asked = Query::<Asked>::try_from_uri(request.uri());
    let Ok(Query(asked)) = asked else {
        return Refusal::Bad("the query cannot be read".to_owned()).into_response();
    };
    let page = match asked.page() {
        Ok(page) => page.filter(|_| has_pages),
        Err(refusal) => return refusal.into_response(),
    };
    let answer = next.run(request).await;
    let is_asked = page.is_some() || asked.columns.is_some() || asked.sort.is_some();
    if !is_asked || answer.status() != StatusCode::OK {
        return answer;
    }
    match shaped(answer, &asked, page).await {
        Ok(answer) => answer,
        Err(refusal) => refusal.into_response(),
    }
}

/// Those that may become long. Source: as the module.
fn has_pages(path: &str) -> bool {
    let mut parts = path.trim_start_matches("/api/").split('/');
    match (parts.next(), parts.count()) {
        (Some("queues" | "exchanges"), more) => more <= 1,
        (Some("connections" | "channels" | "vhosts"), more) => more == 0,
        _ => false,
    }
}

async fn shaped(answer: Response, asked: &Asked, page: Option<Page>) -> Result<Response, Refusal> {
    let (mut head, body) = answer.into_parts();
    // It is here already: nothing that this API answers comes from elsewhere.
    let bytes = to_bytes(body, usize::MAX).await.map_err(|error| Refusal::Unavailable(error.to_string()))?;
    let shaped = match serde_json::from_slice(&bytes) {
        Ok(Value::Array(all)) => asked.list(all, page)?,
        Ok(Value::Object(one)) => asked.of_one(one),
        _ => return Ok(Response::from_parts(head, Body::from(bytes))),
    };
    head.headers.remove(CONTENT_LENGTH);
    Ok(Response::from_parts(head, Body::from(shaped.to_string())))
}

impl Asked {
    fn page(&self) -> Result<Option<Page>, Refusal> {
        let Some(number) = &self.page else { return Ok(None) };
        let whole = |text: &String| {
            text.parse::<i64>().map_err(|_| Refusal::Bad("Pagination parameters are invalid".to_owned()))
        };
        let (number, items) = (whole(number)?, self.page_size.as_ref().map(whole).transpose()?);
        let out_of_bounds = || {
            let size = items.map_or("undefined".to_owned(), |it| it.to_string());
            let why = format!("Invalid pagination parameters: page number {number}, page size {size}");
            Refusal::BadPage("invalid_pagination_parameters", why)
        };
        let number = usize::try_from(number).ok().filter(|it| *it > 0).ok_or_else(out_of_bounds)?;
        let items = usize::try_from(items.unwrap_or(PAGE_ITEMS as i64)).map_err(|_| out_of_bounds())?;
        if !(1..=PAGE_ITEMS_MAX).contains(&items) {
            return Err(out_of_bounds());
        }
        Ok(Some(Page { number, items }))
    }

    fn list(&self, mut all: Vec<Value>, page: Option<Page>) -> Result<Value, Refusal> {
        let total = all.len();
        if page.is_some() {
            self.filter(&mut all)?;
        }
        if let Some(key) = self.sort.as_deref().filter(|key| !key.is_empty()) {
            // Stable, so that what is the same stays in order.
            all.sort_by(|one, other| order(at(one, key), at(other, key)));
        }
        if self.sort.is_some() && self.sort_reverse.as_deref() == Some("true") {
            all.reverse();
        }
        let filtered = all.len();
        let Some(Page { number, items }) = page else { return Ok(self.with_columns(all)) };
        let pages = filtered.div_ceil(items);
        if number > pages.max(1) {
            let why = format!("Page out of range, page: {number} page size: {items}, len: {filtered}");
            return Err(Refusal::BadPage("page_out_of_range", why));
        }
        let shown: Vec<_> = all.into_iter().skip((number - 1) * items).take(items).collect();
        Ok(json!({
            "total_count": total,
            "filtered_count": filtered,
            "item_count": shown.len(),
            "page": number,
            "page_size": items,
            "page_count": pages,
            "items": self.with_columns(shown),
        }))
    }

    /// Leaves those whose name has it in it, or matches it; upper and lower case are one.
    fn filter(&self, all: &mut Vec<Value>) -> Result<(), Refusal> {
        let Some(wanted) = self.name.as_deref().filter(|it| !it.is_empty()) else { return Ok(()) };
        let pattern = match self.use_regex.as_deref() {
            Some("true") => wanted.to_owned(),
            _ => regex::escape(wanted),
        };
        let mut building = RegexBuilder::new(&pattern);
        building
            .unicode(false)
            .case_insensitive(true)
            .size_limit(PATTERN_BYTES)
            .dfa_size_limit(PATTERN_BYTES);
        let pattern = building.build();
        let pattern = pattern
            .map_err(|_| Refusal::Bad("Pagination parameters are invalid: name is no pattern".to_owned()))?;
        all.retain(|it| it["name"].as_str().is_some_and(|name| pattern.is_match(name.as_bytes())));
        Ok(())
    }

    fn with_columns(&self, all: Vec<Value>) -> Value {
        let one = |it: Value| match it {
            Value::Object(one) => self.of_one(one),
            other => other,
        };
        all.into_iter().map(one).collect()
    }

    fn of_one(&self, one: Map<String, Value>) -> Value {
        let one = Value::Object(one);
        let Some(columns) = &self.columns else { return one };
        let mut picked = json!({});
        for column in columns.split(',') {
            if let Some(value) = at(&one, column) {
                put(&mut picked, column, value.clone());
            }
        }
        picked
    }
}

/// What stands under a path of keys with dots between.
fn at<'a>(it: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(it, |it, key| it.get(key))
}

/// Puts it there.
fn put(to: &mut Value, path: &str, value: Value) {
    let place = path.split('.').fold(to, |to, key| {
        if !to.is_object() {
            *to = json!({});
        }
        &mut to[key]
    });
    *place = value;
}

/// Nothing, then numbers, then truth values, then texts, then the rest.
fn order(one: Option<&Value>, other: Option<&Value>) -> Ordering {
    let rank = |it: Option<&Value>| match it {
        None | Some(Value::Null) => 0,
        Some(Value::Number(_)) => 1,
        Some(Value::Bool(_)) => 2,
        Some(Value::String(_)) => 3,
        Some(Value::Array(_) | Value::Object(_)) => 4,
    };
    let as_f64 = |it: &Value| it.as_f64().unwrap_or_default();
    rank(one).cmp(&rank(other)).then_with(|| match (one, other) {
        (Some(one @ Value::Number(_)), Some(other)) => as_f64(one).total_cmp(&as_f64(other)),
        (Some(Value::String(one)), Some(Value::String(other))) => one.cmp(other),
        (Some(Value::Bool(one)), Some(Value::Bool(other))) => one.cmp(other),
        (Some(one @ (Value::Array(_) | Value::Object(_))), Some(other)) => {
            one.to_string().cmp(&other.to_string())
        }
        _ => Ordering::Equal,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_of_what_may_become_long() {
        for path in ["/api/queues", "/api/queues/%2f", "/api/exchanges/v", "/api/connections", "/api/vhosts"]
        {
            assert!(has_pages(path), "{path}");
        }
        for path in
            ["/api/queues/%2f/q", "/api/queues/v/q/bindings", "/api/bindings", "/api/vhosts/v/connections"]
        {
            assert!(!has_pages(path), "{path}");
        }
    }

    #[test]
    fn columns_are_picked_by_path() {
        let asked = Asked { columns: Some("a,b.c,b.x,no,a.b".to_owned()), ..Asked::default() };
        let one = json!({ "a": 1, "b": { "c": 2, "d": 3 }, "e": 4 });
        assert_eq!(asked.of_one(one.as_object().unwrap().clone()), json!({ "a": 1, "b": { "c": 2 } }));
    }

    #[test]
    fn values_of_all_types_have_an_order() {
        let all =
            [json!(null), json!(-1), json!(2.5), json!(10), json!(false), json!("a"), json!([1]), json!({})];
        for (index, one) in all.iter().enumerate() {
            for (other_index, other) in all.iter().enumerate() {
                assert_eq!(order(Some(one), Some(other)), index.cmp(&other_index), "{one} {other}");
            }
        }
    }
}
