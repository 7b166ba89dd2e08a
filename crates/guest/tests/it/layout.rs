//! Disks with more than one filesystem: what belongs together, and what the guest calls it.

use abbild_guest::{Device, FstabSource, Outcome, Report, RuleId};

use crate::disk::{DISK_SIGNATURE, Disk, Part};
use crate::tree::{Guest, finding, report};

/// A guest whose `/boot` is a filesystem of its own, labelled `boot`.
fn separate_boot(fstab: &str) -> (Part, Part) {
    let guest = Guest::debian();
    guest.file("etc/fstab", fstab);
    for file in ["boot/grub/grub.cfg", "boot/vmlinuz-6.1.0-40-cloud-amd64"] {
        guest.remove(file);
    }
    let boot = Guest::empty();
    boot.file("vmlinuz-6.1.0-40-cloud-amd64", "").file(
        "grub/grub.cfg",
        "linux /vmlinuz-6.1.0-40-cloud-amd64 root=LABEL=root console=ttyS0\n",
    );
    (
        Part::new(boot.filesystem(&["-t", "ext2", "-L", "boot", "-U", BOOT_UUID]))
            .named("start up"),
        Part::new(guest.filesystem(&["-t", "ext4"])),
    )
}

const BOOT_UUID: &str = "6d8c4f4e-27b7-4e6d-9f0c-0b7b2b0a9f01";

fn assert_boot_is_seen(report: &Report, number: u32, why: &str) {
    let facts = &report.facts;
    assert_eq!(facts.kernels.len(), 1, "{why}: {:#?}", facts.mounts);
    assert_eq!(
        facts.serial_console.as_ref().unwrap().value,
        "ttyS0",
        "{why}"
    );
    assert_eq!(facts.mounts[0].partition, Some(number), "{why}");
    assert!(facts.mounts[0].readable, "{why}");
    assert_eq!(facts.root.as_ref().unwrap().filesystem, "ext4", "{why}");
}

#[test]
fn a_separate_boot_is_found_by_every_name_that_fstab_knows() {
    let partuuid = format!("PARTUUID={DISK_SIGNATURE}-01");
    for device in [
        "LABEL=boot",
        "LABEL=\"boot\"",
        &format!("UUID={BOOT_UUID}"),
        &format!("UUID={}", BOOT_UUID.to_uppercase()),
        &partuuid,
        "/dev/vda1",
        "/dev/xvda1",
        "/dev/nvme0n1p1",
        "/dev/disk/by-label/boot",
        &format!("/dev/disk/by-uuid/{BOOT_UUID}"),
        &format!("/dev/disk/by-partuuid/{DISK_SIGNATURE}-01"),
    ] {
        let (boot, root) = separate_boot(&format!("{device} /boot ext2 defaults 0 2\n"));
        let report = report(Disk::mbr([boot, root]).bytes());
        assert_boot_is_seen(&report, 1, device);
    }
}

#[test]
fn a_gpt_gives_partitions_names_and_guids() {
    for device in [
        "PARTLABEL=start\\040up",
        "/dev/disk/by-partlabel/start\\x20up",
        "PARTUUID=00112233-4455-6677-8899-AABBCCDDEE02",
    ] {
        let (boot, root) = separate_boot(&format!("{device} /boot ext2 defaults 0 2\n"));
        let report = report(Disk::gpt([root, boot]).bytes());
        assert_boot_is_seen(&report, 2, device);
        assert_eq!(report.facts.partition_table.as_ref().unwrap().kind, "gpt");
    }
}

#[test]
fn every_line_of_fstab_is_a_fact() {
    let guest = Guest::debian();
    guest.file(
        "etc/fstab",
        "# <file system> <mount point>\n\
         LABEL=root / ext4 errors=remount-ro 0 1\n\
         UUID=0dd9b7f2-34f1-4fd4-9e52-bc2ff8b1b2b4 none swap sw 0 0\n\
         /dev/sdb1 /srv/my\\040data xfs nofail\n\
         tmpfs /tmp tmpfs\n\
         /swapfile swap swap defaults 0 0\n\
         /srv/x /srv/y none bind 0 0\n\
         nas:/export /mnt nfs defaults 0 0\n\
         /dev/sr0 /media/cdrom0 udf,iso9660 user,noauto 0 0\n\
         /dev/mapper/vg-data /data ext4 defaults 0 2\n\
         incomplete\n",
    );
    let report = guest.report();
    let lines = &report.facts.fstab;
    let found: Vec<_> = lines.iter().map(|line| &line.source).collect();
    assert_eq!(
        found,
        [
            &FstabSource::Partition { number: 1 },
            &FstabSource::Absent,
            &FstabSource::Absent,
            &FstabSource::None,
            &FstabSource::File,
            &FstabSource::File,
            &FstabSource::Network,
            &FstabSource::Removable,
            &FstabSource::Absent,
        ]
    );
    assert_eq!(lines[0].availability, Device::Present);
    assert_eq!(lines[1].availability, Device::Absent);
    assert_eq!(lines[2].mount_point, "/srv/my data");
    assert_eq!(lines[2].options, "nofail");
    assert_eq!(lines[3].options, "defaults");
    assert_eq!(lines[2].evidence.line, Some(4));
    assert_eq!(
        finding(&report, RuleId::RootFilesystem).outcome,
        Outcome::Pass
    );
}

#[test]
fn a_system_may_lie_on_a_separate_usr() {
    let whole = Guest::debian();
    whole.file(
        "etc/fstab",
        "LABEL=root / ext4\nLABEL=usr /usr ext4 ro 0 2\n",
    );
    let usr = whole.split("usr");
    let usr = Part::new(usr.filesystem(&["-t", "ext4", "-L", "usr"]));
    let root = Part::new(whole.filesystem(&["-t", "ext4"]));
    let report = report(Disk::mbr([usr, root]).bytes());
    let facts = &report.facts;
    assert_eq!(facts.root.as_ref().unwrap().partition, 2);
    assert_eq!(facts.os.as_ref().unwrap().id.as_deref(), Some("debian"));
    assert_eq!(facts.architecture.as_ref().unwrap().value, "x86_64");
    assert_eq!(
        facts.architecture.as_ref().unwrap().evidence[0]
            .path
            .as_deref(),
        Some("/usr/lib/systemd/systemd")
    );
    assert_eq!(finding(&report, RuleId::CloudInit).outcome, Outcome::Pass);
    assert_eq!(finding(&report, RuleId::Sshd).outcome, Outcome::Pass);
}
