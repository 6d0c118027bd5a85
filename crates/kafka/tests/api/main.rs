//! Each api over a real socket, on a log in memory.
#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;

mod cluster;
mod configs;
mod connection;
mod fetch;
mod fetch_sessions;
mod group_offsets;
mod groups;
mod offsets;
mod produce;
mod records;
mod topics;
