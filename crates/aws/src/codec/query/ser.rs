//! Writes a response's structure as XML: serde walks its fields, `shape` says what their elements are called.
//!
//! ```text
//! <SendMessageResponse xmlns="..."> <SendMessageResult> fields </SendMessageResult>
//!   <ResponseMetadata> <RequestId/> </ResponseMetadata> </SendMessageResponse>
//! ```

use std::fmt::{Display, Write};

use serde::ser::{
    Error as _, Impossible, Serialize, SerializeMap, SerializeSeq, SerializeStruct, Serializer,
};

use super::{MapNames, NAMESPACE, Shape, shape};
use crate::codec::xml::{Escaped, escape};

/// Why a structure was not written: it holds a kind of value that no response has.
type Error = serde::de::value::Error;

/// Writes the answer of an action, expecting about `bytes` bytes.
///
/// # Errors
/// If the structure holds a kind of value that no response has: a mistake of ours.
pub fn encode(
    action: &str,
    response: &impl Serialize,
    request_id: &str,
    bytes: usize,
) -> Result<Vec<u8>, String> {
    let mut out = begin(action, bytes);
    let result = format!("{action}Result");
    let element = Element { out: &mut out, tag: &result, shape: Shape::Plain(""), action };
    response.serialize(element).map_err(|error| error.to_string())?;
    Ok(end(out, action, request_id))
}

/// Writes the answer of an action without a result.
#[must_use]
pub fn empty(action: &str, request_id: &str) -> Vec<u8> {
    end(begin(action, 0), action, request_id)
}

fn begin(action: &str, bytes: usize) -> String {
    let mut out = String::with_capacity(bytes + 256);
    let _ = write!(out, "<?xml version=\"1.0\"?><{action}Response xmlns=\"{NAMESPACE}\">");
    out
}

fn end(mut out: String, action: &str, request_id: &str) -> Vec<u8> {
    let id = Escaped(request_id);
    let _ =
        write!(out, "<ResponseMetadata><RequestId>{id}</RequestId></ResponseMetadata></{action}Response>");
    out.into_bytes()
}

fn open(out: &mut String, tag: &str) {
    out.push('<');
    out.push_str(tag);
    out.push('>');
}

fn close(out: &mut String, tag: &str) {
    out.push_str("</");
    out.push_str(tag);
    out.push('>');
}

/// The element that a value becomes: one, or one for each member of a list or map.
struct Element<'o> {
    out: &'o mut String,
    tag: &'o str,
    shape: Shape,
    action: &'o str,
}

impl Element<'_> {
    fn text(self, text: &(impl Display + ?Sized)) {
        open(self.out, self.tag);
        // Writing into memory does not fail.
        let _ = write!(escape(&mut *self.out), "{text}");
        close(self.out, self.tag);
    }
}

fn unknown(kind: &str) -> Error {
    Error::custom(format!("no response holds {kind}"))
}

macro_rules! unknown {
    ($($method:ident: $kind:ty,)*) => {
        $(fn $method(self, _: $kind) -> Result<(), Error> {
            Err(unknown(stringify!($kind)))
        })*
    };
}

macro_rules! as_text {
    ($($method:ident: $kind:ty,)*) => {
        $(fn $method(self, value: $kind) -> Result<(), Error> {
            self.text(&value);
            Ok(())
        })*
    };
}

impl<'o> Serializer for Element<'o> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Members<'o>;
    type SerializeTuple = Impossible<(), Error>;
    type SerializeTupleStruct = Impossible<(), Error>;
    type SerializeTupleVariant = Impossible<(), Error>;
    type SerializeMap = Entries<'o>;
    type SerializeStruct = Fields<'o>;
    type SerializeStructVariant = Impossible<(), Error>;

    as_text! {
        serialize_bool: bool,
        serialize_i8: i8,
        serialize_i16: i16,
        serialize_i32: i32,
        serialize_i64: i64,
        serialize_u8: u8,
        serialize_u16: u16,
        serialize_u32: u32,
        serialize_u64: u64,
        serialize_char: char,
        serialize_str: &str,
    }

    unknown! {
        serialize_f32: f32,
        serialize_f64: f64,
        serialize_bytes: &[u8],
        serialize_unit_struct: &'static str,
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<(), Error> {
        self.text(value);
        Ok(())
    }

    fn serialize_none(self) -> Result<(), Error> {
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Error> {
        Ok(())
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), Error> {
        self.text(variant);
        Ok(())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), Error> {
        Err(unknown("a variant"))
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Members<'o>, Error> {
        match &self.shape {
            Shape::List(_) => Ok(Members(self)),
            Shape::Plain(_) | Shape::Map(_) => Err(unknown("a list without a name for its members")),
        }
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Entries<'o>, Error> {
        match self.shape {
            Shape::Map(names) => Ok(Entries { map: self, names, open: false }),
            Shape::Plain(_) | Shape::List(_) => Err(unknown("a map without names for its entries")),
        }
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Fields<'o>, Error> {
        open(self.out, self.tag);
        Ok(Fields(self))
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, Error> {
        Err(unknown("a tuple"))
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeTupleStruct, Error> {
        Err(unknown("a tuple"))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Error> {
        Err(unknown("a variant"))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, Error> {
        Err(unknown("a variant"))
    }
}

/// A structure: its fields within its element.
struct Fields<'o>(Element<'o>);

impl SerializeStruct for Fields<'_> {
    type Ok = ();
    type Error = Error;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        field: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        let shape = shape(self.0.action, field);
        let tag = match &shape {
            Shape::Plain(name) => name,
            Shape::List(member) => &**member,
            Shape::Map(names) => names.entry,
        };
        value.serialize(Element { out: self.0.out, tag, shape: shape.clone(), action: self.0.action })
    }

    fn end(self) -> Result<(), Error> {
        close(self.0.out, self.0.tag);
        Ok(())
    }
}

/// A list: an element for each member.
struct Members<'o>(Element<'o>);

impl SerializeSeq for Members<'_> {
    type Ok = ();
    type Error = Error;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        let Element { tag, action, .. } = self.0;
        value.serialize(Element { out: self.0.out, tag, shape: Shape::Plain(""), action })
    }

    fn end(self) -> Result<(), Error> {
        Ok(())
    }
}

/// A map: an element for each entry, with key and value within.
struct Entries<'o> {
    map: Element<'o>,
    names: MapNames,
    open: bool,
}

impl Entries<'_> {
    fn part<T: Serialize + ?Sized>(&mut self, tag: &str, value: &T) -> Result<(), Error> {
        let action = self.map.action;
        value.serialize(Element { out: self.map.out, tag, shape: Shape::Plain(""), action })
    }
}

impl SerializeMap for Entries<'_> {
    type Ok = ();
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        open(self.map.out, self.names.entry);
        self.open = true;
        self.part(self.names.key, key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.part(self.names.value, value)?;
        if std::mem::take(&mut self.open) {
            close(self.map.out, self.names.entry);
        }
        Ok(())
    }

    fn end(self) -> Result<(), Error> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::codec::response::{Ascii, Attribute, Attributes, Base64, Batch, Done, Failed, Map, Message};
    use crate::codec::response::{QueueUrls, Received, Tags};

    fn result(action: &str, response: &impl Serialize) -> String {
        let xml = String::from_utf8(encode(action, response, "id", 0).unwrap()).unwrap();
        let head = format!("<?xml version=\"1.0\"?><{action}Response xmlns=\"{NAMESPACE}\">");
        let tail =
            format!("<ResponseMetadata><RequestId>id</RequestId></ResponseMetadata></{action}Response>");
        xml.strip_prefix(&head).unwrap().strip_suffix(&tail).unwrap().to_owned()
    }

    #[test]
    fn a_message_is_written_as_older_sdks_read_it() {
        let binary =
            Attribute { string_value: None, binary_value: Some(Base64(b"\0")), data_type: "Binary".into() };
        let message = Message {
            message_id: Ascii::new([b'i'; 36]),
            receipt_handle: "h".to_owned(),
            md5_of_body: Ascii::new([b'0'; 32]),
            body: "<&>\r\n".into(),
            attributes: Map(vec![("SenderId".into(), "0".to_owned())]),
            md5_of_attributes: None,
            message_attributes: Map(vec![("b".into(), binary)]),
        };
        assert_eq!(
            result("ReceiveMessage", &Received { messages: vec![message.clone(), message] }).matches(
                "<Message><MessageId>iiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiii</MessageId><ReceiptHandle>h</ReceiptHandle>\
                 <MD5OfBody>00000000000000000000000000000000</MD5OfBody><Body>&lt;&amp;&gt;&#xD;\n</Body>\
                 <Attribute><Name>SenderId</Name><Value>0</Value></Attribute>\
                 <MessageAttribute><Name>b</Name><Value><BinaryValue>AA==</BinaryValue><DataType>Binary</DataType>\
                 </Value></MessageAttribute></Message>"
            ).count(),
            2
        );
        assert_eq!(
            result("ReceiveMessage", &Received { messages: Vec::new() }),
            "<ReceiveMessageResult></ReceiveMessageResult>"
        );
    }

    #[test]
    fn lists_maps_and_batches_are_flat() {
        let urls =
            QueueUrls { queue_urls: vec!["a".to_owned(), "b".to_owned()], next_token: Some("t".to_owned()) };
        assert_eq!(
            result("ListQueues", &urls),
            "<ListQueuesResult><QueueUrl>a</QueueUrl><QueueUrl>b</QueueUrl><NextToken>t</NextToken></ListQueuesResult>"
        );
        let attributes = Attributes { attributes: Map(vec![("DelaySeconds".into(), "0".to_owned())]) };
        assert_eq!(
            result("GetQueueAttributes", &attributes),
            "<GetQueueAttributesResult><Attribute><Name>DelaySeconds</Name><Value>0</Value></Attribute>\
             </GetQueueAttributesResult>"
        );
        let tags = Tags { tags: Map(vec![("k".into(), "v")]) };
        assert_eq!(
            result("ListQueueTags", &tags),
            "<ListQueueTagsResult><Tag><Key>k</Key><Value>v</Value></Tag></ListQueueTagsResult>"
        );
        let failed = Failed { id: "b", sender_fault: true, code: "C", message: "m".into() };
        let batch = Batch { successful: vec![Done { id: "a" }], failed: vec![failed] };
        assert_eq!(
            result("DeleteMessageBatch", &batch),
            "<DeleteMessageBatchResult><DeleteMessageBatchResultEntry><Id>a</Id></DeleteMessageBatchResultEntry>\
             <BatchResultErrorEntry><Id>b</Id><SenderFault>true</SenderFault><Code>C</Code><Message>m</Message>\
             </BatchResultErrorEntry></DeleteMessageBatchResult>"
        );
    }

    #[test]
    fn an_answer_without_a_result_has_its_request_id() {
        let xml = String::from_utf8(empty("DeleteQueue", "id")).unwrap();
        assert!(xml.ends_with(
            "<ResponseMetadata><RequestId>id</RequestId></ResponseMetadata></DeleteQueueResponse>"
        ));
    }
}
