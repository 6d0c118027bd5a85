//! From what was gathered to the response: every body behind its stamped prefix, none copied here.
//!
//! In a session a partition is left out that has neither records nor news. Source: KIP-227.

use duolog_broker::Isolation;
use duolog_net::Reservation;
use duolog_record::Batch;

use super::gather::{Gathered, Reading, Slice};
use super::session::{Told, Wanted, WantedPartition};
use crate::codec::messages::{FetchResponse, FetchableTopicResponse, PartitionData};
use crate::codec::{RecordParts, StampedBody};

/// The response to what was wanted, in its order, and the memory that it holds. Notes in `wanted` what was told.
pub(super) fn build(wanted: &mut Wanted, gathered: Gathered) -> (FetchResponse, Reservation) {
    let (ask, slices, reserved) = gathered.into_parts();
    let is_incremental = wanted.is_incremental;
    let mut slices = slices.into_iter();
    let mut responses = Vec::new();
    for topic in &mut wanted.topics {
        let mut partitions = Vec::with_capacity(if is_incremental { 0 } else { topic.partitions.len() });
        for (wanted, slice) in topic.partitions.iter_mut().zip(&mut slices) {
            let data = partition(wanted.asked.partition, slice, ask.isolation);
            if note(wanted, &data) || !is_incremental {
                partitions.push(data);
            }
        }
        if !partitions.is_empty() || !is_incremental {
            let (topic, topic_id) = (topic.topic.clone(), topic.topic_id);
            responses.push(FetchableTopicResponse { topic, topic_id, partitions });
        }
    }
    (FetchResponse { responses, ..Default::default() }, reserved)
}

/// Notes what is told of a partition; true if it is anything new.
fn note(wanted: &mut WantedPartition, data: &PartitionData) -> bool {
    wanted.has_moved = !data.records.0.is_empty();
    if data.error_code != 0 {
        // Told until it is over, and then all is told again.
        wanted.told = Told::NOTHING;
        return true;
    }
    let told = Told { high_watermark: data.high_watermark, log_start: data.log_start_offset };
    let is_news = std::mem::replace(&mut wanted.told, told) != told;
    is_news || wanted.has_moved
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
