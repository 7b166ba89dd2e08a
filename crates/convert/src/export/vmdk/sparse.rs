//! monolithicSparse: tables first, then the grains.
//!
//! Header, descriptor, redundant grain directory and its tables, grain directory and its tables,
//! grains in the order of the disk. All grain tables exist, as VMware makes it.

use abbild_disk::Disk;

use super::{
    DESCRIPTOR_OFFSET, DESCRIPTOR_SECTORS, ENTRIES, GRAIN, GRAIN_SECTORS, Header, TABLE_SECTORS,
    check_size, write_descriptor,
};
use crate::durable::SECTOR;
use crate::export::Job;
use crate::export::blocks::{self, Layout};
use crate::export::table::Table;
use crate::{Error, ErrorKind, Result};

/// The newline detection is valid, and there is a redundant grain directory.
const FLAGS: u32 = 1 | 1 << 1;

/// Writes a sparse VMDK and returns its length.
pub(in crate::export) fn write<D: Disk + Sync + ?Sized>(job: &Job<'_, D>) -> Result<u64> {
    check_size(job)?;
    let tables = job.virtual_size.div_ceil(GRAIN).div_ceil(ENTRIES);
    let directory_sectors = (tables * 4).div_ceil(SECTOR);
    let both = directory_sectors + tables * TABLE_SECTORS;
    let redundant_directory = DESCRIPTOR_OFFSET + DESCRIPTOR_SECTORS;
    let directory = redundant_directory + both;
    let overhead = (directory + both).next_multiple_of(GRAIN_SECTORS);

    let mut grains = Grains {
        copies: Vec::new(),
        end: overhead * SECTOR,
    };
    for directory in [redundant_directory, directory] {
        let first = directory + directory_sectors;
        let entries: Vec<u8> = (0..tables)
            .flat_map(|table| ((first + table * TABLE_SECTORS) as u32).to_le_bytes())
            .collect();
        job.out.write(directory * SECTOR, &entries)?;
        let len = tables * TABLE_SECTORS * SECTOR;
        let copy = Table::new(job.out, first * SECTOR, len, 0);
        grains.copies.push(copy);
    }
    let identity = blocks::write(job, GRAIN, &mut grains)?;
    for copy in grains.copies {
        copy.finish()?;
    }
    write_descriptor(job, "monolithicSparse", &identity)?;
    let header = Header {
        version: 1,
        flags: FLAGS,
        capacity: job.virtual_size / SECTOR,
        redundant_directory,
        directory,
        overhead,
        compression: 0,
    };
    job.out.write(0, &header.to_bytes())?;
    job.out.finish(grains.end)
}

struct Grains<'a> {
    /// The grain tables, twice.
    copies: Vec<Table<'a>>,
    /// The end of the file so far.
    end: u64,
}

impl Layout for Grains<'_> {
    fn place(&mut self, unit: u64) -> Result<u64> {
        let offset = self.end;
        let entry = sector(offset)?.to_le_bytes();
        for copy in &mut self.copies {
            copy.set(unit, entry)?;
        }
        self.end += GRAIN;
        Ok(offset)
    }
}

/// The sector number of `offset`, as tables hold it.
pub(super) fn sector(offset: u64) -> Result<u32> {
    u32::try_from(offset / SECTOR).map_err(|_| {
        Error::new(
            ErrorKind::Refused,
            "too-large",
            "the vmdk would be larger than 2 TiB, which its tables cannot express",
        )
        .with_hint("write a raw or qcow2 image instead")
    })
}
