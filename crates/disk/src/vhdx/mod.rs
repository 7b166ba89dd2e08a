//! VHDX: Hyper-V's disk format, version 1.
//!
//! Specification: Microsoft, [MS-VHDX] "Virtual Hard Disk v2 (VHDX) File Format",
//! <https://learn.microsoft.com/openspecs/windows_protocols/ms-vhdx>. All integers are
//! little-endian, all checksums CRC-32C.
//!
//! | KiB | Hex | Len | Name |
//! |----:|----:|----:|------|
//! |   0 |     0 |  4 KiB | file type identifier: `vhdxfile`, name of the creator |
//! |  64 | 10000 |  4 KiB | header 1: `head` |
//! | 128 | 20000 |  4 KiB | header 2: `head` |
//! | 192 | 30000 | 64 KiB | region table 1: `regi` |
//! | 256 | 40000 | 64 KiB | region table 2: `regi` |
//!
//! Everything else lies on whole MiB from 1 MiB on: the log, named by the header; the block
//! allocation table (BAT) and the metadata, named by the region table; and the payload blocks,
//! named by the BAT. A program that is interrupted while it changes one of the tables leaves the
//! change in the log; it is then applied in memory, over the source, which is never written.
//!
//! Supported: fixed and dynamic disks, every block size (1 to 256 MiB), sectors of 512 and 4096
//! bytes, a log that has to be replayed. One damaged copy of the header or of the region table is
//! told as a warning. Refused by name: differencing disks (they need a parent file), regions and
//! metadata that are required and unknown, a log too large to be replayed in memory.
//!
//! A fixed disk is one whose blocks are all allocated; nothing else tells it from a dynamic one.

mod bat;
mod header;
mod log;
mod metadata;
mod overlay;
mod region;

use crate::{
    Error, ErrorKind, Extent, ExtentKind, Format, Limits, Result, Source, check_range, past_end,
};
use bat::{Bat, Block};
use metadata::Metadata;
use overlay::Overlay;

/// `vhdxfile`.
pub(crate) const MAGIC: &[u8; 8] = b"vhdxfile";

/// Everything but the header lies on, and is as long as, a multiple of this.
const MIB: u64 = 1 << 20;

/// An opened VHDX image.
///
/// Reads from several threads do not disturb each other: nothing but the cache of the BAT is
/// shared, and that is locked for moments only. Memory: 8 MiB of the BAT at most, and for an image
/// that was not closed properly its log, at most 32 MiB.
#[derive(Debug)]
pub struct Disk<S> {
    source: Overlay<S>,
    bat: Bat,
    warnings: Vec<String>,
}

/// An error of this format, found at byte `offset` of the file.
fn fault(kind: ErrorKind, code: &'static str, offset: u64, message: impl Into<String>) -> Error {
    Error::new(kind, code, message)
        .in_format(Format::Vhdx)
        .at(offset)
}

/// Reads `len` bytes of a structure; a file that ends before is called by this format's name.
fn read_structure<S: Source>(source: &S, offset: u64, len: usize) -> Result<Vec<u8>> {
    // Before anything is allocated: `len` may come from the file.
    check_range(offset, len, source.len()).map_err(|e| e.in_format(Format::Vhdx))?;
    let mut bytes = vec![0; len];
    source.read_at(offset, &mut bytes)?;
    Ok(bytes)
}

/// CRC-32C of a structure, at least 8 bytes long, whose own checksum at byte 4 counts as zero.
fn checksum(structure: &[u8]) -> u32 {
    let sum = crc32c::crc32c(&structure[..4]);
    crc32c::crc32c_append(crc32c::crc32c_append(sum, &[0; 4]), &structure[8..])
}

impl<S: Source> Disk<S> {
    /// Opens `source`, which is known to begin with the VHDX signature.
    ///
    /// # Errors
    /// The faults of header, log, region table and metadata, each with its own code; see the
    /// module's list of refusals.
    pub fn open_with(source: S, limits: &Limits) -> Result<Self> {
        let mut warnings = Vec::new();
        let header = header::read(&source, &mut warnings)?;
        let patch = log::replay(&source, &header, &mut warnings)?;
        let source = Overlay::new(source, patch);
        let regions = region::read(&source, &header, &mut warnings)?;
        let metadata = Metadata::read(&source, regions.metadata, limits)?;
        let bat = Bat::new(&source, &regions, &metadata)?;
        Ok(Self {
            source,
            bat,
            warnings,
        })
    }

    /// The kind of the bytes at `offset`, and for how many bytes at least.
    ///
    /// An allocated block may be a hole of the file, which a fixed disk in a sparse file is full
    /// of.
    fn run(&self, offset: u64) -> Result<(ExtentKind, u64)> {
        let (block, len) = self.bat.scan(&self.source, offset, u64::MAX)?;
        let Block::Stored(host) = block else {
            return Ok((ExtentKind::Zero, len));
        };
        if host >= self.source.len() {
            return Err(past_end(host, 1, self.source.len()).in_format(Format::Vhdx));
        }
        let stored = self.source.data_at(host)?;
        // What the file does not hold is for the read to report, not to be called zero.
        Ok((stored.kind, len.min(stored.len)))
    }
}

impl<S: Source> Source for Disk<S> {
    fn len(&self) -> u64 {
        self.bat.size()
    }

    fn read_at(&self, mut offset: u64, mut buf: &mut [u8]) -> Result<()> {
        check_range(offset, buf.len(), self.len())?;
        while !buf.is_empty() {
            let (block, len) = self.bat.scan(&self.source, offset, buf.len() as u64)?;
            // Not longer than `buf`, hence a usize.
            let len = usize::try_from(len).unwrap_or(buf.len()).min(buf.len());
            let (part, rest) = buf.split_at_mut(len);
            match block {
                Block::Zero => part.fill(0),
                Block::Stored(host) => self
                    .source
                    .read_at(host, part)
                    .map_err(|e| e.in_format(Format::Vhdx))?,
            }
            offset += len as u64;
            buf = rest;
        }
        Ok(())
    }

    fn data_at(&self, offset: u64) -> Result<Extent> {
        check_range(offset, 1, self.len())?;
        Extent::join(offset, self.len(), |at| self.run(at))
    }
}

impl<S: Source> crate::Disk for Disk<S> {
    fn format(&self) -> Format {
        Format::Vhdx
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }

    fn verify(&self) -> Result<()> {
        self.bat.verify(&self.source)
    }
}
