//! Writes answers: `<ACTIONResponse><ACTIONResult>...</ACTIONResult><ResponseMetadata/></ACTIONResponse>`.

use std::fmt::Write;

use bytes::Bytes;
use uuid::Uuid;

use super::{NAMESPACE, SnsError};
use crate::codec::xml::{self, Escaped};

/// An answer being written.
pub(super) struct Xml(String);

impl Xml {
    /// An element with a text.
    pub fn text(&mut self, tag: &str, text: &str) {
        // Writing into memory does not fail.
        let _ = write!(self.0, "<{tag}>{}</{tag}>", Escaped(text));
    }

    /// An element with others.
    pub fn element(&mut self, tag: &str, write: impl FnOnce(&mut Self)) {
        let _ = write!(self.0, "<{tag}>");
        write(self);
        let _ = write!(self.0, "</{tag}>");
    }

    /// A map of texts.
    pub fn map<'a>(&mut self, tag: &str, pairs: impl IntoIterator<Item = (&'a str, String)>) {
        self.element(tag, |xml| {
            for (key, value) in pairs {
                xml.element("entry", |xml| {
                    xml.text("key", key);
                    xml.text("value", &value);
                });
            }
        });
    }
}

/// A whole answer, with a result if there is something to say.
pub(super) fn answer(action: &str, id: Uuid, write: Option<impl FnOnce(&mut Xml)>) -> Bytes {
    let mut xml = Xml(String::with_capacity(512));
    let _ = write!(xml.0, "<{action}Response xmlns=\"{NAMESPACE}\">");
    if let Some(write) = write {
        xml.element(&format!("{action}Result"), write);
    }
    xml.element("ResponseMetadata", |xml| xml.text("RequestId", &id.to_string()));
    let _ = write!(xml.0, "</{action}Response>");
    xml.0.into()
}

/// An error.
pub(crate) fn error(error: &SnsError, id: Uuid) -> String {
    let (code, _) = error.code.parts();
    xml::error(NAMESPACE, error.code.is_senders(), code, &error.message, &id.to_string())
}
