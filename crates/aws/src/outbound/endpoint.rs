//! Where a subscription is delivered to: an `http` or `https` URL, taken apart and checked.

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::Uri;
use hyper::header::HeaderValue;
use percent_encoding::percent_decode_str;

use super::address::is_public;

/// An endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    /// It is reached by TLS.
    pub(super) is_tls: bool,
    /// Name or address, without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// As it stands in the request.
    pub(super) path: String,
    /// The header `Host`.
    pub(super) named: HeaderValue,
    /// User and password of the URL. Source: RFC 7617.
    pub(super) authorization: Option<HeaderValue>,
}

impl Endpoint {
    /// Reads the URL of a subscription by this protocol.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(protocol: &str, url: &str) -> Result<Self, &'static str> {
        let rest = url.strip_prefix(protocol).and_then(|rest| rest.strip_prefix("://"));
        rest.ok_or("it must begin with the protocol and ://")?;
        if url.contains('#') {
            return Err("it must have no fragment");
        }
        let uri: Uri = url.parse().map_err(|_| "it is no URL")?;
        let authority = uri.authority().ok_or("it names no host")?;
        let host = authority.host();
        let named = authority.as_str().rsplit_once('@').map_or(authority.as_str(), |(_, named)| named);
        let authorization = authority.as_str().rsplit_once('@').map(|(user, _)| basic(user)).transpose()?;
        let is_tls = protocol == "https";
        let port = match named.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')) {
            Some((_, port)) => port.parse().unwrap_or(0),
            None if is_tls => 443,
            None => 80,
        };
        if host.is_empty() || port == 0 {
            return Err("it names no host or no port");
        }
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let named = HeaderValue::from_str(named).map_err(|_| "its host has characters that no host has")?;
        Ok(Self { is_tls, host, port, path, named, authorization })
    }

    /// True if the URL itself says that it leads to no public address. Of a name that is known when it is connected to.
    pub fn is_private_by_itself(&self) -> bool {
        let host = self.host.trim_end_matches('.').to_ascii_lowercase();
        host == "localhost"
            || host.ends_with(".localhost")
            || host.parse::<IpAddr>().is_ok_and(|address| !is_public(address))
    }
}

fn basic(user: &str) -> Result<HeaderValue, &'static str> {
    let text: Vec<u8> = percent_decode_str(user).collect();
    let mut value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(text)))
        .map_err(|_| "its user or password is too long")?;
    value.set_sensitive(true);
    Ok(value)
}

/// A URL as it may be shown: without its password. Source: SNS Developer Guide, "Subscribing an HTTPS endpoint".
pub(crate) fn shown(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let Some((user, host)) = rest[..end].rsplit_once('@') else { return url.to_owned() };
    match user.split_once(':') {
        Some((user, _)) => format!("{scheme}://{user}:****@{host}{}", &rest[end..]),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        let it = Endpoint::parse("https", "https://u:p%40@example.com:8443/a?b=c").unwrap();
        assert_eq!(
            (it.is_tls, it.host.as_str(), it.port, it.path.as_str()),
            (true, "example.com", 8443, "/a?b=c")
        );
        assert_eq!(
            (it.named.as_bytes(), it.authorization.unwrap().as_bytes()),
            (&b"example.com:8443"[..], &b"Basic dTpwQA=="[..])
        );
        let it = Endpoint::parse("http", "http://[::1]").unwrap();
        assert_eq!((it.is_tls, it.host.as_str(), it.port, it.path.as_str()), (false, "::1", 80, "/"));
        assert_eq!(Endpoint::parse("http", "http://h?x").unwrap().path, "/?x");
    }

    #[test]
    fn what_is_no_url_of_the_protocol_is_refused() {
        for url in [
            "",
            "http",
            "http://",
            "https://h/",
            "ftp://h/",
            "http:/h",
            "http://:80/",
            "http://h:0/",
            "http://h:99999/",
            "http://h:x/",
            "http://h:/",
            "http://a b/",
            "http://h/#f",
            "http://h/\r\nX: y",
            "http://ä/",
            "http://u@/",
            "HTTP://h/",
        ] {
            assert!(Endpoint::parse("http", url).is_err(), "{url}");
        }
    }

    #[test]
    fn what_is_private_by_itself_is_known_without_asking() {
        for url in [
            "http://localhost/",
            "http://LOCALHOST.:1/",
            "http://a.localhost",
            "http://127.0.0.1",
            "http://[::1]:8/",
            "http://10.1.1.1/",
        ] {
            assert!(Endpoint::parse("http", url).unwrap().is_private_by_itself(), "{url}");
        }
        for url in ["http://example.com/", "http://1.1.1.1/", "http://[2606:4700::1111]/"] {
            assert!(!Endpoint::parse("http", url).unwrap().is_private_by_itself(), "{url}");
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        assert_eq!(shown("https://u:p@h/a@b:c"), "https://u:****@h/a@b:c");
        assert_eq!(shown("https://h/a:b@c"), "https://h/a:b@c");
        assert_eq!(shown("arn:aws:sqs:r:0:q"), "arn:aws:sqs:r:0:q");
    }
}
