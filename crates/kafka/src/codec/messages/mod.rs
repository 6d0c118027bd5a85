//! The messages, one api a file: requests and responses, every field with its versions.
//!
//! Field names and meanings are those of the protocol guide, which is where they are explained.
//! Source: Kafka protocol guide, "Messages".

#![allow(missing_docs)]

mod admin;
mod alter_configs;
mod api_versions;
mod describe_configs;
mod fetch;
mod find_coordinator;
mod group_admin;
mod group_membership;
mod init_producer_id;
mod list_offsets;
mod metadata;
mod offset_commit;
mod offset_fetch;
mod produce;
mod shared;

pub use admin::*;
pub use alter_configs::*;
pub use api_versions::*;
pub use describe_configs::*;
pub use fetch::*;
pub use find_coordinator::*;
pub use group_admin::*;
pub use group_membership::*;
pub use init_producer_id::*;
pub use list_offsets::*;
pub use metadata::*;
pub use offset_commit::*;
pub use offset_fetch::*;
pub use produce::*;
pub use shared::*;
