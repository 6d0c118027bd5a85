//! The protocol's error codes, and the broker's errors as such codes.
//!
//! Invariant: each of the broker's error enums is matched without a wildcard, so that a new error asks for its code.
//! Source: Kafka protocol guide, "Error codes".

use duolog_broker::errors::{AppendError, ChangeError, CursorError, FetchError};
use duolog_record::BatchError;
use duolog_storage::ReadError;

use crate::group::{GroupError, OffsetsError};
use crate::topic_config::ConfigError;

/// A code on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
#[repr(i16)]
pub enum ErrorCode {
    UnknownServerError = -1,
    None = 0,
    OffsetOutOfRange = 1,
    CorruptMessage = 2,
    UnknownTopicOrPartition = 3,
    InvalidFetchSize = 4,
    LeaderNotAvailable = 5,
    NotLeaderOrFollower = 6,
    RequestTimedOut = 7,
    BrokerNotAvailable = 8,
    MessageTooLarge = 10,
    OffsetMetadataTooLarge = 12,
    CoordinatorLoadInProgress = 14,
    CoordinatorNotAvailable = 15,
    NotCoordinator = 16,
    InvalidTopic = 17,
    RecordListTooLarge = 18,
    InvalidRequiredAcks = 21,
    IllegalGeneration = 22,
    InconsistentGroupProtocol = 23,
    InvalidGroupId = 24,
    UnknownMemberId = 25,
    InvalidSessionTimeout = 26,
    RebalanceInProgress = 27,
    InvalidCommitOffsetSize = 28,
    TopicAuthorizationFailed = 29,
    GroupAuthorizationFailed = 30,
    ClusterAuthorizationFailed = 31,
    InvalidTimestamp = 32,
    UnsupportedVersion = 35,
    TopicAlreadyExists = 36,
    InvalidPartitions = 37,
    InvalidReplicationFactor = 38,
    InvalidReplicaAssignment = 39,
    InvalidConfig = 40,
    InvalidRequest = 42,
    UnsupportedForMessageFormat = 43,
    PolicyViolation = 44,
    OutOfOrderSequenceNumber = 45,
    InvalidProducerEpoch = 47,
    InvalidProducerIdMapping = 49,
    InvalidTransactionTimeout = 50,
    TransactionalIdAuthorizationFailed = 53,
    KafkaStorageError = 56,
    UnknownProducerId = 59,
    NonEmptyGroup = 68,
    GroupIdNotFound = 69,
    FetchSessionIdNotFound = 70,
    InvalidFetchSessionEpoch = 71,
    FencedLeaderEpoch = 74,
    UnknownLeaderEpoch = 75,
    UnsupportedCompressionType = 76,
    MemberIdRequired = 79,
    GroupMaxSizeReached = 81,
    FencedInstanceId = 82,
    ElectionNotNeeded = 84,
    GroupSubscribedToTopic = 86,
    InvalidRecord = 87,
    UnstableOffsetCommit = 88,
    ThrottlingQuotaExceeded = 89,
    UnknownTopicId = 100,
    InconsistentTopicId = 103,
    FetchSessionTopicIdError = 106,
    StaleMemberEpoch = 113,
    UnsupportedEndpointType = 115,
}

impl ErrorCode {
    /// The number on the wire.
    #[must_use]
    pub fn code(self) -> i16 {
        self as i16
    }
}

/// The code of a failed append.
#[must_use]
pub fn of_append(error: &AppendError) -> ErrorCode {
    match error {
        AppendError::NotFound => ErrorCode::UnknownTopicOrPartition,
        AppendError::Denied => ErrorCode::TopicAuthorizationFailed,
        AppendError::TooLarge { .. } => ErrorCode::MessageTooLarge,
        AppendError::Malformed(_) => ErrorCode::InvalidRecord,
        AppendError::OutOfOrder { .. } => ErrorCode::OutOfOrderSequenceNumber,
        AppendError::StaleEpoch { .. } => ErrorCode::InvalidProducerEpoch,
        AppendError::TransactionsUnsupported => ErrorCode::TransactionalIdAuthorizationFailed,
        // Retriable: space may come back, and the client keeps the batch meanwhile.
        AppendError::DiskFull | AppendError::Quarantined(_) => ErrorCode::KafkaStorageError,
        // Retriable with back-off.
        AppendError::Overloaded
        | AppendError::DedupFull
        | AppendError::QueueFull(_)
        | AppendError::CursorMoved => ErrorCode::RequestTimedOut,
        AppendError::Stopped(_) => ErrorCode::NotLeaderOrFollower,
    }
}

/// The code of a failed read.
#[must_use]
pub fn of_fetch(error: &FetchError) -> ErrorCode {
    match error {
        FetchError::NotFound(_) => ErrorCode::UnknownTopicOrPartition,
        FetchError::Denied => ErrorCode::TopicAuthorizationFailed,
        FetchError::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
        FetchError::Storage(error) => of_read(error),
        FetchError::Stopped(_) => ErrorCode::NotLeaderOrFollower,
    }
}

fn of_read(error: &ReadError) -> ErrorCode {
    match error {
        ReadError::UnknownPartition(_) => ErrorCode::UnknownTopicOrPartition,
        ReadError::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
        ReadError::Damaged { .. } | ReadError::Io { .. } => ErrorCode::KafkaStorageError,
    }
}

/// The code of a change that was refused; what it is about decides between "invalid" codes.
#[must_use]
pub fn of_change(error: &ChangeError) -> ErrorCode {
    match error {
        ChangeError::Exists(_) => ErrorCode::TopicAlreadyExists,
        ChangeError::NotFound(_) => ErrorCode::UnknownTopicOrPartition,
        ChangeError::Denied => ErrorCode::TopicAuthorizationFailed,
        ChangeError::Invalid { .. } | ChangeError::InUse(_) => ErrorCode::InvalidRequest,
        ChangeError::OverLimit(_) => ErrorCode::PolicyViolation,
        ChangeError::DiskFull => ErrorCode::KafkaStorageError,
        ChangeError::Stopped(_) => ErrorCode::BrokerNotAvailable,
    }
}

/// The code of settings that were refused.
#[must_use]
pub(crate) fn of_config(error: &ConfigError) -> ErrorCode {
    match error {
        ConfigError::Twice(_) | ConfigError::NoValue(_) | ConfigError::Operation { .. } => {
            ErrorCode::InvalidRequest
        }
        ConfigError::Unknown(_) | ConfigError::NotAList(_) | ConfigError::Value { .. } => {
            ErrorCode::InvalidConfig
        }
    }
}

/// The code of a cursor that could not be moved or seen.
#[must_use]
pub fn of_cursor(error: &CursorError) -> ErrorCode {
    match error {
        CursorError::NotFound(_) => ErrorCode::UnknownTopicOrPartition,
        CursorError::Denied => ErrorCode::GroupAuthorizationFailed,
        CursorError::MetadataTooLarge(_) => ErrorCode::OffsetMetadataTooLarge,
        // Retriable, as Kafka answers when the offsets topic cannot take a commit.
        CursorError::DiskFull | CursorError::TooMany(_) | CursorError::Full(_) | CursorError::Stopped(_) => {
            ErrorCode::CoordinatorNotAvailable
        }
    }
}

/// The code of a group's refusal.
#[must_use]
pub fn of_group(error: GroupError) -> ErrorCode {
    match error {
        GroupError::InvalidGroupId => ErrorCode::InvalidGroupId,
        GroupError::InvalidSessionTimeout => ErrorCode::InvalidSessionTimeout,
        GroupError::InconsistentProtocol => ErrorCode::InconsistentGroupProtocol,
        GroupError::UnknownMember => ErrorCode::UnknownMemberId,
        GroupError::MemberIdRequired => ErrorCode::MemberIdRequired,
        GroupError::Fenced => ErrorCode::FencedInstanceId,
        GroupError::IllegalGeneration => ErrorCode::IllegalGeneration,
        GroupError::RebalanceInProgress => ErrorCode::RebalanceInProgress,
        GroupError::Full => ErrorCode::GroupMaxSizeReached,
        // Not retriable: the same request would be refused again.
        GroupError::TooLarge => ErrorCode::InvalidRequest,
        GroupError::NonEmpty => ErrorCode::NonEmptyGroup,
        GroupError::NotFound => ErrorCode::GroupIdNotFound,
        // Retriable: the client looks for the coordinator again, and finds the next start of this broker.
        GroupError::Stopping => ErrorCode::CoordinatorNotAvailable,
    }
}

/// The code of a request about a group's offsets that failed.
#[must_use]
pub fn of_offsets(error: &OffsetsError) -> ErrorCode {
    match error {
        OffsetsError::Group(error) => of_group(*error),
        OffsetsError::Cursor(error) => of_cursor(error),
    }
}

/// The code of bytes that are not a batch.
#[must_use]
pub fn of_batch(error: &BatchError) -> ErrorCode {
    match error {
        BatchError::Incomplete { .. } | BatchError::BadCrc { .. } => ErrorCode::CorruptMessage,
        BatchError::BadMagic(_) => ErrorCode::UnsupportedForMessageFormat,
        BatchError::TooLarge { .. } => ErrorCode::MessageTooLarge,
        BatchError::Malformed(_) => ErrorCode::InvalidRecord,
    }
}
