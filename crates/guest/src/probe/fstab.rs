//! The guest's own `/etc/fstab`, fstab(5): what it mounts where, and whether the image has it.

use crate::facts::{Device, FstabLine, FstabSource};
use crate::fs::Tree;
use crate::inspect::Devices;
use crate::text::clean;

use super::MAX_CONFIG;

/// Lines that become facts.
const MAX_LINES: usize = 200;

/// Types that need no device, from `/proc/filesystems` of a usual kernel.
const NO_DEVICE: [&str; 26] = [
    "9p",
    "autofs",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "efivarfs",
    "fdescfs",
    "fusectl",
    "hugetlbfs",
    "linprocfs",
    "mqueue",
    "none",
    "overlay",
    "proc",
    "procfs",
    "pstore",
    "ramfs",
    "securityfs",
    "sysfs",
    "tmpfs",
    "tracefs",
];
/// Types whose device is on the network.
const NETWORK: [&str; 8] = [
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "ceph",
    "glusterfs",
    "fuse.sshfs",
];
/// Drives that are there without what is in them.
const REMOVABLE: [&str; 6] = ["cdrom", "dvd", "sr", "fd", "floppy", "cd"];

/// All lines of `/etc/fstab` that mean something.
pub(crate) fn read(tree: &Tree, devices: &Devices) -> Vec<FstabLine> {
    let Some(file) = tree.read("/etc/fstab", MAX_CONFIG) else {
        return Vec::new();
    };
    let lines = file.lines().filter_map(|(number, line)| {
        let line = line.trim_start();
        if line.starts_with('#') {
            return None;
        }
        let mut fields = line.split_whitespace();
        let (device, mount_point) = (unescape(fields.next()?), unescape(fields.next()?));
        // What is left out means what mount(8) takes instead.
        let kind = fields.next().unwrap_or("auto");
        let options = fields.next().unwrap_or("defaults");
        let source = source(&device, kind, options, devices);
        Some(FstabLine {
            availability: match source {
                FstabSource::Partition { .. } | FstabSource::Volume(_) => {
                    devices.availability(&device)
                }
                FstabSource::None | FstabSource::File => Device::Present,
                FstabSource::Network | FstabSource::Removable | FstabSource::Unknown => {
                    Device::Unknown
                }
                FstabSource::Absent => Device::Absent,
            },
            source,
            device: clean(device),
            mount_point: clean(mount_point),
            kind: clean(kind),
            options: clean(options),
            evidence: file.evidence(number, line),
        })
    });
    lines.take(MAX_LINES).collect()
}

/// What the device field means in this image.
fn source(device: &str, kind: &str, options: &str, devices: &Devices) -> FstabSource {
    if NETWORK.contains(&kind) || device.starts_with("//") {
        return FstabSource::Network;
    }
    let binds = |option| matches!(option, "bind" | "rbind" | "loop");
    if options.split(',').any(binds) {
        return FstabSource::File;
    }
    if NO_DEVICE.contains(&kind) {
        return FstabSource::None;
    }
    let named = device.contains('=') || device.starts_with("/dev/");
    if device.starts_with('/') && !named {
        return FstabSource::File;
    }
    let drive = device.strip_prefix("/dev/").unwrap_or("");
    let drive = drive.trim_end_matches(|c: char| c.is_ascii_digit());
    if REMOVABLE.contains(&drive) {
        return FstabSource::Removable;
    }
    if named {
        devices.source(device)
    } else {
        // `none`, `tmpfs`, or a name that only the type's own helper understands.
        FstabSource::None
    }
}

/// A field, in which blanks are written `\040`.
fn unescape(field: &str) -> String {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let code = tail
            .get(..3)
            .filter(|_| byte == b'\\')
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) => {
                bytes.push(code);
                rest = tail.get(3..).unwrap_or(&[]);
            }
            None => {
                bytes.push(byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_are_written_as_octal_numbers() {
        assert_eq!(unescape("LABEL=my\\040disk"), "LABEL=my disk");
        assert_eq!(unescape("a\\b\\04"), "a\\b\\04");
        assert_eq!(unescape("\\777x"), "\\777x");
    }
}
