//! Disks with more than one filesystem: what belongs together, and what the guest calls it.

use abbild_guest::{Device, FstabSource, Outcome, Report, RuleId, VolumeName};

use crate::disk::{DISK_SIGNATURE, Disk, Part};
use crate::lvm::physical_volume;
use crate::tree::{Guest, finding, report, says};

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

/// A disk as Debian's installer makes it: `/boot` in front, the rest LVM.
fn installed_with_lvm(root: Vec<u8>) -> Vec<u8> {
    let boot = Guest::empty();
    boot.file("vmlinuz-6.1.0-40-cloud-amd64", "").file(
        "grub/grub.cfg",
        "linux /vmlinuz-6.1.0-40-cloud-amd64 root=/dev/mapper/debian--vg-root console=ttyS0\n",
    );
    let home = Guest::empty();
    home.file("somebody/notes", "");
    let group = physical_volume(
        "debian-vg",
        &[
            ("home", home.filesystem(&["-t", "ext4", "-L", "home"])),
            ("root", root),
        ],
    );
    Disk::mbr([
        Part::new(boot.filesystem(&["-t", "ext2", "-L", "boot"])),
        Part::new(group),
    ])
    .bytes()
}

fn root_of_lvm() -> Guest {
    let guest = Guest::debian();
    guest.remove("boot/grub/grub.cfg").file(
        "etc/fstab",
        "/dev/mapper/debian--vg-root / ext4 errors=remount-ro 0 1\n\
         LABEL=boot /boot ext2 defaults 0 2\n\
         /dev/debian-vg/home /home ext4 defaults 0 2\n\
         /dev/mapper/debian--vg-swap_1 none swap sw 0 0\n",
    );
    guest
}

#[test]
fn a_root_in_lvm_is_looked_through() {
    let report = report(installed_with_lvm(
        root_of_lvm().filesystem(&["-t", "ext4"]),
    ));
    assert_eq!(
        says(&report, RuleId::RootFilesystem),
        (
            Outcome::Pass,
            "ext4 in LVM volume root of group debian-vg".into()
        )
    );
    let facts = &report.facts;
    assert_eq!(facts.os.as_ref().unwrap().id.as_deref(), Some("debian"));
    let root = facts.root.as_ref().unwrap();
    assert_eq!(root.partition, 2);
    let name = |name: &str| VolumeName {
        group: "debian-vg".to_owned(),
        name: name.to_owned(),
    };
    assert_eq!(root.volume, Some(name("root")));
    assert_eq!(
        facts
            .boot_entry
            .as_ref()
            .unwrap()
            .root
            .as_ref()
            .unwrap()
            .device,
        Device::Present
    );
    let volumes: Vec<_> = facts
        .volumes
        .iter()
        .map(|volume| (volume.name.to_string(), volume.filesystem.as_ref().unwrap()))
        .map(|(name, found)| (name, found.kind.as_str(), found.label.as_deref()))
        .collect();
    assert_eq!(
        volumes,
        [
            ("debian-vg/home".to_owned(), "ext4", Some("home")),
            ("debian-vg/root".to_owned(), "ext4", Some("root"))
        ]
    );
    let found: Vec<_> = facts.fstab.iter().map(|line| &line.source).collect();
    assert_eq!(
        found,
        [
            &FstabSource::Volume(name("root")),
            &FstabSource::Partition { number: 1 },
            &FstabSource::Volume(name("home")),
            &FstabSource::Absent,
        ]
    );
    assert_eq!(facts.kernels.len(), 1);
    assert!(facts.faults.is_empty(), "{:?}", facts.faults);
}

#[test]
fn other_filesystems_in_lvm_are_named_with_their_volume() {
    let mut xfs = vec![0; 24 << 20];
    xfs[..4].copy_from_slice(b"XFSB");
    let report = report(installed_with_lvm(xfs));
    assert_eq!(
        says(&report, RuleId::RootFilesystem),
        (
            Outcome::Failure,
            "xfs in LVM volume root of group debian-vg; ext3 or ext4 is required".into()
        )
    );
}

#[test]
fn volumes_that_cannot_be_read_are_told() {
    let report = report(installed_with_lvm(Vec::new()));
    let (outcome, text) = says(&report, RuleId::RootFilesystem);
    assert_eq!(outcome, Outcome::Failure);
    assert!(
        text.starts_with(
            "the system lies in LVM volume root of group debian-vg, and this LVM cannot be read"
        ),
        "{text}"
    );
    let fault = report.facts.volumes[1].fault.as_ref().unwrap();
    assert_eq!(fault.code, "lvm-segment");
    assert!(report.facts.faults.contains(fault));

    let mut damaged = physical_volume(
        "vg",
        &[("root", Guest::debian().filesystem(&["-t", "ext4"]))],
    );
    damaged[4096 + 512] ^= 1;
    let report = crate::tree::report(Disk::mbr([Part::new(damaged)]).bytes());
    assert_eq!(report.facts.root.as_ref().unwrap().filesystem, "lvm");
    assert_eq!(report.facts.faults[0].code, "lvm-metadata");
}
