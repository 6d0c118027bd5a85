//! Requests that the broker makes by itself: `POST` to the endpoints of subscriptions.
//!
//! A [`Way`] leads to one endpoint and keeps a few connections to it. A connection is made to an address that was looked up and checked
//! (`address`), never to a name, so that a name which leads elsewhere the next moment gains nothing; no redirect is followed.
//! What an endpoint answers is read to a limit and thrown away.

mod address;
mod endpoint;
mod tls;
mod way;

pub(crate) use endpoint::{Endpoint, shown};
pub use tls::Authorities;
pub(crate) use way::{Network, PostError, Way};
