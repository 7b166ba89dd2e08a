//! Fedora, Rocky Linux, and an old CentOS.

use abbild_guest::{Outcome, RuleId};

use super::{SINGLE_PROCESS, STAGES, assert_in_order, cloud_cfg, cloud_init, systemd};
use crate::tree::{ELF_X86_64, Guest, commands, finding, place, says};

/// What Fedora and its descendants share: sshd.service of openssh-server (`[Install]
/// WantedBy=multi-user.target`, wants sshd-keygen.target), enabled by 90-default.preset of
/// fedora-release or redhat-release; NetworkManager; growpart of cloud-utils-growpart.
fn family(os_release: &str, python: &str, version: &str, services: [&str; 2], user: &str) -> Guest {
    let guest = systemd(os_release);
    cloud_init(
        &guest,
        &format!("usr/lib/{python}/site-packages"),
        version,
        services,
    );
    let renderers = "  network:\n    renderers: ['eni', 'netplan', 'network-manager', 'sysconfig', 'networkd']\n";
    guest
        .file(
            "etc/cloud/cloud.cfg",
            cloud_cfg(user, "/bin/bash", true, renderers),
        )
        .file("usr/bin/growpart", "#!/bin/sh\n")
        .file("usr/sbin/resize2fs", ELF_X86_64)
        .file("usr/bin/nmcli", ELF_X86_64)
        .enable("NetworkManager.service", "multi-user.target")
        .file("usr/sbin/sshd", ELF_X86_64)
        .file(
            "usr/lib/systemd/system/sshd.socket",
            "[Install]\nWantedBy=sockets.target\n",
        )
        .file("usr/lib/systemd/system/sshd-keygen.target", "[Unit]\n")
        .file(
            "usr/lib/systemd/system-preset/90-default.preset",
            "# Fedora and the like\nenable sshd.service\nenable cloud-init.service\n",
        )
        .file(
            "etc/ssh/sshd_config",
            "Include /etc/ssh/sshd_config.d/*.conf\n",
        )
        .enable("sshd.service", "multi-user.target");
    guest
}

/// Fedora 42 Cloud: cloud-init 24.2 for Python 3.13, loader entries of the Boot Loader
/// Specification (grub2-common's `10_linux` with blscfg).
fn fedora() -> Guest {
    let guest = family(
        "NAME=\"Fedora Linux\"\nVERSION=\"42 (Cloud Edition)\"\nID=fedora\nVERSION_ID=42\nPRETTY_NAME=\"Fedora Linux 42 (Cloud Edition)\"\nSUPPORT_END=2026-05-13\n",
        "python3.13",
        "24.2",
        STAGES,
        "fedora",
    );
    guest
        .file("boot/grub2/grub.cfg", "load_env\nblscfg\n")
        .file(
            "boot/loader/entries/a-6.14.0.conf",
            "title old\nversion 6.14.0\noptions root=x\n",
        )
        .file(
            "boot/loader/entries/a-6.14.5.conf",
            "title new\nversion 6.14.5\noptions root=x console=ttyS0\n",
        );
    guest
}

#[test]
fn fedora_asks_the_built_in_data_sources() {
    let guest = fedora();
    assert_in_order(&guest);
    let report = guest.report();
    let order = finding(&report, RuleId::DatasourceOrder);
    assert_eq!(order.message.id, "datasource-order-built-in");
    assert_eq!(
        place(&report, RuleId::DatasourceOrder),
        (
            "/usr/lib/python3.13/site-packages/cloudinit/settings.py".into(),
            Some(3)
        )
    );
    let cloud = &report.facts.cloud_init;
    assert!(cloud.datasource_built_in);
    assert_eq!(
        cloud.datasource_list.as_ref().unwrap().value,
        ["NoCloud", "ConfigDrive", "LXD", "None"]
    );
    assert_eq!(cloud.renderers.available[0].value, "network-manager");
    let console = report.facts.serial_console.as_ref().unwrap();
    assert_eq!(
        console.evidence[0].path.as_deref(),
        Some("/boot/loader/entries/a-6.14.5.conf")
    );
}

#[test]
fn a_preset_alone_starts_nothing() {
    let guest = fedora();
    guest.remove("etc/systemd/system/multi-user.target.wants/sshd.service");
    let report = guest.report();
    let sshd = finding(&report, RuleId::Sshd);
    assert_eq!(sshd.outcome, Outcome::Warning);
    // It is shown all the same.
    assert_eq!(sshd.evidence[1].line, Some(2));
    assert_eq!(sshd.remedies[0].commands, ["systemctl enable sshd"]);

    let guest = fedora();
    guest.remove("etc/systemd/system/cloud-init.target.wants/cloud-init.service");
    guest.remove("etc/systemd/system/cloud-init.target.wants/cloud-init-local.service");
    assert_eq!(
        finding(&guest.report(), RuleId::CloudInit).outcome,
        Outcome::Failure
    );
}

/// Rocky Linux 9 GenericCloud: cloud-init 24.4 for Python 3.9.
#[test]
fn rocky() {
    let guest = family(
        "NAME=\"Rocky Linux\"\nVERSION=\"9.6 (Blue Onyx)\"\nID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\nVERSION_ID=\"9.6\"\nPRETTY_NAME=\"Rocky Linux 9.6 (Blue Onyx)\"\n",
        "python3.9",
        "24.4",
        SINGLE_PROCESS,
        "rocky",
    );
    assert_in_order(&guest);
    let report = guest.report();
    assert_eq!(
        says(&report, RuleId::OperatingSystem).1,
        "Rocky Linux 9.6 (Blue Onyx), x86_64"
    );
    assert_eq!(
        finding(&report, RuleId::CloudInit).evidence[1]
            .path
            .as_deref(),
        Some("/etc/systemd/system/cloud-init.target.wants/cloud-init-main.service")
    );

    // Cut down to the packages that somebody thought were needed.
    guest.remove("usr/bin/cloud-init");
    guest.remove("usr/lib/python3.9/site-packages/cloudinit/version.py");
    let report = guest.report();
    assert!(commands(&report, RuleId::CloudInit).contains(&"dnf install -y cloud-init".to_owned()));
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
