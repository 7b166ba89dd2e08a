//! The master boot record and the chain of extended boot records.
//!
//! There is no specification; Linux' `block/partitions/msdos.c` defines what the numbers mean, and
//! is followed here for the order of logical partitions.
//!
//! | Dec | Hex | Len | Name |
//! |----:|----:|----:|------|
//! |   0 | 000 | 440 | boot code |
//! | 440 | 1b8 |   4 | disk signature |
//! | 446 | 1be |  64 | four entries |
//! | 510 | 1fe |   2 | `55 aa` |
//!
//! Entry: status (`00` or `80`), 3 bytes CHS, type, 3 bytes CHS, first sector, number of sectors.
//! Sectors are taken as 512 bytes, since nothing in an MBR says otherwise.

use super::{Partition, PartitionType, Role, Scheme, Table};
use crate::bytes::le32;
use crate::{Result, Source};

const SECTOR: u64 = 512;
const ENTRIES: usize = 446;
/// A GPT's place holder.
const PROTECTIVE: u8 = 0xee;
/// Logical partitions read at most. Linux stops at 100 empty links and 255 partitions.
const MAX_LOGICAL: u32 = 128;
/// Links of the chain followed at most, so that a loop ends.
const MAX_LINKS: usize = 256;

/// One of the four entries of a boot record, in sectors.
#[derive(Debug, Clone, Copy)]
struct Entry {
    status: u8,
    kind: u8,
    start: u64,
    count: u64,
}

impl Entry {
    fn is_used(self) -> bool {
        self.kind != 0 && self.count != 0
    }

    fn is_extended(self) -> bool {
        matches!(self.kind, 0x05 | 0x0f | 0x85)
    }
}

/// A boot record with its signature.
#[derive(Debug)]
pub(super) struct Sector([u8; 512]);

impl Sector {
    /// The first sector of `disk`; `None` if it is not a boot record with plausible entries.
    pub(super) fn read<S: Source>(disk: &S) -> Result<Option<Self>> {
        let Some(sector) = Self::read_at(disk, 0)? else {
            return Ok(None);
        };
        // A file system's boot sector ends in the same two bytes, but has code where the
        // entries are.
        let entries = sector.entries();
        let plausible = entries.iter().all(|entry| entry.status & 0x7f == 0)
            && entries.iter().any(|entry| entry.is_used());
        Ok(plausible.then_some(sector))
    }

    fn read_at<S: Source>(disk: &S, offset: u64) -> Result<Option<Self>> {
        if offset
            .checked_add(SECTOR)
            .is_none_or(|end| end > disk.len())
        {
            return Ok(None);
        }
        let mut bytes = [0; 512];
        disk.read_at(offset, &mut bytes)?;
        Ok((bytes[510..] == [0x55, 0xaa]).then_some(Self(bytes)))
    }

    fn entries(&self) -> [Entry; 4] {
        std::array::from_fn(|index| {
            let at = ENTRIES + index * 16;
            Entry {
                status: self.0[at],
                kind: self.0[at + 4],
                start: le32(&self.0, at + 8).into(),
                count: le32(&self.0, at + 12).into(),
            }
        })
    }

    /// Whether an entry announces a GPT.
    pub(super) fn is_protective(&self) -> bool {
        self.entries().iter().any(|entry| entry.kind == PROTECTIVE)
    }

    /// Whether a BIOS finds something to run.
    pub(super) fn boot_code(&self) -> bool {
        self.0[..440].iter().any(|&byte| byte != 0)
    }
}

/// Collects partitions that lie on the disk and warns about the others.
struct Collector {
    disk_len: u64,
    signature: u32,
    table: Table,
}

impl Collector {
    fn add(&mut self, number: u32, role: Role, entry: Entry, start_sector: u64) {
        // Sums of three 32-bit numbers of sectors: far from overflow in bytes.
        let start = start_sector * SECTOR;
        let len = entry.count * SECTOR;
        self.table.required_len = self.table.required_len.max(start + len);
        if start == 0 || start + len > self.disk_len {
            self.table.warnings.push(format!(
                "partition {number} ({len} bytes at byte {start}) does not lie on the disk of {} \
                 bytes and is left out",
                self.disk_len
            ));
            return;
        }
        self.table.partitions.push(Partition {
            number,
            start,
            len,
            kind: PartitionType::Mbr(entry.kind),
            role,
            name: String::new(),
            part_uuid: format!("{:08x}-{number:02x}", self.signature),
            bootable: entry.status == 0x80,
            attributes: 0,
        });
    }
}

/// The table of a disk that begins with `sector`; `None` if no entry begins on the disk.
pub(super) fn read<S: Source>(disk: &S, sector: &Sector) -> Result<Option<Table>> {
    let entries = sector.entries();
    let begins_on_disk =
        |entry: &Entry| entry.is_used() && entry.start > 0 && entry.start < disk.len() / SECTOR;
    if !entries.iter().any(begins_on_disk) {
        return Ok(None);
    }
    let signature = le32(&sector.0, 440);
    let mut found = Collector {
        disk_len: disk.len(),
        signature,
        table: Table {
            scheme: Scheme::Mbr,
            sector_size: 512,
            disk_id: format!("{signature:08x}"),
            partitions: Vec::new(),
            required_len: 0,
            boot_code: sector.boot_code(),
            warnings: Vec::new(),
        },
    };
    for (number, entry) in (1..).zip(entries).filter(|(_, entry)| entry.is_used()) {
        let role = if entry.is_extended() {
            Role::Extended
        } else {
            Role::Primary
        };
        found.add(number, role, entry, entry.start);
    }
    let mut number = 5;
    for entry in entries {
        if entry.is_used() && entry.is_extended() {
            read_chain(disk, entry, &mut number, &mut found)?;
        }
    }
    Ok(Some(found.table))
}

/// Follows the extended boot records from `container`: each holds a logical partition, relative to
/// itself, and a link to the next record, relative to the container.
fn read_chain<S: Source>(
    disk: &S,
    container: Entry,
    number: &mut u32,
    found: &mut Collector,
) -> Result<()> {
    let mut visited = Vec::new();
    let mut here = container.start;
    while visited.len() < MAX_LINKS && *number < 5 + MAX_LOGICAL {
        if visited.contains(&here) {
            found.table.warnings.push(format!(
                "the chain of logical partitions returns to sector {here} and is cut there"
            ));
            return Ok(());
        }
        visited.push(here);
        let Some(record) = Sector::read_at(disk, here * SECTOR)? else {
            found.table.warnings.push(format!(
                "the chain of logical partitions ends at sector {here}, which is not a boot record"
            ));
            return Ok(());
        };
        let entries = record.entries();
        for (slot, entry) in entries.into_iter().enumerate() {
            // Slots 2 and 3 are meant to be empty; Linux believes them only inside the container.
            let start = here + entry.start;
            let end = start + entry.count;
            let stray =
                slot >= 2 && (start < container.start || end > container.start + container.count);
            if entry.is_used() && !entry.is_extended() && !stray {
                found.add(*number, Role::Logical, entry, start);
                *number += 1;
            }
        }
        match entries.iter().find(|e| e.is_used() && e.is_extended()) {
            Some(link) => here = container.start + link.start,
            None => return Ok(()),
        }
    }
    found
        .table
        .warnings
        .push("the chain of logical partitions is too long and is cut".to_owned());
    Ok(())
}

/// A name for an MBR type byte.
pub(super) fn type_name(kind: u8) -> &'static str {
    match kind {
        0x01 | 0x04 | 0x06 | 0x0e => "FAT16",
        0x0b | 0x0c => "FAT32",
        0x05 | 0x0f | 0x85 => "extended",
        0x07 => "NTFS or exFAT",
        0x27 => "Windows recovery",
        0x41 => "PowerPC PReP boot",
        0x82 => "Linux swap",
        0x83 => "Linux",
        0x8e => "Linux LVM",
        0xa5 => "FreeBSD",
        0xa6 => "OpenBSD",
        0xa9 => "NetBSD",
        0xaf => "Apple HFS",
        0xbf => "Solaris",
        0xee => "GPT protective",
        0xef => "EFI system",
        0xfd => "Linux RAID",
        _ => "unknown",
    }
}
