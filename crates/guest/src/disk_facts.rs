//! What lies on the disk: partitions, volumes, filesystems, and how the guest puts them together.
//!
//! A part of [`crate::facts`], under the same rules.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::facts::{Device, Evidence, Fact, Fault};

/// A partition table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionTable {
    /// `gpt`, `mbr`, or `none` for a filesystem without a table.
    pub kind: String,
    /// Bytes of the sectors that it counts in, 512 or 4096; a machine's disk must have the same.
    #[serde(default = "usual_sector")]
    pub sector_size: u32,
    /// The partitions, in the table's order.
    pub partitions: Vec<Partition>,
}

fn usual_sector() -> u32 {
    512
}

/// One partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// The number Linux gives it, from 1; 0 for a disk without a table.
    pub number: u32,
    /// First byte on the virtual disk.
    pub offset: u64,
    /// Length in bytes.
    pub length: u64,
    /// Type GUID (lower case) or MBR type byte (`0x83`).
    pub type_code: String,
    /// GPT name, if any.
    pub name: Option<String>,
    /// `PARTUUID` as Linux prints it: the GPT's unique GUID, or in an MBR disk signature and number.
    pub uuid: Option<String>,
    /// Marked as the one to boot: MBR's active flag, GPT's legacy-BIOS attribute.
    #[serde(default)]
    pub bootable: bool,
    /// A GPT entry's attribute bits; 0 in an MBR.
    #[serde(default)]
    pub attributes: u64,
    /// What the partition holds, by its superblock.
    pub filesystem: Option<Filesystem>,
}

/// What a superblock says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filesystem {
    /// `ext4`, `xfs`, `vfat`, `lvm`, `luks`, `mdraid`, …
    pub kind: String,
    /// Volume label.
    pub label: Option<String>,
    /// Volume UUID.
    pub uuid: Option<String>,
    /// Version of the format where there are several: `2` of LUKS and UFS, `1.2` of RAID, `FAT32`.
    #[serde(default)]
    pub version: Option<String>,
    /// The superblock, as an offset on the virtual disk.
    pub evidence: Evidence,
}

/// What an LVM volume is called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeName {
    /// Its volume group.
    pub group: String,
    /// Its own name.
    pub name: String,
}

impl fmt::Display for VolumeName {
    /// `group/name`, as LVM's commands take it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.group, self.name)
    }
}

/// An LVM volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogicalVolume {
    /// What it is called.
    #[serde(flatten)]
    pub name: VolumeName,
    /// LVM's own UUID of it.
    pub uuid: String,
    /// Length in bytes.
    pub length: u64,
    /// What it holds, by its superblock.
    pub filesystem: Option<Filesystem>,
    /// Why it cannot be read, if so.
    pub fault: Option<Fault>,
}

/// The root filesystem and why it was taken for that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// Number of its partition, or of the one that holds its volume; 0 for a disk without a table.
    pub partition: u32,
    /// The LVM volume that it lies in, if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<VolumeName>,
    /// Where in its filesystem the root lies, if it is an ostree deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment: Option<String>,
    /// Filesystem, as in [`Filesystem::kind`].
    pub filesystem: String,
    /// What marks it as the root: the guest paths found there.
    pub evidence: Vec<Evidence>,
    /// Whether its files could be read.
    pub readable: bool,
    /// Why it is this one, if there were several to choose from.
    #[serde(default)]
    pub reason: Option<Fact<Reason>>,
}

/// Why one of several systems is taken for the one that boots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// The boot loader's default entry has it as `root=`.
    BootLoader,
    /// Its partition, or that of its `/boot`, is marked as the one to boot.
    BootFlag,
    /// Its partition has the type of a root in the Discoverable Partitions Specification.
    PartitionType,
    /// It has most of the files that a system has.
    Files,
    /// It is the largest.
    Size,
    /// It comes first.
    Order,
}

/// An operating system on the disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct System {
    /// Number of its partition, or of the one that holds its volume; 0 for a disk without a table.
    pub partition: u32,
    /// The LVM volume that it lies in, if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<VolumeName>,
    /// Filesystem, as in [`Filesystem::kind`].
    pub filesystem: String,
    /// What it is called, if its files tell.
    pub name: Option<String>,
    /// Whether it is the one that boots, and that the report is about.
    pub boots: bool,
    /// What marks it as a system.
    pub evidence: Vec<Evidence>,
}

/// What a disk without a supported system is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Content {
    /// Windows.
    Windows,
    /// DOS or a system like it.
    Dos,
    /// An installation medium or live system on an ISO 9660 filesystem.
    Installer,
    /// Nothing at all.
    Empty,
}

/// A mounted filesystem besides the root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Mount point.
    pub path: String,
    /// Number of the partition, or of the one that holds the volume, if the image has it.
    pub partition: Option<u32>,
    /// The LVM volume, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<VolumeName>,
    /// Whether its files are seen by this inspection.
    pub readable: bool,
    /// The line of `/etc/fstab`, or what else it is mounted for.
    pub evidence: Evidence,
}

/// A line of `/etc/fstab`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FstabLine {
    /// What is mounted, as written: `UUID=…`, `/dev/vda2`, `tmpfs`.
    pub device: String,
    /// Where; `none` for swap.
    pub mount_point: String,
    /// Type of the filesystem, as written.
    pub kind: String,
    /// Options, as written.
    pub options: String,
    /// What `device` means in this image.
    pub source: FstabSource,
    /// Whether a machine will have it.
    pub availability: Device,
    /// The line.
    pub evidence: Evidence,
}

/// What the first field of a line of `/etc/fstab` means in an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "found", rename_all = "kebab-case")]
pub enum FstabSource {
    /// A partition of the image.
    Partition {
        /// Its number, 0 for a disk without a table.
        number: u32,
    },
    /// An LVM volume in the image.
    Volume(VolumeName),
    /// Nothing that could be missing: `tmpfs`, `proc` and the like.
    None,
    /// A file or directory of the guest itself: a swap file, a bind mount.
    File,
    /// A server.
    Network,
    /// An optical or floppy drive.
    Removable,
    /// A device that the image does not have.
    Absent,
    /// It may lie in a part of the image that cannot be looked into: encrypted, a RAID member.
    Unknown,
}
