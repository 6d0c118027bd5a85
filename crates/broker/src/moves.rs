//! Move tasks as frontends see them: records that go from a queue to where they came from, or to another queue.

use bytes::Bytes;
use duolog_record::{Record, Timestamp};

use crate::QueueId;

/// Names a move task; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MoveId(pub u64);

/// Which records are moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MoveFilter {
    /// Those with this key.
    Key(Bytes),
    /// Those with a header of this name and value.
    Header {
        /// Name.
        name: Bytes,
        /// Value.
        value: Bytes,
    },
}

impl MoveFilter {
    /// True if the record is to be moved.
    #[must_use]
    pub fn matches(&self, record: &Record) -> bool {
        match self {
            Self::Key(key) => record.key.as_ref() == Some(key),
            Self::Header { name, value } => {
                record.headers.iter().any(|it| it.key == name && it.value.as_ref() == Some(value))
            }
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Key(key) => key.len(),
            Self::Header { name, value } => name.len() + value.len(),
        }
    }
}

/// A move to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MoveSpec {
    /// From which queue.
    pub source: QueueId,
    /// To which queue's topic; `None` is the queue that each record was dead-lettered from.
    pub destination: Option<QueueId>,
    /// At most so many records a second; `None` is as fast as it goes.
    pub rate_per_s: Option<u32>,
    /// Which records; `None` is all. Those that do not match are kept from receivers until the move is over.
    pub filter: Option<MoveFilter>,
    /// Moves nothing and counts what it would move.
    pub dry_run: bool,
}

/// How a move stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MoveStatus {
    /// It goes on.
    Running,
    /// It is to end when what is under way has come to its end.
    Cancelling,
    /// It was ended.
    Cancelled,
    /// Everything was moved.
    Completed,
    /// It could not go on. What it has not moved is where it was.
    Failed {
        /// Why, and what to do.
        reason: String,
    },
}

/// A move, running or over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MoveTask {
    /// Identity.
    pub id: MoveId,
    /// What was asked for.
    pub spec: MoveSpec,
    /// How it stands.
    pub status: MoveStatus,
    /// Records moved so far.
    pub moved: u64,
    /// Records in the queue when it began.
    pub to_move: u64,
    /// When it began.
    pub started_at: Timestamp,
    /// When it was over.
    pub ended_at: Option<Timestamp>,
}

impl MoveTask {
    /// True if it still moves or may.
    #[must_use]
    pub fn is_active(&self) -> bool {
        match self.status {
            MoveStatus::Running | MoveStatus::Cancelling => true,
            MoveStatus::Cancelled | MoveStatus::Completed | MoveStatus::Failed { .. } => false,
        }
    }
}
