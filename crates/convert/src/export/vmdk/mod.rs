//! VMDK: VMware's virtual disk, in its two forms that are one file.
//!
//! Specification: VMware, "Virtual Disk Format 5.0". Numbers are little-endian; offsets and lengths
//! are in sectors of 512 bytes.
//!
//! | Dec | Hex | Name               | monolithicSparse    | streamOptimized              |
//! |----:|----:|--------------------|---------------------|------------------------------|
//! |   0 |  00 | magic              | `KDMV`              | the same                     |
//! |   4 |  04 | version            | 1                   | 3                            |
//! |   8 |  08 | flags              | newlines, redundant | newlines, compressed, markers|
//! |  12 |  0c | capacity           |                     |                              |
//! |  20 |  14 | grain size         | 128                 | 128                          |
//! |  28 |  1c | descriptor offset  | 1                   | 1                            |
//! |  36 |  24 | descriptor size    | 20                  | 20                           |
//! |  44 |  2c | GTEs per table     | 512                 | 512                          |
//! |  48 |  30 | redundant GD offset| behind descriptor   | 0                            |
//! |  56 |  38 | GD offset          | behind that         | all ones; known in the footer|
//! |  64 |  40 | overhead           | where grains begin  | the same                     |
//! |  72 |  48 | unclean shutdown   | 0                   | 0                            |
//! |  73 |  49 | newline detection  | LF, space, CR, LF   | the same                     |
//! |  77 |  4d | compression        | 0                   | 1, deflate                   |
//!
//! A grain directory (GD) lists grain tables (GT), each of which has 512 grain table entries
//! (GTE): where the grain is, or 0 if it is all zeros.

pub(super) mod sparse;
pub(super) mod stream;

use abbild_disk::Disk;

use super::identity::Identity;
use super::{Job, Target};
use crate::Result;
use crate::durable::SECTOR;

/// Bytes in a grain; all of VMware's products use this.
const GRAIN: u64 = 64 << 10;
const GRAIN_SECTORS: u64 = GRAIN / SECTOR;
/// Entries in a grain table.
const ENTRIES: u64 = 512;
/// Sectors of a grain table.
const TABLE_SECTORS: u64 = ENTRIES * 4 / SECTOR;
/// Sectors of the descriptor and where it is.
const DESCRIPTOR_SECTORS: u64 = 20;
const DESCRIPTOR_OFFSET: u64 = 1;
/// Sectors have numbers of 32 bits in the tables.
const MAX_VIRTUAL_SIZE: u64 = 2 << 40;

/// What varies between the headers.
struct Header {
    version: u32,
    flags: u32,
    capacity: u64,
    redundant_directory: u64,
    directory: u64,
    overhead: u64,
    compression: u16,
}

impl Header {
    /// One sector.
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = b"KDMV".to_vec();
        bytes.extend(self.version.to_le_bytes());
        bytes.extend(self.flags.to_le_bytes());
        bytes.extend(self.capacity.to_le_bytes());
        bytes.extend(GRAIN_SECTORS.to_le_bytes());
        bytes.extend(DESCRIPTOR_OFFSET.to_le_bytes());
        bytes.extend(DESCRIPTOR_SECTORS.to_le_bytes());
        bytes.extend((ENTRIES as u32).to_le_bytes());
        bytes.extend(self.redundant_directory.to_le_bytes());
        bytes.extend(self.directory.to_le_bytes());
        bytes.extend(self.overhead.to_le_bytes());
        bytes.push(0);
        bytes.extend(b"\n \r\n");
        bytes.extend(self.compression.to_le_bytes());
        bytes.resize(SECTOR as usize, 0);
        bytes
    }
}

/// Writes the descriptor, a text that says the same again.
///
/// The name of the extent is that of the file itself, which may be renamed and is not looked at.
/// The geometry is that of IDE disks, with at most 16383 cylinders.
fn write_descriptor<D: Disk + ?Sized>(
    job: &Job<'_, D>,
    create_type: &str,
    identity: &Identity,
) -> Result<()> {
    let sectors = job.virtual_size / SECTOR;
    let cid = identity.cid();
    let cylinders = (sectors / (16 * 63)).min(16383);
    let text = format!(
        "# Disk DescriptorFile\n\
         version=1\n\
         CID={cid:08x}\n\
         parentCID=ffffffff\n\
         createType=\"{create_type}\"\n\
         \n\
         # Extent description\n\
         RW {sectors} SPARSE \"disk.vmdk\"\n\
         \n\
         # The Disk Data Base\n\
         #DDB\n\
         \n\
         ddb.virtualHWVersion = \"4\"\n\
         ddb.geometry.cylinders = \"{cylinders}\"\n\
         ddb.geometry.heads = \"16\"\n\
         ddb.geometry.sectors = \"63\"\n\
         ddb.adapterType = \"ide\"\n"
    );
    job.out.write(DESCRIPTOR_OFFSET * SECTOR, text.as_bytes())
}

/// Refuses a disk that is too large.
fn check_size<D: Disk + ?Sized>(job: &Job<'_, D>) -> Result<()> {
    job.check_size(MAX_VIRTUAL_SIZE, Target::Vmdk)
}
