//! The wire's shapes: JSON in and out, or form parameters in and XML out, names, handles, credentials. No I/O, no broker, no clock, no panic.

pub mod arn;
pub mod credential;
pub mod few;
pub mod message_id;
pub mod query;
pub mod queue_url;
pub mod receipt;
pub mod request;
pub mod response;
pub mod rules;
pub mod task_handle;
pub mod text;
pub mod xml;
