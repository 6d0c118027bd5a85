//! The directory against its manifest: what is listed must be there, and what is not listed may go only if it provably
//! holds nothing that was acknowledged.

use std::io::{self, ErrorKind};
use std::sync::Arc;

use parking_lot::Mutex;
use tracing::info;

use super::files::LogFile;
use super::options::{OpenError, Options};
use super::recover::{KNOWN_VERSION, is_absent};
use super::scan::holds_commits;
use super::store::{RoomError, Store};
use crate::disk::{Disk, DiskFile};
use crate::format::file_header::FileHeader;
use crate::format::manifest::Manifest;
use crate::format::names::{MANIFEST, log_id, log_name, spare_name, spare_number};
use crate::format::{BLOCK_BYTES, FormatError, file_seed};
use crate::limits::MANIFEST_BYTES;

/// Errors that name the directory.
pub(crate) struct Directory {
    pub(crate) name: String,
}

impl Directory {
    pub(crate) fn io<'a>(&'a self, what: &'a str) -> impl FnOnce(io::Error) -> OpenError + 'a {
        move |error| OpenError::Io { directory: self.name.clone(), what: what.to_owned(), error }
    }

    pub(crate) fn room(&self, error: RoomError) -> OpenError {
        match error {
            RoomError::Full { bytes } => OpenError::DiskFull { directory: self.name.clone(), bytes },
            RoomError::Failed(reason) => OpenError::Io {
                directory: self.name.clone(),
                what: "prepare the log".to_owned(),
                error: io::Error::other(reason),
            },
        }
    }

    pub(crate) fn newer(&self, file: u64, found: u32) -> OpenError {
        self.newer_format(log_name(file), found)
    }

    fn newer_format(&self, what: String, found: u32) -> OpenError {
        OpenError::NewerFormat { directory: self.name.clone(), what, found, known: KNOWN_VERSION }
    }

    /// The manifest and what it means for the files that are there.
    pub(crate) fn read(&self, disk: &Arc<dyn Disk>, options: &Options) -> Result<Store, OpenError> {
        let manifest = self.manifest(&**disk, options.salt)?;
        let mut store = Store {
            disk: Arc::clone(disk),
            options: options.clone(),
            manifest,
            unlinked: Arc::new(Mutex::new(Vec::new())),
            spares: Vec::new(),
        };
        store.manifest.next_file = store.manifest.next_file.max(1);
        let mut names = disk.list().map_err(self.io("list the files"))?;
        names.sort_unstable();
        if names.iter().any(|it| Self::is_unlisted(&store, it)) {
            // The manifest that was read may have been renamed into place by a process that died before it synced the
            // directory. What it no longer lists may go only once no power loss brings an older manifest back.
            store.sync_directory().map_err(|error| self.room(error))?;
        }
        for name in &names {
            if let Some(file) = log_id(name) {
                // Ids are never used again, not even one whose file was never listed.
                store.manifest.next_file = store.manifest.next_file.max(file.saturating_add(1));
                if Self::is_unlisted(&store, name) {
                    self.remove_unlisted(&store, file, &names)?;
                }
            } else if let Some(number) = spare_number(name) {
                self.take_spare(&mut store, number)?;
            }
        }
        Ok(store)
    }

    fn is_unlisted(store: &Store, name: &str) -> bool {
        log_id(name).is_some_and(|file| store.manifest.files.iter().all(|it| it.file != file))
    }

    fn manifest(&self, disk: &dyn Disk, salt: u64) -> Result<Manifest, OpenError> {
        let damaged = |reason: String| OpenError::DamagedManifest { directory: self.name.clone(), reason };
        let handle = match disk.open(MANIFEST) {
            Ok(handle) => handle,
            Err(error) if is_absent(&error) => {
                return Ok(Manifest { salt, ..Manifest::default() });
            }
            Err(error) => return Err(self.io("open the manifest")(error)),
        };
        let length = handle.len().map_err(self.io("read the manifest"))?;
        let length = usize::try_from(length).ok().filter(|&length| length <= MANIFEST_BYTES);
        let Some(length) = length else {
            return Err(damaged(format!("it is longer than {MANIFEST_BYTES} bytes")));
        };
        let mut bytes = vec![0; length];
        handle.read_at(&mut bytes, 0).map_err(self.io("read the manifest"))?;
        match Manifest::decode(&bytes) {
            Ok(manifest) => Ok(manifest),
            Err(FormatError::Newer(found)) => Err(self.newer_format(MANIFEST.to_owned(), found)),
            Err(error) => Err(damaged(error.to_string())),
        }
    }

    fn remove_unlisted(&self, store: &Store, file: u64, names: &[String]) -> Result<(), OpenError> {
        let name = log_name(file);
        let handle = store.disk.open(&name).map_err(self.io("open a log file"))?;
        let header = self.header(&*handle, file)?;
        // Its own word first: where there is no manifest, nothing else tells.
        let seed = header.as_ref().map_or(file_seed(store.manifest.salt, file), |it| it.seed);
        let log_file =
            LogFile::new((file, seed), handle, 0, Arc::clone(&store.disk), Arc::clone(&store.unlinked));
        let reason = if store.manifest.dropped.contains(&file) {
            "it had been reclaimed"
        } else if Self::is_unfinished_output(store, header.as_ref(), names) {
            "all that it was made from is there"
        } else if holds_commits(&log_file).map_err(self.io("read a log file"))? {
            return Err(OpenError::Unlisted { directory: self.name.clone(), name });
        } else {
            "it was never used"
        };
        info!(file, reason, "deleting a file that is not in the manifest");
        store.disk.unlink(&name).map_err(self.io("unlink a log file"))?;
        store.unlinked.lock().push(file);
        Ok(())
    }

    fn header(&self, handle: &dyn DiskFile, file: u64) -> Result<Option<FileHeader>, OpenError> {
        let length = handle.len().map_err(self.io("look at a log file"))?;
        if length < BLOCK_BYTES as u64 {
            return Ok(None);
        }
        let mut block = [0; BLOCK_BYTES];
        handle.read_at(&mut block, 0).map_err(self.io("read a file header"))?;
        match FileHeader::decode(&block, file) {
            Ok(header) => Ok(Some(header)),
            Err(FormatError::Newer(found)) => Err(self.newer(file, found)),
            Err(FormatError::Absent | FormatError::BadChecksum | FormatError::Malformed(_)) => Ok(None),
        }
    }

    /// True if the file was rewritten from others that are all still listed, and there: an old manifest lists what is not.
    fn is_unfinished_output(store: &Store, header: Option<&FileHeader>, names: &[String]) -> bool {
        let is_there = |input: &u64| {
            store.manifest.files.iter().any(|it| it.file == *input)
                && names.binary_search(&log_name(*input)).is_ok()
        };
        header.is_some_and(|it| !it.inputs.is_empty() && it.inputs.iter().all(is_there))
    }

    /// A spare of this size is one; any other goes.
    fn take_spare(&self, store: &mut Store, number: u32) -> Result<(), OpenError> {
        let name = spare_name(number);
        let handle = store.disk.open(&name).map_err(self.io("open a spare file"))?;
        let length = handle.len().map_err(self.io("look at a spare file"))?;
        if number < store.options.reserve_files && length == store.options.file_bytes {
            store.spares.push(number);
            return Ok(());
        }
        drop(handle);
        store.disk.unlink(&name).map_err(self.io("unlink a spare file"))
    }

    /// A file of the manifest.
    pub(crate) fn open_listed(&self, store: &Store, file: u64) -> Result<Arc<LogFile>, OpenError> {
        let name = log_name(file);
        let handle = store.disk.open(&name).map_err(|error| {
            if error.kind() == ErrorKind::NotFound {
                OpenError::Missing { directory: self.name.clone(), name }
            } else {
                self.io("open a log file")(error)
            }
        })?;
        let bytes = handle.len().map_err(self.io("look at a log file"))?;
        let (disk, unlinked) = (Arc::clone(&store.disk), Arc::clone(&store.unlinked));
        Ok(Arc::new(LogFile::new(
            (file, file_seed(store.manifest.salt, file)),
            handle,
            bytes,
            disk,
            unlinked,
        )))
    }

    /// Sequence of the first frame of a listed file.
    pub(crate) fn first_sequence(&self, store: &Store, file: u64) -> u64 {
        store.manifest.files.iter().find(|it| it.file == file).map_or(0, |it| it.first_sequence)
    }
}
