//! From a guest offset to its place in the file: the L1 and L2 tables.
//!
//! L2 tables are read in slices of at most 64 KiB, so that one small read in an image of 2 MiB
//! clusters does not pull in a 2 MiB table, and slices are cached within a fixed amount of memory.
//! The finest thing an L2 entry speaks of is a *unit*: a cluster, or with extended entries a
//! subcluster (1/32 of it).

use std::sync::Arc;

use super::header::Header;
use super::unpack::Packed;
use crate::cache::Cache;
use crate::{Error, ErrorKind, ExtentKind, Format, Result, Source, past_end};

/// log2 of the largest piece of an L2 table that is read and cached at once.
const MAX_SLICE_BITS: u32 = 16;
/// Memory for cached L2 slices.
const CACHE_BYTES: usize = 16 << 20;
/// Bits 9 to 55 of L1 and L2 entries: an offset in the file.
const OFFSET_MASK: u64 = 0x00ff_ffff_ffff_fe00;
/// Bit 62 of an L2 entry: the cluster is compressed.
const COMPRESSED: u64 = 1 << 62;
/// Bit 0 of a standard L2 entry, from version 3 on: the cluster reads as zeros.
const ZERO: u64 = 1;

/// What an L2 table says about a place on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cell {
    /// Nothing is said: what the disk below has, and zeros where there is none.
    Unallocated,
    /// Reads as zeros.
    Zero,
    /// Stored as it is at this offset in the file.
    Stored(u64),
    /// In a compressed cluster, `skip` bytes after its decompressed beginning.
    Packed { packed: Packed, skip: usize },
}

impl Cell {
    pub(super) fn kind(self) -> ExtentKind {
        match self {
            Self::Unallocated | Self::Zero => ExtentKind::Zero,
            Self::Stored(_) | Self::Packed { .. } => ExtentKind::Data,
        }
    }

    /// Whether `next`, one `unit` of bytes after `self`, can be read in the same step.
    pub(super) fn continues(unit: u64, last: Self, next: Self) -> bool {
        match (last, next) {
            (Self::Zero, Self::Zero) | (Self::Unallocated, Self::Unallocated) => true,
            (Self::Stored(last), Self::Stored(next)) => last.checked_add(unit) == Some(next),
            (
                Self::Packed {
                    packed: last,
                    skip: last_skip,
                },
                Self::Packed { packed: next, skip },
            ) => last == next && skip > last_skip,
            _ => false,
        }
    }

    /// The place `by` bytes further within the same unit.
    fn advanced(self, by: u64) -> Self {
        match self {
            Self::Unallocated => Self::Unallocated,
            Self::Zero => Self::Zero,
            Self::Stored(host) => Self::Stored(host + by),
            Self::Packed { packed, skip } => Self::Packed {
                packed,
                // Within a cluster, hence far below any usize.
                skip: skip + by as usize,
            },
        }
    }
}

/// The tables of one image.
#[derive(Debug)]
pub(super) struct Map {
    header: Header,
    l1: Box<[u64]>,
    slices: Cache<u64>,
}

/// A piece of an L2 table and where on the disk it begins.
struct Slice {
    entries: Arc<[u64]>,
    guest: u64,
}

fn corrupt(code: &'static str, offset: u64, message: String) -> Error {
    Error::new(ErrorKind::Corrupt, code, message)
        .in_format(Format::Qcow2)
        .at(offset)
}

fn read_table<S: Source>(source: &S, offset: u64, entries: usize) -> Result<Arc<[u64]>> {
    let mut bytes = vec![0; entries * 8];
    source
        .read_at(offset, &mut bytes)
        .map_err(|e| e.in_format(Format::Qcow2))?;
    Ok(bytes
        .chunks_exact(8)
        .map(|entry| crate::bytes::be64(entry, 0))
        .collect())
}

impl Map {
    /// Reads the L1 table, whose place and size the header has checked.
    pub(super) fn new<S: Source>(header: Header, source: &S) -> Result<Self> {
        // In pieces, so that the largest table is not held twice.
        const PIECE: usize = 8192;
        let mut l1 = Vec::with_capacity(header.l1_entries);
        while l1.len() < header.l1_entries {
            let count = PIECE.min(header.l1_entries - l1.len());
            let offset = header.l1_offset + l1.len() as u64 * 8;
            l1.extend_from_slice(&read_table(source, offset, count)?);
        }
        let slice_bytes = 1 << header.cluster_bits.min(MAX_SLICE_BITS);
        Ok(Self {
            slices: Cache::new(CACHE_BYTES / slice_bytes),
            l1: l1.into_boxed_slice(),
            header,
        })
    }

    /// Virtual size in bytes.
    pub(super) fn size(&self) -> u64 {
        self.header.size
    }

    /// log2 of the bytes of disk that one entry speaks of at the finest.
    fn unit_bits(&self) -> u32 {
        self.header.cluster_bits - if self.header.extended_l2 { 5 } else { 0 }
    }

    /// What is at `offset`, and for how many bytes: at least one, at most `want` and the rest of
    /// the disk. Neighbouring units are added as long as `joins(unit size, last, next)` holds.
    ///
    /// `offset` must lie on the disk.
    pub(super) fn scan<S: Source>(
        &self,
        source: &S,
        offset: u64,
        want: u64,
        joins: impl Fn(u64, Cell, Cell) -> bool,
    ) -> Result<(Cell, u64)> {
        let limit = want.min(self.size() - offset);
        let Some(slice) = self.slice(source, offset)? else {
            let covered = 1u64 << (self.header.cluster_bits + self.header.l2_bits());
            let len = covered - (offset & (covered - 1));
            return Ok((Cell::Unallocated, len.min(limit)));
        };
        let unit = 1u64 << self.unit_bits();
        let start = ((offset - slice.guest) >> self.unit_bits()) as usize;
        let first = self.cell(&slice, start)?;
        let (mut last, mut at) = (first, start + 1);
        let mut end = slice.guest + at as u64 * unit;
        while end - offset < limit && at < self.units(&slice) {
            // A bad neighbour is reported when it is asked for.
            match self.cell(&slice, at) {
                Ok(next) if joins(unit, last, next) => last = next,
                _ => break,
            }
            at += 1;
            end += unit;
        }
        let into = offset & (unit - 1);
        Ok((first.advanced(into), (end - offset).min(limit)))
    }

    /// Checks every entry of every table, and that what it points to lies within the file.
    pub(super) fn verify<S: Source>(&self, source: &S) -> Result<()> {
        let mut offset = 0;
        while offset < self.size() {
            offset = match self.slice(source, offset)? {
                Some(slice) => self.verify_slice(&slice, source.len())?,
                None => {
                    let table_bits = self.header.cluster_bits + self.header.l2_bits();
                    ((offset >> table_bits) + 1) << table_bits
                }
            };
        }
        Ok(())
    }

    /// Checks the entries of one slice; returns the guest offset after it.
    fn verify_slice(&self, slice: &Slice, file_len: u64) -> Result<u64> {
        let unit = 1u64 << self.unit_bits();
        let mut guest = slice.guest;
        for index in 0..self.units(slice) {
            if guest >= self.size() {
                break;
            }
            let (host, len) = match self.cell(slice, index)? {
                Cell::Unallocated | Cell::Zero => (0, 0),
                Cell::Stored(host) => (host, unit.min(self.size() - guest)),
                // The stated length is an upper bound, so only the first byte has to exist.
                Cell::Packed { packed, .. } => (packed.offset, 1),
            };
            // Both are below 2^62.
            if host + len > file_len {
                let wanted = usize::try_from(len).unwrap_or(usize::MAX);
                return Err(past_end(host, wanted, file_len).in_format(Format::Qcow2));
            }
            guest += unit;
        }
        Ok(guest)
    }

    /// Number of units that a slice speaks of.
    fn units(&self, slice: &Slice) -> usize {
        if self.header.extended_l2 {
            slice.entries.len() / 2 * 32
        } else {
            slice.entries.len()
        }
    }

    /// The slice of the L2 table that speaks of `offset`; `None` if there is no table.
    fn slice<S: Source>(&self, source: &S, offset: u64) -> Result<Option<Slice>> {
        let header = &self.header;
        let cluster_size = 1u64 << header.cluster_bits;
        let table_bits = header.cluster_bits + header.l2_bits();
        let index = (offset >> table_bits) as usize;
        let table = match self.l1.get(index) {
            Some(entry) => entry & OFFSET_MASK,
            None => 0,
        };
        if table == 0 {
            return Ok(None);
        }
        if table & (cluster_size - 1) != 0 {
            return Err(corrupt(
                "l1-entry",
                header.l1_offset + index as u64 * 8,
                format!("L1 entry {index} points to byte {table}, which is not on a cluster"),
            ));
        }
        let slice_bits = header.cluster_bits.min(MAX_SLICE_BITS);
        // Bytes of disk per slice: entries of the slice times the cluster size.
        let covered_bits = table_bits - (header.cluster_bits - slice_bits);
        let within = (offset & ((1 << table_bits) - 1)) >> covered_bits;
        let at = table + (within << slice_bits);
        let entries = self
            .slices
            .get_or_load(at, || read_table(source, at, 1 << (slice_bits - 3)))?;
        Ok(Some(Slice {
            entries,
            guest: offset >> covered_bits << covered_bits,
        }))
    }

    /// What the slice says about its unit number `index`.
    fn cell(&self, slice: &Slice, index: usize) -> Result<Cell> {
        if !self.header.extended_l2 {
            return self.whole_cell(slice, index);
        }
        let (cluster, sub) = (index / 32, (index % 32) as u32);
        let entry = slice.entries[cluster * 2];
        let bitmap = slice.entries[cluster * 2 + 1];
        let skip = u64::from(sub) << self.unit_bits();
        if entry & COMPRESSED != 0 {
            return Ok(self.packed(entry).advanced(skip));
        }
        // "Extended L2 Entries": bit n, allocated; bit 32 + n, zeros; both together are invalid.
        match (bitmap >> sub & 1, bitmap >> (32 + sub) & 1) {
            (0, 0) => Ok(Cell::Unallocated),
            (0, _) => Ok(Cell::Zero),
            (_, 0) => {
                let host = self.host(slice, cluster, entry)?;
                if host == 0 {
                    return Err(self.bad_entry(slice, cluster, entry));
                }
                Ok(Cell::Stored(host + skip))
            }
            _ => Err(self.bad_entry(slice, cluster, entry)),
        }
    }

    /// A standard L2 entry, which speaks of one cluster.
    fn whole_cell(&self, slice: &Slice, index: usize) -> Result<Cell> {
        let entry = slice.entries[index];
        if entry & COMPRESSED != 0 {
            return Ok(self.packed(entry));
        }
        if entry & ZERO != 0 {
            if self.header.version < 3 {
                return Err(self.bad_entry(slice, index, entry));
            }
            return Ok(Cell::Zero);
        }
        Ok(match self.host(slice, index, entry)? {
            0 => Cell::Unallocated,
            host => Cell::Stored(host),
        })
    }

    fn packed(&self, entry: u64) -> Cell {
        Cell::Packed {
            packed: Packed::from_entry(entry, self.header.cluster_bits),
            skip: 0,
        }
    }

    /// The offset in a standard entry, 0 if there is none.
    fn host(&self, slice: &Slice, cluster: usize, entry: u64) -> Result<u64> {
        let host = entry & OFFSET_MASK;
        if host & ((1 << self.header.cluster_bits) - 1) != 0 {
            return Err(self.bad_entry(slice, cluster, entry));
        }
        Ok(host)
    }

    fn bad_entry(&self, slice: &Slice, cluster: usize, entry: u64) -> Error {
        let guest = slice.guest + ((cluster as u64) << self.header.cluster_bits);
        Error::new(
            ErrorKind::Corrupt,
            "l2-entry",
            format!("the L2 entry {entry:#018x} of guest offset {guest} is not valid"),
        )
        .in_format(Format::Qcow2)
    }
}
