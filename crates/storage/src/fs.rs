//! The real disk: one directory of a local file system.
//!
//! Place: under the disk log, beside the simulated disk of the tests; it adds nothing but the system's calls.
//! Invariant: a name is the log's own, so it never leaves the directory; a lock lives as long as the process.
//! Source: fallocate(2), flock(2), posix_fadvise(2), fdatasync(2), pwritev(2); fcntl(2) on macOS for `F_FULLFSYNC`.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, Read, Seek, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::fs::{FallocateFlags, FlockOperation};
use rustix::io::Errno;

use crate::disk::{Disk, DiskFile, Volume};
use crate::limits::WRITE_PARTS;

/// Name of the lock file; it stays when the lock is given back, so that two processes always lock the same inode.
const LOCK_NAME: &str = "lock";
/// Zeros written at a time where the file system cannot reserve blocks.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// A directory that belongs to one log.
pub struct FsDisk {
    directory: PathBuf,
    lock: Mutex<Option<File>>,
}

impl FsDisk {
    /// The disk in `directory`, which need not exist yet: `lock` makes it.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into(), lock: Mutex::new(None) }
    }

    /// Where it is.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Process that holds the lock, if it wrote its id: for a message.
    #[must_use]
    pub fn holder(&self) -> Option<u32> {
        let mut text = String::new();
        let file = File::open(self.directory.join(LOCK_NAME)).ok()?;
        file.take(16).read_to_string(&mut text).ok()?;
        text.trim().parse().ok()
    }

    fn path(&self, name: &str) -> io::Result<PathBuf> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte);
        if name.is_empty() || name.starts_with('.') || !name.bytes().all(allowed) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{name:?} is no name of a log")));
        }
        Ok(self.directory.join(name))
    }
}

/// Makes a directory's entries survive a power loss.
fn sync_entries(directory: &Path) -> io::Result<()> {
    sync_file(&File::open(directory)?, true)
}

#[cfg(target_vendor = "apple")]
fn sync_file(file: &File, _: bool) -> io::Result<()> {
    Ok(rustix::fs::fcntl_fullfsync(file)?)
}

#[cfg(not(target_vendor = "apple"))]
fn sync_file(file: &File, whole: bool) -> io::Result<()> {
    if whole { file.sync_all() } else { Ok(rustix::fs::fdatasync(file)?) }
}

/// Keeps the system from reading on behind what was asked for: we read as much at a time as pays, and where it reads megabytes
/// ahead for each consumer that is far behind, every sync waits for them.
fn without_read_ahead(file: File) -> File {
    // Advice that is not taken costs time, nothing else.
    #[cfg(not(target_vendor = "apple"))]
    let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::Random);
    file
}

/// A quota that is used up is a disk that is full.
fn full(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::QuotaExceeded => io::ErrorKind::StorageFull.into(),
        _ => error,
    }
}

impl Disk for FsDisk {
    fn lock(&self) -> io::Result<()> {
        let is_new = !self.directory.exists();
        std::fs::create_dir_all(&self.directory)?;
        if is_new && let Some(parent) = self.directory.parent().filter(|parent| parent.is_dir()) {
            sync_entries(parent)?;
        }
        let path = self.directory.join(LOCK_NAME);
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                return Err(io::Error::new(io::ErrorKind::WouldBlock, "another process holds the lock"));
            }
            Err(error) => return Err(error.into()),
        }
        // The id is for a message only: without it the lock holds just as well.
        let written = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        if let Err(error) = written {
            tracing::debug!(%error, "the lock file does not say who holds it");
        }
        *self.lock.lock() = Some(file);
        Ok(())
    }

    fn unlock(&self) {
        // Closing the file releases the lock.
        drop(self.lock.lock().take());
    }

    fn volume(&self) -> io::Result<Option<Volume>> {
        let at = rustix::fs::statvfs(&self.directory)?;
        let bytes = |blocks: u64| blocks.saturating_mul(at.f_frsize);
        Ok(Some(Volume { total_bytes: bytes(at.f_blocks), usable_bytes: bytes(at.f_bavail) }))
    }

    fn describe(&self) -> String {
        self.directory.display().to_string()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.directory)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name != LOCK_NAME {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let created = OpenOptions::new().read(true).write(true).create_new(true).open(self.path(name)?);
        let file = without_read_ahead(created.map_err(full)?);
        Ok(Arc::new(FsFile { file }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).open(self.path(name)?)?;
        Ok(Arc::new(FsFile { file: without_read_ahead(file) }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path(from)?, self.path(to)?).map_err(full)
    }

    fn unlink(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path(name)?)
    }

    fn sync_directory(&self) -> io::Result<()> {
        sync_entries(&self.directory)
    }
}

/// One open file.
struct FsFile {
    file: File,
}

impl FsFile {
    /// Zeros from `from` to `to`, so that blocks exist where the file system has no call for it.
    fn fill(&self, from: u64, to: u64) -> io::Result<()> {
        let mut at = from;
        while at < to {
            let length = usize::try_from(to - at).unwrap_or(usize::MAX).min(ZEROS.len());
            self.file.write_all_at(&ZEROS[..length], at).map_err(full)?;
            at += length as u64;
        }
        Ok(())
    }
}

impl DiskFile for FsFile {
    fn read_at(&self, into: &mut [u8], position: u64) -> io::Result<()> {
        self.file.read_exact_at(into, position)
    }

    fn write_at(&self, parts: &[IoSlice<'_>], position: u64) -> io::Result<()> {
        let mut parts = parts.to_vec();
        let mut left = &mut parts[..];
        let mut at = position;
        while !left.is_empty() {
            let some = &left[..left.len().min(WRITE_PARTS)];
            let wanted: usize = some.iter().map(|part| part.len()).sum();
            let written = match rustix::io::pwritev(&self.file, some, at) {
                Ok(0) if wanted > 0 => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => written,
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            at += written as u64;
            if wanted == 0 {
                let count = some.len();
                left = &mut left[count..];
            } else {
                IoSlice::advance_slices(&mut left, written);
            }
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        sync_file(&self.file, false)
    }

    fn allocate(&self, position: u64, length: u64) -> io::Result<()> {
        loop {
            match rustix::fs::fallocate(&self.file, FallocateFlags::empty(), position, length) {
                Ok(()) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
                    let end = self.file.metadata()?.len();
                    return self.fill(end.max(position), position + length);
                }
                Err(Errno::NOSPC | Errno::DQUOT) => return Err(io::ErrorKind::StorageFull.into()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk() -> (tempfile::TempDir, FsDisk) {
        let place = tempfile::tempdir().expect("a temporary directory");
        let disk = FsDisk::new(place.path().join("data"));
        disk.lock().expect("nobody else is there");
        (place, disk)
    }

    #[test]
    fn a_directory_is_locked_once_and_says_by_whom() {
        let (place, disk) = disk();
        let second = FsDisk::new(place.path().join("data"));
        let error = second.lock().expect_err("it is locked");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        assert_eq!(second.holder(), Some(std::process::id()));
        disk.unlock();
        second.lock().expect("it was given back");
    }

    #[test]
    fn names_stay_in_the_directory() {
        let (_place, disk) = disk();
        for name in ["", "..", "../x", "a/b", ".hidden", "A", "a\0b"] {
            assert!(disk.create(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn many_parts_arrive_in_order() {
        let (_place, disk) = disk();
        let file = disk.create("0001.log").expect("a new file");
        let words: Vec<Vec<u8>> =
            (0..3000u32).map(|n| n.to_be_bytes()[..(n % 5) as usize % 5].to_vec()).collect();
        let parts: Vec<IoSlice<'_>> = words.iter().map(|word| IoSlice::new(word)).collect();
        let whole = words.concat();
        file.write_at(&parts, 7).expect("room");
        file.sync_data().expect("a healthy disk");
        let mut back = vec![0; whole.len()];
        file.read_at(&mut back, 7).expect("what was written");
        assert_eq!(back, whole);
        let beyond = file.read_at(&mut [0; 2], 6 + whole.len() as u64).expect_err("the end");
        assert_eq!(beyond.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn allocation_grows_with_zeros_and_keeps_what_is_there() {
        let (_place, disk) = disk();
        let file = disk.create("0001.log").expect("a new file");
        file.write_at(&[IoSlice::new(b"here")], 0).expect("room");
        file.allocate(0, 8192).expect("room");
        assert_eq!(file.len().expect("a length"), 8192);
        let mut start = [1; 8];
        file.read_at(&mut start, 0).expect("allocated");
        assert_eq!(&start, b"here\0\0\0\0");
    }

    #[test]
    fn renames_replace_and_listing_hides_the_lock() {
        let (_place, disk) = disk();
        drop(disk.create("a").expect("a new file"));
        drop(disk.create("b").expect("a new file"));
        assert_eq!(disk.create("a").err().expect("it exists").kind(), io::ErrorKind::AlreadyExists);
        disk.rename("a", "b").expect("both exist");
        disk.sync_directory().expect("a healthy disk");
        assert_eq!(disk.list().expect("a listing"), ["b"]);
        disk.unlink("b").expect("it is there");
        assert_eq!(disk.open("b").err().expect("it is gone").kind(), io::ErrorKind::NotFound);
    }
}
