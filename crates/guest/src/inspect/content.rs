//! What a disk holds that is no system we can read: Windows, DOS, an installation medium, nothing.

use abbild_disk::Disk;

use super::device::{BlockDevice, Devices};
use crate::facts::{Content, Evidence, Fact};
use crate::fs::fat::Fat;
use crate::fs::superblock;
use crate::text::clean;

/// Types of partitions that only Windows makes: "Microsoft reserved" and "Windows recovery" in a
/// GPT, the latter in an MBR.
const OF_WINDOWS: [&str; 3] = [
    "e3c9e316-0b5c-4db8-817d-f92df00215ae",
    "de94bba4-06d1-4d40-a16a-bfd50179d6ac",
    "0x27",
];

/// The kernels of MS-DOS and Windows 95 to ME, PC DOS, DR-DOS and FreeDOS, in the root directory.
const OF_DOS: [&str; 4] = ["IO.SYS", "IBMBIO.COM", "DRBIOS.SYS", "KERNEL.SYS"];

/// Where an ISO 9660 filesystem has its primary volume descriptor (ECMA-119, 8.4), and in that the
/// identifier and the name of the volume.
const DESCRIPTOR: u64 = 0x8000;
const IDENTIFIER: std::ops::Range<usize> = 1..6;
const VOLUME_NAME: std::ops::Range<usize> = 40..72;

/// What the disk holds, if no system on it could be read.
pub(super) fn probe<D: Disk>(disk: &D, devices: &Devices) -> Option<Fact<Content>> {
    // The hybrid media of installers have a partition table, too.
    if let Some(name) = iso_9660(disk) {
        let evidence = Evidence::offset(DESCRIPTOR).saying(clean(name));
        return Some(Fact::new(Content::Installer, evidence));
    }
    if let Some(index) = windows(devices) {
        let evidence = devices.evidence(index)?;
        return Some(Fact::new(Content::Windows, evidence));
    }
    if let Some(kernel) = devices.0.iter().find_map(dos) {
        return Some(Fact::new(Content::Dos, kernel));
    }
    let is_blank = |device: &BlockDevice| {
        device.kind().is_empty()
            && device
                .source()
                .is_some_and(|source| superblock::is_blank(source).unwrap_or(false))
    };
    let empty = devices.0.iter().all(is_blank);
    empty.then(|| Fact::new(Content::Empty, Evidence::offset(0)))
}

/// The name of the volume, if the disk begins with an ISO 9660 filesystem.
fn iso_9660<D: Disk>(disk: &D) -> Option<Vec<u8>> {
    let mut descriptor = [0; 72];
    disk.read_at(DESCRIPTOR, &mut descriptor).ok()?;
    let is_iso = descriptor.get(IDENTIFIER) == Some(b"CD001");
    is_iso.then(|| descriptor.get(VOLUME_NAME).unwrap_or_default().to_vec())
}

/// The device that Windows lies on, as far as can be told from outside: NTFS or BitLocker, and a
/// disk laid out as Windows does.
pub(super) fn windows(devices: &Devices) -> Option<usize> {
    let made_by_windows = devices.0.iter().filter_map(BlockDevice::as_partition);
    let made_by_windows = made_by_windows
        .map(|partition| partition.type_code.as_str())
        .any(|kind| OF_WINDOWS.contains(&kind));
    let may_hold = |device: &BlockDevice| matches!(device.kind(), "ntfs" | "bitlocker");
    let all = devices.0.iter().enumerate();
    all.filter(|(index, device)| {
        may_hold(device) && (made_by_windows || devices.is_bootable(*index))
    })
    .max_by_key(|(_, device)| device.length())
    .map(|(index, _)| index)
}

/// The kernel of a DOS.
fn dos(device: &BlockDevice) -> Option<Evidence> {
    let source = device.source().filter(|_| device.kind() == "vfat")?;
    let entries = Fat::open(source)?.list("");
    let is_kernel = |name: &str| {
        OF_DOS
            .iter()
            .any(|kernel| kernel.eq_ignore_ascii_case(name))
    };
    let mut names = entries.iter().filter(|entry| !entry.is_directory);
    let kernel = names.find(|entry| is_kernel(&entry.name))?;
    Some(Evidence::text(clean(&kernel.name)))
}
