//! What of the disk can hold a filesystem, and the names that a guest has for it.
//!
//! A [`BlockDevice`] is a partition, or an LVM volume in one. [`Devices::find`] answers the question that `/etc/fstab` and the
//! kernel's `root=` ask: which one does `UUID=…`, `/dev/disk/by-label/…` or `/dev/vda2` mean? Names
//! as in fstab(5), and in udev's `60-persistent-storage.rules`.

use std::sync::Arc;

use abbild_disk::{Disk, Range, Source, lvm};
use ext4_view::Ext4;

use super::from_disk;
use crate::facts::{
    Device, Evidence, Fault, Filesystem, FstabSource, LogicalVolume, Partition, VolumeName,
};
use crate::fs::{self, superblock};
use crate::text::clean;

/// LVM physical volumes read.
const MAX_PHYSICAL: usize = 16;
/// Types of a root in the Discoverable Partitions Specification: x86-64, x86, 64-bit ARM.
const ROOT_TYPES: [&str; 3] = [
    "4f68bce3-e8cd-4db1-96e7-fbcaf984b709",
    "44479540-f297-41b2-9af7-d131d5f0458a",
    "b921b045-1df0-41c3-af44-4c6f280d3fae",
];
/// The same for `/usr`, and Flatcar's.
const USR_TYPES: [&str; 4] = [
    "8484680c-9521-48c6-9c11-b0720656f69e",
    "75250d76-8cc6-458e-bd66-bd47cc81a812",
    "b0e01050-ee5f-4390-949a-9101b17104e9",
    FLATCAR_USR_TYPE,
];
/// `/boot` as a partition of its own, in the same specification.
const BOOT_TYPE: &str = "bc13c2ff-59e6-4262-a352-b275fd6f7172";
/// Flatcar's, from `build_library/disk_layout.json` and `disk_util` of flatcar/scripts.
const FLATCAR_ROOT_TYPE: &str = "3884dd41-8582-4404-b9a8-e9b84f2df50e";
const FLATCAR_USR_TYPE: &str = "5dfbf5f4-2848-4bac-aa5e-0d9a20b745a6";
/// Volumes of a group looked into.
const MAX_VOLUMES: usize = 64;

/// What a block device is.
pub(super) enum What {
    Partition(Partition),
    Volume(LogicalVolume),
}

/// A partition or an LVM volume.
pub(crate) struct BlockDevice {
    pub(super) what: What,
    /// Number of the partition, or of the first one that the volume's group lies in.
    pub(super) number: u32,
    /// Its bytes; `None` if they cannot be read, which a fault tells.
    source: Option<Arc<dyn Source>>,
    /// Where its first byte is, as a finding shows it.
    origin: Evidence,
    /// What could not be read of it.
    pub(super) faults: Vec<Fault>,
}

impl BlockDevice {
    fn partition<D: Disk + 'static>(disk: &Arc<D>, partition: Partition) -> Self {
        let number = partition.number;
        let origin = Evidence::offset(partition.offset);
        let source = Range::new(Arc::clone(disk), partition.offset, partition.length);
        Self::new(What::Partition(partition), number, origin, source)
    }

    fn volume(group: &str, number: u32, volume: &lvm::LogicalVolume<Arc<dyn Source>>) -> Self {
        let name = VolumeName {
            group: clean(group),
            name: clean(volume.name()),
        };
        let origin = Evidence::text(name.to_string());
        let fact = LogicalVolume {
            name,
            uuid: clean(volume.uuid()),
            length: volume.size(),
            filesystem: None,
            fault: None,
        };
        let mut device = Self::new(What::Volume(fact), number, origin, volume.open());
        if let What::Volume(fact) = &mut device.what
            && device.source.is_none()
        {
            fact.fault = device.faults.first().cloned();
        }
        device
    }

    fn new<S: Source + 'static>(
        what: What,
        number: u32,
        origin: Evidence,
        source: abbild_disk::Result<S>,
    ) -> Self {
        let mut device = Self {
            what,
            number,
            source: None,
            origin,
            faults: Vec::new(),
        };
        match source.and_then(|source| {
            let found = superblock::probe(&source, &device.origin);
            device.source = Some(Arc::new(source));
            found
        }) {
            Ok(found) => match &mut device.what {
                What::Partition(partition) => partition.filesystem = found,
                What::Volume(volume) => volume.filesystem = found,
            },
            Err(error) => device.faults.push(from_disk(&error)),
        }
        device
    }

    /// What its superblock says.
    pub(super) fn filesystem(&self) -> Option<&Filesystem> {
        match &self.what {
            What::Partition(partition) => partition.filesystem.as_ref(),
            What::Volume(volume) => volume.filesystem.as_ref(),
        }
    }

    /// The name of what it holds; empty if unknown.
    pub(super) fn kind(&self) -> &str {
        self.filesystem().map_or("", |found| found.kind.as_str())
    }

    /// The same for a root that may lie in a volume that cannot be read.
    pub(super) fn kind_of_root(&self) -> &str {
        match self.kind() {
            "" => "lvm",
            kind => kind,
        }
    }

    /// The partition, if it is one.
    pub(super) fn as_partition(&self) -> Option<&Partition> {
        match &self.what {
            What::Partition(partition) => Some(partition),
            What::Volume(_) => None,
        }
    }

    /// Its bytes, if they can be read.
    pub(super) fn source(&self) -> Option<&Arc<dyn Source>> {
        self.source.as_ref()
    }

    /// Length in bytes.
    pub(super) fn length(&self) -> u64 {
        match &self.what {
            What::Partition(partition) => partition.length,
            What::Volume(volume) => volume.length,
        }
    }

    /// Its name, if it is a volume.
    pub(super) fn volume_name(&self) -> Option<&VolumeName> {
        match &self.what {
            What::Partition(_) => None,
            What::Volume(volume) => Some(&volume.name),
        }
    }

    /// Whether it holds ext2, ext3 or ext4.
    pub(super) fn is_ext(&self) -> bool {
        self.kind().starts_with("ext")
    }

    /// Whether it has contents that cannot be looked into, and may hold anything.
    fn is_opaque(&self) -> bool {
        matches!(self.kind(), "luks" | "bitlocker" | "mdraid")
            || matches!(&self.what, What::Volume(volume) if volume.fault.is_some())
            || (self.kind() == "lvm" && !self.faults.is_empty())
    }

    /// Its files, if they lie in ext2, ext3 or ext4.
    pub(super) fn open(&self) -> Option<Result<Ext4, Box<Fault>>> {
        let source = self.source.as_ref().filter(|_| self.is_ext())?;
        Some(fs::open(Arc::clone(source), &self.origin))
    }

    /// Whether it goes by `value` under `tag`, a tag of fstab(5) or the name of a directory in
    /// `/dev/disk`.
    fn is_tagged(&self, tag: &str, value: &str) -> bool {
        let same = |own: Option<&String>| own.is_some_and(|own| own.eq_ignore_ascii_case(value));
        let label = self.filesystem().and_then(|found| found.label.as_deref());
        let uuid = self.filesystem().and_then(|found| found.uuid.as_ref());
        match (tag, &self.what) {
            ("label", _) => label == Some(value),
            ("uuid", _) => same(uuid),
            ("partlabel", What::Partition(partition)) => partition.name.as_deref() == Some(value),
            ("partuuid", What::Partition(partition)) => same(partition.uuid.as_ref()),
            ("id", What::Volume(volume)) => {
                value.strip_prefix("dm-name-") == Some(mapper_name(&volume.name).as_str())
            }
            _ => false,
        }
    }

    /// Whether `path`, without `/dev`, is a name of it.
    fn is_called(&self, path: &str) -> bool {
        match &self.what {
            What::Partition(partition) => partition_number(path) == Some(partition.number),
            What::Volume(volume) => {
                path.strip_prefix("mapper/") == Some(mapper_name(&volume.name).as_str())
                    || path == volume.name.to_string()
            }
        }
    }
}

/// All of them.
pub(crate) struct Devices(pub(super) Vec<BlockDevice>);

impl Devices {
    /// The partitions, and the volumes in them. Oddities of the latter become `warnings`.
    pub(super) fn read<D: Disk + 'static>(
        disk: &Arc<D>,
        partitions: Vec<Partition>,
        warnings: &mut Vec<String>,
    ) -> Self {
        let partitions = partitions.into_iter();
        let mut devices: Vec<_> = partitions
            .map(|partition| BlockDevice::partition(disk, partition))
            .collect();
        let physical: Vec<(usize, Arc<dyn Source>)> = devices
            .iter()
            .enumerate()
            .filter(|(_, device)| device.kind() == "lvm")
            .filter_map(|(index, device)| Some((index, device.source.clone()?)))
            .take(MAX_PHYSICAL)
            .collect();
        let sources: Vec<_> = physical.iter().map(|(_, source)| source).collect();
        for members in lvm::divide(&sources) {
            let members = members
                .iter()
                .filter_map(|&position| physical.get(position));
            let (indexes, sources): (Vec<usize>, Vec<_>) = members.cloned().unzip();
            let Some(first) = indexes.first().and_then(|&index| devices.get_mut(index)) else {
                continue;
            };
            match lvm::open(sources) {
                Ok(group) => {
                    let number = first.number;
                    warnings.extend(group.warnings().iter().map(clean));
                    let volumes = group.volumes().iter();
                    devices.extend(
                        volumes
                            .take(MAX_VOLUMES)
                            .map(|volume| BlockDevice::volume(group.name(), number, volume)),
                    );
                }
                Err(error) => first.faults.push(from_disk(&error)),
            }
        }
        Self(devices)
    }

    /// The one that `name` means, as its index; `None` if the image has none of this name.
    ///
    /// Device names are taken to mean the only disk, whatever the driver calls it.
    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        let name = name.replace('"', "");
        if let Some((tag, value)) = name.split_once('=') {
            return self.tagged(&tag.to_ascii_lowercase(), value);
        }
        let path = name.strip_prefix("/dev/")?;
        if let Some((directory, value)) = path
            .strip_prefix("disk/by-")
            .and_then(|rest| rest.split_once('/'))
        {
            return self.tagged(directory, &udev_unescape(value));
        }
        self.0.iter().position(|device| device.is_called(path))
    }

    fn tagged(&self, tag: &str, value: &str) -> Option<usize> {
        let mut devices = self.0.iter();
        devices.position(|device| device.is_tagged(tag, value))
    }

    /// What `name` means in this image.
    pub(crate) fn source(&self, name: &str) -> FstabSource {
        match self.find(name).and_then(|index| self.0.get(index)) {
            Some(device) => match &device.what {
                What::Partition(partition) => FstabSource::Partition {
                    number: partition.number,
                },
                What::Volume(volume) => FstabSource::Volume(volume.name.clone()),
            },
            None if self.may_hide(name) => FstabSource::Unknown,
            None => FstabSource::Absent,
        }
    }

    /// Whether `name` may mean something inside a device that cannot be looked into.
    fn may_hide(&self, name: &str) -> bool {
        let outer = ["PARTUUID=", "PARTLABEL=", "/dev/disk/by-part"];
        let path = name.strip_prefix("/dev/").unwrap_or("");
        !outer.iter().any(|prefix| name.starts_with(prefix))
            && partition_number(path).is_none()
            && self.0.iter().any(BlockDevice::is_opaque)
    }

    /// Whether a machine made from the image will have what `name` means.
    pub(crate) fn availability(&self, name: &str) -> Device {
        let path = name.strip_prefix("/dev/").unwrap_or("");
        let number = partition_number(path);
        let is_known_kind = number.is_some()
            || [
                "UUID=",
                "LABEL=",
                "PARTUUID=",
                "PARTLABEL=",
                "/dev/disk/by-",
            ]
            .iter()
            .any(|tag| name.starts_with(tag));
        match self.source(name) {
            FstabSource::Absent => match is_known_kind {
                // An offset from another partition is beyond this.
                true if !name.contains("/PARTNROFF=") => Device::Absent,
                _ => Device::Unknown,
            },
            FstabSource::Unknown => Device::Unknown,
            _ if number.is_some() && !path.starts_with(VIRTIO) => Device::OtherName,
            _ => Device::Present,
        }
    }

    /// The partition that is device `index`, or that holds it.
    fn partition_of(&self, index: usize) -> Option<&Partition> {
        let number = self.0.get(index)?.number;
        let mut partitions = self.0.iter().filter_map(BlockDevice::as_partition);
        partitions.find(|partition| partition.number == number)
    }

    /// Whether the table marks it as the one to boot.
    pub(super) fn is_bootable(&self, index: usize) -> bool {
        let partition = self.partition_of(index);
        partition.is_some_and(|partition| partition.bootable)
    }

    /// Whether device `index` holds something that has a name.
    pub(super) fn is_known(&self, index: usize) -> bool {
        self.0
            .get(index)
            .is_some_and(|device| device.filesystem().is_some())
    }

    /// Whether the table says that it is a root.
    pub(super) fn has_root_type(&self, index: usize) -> bool {
        let device = self.0.get(index);
        let partition = device.and_then(BlockDevice::as_partition);
        partition.is_some_and(|partition| ROOT_TYPES.contains(&partition.type_code.as_str()))
    }

    /// The boot partition, by its label or its type.
    pub(super) fn boot(&self) -> Option<usize> {
        let names = ["LABEL=boot", "PARTLABEL=boot"];
        let labelled = names.iter().find_map(|name| self.find(name));
        labelled.or_else(|| self.of_type(BOOT_TYPE).next())
    }

    /// The `/usr` that Flatcar mounts into device `index`: of the two, the one that GRUB prefers by
    /// its priority, bits 48 to 51 of the attributes ("Flatcar: Disk layout", "GPT priorities").
    pub(super) fn usr_of(&self, index: usize) -> Option<usize> {
        let device = self.0.get(index)?;
        let root = device.as_partition()?;
        if root.name.as_deref() != Some("ROOT") && root.type_code != FLATCAR_ROOT_TYPE {
            return None;
        }
        let priority = |usr: &usize| {
            let partition = self.partition_of(*usr);
            partition.map(|partition| partition.attributes >> 48 & 0xf)
        };
        // The first of two equals.
        let usr = self.of_type(FLATCAR_USR_TYPE);
        usr.rev().max_by_key(priority)
    }

    /// Partitions of the GPT type `kind`.
    fn of_type(&self, kind: &'static str) -> impl DoubleEndedIterator<Item = usize> {
        let all = self.0.iter().enumerate();
        all.filter(move |(_, device)| {
            let partition = device.as_partition();
            partition.is_some_and(|partition| partition.type_code == kind)
        })
        .map(|(index, _)| index)
    }

    /// Whether the table says that it is a `/usr`, and hence no root, whatever is in it.
    pub(super) fn has_usr_type(&self, index: usize) -> bool {
        let device = self.0.get(index);
        let partition = device.and_then(BlockDevice::as_partition);
        partition.is_some_and(|partition| USR_TYPES.contains(&partition.type_code.as_str()))
    }

    /// What marks device `index`, for a finding.
    pub(super) fn evidence(&self, index: usize) -> Option<Evidence> {
        let device = self.0.get(index)?;
        let superblock = device.filesystem().map(|found| found.evidence.clone());
        Some(superblock.unwrap_or_else(|| device.origin.clone()))
    }

    /// The facts.
    pub(super) fn into_facts(self) -> (Vec<Partition>, Vec<LogicalVolume>) {
        let (mut partitions, mut volumes) = (Vec::new(), Vec::new());
        for device in self.0 {
            match device.what {
                What::Partition(partition) => partitions.push(partition),
                What::Volume(volume) => volumes.push(volume),
            }
        }
        (partitions, volumes)
    }
}

/// The name of a volume in `/dev/mapper`, in which a dash of the names is doubled.
fn mapper_name(name: &VolumeName) -> String {
    let double = |part: &str| part.replace('-', "--");
    format!("{}-{}", double(&name.group), double(&name.name))
}

/// The name of a virtio disk in Linux.
const VIRTIO: &str = "vda";

/// The number in the name of a partition of the first disk, 0 for the name of the disk itself:
/// `sda2`, `vda2`, `xvda2`, `nvme0n1p2`, `mmcblk0p2`.
fn partition_number(name: &str) -> Option<u32> {
    let numbered = [VIRTIO, "sda", "xvda", "hda"]
        .iter()
        .find_map(|disk| name.strip_prefix(disk));
    let rest = match numbered {
        Some(rest) => rest,
        None => {
            let disk = ["nvme0n1", "mmcblk0"];
            let rest = disk.iter().find_map(|disk| name.strip_prefix(disk))?;
            match rest {
                "" => "",
                _ => rest.strip_prefix('p')?,
            }
        }
    };
    match rest {
        "" => Some(0),
        _ => rest.parse().ok().filter(|&number| number > 0),
    }
}

/// A name in `/dev/disk`, where udev writes `\x20` for a blank.
fn udev_unescape(name: &str) -> String {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some(at) = rest.find("\\x") {
        let (before, escape) = rest.split_at(at);
        bytes.extend_from_slice(before.as_bytes());
        let code = escape
            .get(2..4)
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match code {
            Some(code) => {
                bytes.push(code);
                rest = escape.get(4..).unwrap_or("");
            }
            None => {
                bytes.extend_from_slice(b"\\x");
                rest = escape.get(2..).unwrap_or("");
            }
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_have_a_name_for_each_driver() {
        for (name, number) in [
            ("sda1", Some(1)),
            ("vda15", Some(15)),
            ("xvda", Some(0)),
            ("nvme0n1p3", Some(3)),
            ("mmcblk0p2", Some(2)),
            ("nvme0n1", Some(0)),
            ("nvme0n13", None),
            ("sdb1", None),
            ("sda0", None),
            ("sda1x", None),
            ("md0", None),
        ] {
            assert_eq!(partition_number(name), number, "{name}");
        }
    }

    #[test]
    fn a_dash_in_the_name_of_a_volume_is_doubled() {
        let name = VolumeName {
            group: "debian-vg".to_owned(),
            name: "swap_1".to_owned(),
        };
        assert_eq!(mapper_name(&name), "debian--vg-swap_1");
    }

    #[test]
    fn names_of_udev_are_unescaped() {
        assert_eq!(udev_unescape("my\\x20disk"), "my disk");
        assert_eq!(udev_unescape("caf\\xc3\\xa9"), "café");
        assert_eq!(udev_unescape("a\\xzz\\x"), "a\\xzz\\x");
    }
}
