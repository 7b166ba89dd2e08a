//! Other systems, reduced to the files that are looked at. Each tree says what it mirrors: the
//! packages' paths and units, their versions, and where that can be looked up.
//!
//! What a tree shows of its system is tested first; then it is broken in the ways that its users
//! break it.

mod alpine;
mod amazon;
mod arch;
pub mod coreos;
mod freebsd;
mod redhat;
mod suse;
mod ubuntu;

use abbild_guest::{Outcome, RuleId, Verdict};

use crate::tree::{ELF_X86_64, Guest, finding};

/// Merged `/usr`, systemd and an os-release, which all of today's distributions have.
fn systemd(os_release: &str) -> Guest {
    let guest = Guest::empty();
    guest
        .link("bin", "usr/bin")
        .link("sbin", "usr/sbin")
        .link("lib", "usr/lib")
        .link("lib64", "usr/lib64")
        .file("usr/lib64/ld-linux-x86-64.so.2", ELF_X86_64)
        .file("usr/lib/systemd/systemd", ELF_X86_64)
        .link("usr/sbin/init", "../lib/systemd/systemd")
        .file("usr/bin/systemctl", ELF_X86_64)
        .file("usr/bin/bash", ELF_X86_64)
        .file("usr/lib/os-release", os_release)
        .link("etc/os-release", "../usr/lib/os-release")
        .file("etc/fstab", "LABEL=root / ext4 defaults 0 1\n");
    guest
}

/// cloud-init's program and units as `setup.py` and `systemd/` of canonical/cloud-init install
/// them: all wanted by cloud-init.target, which the generator starts. Before 24.3 the second
/// service was called cloud-init.service.
fn cloud_init(guest: &Guest, modules: &str, version: &str, services: [&str; 2]) {
    guest
        .file("usr/bin/cloud-init", "#!/usr/bin/python3\n")
        .file(
            &format!("{modules}/cloudinit/version.py"),
            format!("__VERSION__ = \"{version}\"\n_PACKAGED_VERSION = \"@@PACKAGED_VERSION@@\"\n"),
        )
        .file(&format!("{modules}/cloudinit/settings.py"), SETTINGS)
        .file(
            "usr/lib/systemd/system-generators/cloud-init-generator",
            "#!/bin/sh\n",
        );
    for service in services {
        guest.enable(service, "cloud-init.target");
    }
}

const SINGLE_PROCESS: [&str; 2] = ["cloud-init-main.service", "cloud-init-network.service"];
const STAGES: [&str; 2] = ["cloud-init-local.service", "cloud-init.service"];

/// The head of `cloudinit/settings.py`, which has the built-in list from its 23rd line on.
const SETTINGS: &str = "# What u get if no config is provided\nCFG_BUILTIN = {\n    \"datasource_list\": [\n        \"NoCloud\",\n        \"ConfigDrive\",\n        \"LXD\",\n        \"None\",\n    ],\n    \"def_log_file\": \"/var/log/cloud-init.log\",\n}\n";

/// `config/cloud.cfg.tmpl` of canonical/cloud-init, rendered for a distribution: what is read of
/// it, in its order.
fn cloud_cfg(user: &str, shell: &str, disable_root: bool, renderers: &str) -> String {
    format!(
        "users:\n  - default\n\ndisable_root: {disable_root}\npreserve_hostname: false\n\n\
         cloud_init_modules:\n  - seed_random\n  - bootcmd\n  - write_files\n  - growpart\n  - resizefs\n  \
         - disk_setup\n  - mounts\n  - set_hostname\n  - users_groups\n  - ssh\n  - set_passwords\n\n\
         system_info:\n  distro: x\n  default_user:\n    name: {user}\n    lock_passwd: True\n    \
         gecos: Cloud User\n    groups: [wheel, adm]\n    sudo: [\"ALL=(ALL) NOPASSWD:ALL\"]\n    shell: {shell}\n{renderers}"
    )
}

/// All requirements that cloud-init and sshd decide are met.
fn assert_in_order(guest: &Guest) {
    let report = guest.report();
    for rule in [RuleId::OperatingSystem, RuleId::CloudInit, RuleId::Sshd] {
        let finding = finding(&report, rule);
        assert_eq!(finding.outcome, Outcome::Pass, "{finding:#?}");
    }
    assert_ne!(report.verdict, Verdict::Refused);
    assert!(
        report.facts.cloud_init.datasource_list.is_some(),
        "{:#?}",
        report.facts.cloud_init
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
