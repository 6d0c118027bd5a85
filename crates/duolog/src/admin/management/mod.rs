//! The HTTP API of RabbitMQ's management plugin, as far as tools use it.
//!
//! Duolog's own API has some of the same paths. Clients of this one always say who they are (HTTP Basic), those of Duolog's own never do:
//! so a request with credentials is for this one, and any name and password will do. Adding a resource: a file with its routes, merged in
//! `router`, and its row in docs/amqp-management.md.
//! Source: RabbitMQ documentation, "HTTP API Reference"; RabbitMQ 3.10, observed, for statuses and shapes.

mod bindings;
mod calls;
mod definitions;
mod error;
mod exchanges;
mod health;
mod json;
mod listing;
mod overview;
mod policies;
mod queues;
mod users;
mod vhosts;

use axum::Router;
use axum::extract::Request;
use axum::http::header::AUTHORIZATION;
use axum::http::{self, HeaderMap};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};

use self::error::Refusal;
use super::Admin;

/// What paths of this API begin with that Duolog's own has not: without credentials they are asked for.
const OWN: [&str; 15] = [
    "/api/vhosts",
    "/api/whoami",
    "/api/users",
    "/api/permissions",
    "/api/overview",
    "/api/nodes",
    "/api/connections",
    "/api/channels",
    "/api/consumers",
    "/api/definitions",
    "/api/aliveness-test",
    "/api/health",
    "/api/policies",
    "/api/operator-policies",
    "/api/parameters",
];
/// The node, as RabbitMQ would call it.
const NODE: &str = "rabbit@duolog";

pub fn router() -> Router<Admin> {
    vhosts::routes()
        .merge(users::routes())
        .merge(queues::routes())
        .merge(exchanges::routes())
        .merge(bindings::routes())
        .merge(overview::routes())
        .merge(policies::routes())
        .merge(health::routes())
        .merge(definitions::routes())
        .fallback(error::no_such_path)
        .method_not_allowed_fallback(error::no_such_method)
        .layer(middleware::from_fn(listing::shape))
        .layer(middleware::from_fn(ask_for_credentials))
}

/// Clients that send none until they are asked are asked.
async fn ask_for_credentials(request: Request, next: Next) -> Response {
    if has_credentials(request.headers()) {
        next.run(request).await
    } else {
        Refusal::Unauthorized.into_response()
    }
}

/// True for a request to this API.
pub fn is_meant<B>(request: &http::Request<B>) -> bool {
    let path = request.uri().path();
    let begins =
        |own: &&str| path.strip_prefix(*own).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    path.starts_with("/api/") && (has_credentials(request.headers()) || OWN.iter().any(begins))
}

fn has_credentials(headers: &HeaderMap) -> bool {
    let value = headers.get(AUTHORIZATION).and_then(|it| it.to_str().ok());
    value.and_then(|it| it.get(..6)).is_some_and(|scheme| scheme.eq_ignore_ascii_case("basic "))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn asked(path: &str, credentials: Option<&str>) -> bool {
        let request = http::Request::get(path);
        let request = credentials.into_iter().fold(request, |it, value| it.header(AUTHORIZATION, value));
        is_meant(&request.body(()).unwrap())
    }

    #[test]
    fn who_says_who_he_is_means_this_api_and_who_does_not_means_duolog_s_own_where_it_has_the_path() {
        let shared = ["/api/queues", "/api/queues/q", "/api/exchanges", "/api/bindings"];
        let own = ["/api/routes", "/api/topics", "/api/groups", "/api/moves/1", "/metrics"];
        for path in shared.into_iter().chain(own) {
            assert!(!asked(path, None), "{path}");
        }
        for path in shared {
            assert!(asked(path, Some("Basic Z3Vlc3Q6Z3Vlc3Q=")), "{path}");
        }
        assert!(asked("/api/overview", None));
        assert!(!asked("/api/overviews", None));
        assert!(!asked("/metrics", Some("Basic Z3Vlc3Q6Z3Vlc3Q=")));
    }
}
