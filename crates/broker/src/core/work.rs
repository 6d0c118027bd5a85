//! Looks at the log that may take long: the core asks, another thread looks, the finding comes back as a command.
//!
//! Pure but for the log. Adding a look: a `Work`, a `Finding`, an arm in `perform` and one in `Core::found`.

use duolog_record::{Offset, PartitionId};
use duolog_storage::{Log, ReadError, Span};

use super::Core;
use crate::errors::Stopped;
use crate::{Now, QueueId};

/// A look that is to be made.
pub enum Work {
    /// The batches that a queue's window lacks.
    Spans {
        /// For which queue.
        queue: QueueId,
        /// Of which partition.
        partition: PartitionId,
        /// From where on.
        from: Offset,
        /// How many.
        count: usize,
        /// What lies behind is none of the queue's business yet.
        until: Offset,
    },
}

/// What was found.
pub enum Finding {
    /// See [`Work::Spans`].
    Spans {
        /// For which queue.
        queue: QueueId,
        /// Of which partition.
        partition: PartitionId,
        /// From where on.
        from: Offset,
        /// The batches, and up to where they are all that there is.
        found: Result<(Vec<Span>, Offset), ReadError>,
    },
}

impl Work {
    /// Makes the look. Blocks on the disk.
    #[must_use]
    pub fn perform(self, log: &dyn Log) -> Finding {
        match self {
            Self::Spans { queue, partition, from, count, until } => {
                let found = spans(log, partition, from, count, until);
                Finding::Spans { queue, partition, from, found }
            }
        }
    }
}

impl Finding {
    /// Answers that the shard has stopped.
    pub(super) fn refuse(self, _stopped: &Stopped) {
        match self {
            Self::Spans { .. } => {}
        }
    }
}

impl Core {
    pub(super) fn found(&mut self, now: Now, finding: Finding) {
        match finding {
            Finding::Spans { queue, partition, from, found } => {
                self.found_spans(now, queue, partition, from, found);
            }
        }
    }
}

fn spans(
    log: &dyn Log,
    partition: PartitionId,
    from: Offset,
    count: usize,
    until: Offset,
) -> Result<(Vec<Span>, Offset), ReadError> {
    let mut spans = log.spans(partition, from, count)?;
    let was_all = spans.len() < count;
    spans.retain(|span| span.base < until);
    let end = spans.last().map_or(from, |span| span.base.plus(u64::from(span.offsets)));
    let to = if was_all { until.max(end) } else { end };
    Ok((spans, to))
}
