//! A file in grains: from an offset on its part of the disk to the grain in the file.
//!
//! The grain directory (held in memory) names grain tables, whose entries say where the grain is:
//! nowhere (zeros), or at a sector, where a compressed grain has a marker before it. All places are
//! in sectors of the file.

use std::sync::Arc;

use super::header::Header;
use super::{SECTOR, fault};
use crate::bytes::{le32, le64};
use crate::cache::Cache;
use crate::codec::{Blocks, Wrapper, inflate};
use crate::used::Used;
use crate::{Error, ErrorKind, ExtentKind, Format, Result, Source, check_range, past_end};

/// The most entries of all grain directories of an image together: 16 MiB, for 128 TiB.
pub(super) const MAX_DIRECTORY: u64 = 4 << 20;
/// Bytes of the marker before a compressed grain: sector on the disk, bytes of the data.
const MARKER: usize = 12;

/// What the tables say about a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cell {
    /// Reads as zeros.
    Zero,
    /// Stored as it is at this byte of the file.
    Stored(u64),
    /// In a compressed grain.
    Packed(Packed),
}

/// A place in a compressed grain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Packed {
    /// Where the grain's marker is, in bytes.
    offset: u64,
    /// Bytes from there to the next grain, if that can be seen: enough to read all at once.
    room: Option<u64>,
    /// First byte of the grain on this part of the disk.
    start: u64,
    /// Bytes from there to the place.
    skip: u64,
}

impl Cell {
    pub(super) fn kind(self) -> ExtentKind {
        match self {
            Self::Zero => ExtentKind::Zero,
            Self::Stored(_) | Self::Packed(_) => ExtentKind::Data,
        }
    }

    /// Whether `next`, one grain of bytes after `last`, can be read in the same step.
    pub(super) fn continues(grain: u64, last: Self, next: Self) -> bool {
        match (last, next) {
            (Self::Zero, Self::Zero) => true,
            (Self::Stored(last), Self::Stored(next)) => last + grain == next,
            _ => false,
        }
    }
}

/// The tables of one file.
#[derive(Debug)]
pub(super) struct Sparse {
    header: Header,
    directory: Box<[u32]>,
}

impl Sparse {
    /// Reads the grain directory, or its copy if it is damaged, which is then told. `budget` is
    /// how many entries may still be held, and is lowered by what is.
    pub(super) fn new<S: Source>(
        file: &S,
        header: Header,
        budget: &mut u64,
        warnings: &mut Vec<String>,
    ) -> Result<Self> {
        let entries = header.capacity.div_ceil(header.grain * header.table_len);
        *budget = budget.checked_sub(entries).ok_or_else(|| {
            fault(
                ErrorKind::Corrupt,
                "directory-size",
                12,
                format!(
                    "a grain directory of {entries} entries; {MAX_DIRECTORY} are allowed in all"
                ),
            )
        })?;
        let sparse = Self {
            header,
            directory: Box::default(),
        };
        let directory = match sparse.read_directory(file, sparse.header.directory, entries) {
            Ok(directory) => directory,
            Err(error) if error.kind() == ErrorKind::Io => return Err(error),
            Err(error) => {
                let copy = sparse.header.redundant.ok_or(None).and_then(|at| {
                    let read = sparse.read_directory(file, at, entries);
                    read.map_err(Some)
                });
                let Ok(copy) = copy else {
                    return Err(error);
                };
                warnings.push(
                    "the grain directory is damaged; its copy is used, which may be older"
                        .to_owned(),
                );
                copy
            }
        };
        Ok(Self {
            directory,
            ..sparse
        })
    }

    /// Reads the directory at sector `at`, and checks that its tables lie within the file.
    fn read_directory<S: Source>(&self, file: &S, at: u64, entries: u64) -> Result<Box<[u32]>> {
        let bytes = entries as usize * 4;
        let offset = at.saturating_mul(SECTOR);
        check_range(offset, bytes, file.len()).map_err(|e| e.in_format(Format::Vmdk))?;
        let mut directory = Vec::with_capacity(entries as usize);
        // In pieces, so that the largest directory is not held twice.
        let mut piece = vec![0; bytes.min(1 << 16)];
        while (directory.len() as u64) < entries {
            let done = directory.len() * 4;
            let piece = &mut piece[..(bytes - done).min(1 << 16)];
            file.read_at(offset + done as u64, piece)?;
            directory.extend(piece.chunks_exact(4).map(|entry| le32(entry, 0)));
        }
        for &table in directory.iter().filter(|&&table| table != 0) {
            let table_bytes = self.header.table_len as usize * 4;
            check_range(u64::from(table) * SECTOR, table_bytes, file.len())
                .map_err(|e| e.in_format(Format::Vmdk))?;
        }
        Ok(directory.into_boxed_slice())
    }

    /// Bytes in a grain.
    pub(super) fn grain_bytes(&self) -> u64 {
        self.header.grain * SECTOR
    }

    /// Bytes of the disk that one grain table speaks of.
    fn table_covers(&self) -> u64 {
        self.grain_bytes() * self.header.table_len
    }

    /// The grain table at sector `table`, from the cache that knows it by the byte `base` at which
    /// this file begins.
    fn table<S: Source>(
        &self,
        file: &S,
        tables: &Cache<u32>,
        base: u64,
        table: u32,
    ) -> Result<Arc<[u32]>> {
        let offset = u64::from(table) * SECTOR;
        tables.get_or_load(base + offset, || {
            let mut bytes = vec![0; self.header.table_len as usize * 4];
            file.read_at(offset, &mut bytes)
                .map_err(|e| e.in_format(Format::Vmdk))?;
            Ok(bytes.chunks_exact(4).map(|entry| le32(entry, 0)).collect())
        })
    }

    /// What entry `index` of `table` says about its grain, which begins at byte `start`.
    fn cell(&self, table: &[u32], index: usize, start: u64) -> Cell {
        let at = |index: usize| u64::from(table.get(index).copied().unwrap_or(0));
        match at(index) {
            0 => Cell::Zero,
            1 if self.header.zeroed => Cell::Zero,
            sector if self.header.compressed => {
                let next = (index + 1..table.len()).map(at).find(|&next| next > 1);
                let room = next.and_then(|next| next.checked_sub(sector));
                // A grain that does not shrink takes little more than its size.
                let room = room.filter(|&room| room > 0 && room <= self.header.grain + 8);
                Cell::Packed(Packed {
                    offset: sector * SECTOR,
                    room: room.map(|room| room * SECTOR),
                    start,
                    skip: 0,
                })
            }
            sector => Cell::Stored(sector * SECTOR),
        }
    }

    /// What is at `offset`, and for how many bytes: at least one, at most `limit`. Neighbouring
    /// grains of a table are added as long as `joins(grain size, last, next)` holds.
    pub(super) fn scan<S: Source>(
        &self,
        file: &S,
        tables: &Cache<u32>,
        base: u64,
        (offset, limit): (u64, u64),
        joins: impl Fn(u64, Cell, Cell) -> bool,
    ) -> Result<(Cell, u64)> {
        let covers = self.table_covers();
        let grain = self.grain_bytes();
        // The directory has an entry for every byte of the extent.
        let number = (offset / covers) as usize;
        let table_start = offset - offset % covers;
        let table = match self.directory.get(number).copied().unwrap_or(0) {
            0 => return Ok((Cell::Zero, limit.min(table_start + covers - offset))),
            table => self.table(file, tables, base, table)?,
        };
        let mut index = (offset % covers / grain) as usize;
        let skip = offset % grain;
        let first = self.cell(&table, index, offset - skip);
        let mut last = first;
        let mut end = offset - skip + grain;
        while end - offset < limit && index + 1 < table.len() {
            index += 1;
            let next = self.cell(&table, index, end);
            if !joins(grain, last, next) {
                break;
            }
            last = next;
            end += grain;
        }
        let first = match first {
            Cell::Zero => Cell::Zero,
            Cell::Stored(host) => Cell::Stored(host + skip),
            Cell::Packed(packed) => Cell::Packed(Packed { skip, ..packed }),
        };
        Ok((first, (end - offset).min(limit)))
    }

    /// Bytes of the grain at `start` that are on the disk: all but for the last.
    fn grain_len(&self, start: u64) -> u64 {
        self.grain_bytes()
            .min(self.header.capacity * SECTOR - start)
    }

    /// Fills `buf` from the compressed grain of `packed`; at most the rest of it.
    pub(super) fn read_packed<S: Source>(
        &self,
        file: &S,
        grains: &Blocks,
        base: u64,
        packed: Packed,
        buf: &mut [u8],
    ) -> Result<()> {
        // Grains are at most 2 MiB.
        let len = self.grain_len(packed.start) as usize;
        let skip = packed.skip as usize;
        grains.read(base + packed.offset, len, skip, buf, |out| {
            self.unpack(file, packed, out)
        })
    }

    /// Decompresses a grain into `out`, which is as long as what of it is on the disk.
    fn unpack<S: Source>(&self, file: &S, packed: Packed, out: &mut [u8]) -> Result<()> {
        let bytes = self.read_grain(file, packed)?;
        let grain = self.grain_bytes();
        let len = if packed.start + grain < self.header.capacity * SECTOR {
            inflate(&bytes, out, Wrapper::Zlib)
        } else {
            // The last grain goes on past the end of the disk, or ends with the last byte of a raw
            // image that some writers do not round up to a sector.
            let mut whole = vec![0; grain as usize];
            let len = inflate(&bytes, &mut whole, Wrapper::Zlib);
            whole[len.unwrap_or(0)..].fill(0);
            out.copy_from_slice(&whole[..out.len()]);
            len.map(|len| len.next_multiple_of(SECTOR as usize).min(out.len()))
        };
        if len == Some(out.len()) {
            return Ok(());
        }
        Err(fault(
            ErrorKind::Corrupt,
            "compressed-grain",
            packed.offset,
            format!(
                "a compressed grain does not decompress to {} bytes",
                out.len()
            ),
        ))
    }

    /// The compressed bytes of a grain.
    fn read_grain<S: Source>(&self, file: &S, packed: Packed) -> Result<Vec<u8>> {
        let left = file.len().saturating_sub(packed.offset);
        let ahead = packed.room.unwrap_or(SECTOR).min(left);
        // At most a grain and a bit.
        let mut bytes = vec![0; ahead as usize];
        file.read_at(packed.offset, &mut bytes)
            .map_err(|e| e.in_format(Format::Vmdk))?;
        if bytes.len() < MARKER {
            return Err(past_end(packed.offset, MARKER, file.len()).in_format(Format::Vmdk));
        }
        let (sector, size) = (le64(&bytes, 0), le32(&bytes, 8));
        if sector != packed.start / SECTOR || size == 0 {
            return Err(fault(
                ErrorKind::Corrupt,
                "grain-marker",
                packed.offset,
                format!(
                    "the marker of the grain of sector {} speaks of {size} bytes of sector {sector}",
                    packed.start / SECTOR
                ),
            ));
        }
        if u64::from(size) > 2 * self.grain_bytes() {
            return Err(fault(
                ErrorKind::Corrupt,
                "grain-size",
                packed.offset + 8,
                format!("a compressed grain of {size} bytes"),
            ));
        }
        let wanted = MARKER + size as usize;
        check_range(packed.offset, wanted, file.len()).map_err(|e| e.in_format(Format::Vmdk))?;
        let have = bytes.len();
        bytes.resize(wanted, 0);
        if wanted > have {
            file.read_at(packed.offset + have as u64, &mut bytes[have..])?;
        }
        bytes.drain(..MARKER);
        Ok(bytes)
    }

    /// Checks every entry of every table, that the grains lie within the file, and that no two of
    /// them, and none of the structures, share a sector.
    pub(super) fn verify<S: Source>(&self, file: &S, tables: &Cache<u32>, base: u64) -> Result<()> {
        // No entry reaches further than 2 TiB.
        let sectors = file.len().div_ceil(SECTOR).min(1 << 32);
        for mut used in Used::windows(sectors) {
            self.mark_structures(&mut used)?;
            for (number, &table) in self.directory.iter().enumerate() {
                if table != 0 {
                    let entries = self.table(file, tables, base, table)?;
                    let start = number as u64 * self.table_covers();
                    self.mark_grains(file.len(), &entries, start, &mut used)?;
                }
            }
        }
        Ok(())
    }

    fn mark_structures(&self, used: &mut Used) -> Result<()> {
        used.mark(0, 1);
        let (descriptor, len) = self.header.descriptor;
        used.mark(descriptor, descriptor.saturating_add(len));
        let directory_len = (self.directory.len() as u64 * 4).div_ceil(SECTOR);
        let at = self.header.directory;
        used.mark(at, at.saturating_add(directory_len));
        let table_sectors = (self.header.table_len * 4).div_ceil(SECTOR);
        for &table in self.directory.iter().filter(|&&table| table != 0) {
            if !used.mark(table.into(), u64::from(table) + table_sectors) {
                return Err(overlap("table-overlap", "a grain table", table.into()));
            }
        }
        Ok(())
    }

    fn mark_grains(&self, file_len: u64, table: &[u32], start: u64, used: &mut Used) -> Result<()> {
        let end = self.header.capacity * SECTOR;
        for index in 0..table.len() {
            let guest = start + index as u64 * self.grain_bytes();
            if guest >= end {
                break;
            }
            let (host, len) = match self.cell(table, index, guest) {
                Cell::Zero => continue,
                Cell::Stored(host) => (host, self.grain_len(guest)),
                // How long it is stands in its marker, which is not read.
                Cell::Packed(packed) => (packed.offset, SECTOR),
            };
            if host + len > file_len {
                let wanted = usize::try_from(len).unwrap_or(usize::MAX);
                return Err(past_end(host, wanted, file_len).in_format(Format::Vmdk));
            }
            if !used.mark(host / SECTOR, (host + len).div_ceil(SECTOR)) {
                return Err(overlap("grain-overlap", "a grain", host / SECTOR));
            }
        }
        Ok(())
    }
}

fn overlap(code: &'static str, what: &str, sector: u64) -> Error {
    fault(
        ErrorKind::Corrupt,
        code,
        sector * SECTOR,
        format!("{what} shares sectors with another one or with a table"),
    )
}
