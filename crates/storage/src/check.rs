//! The shape of a commit: what every log refuses before it looks at its own state.

use duolog_record::Offset;

use crate::limits::{BODY_BYTES_MIN, COMMIT_BYTES, TARGETS_PER_COMMIT, TARGETS_PER_ENTRY};
use crate::{Body, Commit, Entry, LogError};

/// Where the batch's own checksum lies in a body: behind the magic byte, big-endian.
const BODY_CRC: std::ops::Range<usize> = 1..5;

/// Refuses a commit that breaks a limit, whatever the log holds.
pub(crate) fn check_shape(commit: &Commit) -> Result<(), LogError> {
    let mut bytes = 0usize;
    let mut places = commit.trims.len();
    for entry in &commit.entries {
        check_entry(entry)?;
        bytes = bytes.saturating_add(entry.body.bytes.len());
        places = places.saturating_add(entry.targets.len()).saturating_add(entry.key_hashes.len());
    }
    if bytes > COMMIT_BYTES {
        return Err(invalid(format!("{bytes} bytes of bodies where at most {COMMIT_BYTES} are allowed")));
    }
    if places > TARGETS_PER_COMMIT {
        return Err(invalid(format!("{places} targets where at most {TARGETS_PER_COMMIT} are allowed")));
    }
    Ok(())
}

fn check_entry(entry: &Entry) -> Result<(), LogError> {
    let targets = entry.targets.len();
    if targets == 0 || targets > TARGETS_PER_ENTRY {
        return Err(invalid(format!("an entry with {targets} targets")));
    }
    check_body(&entry.body)?;
    for target in &entry.targets {
        if target.base.0.checked_add(u64::from(entry.body.offsets)).is_none() {
            return Err(invalid(format!("offset {} is beyond the largest", target.base)));
        }
    }
    Ok(())
}

fn check_body(body: &Body) -> Result<(), LogError> {
    if body.offsets == 0 {
        return Err(invalid("a body that takes no offset".to_owned()));
    }
    if body.bytes.len() < BODY_BYTES_MIN {
        return Err(invalid(format!("a body of {} bytes", body.bytes.len())));
    }
    if body.bytes[BODY_CRC] != body.crc.to_be_bytes() {
        return Err(invalid("the stated checksum is not the one in the body".to_owned()));
    }
    Ok(())
}

/// Refuses an append that does not continue its partition.
pub(crate) fn check_base(
    partition: duolog_record::PartitionId,
    base: Offset,
    end: Option<Offset>,
) -> Result<(), LogError> {
    match end {
        Some(end) if end != base => {
            Err(invalid(format!("append to partition {partition} at {base}, its end is {end}")))
        }
        Some(_) | None => Ok(()),
    }
}

/// A mistake of the caller.
pub(crate) fn invalid(reason: String) -> LogError {
    LogError::Invalid { reason }
}
