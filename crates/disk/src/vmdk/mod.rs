//! VMDK: VMware's virtual disk.
//!
//! Specification: VMware, "Virtual Disk Format 5.0",
//! <https://www.vmware.com/support/developer/vddk/vmdk_50_technote.pdf>. All integers are
//! little-endian; offsets and lengths are in sectors of 512 bytes unless said otherwise.
//!
//! | Dec | Hex | Len | Name |
//! |----:|----:|----:|------|
//! |   0 |  00 |   4 | magic `KDMV` |
//! |   4 |  04 |   4 | version: 1 to 3 |
//! |   8 |  08 |   4 | flags |
//! |  12 |  0c |   8 | capacity |
//! |  20 |  14 |   8 | grain size |
//! |  28 |  1c |  16 | offset and length of the embedded descriptor |
//! |  44 |  2c |   4 | entries of a grain table |
//! |  48 |  30 |   8 | offset of the redundant grain directory |
//! |  56 |  38 |   8 | offset of the grain directory; all ones: see the footer |
//! |  64 |  40 |   8 | sectors before the first grain (not needed to read) |
//! |  72 |  48 |   1 | whether the file was not closed |
//! |  73 |  49 |   4 | LF, space, CR, LF, to find transfers as text |
//! |  77 |  4d |   2 | compression: 0 none, 1 deflate |
//!
//! | flag | meaning |
//! |-----:|---------|
//! |   00 | the bytes at 73 are valid |
//! |   01 | there is a redundant grain directory |
//! |   02 | entry 1 of a grain table means zeros |
//! |   16 | grains are compressed |
//! |   17 | there are markers |
//!
//! A disk is one file in grains that holds its descriptor (monolithicSparse, streamOptimized), or
//! a descriptor and several *extents*, each a run of the disk in a file of its own. A stream is
//! written from front to back: tables follow their grains, and the directory's place is in a
//! footer at the end.
//!
//! Supported: monolithicSparse; streamOptimized with and without footer; and within one tar
//! archive that holds all its parts, monolithicFlat, twoGbMaxExtentFlat, twoGbMaxExtentSparse and
//! vmfs. Refused by name: disks with a parent, extents that are other files, paths or devices, a
//! descriptor or a part alone, COWD and seSparse extents (see [`crate::open`]).

mod descriptor;
mod header;
mod sparse;

use crate::bytes::printable_name;
use crate::cache::Cache;
use crate::codec::Blocks;
use crate::{
    Error, ErrorKind, Extent, ExtentKind, Format, Limits, Range, Result, Source, check_range,
};
pub(crate) use descriptor::{Descriptor, Kind, MAX_LEN, is_descriptor, lone_descriptor};
use header::Header;
use sparse::{Cell, MAX_DIRECTORY, Sparse};

/// `KDMV`.
pub(crate) const MAGIC: &[u8; 4] = b"KDMV";

const SECTOR: u64 = 512;
/// Memory for cached grain tables, of at most 2 KiB each.
const TABLE_CACHE_BYTES: usize = 8 << 20;

/// An error about the byte `offset` of a file.
fn fault(kind: ErrorKind, code: &'static str, offset: u64, message: impl Into<String>) -> Error {
    Error::new(kind, code, message)
        .in_format(Format::Vmdk)
        .at(offset)
}

/// How a part of the disk is stored.
#[derive(Debug)]
enum Storage {
    Zero,
    Flat,
    Sparse(Sparse),
}

/// A run of the disk and the range of the source that holds it.
#[derive(Debug)]
struct Part {
    /// First byte on the disk.
    start: u64,
    /// Bytes on the disk, not zero.
    len: u64,
    /// Where its file begins in the source, in bytes; for a flat extent, where its data do.
    base: u64,
    /// Bytes of the file.
    file_len: u64,
    storage: Storage,
    /// For messages, if the disk has several files.
    name: Option<String>,
}

impl Part {
    /// The file, or of a flat extent what of it belongs to the disk.
    fn file<'a, S: Source>(&self, source: &'a S) -> Result<Range<&'a S>> {
        Range::new(source, self.base, self.file_len)
    }

    fn named(&self, error: Error) -> Error {
        match &self.name {
            Some(name) if error.kind() != ErrorKind::Io => error.within(name),
            _ => error,
        }
    }
}

/// A file in the source, by its first byte and its length.
pub(crate) type Place = (u64, u64);

/// An opened VMDK image.
///
/// Reads from several threads do not disturb each other: tables are shared, and the caches are
/// locked for moments only. Memory: grain directories (at most 16 MiB), 8 MiB of grain tables, 8
/// MiB of decompressed grains (16 MiB if they are the largest), and per reading thread one
/// compressed grain and a decoder.
#[derive(Debug)]
pub struct Disk<S> {
    source: S,
    /// Sorted; they cover the disk without gaps.
    parts: Vec<Part>,
    tables: Cache<u32>,
    grains: Blocks,
    size: u64,
    warnings: Vec<String>,
}

impl<S: Source> Disk<S> {
    /// Opens `source`, one file in grains, which is known to begin with `KDMV`.
    ///
    /// # Errors
    /// The faults of header, descriptor and grain directory, each with its own code; see the
    /// module's list of refusals.
    pub fn open_with(source: S, limits: &Limits) -> Result<Self> {
        let header = Header::read(&source)?;
        read_embedded(&source, &header)?.check_embedded(header.capacity, header.grain)?;
        let mut disk = Self::empty(source);
        let file = (0, disk.source.len());
        disk.add_sparse(file, header, None, None, &mut { MAX_DIRECTORY }, limits)?;
        Ok(disk.with_cache())
    }

    /// Opens the disk that `descriptor` describes; `files` are the places of its extents in the
    /// source, one for each that is not all zeros. Its parts have been checked.
    ///
    /// # Errors
    /// As [`Disk::open_with`].
    pub(crate) fn open_parts(
        source: S,
        descriptor: &Descriptor,
        files: &[Place],
        limits: &Limits,
    ) -> Result<Self> {
        let mut disk = Self::empty(source);
        let mut budget = MAX_DIRECTORY;
        let mut files = files.iter().copied();
        for extent in &descriptor.extents {
            let name = printable_name(&extent.name);
            let len = extent.sectors.saturating_mul(SECTOR);
            if extent.kind == Kind::Zero {
                disk.add(len, (0, 0), Storage::Zero, None, limits)?;
                continue;
            }
            let Some(file) = files.next() else {
                break;
            };
            let added = match extent.kind {
                Kind::Flat(first) => disk.add_flat(file, len, first, &name, limits),
                _ => {
                    let header = Header::read(&Range::new(&disk.source, file.0, file.1)?);
                    header.and_then(|header| {
                        extent.check_capacity(header.capacity, header.grain)?;
                        disk.add_sparse(file, header, Some(len), Some(&name), &mut budget, limits)
                    })
                }
            };
            added.map_err(|error| match error.kind() {
                ErrorKind::Io => error,
                _ => error.within(&name),
            })?;
        }
        disk.check_files()?;
        Ok(disk.with_cache())
    }

    fn empty(source: S) -> Self {
        Self {
            source,
            parts: Vec::new(),
            tables: Cache::new(TABLE_CACHE_BYTES / 2048),
            grains: Blocks::new(1),
            size: 0,
            warnings: Vec::new(),
        }
    }

    /// Makes the cache for compressed grains of the largest size that there is.
    fn with_cache(mut self) -> Self {
        let grain = |part: &Part| match &part.storage {
            Storage::Sparse(sparse) => sparse.grain_bytes(),
            _ => 0,
        };
        let largest = self.parts.iter().map(grain).max().unwrap_or(0);
        // At most 32 MiB.
        self.grains = Blocks::new(largest as usize);
        self
    }

    /// Appends a part of `len` bytes.
    fn add(
        &mut self,
        len: u64,
        (base, file_len): Place,
        storage: Storage,
        name: Option<&str>,
        limits: &Limits,
    ) -> Result<()> {
        let start = self.size;
        self.size = start.saturating_add(len);
        limits
            .check(self.size)
            .map_err(|e| e.in_format(Format::Vmdk))?;
        if self.size == u64::MAX {
            return Err(Error::new(
                ErrorKind::Corrupt,
                "capacity",
                "the extents are together larger than a number of bytes can express",
            )
            .in_format(Format::Vmdk));
        }
        self.parts.push(Part {
            start,
            len,
            base,
            file_len,
            storage,
            name: name.map(str::to_owned),
        });
        Ok(())
    }

    /// Appends a flat extent of `len` bytes, which begin at sector `first` of its file.
    fn add_flat(
        &mut self,
        (base, file_len): Place,
        len: u64,
        first: u64,
        name: &str,
        limits: &Limits,
    ) -> Result<()> {
        let file = Range::new(&self.source, base, file_len)?;
        let skip = first.saturating_mul(SECTOR);
        let data = file
            .part(skip, len)
            .map_err(|e| e.in_format(Format::Vmdk))?;
        self.add(len, (data.offset(), len), Storage::Flat, Some(name), limits)
    }

    /// Appends a file in grains, of which `len` bytes belong to the disk: all of them by default.
    fn add_sparse(
        &mut self,
        file: Place,
        header: Header,
        len: Option<u64>,
        name: Option<&str>,
        budget: &mut u64,
        limits: &Limits,
    ) -> Result<()> {
        let len = len.unwrap_or(header.capacity * SECTOR);
        // Before anything is read that depends on the size.
        limits
            .check(self.size.saturating_add(len))
            .map_err(|e| e.in_format(Format::Vmdk).at(12))?;
        if header.unclean {
            self.warnings.push(
                "the image was not closed properly; it is read as it is, and its last changes may \
                 be missing"
                    .to_owned(),
            );
        }
        let range = Range::new(&self.source, file.0, file.1)?;
        let sparse = Sparse::new(&range, header, budget, &mut self.warnings)?;
        self.add(len, file, Storage::Sparse(sparse), name, limits)
    }

    /// Checks that no two parts lie in the same bytes.
    fn check_files(&self) -> Result<()> {
        let mut places: Vec<_> = self
            .parts
            .iter()
            .filter(|part| part.file_len > 0)
            .map(|part| (part.base, part.file_len, part))
            .collect();
        places.sort_by_key(|&(base, ..)| base);
        for pair in places.windows(2) {
            if pair[0].0 + pair[0].1 > pair[1].0 {
                return Err(pair[1].2.named(fault(
                    ErrorKind::Corrupt,
                    "extent-overlap",
                    0,
                    "the descriptor uses the same bytes of this file twice",
                )));
            }
        }
        Ok(())
    }

    /// The part that contains byte `offset` of the disk.
    fn part(&self, offset: u64) -> &Part {
        let after = self.parts.partition_point(|part| part.start <= offset);
        // The first begins at 0, so there is one before.
        &self.parts[after.saturating_sub(1)]
    }

    /// The kind of the bytes at `offset`, and for how many bytes at least.
    fn run(&self, offset: u64) -> Result<(ExtentKind, u64)> {
        let part = self.part(offset);
        let within = offset - part.start;
        let limit = part.len - within;
        let run = || match &part.storage {
            Storage::Zero => Ok((ExtentKind::Zero, limit)),
            Storage::Flat => {
                let stored = part.file(&self.source)?.data_at(within)?;
                Ok((stored.kind, stored.len.min(limit)))
            }
            Storage::Sparse(sparse) => {
                let file = part.file(&self.source)?;
                let place = (within, limit);
                let (cell, len) =
                    sparse.scan(&file, &self.tables, part.base, place, |_, last, next| {
                        last.kind() == next.kind()
                    })?;
                Ok((cell.kind(), len))
            }
        };
        run().map_err(|error| part.named(error))
    }

    /// Fills the beginning of `buf` from byte `offset` of the disk; how much of it.
    fn read_some(&self, part: &Part, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let within = offset - part.start;
        let limit = (part.len - within).min(buf.len() as u64);
        let file = part.file(&self.source)?;
        let (cell, len) = match &part.storage {
            Storage::Zero => (Cell::Zero, limit),
            Storage::Flat => (Cell::Stored(within), limit),
            Storage::Sparse(sparse) => sparse.scan(
                &file,
                &self.tables,
                part.base,
                (within, limit),
                Cell::continues,
            )?,
        };
        // Not longer than `buf`, hence a usize.
        let len = usize::try_from(len).unwrap_or(buf.len()).min(buf.len());
        let buf = &mut buf[..len];
        match (cell, &part.storage) {
            (Cell::Stored(host), _) => file
                .read_at(host, buf)
                .map_err(|e| e.in_format(Format::Vmdk))?,
            (Cell::Packed(packed), Storage::Sparse(sparse)) => {
                sparse.read_packed(&file, &self.grains, part.base, packed, buf)?;
            }
            _ => buf.fill(0),
        }
        Ok(len)
    }
}

/// The descriptor inside a file in grains.
fn read_embedded<S: Source>(source: &S, header: &Header) -> Result<Descriptor> {
    let (offset, sectors) = header.descriptor;
    if offset == 0 || sectors == 0 {
        return Err(fault(
            ErrorKind::Unsupported,
            "no-descriptor",
            28,
            "the file has no descriptor, so it is one of several files that are a disk together",
        )
        .with_hint(
            "where all of them are, make one file of them by the descriptor, the small text file \
             NAME.vmdk: `qemu-img convert -O qcow2 NAME.vmdk NEW.qcow2`; or put all of them into \
             one tar archive",
        ));
    }
    let len = sectors.saturating_mul(SECTOR);
    if len > MAX_LEN {
        return Err(fault(
            ErrorKind::Corrupt,
            "descriptor-size",
            36,
            format!("a descriptor of {len} bytes; at most {MAX_LEN} are accepted"),
        ));
    }
    let text = Range::new(source, offset.saturating_mul(SECTOR), len)
        .map_err(|e| e.in_format(Format::Vmdk))?;
    Descriptor::read(&text)
}

impl<S: Source> Source for Disk<S> {
    fn len(&self) -> u64 {
        self.size
    }

    fn read_at(&self, mut offset: u64, mut buf: &mut [u8]) -> Result<()> {
        check_range(offset, buf.len(), self.len())?;
        while !buf.is_empty() {
            let part = self.part(offset);
            let done = self
                .read_some(part, offset, buf)
                .map_err(|error| part.named(error))?;
            offset += done as u64;
            buf = &mut buf[done..];
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
        Format::Vmdk
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }

    fn verify(&self) -> Result<()> {
        for part in &self.parts {
            if let Storage::Sparse(sparse) = &part.storage {
                let file = part.file(&self.source)?;
                sparse
                    .verify(&file, &self.tables, part.base)
                    .map_err(|error| part.named(error))?;
            }
        }
        Ok(())
    }
}
