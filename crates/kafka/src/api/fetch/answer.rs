//! From what was gathered to the response: every body behind its stamped prefix, none copied here.

use duolog_broker::Isolation;
use duolog_net::Reservation;
use duolog_record::Batch;

use super::gather::{Gathered, Reading, Slice};
use crate::codec::messages::{FetchRequest, FetchResponse, FetchableTopicResponse, PartitionData};
use crate::codec::{RecordParts, StampedBody};

/// The response to `request`, in its order, and the memory that it holds.
pub(super) fn build(request: FetchRequest, gathered: Gathered) -> (FetchResponse, Reservation) {
    let (ask, slices, reserved) = gathered.into_parts();
    let mut slices = slices.into_iter();
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().zip(&mut slices);
        let partitions = partitions.map(|(asked, slice)| partition(asked.partition, slice, ask.isolation));
        let partitions = partitions.collect();
        FetchableTopicResponse { topic: topic.topic, topic_id: topic.topic_id, partitions }
    });
    (FetchResponse { responses: topics.collect(), ..Default::default() }, reserved)
}

fn partition(index: i32, slice: Slice, isolation: Isolation) -> PartitionData {
    let aborted_transactions = (isolation == Isolation::ReadCommitted).then(Vec::new);
    match slice.state {
        Err(code) => PartitionData {
            partition_index: index,
            error_code: code.code(),
            high_watermark: -1,
            ..Default::default()
        },
        Ok(reading) => PartitionData {
            partition_index: index,
            error_code: 0,
            high_watermark: reading.high_watermark.0.cast_signed(),
            last_stable_offset: reading.last_stable.0.cast_signed(),
            log_start_offset: reading.log_start.0.cast_signed(),
            aborted_transactions,
            records: records(reading),
            ..Default::default()
        },
    }
}

fn records(reading: Reading) -> RecordParts {
    let stamp = |batch: duolog_storage::StoredBatch| StampedBody {
        prefix: Batch::prefix(batch.base, batch.body.len(), batch.leader_epoch),
        body: batch.body,
    };
    RecordParts(reading.batches.into_iter().map(stamp).collect())
}
