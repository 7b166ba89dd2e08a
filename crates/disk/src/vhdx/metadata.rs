//! The metadata (section 2.6): block size, virtual size, sector size.
//!
//! | Dec | Hex | Len | Name |
//! |----:|----:|----:|------|
//! |   0 |  00 |   8 | signature `metadata` |
//! |  10 |  0a |   2 | number of entries, at most 2047 |
//! |  32 |  20 | 32 each | GUID, offset in the region (16), length (20), flags (24) |

use super::region::Region;
use super::{fault, read_structure};
use crate::bytes::{has, le16, le32, le64};
use crate::partition::Guid;
use crate::{Error, ErrorKind, Format, Limits, Result, Source};

const TABLE_LEN: usize = 64 << 10;
const MAX_ENTRIES: u16 = 2047;
/// The largest virtual size that the format allows: 64 TiB.
const MAX_SIZE: u64 = 64 << 40;
/// Flag of an entry: who does not know the item must not open the image.
const REQUIRED: u32 = 1 << 2;
/// File parameters: the disk is a difference to a parent.
const HAS_PARENT: u32 = 1 << 1;

const FILE_PARAMETERS: Guid = Guid::new(0xcaa1_6737, 0xfa36, 0x4d43, 0xb3b6_33f0_aa44_e76b);
const VIRTUAL_SIZE: Guid = Guid::new(0x2fa5_4224, 0xcd1b, 0x4876, 0xb211_5dbe_d83b_f4b8);
const DISK_ID: Guid = Guid::new(0xbeca_12ab, 0xb2e6, 0x4523, 0x93ef_c309_e000_c746);
const LOGICAL_SECTOR: Guid = Guid::new(0x8141_bf1d, 0xa96f, 0x4709, 0xba47_f233_a8fa_ab5f);
const PHYSICAL_SECTOR: Guid = Guid::new(0xcda3_48c7, 0x445d, 0x4471, 0x9cc9_e988_5251_c556);
const PARENT_LOCATOR: Guid = Guid::new(0xa8d3_5f2d, 0xb30b, 0x454d, 0xabf7_d3d8_4834_ab0c);

/// The items whose values are read: GUID, name for messages, length in bytes.
const READ: [(Guid, &str, u32); 4] = [
    (FILE_PARAMETERS, "file parameters", 8),
    (VIRTUAL_SIZE, "virtual size", 8),
    (LOGICAL_SECTOR, "logical sector size", 4),
    (PHYSICAL_SECTOR, "physical sector size", 4),
];

/// What the rest of the reader needs from the metadata.
#[derive(Debug, Clone, Copy)]
pub(super) struct Metadata {
    /// log2 of the block size, 20 to 28.
    pub block_bits: u32,
    /// Virtual size in bytes.
    pub size: u64,
    /// log2 of the logical sector size, 9 or 12.
    pub sector_bits: u32,
}

/// An item: where its bytes lie in the file, and what they are, read as one number.
#[derive(Clone, Copy)]
struct Item {
    offset: u64,
    value: u64,
}

fn corrupt(code: &'static str, offset: u64, message: String) -> Error {
    fault(ErrorKind::Corrupt, code, offset, message)
}

fn parent(offset: u64) -> Error {
    fault(
        ErrorKind::Refused,
        "parent",
        offset,
        "the image is only a difference to a parent file, which is never opened",
    )
    .with_hint(
        "where the parent is, make a self-contained image: merge it with `Merge-VHD`, or export \
         the virtual machine",
    )
}

impl Metadata {
    /// Reads and checks the items in `region`, which lies within the file.
    pub(super) fn read<S: Source>(source: &S, region: Region, limits: &Limits) -> Result<Self> {
        // In the order of `READ`.
        let [parameters, size, logical, physical] = items(source, region)?;
        let block_size = parameters.value & u64::from(u32::MAX);
        if parameters.value >> 32 & u64::from(HAS_PARENT) != 0 {
            return Err(parent(parameters.offset + 4));
        }
        if !block_size.is_power_of_two() || !(1 << 20..=256 << 20).contains(&block_size) {
            return Err(corrupt(
                "block-size",
                parameters.offset,
                format!("blocks of {block_size} bytes; powers of 2 from 1 to 256 MiB are allowed"),
            ));
        }
        for (item, name) in [(logical, "logical"), (physical, "physical")] {
            if !matches!(item.value, 512 | 4096) {
                return Err(corrupt(
                    "sector-size",
                    item.offset,
                    format!(
                        "{name} sectors of {} bytes; 512 and 4096 are allowed",
                        item.value
                    ),
                ));
            }
        }
        check_size(size, logical.value)?;
        limits
            .check(size.value)
            .map_err(|e| e.in_format(Format::Vhdx).at(size.offset))?;
        Ok(Self {
            block_bits: block_size.trailing_zeros(),
            size: size.value,
            sector_bits: logical.value.trailing_zeros(),
        })
    }
}

fn check_size(size: Item, sector: u64) -> Result<()> {
    if size.value == 0 {
        return Err(corrupt(
            "empty-disk",
            size.offset,
            "the virtual disk has a size of 0 bytes".to_owned(),
        ));
    }
    if size.value > MAX_SIZE || !size.value.is_multiple_of(sector) {
        return Err(corrupt(
            "virtual-size",
            size.offset,
            format!(
                "a virtual disk of {} bytes; whole sectors up to 64 TiB are allowed",
                size.value
            ),
        ));
    }
    Ok(())
}

/// The values of the items in [`READ`]; refuses what is required and unknown.
fn items<S: Source>(source: &S, region: Region) -> Result<[Item; 4]> {
    let table = read_structure(source, region.offset, TABLE_LEN)?;
    let count = le16(&table, 10);
    if !has(&table, 0, b"metadata") || count > MAX_ENTRIES {
        return Err(corrupt(
            "metadata-table",
            region.offset,
            "the metadata table is damaged".to_owned(),
        ));
    }
    let mut found = [None; 4];
    for (index, entry) in table[32..].chunks_exact(32).take(count.into()).enumerate() {
        let field = region.offset + 32 + index as u64 * 32;
        let guid = Guid::from_bytes(entry, 0);
        let known = READ
            .iter()
            .zip(&mut found)
            .find(|((id, ..), _)| *id == guid);
        let Some(((_, name, len), slot)) = known else {
            match guid {
                PARENT_LOCATOR => return Err(parent(field)),
                DISK_ID => {}
                _ if le32(entry, 24) & REQUIRED != 0 => return Err(unknown(guid, field)),
                _ => {}
            }
            continue;
        };
        let item = read_item(source, region, entry, *len)?;
        if item.is_none() || slot.is_some() {
            return Err(corrupt(
                "metadata-item",
                field,
                format!("the metadata entry of the {name} is not valid"),
            ));
        }
        *slot = item;
    }
    let mut values = [Item {
        offset: 0,
        value: 0,
    }; 4];
    for ((value, item), (_, name, _)) in values.iter_mut().zip(found).zip(READ) {
        *value = item.ok_or_else(|| {
            corrupt(
                "metadata-item",
                region.offset,
                format!("the metadata do not tell the {name}"),
            )
        })?;
    }
    Ok(values)
}

/// The item that `entry` speaks of, if it lies in the region and has `len` bytes, at most 8.
fn read_item<S: Source>(
    source: &S,
    region: Region,
    entry: &[u8],
    len: u32,
) -> Result<Option<Item>> {
    let (at, stated) = (le32(entry, 16), le32(entry, 20));
    let end = u64::from(at) + u64::from(len);
    if stated != len || (at as usize) < TABLE_LEN || end > region.len {
        return Ok(None);
    }
    let offset = region.offset + u64::from(at);
    let mut bytes = read_structure(source, offset, len as usize)?;
    bytes.resize(8, 0);
    Ok(Some(Item {
        offset,
        value: le64(&bytes, 0),
    }))
}

fn unknown(guid: Guid, field: u64) -> Error {
    fault(
        ErrorKind::Unsupported,
        "unknown-metadata",
        field,
        format!("the image needs metadata that are not known here: {guid}"),
    )
    .with_hint("rewrite it with the program that made it: `Convert-VHD`, for example")
}
