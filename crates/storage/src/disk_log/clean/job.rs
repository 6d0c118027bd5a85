//! A rewrite under way: survivors copied body by body, each verified, a chunk a step.
//!
//! Nothing of the log changes until it is installed: a job that ends early leaves files that no manifest lists.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use duolog_record::Offset;
use parking_lot::RwLock;

use super::alive::Left;
use super::output::{Output, Survivor};
use super::plan::Input;
use super::sort::{BodyOf, Item, Others, Sorted, sort};
use crate::disk_log::files::{LogFile, SealedFile};
use crate::disk_log::scan::body_matches;
use crate::disk_log::view::View;
use crate::format::BLOCK_BYTES;
use crate::format::footer::footer_bytes;
use crate::format::frame::{self, FIXED_BYTES, rewritten_entry_bytes};
use crate::format::manifest::ManifestFile;
use crate::limits::{
    READ_BYTES, READ_GAP_BYTES, REWRITE_CHUNK_BYTES, REWRITE_FRAME_BODIES, REWRITE_FRAME_PLACES,
};

/// A file that is whole.
pub(super) type Finished = (Arc<SealedFile>, ManifestFile);

/// Why a job ends early.
pub(super) enum Failed {
    /// An input is damaged.
    Damaged(Arc<SealedFile>, Left),
    /// There is no room.
    Full,
    /// A write or sync failed.
    Io(std::io::Error),
}

impl From<std::io::Error> for Failed {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::StorageFull { Self::Full } else { Self::Io(error) }
    }
}

/// A rewrite under way.
pub(super) struct Job {
    pub(super) inputs: Vec<Arc<SealedFile>>,
    sorted: Sorted,
    others: Others,
    /// The next body.
    next: usize,
    pub(super) output: Option<Output>,
    pub(super) finished: Vec<Finished>,
}

/// What a step has copied.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Copied {
    /// Bytes read.
    pub(super) read: u64,
    /// Bytes written.
    pub(super) written: u64,
}

impl Job {
    pub(super) fn new(view: &RwLock<View>, mut inputs: Vec<Input>, file_bytes: u64) -> Self {
        let sorted = sort(view, &mut inputs, file_bytes);
        let inputs: Vec<Arc<SealedFile>> = inputs.into_iter().map(|it| it.file).collect();
        let others = Others::of(view, &sorted.items, |id| inputs.iter().any(|it| it.file.id == id));
        Self { inputs, sorted, others, next: 0, output: None, finished: Vec::new() }
    }

    /// All that is kept fits one file.
    pub(super) fn is_one_output(&self) -> bool {
        self.sorted.outputs.len() == 1
    }

    pub(super) fn input_ids(&self) -> Vec<u64> {
        self.inputs.iter().map(|it| it.file.id).collect()
    }

    /// Bytes of all bodies that are kept.
    pub(super) fn bytes(&self) -> u64 {
        self.sorted.outputs.iter().map(|bodies| self.sorted.measure(bodies).1).sum()
    }

    /// Bytes that the next output takes, hardly more; `None` if all are written.
    pub(super) fn next_capacity(&self) -> Option<u64> {
        let bodies = self.sorted.outputs.get(self.finished.len())?;
        let (entries, body_bytes) = self.sorted.measure(bodies);
        // A frame of its own for each body is more than will be.
        let headers: u64 = self.sorted.bodies[bodies.clone()]
            .iter()
            .map(|it| {
                let hashes = self.hashes_about(*it);
                (FIXED_BYTES + 16 + rewritten_entry_bytes(it.targets as usize, hashes)) as u64
            })
            .sum();
        Some(BLOCK_BYTES as u64 + headers + body_bytes + footer_bytes(entries, entries))
    }

    /// Key hashes of a body are known when its frame is read; as many as records is a guess.
    fn hashes_about(&self, body: BodyOf) -> usize {
        let first = &self.sorted.targets(body)[0].entry;
        if first.key_hashes { first.offsets as usize } else { 0 }
    }

    /// Writes one frame, or the footer of the present output.
    pub(super) fn step(&mut self) -> Result<Copied, Failed> {
        let Some(mut output) = self.output.take() else { return Ok(Copied::default()) };
        let bodies = self.sorted.outputs[self.finished.len()].clone();
        let frame = self.next_frame(self.next.max(bodies.start)..bodies.end);
        if frame.is_empty() {
            let sealed = output.seal(&self.others);
            // Whoever gives the job up takes the file back, finished or not.
            self.output = Some(output);
            self.finished.push(sealed?);
            self.output = None;
            return Ok(Copied::default());
        }
        let copied = self.copy(&mut output, frame.clone());
        self.output = Some(output);
        let copied = copied?;
        self.next = frame.end;
        Ok(copied)
    }

    fn copy(&self, output: &mut Output, bodies: Range<usize>) -> Result<Copied, Failed> {
        let survivors = self.read(bodies)?;
        let read = survivors.iter().map(|it| it.body.len() as u64).sum();
        Ok(Copied { read, written: output.write(&survivors)? })
    }

    /// As many bodies as make a frame.
    fn next_frame(&self, bodies: Range<usize>) -> Range<usize> {
        let (mut bytes, mut places) = (0, 0);
        let mut end = bodies.start;
        for body in &self.sorted.bodies[bodies.clone()] {
            bytes += u64::from(self.sorted.targets(*body)[0].entry.body_bytes);
            places += body.targets as usize + self.hashes_about(*body);
            let is_over = bytes > REWRITE_CHUNK_BYTES
                || places > REWRITE_FRAME_PLACES
                || end - bodies.start >= REWRITE_FRAME_BODIES;
            if is_over && end > bodies.start {
                break;
            }
            end += 1;
        }
        bodies.start..end
    }

    /// Reads these bodies, neighbours together, and verifies each.
    fn read(&self, bodies: Range<usize>) -> Result<Vec<Survivor<'_>>, Failed> {
        let mut survivors = Vec::with_capacity(bodies.len());
        let bodies = &self.sorted.bodies[bodies];
        let mut next = 0;
        while next < bodies.len() {
            let run = self.run_length(&bodies[next..]);
            let (first, last) = (self.first(bodies[next]), self.first(bodies[next + run - 1]));
            let input = &self.inputs[usize::from(first.input)];
            let from = u64::from(first.entry.body_position);
            let end = u64::from(last.entry.body_position) + u64::from(last.entry.body_bytes);
            let bytes = input.file.read(from, (end - from) as usize);
            let bytes = bytes.map_err(|error| Failed::Damaged(Arc::clone(input), Left::Read(error)))?;
            for body in &bodies[next..next + run] {
                let entry = &self.first(*body).entry;
                let at = (u64::from(entry.body_position) - from) as usize;
                let body_bytes = bytes.slice(at..at + entry.body_bytes as usize);
                survivors.push(self.survivor(*body, input, body_bytes)?);
            }
            next += run;
        }
        Ok(survivors)
    }

    fn first(&self, body: BodyOf) -> &Item {
        &self.sorted.targets(body)[0]
    }

    /// How many of these lie near each other in one input.
    fn run_length(&self, bodies: &[BodyOf]) -> usize {
        let first = self.first(bodies[0]);
        let from = u64::from(first.entry.body_position);
        let mut end = from + u64::from(first.entry.body_bytes);
        let others = bodies[1..].iter().take_while(|body| {
            let it = self.first(**body);
            let position = u64::from(it.entry.body_position);
            let new_end = position + u64::from(it.entry.body_bytes);
            let is_near = it.input == first.input
                && position >= end
                && position - end <= READ_GAP_BYTES
                && new_end - from <= READ_BYTES as u64;
            end = new_end;
            is_near
        });
        1 + others.count()
    }

    fn survivor(&self, body: BodyOf, input: &Arc<SealedFile>, bytes: Bytes) -> Result<Survivor<'_>, Failed> {
        let targets = self.sorted.targets(body);
        let entry = &targets[0].entry;
        let (partition, base) = (entry.partition, entry.base);
        if !body_matches(&bytes, entry.body_bytes, entry.body_crc) {
            return Err(Failed::Damaged(Arc::clone(input), Left::Body { partition, base }));
        }
        let (key_hashes, abort_first) = if entry.key_hashes || entry.abort_mark {
            extras(&input.file, entry.frame_position, entry.body_position)
                .ok_or_else(|| Failed::Damaged(Arc::clone(input), Left::Frame { partition, base }))?
        } else {
            (Vec::new(), None)
        };
        Ok(Survivor { body: bytes, targets, key_hashes, abort_first })
    }
}

/// What only the frame has of an entry.
fn extras(file: &LogFile, frame_position: u32, body_position: u32) -> Option<(Vec<u64>, Option<Offset>)> {
    let position = u64::from(frame_position);
    let fixed = file.read(position, FIXED_BYTES).ok()?;
    let header = file.read(position, frame::header_length(&fixed).ok()?).ok()?;
    let frame = frame::decode_header(&header, file.seed, position).ok()?;
    let entry = frame.entries.into_iter().find(|it| it.body_position == u64::from(body_position))?;
    Some((entry.key_hashes, entry.abort_first))
}
