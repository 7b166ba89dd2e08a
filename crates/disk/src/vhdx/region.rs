//! The region table (section 2.2.3): where BAT and metadata lie. It is stored twice.
//!
//! | Dec | Hex | Len | Name |
//! |----:|----:|----:|------|
//! |   0 |  00 |   4 | signature `regi` |
//! |   4 |  04 |   4 | checksum of the 64 KiB |
//! |   8 |  08 |   4 | number of entries, at most 2047 |
//! |  16 |  10 | 32 each | GUID, offset (16), length (24), required (28, bit 0) |

use super::header::Header;
use super::{MIB, checksum, fault, read_structure};
use crate::bytes::{has, le32, le64};
use crate::partition::Guid;
use crate::{ErrorKind, Format, Result, Source, past_end};

const OFFSETS: [u64; 2] = [192 << 10, 256 << 10];
const LEN: usize = 64 << 10;
const MAX_ENTRIES: u32 = 2047;

const BAT: Guid = Guid::new(0x2dc2_7766, 0xf623, 0x4200, 0x9d64_115e_9bfd_4a08);
const METADATA: Guid = Guid::new(0x8b7c_a206, 0x4790, 0x4b9a, 0xb8fe_575f_050f_886e);

/// A part of the file that holds one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Region {
    /// First byte in the file.
    pub offset: u64,
    /// Length in bytes.
    pub len: u64,
}

impl Region {
    /// First byte after the region. Cannot overflow: the table's entries are checked.
    fn end(self) -> u64 {
        self.offset + self.len
    }
}

/// The regions of an image.
#[derive(Debug)]
pub(super) struct Regions {
    /// The block allocation table.
    pub bat: Region,
    /// The metadata table and its items.
    pub metadata: Region,
    /// All that no payload block may lie in: the header, the log, every region; in order.
    pub reserved: Vec<Region>,
}

/// Reads the first valid one of the two tables.
pub(super) fn read<S: Source>(
    source: &S,
    header: &Header,
    warnings: &mut Vec<String>,
) -> Result<Regions> {
    let mut chosen = None;
    for (offset, name) in OFFSETS.into_iter().zip(["first", "second"]) {
        let raw = read_structure(source, offset, LEN)?;
        if !has(&raw, 0, b"regi") || le32(&raw, 4) != checksum(&raw) {
            warnings.push(format!(
                "the {name} of the two VHDX region tables is damaged; the other one is used"
            ));
        } else if chosen.is_none() {
            chosen = Some((offset, raw));
        }
    }
    let Some((offset, raw)) = chosen else {
        return Err(fault(
            ErrorKind::Corrupt,
            "region-table",
            OFFSETS[0],
            "both VHDX region tables are damaged",
        ));
    };
    parse(source.len(), header, offset, &raw)
}

fn parse(file_len: u64, header: &Header, table: u64, raw: &[u8]) -> Result<Regions> {
    let count = le32(raw, 8);
    if count > MAX_ENTRIES {
        return Err(fault(
            ErrorKind::Corrupt,
            "region-table",
            table + 8,
            format!("{count} regions; at most {MAX_ENTRIES} are allowed"),
        ));
    }
    let (mut bat, mut metadata) = (None, None);
    let mut reserved = vec![Region {
        offset: 0,
        len: MIB,
    }];
    let log_end = header.log_offset.checked_add(header.log_len);
    if header.log_len > 0 && log_end.is_some() {
        reserved.push(Region {
            offset: header.log_offset,
            len: header.log_len,
        });
    }
    // At most 2047.
    let entries = raw[16..].chunks_exact(32).take(count as usize);
    for (entry, field) in entries.zip((table + 16..).step_by(32)) {
        let guid = Guid::from_bytes(entry, 0);
        let region = check_place(entry, guid, field)?;
        let slot = match guid {
            BAT => &mut bat,
            METADATA => &mut metadata,
            _ if le32(entry, 28) & 1 == 1 => return Err(unknown(guid, field)),
            _ => {
                reserved.push(region);
                continue;
            }
        };
        if slot.replace(region).is_some() {
            return Err(fault(
                ErrorKind::Corrupt,
                "region-table",
                field,
                format!("the region {guid} is listed twice"),
            ));
        }
        if region.end() > file_len {
            let wanted = usize::try_from(region.len).unwrap_or(usize::MAX);
            return Err(past_end(region.offset, wanted, file_len).in_format(Format::Vhdx));
        }
        reserved.push(region);
    }
    check_overlap(&mut reserved, table)?;
    let missing = |name: &str| {
        fault(
            ErrorKind::Corrupt,
            "region-table",
            table,
            format!("the region table does not list the {name}"),
        )
    };
    Ok(Regions {
        bat: bat.ok_or_else(|| missing("block allocation table"))?,
        metadata: metadata.ok_or_else(|| missing("metadata"))?,
        reserved,
    })
}

/// A region lies on whole MiB and not in the header, which takes the first.
fn check_place(entry: &[u8], guid: Guid, field: u64) -> Result<Region> {
    let region = Region {
        offset: le64(entry, 16),
        len: le32(entry, 24).into(),
    };
    let aligned = region.offset.is_multiple_of(MIB) && region.len.is_multiple_of(MIB);
    if !aligned
        || region.offset < MIB
        || region.len == 0
        || region.offset.checked_add(region.len).is_none()
    {
        return Err(fault(
            ErrorKind::Corrupt,
            "region-place",
            field,
            format!(
                "the region {guid} of {} bytes at byte {} is not on whole MiB",
                region.len, region.offset
            ),
        ));
    }
    Ok(region)
}

fn unknown(guid: Guid, field: u64) -> crate::Error {
    fault(
        ErrorKind::Unsupported,
        "unknown-region",
        field,
        format!("the image needs a region that is not known here: {guid}"),
    )
    .with_hint("rewrite it with the program that made it: `Convert-VHD`, for example")
}

fn check_overlap(reserved: &mut [Region], table: u64) -> Result<()> {
    reserved.sort_by_key(|region| region.offset);
    for pair in reserved.windows(2) {
        if pair[0].end() > pair[1].offset {
            return Err(fault(
                ErrorKind::Corrupt,
                "region-overlap",
                table,
                format!(
                    "the structures at the bytes {} and {} overlap",
                    pair[0].offset, pair[1].offset
                ),
            ));
        }
    }
    Ok(())
}
