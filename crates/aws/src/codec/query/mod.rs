//! The Query protocol: form parameters in, XML out, for the same requests and responses that AWS JSON carries.
//!
//! `form` splits and sorts parameters, `de` reads a request's structure out of them, `ser` writes a response's structure
//! as XML. What a field is called here is said once, in `shape`. Adding a list or map field to a request or response:
//! its row there. Source: SQS API Reference, version 2012-11-05; the AWS query protocol of Smithy.

mod de;
mod form;
mod ser;

use std::borrow::Cow;

pub use de::decode;
pub(crate) use form::Node;
pub use form::{Form, FormError};
pub use ser::{empty, encode};

/// The version that is spoken.
pub const VERSION: &str = "2012-11-05";
/// The namespace of all answers.
pub const NAMESPACE: &str = "http://queue.amazonaws.com/doc/2012-11-05/";

/// How a field of a structure travels.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Shape {
    /// `NAME=value`, `<NAME>value</NAME>`; a structure within: `NAME.FIELD=value`.
    Plain(&'static str),
    /// `MEMBER.1=value`, `<MEMBER>value</MEMBER>` for each.
    List(Cow<'static, str>),
    /// `ENTRY.1.KEY=key&ENTRY.1.VALUE=value`, `<ENTRY><KEY>key</KEY><VALUE>value</VALUE></ENTRY>` for each.
    Map(MapNames),
}

/// Names of a map's parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct MapNames {
    entry: &'static str,
    key: &'static str,
    value: &'static str,
}

/// How the field with this name in AWS JSON travels in requests and responses of an action.
fn shape(action: &str, field: &'static str) -> Shape {
    let list = |member: &'static str| Shape::List(Cow::Borrowed(member));
    let named = |entry| Shape::Map(MapNames { entry, key: "Name", value: "Value" });
    match field {
        "Attributes" => named("Attribute"),
        "MessageAttributes" => named("MessageAttribute"),
        "MessageSystemAttributes" => named("MessageSystemAttribute"),
        "Tags" | "tags" => Shape::Map(MapNames { entry: "Tag", key: "Key", value: "Value" }),
        "AttributeNames" => list("AttributeName"),
        "MessageSystemAttributeNames" => list("MessageSystemAttributeName"),
        "MessageAttributeNames" => list("MessageAttributeName"),
        "TagKeys" => list("TagKey"),
        "AWSAccountIds" => list("AWSAccountId"),
        "Actions" => list("ActionName"),
        "StringListValues" => list("StringListValue"),
        "BinaryListValues" => list("BinaryListValue"),
        "QueueUrls" | "queueUrls" => list("QueueUrl"),
        "Messages" => list("Message"),
        "Failed" => list("BatchResultErrorEntry"),
        "Entries" => Shape::List(Cow::Owned(format!("{action}RequestEntry"))),
        "Successful" | "Results" => Shape::List(Cow::Owned(format!("{action}ResultEntry"))),
        plain => Shape::Plain(plain),
    }
}
