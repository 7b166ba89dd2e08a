//! openSUSE Leap 15.6 and Tumbleweed.

use abbild_guest::{Outcome, RuleId};

use super::{STAGES, assert_in_order, cloud_cfg, cloud_init, systemd};
use crate::tree::{ELF_X86_64, Guest, commands, finding};

/// Leap 15.6 Minimal-VM Cloud: cloud-init 23.3 for Python 3.6 (Cloud:Tools on build.opensuse.org),
/// wicked with `/etc/sysconfig/network/config` of sysconfig-netconfig, package growpart, sshd.service
/// of openssh-server.
fn leap() -> Guest {
    let guest = systemd(
        "NAME=\"openSUSE Leap\"\nVERSION=\"15.6\"\nID=\"opensuse-leap\"\nID_LIKE=\"suse opensuse\"\nVERSION_ID=\"15.6\"\nPRETTY_NAME=\"openSUSE Leap 15.6\"\n",
    );
    cloud_init(&guest, "usr/lib/python3.6/site-packages", "23.3", STAGES);
    guest
        .file(
            "etc/cloud/cloud.cfg",
            cloud_cfg("opensuse", "/bin/bash", true, ""),
        )
        .file("usr/sbin/growpart", "#!/bin/sh\n")
        .file("usr/sbin/resize2fs", ELF_X86_64)
        .file("usr/sbin/ifup", "#!/bin/sh\n")
        .file("usr/sbin/ifdown", "#!/bin/sh\n")
        .file("etc/sysconfig/network/config", "\n")
        .file("usr/sbin/sshd", ELF_X86_64)
        .file("etc/ssh/sshd_config", "PermitRootLogin no\n")
        .enable("sshd.service", "multi-user.target");
    guest
}

#[test]
fn leap_uses_wicked() {
    let guest = leap();
    assert_in_order(&guest);
    let report = guest.report();
    let cloud = &report.facts.cloud_init;
    assert_eq!(cloud.renderers.available[0].value, "sysconfig");
    assert_eq!(
        cloud.growpart.as_ref().unwrap().path.as_deref(),
        Some("/usr/sbin/growpart")
    );
}

#[test]
fn leap_installs_with_zypper() {
    let guest = leap();
    guest.remove("usr/sbin/sshd");
    assert_eq!(
        commands(&guest.report(), RuleId::Sshd)[0],
        "zypper install -y openssh-server"
    );
}

/// Tumbleweed: the distribution's own sshd_config is in `/usr/etc/ssh`, and `/etc/ssh` is for the
/// administrator's (openssh.spec of network/openssh, "usr-etc").
#[test]
fn tumbleweed_keeps_its_settings_under_usr_etc() {
    let guest = leap();
    guest
        .remove("usr/lib/os-release")
        .file(
            "usr/lib/os-release",
            "NAME=\"openSUSE Tumbleweed\"\nID=\"opensuse-tumbleweed\"\nID_LIKE=\"opensuse suse\"\nVERSION_ID=\"20250801\"\nPRETTY_NAME=\"openSUSE Tumbleweed\"\n",
        )
        .remove("etc/ssh/sshd_config")
        .file(
            "usr/etc/ssh/sshd_config",
            "Include /etc/ssh/sshd_config.d/*.conf\nInclude /usr/etc/ssh/sshd_config.d/*.conf\nPasswordAuthentication no\n",
        )
        .file(
            "usr/etc/ssh/sshd_config.d/50-permit-root-login.conf",
            "PermitRootLogin yes\n",
        );
    assert_in_order(&guest);
    let sshd = guest.report().facts.sshd;
    let password = sshd.password_authentication.unwrap();
    assert_eq!(
        password.evidence[0].path.as_deref(),
        Some("/usr/etc/ssh/sshd_config")
    );
    let root = sshd.permit_root_login.unwrap();
    assert_eq!(root.value, "yes");
    assert_eq!(
        root.evidence[0].path.as_deref(),
        Some("/usr/etc/ssh/sshd_config.d/50-permit-root-login.conf")
    );
    assert_eq!(
        finding(&guest.report(), RuleId::Sshd).outcome,
        Outcome::Pass
    );
}
