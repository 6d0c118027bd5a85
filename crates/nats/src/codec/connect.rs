//! What a client says about itself and wants: the JSON of CONNECT.
//!
//! As the peer reads it: names in any case, the last of two counts, null says nothing, names that are not known say nothing,
//! and what is not said stays as it was, also over a second CONNECT.

use serde_json::Value;

use crate::limits::ABOUT_BYTES;

/// The options of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connect {
    /// Each command is confirmed.
    pub verbose: bool,
    /// Subjects are checked when they are published to.
    pub pedantic: bool,
    /// It hears what it publishes itself.
    pub echo: bool,
    /// It understands headers.
    pub headers: bool,
    /// It wants to be told when nobody listens to its request.
    pub no_responders: bool,
    /// 1: it understands INFO at any time.
    pub protocol: i64,
    /// The account it wants; there are none.
    pub account: String,
    /// Its name for itself.
    pub name: String,
    /// The language of its library.
    pub lang: String,
    /// The version of its library.
    pub version: String,
}

impl Default for Connect {
    /// Of a connection that has said nothing yet.
    fn default() -> Self {
        Self {
            verbose: true,
            pedantic: true,
            echo: true,
            headers: false,
            no_responders: false,
            protocol: 0,
            account: String::new(),
            name: String::new(),
            lang: String::new(),
            version: String::new(),
        }
    }
}

/// It is no JSON, no object, or a value is not of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the options cannot be read")]
pub struct NotUnderstood;

impl Connect {
    /// These options with what `json` says.
    ///
    /// # Errors
    /// See [`NotUnderstood`].
    pub fn with(mut self, json: &[u8]) -> Result<Self, NotUnderstood> {
        let object = match serde_json::from_slice(json) {
            Ok(Value::Object(object)) => object,
            Ok(Value::Null) => return Ok(self),
            Ok(_) | Err(_) => return Err(NotUnderstood),
        };
        for (name, value) in object {
            if !value.is_null() {
                self.set(&name.to_ascii_lowercase(), &value)?;
            }
        }
        Ok(self)
    }

    fn set(&mut self, name: &str, value: &Value) -> Result<(), NotUnderstood> {
        let flag = || value.as_bool().ok_or(NotUnderstood);
        let text = || value.as_str().map(shortened).ok_or(NotUnderstood);
        match name {
            "verbose" => self.verbose = flag()?,
            "pedantic" => self.pedantic = flag()?,
            "echo" => self.echo = flag()?,
            "headers" => self.headers = flag()?,
            "no_responders" => self.no_responders = flag()?,
            "protocol" => self.protocol = value.as_i64().ok_or(NotUnderstood)?,
            "account" => self.account = text()?,
            "name" => self.name = text()?,
            "lang" => self.lang = text()?,
            "version" => self.version = text()?,
            // There are no users: whoever says who he is is as welcome as anybody, if he says it as one does.
            "user" | "pass" | "auth_token" | "jwt" | "nkey" | "sig" => drop(text()?),
            "tls_required" => drop(flag()?),
            _ => {}
        }
        Ok(())
    }
}

/// At most [`ABOUT_BYTES`] of it, whole characters.
fn shortened(text: &str) -> String {
    let end = text
        .char_indices()
        .map(|(at, char)| at + char.len_utf8())
        .take_while(|end| *end <= ABOUT_BYTES)
        .last();
    text[..end.unwrap_or(0)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::{Connect, NotUnderstood};

    fn check(json: &str, expected: Result<Connect, NotUnderstood>) {
        assert_eq!(Connect::default().with(json.as_bytes()), expected, "{json}");
    }

    #[test]
    fn what_is_said_is_taken() {
        let quiet = Connect { verbose: false, pedantic: false, ..Connect::default() };
        check(r#"{"verbose":false,"pedantic":false}"#, Ok(quiet.clone()));
        check(r#"{"VERBOSE":false,"Pedantic":false}"#, Ok(quiet.clone()));
        check(r#"{"verbose":true,"verbose":false,"pedantic":false,"lang":null}"#, Ok(quiet.clone()));
        let named = Connect { name: "n".to_owned(), protocol: 1, ..quiet.clone() };
        assert_eq!(quiet.with(br#"{"name":"n","protocol":1,"user":"u","later":[{}]}"#), Ok(named));
        check("null", Ok(Connect::default()));
        check("{}", Ok(Connect::default()));
    }

    #[test]
    fn what_is_not_of_its_kind_is_refused() {
        for json in
            ["", "{", "[]", "1", "{} x", "{a}", r#"{"verbose":"no"}"#, r#"{"protocol":1.5}"#, r#"{"user":1}"#]
        {
            check(json, Err(NotUnderstood));
        }
    }

    #[test]
    fn long_names_are_cut_between_characters() {
        let json = format!(r#"{{"name":"{}"}}"#, "ä".repeat(200));
        let name = Connect::default().with(json.as_bytes()).map(|connect| connect.name);
        assert_eq!(name, Ok("ä".repeat(64)));
    }
}
