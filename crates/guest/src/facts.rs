//! What was found in an image, each thing with the place it was found at.
//!
//! Everything here is plain data: [`crate::inspect`] fills it in, the rules read it, and the
//! report carries it. A fact that could not be established is absent (`None` or an empty list),
//! never guessed. Every string that comes from the guest has passed [`crate::text::clean`], so it
//! holds no control characters and may be printed.

use serde::{Deserialize, Serialize};

pub use crate::cloud_facts::{Agent, CloudInit, CloudUsers, Growth, Renderers};
pub use crate::disk_facts::{
    Content, Filesystem, FstabLine, FstabSource, LogicalVolume, Mount, Partition, PartitionTable,
    Reason, Root, System, VolumeName,
};

/// Where something was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Absolute path in the guest.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub path: Option<String>,
    /// Line in that file, from 1.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub line: Option<u32>,
    /// The line itself, a link target, or the value found.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub text: Option<String>,
    /// Byte offset: on the virtual disk for facts, in the image file for container errors.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub offset: Option<u64>,
    /// Where that is, if not in the image: what was seen when it was booted.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub from: Option<Origin>,
}

/// By what something was seen of an image that was booted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// The machine's serial console printed it; a line number counts its lines.
    SerialLog,
    /// The machine sent it over the network, from port 22.
    Network,
    /// It was on the machine's disk afterwards.
    BootedDisk,
}

impl Evidence {
    /// The same place, `bytes` further on, if it is one on the disk.
    pub(crate) fn further(&self, bytes: u64) -> Self {
        Self {
            offset: self.offset.map(|offset| offset.saturating_add(bytes)),
            ..self.clone()
        }
    }

    /// Something at `path` in the guest.
    pub fn path(path: impl Into<String>) -> Self {
        Self {
            path: Some(path.into()),
            ..Self::default()
        }
    }

    /// Something at byte `offset`.
    pub fn offset(offset: u64) -> Self {
        Self {
            offset: Some(offset),
            ..Self::default()
        }
    }

    /// Something that has no place, only a value.
    pub fn text(text: impl Into<String>) -> Self {
        Self {
            text: Some(text.into()),
            ..Self::default()
        }
    }

    /// Adds the line number, from 1.
    #[must_use]
    pub fn at_line(mut self, line: u32) -> Self {
        self.line = Some(line);
        self
    }

    /// Adds the text found there.
    #[must_use]
    pub fn saying(mut self, text: impl Into<String>) -> Self {
        self.text = Some(text.into());
        self
    }
}

/// A value and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact<T> {
    /// The value.
    pub value: T,
    /// Where it was seen, the decisive place first.
    pub evidence: Vec<Evidence>,
}

impl<T> Fact<T> {
    /// A value seen at one place.
    pub fn new(value: T, evidence: Evidence) -> Self {
        Self {
            value,
            evidence: vec![evidence],
        }
    }
}

/// What the caller knows of the file that the disk lies in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// Compression around the image, outermost first: `gzip`, `bzip2`, `xz` or `zstd`.
    #[serde(default)]
    pub layers: Vec<String>,
    /// Format as `qemu-img` names it; `None` if it was not recognised.
    pub format: Option<String>,
    /// Size of the file as given, in bytes.
    pub file_size: Option<u64>,
    /// Size of the disk a guest sees, in bytes.
    pub virtual_size: Option<u64>,
    /// Oddities that did not prevent opening, one sentence each.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// Everything found in an image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// The file around the disk.
    pub container: Container,
    /// The partition table, if there is one.
    pub partition_table: Option<PartitionTable>,
    /// The LVM volumes in those partitions.
    #[serde(default)]
    pub volumes: Vec<LogicalVolume>,
    /// How firmware can start the image.
    pub boot: Boot,
    /// The filesystem that holds the operating system.
    pub root: Option<Root>,
    /// All operating systems on the disk, the one that boots among them.
    #[serde(default)]
    pub systems: Vec<System>,
    /// What the disk holds instead of a supported system.
    #[serde(default)]
    pub content: Option<Fact<Content>>,
    /// Other filesystems of the image that the guest's own fstab mounts.
    #[serde(default)]
    pub mounts: Vec<Mount>,
    /// All lines of `/etc/fstab`, and what the image has of them.
    #[serde(default)]
    pub fstab: Vec<FstabLine>,
    /// The operating system.
    pub os: Option<Os>,
    /// Processor architecture, as Debian and `uname -m` users know it: `x86_64`, `aarch64`.
    pub architecture: Option<Fact<String>>,
    /// The init system.
    pub init: Option<Fact<Init>>,
    /// Kernels in `/boot`, by version.
    #[serde(default)]
    pub kernels: Vec<Fact<String>>,
    /// The serial console on the kernel command line, such as `ttyS0,115200`.
    pub serial_console: Option<Fact<String>>,
    /// What the boot loader starts.
    #[serde(default)]
    pub boot_entry: Option<BootEntry>,
    /// Drivers of the kernel that boots.
    #[serde(default)]
    pub drivers: Option<Drivers>,
    /// What belongs to one machine or one person.
    #[serde(default)]
    pub identity: Identity,
    /// Network configuration that fits one machine only.
    #[serde(default)]
    pub pinned_network: Vec<Fact<Pinned>>,
    /// cloud-init.
    pub cloud_init: CloudInit,
    /// Other programs that set up a machine on its first boot.
    #[serde(default)]
    pub agents: Vec<Agent>,
    /// The SSH server.
    pub sshd: Sshd,
    /// Why the root filesystem could not be looked into, or only in part.
    #[serde(default)]
    pub faults: Vec<Fault>,
}

impl Facts {
    /// The UUIDs of all filesystems, and of what lies in the place of one. Two disks that have one in common
    /// confuse a guest that sees both.
    pub fn filesystem_uuids(&self) -> impl Iterator<Item = &str> {
        let partitions = self.partition_table.iter().flat_map(|t| &t.partitions);
        let partitions = partitions.filter_map(|partition| partition.filesystem.as_ref());
        let volumes = self.volumes.iter().filter_map(|v| v.filesystem.as_ref());
        partitions
            .chain(volumes)
            .filter_map(|filesystem| filesystem.uuid.as_deref())
    }
}

/// How firmware can start the image. Judged from what lies on the disk, not by booting.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Boot {
    /// Boot code in the first sector, and with a GPT a BIOS boot partition.
    pub bios: bool,
    /// A program under the fallback name of UEFI, `EFI/BOOT/BOOTX64.EFI` or the like.
    pub uefi: bool,
    /// An EFI system partition.
    #[serde(default)]
    pub efi_partition: bool,
    /// Programs in the EFI system partition, as paths in it.
    #[serde(default)]
    pub efi_programs: Vec<String>,
    /// The boot loader, if it is one that is known: `grub`, `systemd-boot`, …
    #[serde(default)]
    pub loader: Option<Fact<String>>,
    /// What was seen.
    #[serde(default)]
    pub evidence: Vec<Evidence>,
}

/// What the boot loader starts when nobody chooses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootEntry {
    /// The kernel, if the entry names one.
    pub kernel: Option<BootFile>,
    /// The initrds.
    #[serde(default)]
    pub initrds: Vec<BootFile>,
    /// `root=` of the kernel command line.
    pub root: Option<RootArgument>,
    /// The line of the boot loader's configuration.
    pub evidence: Vec<Evidence>,
}

/// A file that a boot loader reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootFile {
    /// As the boot loader's configuration has it.
    pub path: String,
    /// Whether it is there.
    pub present: bool,
}

/// What the kernel is told to mount as its root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootArgument {
    /// `UUID=…`, `/dev/vda1`, …
    pub value: String,
    /// Whether a machine will have it.
    pub device: Device,
}

/// Whether a machine made from the image will have a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Device {
    /// It is a part of the image.
    Present,
    /// It is no part of the image.
    Absent,
    /// It is a part of the image, under a name that a virtio disk does not have: `/dev/sda1`.
    OtherName,
    /// This could not be told.
    Unknown,
}

/// Drivers for the disk and the network card of a machine, in the kernel that boots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drivers {
    /// Version of the kernel.
    pub kernel: String,
    /// Those of virtio_pci, virtio_blk and virtio_net that were found, each with the place.
    pub found: Vec<Fact<String>>,
    /// Those that were not.
    pub missing: Vec<String>,
    /// The setting by which the initrd holds only what the machine needed that made it.
    #[serde(default)]
    pub initrd_of_one_machine: Option<Evidence>,
}

/// What belongs to one machine or one person.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Files with a machine id.
    #[serde(default)]
    pub machine_id: Vec<Evidence>,
    /// Private host keys of the SSH server.
    #[serde(default)]
    pub host_keys: Vec<Evidence>,
    /// Public keys that let somebody in.
    #[serde(default)]
    pub authorized_keys: Vec<Evidence>,
    /// Private keys in home directories.
    #[serde(default)]
    pub private_keys: Vec<Evidence>,
    /// Whether root has a password, or needs none.
    pub root_password: Option<Fact<bool>>,
}

/// How a network configuration is tied to one machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pinned {
    /// By an address that is written down.
    Address,
    /// By the hardware address of a network card.
    Hardware,
}

/// The operating system.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Os {
    /// `linux`, `freebsd`, `windows`, …
    pub family: String,
    /// os-release `ID`: `debian`.
    pub id: Option<String>,
    /// os-release `ID_LIKE`, split.
    #[serde(default)]
    pub id_like: Vec<String>,
    /// os-release `PRETTY_NAME`, else `NAME`.
    pub name: Option<String>,
    /// os-release `VERSION_ID`.
    pub version: Option<String>,
    /// os-release `SUPPORT_END`: the last day with security updates, as `2026-06-30`.
    #[serde(default)]
    pub support_end: Option<Fact<String>>,
    /// Where this was read.
    pub evidence: Vec<Evidence>,
}

/// The program that starts everything else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Init {
    /// systemd.
    Systemd,
    /// OpenRC, usually under BusyBox init.
    OpenRc,
    /// SysV init with runlevel directories.
    SysV,
    /// The rc.d of a BSD.
    Bsd,
    /// Present, but none of the above.
    Other,
}

/// Whether something starts by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Enablement {
    /// It starts on boot.
    Enabled,
    /// It is there and does not start.
    Disabled,
    /// This could not be told.
    #[default]
    Unknown,
}

/// The SSH server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sshd {
    /// `openssh` or `dropbear`, and its program.
    pub server: Option<Fact<String>>,
    /// Whether it starts on boot. The evidence says why.
    pub enablement: Option<Fact<Enablement>>,
    /// The firewall inside the guest that is in the way.
    #[serde(default)]
    pub firewall: Option<Evidence>,
    /// `Port`, if set.
    pub port: Option<Fact<String>>,
    /// `PermitRootLogin`, if set.
    pub permit_root_login: Option<Fact<String>>,
    /// `PasswordAuthentication`, if set.
    pub password_authentication: Option<Fact<String>>,
}

/// Something that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// Permanent kebab-case name: `filesystem-corrupt`, `filesystem-unsupported`, `file-too-large`, …
    pub code: String,
    /// One sentence in English, from the layer that failed.
    pub detail: String,
    /// Where.
    pub evidence: Evidence,
}
