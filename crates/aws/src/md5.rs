//! The digests that SDKs verify.
//!
//! ```text
//! of attributes: MD5 over all attributes, sorted by name, each as
//!   length u32 | name | length u32 | type | 1 (text) or 2 (binary) | length u32 | value      big-endian
//! ```
//! The type is the whole `DataType`, custom suffix included; the byte says only how the value travels.
//! Source: SQS Developer Guide, "Calculating the MD5 message digest for message attributes".

use ::md5::{Digest, Md5};

use crate::codec::response::Ascii;

/// What is hashed of one attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hashed<'a> {
    /// Name.
    pub name: &'a str,
    /// `DataType`.
    pub data_type: &'a str,
    /// The value, decoded.
    pub value: &'a [u8],
}

/// The digest of a body.
#[must_use]
pub fn of_body(body: &[u8]) -> Ascii<32> {
    hex(Md5::digest(body).into())
}

/// The digest of attributes; `None` without any. Sorts them.
#[must_use]
pub fn of_attributes(attributes: &mut [Hashed<'_>]) -> Option<Ascii<32>> {
    if attributes.is_empty() {
        return None;
    }
    attributes.sort_unstable();
    let mut digest = Md5::new();
    for attribute in attributes.iter() {
        let kind = if attribute.data_type.starts_with("Binary") { 2 } else { 1 };
        add(&mut digest, attribute.name.as_bytes());
        add(&mut digest, attribute.data_type.as_bytes());
        digest.update([kind]);
        add(&mut digest, attribute.value);
    }
    Some(hex(digest.finalize().into()))
}

fn add(digest: &mut Md5, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    digest.update(length.to_be_bytes());
    digest.update(bytes);
}

fn hex(bytes: [u8; 16]) -> Ascii<32> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; 32];
    for (byte, pair) in bytes.iter().zip(text.chunks_exact_mut(2)) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    Ascii::new(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text<'a>(name: &'a str, data_type: &'a str, value: &'a str) -> Hashed<'a> {
        Hashed { name, data_type, value: value.as_bytes() }
    }

    fn digest(attributes: &mut [Hashed<'_>]) -> String {
        of_attributes(attributes).map(|digest| digest.as_str().to_owned()).unwrap_or_default()
    }

    #[test]
    fn bodies_are_hashed_as_they_are() {
        assert_eq!(of_body(b"").as_str(), "d41d8cd98f00b204e9800998ecf8427e");
        assert_eq!(of_body(b"This is a test message").as_str(), "fafb00f5732ab283681e124bf8747ed1");
    }

    /// Source: the examples of npm's `aws-md5-of-message-attributes`, which were compared with the service.
    #[test]
    fn attributes_are_hashed_as_clients_do() {
        let plain = text("attribName1", "String", "attribValue 1");
        let custom = text("customNumberTypeAttrib", "Number.float", "4563442423554324324264524243.32543234");
        let binary = text("binaryAttribute", "Binary", "Hello binary world!");
        assert_eq!(digest(&mut [plain]), "19e27d4e946b072f3f58da80d94fd778");
        assert_eq!(digest(&mut [custom]), "9fe1b90bbd9965bdf77bac517c7d2495");
        assert_eq!(digest(&mut [binary]), "31a92b15d92f8db860eda32aceb656c3");
        assert_eq!(digest(&mut [plain, custom, binary]), "c932db14a896c663f83c260297d594ff");
        assert_eq!(digest(&mut [custom, binary, plain]), "c932db14a896c663f83c260297d594ff");
        assert_eq!(of_attributes(&mut []), None);
    }
}
