//! Arch Linux.

use abbild_guest::{Outcome, RuleId};

use super::{STAGES, assert_in_order, cloud_cfg, cloud_init};
use crate::tree::{ELF_X86_64, Guest, commands, finding, says};

/// `images/cloud-image.sh` of archlinux/arch-boxes: cloud-init 24.2 for Python 3.12 and
/// cloud-guest-utils, systemd-networkd, sshd. All programs lie in `/usr/bin`, and `/usr/sbin` is a
/// link to it (package filesystem).
fn arch() -> Guest {
    let guest = Guest::empty();
    guest
        .link("bin", "usr/bin")
        .link("sbin", "usr/bin")
        .link("lib", "usr/lib")
        .link("usr/sbin", "bin")
        .file("usr/lib/systemd/systemd", ELF_X86_64)
        .link("usr/bin/init", "../lib/systemd/systemd")
        .file("usr/bin/systemctl", ELF_X86_64)
        .file("usr/bin/ip", ELF_X86_64)
        .file("usr/bin/bash", ELF_X86_64)
        .file(
            "usr/lib/os-release",
            "NAME=\"Arch Linux\"\nPRETTY_NAME=\"Arch Linux\"\nID=arch\nBUILD_ID=rolling\n",
        )
        .link("etc/os-release", "../usr/lib/os-release")
        .file(
            "etc/cloud/cloud.cfg",
            cloud_cfg("arch", "/bin/bash", true, ""),
        )
        .file("usr/bin/growpart", "#!/bin/sh\n")
        .file("usr/bin/resize2fs", ELF_X86_64)
        .file("usr/bin/sshd", ELF_X86_64)
        .enable("sshd.service", "multi-user.target");
    cloud_init(&guest, "usr/lib/python3.12/site-packages", "24.2.0", STAGES);
    guest
}

#[test]
fn arch_has_everything_in_one_directory() {
    let guest = arch();
    assert_in_order(&guest);
    let report = guest.report();
    assert_eq!(
        says(&report, RuleId::OperatingSystem).1,
        "Arch Linux, x86_64"
    );
    let cloud = &report.facts.cloud_init;
    assert_eq!(cloud.renderers.available[0].value, "networkd");
    assert_eq!(
        cloud.growpart.as_ref().unwrap().path.as_deref(),
        Some("/usr/bin/growpart")
    );
    assert!(!cloud.users.shell_missing);
}

#[test]
fn arch_calls_the_package_openssh() {
    let guest = arch();
    guest.remove("usr/bin/sshd");
    let report = guest.report();
    assert_eq!(finding(&report, RuleId::Sshd).outcome, Outcome::Warning);
    assert_eq!(
        commands(&report, RuleId::Sshd)[0],
        "pacman -Sy --noconfirm openssh"
    );
    assert_eq!(commands(&report, RuleId::Sshd)[1], "systemctl enable sshd");
}
