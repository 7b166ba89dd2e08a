//! Partition tables: which parts of a disk belong to whom.
//!
//! [`read`] understands MBR (with logical partitions) and GPT (512- and 4096-byte sectors, both
//! copies), and numbers and names partitions as Linux does, so that `/dev/sda5` and `PARTUUID=` in
//! a guest's files can be followed. A disk whose MBR has a protective entry is a GPT disk, as for
//! Linux.

mod gpt;
mod guid;
mod mbr;

use std::fmt;

use crate::{Error, ErrorKind, Range, Result, Source};
pub use guid::Guid;

/// Which kind of table was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Master boot record, "msdos".
    Mbr,
    /// GUID partition table.
    Gpt,
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mbr => "MBR",
            Self::Gpt => "GPT",
        })
    }
}

/// What a partition is for, as its table says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PartitionType {
    /// The type byte of an MBR entry.
    Mbr(u8),
    /// The type GUID of a GPT entry.
    Gpt(Guid),
}

impl fmt::Display for PartitionType {
    /// `0x83`, or the GUID in lower case.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mbr(byte) => write!(f, "{byte:#04x}"),
            Self::Gpt(guid) => guid.fmt(f),
        }
    }
}

impl PartitionType {
    /// A name for people, `unknown` if there is none.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mbr(byte) => mbr::type_name(byte),
            Self::Gpt(guid) => guid::type_name(guid),
        }
    }
}

/// How an MBR partition is described; in a GPT all are primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// An entry of the table itself.
    Primary,
    /// The container of the logical partitions; it holds no file system.
    Extended,
    /// Inside the extended partition.
    Logical,
}

/// One partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// The number in Linux' device name: the 2 of `/dev/sda2`.
    pub number: u32,
    /// First byte on the disk.
    pub start: u64,
    /// Length in bytes, never zero; the end is within the disk.
    pub len: u64,
    /// Type byte or GUID.
    pub kind: PartitionType,
    /// Primary, extended or logical.
    pub role: Role,
    /// The GPT's name, without control characters; empty in an MBR.
    pub name: String,
    /// `PARTUUID` as Linux prints it.
    pub part_uuid: String,
    /// Marked as the one to boot: MBR's active flag, GPT's legacy-BIOS attribute.
    pub bootable: bool,
    /// A GPT entry's attribute bits; what the upper 16 mean depends on the type. 0 in an MBR.
    pub attributes: u64,
}

impl Partition {
    /// Where GRUB keeps its core image on a GPT disk booted by a BIOS.
    pub fn is_bios_boot(&self) -> bool {
        self.kind == PartitionType::Gpt(Guid::BIOS_BOOT)
    }

    /// An EFI system partition.
    pub fn is_efi_system(&self) -> bool {
        matches!(
            self.kind,
            PartitionType::Gpt(Guid::EFI_SYSTEM) | PartitionType::Mbr(0xef)
        )
    }

    /// The partition's bytes as a source of their own.
    ///
    /// # Errors
    /// If `disk` is smaller than the disk that the table was read from.
    pub fn open<S: Source>(&self, disk: S) -> Result<Range<S>> {
        Range::new(disk, self.start, self.len)
    }
}

/// A partition table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// MBR or GPT.
    pub scheme: Scheme,
    /// The sector size that offsets are counted in: 512 or 4096.
    pub sector_size: u32,
    /// `PTUUID` as Linux prints it: the GPT's disk GUID or the MBR's 8-digit signature.
    pub disk_id: String,
    /// By number. Entries that do not lie on the disk are left out, with a warning.
    pub partitions: Vec<Partition>,
    /// The end of the last partition that the table speaks of, in bytes, whether or not the disk
    /// reaches that far: a larger value than the disk's size means that the disk was cut off.
    pub required_len: u64,
    /// Whether the first sector holds boot code for a BIOS (any of its 440 bytes is not zero).
    pub boot_code: bool,
    /// Oddities, each a sentence.
    pub warnings: Vec<String>,
}

/// Reads the partition table of `disk`.
///
/// Reads a few kilobytes, whatever the table says.
///
/// # Errors
/// [`ErrorKind::NotRecognised`], code `no-partition-table`, if there is none;
/// [`ErrorKind::Corrupt`], code `gpt`, if the MBR announces a GPT but neither copy is intact.
pub fn read<S: Source>(disk: &S) -> Result<Table> {
    let Some(sector) = mbr::Sector::read(disk)? else {
        // Linux wants the protective MBR; firmware and we do not insist.
        let mut table = gpt::read(disk)?.ok_or_else(no_table)?;
        table.warnings.insert(
            0,
            "there is no protective MBR, without which Linux ignores the GPT".to_owned(),
        );
        return Ok(table);
    };
    if sector.is_protective() {
        if let Some(mut table) = gpt::read(disk)? {
            table.boot_code = sector.boot_code();
            return Ok(table);
        }
        return Err(Error::new(
            ErrorKind::Corrupt,
            "gpt",
            "the MBR announces a GPT, but neither the first nor the last copy is intact",
        )
        .at(512)
        .with_hint("look at it and repair it with `gdisk`"));
    }
    match mbr::read(disk, &sector)? {
        Some(table) => Ok(table),
        None => Err(no_table()),
    }
}

fn no_table() -> Error {
    Error::new(
        ErrorKind::NotRecognised,
        "no-partition-table",
        "there is neither an MBR nor a GPT partition table",
    )
}
