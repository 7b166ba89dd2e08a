//! Layouts of other systems, reduced to the paths that matter. Each names what it mirrors.

use abbild_guest::{Init, Outcome, RuleId, Verdict};

use crate::tree::{ELF_X86_64, Guest, finding, place, says};

/// Alpine 3.20: alpine-baselayout, openrc 0.54, openssh 9.7, cloud-init 24.1 from apk.
fn alpine() -> Guest {
    let guest = Guest::empty();
    guest
        .file("bin/busybox", ELF_X86_64)
        .link("sbin/init", "/bin/busybox")
        .file("sbin/openrc", ELF_X86_64)
        .file("boot/vmlinuz-virt", "")
        .file("etc/os-release", "NAME=\"Alpine Linux\"\nID=alpine\nVERSION_ID=3.20.3\nPRETTY_NAME=\"Alpine Linux v3.20\"\n")
        .file("usr/bin/cloud-init", "#!/usr/bin/python3\n")
        .file("lib/apk/db/installed", "C:Q1=\nP:busybox\nV:1.36.1-r29\n\nC:Q1=\nP:cloud-init\nV:24.1.4-r0\nA:noarch\n\n")
        .file("etc/cloud/cloud.cfg", "datasource_list: [\"ConfigDrive\", \"NoCloud\"]\n")
        .file("etc/init.d/cloud-init", "#!/sbin/openrc-run\n")
        .link("etc/runlevels/default/cloud-init", "/etc/init.d/cloud-init")
        .file("usr/sbin/sshd", ELF_X86_64)
        .file("etc/init.d/sshd", "#!/sbin/openrc-run\n")
        .link("etc/runlevels/default/sshd", "/etc/init.d/sshd");
    guest
}

#[test]
fn alpine_with_openrc() {
    let guest = alpine();
    let report = guest.report();
    assert_eq!(report.verdict, Verdict::Accepted, "{:#?}", report.findings);
    assert_eq!(report.facts.init.as_ref().unwrap().value, Init::OpenRc);
    assert_eq!(
        place(&report, RuleId::CloudInit),
        ("/lib/apk/db/installed".into(), Some(7))
    );
    assert_eq!(
        finding(&report, RuleId::Sshd).evidence[1].path.as_deref(),
        Some("/etc/runlevels/default/sshd")
    );

    guest.remove("etc/runlevels/default/sshd");
    let report = guest.report();
    assert_eq!(finding(&report, RuleId::Sshd).outcome, Outcome::Warning);
    assert_eq!(
        finding(&report, RuleId::Sshd).remedies[0].commands,
        ["rc-update add sshd default"]
    );
}

/// Fedora 40: systemd 255, cloud-init 24.1 in site-packages, GRUB with loader entries.
#[test]
fn fedora_with_loader_entries_and_presets() {
    let guest = Guest::empty();
    guest
        .link("sbin", "usr/sbin")
        .link("lib", "usr/lib")
        .file("usr/lib/systemd/systemd", ELF_X86_64)
        .link("usr/sbin/init", "../lib/systemd/systemd")
        .file(
            "usr/lib/os-release",
            "NAME=\"Fedora Linux\"\nID=fedora\nVERSION_ID=40\n",
        )
        .link("etc/os-release", "../usr/lib/os-release")
        .file("boot/grub2/grub.cfg", "load_env\nblscfg\n")
        .file(
            "boot/loader/entries/a-6.8.5.conf",
            "title old\noptions root=x\n",
        )
        .file(
            "boot/loader/entries/a-6.8.9.conf",
            "title new\noptions root=x console=ttyS0\n",
        )
        .file(
            "usr/lib/python3.12/site-packages/cloudinit/version.py",
            "__VERSION__ = \"24.1.4\"\n",
        )
        .file("usr/lib/systemd/system-generators/cloud-init-generator", "")
        .file("etc/cloud/cloud.cfg", "datasource_list: [ ConfigDrive ]\n")
        .file("usr/lib/systemd/system/sshd.service", "[Unit]\n")
        .file(
            "usr/lib/systemd/system-preset/90-default.preset",
            "# x\nenable sshd.service\n",
        )
        .file("usr/sbin/sshd", ELF_X86_64)
        .enable("cloud-init.service", "cloud-init.target");
    let report = guest.report();
    assert_eq!(finding(&report, RuleId::CloudInit).outcome, Outcome::Pass);
    let console = report.facts.serial_console.as_ref().unwrap();
    assert_eq!(
        console.evidence[0].path.as_deref(),
        Some("/boot/loader/entries/a-6.8.9.conf")
    );
    // The preset is shown, but a unit that nothing wants does not start.
    let sshd = finding(&report, RuleId::Sshd);
    assert_eq!(sshd.outcome, Outcome::Warning);
    assert_eq!(sshd.evidence[1].line, Some(2));
    assert_eq!(sshd.remedies[0].commands, ["systemctl enable sshd"]);
}

/// CentOS 6: upstart with SysV links, cloud-init 0.7.5.
#[test]
fn sysv_with_an_old_cloud_init() {
    let guest = Guest::empty();
    guest
        .file("sbin/init", ELF_X86_64)
        .file("etc/redhat-release", "CentOS release 6.10 (Final)\n")
        .file("etc/inittab", "id:3:initdefault:\n")
        .file(
            "usr/lib/python2.6/site-packages/cloudinit/version.py",
            "__VERSION__ = \"0.7.5\"\n",
        )
        .file("usr/sbin/sshd", ELF_X86_64)
        .file("etc/rc.d/init.d/sshd", "#!/bin/bash\n")
        .link("etc/rc.d/rc3.d/S55sshd", "../init.d/sshd");
    let report = guest.report();
    assert_eq!(
        says(&report, RuleId::OperatingSystem).1,
        "rhel CentOS release 6.10 (Final), x86_64"
    );
    assert_eq!(
        finding(&report, RuleId::CloudInit).message.id,
        "cloud-init-old"
    );
    assert_eq!(
        finding(&report, RuleId::Sshd).evidence[1].path.as_deref(),
        Some("/etc/rc.d/rc3.d/S55sshd")
    );
}

/// Dropbear in place of OpenSSH, as on small images.
#[test]
fn dropbear_counts_as_ssh_server() {
    let guest = alpine();
    guest
        .remove("usr/sbin/sshd")
        .file("usr/sbin/dropbear", ELF_X86_64)
        .file("etc/init.d/dropbear", "")
        .link("etc/runlevels/default/dropbear", "/etc/init.d/dropbear");
    let report = guest.report();
    assert_eq!(
        says(&report, RuleId::Sshd),
        (Outcome::Pass, "dropbear, starts on boot".into())
    );
}

/// A root without os-release, and a disk with nothing that looks like a root.
#[test]
fn no_system_is_a_failure() {
    let guest = Guest::empty();
    guest.file("etc/fstab", "");
    let report = guest.report();
    assert_eq!(
        finding(&report, RuleId::OperatingSystem).message.id,
        "operating-system-unnamed"
    );
    assert_eq!(report.verdict, Verdict::Refused);

    let guest = Guest::empty();
    guest.file("holiday.jpg", "");
    let report = guest.report();
    assert_eq!(report.verdict, Verdict::Refused);
}
