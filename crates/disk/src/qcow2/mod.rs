//! qcow2: QEMU's copy-on-write format, versions 2 and 3.
//!
//! Specification: QEMU, `docs/interop/qcow2.rst`. All integers are big-endian.
//!
//! | Dec | Hex | Len | Name |
//! |----:|----:|----:|------|
//! |   0 |  00 |   4 | magic `QFI\xfb` |
//! |   4 |  04 |   4 | version: 2 or 3 |
//! |   8 |  08 |   8 | offset of the backing file's name |
//! |  16 |  10 |   4 | length of the backing file's name |
//! |  20 |  14 |   4 | log2 of the cluster size: 9 to 21 |
//! |  24 |  18 |   8 | virtual size in bytes |
//! |  32 |  20 |   4 | encryption method |
//! |  36 |  24 |   4 | entries of the L1 table |
//! |  40 |  28 |   8 | offset of the L1 table |
//! |  48 |  30 |  12 | refcount table (not needed to read) |
//! |  60 |  3c |  12 | number and offset of internal snapshots |
//! |  72 |  48 |   8 | v3: incompatible features |
//! |  80 |  50 |  16 | v3: compatible and autoclear features |
//! |  96 |  60 |   4 | v3: refcount order |
//! | 100 |  64 |   4 | v3: length of the header |
//! | 104 |  68 |   1 | v3: compression type |
//!
//! A guest offset is looked up in two steps: the L1 table (held in memory) names an L2 table, whose
//! entry says where the cluster is: nowhere (zeros), at an offset, or compressed.
//!
//! Supported: every cluster size, deflate and zstd clusters, zero clusters, subclusters (extended
//! L2 entries). Internal snapshots are ignored with a warning. Refused by name: backing file,
//! external data file, encryption, unknown incompatible features, an image marked corrupt. An image with
//! a backing file is read as an [`Overlay`], by a caller that has the disk below.
//!
//! Nothing is written, so reference counts are not read, and the bits that describe them
//! (`COPIED`) are ignored.

mod frame;
mod header;
mod map;
mod overlay;
mod unpack;

use crate::{Extent, Format, Limits, Result, Source, check_range};
pub(crate) use header::MAGIC;
use header::{BackingFile, Header};
use map::{Cell, Map};
pub use overlay::Overlay;
use unpack::Unpacker;

/// An opened qcow2 image.
///
/// Reads from several threads do not disturb each other: tables are shared, and the caches are
/// locked for moments only. Memory: the L1 table (at most 32 MiB), 16 MiB of L2 tables, 8 MiB of
/// decompressed clusters, and per reading thread one compressed cluster and a decoder.
#[derive(Debug)]
pub struct Disk<S> {
    source: S,
    map: Map,
    unpacker: Unpacker,
    warnings: Vec<String>,
}

impl<S: Source> Disk<S> {
    /// Opens `source`, which is known to begin with the qcow2 magic.
    ///
    /// # Errors
    /// The header's faults, each with its own code; see the module's list of refusals.
    pub fn open_with(source: S, limits: &Limits) -> Result<Self> {
        Self::open_whole_or_not(source, BackingFile::Refused, limits)
    }

    fn open_whole_or_not(source: S, backing: BackingFile, limits: &Limits) -> Result<Self> {
        let mut header = Header::read(&source, backing, limits)?;
        let warnings = std::mem::take(&mut header.warnings);
        let unpacker = Unpacker::new(header.compression, 1 << header.cluster_bits);
        let map = Map::new(header, &source)?;
        Ok(Self {
            source,
            map,
            unpacker,
            warnings,
        })
    }

    /// Fills `part` with what `cell` speaks of.
    fn read_cell(&self, cell: Cell, part: &mut [u8]) -> Result<()> {
        match cell {
            Cell::Unallocated | Cell::Zero => part.fill(0),
            Cell::Stored(host) => self
                .source
                .read_at(host, part)
                .map_err(|e| e.in_format(Format::Qcow2))?,
            Cell::Packed { packed, skip } => {
                self.unpacker.read(&self.source, packed, skip, part)?;
            }
        }
        Ok(())
    }
}

impl<S: Source> Source for Disk<S> {
    fn len(&self) -> u64 {
        self.map.size()
    }

    fn read_at(&self, mut offset: u64, mut buf: &mut [u8]) -> Result<()> {
        check_range(offset, buf.len(), self.len())?;
        while !buf.is_empty() {
            let (cell, len) =
                self.map
                    .scan(&self.source, offset, buf.len() as u64, Cell::continues)?;
            // Not longer than `buf`, hence a usize.
            let len = usize::try_from(len).unwrap_or(buf.len()).min(buf.len());
            let (part, rest) = buf.split_at_mut(len);
            self.read_cell(cell, part)?;
            offset += len as u64;
            buf = rest;
        }
        Ok(())
    }

    fn data_at(&self, offset: u64) -> Result<Extent> {
        check_range(offset, 1, self.len())?;
        Extent::join(offset, self.len(), |at| {
            let (cell, len) = self.map.scan(&self.source, at, u64::MAX, |_, last, next| {
                last.kind() == next.kind()
            })?;
            Ok((cell.kind(), len))
        })
    }
}

impl<S: Source> crate::Disk for Disk<S> {
    fn format(&self) -> Format {
        Format::Qcow2
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }

    fn verify(&self) -> Result<()> {
        self.map.verify(&self.source)
    }
}
