//! The block allocation table (section 2.5): from a guest offset to its place in the file.
//!
//! One entry of 64 bits per block: its state in bits 0 to 2, its place in MiB in bits 20 to 63.
//! After each *chunk* of entries comes one for a sector bitmap, which only differencing disks have;
//! it is skipped.

use super::metadata::Metadata;
use super::region::{Region, Regions};
use super::{MIB, fault};
use crate::table::{Last, SLICE_BITS, Table, Width};
use crate::used::Used;
use crate::{ErrorKind, Format, Result, Source, past_end};

/// log2 of the sectors that one sector bitmap, of 1 MiB, speaks of.
const BITMAP_BITS: u32 = 23;
/// The farthest place in the file that is accepted, in MiB: twice the largest virtual size.
const MAX_PLACE: u64 = 128 << 20;
/// Slices looked at in one call at most, which bounds its time.
const MAX_SLICES_PER_SCAN: u64 = 64;

/// What the table says about a place on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Block {
    /// Reads as zeros.
    Zero,
    /// Stored at this offset in the file.
    Stored(u64),
}

/// The table of one image.
#[derive(Debug)]
pub(super) struct Bat {
    table: Table,
    /// Where no block may lie.
    reserved: Vec<Region>,
    /// log2 of the block size.
    block_bits: u32,
    /// log2 of the blocks between two entries for sector bitmaps.
    chunk_bits: u32,
    /// Virtual size in bytes.
    size: u64,
}

impl Bat {
    /// Checks that the table in its region has an entry for every block.
    pub(super) fn new<S: Source>(
        source: &S,
        regions: &Regions,
        metadata: &Metadata,
    ) -> Result<Self> {
        let chunk_bits = BITMAP_BITS + metadata.sector_bits - metadata.block_bits;
        let last_block = (metadata.size - 1) >> metadata.block_bits;
        let needed = last_block + (last_block >> chunk_bits) + 1;
        let bat = Self {
            table: Table::new(Format::Vhdx, regions.bat.offset, needed, Width::Eight),
            reserved: regions.reserved.clone(),
            block_bits: metadata.block_bits,
            chunk_bits,
            size: metadata.size,
        };
        if needed * 8 > regions.bat.len {
            return Err(fault(
                ErrorKind::Corrupt,
                "bat-size",
                regions.bat.offset,
                format!(
                    "the block allocation table has {} bytes but {} bytes of disk need {}",
                    regions.bat.len,
                    bat.size,
                    needed * 8
                ),
            ));
        }
        // The end of the region may be missing, but the first entry has to exist.
        bat.table.get(source, 0, &mut None)?;
        Ok(bat)
    }

    /// Virtual size in bytes.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Number of the entry that speaks of guest offset `offset`, sector bitmaps counted.
    fn entry_of(&self, offset: u64) -> u64 {
        let block = offset >> self.block_bits;
        block + (block >> self.chunk_bits)
    }

    /// What is at `offset`, and for how many bytes: at least one, at most `want` and the rest of
    /// the disk. Neighbouring blocks are added as long as one read can serve them.
    ///
    /// `offset` must lie on the disk.
    pub(super) fn scan<S: Source>(
        &self,
        source: &S,
        offset: u64,
        want: u64,
    ) -> Result<(Block, u64)> {
        let unit = 1u64 << self.block_bits;
        let limit = want.min(self.size - offset);
        let mut slice = None;
        let first = self.block(source, offset, &mut slice)?;
        let last_entry = self.entry_of(offset) + (MAX_SLICES_PER_SCAN << SLICE_BITS);
        let mut last = first;
        let mut end = (offset | (unit - 1)) + 1;
        while end - offset < limit && self.entry_of(end) < last_entry {
            // A bad neighbour is reported when it is asked for.
            let next = match self.block(source, end, &mut slice) {
                Ok(next) => next,
                Err(_) => break,
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

    /// Checks every entry, that the blocks lie within the file, and that no two of them, and none
    /// of the structures, share a byte.
    pub(super) fn verify<S: Source>(&self, source: &S) -> Result<()> {
        let file_mib = source.len().div_ceil(MIB).min(MAX_PLACE);
        for used in Used::windows(file_mib) {
            self.verify_window(source, used)?;
        }
        Ok(())
    }

    fn verify_window<S: Source>(&self, source: &S, mut used: Used) -> Result<()> {
        for region in &self.reserved {
            let end = region.offset.saturating_add(region.len);
            used.mark(region.offset / MIB, end.div_ceil(MIB));
        }
        let mut slice = None;
        for block in 0..=(self.size - 1) >> self.block_bits {
            let guest = block << self.block_bits;
            let Block::Stored(host) = self.block(source, guest, &mut slice)? else {
                continue;
            };
            // The last block of a fixed disk may end where the disk does.
            let len = (1 << self.block_bits).min(self.size - guest);
            if host + len > source.len() {
                let wanted = usize::try_from(len).unwrap_or(usize::MAX);
                return Err(past_end(host, wanted, source.len()).in_format(Format::Vhdx));
            }
            if !used.mark(host / MIB, (host + len).div_ceil(MIB)) {
                return Err(fault(
                    ErrorKind::Corrupt,
                    "block-overlap",
                    self.table.place(self.entry_of(guest)),
                    format!(
                        "the block of guest offset {guest} shares bytes with another one or with \
                         a table"
                    ),
                ));
            }
        }
        Ok(())
    }

    /// What the table says about the block of guest offset `offset`: its beginning.
    fn block<S: Source>(&self, source: &S, offset: u64, slice: &mut Last) -> Result<Block> {
        let number = self.entry_of(offset);
        let entry = self.table.get(source, number, slice)?;
        match entry & 7 {
            // Not present, undefined, zero, unmapped; 5 is what drafts of the specification,
            // and QEMU after them, call unmapped.
            0..=3 | 5 => Ok(Block::Zero),
            // Fully present. The bits between state and place are reserved.
            6 if entry >> 3 & 0x1_ffff == 0 && (1..MAX_PLACE).contains(&(entry >> 20)) => {
                Ok(Block::Stored((entry >> 20) * MIB))
            }
            _ => Err(fault(
                ErrorKind::Corrupt,
                "bat-entry",
                self.table.place(number),
                format!("the BAT entry {entry:#018x} of guest offset {offset} is not valid"),
            )),
        }
    }
}
