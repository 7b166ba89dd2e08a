//! Alpine.

use abbild_guest::{Init, Outcome, RuleId};

use super::{assert_in_order, cloud_cfg};
use crate::tree::{ELF_X86_64, Guest, commands, finding, place, says};

/// Alpine 3.18 with cloud-init: `community/cloud-init` of alpinelinux/aports at 23.2.1, whose
/// `setup-cloud-init` makes the runlevel links and whose `05-set-default-datasource-list.patch`
/// sets the list, with a quote too few; openrc, openssh, cloud-utils-growpart, e2fsprogs-extra and
/// ifupdown-ng.
fn alpine() -> Guest {
    let guest = Guest::empty();
    let cloud_cfg = cloud_cfg(
        "alpine",
        "/bin/ash",
        true,
        "  network:\n    renderers: ['eni']\n",
    );
    guest
        .file("bin/busybox", ELF_X86_64)
        .link("sbin/init", "/bin/busybox")
        .link("bin/ash", "/bin/busybox")
        .file("sbin/openrc", ELF_X86_64)
        .file("etc/os-release", "NAME=\"Alpine Linux\"\nID=alpine\nVERSION_ID=3.18.4\nPRETTY_NAME=\"Alpine Linux v3.18\"\n")
        .file("usr/bin/cloud-init", "#!/usr/bin/python3\n")
        .file("lib/apk/db/installed", "C:Q1=\nP:busybox\nV:1.36.1-r5\n\nC:Q1=\nP:cloud-init\nV:23.2.1-r0\nA:noarch\n\n")
        .file(
            "etc/cloud/cloud.cfg",
            format!("{cloud_cfg}datasource_list: ['NoCloud', 'ConfigDrive', 'LXD', 'Oracle', Exoscale', 'RbxCloud', 'None']\n"),
        )
        .link("etc/runlevels/boot/cloud-init-local", "/etc/init.d/cloud-init-local")
        .link("etc/runlevels/default/cloud-init", "/etc/init.d/cloud-init")
        .link("etc/runlevels/default/cloud-config", "/etc/init.d/cloud-config")
        .link("etc/runlevels/default/cloud-final", "/etc/init.d/cloud-final")
        .file("etc/init.d/sshd", "#!/sbin/openrc-run\n")
        .link("etc/runlevels/default/sshd", "/etc/init.d/sshd")
        .file("usr/sbin/sshd", ELF_X86_64)
        .file("usr/bin/growpart", "#!/bin/sh\n")
        .file("usr/sbin/resize2fs", ELF_X86_64)
        .file("sbin/ifquery", ELF_X86_64)
        .file("sbin/ifup", ELF_X86_64)
        .file("sbin/ifdown", ELF_X86_64)
        .file("etc/network/interfaces", "auto lo\niface lo inet loopback\n");
    for script in [
        "cloud-init-local",
        "cloud-init",
        "cloud-config",
        "cloud-final",
    ] {
        guest.file(&format!("etc/init.d/{script}"), "#!/sbin/openrc-run\n");
    }
    guest
}

#[test]
fn alpine_with_openrc() {
    let guest = alpine();
    assert_in_order(&guest);
    let report = guest.report();
    assert_eq!(report.facts.init.as_ref().unwrap().value, Init::OpenRc);
    assert_eq!(
        place(&report, RuleId::CloudInit),
        ("/lib/apk/db/installed".into(), Some(7))
    );
    assert_eq!(
        finding(&report, RuleId::Sshd).evidence[1].path.as_deref(),
        Some("/etc/runlevels/default/sshd")
    );
    let cloud = &report.facts.cloud_init;
    assert_eq!(cloud.renderers.available[0].value, "eni");
    assert!(!cloud.users.shell_missing);
    // The slip in the package's own list.
    assert_eq!(cloud.problems[0].code, "unknown-source");
    assert_eq!(cloud.problems[0].detail, "Exoscale'");
}

#[test]
fn alpine_with_its_services_in_no_runlevel() {
    let guest = alpine();
    guest.remove("etc/runlevels/default/sshd");
    let report = guest.report();
    assert_eq!(finding(&report, RuleId::Sshd).outcome, Outcome::Warning);
    assert_eq!(
        finding(&report, RuleId::Sshd).remedies[0].commands,
        ["rc-update add sshd default"]
    );

    // `apk add cloud-init` without setup-cloud-init.
    guest
        .remove("etc/runlevels/boot/cloud-init-local")
        .remove("etc/runlevels/default/cloud-init");
    let report = guest.report();
    assert_eq!(
        finding(&report, RuleId::CloudInit).outcome,
        Outcome::Failure
    );
    assert_eq!(
        commands(&report, RuleId::CloudInit)[0],
        "rc-update add cloud-init-local boot"
    );
}

/// Dropbear in place of OpenSSH, as on small images (`main/dropbear` of aports).
#[test]
fn dropbear_counts_as_ssh_server() {
    let guest = alpine();
    guest
        .remove("usr/sbin/sshd")
        .file("usr/sbin/dropbear", ELF_X86_64)
        .file("etc/init.d/dropbear", "#!/sbin/openrc-run\n")
        .link("etc/runlevels/default/dropbear", "/etc/init.d/dropbear");
    let report = guest.report();
    assert_eq!(
        says(&report, RuleId::Sshd),
        (Outcome::Pass, "dropbear, starts on boot".into())
    );
    guest.remove("etc/runlevels/default/dropbear");
    assert_eq!(
        commands(&guest.report(), RuleId::Sshd)[0],
        "rc-update add dropbear default"
    );
}

/// Alpine's cloud images have tiny-cloud (`community/tiny-cloud` of aports), which does not know
/// config drives.
#[test]
fn tiny_cloud_does_not_suffice() {
    let guest = alpine();
    guest
        .remove("usr/bin/cloud-init")
        .file("usr/bin/tiny-cloud", "#!/bin/sh\n")
        .file(
            "lib/apk/db/installed",
            "C:Q1=\nP:tiny-cloud\nV:3.0.4-r0\n\n",
        );
    let report = guest.report();
    assert_eq!(
        says(&report, RuleId::CloudInit),
        (
            Outcome::Failure,
            "tiny-cloud is installed, but not cloud-init".into()
        )
    );
    assert_eq!(
        report.facts.agents[0].version.as_ref().unwrap().value,
        "3.0.4-r0"
    );
}
