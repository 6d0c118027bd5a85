//! What a client may do, as a bit per operation. Source: KIP-430; Kafka `AclOperation` for the numbers.

use duolog_broker::Action;

use super::Client;

const READ: i32 = 1 << 3;
const WRITE: i32 = 1 << 4;
const CREATE: i32 = 1 << 5;
const DELETE: i32 = 1 << 6;
const ALTER: i32 = 1 << 7;
const DESCRIBE: i32 = 1 << 8;
const DESCRIBE_CONFIGS: i32 = 1 << 10;
const ALTER_CONFIGS: i32 = 1 << 11;
const IDEMPOTENT_WRITE: i32 = 1 << 12;

/// Operations on a topic.
pub(super) fn of_topic(client: &Client, name: &str) -> i32 {
    let of = |action, bits| if client.session.may(action, name) { bits } else { 0 };
    of(Action::Consume, READ)
        | of(Action::Produce, WRITE)
        | of(Action::Describe, DESCRIBE | DESCRIBE_CONFIGS)
        | of(Action::Manage, CREATE | DELETE | ALTER | ALTER_CONFIGS)
}

/// Operations on a consumer group.
pub(super) fn of_group(client: &Client, name: &str) -> i32 {
    let of = |action, bits| if client.session.may(action, name) { bits } else { 0 };
    of(Action::Consume, READ) | of(Action::Describe, DESCRIBE) | of(Action::Manage, DELETE)
}

/// Operations on the cluster.
pub(super) fn of_cluster(client: &Client) -> i32 {
    let of = |action, bits| if client.session.may(action, "*") { bits } else { 0 };
    of(Action::Describe, DESCRIBE | DESCRIBE_CONFIGS)
        | of(Action::Produce, IDEMPOTENT_WRITE)
        | of(Action::Manage, CREATE | ALTER | ALTER_CONFIGS)
}
