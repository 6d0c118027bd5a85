//! Queue URLs: `http://HOST/ACCOUNT/NAME`, where HOST is what the client called us.
//!
//! Of the other forms that tools make up, `http://sqs.REGION.HOST/ACCOUNT/NAME`, `http://REGION.queue.HOST/ACCOUNT/NAME`
//! and `http://HOST/queue/REGION/ACCOUNT/NAME`, only the name counts too; a host may tell the region.

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

/// The region that a host's name tells: `sqs.REGION.*`, `REGION.queue.*`.
#[must_use]
pub fn region_of_host(host: &str) -> Option<&str> {
    let mut labels = host.split('.');
    let region = match (labels.next()?, labels.next()?) {
        ("sqs", region) | (region, "queue") => region,
        _ => return None,
    };
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    // As in `eu-west-1`: `sqs.test:4566` tells none.
    let legal = region.contains('-') && region.len() <= 32 && region.bytes().all(is_word);
    legal.then_some(region)
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
            "http://h/queue/eu-central-1/1/orders",
        ] {
            assert_eq!(queue_name(url), Some("orders"), "{url}");
        }
    }

    #[test]
    fn a_host_may_tell_the_region() {
        for host in ["sqs.eu-west-1.localhost:4566", "eu-west-1.queue.localhost"] {
            assert_eq!(region_of_host(host), Some("eu-west-1"), "{host}");
        }
        for host in ["", "localhost", "sqs.test:4566", "sqs.test", "a.b.c", "sqs.EU-1.x", "10.0.0.1"] {
            assert_eq!(region_of_host(host), None, "{host}");
        }
    }

    #[test]
    fn what_is_no_url_names_nothing() {
        for url in ["", "http://", "http://localhost:4566", "ftp://h/1/q", "http://h/", "/"] {
            assert_eq!(queue_name(url), None, "{url}");
        }
    }
}
