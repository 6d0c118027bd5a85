//! The rules of groups, a sentence each, and what holds for any history.

#![allow(clippy::unwrap_used)]

mod bench;
mod history;
mod joining;
mod leaving;
mod offsets;
mod rounds;
mod sound;
mod statics;
mod syncing;
