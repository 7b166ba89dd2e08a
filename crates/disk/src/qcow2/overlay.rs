//! A qcow2 that holds only the differences to another disk.
//!
//! Which disk that is says the caller, never the image: the name of a backing file in its header is
//! not looked at. This is how the disk of a virtual machine is read, whose guest may have made its
//! hypervisor write whatever it likes there.

use super::header::BackingFile;
use super::map::Cell;
use super::{Disk, MAGIC};
use crate::{Error, ErrorKind, Extent, ExtentKind, Format, Limits, Result, Source, check_range};

/// An opened qcow2 over the disk `B`. Beyond the end of that disk it is over zeros.
#[derive(Debug)]
pub struct Overlay<S, B> {
    top: Disk<S>,
    base: B,
}

impl<S: Source, B: Source> Overlay<S, B> {
    /// Opens `source`, which must be a qcow2, over `base`.
    ///
    /// # Errors
    /// The header's faults, as [`Disk::open_with`] has them; a file that is no qcow2 is one of them.
    pub fn open_with(source: S, base: B, limits: &Limits) -> Result<Self> {
        check_range(0, MAGIC.len(), source.len()).map_err(|e| e.in_format(Format::Qcow2))?;
        let mut magic = [0; MAGIC.len()];
        source.read_at(0, &mut magic)?;
        if magic != *MAGIC {
            let message = "the file over a disk must be a qcow2, and does not begin like one";
            return Err(Error::new(ErrorKind::NotRecognised, "format", message));
        }
        let top = Disk::open_whole_or_not(source, BackingFile::Known, limits)?;
        Ok(Self { top, base })
    }

    /// What is at `offset`, for at most `want` bytes.
    fn scan(
        &self,
        offset: u64,
        want: u64,
        joins: impl Fn(u64, Cell, Cell) -> bool,
    ) -> Result<(Cell, u64)> {
        self.top.map.scan(&self.top.source, offset, want, joins)
    }

    fn read_base(&self, offset: u64, part: &mut [u8]) -> Result<()> {
        let there = self.base.len().saturating_sub(offset);
        let there = usize::try_from(there).map_or(part.len(), |len| len.min(part.len()));
        let (below, beyond) = part.split_at_mut(there);
        beyond.fill(0);
        match below {
            [] => Ok(()),
            below => self.base.read_at(offset, below),
        }
    }

    /// The kind of the bytes at `offset` of the disk below, and how many of them have it.
    fn base_at(&self, offset: u64) -> Result<(ExtentKind, u64)> {
        if offset >= self.base.len() {
            return Ok((ExtentKind::Zero, u64::MAX));
        }
        let extent = self.base.data_at(offset)?;
        Ok((extent.kind, extent.len))
    }
}

impl<S: Source, B: Source> Source for Overlay<S, B> {
    fn len(&self) -> u64 {
        self.top.len()
    }

    fn read_at(&self, mut offset: u64, mut buf: &mut [u8]) -> Result<()> {
        check_range(offset, buf.len(), self.len())?;
        while !buf.is_empty() {
            let (cell, len) = self.scan(offset, buf.len() as u64, Cell::continues)?;
            let len = usize::try_from(len).unwrap_or(buf.len()).min(buf.len());
            let (part, rest) = buf.split_at_mut(len);
            match cell {
                Cell::Unallocated => self.read_base(offset, part)?,
                cell => self.top.read_cell(cell, part)?,
            }
            offset += len as u64;
            buf = rest;
        }
        Ok(())
    }

    fn data_at(&self, offset: u64) -> Result<Extent> {
        check_range(offset, 1, self.len())?;
        let same = |_, last: Cell, next: Cell| {
            let unsaid = |cell| matches!(cell, Cell::Unallocated);
            unsaid(last) == unsaid(next) && last.kind() == next.kind()
        };
        Extent::join(offset, self.len(), |at| {
            let (cell, len) = self.scan(at, u64::MAX, same)?;
            match cell {
                Cell::Unallocated => {
                    let (kind, below) = self.base_at(at)?;
                    Ok((kind, len.min(below)))
                }
                cell => Ok((cell.kind(), len)),
            }
        })
    }
}

impl<S: Source, B: Source> crate::Disk for Overlay<S, B> {
    fn format(&self) -> Format {
        Format::Qcow2
    }

    fn warnings(&self) -> &[String] {
        &self.top.warnings
    }

    fn verify(&self) -> Result<()> {
        self.top.map.verify(&self.top.source)
    }
}
