//! The guest's own `/etc/fstab`: which of the image's partitions it mounts where.

use crate::facts::{Device, Evidence, Partition};
use crate::fs::Tree;

use super::MAX_CONFIG;

/// Mount points whose contents matter to an inspection.
const WANTED: [&str; 4] = ["/boot", "/usr", "/var", "/etc"];

/// One line that mounts something where it matters.
pub(crate) struct Entry {
    /// Mount point.
    pub(crate) path: String,
    /// Number of the partition, if the image has it.
    pub(crate) partition: Option<u32>,
    /// The line.
    pub(crate) evidence: Evidence,
}

/// The lines of `/etc/fstab` that mount `/boot`, `/usr`, `/var` or `/etc`.
pub(crate) fn read(tree: &Tree, partitions: &[Partition]) -> Vec<Entry> {
    let Some(file) = tree.read("/etc/fstab", MAX_CONFIG) else {
        return Vec::new();
    };
    let mut entries: Vec<Entry> = Vec::new();
    for (number, line) in file.lines() {
        if line.trim_start().starts_with('#') {
            continue;
        }
        let mut fields = line.split_whitespace();
        let (Some(device), Some(path)) = (fields.next(), fields.next()) else {
            continue;
        };
        if !WANTED.contains(&path) || entries.iter().any(|entry| entry.path == path) {
            continue;
        }
        entries.push(Entry {
            path: path.to_owned(),
            partition: partition_of(device, partitions),
            evidence: file.evidence(number, line),
        });
    }
    entries
}

/// The partition that a device field names. Device names are taken to mean the only disk.
fn partition_of(device: &str, partitions: &[Partition]) -> Option<u32> {
    let find = |test: &dyn Fn(&Partition) -> bool| {
        partitions
            .iter()
            .find(|partition| test(partition))
            .map(|partition| partition.number)
    };
    let filesystem_has = |partition: &Partition, label: Option<&str>, uuid: Option<&str>| {
        partition.filesystem.as_ref().is_some_and(|fs| {
            (label.is_some() && fs.label.as_deref() == label)
                || uuid.is_some_and(|uuid| {
                    fs.uuid
                        .as_deref()
                        .is_some_and(|own| own.eq_ignore_ascii_case(uuid))
                })
        })
    };
    let unquoted = device.replace('"', "");
    if let Some((key, value)) = unquoted.split_once('=') {
        return match key {
            "UUID" => find(&|partition| filesystem_has(partition, None, Some(value))),
            "LABEL" => find(&|partition| filesystem_has(partition, Some(value), None)),
            "PARTLABEL" => find(&|partition| partition.name.as_deref() == Some(value)),
            "PARTUUID" => find(&|partition| {
                partition
                    .uuid
                    .as_deref()
                    .is_some_and(|own| own.eq_ignore_ascii_case(value))
            }),
            _ => None,
        };
    }
    let number: u32 = DISKS
        .iter()
        .find_map(|disk| device.strip_prefix(disk))?
        .parse()
        .ok()?;
    find(&|partition| partition.number == number)
}

/// Names of the first disk, first the one that a virtio disk has.
const DISKS: [&str; 6] = [
    "/dev/vda",
    "/dev/sda",
    "/dev/xvda",
    "/dev/hda",
    "/dev/nvme0n1p",
    "/dev/mmcblk0p",
];

/// Whether a machine made from the image will have the device that `name` stands for.
pub(crate) fn device(name: &str, partitions: &[Partition]) -> Device {
    let tagged = ["UUID=", "LABEL=", "PARTUUID=", "PARTLABEL="]
        .iter()
        .any(|tag| name.starts_with(tag));
    let disk = DISKS.iter().position(|disk| name.starts_with(disk));
    match (partition_of(name, partitions), disk) {
        (Some(_), Some(1..)) => Device::OtherName,
        (Some(_), _) => Device::Present,
        // A name such as `PARTUUID=…/PARTNROFF=1` or of a volume is beyond this.
        (None, _) if name.contains("/PARTNROFF=") => Device::Unknown,
        (None, None) if !tagged => Device::Unknown,
        (None, _) => Device::Absent,
    }
}
