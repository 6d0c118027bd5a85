//! Why a group refuses; the wire's numbers for it are in the frontend's own error module.

/// Why a member, a commit or a request about a group was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    /// The group's id is empty where a name is needed, or too long.
    #[error("the group id is not acceptable")]
    InvalidGroupId,
    /// The session timeout is outside the configured bounds.
    #[error("the session timeout is outside the allowed range")]
    InvalidSessionTimeout,
    /// No protocol that every member supports, another protocol type, or none at all.
    #[error("the member's protocols do not fit the group's")]
    InconsistentProtocol,
    /// No member of this id.
    #[error("unknown member")]
    UnknownMember,
    /// Join again with the id that is sent along.
    #[error("join again with the member id given")]
    MemberIdRequired,
    /// Another member holds the instance id now.
    #[error("the instance id belongs to another member")]
    Fenced,
    /// The generation is over, or has not come.
    #[error("not the group's generation")]
    IllegalGeneration,
    /// The group is forming a new generation.
    #[error("the group rebalances")]
    RebalanceInProgress,
    /// No room for another member or group.
    #[error("the group is full")]
    Full,
    /// The request carries more than a group keeps.
    #[error("more metadata than a group keeps")]
    TooLarge,
    /// The group has members.
    #[error("the group has members")]
    NonEmpty,
    /// No such group.
    #[error("no such group")]
    NotFound,
    /// The broker is stopping.
    #[error("the coordinator is stopping")]
    Stopping,
}
