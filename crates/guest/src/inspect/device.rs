//! What of the disk can hold a filesystem, and the names that a guest has for it.
//!
//! A [`BlockDevice`] is a partition. [`Devices::find`] answers the question that `/etc/fstab` and the
//! kernel's `root=` ask: which one does `UUID=…`, `/dev/disk/by-label/…` or `/dev/vda2` mean? Names
//! as in fstab(5), and in udev's `60-persistent-storage.rules`.

use std::sync::Arc;

use abbild_disk::{Disk, Range, Source};
use ext4_view::Ext4;

use super::from_disk;
use crate::facts::{Device, Evidence, Fault, Filesystem, FstabSource, Partition};
use crate::fs::{self, superblock};

/// A partition.
pub(crate) struct BlockDevice {
    pub(super) partition: Partition,
    /// Its bytes; `None` if they cannot be read, which a fault tells.
    source: Option<Arc<dyn Source>>,
    /// What could not be read of it.
    pub(super) faults: Vec<Fault>,
}

impl BlockDevice {
    fn partition<D: Disk + 'static>(disk: &Arc<D>, mut partition: Partition) -> Self {
        let mut faults = Vec::new();
        let source = Range::new(Arc::clone(disk), partition.offset, partition.length);
        let source = match source {
            Ok(source) => {
                match superblock::probe(&source, partition.offset) {
                    Ok(found) => partition.filesystem = found,
                    Err(error) => faults.push(from_disk(&error)),
                }
                let source: Arc<dyn Source> = Arc::new(source);
                Some(source)
            }
            Err(error) => {
                faults.push(from_disk(&error));
                None
            }
        };
        Self {
            partition,
            source,
            faults,
        }
    }

    /// What its superblock says.
    pub(super) fn filesystem(&self) -> Option<&Filesystem> {
        self.partition.filesystem.as_ref()
    }

    /// The name of what it holds; empty if unknown.
    pub(super) fn kind(&self) -> &str {
        self.filesystem().map_or("", |found| found.kind.as_str())
    }

    /// Whether it holds ext2, ext3 or ext4.
    pub(super) fn is_ext(&self) -> bool {
        self.kind().starts_with("ext")
    }

    /// Its files, if they lie in ext2, ext3 or ext4.
    pub(super) fn open(&self) -> Option<Result<Ext4, Fault>> {
        let source = self.source.as_ref().filter(|_| self.is_ext())?;
        Some(fs::open(Arc::clone(source), self.partition.offset))
    }

    fn has(&self, label: Option<&str>, uuid: Option<&str>) -> bool {
        let same = |own: &Option<String>, wanted: &str| {
            own.as_ref()
                .is_some_and(|own| own.eq_ignore_ascii_case(wanted))
        };
        self.filesystem().is_some_and(|found| {
            (label.is_some() && found.label.as_deref() == label)
                || uuid.is_some_and(|uuid| same(&found.uuid, uuid))
        })
    }
}

/// All of them.
pub(crate) struct Devices(pub(super) Vec<BlockDevice>);

impl Devices {
    pub(super) fn read<D: Disk + 'static>(disk: &Arc<D>, partitions: Vec<Partition>) -> Self {
        let devices = partitions.into_iter();
        Self(
            devices
                .map(|partition| BlockDevice::partition(disk, partition))
                .collect(),
        )
    }

    /// The one that `name` means, as its index; `None` if the image has none of this name.
    ///
    /// BlockDevice names are taken to mean the only disk, whatever the driver calls it.
    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        let name = name.replace('"', "");
        if let Some((tag, value)) = name.split_once('=') {
            return self.tagged(tag, value);
        }
        let path = name.strip_prefix("/dev/")?;
        if let Some((directory, value)) = path
            .strip_prefix("disk/by-")
            .and_then(|rest| rest.split_once('/'))
        {
            return self.tagged(directory, &udev_unescape(value));
        }
        let number = partition_number(path)?;
        self.position(|device| device.partition.number == number)
    }

    /// Whether a machine made from the image will have what `name` means.
    pub(crate) fn availability(&self, name: &str) -> Device {
        let tagged = [
            "UUID=",
            "LABEL=",
            "PARTUUID=",
            "PARTLABEL=",
            "/dev/disk/by-",
        ]
        .iter()
        .any(|tag| name.starts_with(tag));
        let path = name.strip_prefix("/dev/").unwrap_or("");
        match (self.find(name), partition_number(path)) {
            (Some(_), Some(_)) if !path.starts_with(VIRTIO) => Device::OtherName,
            (Some(_), _) => Device::Present,
            // An offset from another partition is beyond this.
            (None, _) if name.contains("/PARTNROFF=") => Device::Unknown,
            (None, None) if !tagged => Device::Unknown,
            (None, _) => Device::Absent,
        }
    }

    /// By a tag of fstab(5) or the name of a directory in `/dev/disk`.
    fn tagged(&self, tag: &str, value: &str) -> Option<usize> {
        let tag = tag.to_ascii_lowercase();
        self.position(|device| match tag.as_str() {
            "uuid" => device.has(None, Some(value)),
            "label" => device.has(Some(value), None),
            "partlabel" => device.partition.name.as_deref() == Some(value),
            "partuuid" => {
                let own = device.partition.uuid.as_deref();
                own.is_some_and(|own| own.eq_ignore_ascii_case(value))
            }
            _ => false,
        })
    }

    fn position(&self, test: impl FnMut(&BlockDevice) -> bool) -> Option<usize> {
        self.0.iter().position(test)
    }

    /// How device `index` is told in a fact.
    pub(crate) fn as_source(&self, index: usize) -> Option<FstabSource> {
        let device = self.0.get(index)?;
        Some(FstabSource::Partition {
            number: device.partition.number,
        })
    }

    /// What marks device `index`, for a finding.
    pub(super) fn evidence(&self, index: usize) -> Option<Evidence> {
        Some(self.0.get(index)?.filesystem()?.evidence.clone())
    }
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
    fn names_of_udev_are_unescaped() {
        assert_eq!(udev_unescape("my\\x20disk"), "my disk");
        assert_eq!(udev_unescape("caf\\xc3\\xa9"), "café");
        assert_eq!(udev_unescape("a\\xzz\\x"), "a\\xzz\\x");
    }
}
