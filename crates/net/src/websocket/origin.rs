//! Which web pages may open a WebSocket: a browser lets any page try, says which one it is, and leaves it to the server.
//!
//! Clients that are no browsers name no origin and are not looked at. Source: RFC 6455, section 10.2; RFC 6454.

use std::str::FromStr;

use tungstenite::http::Uri;
use tungstenite::http::uri::Authority;

/// Pages that may connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OriginRule {
    /// All.
    Any,
    /// Those that come from the host and port that the request itself names.
    Same,
    /// Those of one origin.
    Only {
        /// `http` or `https`.
        scheme: String,
        /// In small letters.
        host: String,
        /// Of the scheme if the origin names none.
        port: u16,
    },
}

impl OriginRule {
    /// Whether a page of `origin` may connect to `host`, both as the request has them.
    #[must_use]
    pub fn allows(&self, origin: &str, host: &str) -> bool {
        if matches!(self, Self::Any) {
            return true;
        }
        let Some((scheme, of_host, of_port)) = split(origin) else { return false };
        match self {
            Self::Any => true,
            Self::Same => {
                let Ok(host) = host.parse::<Authority>() else { return false };
                // Whoever ends TLS before us passes on the host as the page knows it.
                let port = host.port_u16().or_else(|| port_of(&scheme));
                host.host().eq_ignore_ascii_case(&of_host) && port == Some(of_port)
            }
            Self::Only { scheme: s, host: h, port: p } => (&scheme, &of_host, &of_port) == (s, h, p),
        }
    }
}

impl FromStr for OriginRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "any" => Ok(Self::Any),
            "same" => Ok(Self::Same),
            _ => {
                let wrong = || {
                    format!("{text:?} is neither any nor same nor an origin, as in https://app.example.com")
                };
                let (scheme, host, port) = split(text).ok_or_else(wrong)?;
                Ok(Self::Only { scheme, host, port })
            }
        }
    }
}

impl std::fmt::Display for OriginRule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::Same => f.write_str("same"),
            Self::Only { scheme, host, port } if port_of(scheme) == Some(*port) => {
                write!(f, "{scheme}://{host}")
            }
            Self::Only { scheme, host, port } => write!(f, "{scheme}://{host}:{port}"),
        }
    }
}

/// Scheme, host and port of an origin that is one.
fn split(origin: &str) -> Option<(String, String, u16)> {
    let uri: Uri = origin.parse().ok()?;
    let scheme = uri.scheme_str()?.to_ascii_lowercase();
    if !matches!(uri.path(), "" | "/") || uri.query().is_some() || uri.authority()?.as_str().contains('@') {
        return None;
    }
    let port = uri.port_u16().or_else(|| port_of(&scheme))?;
    Some((scheme, uri.host()?.to_ascii_lowercase(), port))
}

fn port_of(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::OriginRule;

    fn allows(rule: &str, origin: &str, host: &str) -> bool {
        rule.parse::<OriginRule>().expect("a rule").allows(origin, host)
    }

    #[test]
    fn the_same_origin_is_the_host_and_port_of_the_request() {
        assert!(allows("same", "http://127.0.0.1:8080", "127.0.0.1:8080"));
        assert!(allows("same", "http://[::1]:8080", "[::1]:8080"));
        assert!(allows("same", "https://Example.com", "example.COM"));
        assert!(allows("same", "http://example.com:80", "example.com"));
        assert!(allows("same", "https://example.com", "example.com:443"));
        assert!(!allows("same", "https://example.com", "example.com:80"));
        assert!(!allows("same", "http://example.com:8081", "example.com:8080"));
        assert!(!allows("same", "http://example.com.evil.org", "example.com"));
        assert!(!allows("same", "http://example.com@evil.org", "evil.org"));
        for nonsense in ["null", "", "example.com", "file://", "http://", "http://a b", "http://a/b", "://a"]
        {
            assert!(!allows("same", nonsense, "example.com"), "{nonsense}");
            assert!(allows("any", nonsense, "example.com"), "{nonsense}");
        }
    }

    #[test]
    fn a_named_origin_is_that_one_alone() {
        assert!(allows("https://app.example.com", "https://app.example.com", "other:1"));
        assert!(allows("https://APP.example.com:443", "https://app.example.com", "other:1"));
        assert!(!allows("https://app.example.com", "http://app.example.com", "other:1"));
        assert!(!allows("https://app.example.com", "https://app.example.com:8443", "other:1"));
        assert!(!allows("https://app.example.com", "https://example.com", "example.com"));
    }

    #[test]
    fn a_rule_is_written_as_it_is_read() {
        for text in ["any", "same", "https://app.example.com", "http://localhost:3000"] {
            assert_eq!(text.parse::<OriginRule>().map(|rule| rule.to_string()), Ok(text.to_owned()));
        }
        assert!("all".parse::<OriginRule>().is_err());
    }
}
