//! Cutting a disk into ranges that may hold data, the batches that threads work on.

use abbild_disk::{Disk, ExtentKind};

use crate::Result;

/// A part of a disk, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Range {
    pub(crate) offset: u64,
    pub(crate) len: u64,
}

impl Range {
    /// Fills `buf` with the range and, where that is longer, with zeros.
    ///
    /// # Errors
    /// Those of reading the disk.
    pub(crate) fn read<D: Disk + ?Sized>(&self, disk: &D, buf: &mut [u8]) -> Result<()> {
        let (data, padding) = buf.split_at_mut(self.len as usize);
        disk.read_at(self.offset, data)?;
        padding.fill(0);
        Ok(())
    }
}

/// Walks the extents of a disk.
///
/// Every range begins at a multiple of `unit`, ends at another or at the end of the disk, and is
/// at most `most` bytes long, a multiple of `unit`. So a unit is never in two ranges, and one of
/// which a single byte may be data is in a range as a whole, whatever the extents are.
pub(crate) struct Ranges<'a, D: ?Sized> {
    disk: &'a D,
    unit: u64,
    most: u64,
    cursor: u64,
}

impl<'a, D: Disk + ?Sized> Ranges<'a, D> {
    pub(crate) fn new(disk: &'a D, unit: u64, most: u64) -> Self {
        Self {
            disk,
            unit,
            most,
            cursor: 0,
        }
    }

    /// The next range, or none at the end of the disk.
    ///
    /// # Errors
    /// Those of looking up extents.
    pub(crate) fn next(&mut self) -> Result<Option<Range>> {
        let size = self.disk.virtual_size();
        while self.cursor < size {
            let extent = self.disk.extent_at(self.cursor)?;
            // At least one byte further, so that this ends whatever a disk says.
            let end = extent
                .offset
                .saturating_add(extent.len)
                .max(self.cursor + 1);
            if extent.kind == ExtentKind::Zero {
                self.cursor = end;
                continue;
            }
            let offset = self.cursor / self.unit * self.unit;
            let limit = offset.saturating_add(self.most).min(size);
            let mut end = self.whole_units(end);
            while end < limit {
                let extent = self.disk.extent_at(end)?;
                if extent.kind == ExtentKind::Zero {
                    break;
                }
                end = self.whole_units(end.saturating_add(extent.len.max(1)));
            }
            self.cursor = end.min(limit);
            let len = self.cursor - offset;
            return Ok(Some(Range { offset, len }));
        }
        Ok(None)
    }

    fn whole_units(&self, end: u64) -> u64 {
        end.checked_next_multiple_of(self.unit).unwrap_or(u64::MAX)
    }
}
