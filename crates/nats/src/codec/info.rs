//! What the server says about itself, first of all, and again when it is about to go.

use std::borrow::Cow;

use serde::Serialize;

/// The JSON of INFO. Clients take what is not there for false.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Info<'a> {
    /// Tells servers apart.
    pub server_id: Cow<'a, str>,
    /// For people.
    pub server_name: Cow<'a, str>,
    /// Of the peer whose protocol is spoken: clients tell by it what they may use.
    pub version: Cow<'a, str>,
    /// 1: INFO may come at any time.
    pub proto: u8,
    /// Where the client reached the server.
    pub host: Cow<'a, str>,
    /// Where the client reached the server.
    pub port: u16,
    /// Whether messages may have headers.
    pub headers: bool,
    /// Bytes of a message, header block included.
    pub max_payload: usize,
    /// Whether there is a JetStream.
    pub jetstream: bool,
    /// Whether a client must say who it is.
    pub auth_required: bool,
    /// The connection's number.
    pub client_id: u64,
    /// The client's address as seen from here.
    pub client_ip: Cow<'a, str>,
    /// The server is about to go: connect elsewhere.
    #[serde(rename = "ldm", skip_serializing_if = "std::ops::Not::not")]
    pub lame_duck: bool,
}

impl Info<'_> {
    /// The line.
    #[must_use]
    pub fn line(&self) -> Vec<u8> {
        let mut line = b"INFO ".to_vec();
        // Strings, numbers and booleans always have a form.
        line.extend(serde_json::to_vec(self).unwrap_or_else(|_| b"{}".to_vec()));
        line.extend_from_slice(b" \r\n");
        line
    }
}

#[cfg(test)]
mod tests {
    use super::Info;

    #[test]
    fn it_is_one_line_of_json() {
        let mut info = Info {
            server_id: "ID".into(),
            server_name: "a name".into(),
            version: "2.10.0".into(),
            proto: 1,
            host: "127.0.0.1".into(),
            port: 4222,
            headers: true,
            max_payload: 1_048_576,
            jetstream: false,
            auth_required: false,
            client_id: 7,
            client_ip: "127.0.0.1".into(),
            lame_duck: false,
        };
        let expected = concat!(
            r#"INFO {"server_id":"ID","server_name":"a name","version":"2.10.0","proto":1,"host":"127.0.0.1","port":4222,"#,
            r#""headers":true,"max_payload":1048576,"jetstream":false,"auth_required":false,"client_id":7,"#,
            r#""client_ip":"127.0.0.1"} "#,
            "\r\n"
        );
        assert_eq!(String::from_utf8_lossy(&info.line()), expected);
        info.lame_duck = true;
        assert!(info.line().ends_with(b",\"ldm\":true} \r\n"));
    }
}
