//! Queue URLs: `http://HOST/ACCOUNT/NAME`, where HOST is what the client called us.

/// The queue's name in a URL: the last segment of its path. `None` if it is no URL of a queue.
///
/// A bare name is taken too: some tools pass it, and the name is all that counts.
#[must_use]
pub fn queue_name(url: &str) -> Option<&str> {
    let path = match url.split_once("://") {
        Some((scheme, rest)) => {
            let known = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
            known.then_some(rest)?.split_once('/')?.1
        }
        None => url,
    };
    let path = path.split(['?', '#']).next()?.trim_end_matches('/');
    let name = path.rsplit('/').next()?;
    (!name.is_empty()).then_some(name)
}

/// Writes the URL of a queue.
#[must_use]
pub fn of_queue(host: &str, account: &str, name: &str) -> String {
    format!("http://{host}/{account}/{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_its_queue() {
        let url = of_queue("localhost:4566", "000000000000", "orders");
        assert_eq!(url, "http://localhost:4566/000000000000/orders");
        for url in [
            url.as_str(),
            "https://sqs.eu-central-1.example/1/orders/",
            "orders",
            "/1/orders",
            "http://h/orders?x",
        ] {
            assert_eq!(queue_name(url), Some("orders"), "{url}");
        }
    }

    #[test]
    fn what_is_no_url_names_nothing() {
        for url in ["", "http://", "http://localhost:4566", "ftp://h/1/q", "http://h/", "/"] {
            assert_eq!(queue_name(url), None, "{url}");
        }
    }
}
