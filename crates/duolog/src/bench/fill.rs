//! Filling a broker with old records before something is measured: one batch, again and again, to some partitions in turns,
//! as they come to lie in the log when many producers write at once.

use std::collections::VecDeque;

use duolog_record::{Batch, BatchBuilder, Timestamp};

use super::kafka::Wire;
use super::progress;

/// Bytes of one record.
const RECORD_BYTES: usize = 1024;
/// Largest batch, bytes.
const BATCH_BYTES: u64 = 512 << 10;
/// How often each place gets a batch, at least.
const ROUNDS: u64 = 16;
/// Batches that are not answered yet.
const IN_FLIGHT: usize = 64;

/// A topic's name and a partition of it.
pub type Place = (String, u32);

/// Creates a topic that takes the batches, and gives its places.
pub fn create(address: &str, topic: &str, partitions: u32) -> anyhow::Result<Vec<Place>> {
    Wire::connect(address)?.create_topic(topic, partitions, 2 * BATCH_BYTES as usize)?;
    Ok((0..partitions).map(|partition| (topic.to_owned(), partition)).collect())
}

/// Produces so many bytes, each batch acknowledged, to these places in turns.
pub fn fill(address: &str, places: &[Place], bytes: u64) -> anyhow::Result<()> {
    let batch = batch((bytes / (places.len() as u64 * ROUNDS)).min(BATCH_BYTES) as usize);
    let mut wire = Wire::connect(address)?;
    let bar = progress::bar("fill", bytes);
    let mut unanswered = VecDeque::with_capacity(IN_FLIGHT);
    let mut filled = 0;
    for (topic, partition) in places.iter().cycle() {
        if unanswered.len() == IN_FLIGHT || filled >= bytes {
            let Some(answered) = unanswered.pop_front() else { break };
            wire.receive_produce()?;
            bar.inc(answered);
        }
        if filled < bytes {
            wire.send_produce(topic, *partition, &batch)?;
            unanswered.push_back(batch.bytes().len() as u64);
            filled += batch.bytes().len() as u64;
        }
    }
    bar.finish_and_clear();
    Ok(())
}

/// A batch of about so many bytes, one record at least.
fn batch(bytes: usize) -> Batch {
    let mut builder = BatchBuilder::new();
    while builder.is_empty() || builder.bytes() < bytes {
        builder.push(Timestamp(0), None, Some(&[7; RECORD_BYTES]), &[]);
    }
    builder.build()
}
