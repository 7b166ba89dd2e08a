//! VDI: VirtualBox's dynamic disk image.
//!
//! There is no specification; VirtualBox's `VDICore.h` and QEMU's `block/vdi.c` describe the
//! format. All numbers are little-endian.
//!
//! | Dec | Hex | Name                       | here                                    |
//! |----:|----:|----------------------------|-----------------------------------------|
//! |   0 |  00 | text                       | `<<< Abbild disk image >>>`             |
//! |  64 |  40 | signature                  | 0xbeda107f                              |
//! |  68 |  44 | version                    | 1.1                                     |
//! |  72 |  48 | length of the header       | 400, counted from here                  |
//! |  76 |  4c | type                       | 1, dynamic                              |
//! |  80 |  50 | flags, comment             | empty                                   |
//! | 340 | 154 | offset of the block map    | 512                                     |
//! | 344 | 158 | offset of the first block  | behind the map, at a multiple of 4 KiB  |
//! | 348 | 15c | geometry                   | empty, so that VirtualBox computes it   |
//! | 360 | 168 | sector size                | 512                                     |
//! | 368 | 170 | virtual size               | bytes                                   |
//! | 376 | 178 | block size                 | 1 MiB                                   |
//! | 380 | 17c | additional bytes per block | 0                                       |
//! | 384 | 180 | blocks of the disk         |                                         |
//! | 388 | 184 | blocks that are stored     |                                         |
//! | 392 | 188 | UUID                       | of the content                          |
//! | 408 | 198 | UUID of the last change    | of the content                          |
//! | 424 | 1a8 | UUIDs of the parent        | nil                                     |
//!
//! The map has 32 bits for each block of the disk: its number in the file, or 0xffffffff.

use abbild_disk::Disk;

use super::blocks::{self, Layout};
use super::table::Table;
use super::{Job, Target};
use crate::Result;

/// The size that VirtualBox uses, and the only one that QEMU reads.
const BLOCK: u64 = 1 << 20;
/// QEMU reads no more blocks than this (`VDI_BLOCKS_IN_IMAGE_MAX`).
const MAX_BLOCKS: u64 = 0x1fff_ffff;
const MAP_OFFSET: u64 = 512;
const FREE: u8 = 0xff;

/// Writes a VDI and returns its length.
pub(super) fn write<D: Disk + Sync + ?Sized>(job: &Job<'_, D>) -> Result<u64> {
    job.check_size(MAX_BLOCKS * BLOCK, Target::Vdi)?;
    let blocks = job.virtual_size.div_ceil(BLOCK);
    let map_len = blocks * 4;
    let mut map = Map {
        table: Table::new(job.out, MAP_OFFSET, map_len, FREE),
        data_offset: (MAP_OFFSET + map_len).next_multiple_of(4096),
        stored: 0,
    };
    let identity = blocks::write(job, BLOCK, &mut map)?;
    map.table.finish()?;

    let mut header = vec![0; MAP_OFFSET as usize];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    let le32 = |value: u64| (value as u32).to_le_bytes();
    put(0, b"<<< Abbild disk image >>>\n");
    put(64, &0xbeda_107f_u32.to_le_bytes());
    put(68, &0x0001_0001_u32.to_le_bytes());
    put(72, &le32(400));
    put(76, &le32(1));
    put(340, &le32(MAP_OFFSET));
    put(344, &le32(map.data_offset));
    put(360, &le32(512));
    put(368, &job.virtual_size.to_le_bytes());
    put(376, &le32(BLOCK));
    // At most `MAX_BLOCKS`, so the numbers of blocks and the offset of the first fit.
    put(384, &le32(blocks));
    put(388, &le32(u64::from(map.stored)));
    put(392, &identity.guid("vdi image"));
    put(408, &identity.guid("vdi last change"));
    job.out.write(0, &header)?;
    job.out
        .finish(map.data_offset + u64::from(map.stored) * BLOCK)
}

struct Map<'a> {
    table: Table<'a>,
    data_offset: u64,
    stored: u32,
}

impl Layout for Map<'_> {
    fn place(&mut self, unit: u64) -> Result<u64> {
        self.table.set(unit, self.stored.to_le_bytes())?;
        let offset = self.data_offset + u64::from(self.stored) * BLOCK;
        self.stored += 1;
        Ok(offset)
    }
}
