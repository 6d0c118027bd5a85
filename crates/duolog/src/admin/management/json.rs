//! Tables of AMQP as JSON and back.

use duolog_amqp::codec::{Properties, RawTable, Scalar, Table, Value as Amqp, ValueRef};
use serde_json::{Map, Value, json};

use super::error::Refusal;

/// Tables and lists within one another that are taken.
const DEPTH: usize = 16;

/// A table, as an object.
pub fn object(table: RawTable<'_>) -> Value {
    let entry = |(name, value): (duolog_amqp::codec::ShortStr<'_>, ValueRef<'_>)| {
        (String::from_utf8_lossy(name.as_bytes()).into_owned(), value_of(value))
    };
    Value::Object(table.iter().map(entry).collect())
}

fn value_of(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::String(text) | ValueRef::Bytes(text) => json!(String::from_utf8_lossy(text.0)),
        ValueRef::Array(array) => array.iter().map(value_of).collect(),
        ValueRef::Table(table) => object(table),
        ValueRef::Scalar(scalar) => match scalar {
            Scalar::Void => Value::Null,
            Scalar::Bool(it) => json!(it),
            Scalar::Float(it) => json!(it),
            Scalar::Double(it) => json!(it),
            Scalar::Timestamp(it) => json!(it),
            Scalar::Decimal { scale, number } => json!(f64::from(number) / 10_f64.powi(scale.into())),
            scalar => json!(scalar.as_integer()),
        },
    }
}

/// An object, as a table.
///
/// # Errors
/// `Bad` if it is none.
pub fn table(value: Option<&Value>) -> Result<Table, Refusal> {
    match value {
        None | Some(Value::Null) => Ok(Table::default()),
        Some(Value::Object(map)) => table_of(map, 0),
        // What some clients make of an empty object.
        Some(Value::Array(list)) if list.is_empty() => Ok(Table::default()),
        Some(_) => Err(Refusal::Bad("arguments and headers are objects".to_owned())),
    }
}

fn table_of(map: &Map<String, Value>, depth: usize) -> Result<Table, Refusal> {
    map.iter()
        .try_fold(Table::default(), |table, (name, value)| Ok(table.with(name, amqp_of(value, depth + 1)?)))
}

fn amqp_of(value: &Value, depth: usize) -> Result<Amqp, Refusal> {
    if depth > DEPTH {
        return Err(Refusal::Bad(format!("more than {DEPTH} tables and lists within one another")));
    }
    Ok(match value {
        Value::Null => Amqp::Scalar(Scalar::Void),
        Value::Bool(it) => Amqp::Scalar(Scalar::Bool(*it)),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Amqp::Scalar(Scalar::Long(whole)),
            (None, number) => Amqp::Scalar(Scalar::Double(number.unwrap_or_default())),
        },
        Value::String(text) => Amqp::String(text.as_bytes().into()),
        Value::Array(list) => {
            Amqp::Array(list.iter().map(|it| amqp_of(it, depth + 1)).collect::<Result<_, _>>()?)
        }
        Value::Object(map) => Amqp::Table(table_of(map, depth)?),
    })
}

/// The properties of a message that are there.
pub fn properties(encoded: &[u8]) -> Value {
    let Ok(it) = Properties::decode(encoded) else { return json!({}) };
    let texts = [
        ("content_type", it.content_type),
        ("content_encoding", it.content_encoding),
        ("correlation_id", it.correlation_id),
        ("reply_to", it.reply_to),
        ("expiration", it.expiration),
        ("message_id", it.message_id),
        ("type", it.kind),
        ("user_id", it.user_id),
        ("app_id", it.app_id),
        ("cluster_id", it.cluster_id),
    ];
    let mut map = Map::new();
    for (name, text) in texts {
        if let Some(text) = text {
            map.insert(name.to_owned(), json!(String::from_utf8_lossy(text.as_bytes())));
        }
    }
    let numbers = [
        ("delivery_mode", it.delivery_mode.map(u64::from)),
        ("priority", it.priority.map(u64::from)),
        ("timestamp", it.timestamp),
    ];
    map.extend(numbers.into_iter().filter_map(|(name, number)| Some((name.to_owned(), json!(number?)))));
    if let Some(headers) = it.headers {
        map.insert("headers".to_owned(), object(headers));
    }
    Value::Object(map)
}
