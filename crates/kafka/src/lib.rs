//! See the crate's description; filled in by what follows.
