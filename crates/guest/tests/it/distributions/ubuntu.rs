//! Ubuntu 24.04 and 22.04.

use abbild_guest::{Outcome, RuleId};

use super::{STAGES, assert_in_order, cloud_cfg, cloud_init, systemd};
use crate::tree::{ELF_X86_64, Guest, commands, finding, place, says};

/// Ubuntu 24.04's server cloud image. os-release: base-files 13ubuntu10. cloud-init 24.4 keeps
/// separate stages there (`debian/patches/no-single-process.patch` of the package), `90_dpkg.cfg`
/// comes from its `debian/cloud-init.postinst`. growpart: cloud-guest-utils. netplan: netplan.io.
/// openssh-server 1:9.6p1-3ubuntu13 is started by its socket (discourse.ubuntu.com/t/30189).
fn noble() -> Guest {
    let guest = systemd(
        "PRETTY_NAME=\"Ubuntu 24.04.3 LTS\"\nNAME=\"Ubuntu\"\nVERSION_ID=\"24.04\"\nID=ubuntu\nID_LIKE=debian\n",
    );
    cloud_init(&guest, "usr/lib/python3/dist-packages", "24.4.1", STAGES);
    let renderers = "  network:\n    dhcp_client_priority: [dhcpcd, dhclient, udhcpc]\n    renderers: ['netplan', 'eni', 'sysconfig']\n";
    guest
        .file(
            "etc/cloud/cloud.cfg",
            cloud_cfg("ubuntu", "/bin/bash", true, renderers),
        )
        .file(
            "etc/cloud/cloud.cfg.d/90_dpkg.cfg",
            "# to update this file, run dpkg-reconfigure cloud-init\n\
             datasource_list: [ NoCloud, ConfigDrive, OpenNebula, DigitalOcean, Azure, AltCloud, OVF, MAAS, GCE, OpenStack, CloudSigma, SmartOS, Bigstep, Scaleway, AliYun, Ec2, CloudStack, Hetzner, IBMCloud, Oracle, Exoscale, RbxCloud, UpCloud, VMware, Vultr, LXD, NWCS, Akamai, WSL, None ]\n",
        )
        .file("usr/bin/growpart", "#!/bin/sh\n")
        .file("usr/sbin/resize2fs", ELF_X86_64)
        .file("usr/sbin/netplan", "#!/usr/bin/python3\n")
        .file("usr/sbin/sshd", ELF_X86_64)
        .file(
            "etc/ssh/sshd_config",
            "Include /etc/ssh/sshd_config.d/*.conf\nUsePAM yes\n",
        )
        .file(
            "etc/ssh/sshd_config.d/60-cloudimg-settings.conf",
            "PasswordAuthentication no\n",
        )
        .file("usr/lib/systemd/system/ssh.service", "[Install]\nWantedBy=multi-user.target\nAlias=sshd.service\n")
        .enable("ssh.socket", "sockets.target");
    guest.link(
        "etc/systemd/system/ssh.service.requires/ssh.socket",
        "/usr/lib/systemd/system/ssh.socket",
    );
    guest
}

#[test]
fn noble_starts_sshd_through_its_socket() {
    let guest = noble();
    assert_in_order(&guest);
    let report = guest.report();
    let facts = &report.facts;
    assert_eq!(
        finding(&report, RuleId::Sshd).evidence[1].path.as_deref(),
        Some("/etc/systemd/system/sockets.target.wants/ssh.socket")
    );
    let cloud = &facts.cloud_init;
    assert_eq!(cloud.version.as_ref().unwrap().value, "24.4.1");
    assert_eq!(cloud.default_user.as_ref().unwrap().value, "ubuntu");
    assert!(cloud.users.lock_password.as_ref().unwrap().value);
    assert_eq!(
        cloud.users.sudo.as_ref().unwrap().value,
        "ALL=(ALL) NOPASSWD:ALL"
    );
    let available: Vec<_> = cloud
        .renderers
        .available
        .iter()
        .map(|r| r.value.as_str())
        .collect();
    assert_eq!(available, ["netplan"]);
    assert_eq!(
        facts.sshd.password_authentication.as_ref().unwrap().value,
        "no"
    );
    // The order that Ubuntu ships does not suit a cloud that hands out config drives.
    assert_eq!(
        finding(&report, RuleId::DatasourceOrder).outcome,
        Outcome::Warning
    );
    assert_eq!(
        place(&report, RuleId::DatasourceOrder),
        ("/etc/cloud/cloud.cfg.d/90_dpkg.cfg".into(), Some(2))
    );
    assert!(cloud.problems.is_empty(), "{:?}", cloud.problems);
}

#[test]
fn noble_with_its_socket_off_does_not_start_sshd() {
    let guest = noble();
    guest
        .remove("etc/systemd/system/sockets.target.wants/ssh.socket")
        .remove("etc/systemd/system/ssh.service.requires/ssh.socket");
    let report = guest.report();
    assert_eq!(finding(&report, RuleId::Sshd).outcome, Outcome::Warning);
    assert_eq!(commands(&report, RuleId::Sshd)[0], "systemctl enable ssh");

    // A mask of the service alone leaves a socket with nothing behind it.
    let guest = noble();
    guest
        .remove("usr/lib/systemd/system/ssh.service")
        .link("etc/systemd/system/ssh.service", "/dev/null");
    let report = guest.report();
    assert_eq!(finding(&report, RuleId::Sshd).outcome, Outcome::Warning);
    assert_eq!(
        commands(&report, RuleId::Sshd)[0],
        "systemctl unmask ssh.service"
    );
}

/// 22.04: openssh-server 1:8.9p1-3ubuntu0 is started by its service.
#[test]
fn jammy_starts_sshd_by_its_service() {
    let guest = noble();
    guest
        .remove("etc/systemd/system/sockets.target.wants/ssh.socket")
        .remove("etc/systemd/system/ssh.service.requires/ssh.socket")
        .link(
            "etc/systemd/system/multi-user.target.wants/ssh.service",
            "/lib/systemd/system/ssh.service",
        );
    assert_in_order(&guest);
    assert_eq!(
        finding(&guest.report(), RuleId::Sshd).evidence[1]
            .path
            .as_deref(),
        Some("/etc/systemd/system/multi-user.target.wants/ssh.service")
    );
}

/// Ubuntu's server installer leaves these files; an image made of such a system keeps them.
#[test]
fn an_installed_system_tells_cloud_init_to_stay_out() {
    let guest = noble();
    guest
        .file(
            "etc/cloud/cloud.cfg.d/99-installer.cfg",
            "datasource:\n  None:\n    metadata: {instance-id: 1}\n    userdata_raw: x\ndatasource_list: [None]\n",
        )
        .file(
            "etc/cloud/cloud.cfg.d/subiquity-disable-cloudinit-networking.cfg",
            "network: {config: disabled}\n",
        );
    let report = guest.report();
    assert_eq!(
        says(&report, RuleId::DatasourceOrder).1,
        "ConfigDrive is not asked: None"
    );
    let cloud = &report.facts.cloud_init;
    assert_eq!(cloud.datasource_overridden.len(), 1);
    let disabled = cloud.renderers.disabled.as_ref().unwrap();
    assert_eq!(disabled.line, Some(1));
}
