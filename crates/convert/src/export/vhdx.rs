//! VHDX: Hyper-V's virtual hard disk, dynamic.
//!
//! Specification: Microsoft, [MS-VHDX], "Virtual Hard Disk v2 (VHDX) File Format",
//! <https://learn.microsoft.com/openspecs/windows_protocols/ms-vhdx/>. All numbers are
//! little-endian.
//!
//! | offset in the file | what                                                          |
//! |-------------------:|---------------------------------------------------------------|
//! |                  0 | file type identifier, section 2.2.1                           |
//! |    64 KiB, 128 KiB | two headers, section 2.2.2, of which the second is current    |
//! |   192 KiB, 256 KiB | two equal region tables, section 2.2.3                        |
//! |              1 MiB | the log, 1 MiB, empty                                         |
//! |              2 MiB | the metadata, 1 MiB, section 2.6                              |
//! |              3 MiB | the block allocation table (BAT), section 2.5, in whole MiB   |
//! |         behind it  | the blocks                                                    |
//!
//! Blocks have 1 MiB, the smallest size there is and what Microsoft recommends for Linux guests,
//! whose file systems spread their structures over the disk: with the usual 32 MiB each of them
//! would take that much.

use abbild_disk::Disk;

use super::blocks::{self, Layout};
use super::identity::{Identity, guid};
use super::table::Table;
use super::{Job, Target};
use crate::Result;

const MIB: u64 = 1 << 20;
const BLOCK: u64 = MIB;
/// Section 2.6.2.2.
const MAX_VIRTUAL_SIZE: u64 = 64 << 40;
const SECTOR: u32 = 512;
const PHYSICAL_SECTOR: u32 = 4096;
/// Payload blocks between two entries for sector bitmaps, section 2.5.
const CHUNK_RATIO: u64 = (1 << 23) * SECTOR as u64 / BLOCK;
/// `PAYLOAD_BLOCK_FULLY_PRESENT`, section 2.5.1.1.
const FULLY_PRESENT: u64 = 6;

const LOG_OFFSET: u64 = MIB;
const METADATA_OFFSET: u64 = 2 * MIB;
const BAT_OFFSET: u64 = 3 * MIB;

const BAT_REGION: [u8; 16] = guid(0x2dc27766_f623_4200_9d64_115e9bfd4a08);
const METADATA_REGION: [u8; 16] = guid(0x8b7ca206_4790_4b9a_b8fe_575f050f886e);
const FILE_PARAMETERS: [u8; 16] = guid(0xcaa16737_fa36_4d43_b3b6_33f0aa44e76b);
const VIRTUAL_DISK_SIZE: [u8; 16] = guid(0x2fa54224_cd1b_4876_b211_5dbed83bf4b8);
const VIRTUAL_DISK_ID: [u8; 16] = guid(0xbeca12ab_b2e6_4523_93ef_c309e000c746);
const LOGICAL_SECTOR_SIZE: [u8; 16] = guid(0x8141bf1d_a96f_4709_ba47_f233a8faab5f);
const PHYSICAL_SECTOR_SIZE: [u8; 16] = guid(0xcda348c7_445d_4471_9cc9_e9885251c556);

/// Writes a VHDX and returns its length.
pub(super) fn write<D: Disk + Sync + ?Sized>(job: &Job<'_, D>) -> Result<u64> {
    job.check_size(MAX_VIRTUAL_SIZE, Target::Vhdx)?;
    let blocks = job.virtual_size.div_ceil(BLOCK);
    let bat_len = (blocks + (blocks - 1) / CHUNK_RATIO) * 8;
    let bat_region = bat_len.next_multiple_of(MIB);
    let mut bat = Bat {
        table: Table::new(job.out, BAT_OFFSET, bat_len, 0),
        end: BAT_OFFSET + bat_region,
    };
    let identity = blocks::write(job, BLOCK, &mut bat)?;
    bat.table.finish()?;

    for (offset, sequence) in [(64 << 10, 1), (128 << 10, 2)] {
        job.out.write(offset, &header(&identity, sequence))?;
    }
    let regions = region_table(bat_region);
    for offset in [192 << 10, 256 << 10] {
        job.out.write(offset, &regions)?;
    }
    let metadata = metadata(job.virtual_size, &identity);
    job.out.write(METADATA_OFFSET, &metadata)?;
    let mut identifier = b"vhdxfile".to_vec();
    identifier.extend("Abbild".encode_utf16().flat_map(u16::to_le_bytes));
    job.out.write(0, &identifier)?;
    job.out.finish(bat.end)
}

struct Bat<'a> {
    table: Table<'a>,
    /// The end of the file so far.
    end: u64,
}

impl Layout for Bat<'_> {
    fn place(&mut self, unit: u64) -> Result<u64> {
        let offset = self.end;
        // The offset is in bits 20 to 63, in MiB, which is where it lies anyway.
        let entry = offset | FULLY_PRESENT;
        self.table
            .set(unit + unit / CHUNK_RATIO, entry.to_le_bytes())?;
        self.end += BLOCK;
        Ok(offset)
    }
}

/// A header, section 2.2.2. A log GUID of zeros says that the log is empty.
fn header(identity: &Identity, sequence: u64) -> Vec<u8> {
    let mut bytes = b"head\0\0\0\0".to_vec();
    bytes.extend(sequence.to_le_bytes());
    bytes.extend(identity.guid("vhdx file write"));
    bytes.extend(identity.guid("vhdx data write"));
    bytes.extend([0; 16]);
    // Version of the log, and of the format.
    bytes.extend(0_u16.to_le_bytes());
    bytes.extend(1_u16.to_le_bytes());
    bytes.extend((MIB as u32).to_le_bytes());
    bytes.extend(LOG_OFFSET.to_le_bytes());
    bytes.resize(4096, 0);
    with_checksum(bytes)
}

/// The region table, section 2.2.3.
fn region_table(bat_region: u64) -> Vec<u8> {
    let mut bytes = b"regi\0\0\0\0".to_vec();
    bytes.extend(2_u32.to_le_bytes());
    bytes.extend([0; 4]);
    for (region, offset, len) in [
        (BAT_REGION, BAT_OFFSET, bat_region),
        (METADATA_REGION, METADATA_OFFSET, MIB),
    ] {
        bytes.extend(region);
        bytes.extend(offset.to_le_bytes());
        // A disk of 64 TiB has a table of 513 MiB.
        bytes.extend((len as u32).to_le_bytes());
        bytes.extend(1_u32.to_le_bytes());
    }
    bytes.resize(64 << 10, 0);
    with_checksum(bytes)
}

/// Puts the CRC-32C of the structure, computed with zeros in its place, at byte 4.
fn with_checksum(mut bytes: Vec<u8>) -> Vec<u8> {
    let checksum = crc32c::crc32c(&bytes);
    bytes[4..8].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// The metadata table and its items, section 2.6. The items begin 64 KiB behind the table.
fn metadata(virtual_size: u64, identity: &Identity) -> Vec<u8> {
    const ITEMS: usize = 64 << 10;
    /// Of the file, or of the virtual disk; and every reader has to know it.
    const FILE: u32 = 4;
    const DISK: u32 = 6;
    let parameters = BLOCK.to_le_bytes();
    let disk_id = identity.guid("vhdx virtual disk");
    let items: [(_, &[u8], _); 5] = [
        (FILE_PARAMETERS, &parameters, FILE),
        (VIRTUAL_DISK_SIZE, &virtual_size.to_le_bytes(), DISK),
        (VIRTUAL_DISK_ID, &disk_id, DISK),
        (LOGICAL_SECTOR_SIZE, &SECTOR.to_le_bytes(), DISK),
        (PHYSICAL_SECTOR_SIZE, &PHYSICAL_SECTOR.to_le_bytes(), DISK),
    ];
    let mut table = b"metadata\0\0".to_vec();
    table.extend((items.len() as u16).to_le_bytes());
    table.resize(32, 0);
    let mut values = Vec::new();
    for (item, value, flags) in items {
        table.extend(item);
        table.extend(((ITEMS + values.len()) as u32).to_le_bytes());
        table.extend((value.len() as u32).to_le_bytes());
        table.extend(flags.to_le_bytes());
        table.extend([0; 4]);
        values.extend_from_slice(value);
    }
    table.resize(ITEMS, 0);
    table.extend(values);
    table
}
