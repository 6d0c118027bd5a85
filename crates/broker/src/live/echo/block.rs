//! The block of headers that an echoed record is heard with.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use duolog_record::Record;

use crate::headers::{BODY, HEADER_BASE64};

/// The block of a record's headers, see [`crate::live::Message::headers`], in place of what `into` held. What a line cannot hold stands in base64
/// under a name that says so.
pub(super) fn write_headers(record: &Record, into: &mut Vec<u8>) {
    into.clear();
    if record.headers.is_empty() && record.value.is_some() {
        return;
    }
    into.extend_from_slice(b"\r\n");
    for header in &record.headers {
        let value = header.value.as_deref().unwrap_or_default();
        if is_name(&header.key) && is_line(value) {
            line(into, &[&header.key], value);
        } else {
            let name = STANDARD.encode(&header.key);
            let value = STANDARD.encode(value);
            line(into, &[HEADER_BASE64.as_bytes()], format!("{name} {value}").as_bytes());
        }
    }
    if record.value.is_none() {
        line(into, &[BODY.as_bytes()], b"null");
    }
    into.extend_from_slice(b"\r\n");
}

fn line(into: &mut Vec<u8>, name: &[&[u8]], value: &[u8]) {
    name.iter().for_each(|part| into.extend_from_slice(part));
    into.extend_from_slice(b": ");
    into.extend_from_slice(value);
    into.extend_from_slice(b"\r\n");
}

fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|byte| byte.is_ascii_graphic() && *byte != b':')
}

fn is_line(value: &[u8]) -> bool {
    let is_trimmed = value.trim_ascii().len() == value.len();
    is_trimmed
        && !value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0))
        && std::str::from_utf8(value).is_ok()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use duolog_record::{Header, Offset, Record, Timestamp};

    use super::write_headers;

    #[test]
    fn headers_are_lines_or_base64() {
        let header = |key: &'static [u8], value: Option<&'static [u8]>| Header {
            key: Bytes::from_static(key),
            value: value.map(Bytes::from_static),
        };
        let block = |headers: Vec<Header>, value: Option<&'static [u8]>| {
            let value = value.map(Bytes::from_static);
            let record = Record { offset: Offset(0), timestamp: Timestamp(0), key: None, value, headers };
            let mut into = b"old".to_vec();
            write_headers(&record, &mut into);
            String::from_utf8(into).expect("text")
        };
        assert_eq!(block(vec![], Some(b"v")), "");
        assert_eq!(block(vec![], None), "\r\nduolog-body: null\r\n\r\n");
        assert_eq!(
            block(
                vec![header(b"a", Some(b"1")), header(b"b c", Some(b"2")), header(b"d", Some(b"x\r\ny"))],
                Some(b"")
            ),
            "\r\na: 1\r\nduolog-header-base64: YiBj Mg==\r\nduolog-header-base64: ZA== eA0KeQ==\r\n\r\n"
        );
    }
}
