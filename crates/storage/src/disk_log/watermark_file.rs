//! The watermark's file: written in two slots in turn, synced each time, so that one of them is always whole.

use std::io::{self, ErrorKind, IoSlice};
use std::sync::Arc;

use crate::disk::{Disk, DiskFile};
use crate::format::names::WATERMARK;
use crate::format::watermark::{WATERMARK_BYTES, Watermark};

/// The open file and what it says.
pub(crate) struct WatermarkFile {
    handle: Arc<dyn DiskFile>,
    mark: Watermark,
}

impl WatermarkFile {
    /// Opens it, or makes it; its name is durable with the next sync of the directory. A file that cannot be read says
    /// nothing: it only ever forbids a cut.
    pub(crate) fn open(disk: &dyn Disk) -> io::Result<Self> {
        let handle = match disk.open(WATERMARK) {
            Ok(handle) => handle,
            Err(error) if error.kind() == ErrorKind::NotFound => disk.create(WATERMARK)?,
            Err(error) => return Err(error),
        };
        if handle.len()? < WATERMARK_BYTES as u64 {
            handle.allocate(0, WATERMARK_BYTES as u64)?;
        }
        let mut bytes = [0; WATERMARK_BYTES];
        handle.read_at(&mut bytes, 0)?;
        let mark = Watermark::decode(&bytes).unwrap_or_default();
        Ok(Self { handle, mark })
    }

    /// Sequence of the last frame that it says is durable.
    pub(crate) fn durable_upto(&self) -> u64 {
        self.mark.durable_upto
    }

    /// Says a new one, durably.
    pub(crate) fn write(&mut self, durable_upto: u64) -> io::Result<()> {
        let mark = Watermark { counter: self.mark.counter + 1, durable_upto };
        self.handle.write_at(&[IoSlice::new(&mark.encode())], mark.position())?;
        self.handle.sync_data()?;
        self.mark = mark;
        Ok(())
    }
}
