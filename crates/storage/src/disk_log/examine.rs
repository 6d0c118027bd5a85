//! What a doctor finds in a directory: every structure read and checked against the others, nothing changed.
//!
//! The checks are those of docs/storage-format.md, "What a doctor checks". Memory is bounded by one file's index.

use std::collections::HashMap;
use std::io::{self, ErrorKind, IoSlice};
use std::sync::Arc;

use parking_lot::Mutex;

use super::files::{Index, LogFile, SealedFile};
use super::recover::{is_absent, read_footer};
use super::scan::{Known, look};
use crate::disk::{Disk, DiskFile};
use crate::format::file_header::FileHeader;
use crate::format::footer::TRAILER_BYTES;
use crate::format::manifest::{Manifest, ManifestFile};
use crate::format::names::{MANIFEST, WATERMARK, log_id, log_name};
use crate::format::watermark::{WATERMARK_BYTES, Watermark};
use crate::format::{BLOCK_BYTES, file_seed};
use crate::limits::MANIFEST_BYTES;

/// What one finding means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing is lost; the next opening mends it or does not need it.
    Harmless,
    /// Some records cannot be read; the rest is served.
    Damage,
    /// The log does not open.
    Fatal,
}

/// One thing that is not as it should be.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Which file.
    pub file: String,
    /// What it means.
    pub severity: Severity,
    /// What was found.
    pub text: String,
}

/// What was looked at and found.
#[derive(Clone, Debug, Default)]
pub struct Examination {
    /// Files of the log that the manifest lists.
    pub files: u64,
    /// Bytes of those.
    pub bytes: u64,
    /// Frames read.
    pub frames: u64,
    /// In the order of the files.
    pub findings: Vec<Finding>,
    /// Files whose frames can be read where their footers cannot.
    unindexed: Vec<u64>,
}

impl Examination {
    fn find(&mut self, file: impl Into<String>, severity: Severity, text: impl Into<String>) {
        self.findings.push(Finding { file: file.into(), severity, text: text.into() });
    }

    /// Makes an opening read the frames of the files whose index is damaged in part. On an overlay: it writes.
    ///
    /// # Errors
    /// The disk's.
    pub fn give_up_indexes(&self, disk: &dyn Disk) -> io::Result<()> {
        for &file in &self.unindexed {
            let handle = disk.open(&log_name(file))?;
            let at = handle.len()?.saturating_sub(TRAILER_BYTES as u64);
            handle.write_at(&[IoSlice::new(&[0; TRAILER_BYTES])], at)?;
        }
        Ok(())
    }
}

/// Examines a directory, which is locked meanwhile, so that no broker writes to it.
///
/// # Errors
/// `WouldBlock` if a broker has it open; else the system's error, where looking itself failed.
pub fn examine(disk: &Arc<dyn Disk>) -> io::Result<Examination> {
    disk.lock()?;
    let mut found = Examination::default();
    let looked = found.look(disk);
    disk.unlock();
    looked.map(|()| found)
}

fn whole(handle: &dyn DiskFile, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    handle.read_at(&mut bytes, 0)?;
    Ok(bytes)
}

impl Examination {
    fn look(&mut self, disk: &Arc<dyn Disk>) -> io::Result<()> {
        let Some(manifest) = self.manifest(&**disk)? else { return Ok(()) };
        let durable_upto = self.watermark(&**disk)?;
        let names = disk.list()?;
        for listed in &manifest.files {
            let name = log_name(listed.file);
            match disk.open(&name) {
                Ok(handle) => self.file(disk, &manifest, listed, handle, durable_upto)?,
                Err(error) if is_absent(&error) => {
                    self.find(name, Severity::Fatal, "the manifest lists it, and it is not there");
                }
                Err(error) => return Err(error),
            }
        }
        for name in &names {
            let Some(id) = log_id(name) else { continue };
            if manifest.files.iter().any(|it| it.file == id) {
                continue;
            }
            if manifest.dropped.contains(&id) {
                self.find(name, Severity::Harmless, "it was reclaimed, and goes with the next start");
            } else {
                let text = "the manifest does not list it: the next start deletes it if it holds nothing that was \
                            acknowledged, and else refuses to open, as the manifest is then an old copy";
                self.find(name, Severity::Harmless, text);
            }
        }
        Ok(())
    }

    fn manifest(&mut self, disk: &dyn Disk) -> io::Result<Option<Manifest>> {
        let handle = match disk.open(MANIFEST) {
            Ok(handle) => handle,
            Err(error) if is_absent(&error) => {
                if disk.list()?.iter().any(|name| log_id(name).is_some()) {
                    self.find(MANIFEST, Severity::Fatal, "it is missing, and there are log files");
                }
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let length = usize::try_from(handle.len()?).unwrap_or(usize::MAX).min(MANIFEST_BYTES);
        match Manifest::decode(&whole(&*handle, length)?) {
            Ok(manifest) => Ok(Some(manifest)),
            Err(error) => {
                self.find(MANIFEST, Severity::Fatal, format!("it cannot be read: {error}"));
                Ok(None)
            }
        }
    }

    /// Sequence of the last frame that it says was durable.
    fn watermark(&mut self, disk: &dyn Disk) -> io::Result<u64> {
        match disk.open(WATERMARK) {
            Ok(handle) if handle.len()? >= WATERMARK_BYTES as u64 => {
                let bytes = whole(&*handle, WATERMARK_BYTES)?;
                let mark = Watermark::decode(&bytes);
                if mark.is_none() && bytes.iter().any(|byte| *byte != 0) {
                    let text =
                        "neither slot can be read: were the last frame damaged too, nothing would show it";
                    self.find(WATERMARK, Severity::Harmless, text);
                }
                Ok(mark.map_or(0, |it| it.durable_upto))
            }
            Ok(_) => {
                self.find(WATERMARK, Severity::Harmless, "it is too short, and is written anew");
                Ok(0)
            }
            Err(error) if is_absent(&error) => Ok(0),
            Err(error) => Err(error),
        }
    }

    fn file(
        &mut self,
        disk: &Arc<dyn Disk>,
        manifest: &Manifest,
        listed: &ManifestFile,
        handle: Arc<dyn DiskFile>,
        durable_upto: u64,
    ) -> io::Result<()> {
        let name = log_name(listed.file);
        let length = handle.len()?;
        self.files += 1;
        self.bytes += length;
        let seed = file_seed(manifest.salt, listed.file);
        let unlinked = Arc::new(Mutex::new(Vec::new()));
        let file = LogFile::new((listed.file, seed), handle, length, Arc::clone(disk), unlinked);
        let block = file.read(0, BLOCK_BYTES.min(usize::try_from(length).unwrap_or(BLOCK_BYTES)))?;
        let carried_upto = match FileHeader::decode(&block, listed.file) {
            Ok(header) => header.carried_upto,
            Err(error) => {
                self.find(&name, Severity::Harmless, format!("its header cannot be read: {error}"));
                listed.first_sequence
            }
        };
        // Of the newest file only what it was begun with and said to hold; what lies behind may be a torn tail.
        let last = if listed.sealed { listed.last_sequence } else { durable_upto.max(carried_upto) };
        let known = Known {
            frames_at: BLOCK_BYTES as u64,
            first_sequence: listed.first_sequence,
            carried_upto,
            durable_upto: last,
            frames_end: listed.sealed.then_some(listed.frames_end),
        };
        let looked = look(&file, &known)?;
        self.frames += looked.frames;
        for text in looked.damages {
            self.find(&name, Severity::Damage, text);
        }
        let last = last.max(looked.durable_upto);
        if looked.last_sequence < last && listed.first_sequence <= last {
            let text = format!("frames {} to {last} are lost", looked.last_sequence + 1);
            self.find(&name, Severity::Damage, text);
        }
        if listed.sealed { self.index(&name, file, &looked.bodies) } else { Ok(()) }
    }

    /// The footer, each page of the index, and that each entry is of a body that its frame has.
    fn index(&mut self, name: &str, file: LogFile, bodies: &HashMap<u64, u32>) -> io::Result<()> {
        let id = file.id;
        let footer = match read_footer(&file) {
            Ok(footer) => footer,
            Err(error) => {
                let text = format!("its footer cannot be read ({error}): every start reads the whole file");
                self.find(name, Severity::Harmless, text);
                return Ok(());
            }
        };
        let sealed = SealedFile { file: Arc::new(file), index: Index::Footer(footer) };
        for page in 0..sealed.pages() {
            let entries = match sealed.page(page) {
                Ok(entries) => entries,
                Err(error) => {
                    self.find(name, Severity::Damage, format!("its index is damaged: {error}"));
                    self.unindexed.push(id);
                    continue;
                }
            };
            let unknown = entries
                .iter()
                .find(|it| !it.damaged && bodies.get(&u64::from(it.body_position)) != Some(&it.body_crc));
            if let Some(entry) = unknown {
                let text = format!(
                    "no sound frame has the batch that the index knows at offset {} of partition {}",
                    entry.base, entry.partition
                );
                self.find(name, Severity::Damage, text);
            }
            for entry in entries.iter().filter(|it| it.damaged) {
                let (from, until) = (entry.base, entry.end());
                let text =
                    format!("partition {}: offsets {from} to {until} are known to be lost", entry.partition);
                self.find(name, Severity::Damage, text);
            }
        }
        self.unindexed.dedup();
        Ok(())
    }
}

/// True if looking failed because a broker has the directory open.
#[must_use]
pub fn is_in_use(error: &io::Error) -> bool {
    error.kind() == ErrorKind::WouldBlock
}
