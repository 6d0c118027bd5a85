//! Records and messages: the only place where one becomes the other. docs/mapping.md says the same for users.
//!
//! ```text
//! value   <-> Body; bytes that are no legal text arrive as base64, null as "", told by the attribute `duolog.body`
//! key     <-> MessageGroupId; a key that is none arrives as the attribute `duolog.key`
//! header  <-> attribute of that name; the header `duolog-type.NAME` keeps a type other than plain String
//! ```
//! Headers that begin with `duolog-` are ours: they are shown to those alone who ask for them by name or prefix. What
//! no attribute can be (an illegal or repeated name, more than ten) is folded into the attribute `duolog.overflow`.
//! Invariant: nothing of a record is dropped for who asks for `All` (and `duolog-*` for our own headers).

mod incoming;
mod outgoing;

#[cfg(test)]
mod tests;

use duolog_broker::headers::TYPE_PREFIX;

pub(crate) use incoming::{Attribute, new_record};
pub(crate) use outgoing::{Context, SystemNames, Wanted, message, message_id_of, sequence_number};

/// Prefix of the headers that are ours.
pub(crate) const RESERVED_PREFIX: &str = "duolog-";
/// Header with the value of `AWSTraceHeader`.
const TRACE_HEADER: &str = "duolog-aws-trace-header";
/// Attribute that says in which form a body arrives that is no legal text: `base64` or `null`.
const BODY_ATTRIBUTE: &str = "duolog.body";
/// Attribute with a key that is no legal group id.
const KEY_ATTRIBUTE: &str = "duolog.key";
/// Attribute with what does not fit into others.
const OVERFLOW_ATTRIBUTE: &str = "duolog.overflow";
/// Type of a header whose value is null.
const NULL_TYPE: &str = "String.null";
