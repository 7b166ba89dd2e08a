//! Systems that Ignition or coreos-cloudinit set up: Fedora CoreOS, Flatcar, openSUSE MicroOS.
//!
//! Their root filesystems are xfs, btrfs or split over several partitions; here their files lie on
//! one ext4, because only what the files say is under test.

use abbild_guest::{Enablement, Outcome, RuleId};

use crate::tree::{ELF_X86_64, Guest, commands, finding, place, says};

/// Fedora CoreOS 42. Paths: `Makefile`, `dracut/30ignition/` and `grub2/05_ignition.cfg` of
/// coreos/ignition; presets: `overlay.d/05core/…/40-coreos.preset` of coreos/fedora-coreos-config;
/// sshd: openssh-server of Fedora, enabled by 90-default.preset of fedora-release when the image is
/// composed.
pub fn fedora_coreos(platform: &str) -> Guest {
    let guest = Guest::empty();
    guest
        .link("bin", "usr/bin")
        .link("sbin", "usr/sbin")
        .link("lib", "usr/lib")
        .file("usr/lib/systemd/systemd", ELF_X86_64)
        .link("usr/sbin/init", "../lib/systemd/systemd")
        .file(
            "usr/lib/os-release",
            "NAME=\"Fedora Linux\"\nVERSION_ID=42\nID=fedora\nVARIANT_ID=coreos\n\
             PRETTY_NAME=\"Fedora CoreOS 42.20250803.3.0\"\n",
        )
        .link("etc/os-release", "../usr/lib/os-release")
        .file("boot/ignition.firstboot", "")
        .file(
            "boot/grub2/grub.cfg",
            "if [ -f \"/ignition.firstboot\" ]; then\nset ignition_firstboot=\"ignition.firstboot\"\nfi\nblscfg\n",
        )
        .file(
            "boot/loader/entries/ostree-1.conf",
            format!(
                "title Fedora CoreOS 42\nversion 1\n\
                 options mitigations=auto,nosmt ignition.platform.id={platform} $ignition_firstboot console=ttyS0,115200n8 ostree=/ostree/boot.1/fedora-coreos/0\n"
            ),
        )
        .file("usr/lib/dracut/modules.d/30ignition/ignition", ELF_X86_64)
        .file("usr/lib/dracut/modules.d/30ignition/module-setup.sh", "#!/bin/bash\n")
        .link("usr/libexec/ignition-apply", "../lib/dracut/modules.d/30ignition/ignition")
        .file("usr/lib/systemd/system-preset/40-coreos.preset", "enable coreos-growpart.service\n")
        .file("usr/sbin/sshd", ELF_X86_64)
        .enable("sshd.service", "multi-user.target");
    guest
}

#[test]
fn ignition_on_openstack_is_as_good_as_cloud_init() {
    let report = fedora_coreos("openstack").report();
    assert_eq!(
        says(&report, RuleId::CloudInit),
        (Outcome::Pass, "ignition, runs on the first boot".into())
    );
    assert_eq!(
        finding(&report, RuleId::CloudInit).evidence[1]
            .path
            .as_deref(),
        Some("/boot/ignition.firstboot")
    );
    assert_eq!(
        says(&report, RuleId::DatasourceOrder),
        (
            Outcome::Pass,
            "ignition reads the config drive (`openstack`)".into()
        )
    );
    assert_eq!(
        place(&report, RuleId::DatasourceOrder),
        ("/boot/loader/entries/ostree-1.conf".into(), Some(3))
    );
    assert_eq!(finding(&report, RuleId::Sshd).outcome, Outcome::Pass);
}

#[test]
fn ignition_on_another_platform_will_not_find_its_data() {
    let report = fedora_coreos("qemu").report();
    assert_eq!(finding(&report, RuleId::CloudInit).outcome, Outcome::Pass);
    assert_eq!(
        says(&report, RuleId::DatasourceOrder),
        (
            Outcome::Warning,
            "ignition looks for its data elsewhere (`qemu`) and will not find a config drive"
                .into()
        )
    );
    assert_eq!(
        commands(&report, RuleId::DatasourceOrder)[0],
        "sed -i 's/\\(platform\\|oem\\)\\.id=qemu/\\1.id=openstack/' /boot/loader/entries/ostree-1.conf"
    );
}

#[test]
fn ignition_runs_on_a_first_boot_only() {
    let guest = fedora_coreos("openstack");
    guest.remove("boot/ignition.firstboot");
    let report = guest.report();
    assert_eq!(
        says(&report, RuleId::CloudInit).1,
        "ignition is installed but does not run on the first boot"
    );
    assert_eq!(
        commands(&report, RuleId::CloudInit)[0],
        "touch /boot/ignition.firstboot"
    );
}

/// openSUSE MicroOS, packages ignition and ignition-dracut-grub2 (`ignition.spec` and
/// `02_ignition_firstboot` on build.opensuse.org).
#[test]
fn micro_os_counts_boots_the_other_way_round() {
    let guest = fedora_coreos("openstack");
    guest
        .remove("boot/ignition.firstboot")
        .file("etc/grub.d/02_ignition_firstboot", "#!/bin/sh\n");
    let agents = guest.report().facts.agents;
    assert_eq!(agents[0].enablement.value, Enablement::Enabled);

    guest.file("boot/writable/firstboot_happened", "");
    let report = guest.report();
    assert_eq!(
        place(&report, RuleId::CloudInit).0,
        "/boot/writable/firstboot_happened"
    );
    assert_eq!(
        commands(&report, RuleId::CloudInit)[0],
        "rm /boot/writable/firstboot_happened"
    );
}

/// Flatcar 4230: ignition from `sys-apps/ignition`, coreos-cloudinit and its units from
/// `coreos-base/coreos-cloudinit` of flatcar/scripts and `units/` of flatcar/coreos-cloudinit; the
/// OEM's `grub.cfg` from `coreos-base/common-oem-files`; sshd through its
/// socket, one sshd@.service per connection (`net-misc/openssh`), with keys from
/// sshd-keygen.service (`systemd/system` of flatcar/init).
pub fn flatcar(oem: &str) -> Guest {
    let guest = Guest::empty();
    guest
        .link("bin", "usr/bin")
        .link("sbin", "usr/sbin")
        .link("lib", "usr/lib")
        .file("usr/lib/systemd/systemd", ELF_X86_64)
        .link("usr/sbin/init", "../lib/systemd/systemd")
        .file(
            "usr/lib/os-release",
            "NAME=\"Flatcar Container Linux by Kinvolk\"\nID=flatcar\nID_LIKE=coreos\n\
             VERSION_ID=4230.2.1\nPRETTY_NAME=\"Flatcar Container Linux by Kinvolk 4230.2.1\"\n",
        )
        .link("etc/os-release", "../usr/lib/os-release")
        .file(
            "oem/grub.cfg",
            format!("# Flatcar GRUB settings\n\nset oem_id=\"{oem}\"\n"),
        )
        .file("boot/flatcar/first_boot", "")
        .file("usr/bin/ignition", ELF_X86_64)
        .file("usr/bin/coreos-cloudinit", ELF_X86_64)
        .file(
            "usr/lib/udev/rules.d/90-configdrive.rules",
            "ACTION!=\"add|change\"\n",
        )
        .file(
            "usr/lib/systemd/system/media-configdrive.mount",
            "[Unit]\nWants=user-configdrive.service\n",
        )
        .file(
            "usr/lib/systemd/system/user-configdrive.service",
            "[Unit]\n",
        )
        .file("usr/lib/systemd/system/user-config.target", "[Unit]\n")
        .link(
            "usr/lib/systemd/system/multi-user.target.wants/user-config.target",
            "../user-config.target",
        )
        .file("usr/sbin/sshd", ELF_X86_64)
        .file(
            "usr/lib/systemd/system/sshd.socket",
            "[Socket]\nListenStream=22\nAccept=yes\n[Install]\nWantedBy=sockets.target\n",
        )
        .link(
            "usr/lib/systemd/system/sockets.target.wants/sshd.socket",
            "../sshd.socket",
        );
    guest
}

#[test]
fn flatcar_has_two_programs_and_one_that_finds_its_data_suffices() {
    let report = flatcar("openstack").report();
    let names: Vec<_> = report
        .facts
        .agents
        .iter()
        .map(|agent| &agent.name)
        .collect();
    assert_eq!(names, ["ignition", "coreos-cloudinit"]);
    assert_eq!(finding(&report, RuleId::CloudInit).outcome, Outcome::Pass);
    assert_eq!(
        finding(&report, RuleId::DatasourceOrder).outcome,
        Outcome::Pass
    );
    let platform = report.facts.agents[0].data_source.as_ref().unwrap();
    assert_eq!(platform.value, "openstack");
    assert_eq!(platform.evidence[0].line, Some(3));
    assert_eq!(finding(&report, RuleId::Sshd).outcome, Outcome::Pass);

    // Ignition asks QEMU, but coreos-cloudinit reads a config drive wherever it runs.
    let report = flatcar("qemu").report();
    assert_eq!(
        says(&report, RuleId::DatasourceOrder),
        (
            Outcome::Pass,
            "coreos-cloudinit reads the config drive".into()
        )
    );
}

#[test]
fn flatcar_starts_one_sshd_per_connection() {
    let guest = flatcar("openstack");
    // Nobody misses the other service.
    guest.link("etc/systemd/system/sshd.service", "/dev/null");
    assert_eq!(
        finding(&guest.report(), RuleId::Sshd).outcome,
        Outcome::Pass
    );
    guest.link("etc/systemd/system/sshd@.service", "/dev/null");
    assert_eq!(
        finding(&guest.report(), RuleId::Sshd).outcome,
        Outcome::Warning
    );
}

#[test]
fn coreos_cloudinit_may_be_masked_or_without_its_units() {
    let guest = flatcar("openstack");
    guest
        .remove("usr/bin/ignition")
        .link("etc/systemd/system/user-configdrive.service", "/dev/null");
    let report = guest.report();
    assert_eq!(
        says(&report, RuleId::CloudInit).1,
        "coreos-cloudinit is installed but does not run on the first boot"
    );
    assert_eq!(
        commands(&report, RuleId::CloudInit)[0],
        "systemctl unmask user-configdrive.service"
    );

    // Without the udev rule it still runs, for a file of the image or an address.
    let guest = flatcar("openstack");
    guest
        .remove("usr/bin/ignition")
        .remove("usr/lib/udev/rules.d/90-configdrive.rules");
    let report = guest.report();
    assert_eq!(finding(&report, RuleId::CloudInit).outcome, Outcome::Pass);
    assert_eq!(
        says(&report, RuleId::DatasourceOrder),
        (
            Outcome::Warning,
            "coreos-cloudinit is not set up to read a config drive".into()
        )
    );

    guest.remove("usr/lib/systemd/system/multi-user.target.wants/user-config.target");
    assert_eq!(
        finding(&guest.report(), RuleId::CloudInit).outcome,
        Outcome::Failure
    );
}

#[test]
fn a_cloud_init_that_does_not_run_is_stood_in_for() {
    let guest = fedora_coreos("openstack");
    guest
        .file(
            "usr/lib/python3.13/site-packages/cloudinit/version.py",
            "__VERSION__ = \"24.2\"\n",
        )
        .file("etc/cloud/cloud.cfg", "datasource_list: [ NoCloud ]\n");
    let report = guest.report();
    assert_eq!(
        says(&report, RuleId::CloudInit).1,
        "ignition, runs on the first boot"
    );
    assert_eq!(
        finding(&report, RuleId::DatasourceOrder).outcome,
        Outcome::Pass
    );
    // What it lacks matters only if it is to run.
    assert!(report.finding(RuleId::CloudUser).is_none());

    guest.remove("boot/ignition.firstboot");
    let report = guest.report();
    assert!(report.finding(RuleId::CloudUser).is_some());
    assert_eq!(
        says(&report, RuleId::CloudInit),
        (
            Outcome::Failure,
            "cloud-init is installed but does not run on boot".into()
        )
    );
}
