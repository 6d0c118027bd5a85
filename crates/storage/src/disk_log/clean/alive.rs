//! What of a sealed file is alive: computed from its rows, where partitions start, and what was discarded; never counted.
//!
//! `outlook` estimates from the rows alone, without a look at the disk; `survivors` reads the index and is exact.

use std::ops::Range;

use duolog_record::Offset;

use crate::disk_log::files::{IndexError, SealedFile};
use crate::disk_log::view::View;
use crate::format::footer::Row;
use crate::format::index::{ENTRIES_PER_PAGE, IndexEntry};
use crate::runs::Runs;

/// What the rows of a file let expect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Outlook {
    /// Bytes of bodies that are alive, a body once for each of its partitions.
    pub(super) alive: u64,
    /// Bytes of all bodies, counted the same way.
    pub(super) all: u64,
    /// Rows with something alive.
    pub(super) rows: usize,
}

impl Outlook {
    /// Looks at the rows of a file.
    pub(super) fn of(view: &View, file: &SealedFile) -> Self {
        let mut out = Self::default();
        for row in file.rows() {
            out.all += row.bytes;
            let offsets = row.end.since(row.first);
            let kept = view.partitions.get(&row.partition).map_or(0, |it| {
                let rest = row.first.max(it.start)..row.end;
                rest.end.0.saturating_sub(rest.start.0) - it.discarded.count_in(&rest)
            });
            if kept > 0 {
                out.rows += 1;
                // A row is not empty, and its bytes times its offsets fit 128 bits.
                out.alive += (u128::from(row.bytes) * u128::from(kept)).div_ceil(u128::from(offsets)) as u64;
            }
        }
        out
    }
}

/// What of one row is kept.
pub(super) struct Kept {
    start: Offset,
    gone: Runs,
    is_known: bool,
}

impl Kept {
    fn of(view: &View, row: &Row) -> Self {
        match view.partitions.get(&row.partition) {
            Some(it) => {
                Self { start: it.start, gone: it.discarded.within(&(row.first..row.end)), is_known: true }
            }
            None => Self { start: row.end, gone: Runs::default(), is_known: false },
        }
    }

    fn is_alive(&self, offsets: Range<Offset>) -> bool {
        let rest = offsets.start.max(self.start)..offsets.end;
        self.is_known && rest.start < rest.end && !self.gone.covers(&rest)
    }
}

/// What of each row is kept, as of now; without a look at the disk.
pub(super) fn kept(view: &View, file: &SealedFile) -> Vec<Kept> {
    file.rows().iter().map(|row| Kept::of(view, row)).collect()
}

/// Why a file is left as it is.
#[derive(Debug, thiserror::Error)]
pub(super) enum Left {
    #[error(transparent)]
    Index(#[from] IndexError),
    #[error("acknowledged records of partition {partition} from offset {base} on cannot be read")]
    Lost { partition: duolog_record::PartitionId, base: Offset },
    #[error("the batch of partition {partition} at offset {base} does not match its checksum")]
    Body { partition: duolog_record::PartitionId, base: Offset },
    #[error("the frame of the batch of partition {partition} at offset {base} is damaged")]
    Frame { partition: duolog_record::PartitionId, base: Offset },
    #[error("it cannot be read: {0}")]
    Read(std::io::Error),
}

/// The entries of a file that are alive, in the order of its index. `None` if they are more than `count_max`.
pub(super) fn survivors(
    file: &SealedFile,
    kept: &[Kept],
    count_max: usize,
) -> Result<Option<Vec<IndexEntry>>, Left> {
    let rows = file.rows();
    let mut found = Vec::new();
    let mut row = 0;
    for page in 0..file.pages() {
        let first = (page * ENTRIES_PER_PAGE) as u32;
        let until = first + ENTRIES_PER_PAGE as u32;
        row += rows[row..].iter().take_while(|it| it.entry_first + it.entries <= first).count();
        let of_page = rows[row..].iter().take_while(|it| it.entry_first < until).count();
        let alive = |index: usize| kept[index].is_alive(rows[index].first..rows[index].end);
        if !(row..row + of_page).any(alive) {
            continue;
        }
        let mut at = row;
        for (index, entry) in file.page(page)?.into_iter().enumerate() {
            let number = first + index as u32;
            while at + 1 < rows.len() && rows[at + 1].entry_first <= number {
                at += 1;
            }
            if !kept[at].is_alive(entry.base..entry.end()) {
                continue;
            }
            if entry.damaged {
                return Err(Left::Lost { partition: entry.partition, base: entry.base });
            }
            if found.len() >= count_max {
                return Ok(None);
            }
            found.push(entry);
        }
    }
    Ok(Some(found))
}
