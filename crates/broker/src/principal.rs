//! Who asks, and whether they may: every verb passes the one authorizer.

/// Who a session acts for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Principal {
    /// The name that was proved, or `anonymous`.
    pub name: String,
}

impl Principal {
    /// Nobody in particular: what a connection without authentication is.
    #[must_use]
    pub fn anonymous() -> Self {
        Self { name: "anonymous".to_owned() }
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Append to a topic.
    Produce,
    /// Read a topic, lease and settle on a queue, move a cursor.
    Consume,
    /// See names and settings.
    Describe,
    /// Create, change, delete.
    Manage,
}

/// Proof that an authorizer said yes. Only this module can build one.
#[derive(Debug)]
pub struct Capability(());

/// Decides what a principal may do.
pub trait Authorizer: Send + Sync {
    /// True if `principal` may do `action` on the thing named `resource`.
    fn allows(&self, principal: &Principal, action: Action, resource: &str) -> bool;
}

/// Allows everything: for listeners bound to loopback.
#[derive(Clone, Copy, Debug, Default)]
pub struct Permissive;

impl Authorizer for Permissive {
    fn allows(&self, _: &Principal, _: Action, _: &str) -> bool {
        true
    }
}

/// Asks `authorizer`; the only way to a [`Capability`].
pub(crate) fn authorize(
    authorizer: &dyn Authorizer,
    principal: &Principal,
    action: Action,
    resource: &str,
) -> Option<Capability> {
    authorizer.allows(principal, action, resource).then_some(Capability(()))
}
