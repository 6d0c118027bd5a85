//! What the measuring tools of the log share: batches, commits that are under way, and files that the system forgets.
#![allow(dead_code, clippy::unwrap_used, reason = "measuring tools; each takes a part of it")]

use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use bytes::Bytes;
use duolog_record::{BatchBuilder, Offset, PartitionId, Timestamp};
use duolog_storage::{Body, Commit, DiskLog, Durability, Entry, Log, ReadLimit, Target};

/// Value of each record, bytes.
const VALUE_BYTES: usize = 100;

/// A batch of records of 100 bytes, so many bytes in all or hardly more.
pub fn body(bytes: usize) -> Body {
    let mut builder = BatchBuilder::new();
    while builder.bytes() < bytes {
        builder.push(Timestamp(0), None, Some(&[b'v'; VALUE_BYTES]), &[]);
    }
    Body::of(&builder.build())
}

/// An append of such a batch, in a buffer of its own, as a request has.
pub fn append(body: &Body, partition: u64, base: u64) -> Entry {
    let target = Target { partition: PartitionId(partition), base: Offset(base), leader_epoch: 1 };
    Entry {
        body: Body { bytes: Bytes::copy_from_slice(&body.bytes), ..body.clone() },
        targets: vec![target],
        key_hashes: Vec::new(),
        abort_first: None,
    }
}

/// Commits that are under way, a bounded number of them.
pub struct Line {
    in_flight_max: usize,
    in_flight: usize,
    answers: (Sender<Instant>, Receiver<Instant>),
    /// The longest that one took.
    pub slowest: Duration,
}

impl Line {
    pub fn new(in_flight_max: usize) -> Self {
        Self { in_flight_max, in_flight: 0, answers: channel(), slowest: Duration::ZERO }
    }

    /// Queues a commit when there is a place for it.
    pub fn commit(&mut self, log: &DiskLog, entries: Vec<Entry>, durability: Durability) {
        if self.in_flight == self.in_flight_max {
            self.answer();
        }
        self.in_flight += 1;
        let commit = Commit {
            entries,
            trims: Vec::new(),
            durability,
            append_time: Timestamp(0),
            may_use_reserve: false,
        };
        let (sender, sent) = (self.answers.0.clone(), Instant::now());
        log.commit(
            commit,
            Box::new(move |result| {
                result.unwrap();
                sender.send(sent).unwrap();
            }),
        );
    }

    /// Waits until all are answered.
    pub fn finish(&mut self) {
        while self.in_flight > 0 {
            self.answer();
        }
    }

    fn answer(&mut self) {
        self.slowest = self.slowest.max(self.answers.1.recv().unwrap().elapsed());
        self.in_flight -= 1;
    }
}

/// Reads a partition from an offset to its end, a MiB at a time. Gives the bytes of its bodies.
pub fn read_all(log: &DiskLog, partition: u64, from: u64) -> usize {
    let partition = PartitionId(partition);
    let (mut at, end, mut bytes) = (from, log.bounds(partition).unwrap().end, 0);
    while at < end.0 {
        let limit = ReadLimit { bytes_max: 1 << 20, until: end };
        let read = log.read(partition, Offset(at), limit).unwrap();
        bytes += read.iter().map(|it| it.body.len()).sum::<usize>();
        at = read.last().map(|it| it.base.0 + u64::from(it.offsets)).unwrap();
    }
    bytes
}

/// Makes the system forget what it holds of the files in a directory, so that the next reads come from the disk (Linux).
pub fn forget_cached_files(directory: &Path) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let file = std::fs::File::open(entry.unwrap().path()).unwrap();
        // Pages that are not on the disk yet are not forgotten.
        file.sync_data().unwrap();
        #[cfg(target_os = "linux")]
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    }
}
