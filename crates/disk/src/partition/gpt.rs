//! The GUID partition table: UEFI specification 2.10, section 5.3.
//!
//! | Dec | Hex | Len | Name |
//! |----:|----:|----:|------|
//! |   0 |  00 |   8 | `EFI PART` |
//! |   8 |  08 |   4 | revision |
//! |  12 |  0c |   4 | length of the header: 92 or more |
//! |  16 |  10 |   4 | CRC-32 of the header, computed with this field as zero |
//! |  24 |  18 |   8 | sector of this header |
//! |  32 |  20 |   8 | sector of the other header |
//! |  40 |  28 |  16 | first and last sector for partitions |
//! |  56 |  38 |  16 | GUID of the disk |
//! |  72 |  48 |   8 | sector of the entries |
//! |  80 |  50 |   4 | number of entries |
//! |  84 |  54 |   4 | size of an entry |
//! |  88 |  58 |   4 | CRC-32 of the entries |
//!
//! One copy is at sector 1, another in the last sector. The sector size is not stated; it is the
//! one at which a header is found.

use super::{Guid, Partition, PartitionType, Role, Scheme, Table};
use crate::bytes::{has, le16, le32, le64};
use crate::{Result, Source};

const SIGNATURE: &[u8] = b"EFI PART";
const HEADER_LEN: usize = 92;
/// Entries read at most; 128 is usual, and Linux numbers no more than 256 partitions.
const MAX_ENTRIES: u32 = 1024;
/// The largest size of an entry that is accepted; 128 is the only one in use.
const MAX_ENTRY_LEN: u32 = 4096;
/// Attribute bit 2: legacy BIOS bootable.
const ATTRIBUTE_BOOTABLE: u64 = 1 << 2;

/// One intact copy: checked header and entries.
struct Copy {
    sector_size: u64,
    other: u64,
    disk_id: Guid,
    entry_len: usize,
    entries: Vec<u8>,
}

/// Reads the GPT of `disk`, from its last copy if the first is damaged; `None` if neither is
/// intact.
pub(super) fn read<S: Source>(disk: &S) -> Result<Option<Table>> {
    for sector_size in [512, 4096] {
        if let Some(copy) = Copy::read(disk, sector_size, 1)? {
            let mut warnings = Vec::new();
            if Copy::read(disk, sector_size, copy.other)?.is_none() {
                warnings
                    .push("the backup GPT at the end of the disk is missing or damaged".to_owned());
            }
            return Ok(Some(table(disk, &copy, warnings)));
        }
    }
    for sector_size in [512, 4096] {
        let last = (disk.len() / sector_size).saturating_sub(1);
        if let Some(copy) = Copy::read(disk, sector_size, last)? {
            let warnings = vec![
                "the primary GPT is damaged; the backup at the end of the disk was used".to_owned(),
            ];
            return Ok(Some(table(disk, &copy, warnings)));
        }
    }
    Ok(None)
}

impl Copy {
    /// The copy whose header is in `sector`; `None` if it is not intact or not on the disk.
    fn read<S: Source>(disk: &S, sector_size: u64, sector: u64) -> Result<Option<Self>> {
        let Some(header) = read_part(disk, sector_size, sector, sector_size as usize)? else {
            return Ok(None);
        };
        if sector == 0 || !has(&header, 0, SIGNATURE) || le64(&header, 24) != sector {
            return Ok(None);
        }
        let header_len = le32(&header, 12) as usize;
        if header_len < HEADER_LEN || header_len > header.len() {
            return Ok(None);
        }
        let mut checked = header[..header_len].to_vec();
        checked[16..20].fill(0);
        if crc32fast::hash(&checked) != le32(&header, 16) {
            return Ok(None);
        }
        let (count, entry_len) = (le32(&header, 80), le32(&header, 84));
        if count > MAX_ENTRIES || !(128..=MAX_ENTRY_LEN).contains(&entry_len) {
            return Ok(None);
        }
        let (entry_len, entries_len) = (entry_len as usize, (count * entry_len) as usize);
        let Some(entries) = read_part(disk, sector_size, le64(&header, 72), entries_len)? else {
            return Ok(None);
        };
        if crc32fast::hash(&entries) != le32(&header, 88) {
            return Ok(None);
        }
        Ok(Some(Self {
            sector_size,
            other: le64(&header, 32),
            disk_id: Guid::from_bytes(&header, 56),
            entry_len,
            entries,
        }))
    }
}

/// `len` bytes from `sector` on; `None` if they are not on the disk.
fn read_part<S: Source>(
    disk: &S,
    sector_size: u64,
    sector: u64,
    len: usize,
) -> Result<Option<Vec<u8>>> {
    let range = sector.checked_mul(sector_size).and_then(|offset| {
        let end = offset.checked_add(len as u64)?;
        (end <= disk.len()).then_some(offset)
    });
    let Some(offset) = range else {
        return Ok(None);
    };
    let mut bytes = vec![0; len];
    disk.read_at(offset, &mut bytes)?;
    Ok(Some(bytes))
}

fn table<S: Source>(disk: &S, copy: &Copy, mut warnings: Vec<String>) -> Table {
    let mut partitions = Vec::new();
    let mut required_len = 0;
    for (number, entry) in (1..).zip(copy.entries.chunks_exact(copy.entry_len)) {
        let kind = Guid::from_bytes(entry, 0);
        if kind == Guid::NONE {
            continue;
        }
        let (first, last) = (le64(entry, 32), le64(entry, 40));
        let start = first.checked_mul(copy.sector_size);
        let end = last
            .checked_add(1)
            .and_then(|sectors| sectors.checked_mul(copy.sector_size));
        let described = match (start, end) {
            (Some(start), Some(end)) if 0 < start && start < end => Some((start, end)),
            _ => None,
        };
        if let Some((_, end)) = described {
            required_len = required_len.max(end);
        }
        match described {
            Some((start, end)) if end <= disk.len() => partitions.push(Partition {
                number,
                start,
                len: end - start,
                kind: PartitionType::Gpt(kind),
                role: Role::Primary,
                name: name(entry),
                part_uuid: Guid::from_bytes(entry, 16).to_string(),
                bootable: le64(entry, 48) & ATTRIBUTE_BOOTABLE != 0,
                attributes: le64(entry, 48),
            }),
            _ => warnings.push(format!(
                "partition {number} (sectors {first} to {last}) does not lie on the disk of {} \
                 bytes and is left out",
                disk.len()
            )),
        }
    }
    Table {
        scheme: Scheme::Gpt,
        sector_size: copy.sector_size as u32,
        disk_id: copy.disk_id.to_string(),
        partitions,
        required_len,
        boot_code: false,
        warnings,
    }
}

/// The name of an entry: 36 UTF-16 units, up to the first zero, without control characters.
fn name(entry: &[u8]) -> String {
    let units = (0..36)
        .map(|index| le16(entry, 56 + index * 2))
        .take_while(|&unit| unit != 0);
    char::decode_utf16(units)
        .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
        .filter(|character| !character.is_control())
        .collect()
}
