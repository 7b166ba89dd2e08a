//! Systems whose root is no plain filesystem: ostree deployments, and Flatcar's two `/usr`.

use abbild_guest::{Outcome, Report, RuleId};

use crate::disk::{Disk, Part};
use crate::distributions::coreos::fedora_coreos;
use crate::tree::{ELF_X86_64, Guest, finding, report, says};

const DEPLOYMENT: &str = "ostree/deploy/fedora-coreos/deploy/0a1b2c.0";
const FLATCAR_USR: &str = "5dfbf5f4-2848-4bac-aa5e-0d9a20b745a6";
const FLATCAR_ROOT: &str = "3884dd41-8582-4404-b9a8-e9b84f2df50e";

/// The partitions of Fedora CoreOS 42 (image-base.yaml of coreos/fedora-coreos-config), whose root
/// may be made ext4; the files of `/boot` and the links as `ostree admin deploy` makes them.
fn coreos(entry: &str) -> Report {
    let deployment = fedora_coreos("openstack");
    // Its own `/boot` is an empty directory.
    deployment.split("boot");
    deployment.file("usr/lib/modules/6.15.8-200.fc42.x86_64/vmlinuz", "");
    let sysroot = Guest::empty();
    sysroot
        .adopt(DEPLOYMENT, deployment)
        .file(
            "ostree/deploy/fedora-coreos/deploy/ffff00.0/usr/lib/os-release",
            "ID=fedora\nPRETTY_NAME=\"an older one\"\n",
        )
        .file("ostree/deploy/fedora-coreos/var/lib/dpkg/status", "")
        .link(
            "ostree/boot.1/fedora-coreos/77aa/0",
            "../../../deploy/fedora-coreos/deploy/0a1b2c.0",
        );
    let boot = Guest::empty();
    boot.file("ignition.firstboot", "")
        .file("ostree/fedora-coreos-77aa/vmlinuz", "")
        .file("grub2/grub.cfg", "blscfg\n")
        .link("loader", "loader.1")
        .file("loader.1/entries/ostree-1.conf", entry);
    let boot = boot.filesystem(&["-t", "ext4", "-L", "boot"]);
    report(
        Disk::gpt([
            Part::new(vec![0; 1 << 20]).named("BIOS-BOOT"),
            Part::new(boot).named("boot"),
            Part::new(sysroot.filesystem(&["-t", "ext4"])).named("root"),
        ])
        .bytes(),
    )
}

#[test]
fn the_deployment_that_boots_is_the_root() {
    let report = coreos(
        "title Fedora CoreOS 42\nversion 1\nlinux /ostree/fedora-coreos-77aa/vmlinuz\n\
         options ostree=/ostree/boot.1/fedora-coreos/77aa/0 ignition.platform.id=openstack \
         console=ttyS0,115200n8\n",
    );
    let facts = &report.facts;
    let root = facts.root.as_ref().unwrap();
    assert_eq!(root.partition, 3);
    assert_eq!(root.deployment, Some(format!("/{DEPLOYMENT}")));
    assert_eq!(
        root.evidence[0].path.as_deref(),
        Some("/boot/loader.1/entries/ostree-1.conf")
    );
    assert_eq!(
        says(&report, RuleId::OperatingSystem),
        (
            Outcome::Pass,
            "Fedora CoreOS 42.20250803.3.0, x86_64".into()
        )
    );
    assert_eq!(
        says(&report, RuleId::RootFilesystem).1,
        "ext4 on partition 3"
    );
    assert_eq!(finding(&report, RuleId::Sshd).outcome, Outcome::Pass);
    assert_eq!(
        facts.serial_console.as_ref().unwrap().value,
        "ttyS0,115200n8"
    );
    assert!(
        facts
            .boot_entry
            .as_ref()
            .unwrap()
            .kernel
            .as_ref()
            .unwrap()
            .present
    );
    assert_eq!(facts.kernels[0].value, "6.15.8-200.fc42.x86_64");
    assert_eq!(
        (facts.mounts[0].path.as_str(), facts.mounts[0].partition),
        ("/boot", Some(2))
    );
    assert_eq!(facts.systems.len(), 1, "{:#?}", facts.systems);
}

#[test]
fn without_an_entry_some_deployment_is_the_root() {
    for entry in [
        "",
        "options ostree=/etc\n",
        "options ostree=/ostree/deploy\n",
    ] {
        let root = coreos(entry).facts.root.unwrap();
        assert_eq!(root.deployment, Some(format!("/{DEPLOYMENT}")), "{entry}");
    }
}

/// The files of Flatcar's `/usr` 4230.2.0, named `version`.
fn flatcar_usr(version: &str) -> Guest {
    let usr = Guest::empty();
    usr.file(
        "lib/os-release",
        format!("NAME=\"Flatcar\"\nID=flatcar\nPRETTY_NAME=\"Flatcar {version}\"\n"),
    )
    .file("lib/systemd/systemd", ELF_X86_64)
    .link("sbin/init", "../lib/systemd/systemd")
    .file("sbin/sshd", ELF_X86_64);
    usr
}

/// `disk_layout.json` of flatcar/scripts, without what holds no Linux files.
fn flatcar(a: Vec<u8>, b: Vec<u8>, priorities: [u64; 2]) -> Report {
    let root = Guest::empty();
    root.link("bin", "usr/bin").link("sbin", "usr/sbin");
    let root = root.filesystem(&["-t", "ext4", "-L", "ROOT"]);
    let usr = |bytes, name, priority: u64| {
        let part = Part::new(bytes).named(name).of_type(FLATCAR_USR);
        part.with_attributes(priority << 48)
    };
    let parts = [
        usr(a, "USR-A", priorities[0]),
        usr(b, "USR-B", priorities[1]),
        Part::new(root).named("ROOT").of_type(FLATCAR_ROOT),
    ];
    report(Disk::gpt(parts).bytes())
}

#[test]
fn the_usr_of_higher_priority_is_flatcars() {
    let usr = |version| flatcar_usr(version).filesystem(&["-t", "ext2", "-L", version]);
    for (priorities, version, number) in
        [([1, 0], "one", 1), ([1, 2], "two", 2), ([0, 0], "one", 1)]
    {
        let report = flatcar(usr("one"), usr("two"), priorities);
        let facts = &report.facts;
        assert_eq!(facts.root.as_ref().unwrap().partition, 3);
        assert_eq!(
            says(&report, RuleId::OperatingSystem),
            (Outcome::Pass, format!("Flatcar {version}, x86_64"))
        );
        assert_eq!(facts.mounts[0].path, "/usr");
        assert_eq!(facts.mounts[0].partition, Some(number));
        assert_eq!(facts.systems.len(), 1, "{:#?}", facts.systems);
        assert!(facts.sshd.server.is_some());
    }
}

#[test]
fn nothing_is_said_of_a_usr_that_cannot_be_read() {
    let mut btrfs = vec![0; 1 << 20];
    btrfs[0x1_0040..][..8].copy_from_slice(b"_BHRfS_M");
    let report = flatcar(btrfs, vec![0; 1 << 20], [1, 0]);
    assert_eq!(
        says(&report, RuleId::RootFilesystem),
        (Outcome::Pass, "ext4 on partition 3".into())
    );
    for rule in [RuleId::OperatingSystem, RuleId::CloudInit, RuleId::Sshd] {
        assert_eq!(
            says(&report, rule),
            (
                Outcome::Unknown,
                "not checked, because the files under `/usr` lie on another filesystem that cannot \
                 be read"
                    .into()
            )
        );
    }
    assert_eq!(report.findings.len(), RuleId::REQUIREMENTS.len());
}
