//! VDI: VirtualBox's disk image, versions 0 and 1.
//!
//! There is no specification; the format is defined by VirtualBox's `src/VBox/Storage/VDICore.h`,
//! <https://www.virtualbox.org/browser/vbox/trunk/src/VBox/Storage/VDICore.h>, and by what QEMU's
//! `block/vdi.c` makes of it. All integers are little-endian.
//!
//! | v1 dec | v1 hex | v0 dec | Len | Name |
//! |-------:|-------:|-------:|----:|------|
//! |      0 |     00 |      0 |  64 | text |
//! |     64 |     40 |     64 |   4 | signature 0xbeda107f |
//! |     68 |     44 |     68 |   4 | version: minor, major |
//! |     72 |     48 |        |   4 | length of the header, counted from here |
//! |     76 |     4c |     72 |   4 | type: 1 dynamic, 2 static, 3 undo, 4 differencing |
//! |     80 |     50 |     76 | 260 | flags, comment |
//! |    340 |    154 |        |   4 | offset of the block map; v0: 420 |
//! |    344 |    158 |        |   4 | offset of the blocks; v0: behind the map |
//! |    348 |    15c |    336 |  16 | geometry (not needed to read) |
//! |    368 |    170 |    352 |   8 | virtual size in bytes |
//! |    376 |    178 |    360 |   4 | block size |
//! |    380 |    17c |        |   4 | bytes before each block for other uses; v0: 0 |
//! |    384 |    180 |    364 |   4 | blocks of the disk |
//! |    388 |    184 |    368 |   4 | blocks that are stored (not needed to read) |
//! |    392 |    188 |    372 |  32 | UUIDs of the image and of its last change |
//! |    424 |    1a8 |    404 |  16 | UUID of the parent |
//! |    440 |    1b8 |        |  16 | UUID of the parent's last change |
//!
//! The block map has 32 bits for each block of the disk: its number in the file, 0xffffffff if it
//! was never written, 0xfffffffe if it is known to be zero.
//!
//! Supported: dynamic and static disks, block sizes of 512 bytes to 256 MiB that are powers of
//! two, other bytes before the blocks. Refused by name: undo and differencing images, and whatever
//! has the UUID of a parent, because they need the parent's file.

use crate::bytes::{le32, le64};
use crate::table::{Last, SLICE_BITS, Table, Width};
use crate::used::Used;
use crate::{
    Error, ErrorKind, Extent, ExtentKind, Format, Limits, Result, Source, check_range, past_end,
};

/// The signature, and where it is.
pub(crate) const MAGIC: &[u8; 4] = b"\x7f\x10\xda\xbe";
pub(crate) const MAGIC_OFFSET: usize = 64;

/// Where the version-dependent part of the header begins.
const HEADER_OFFSET: u64 = 72;
/// End of the header of version 0, where its block map begins.
const V0_LEN: u64 = 420;
/// Length of the shortest header of version 1, counted from [`HEADER_OFFSET`].
const V1_LEN: u32 = 384;
/// log2 of the block sizes that are accepted.
const BLOCK_BITS: std::ops::RangeInclusive<u32> = 9..=28;
/// The most bytes that are accepted before each block.
const MAX_EXTRA: u32 = 1 << 20;
/// Map entries from here on have a meaning of their own: [`FREE`] and zero.
const UNALLOCATED: u64 = 0xffff_fffe;
/// QEMU and VirtualBox round a virtual size up to whole sectors.
const SECTOR: u64 = 512;
/// Slices looked at in one call at most, which bounds its time.
const MAX_SLICES_PER_SCAN: u64 = 64;

/// What the map says about a place on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Block {
    /// Reads as zeros.
    Zero,
    /// Stored at this offset in the file.
    Stored(u64),
}

/// An error about the byte `offset` of the file.
fn fault(kind: ErrorKind, code: &'static str, offset: u64, message: impl Into<String>) -> Error {
    Error::new(kind, code, message)
        .in_format(Format::Vdi)
        .at(offset)
}

/// The fields of the header that are needed, whatever its version, and where they are.
struct Header {
    map_offset: u64,
    data_offset: u64,
    size: u64,
    /// log2 of the block size.
    block_bits: u32,
    extra: u32,
    blocks: u32,
    /// Where the header has the number of blocks.
    blocks_field: u64,
}

impl Header {
    fn read<S: Source>(source: &S, limits: &Limits) -> Result<Self> {
        check_range(0, V0_LEN as usize, source.len()).map_err(|e| e.in_format(Format::Vdi))?;
        // Version 1 ends 36 bytes later, at most at byte 456.
        let mut raw = [0; (HEADER_OFFSET + V1_LEN as u64) as usize];
        let present = usize::try_from(source.len()).unwrap_or(usize::MAX);
        let raw = &mut raw[..present.min((HEADER_OFFSET + u64::from(V1_LEN)) as usize)];
        source.read_at(0, raw)?;
        let version = le32(raw, 68);
        match version >> 16 {
            0 => Self::version_0(raw, limits),
            1 => Self::version_1(raw, source.len(), limits),
            major => Err(fault(
                ErrorKind::Unsupported,
                "version",
                68,
                format!(
                    "version {major}.{} is unknown; versions 0 and 1 are supported",
                    version & 0xffff
                ),
            )),
        }
    }

    fn version_0(raw: &[u8], limits: &Limits) -> Result<Self> {
        check_kind(raw, 72, &[404])?;
        let blocks = le32(raw, 364);
        Ok(Self {
            map_offset: V0_LEN,
            data_offset: V0_LEN + u64::from(blocks) * 4,
            size: disk_size(raw, 352, limits)?,
            block_bits: block_bits(raw, 360)?,
            extra: 0,
            blocks,
            blocks_field: 364,
        })
    }

    fn version_1(raw: &[u8], file_len: u64, limits: &Limits) -> Result<Self> {
        let len = le32(raw, 72);
        if len < V1_LEN {
            return Err(fault(
                ErrorKind::Corrupt,
                "header-length",
                72,
                format!("a header of {len} bytes; {V1_LEN} are needed"),
            ));
        }
        let end = HEADER_OFFSET + u64::from(len);
        if end > file_len {
            return Err(past_end(HEADER_OFFSET, len as usize, file_len).in_format(Format::Vdi));
        }
        check_kind(raw, 76, &[424, 440])?;
        let extra = le32(raw, 380);
        if extra > MAX_EXTRA {
            return Err(fault(
                ErrorKind::Corrupt,
                "block-extra",
                380,
                format!("{extra} additional bytes for each block; at most {MAX_EXTRA} are allowed"),
            ));
        }
        let header = Self {
            map_offset: le32(raw, 340).into(),
            data_offset: le32(raw, 344).into(),
            size: disk_size(raw, 368, limits)?,
            block_bits: block_bits(raw, 376)?,
            extra,
            blocks: le32(raw, 384),
            blocks_field: 384,
        };
        if header.map_offset < end {
            return Err(fault(
                ErrorKind::Corrupt,
                "map-offset",
                340,
                format!(
                    "the block map at byte {} lies in the header of {end} bytes",
                    header.map_offset
                ),
            ));
        }
        if header.data_offset < header.map_offset + u64::from(header.blocks) * 4 {
            return Err(fault(
                ErrorKind::Corrupt,
                "data-offset",
                344,
                format!(
                    "the blocks at byte {} lie in or before the block map",
                    header.data_offset
                ),
            ));
        }
        Ok(header)
    }
}

/// Refuses images that need another file. `parents` are the places of the parent's UUIDs.
fn check_kind(raw: &[u8], at: u64, parents: &[usize]) -> Result<()> {
    let kind = le32(raw, at as usize);
    let what = match kind {
        1 | 2 => {
            let named = |at: &&usize| le64(raw, **at) != 0 || le64(raw, **at + 8) != 0;
            let Some(parent) = parents.iter().find(named) else {
                return Ok(());
            };
            return Err(parent_needed("an image with a parent", *parent as u64));
        }
        3 => "an undo image",
        4 => "a differencing image",
        _ => {
            return Err(fault(
                ErrorKind::Corrupt,
                "image-type",
                at,
                format!("images of type {kind} do not exist"),
            ));
        }
    };
    Err(parent_needed(what, at))
}

fn parent_needed(what: &str, at: u64) -> Error {
    fault(
        ErrorKind::Refused,
        "parent",
        at,
        format!("it is {what}, which needs another image, and that is never opened"),
    )
    .with_hint(
        "where the other image is, make a disk of its own of both: \
         `VBoxManage clonemedium disk IMAGE NEW.vdi`",
    )
}

/// The virtual size, in whole sectors.
fn disk_size(raw: &[u8], at: usize, limits: &Limits) -> Result<u64> {
    let size = le64(raw, at);
    if size == 0 {
        return Err(fault(
            ErrorKind::Corrupt,
            "empty-disk",
            at as u64,
            "the virtual disk has a size of 0 bytes",
        ));
    }
    limits
        .check(size)
        .map_err(|e| e.in_format(Format::Vdi).at(at as u64))?;
    // Only a size that no limit was set for comes near the end of the numbers; it needs more
    // blocks than there can be.
    Ok(size.checked_next_multiple_of(SECTOR).unwrap_or(size))
}

fn block_bits(raw: &[u8], at: usize) -> Result<u32> {
    let block = le32(raw, at);
    let bits = block.trailing_zeros();
    if block.is_power_of_two() && BLOCK_BITS.contains(&bits) {
        return Ok(bits);
    }
    Err(fault(
        ErrorKind::Corrupt,
        "block-size",
        at as u64,
        format!("blocks of {block} bytes; powers of two from 512 to 268435456 are allowed"),
    ))
}

/// An opened VDI image.
///
/// Reads from several threads do not disturb each other: nothing but the cache of the block map is
/// shared, and that is locked for moments only. Memory: 8 MiB of the block map at most.
#[derive(Debug)]
pub struct Disk<S> {
    source: S,
    map: Table,
    data_offset: u64,
    block_bits: u32,
    extra: u64,
    /// Blocks of the disk: what the header says, at least what the size needs.
    blocks: u64,
    size: u64,
}

impl<S: Source> Disk<S> {
    /// Opens `source`, which is known to have the VDI signature.
    ///
    /// # Errors
    /// The header's faults, each with its own code; see the module's list of refusals.
    pub fn open_with(source: S, limits: &Limits) -> Result<Self> {
        let header = Header::read(&source, limits)?;
        let blocks = u64::from(header.blocks);
        let needed = ((header.size - 1) >> header.block_bits) + 1;
        if needed > blocks {
            return Err(fault(
                ErrorKind::Corrupt,
                "block-count",
                header.blocks_field,
                format!(
                    "the image has {blocks} blocks but {} bytes of disk need {needed}",
                    header.size
                ),
            ));
        }
        let disk = Self {
            map: Table::new(Format::Vdi, header.map_offset, needed, Width::Four),
            source,
            data_offset: header.data_offset,
            block_bits: header.block_bits,
            extra: header.extra.into(),
            blocks,
            size: header.size,
        };
        // Both ends of the map have to exist.
        for number in [0, needed - 1] {
            disk.map.get(&disk.source, number, &mut None)?;
        }
        Ok(disk)
    }

    /// What the map says about the block of guest offset `offset`: its beginning.
    fn block(&self, offset: u64, last: &mut Last) -> Result<Block> {
        let number = offset >> self.block_bits;
        let entry = self.map.get(&self.source, number, last)?;
        if entry >= UNALLOCATED {
            return Ok(Block::Zero);
        }
        if entry >= self.blocks {
            return Err(fault(
                ErrorKind::Corrupt,
                "block-entry",
                self.map.place(number),
                format!(
                    "guest offset {offset} is in block {entry} of the file but there are only {}",
                    self.blocks
                ),
            ));
        }
        // Less than 2^32 times 2^28 and a bit.
        let before = entry * ((1 << self.block_bits) + self.extra);
        Ok(Block::Stored(self.data_offset + before + self.extra))
    }

    /// What is at `offset`, and for how many bytes: at least one, at most `want` and the rest of
    /// the disk. Neighbouring blocks are added as long as one read can serve them.
    ///
    /// `offset` must lie on the disk.
    fn scan(&self, offset: u64, want: u64) -> Result<(Block, u64)> {
        let unit = 1u64 << self.block_bits;
        let limit = want.min(self.size - offset);
        let farthest = (offset >> self.block_bits) + (MAX_SLICES_PER_SCAN << SLICE_BITS);
        let mut slice = None;
        let first = self.block(offset, &mut slice)?;
        let mut last = first;
        let mut end = (offset | (unit - 1)) + 1;
        while end - offset < limit && end >> self.block_bits < farthest {
            // A bad neighbour is reported when it is asked for.
            let Ok(next) = self.block(end, &mut slice) else {
                break;
            };
            match (last, next) {
                (Block::Zero, Block::Zero) => {}
                (Block::Stored(last), Block::Stored(next)) if last + unit == next => {}
                _ => break,
            }
            last = next;
            end += unit;
        }
        let first = match first {
            Block::Zero => Block::Zero,
            Block::Stored(host) => Block::Stored(host + (offset & (unit - 1))),
        };
        Ok((first, (end - offset).min(limit)))
    }

    /// The kind of the bytes at `offset`, and for how many bytes at least. A static disk in a
    /// sparse file is full of blocks that are holes.
    fn run(&self, offset: u64) -> Result<(ExtentKind, u64)> {
        let (block, len) = self.scan(offset, u64::MAX)?;
        let Block::Stored(host) = block else {
            return Ok((ExtentKind::Zero, len));
        };
        if host >= self.source.len() {
            return Err(past_end(host, 1, self.source.len()).in_format(Format::Vdi));
        }
        let stored = self.source.data_at(host)?;
        // What the file does not hold is for the read to report, not to be called zero.
        Ok((stored.kind, len.min(stored.len)))
    }

    /// Checks the entries of all blocks, and that those that lie in this window of the file
    /// differ.
    fn verify_window(&self, mut used: Used) -> Result<()> {
        let mut slice = None;
        for number in 0..=(self.size - 1) >> self.block_bits {
            let guest = number << self.block_bits;
            let Block::Stored(host) = self.block(guest, &mut slice)? else {
                continue;
            };
            // The last block of a static disk may end where the disk does.
            let len = (1 << self.block_bits).min(self.size - guest);
            if host + len > self.source.len() {
                let wanted = usize::try_from(len).unwrap_or(usize::MAX);
                return Err(past_end(host, wanted, self.source.len()).in_format(Format::Vdi));
            }
            let block = self.map.get(&self.source, number, &mut slice)?;
            if !used.mark(block, block + 1) {
                return Err(fault(
                    ErrorKind::Corrupt,
                    "block-overlap",
                    self.map.place(number),
                    format!("guest offset {guest} is in block {block} of the file, as another is"),
                ));
            }
        }
        Ok(())
    }
}

impl<S: Source> Source for Disk<S> {
    fn len(&self) -> u64 {
        self.size
    }

    fn read_at(&self, mut offset: u64, mut buf: &mut [u8]) -> Result<()> {
        check_range(offset, buf.len(), self.len())?;
        while !buf.is_empty() {
            let (block, len) = self.scan(offset, buf.len() as u64)?;
            // Not longer than `buf`, hence a usize.
            let len = usize::try_from(len).unwrap_or(buf.len()).min(buf.len());
            let (part, rest) = buf.split_at_mut(len);
            match block {
                Block::Zero => part.fill(0),
                Block::Stored(host) => self
                    .source
                    .read_at(host, part)
                    .map_err(|e| e.in_format(Format::Vdi))?,
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
        Format::Vdi
    }

    fn verify(&self) -> Result<()> {
        // No block that is stored has a number from here on.
        let stored = (self.source.len() >> self.block_bits) + 1;
        Used::windows(stored.min(self.blocks)).try_for_each(|used| self.verify_window(used))
    }
}
