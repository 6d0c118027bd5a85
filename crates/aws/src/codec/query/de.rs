//! Reads a request's structure out of parameters: serde asks for fields by their names in AWS JSON, `shape` says where
//! they stand.

use std::fmt;

use serde::de::value::{BorrowedStrDeserializer, Error};
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::form::{Form, Node, is_index};
use super::{MapNames, Shape, shape};

/// Reads the request of an action. Parameters that it does not have are ignored, as the service does.
///
/// # Errors
/// Which parameter is wrong and why.
pub fn decode<'a, T: Deserialize<'a>>(form: &'a Form<'_>, action: &str) -> Result<T, String> {
    let value = Value { node: form.root(), shape: Shape::Plain("the request"), action };
    T::deserialize(value).map_err(|error| error.to_string())
}

/// What stands at one place, and how it is to be read.
struct Value<'f, 's> {
    node: Node<'f>,
    shape: Shape,
    action: &'s str,
}

impl<'f> Value<'f, '_> {
    fn text(&self) -> Result<&'f str, Error> {
        self.node.value().ok_or_else(|| Error::custom(format!("{} must have a value", self.name())))
    }

    fn name(&self) -> &str {
        match &self.shape {
            Shape::Plain(name) => name,
            Shape::List(member) => member,
            Shape::Map(names) => names.entry,
        }
    }

    fn parse<T: std::str::FromStr>(&self, expected: &str) -> Result<T, Error> {
        let text = self.text()?;
        text.parse().map_err(|_| {
            let shown: String = text.chars().take(100).collect();
            Error::custom(format!("the value {shown} of {} must be {expected}", self.name()))
        })
    }
}

impl<'de> Deserializer<'de> for Value<'de, '_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.shape {
            Shape::Plain(_) => visitor.visit_borrowed_str(self.text()?),
            Shape::List(_) => visitor.visit_seq(members(self)?),
            Shape::Map(names) => visitor.visit_map(entries(*names, &self)?),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_i64(self.parse("an integer")?)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_bool(self.parse("true or false")?)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_map(Fields { node: self.node, action: self.action, fields, last: None, next: None })
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct newtype_struct seq
        tuple tuple_struct map enum identifier
    }
}

/// The fields of a structure that are there.
struct Fields<'f, 's> {
    node: Node<'f>,
    action: &'s str,
    fields: &'static [&'static str],
    /// A field's second name in JSON follows the first, and is the same parameter.
    last: Option<Shape>,
    next: Option<(Node<'f>, Shape)>,
}

impl<'f> MapAccess<'f> for Fields<'f, '_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'f>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        while let Some((field, rest)) = self.fields.split_first() {
            self.fields = rest;
            let shape = shape(self.action, field);
            let node = match &shape {
                Shape::Plain(name) => self.node.child(name),
                Shape::List(member) => self.node.child(member),
                Shape::Map(names) => self.node.child(names.entry),
            };
            if let Some(node) = node.filter(|_| self.last.as_ref() != Some(&shape)) {
                self.last = Some(shape.clone());
                self.next = Some((node, shape));
                return seed.deserialize(BorrowedStrDeserializer::<Error>::new(field)).map(Some);
            }
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'f>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let (node, shape) = self.next.take().ok_or_else(|| Error::custom("a value without a name"))?;
        seed.deserialize(Value { node, shape, action: self.action })
    }
}

/// The members of a list: `X.1`, `X.2`, or a bare `X` for the only one.
fn members<'f, 's>(list: Value<'f, 's>) -> Result<impl SeqAccess<'f, Error = Error> + use<'f, 's>, Error> {
    check_indexes(&list, None)?;
    let alone = list.node.value().is_some().then_some(list.node);
    let nodes = alone.into_iter().chain(list.node.children().map(|(_, node)| node));
    let action = list.action;
    Ok(Members(nodes.map(move |node| Value { node, shape: Shape::Plain("a list's member"), action })))
}

struct Members<I>(I);

impl<'f, 's, I: Iterator<Item = Value<'f, 's>>> SeqAccess<'f> for Members<I> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'f>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        self.0.next().map(|value| seed.deserialize(value)).transpose()
    }
}

/// The entries of a map: `X.1.Name` with `X.1.Value`, or `X.Name` with `X.Value` for the only one.
fn entries<'f, 's>(
    names: MapNames,
    map: &Value<'f, 's>,
) -> Result<impl MapAccess<'f, Error = Error> + use<'f, 's>, Error> {
    if map.node.value().is_some() {
        return Err(Error::custom(format!("{0} is a map; number its entries as in {0}.1", names.entry)));
    }
    let alone = map.node.child(names.key).map(|_| map.node);
    check_indexes(map, alone.is_some().then_some(names))?;
    let nodes = map.node.children().filter(|(part, _)| is_index(part)).map(|(_, node)| node);
    Ok(Entries { nodes: alone.into_iter().chain(nodes), names, action: map.action, value: None })
}

struct Entries<'f, 's, I> {
    nodes: I,
    names: MapNames,
    action: &'s str,
    value: Option<Node<'f>>,
}

impl<'f, I: Iterator<Item = Node<'f>>> MapAccess<'f> for Entries<'f, '_, I> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'f>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some(node) = self.nodes.next() else { return Ok(None) };
        let missing = |part: &str| Error::custom(format!("{}.N.{part} is missing", self.names.entry));
        let key = node.child(self.names.key).ok_or_else(|| missing(self.names.key))?;
        let value = node.child(self.names.value).ok_or_else(|| missing(self.names.value))?;
        self.value = Some(value);
        let shape = Shape::Plain(self.names.key);
        seed.deserialize(Value { node: key, shape, action: self.action }).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'f>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let node = self.value.take().ok_or_else(|| Error::custom("a value without a name"))?;
        seed.deserialize(Value { node, shape: Shape::Plain(self.names.value), action: self.action })
    }
}

/// A list's parts are numbers; those of a map's only entry may be its names.
fn check_indexes(value: &Value<'_, '_>, alone: Option<MapNames>) -> Result<(), Error> {
    let known =
        |part: &str| is_index(part) || alone.is_some_and(|names| part == names.key || part == names.value);
    match value.node.children().find(|(part, _)| !known(part)) {
        None => Ok(()),
        Some((part, _)) => Err(Error::custom(Stray { list: value.name(), part })),
    }
}

struct Stray<'a> {
    list: &'a str,
    part: &'a str,
}

impl fmt::Display for Stray<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{0}.{1} is not known; number the parameters as in {0}.1", self.list, self.part)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::codec::request;

    fn read<'a, T: Deserialize<'a>>(form: &'a Form<'_>, action: &str) -> T {
        decode(form, action).unwrap()
    }

    #[test]
    fn a_send_is_read_as_older_sdks_write_it() {
        let form = Form::parse(&[
            "Action=SendMessage&Version=2012-11-05&QueueUrl=http%3A%2F%2Fh%2F0%2Fq&MessageBody=a+b&DelaySeconds=5",
            "MessageAttribute.1.Name=n&MessageAttribute.1.Value.DataType=Number\
             &MessageAttribute.1.Value.StringValue=1&MessageAttribute.2.Name=b\
             &MessageAttribute.2.Value.DataType=Binary&MessageAttribute.2.Value.BinaryValue=AA%3D%3D\
             &MessageSystemAttribute.1.Name=AWSTraceHeader\
             &MessageSystemAttribute.1.Value.DataType=String&MessageSystemAttribute.1.Value.StringValue=x",
        ])
        .unwrap();
        let send: request::SendMessage<'_> = read(&form, "SendMessage");
        assert_eq!(send.queue_url.unwrap().as_str(), "http://h/0/q");
        assert_eq!((send.message_body.unwrap().as_str(), send.delay_seconds), ("a b", Some(5)));
        let (name, value) = &send.message_attributes.kept[1];
        assert_eq!((name.as_str(), value.binary_value.as_deref()), ("b", Some("AA==")));
        assert_eq!((send.message_attributes.count, send.message_system_attributes.count), (2, 1));
    }

    #[test]
    fn batches_names_and_maps_are_read() {
        let form = Form::parse(&["SendMessageBatchRequestEntry.2.Id=b&SendMessageBatchRequestEntry.1.Id=a\
            &SendMessageBatchRequestEntry.1.MessageAttribute.1.Name=n\
            &SendMessageBatchRequestEntry.1.MessageAttribute.1.Value.DataType=String"])
        .unwrap();
        let batch: request::SendMessageBatch<'_> = read(&form, "SendMessageBatch");
        assert_eq!(batch.entries.count, 2);
        assert_eq!(batch.entries.kept[0].id.as_deref(), Some("a"));
        assert_eq!(batch.entries.kept[0].message_attributes.count, 1);
        let other: request::SettleBatch<'_> = read(&form, "DeleteMessageBatch");
        assert_eq!(other.entries.count, 0);

        let form =
            Form::parse(&["AttributeName=All&MessageAttributeName.1=a&MessageAttributeName.2=b"]).unwrap();
        let ask: request::ReceiveMessage<'_> = read(&form, "ReceiveMessage");
        assert_eq!((ask.attribute_names.count, ask.message_attribute_names.count), (1, 2));

        let form = Form::parse(&[
            "QueueName=q&Attribute.1.Name=DelaySeconds&Attribute.1.Value=&Tag.1.Key=k&Tag.1.Value=v",
        ])
        .unwrap();
        let create: request::CreateQueue<'_> = read(&form, "CreateQueue");
        assert_eq!((create.attributes.kept[0].1.as_str(), create.tags.kept[0].0.as_str()), ("", "k"));

        let form = Form::parse(&["Attribute.Name=DelaySeconds&Attribute.Value=45"]).unwrap();
        let set: request::SetQueueAttributes<'_> = read(&form, "SetQueueAttributes");
        assert_eq!(set.attributes.kept[0].1.as_str(), "45");
    }

    #[test]
    fn the_rest_is_counted_and_not_kept() {
        let many: Vec<String> =
            (0..100).map(|i| format!("DeleteMessageBatchRequestEntry.{i}.Id=x")).collect();
        let many = many.join("&");
        let form = Form::parse(&[&many]).unwrap();
        let batch: request::SettleBatch<'_> = read(&form, "DeleteMessageBatch");
        assert_eq!((batch.entries.kept.len(), batch.entries.count), (10, 100));
    }

    #[test]
    fn nonsense_is_an_error_that_names_its_parameter() {
        for (text, named) in [
            ("WaitTimeSeconds=x", "WaitTimeSeconds"),
            ("WaitTimeSeconds=1e99", "WaitTimeSeconds"),
            ("WaitTimeSeconds.1=1", "WaitTimeSeconds"),
            ("AttributeName.x=1", "AttributeName.x"),
            ("AttributeName.1.2=1", "member"),
            ("QueueUrl.1=1", "QueueUrl"),
        ] {
            let form = Form::parse(&[text]).unwrap();
            let error = decode::<request::ReceiveMessage<'_>>(&form, "ReceiveMessage").unwrap_err();
            assert!(error.contains(named), "{text}: {error}");
        }
        for text in
            ["Attribute.1.Name=x", "Attribute.1.Value=x", "Attribute.x.Name=1", "Attribute=1&Attribute.y=2"]
        {
            let form = Form::parse(&[text]).unwrap();
            assert!(
                decode::<request::SetQueueAttributes<'_>>(&form, "SetQueueAttributes").is_err(),
                "{text}"
            );
        }
    }
}
