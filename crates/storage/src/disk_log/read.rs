//! Reading: the index walked in order of offsets, then bodies from the cache or by few large reads, each verified.
//!
//! Invariant: no lock is held while the disk is read; a file that a read has found stays until the read is over, whatever
//! is reclaimed meanwhile.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use duolog_record::{Offset, PREFIX_BYTES, PartitionId};
use parking_lot::RwLock;

use super::files::{IndexError, LogFile};
use super::scan::body_matches;
use super::view::View;
use crate::format::footer::Row;
use crate::format::index::IndexEntry;
use crate::limits::{READ_ALONG_SHARE, READ_BYTES, READ_GAP_BYTES, SCATTERED_BYTES};
use crate::{ReadError, ReadLimit, Span, StoredBatch};

/// A batch that the walk has come to.
pub(crate) struct Seen<'a> {
    pub(crate) entry: &'a IndexEntry,
    pub(crate) file: &'a Arc<LogFile>,
    pub(crate) body: Option<&'a Bytes>,
}

/// A batch to be read.
struct Located {
    entry: IndexEntry,
    file: Arc<LogFile>,
    body: Option<Bytes>,
}

/// Walks the batches of a partition that end above `from`, in order, until `visit` says false. Sealed files whose row
/// `skip` knows to be of no interest are passed over.
pub(crate) fn walk(
    view: &RwLock<View>,
    partition: PartitionId,
    from: Offset,
    skip: impl Fn(&Row) -> bool,
    visit: impl FnMut(Seen<'_>) -> bool,
) -> Result<(), ReadError> {
    walk_pages(view, partition, from, skip, Err, visit)
}

/// The same, where `on_damage` says whether the walk goes on behind a page of the index that is damaged.
fn walk_pages(
    view: &RwLock<View>,
    partition: PartitionId,
    from: Offset,
    skip: impl Fn(&Row) -> bool,
    on_damage: impl Fn(ReadError) -> Result<(), ReadError>,
    mut visit: impl FnMut(Seen<'_>) -> bool,
) -> Result<(), ReadError> {
    let mut at = from;
    loop {
        let (extent, recent_from) = {
            let view = view.read();
            // It was there when the walk began, or the caller has checked; if it was removed since, that is its end.
            let Some(it) = view.partitions.get(&partition) else { return Ok(()) };
            let recent_from = it.recent.front().map(|it| it.entry.base);
            let in_recent = recent_from.is_some_and(|first| at >= first);
            match it.extent_from(at).filter(|_| !in_recent) {
                Some(extent) => (extent.clone(), recent_from),
                None => {
                    for recent in it.recent.range(it.recent_from(at)..) {
                        let Some(file) = view.file(recent.file) else { continue };
                        let body = view.cache.get(recent.file, recent.entry.body_position);
                        if !visit(Seen { entry: &recent.entry, file, body }) {
                            break;
                        }
                    }
                    return Ok(());
                }
            }
        };
        let row = extent.row();
        // What is in memory too is read from there.
        let until = recent_from.unwrap_or(Offset(u64::MAX)).min(row.end);
        if !skip(row) {
            for page in extent.file.walk(row, at) {
                let page = match page {
                    Ok(page) => page,
                    Err(IndexError::Io(error)) => return Err(failed(partition, at, &error)),
                    Err(error @ IndexError::Format { .. }) => {
                        on_damage(damaged(partition, at, &error))?;
                        continue;
                    }
                };
                for entry in page.iter().take_while(|it| it.base < until) {
                    at = entry.end();
                    if !visit(Seen { entry, file: &extent.file.file, body: None }) {
                        return Ok(());
                    }
                }
            }
        }
        at = at.max(until);
    }
}

fn damaged(partition: PartitionId, at: Offset, reason: &impl ToString) -> ReadError {
    ReadError::Damaged { partition, at, reason: reason.to_string() }
}

/// A read that the system did not make: it may another time, unless the file has become shorter than it was.
fn failed(partition: PartitionId, at: Offset, error: &io::Error) -> ReadError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => damaged(partition, at, error),
        _ => ReadError::Io { partition, reason: error.to_string() },
    }
}

fn lost(partition: PartitionId, entry: &IndexEntry) -> ReadError {
    damaged(partition, entry.base, &format!("{} acknowledged records cannot be read", entry.offsets))
}

fn check_range(view: &RwLock<View>, partition: PartitionId, at: Offset) -> Result<(), ReadError> {
    let view = view.read();
    let it = view.partitions.get(&partition).ok_or(ReadError::UnknownPartition(partition))?;
    if at < it.start || at > it.end {
        return Err(ReadError::OutOfRange { partition, at, start: it.start, end: it.end });
    }
    Ok(())
}

/// See `Log::read`.
pub(crate) fn read(
    view: &RwLock<View>,
    partition: PartitionId,
    from: Offset,
    limit: ReadLimit,
) -> Result<Vec<StoredBatch>, ReadError> {
    check_range(view, partition, from)?;
    let mut located: Vec<Located> = Vec::new();
    let mut bytes = 0usize;
    let mut damage = None;
    let walked = walk(
        view,
        partition,
        from,
        |_| false,
        |seen| {
            bytes += seen.entry.body_bytes as usize + PREFIX_BYTES;
            if seen.entry.base >= limit.until || (bytes > limit.bytes_max && !located.is_empty()) {
                return false;
            }
            if seen.entry.damaged {
                damage = Some(lost(partition, seen.entry));
                return false;
            }
            located.push(Located {
                entry: *seen.entry,
                file: Arc::clone(seen.file),
                body: seen.body.cloned(),
            });
            true
        },
    );
    let mut batches = Vec::with_capacity(located.len());
    let fetched = fetch(partition, &mut located, &mut batches);
    let error = fetched.err().or(damage).or(walked.err());
    match error {
        Some(error) if batches.is_empty() => Err(error),
        Some(_) | None => Ok(batches),
    }
}

/// Reads the bodies that are not cached, neighbours together, and verifies them; stops at the first that fails.
fn fetch(
    partition: PartitionId,
    located: &mut [Located],
    batches: &mut Vec<StoredBatch>,
) -> Result<(), ReadError> {
    let mut next = 0;
    while next < located.len() {
        let run = run_length(&located[next..]);
        if run > 0 {
            read_run(partition, &mut located[next..next + run])?;
            if next + run < located.len() {
                note_scattered(&located[next..next + run]);
            }
        }
        for it in &located[next..next + run.max(1)] {
            let body = it.body.clone().unwrap_or_default();
            if run > 0 && !body_matches(&body, it.entry.body_bytes, it.entry.body_crc) {
                return Err(damaged(partition, it.entry.base, &"checksum mismatch"));
            }
            batches.push(StoredBatch {
                base: it.entry.base,
                offsets: it.entry.offsets,
                leader_epoch: it.entry.leader_epoch,
                append_time: it.entry.append_time,
                body,
            });
        }
        next += run.max(1);
    }
    Ok(())
}

/// How many of these, from the first on, are to be read from the disk together; none if the first is cached.
fn run_length(located: &[Located]) -> usize {
    let Some(first) = located.first().filter(|it| it.body.is_none()) else { return 0 };
    let from = u64::from(first.entry.body_position);
    let mut end = from + u64::from(first.entry.body_bytes);
    let mut count = 1;
    for it in &located[1..] {
        let position = u64::from(it.entry.body_position);
        let new_end = position + u64::from(it.entry.body_bytes);
        let is_near = it.file.id == first.file.id && position >= end && position - end <= READ_GAP_BYTES;
        if it.body.is_some() || !is_near || new_end - from > READ_BYTES as u64 {
            break;
        }
        end = new_end;
        count += 1;
    }
    count
}

/// A read that goes on elsewhere after little: files in which it happens often are worth sorting.
fn note_scattered(run: &[Located]) {
    let bytes: u64 = run.iter().map(|it| u64::from(it.entry.body_bytes)).sum();
    if bytes < SCATTERED_BYTES {
        run[0].file.scattered_reads.fetch_add(1, Ordering::Relaxed);
    }
}

fn read_run(partition: PartitionId, run: &mut [Located]) -> Result<(), ReadError> {
    let (Some(first), Some(last)) = (run.first(), run.last()) else { return Ok(()) };
    let from = u64::from(first.entry.body_position);
    let end = u64::from(last.entry.body_position) + u64::from(last.entry.body_bytes);
    let bytes = first.file.read(from, (end - from) as usize);
    let bytes = bytes.map_err(|error| failed(partition, first.entry.base, &error))?;
    let wanted: u64 = run.iter().map(|it| u64::from(it.entry.body_bytes)).sum();
    // Whoever asked has memory for the bodies; what was read along would be kept as long as one of them.
    let is_sparse = wanted + wanted / READ_ALONG_SHARE < end - from;
    for it in run {
        let at = (u64::from(it.entry.body_position) - from) as usize;
        let body = bytes.slice(at..at + it.entry.body_bytes as usize);
        it.body = Some(if is_sparse { Bytes::copy_from_slice(&body) } else { body });
    }
    Ok(())
}

/// See `Log::spans`.
pub(crate) fn spans(
    view: &RwLock<View>,
    partition: PartitionId,
    from: Offset,
    count: usize,
) -> Result<Vec<Span>, ReadError> {
    check_range(view, partition, from)?;
    let mut spans = Vec::new();
    let mut damage = None;
    let walked = walk(
        view,
        partition,
        from,
        |_| false,
        |seen| {
            if seen.entry.damaged {
                damage = Some(lost(partition, seen.entry));
                return false;
            }
            if spans.len() < count {
                spans.push(seen.entry.span());
            }
            spans.len() < count
        },
    );
    match damage.or(walked.err()) {
        Some(error) if spans.is_empty() && count > 0 => Err(error),
        Some(_) | None => Ok(spans),
    }
}

/// The first batch that is `wanted`, where no sealed file is looked into whose row is not.
pub(crate) fn first(
    view: &RwLock<View>,
    partition: PartitionId,
    wanted_row: impl Fn(&Row) -> bool,
    wanted: impl Fn(&IndexEntry) -> bool,
) -> Result<Option<Span>, ReadError> {
    let start = view
        .read()
        .partitions
        .get(&partition)
        .map(|it| it.start)
        .ok_or(ReadError::UnknownPartition(partition))?;
    let mut found = None;
    walk(
        view,
        partition,
        start,
        |row| !wanted_row(row),
        |seen| {
            if !seen.entry.damaged && wanted(seen.entry) {
                found = Some(seen.entry.span());
            }
            found.is_none()
        },
    )?;
    Ok(found)
}

/// See `Log::readable_behind`.
pub(crate) fn readable_behind(
    view: &RwLock<View>,
    partition: PartitionId,
    at: Offset,
) -> Result<Option<Offset>, ReadError> {
    let mut found = None;
    let visit = |seen: Seen<'_>| {
        if seen.entry.base > at && !seen.entry.damaged {
            found = Some(seen.entry.base);
        }
        found.is_none()
    };
    walk_pages(view, partition, at, |_| false, |_| Ok(()), visit)?;
    Ok(found)
}

/// See `Log::is_cached`.
pub(crate) fn is_cached(view: &RwLock<View>, partition: PartitionId, from: Offset) -> bool {
    let view = view.read();
    let Some(it) = view.partitions.get(&partition) else { return true };
    if from < it.start || from >= it.end {
        return true;
    }
    if it.recent.front().is_none_or(|first| from < first.entry.base) {
        return it.extent_from(from).is_none() && it.recent.is_empty();
    }
    it.recent
        .get(it.recent_from(from))
        .is_none_or(|recent| view.cache.get(recent.file, recent.entry.body_position).is_some())
}
