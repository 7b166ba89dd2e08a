//! One guest per behaviour: what each rule says, where it saw it, and what it offers.

use abbild_guest::{Enablement, Outcome, RuleId, Verdict};

use crate::tree::{Guest, VERSION_PY, commands, finding, place, report, says};

#[test]
fn a_guest_in_order_is_accepted() {
    let report = Guest::debian().report();
    assert_eq!(report.verdict, Verdict::Accepted, "{:#?}", report.findings);
    assert_eq!(
        says(&report, RuleId::OperatingSystem).1,
        "Debian GNU/Linux 12 (bookworm), x86_64"
    );
    let facts = &report.facts;
    assert_eq!(
        place(&report, RuleId::OperatingSystem),
        ("/usr/lib/os-release".into(), Some(1))
    );
    assert_eq!(facts.serial_console.as_ref().unwrap().value, "ttyS0,115200");
    assert_eq!(
        facts.cloud_init.default_user.as_ref().unwrap().value,
        "debian"
    );
    assert_eq!(
        facts.cloud_init.growpart.as_ref().unwrap().path.as_deref(),
        Some("/usr/bin/growpart")
    );
    assert_eq!(facts.kernels[0].value, "6.1.0-40-cloud-amd64");
    assert_eq!(
        facts.sshd.permit_root_login.as_ref().unwrap().evidence[0].line,
        Some(2)
    );
    assert!(facts.boot.bios && !facts.boot.uefi);
    assert!(facts.faults.is_empty(), "{:?}", facts.faults);
}

#[test]
fn filesystems_are_told_apart() {
    let guest = Guest::debian();
    for (kind, outcome) in [
        ("ext3", Outcome::Pass),
        ("ext4", Outcome::Pass),
        ("ext2", Outcome::Failure),
    ] {
        let report = report(guest.disk_as(&["-t", kind]));
        let (found, text) = says(&report, RuleId::RootFilesystem);
        assert_eq!(found, outcome, "{text}");
        assert!(
            text.starts_with(&format!("{kind} on partition 1")),
            "{text}"
        );
        assert_eq!(finding(&report, RuleId::Sshd).outcome, Outcome::Pass);
    }
}

#[test]
fn other_filesystems_are_named_and_the_rest_is_unknown() {
    let mut disk = Guest::debian().disk();
    let start = crate::tree::START;
    disk[start..].fill(0);
    disk[start..start + 4].copy_from_slice(b"XFSB");
    let report = report(disk);
    assert_eq!(report.verdict, Verdict::Refused);
    let (outcome, text) = says(&report, RuleId::RootFilesystem);
    assert_eq!(outcome, Outcome::Failure);
    assert_eq!(text, "xfs on partition 1; ext3 or ext4 is required");
    for rule in [
        RuleId::OperatingSystem,
        RuleId::CloudInit,
        RuleId::DatasourceOrder,
        RuleId::Sshd,
    ] {
        assert_eq!(finding(&report, rule).outcome, Outcome::Unknown);
    }
    assert_eq!(finding(&report, RuleId::ImageFormat).outcome, Outcome::Pass);
}

#[test]
fn cloud_init_is_missing_old_or_of_unknown_version() {
    let guest = Guest::debian();
    guest.file(VERSION_PY, "__VERSION__ = \"0.7.6\"\n");
    let report = guest.report();
    assert_eq!(
        says(&report, RuleId::CloudInit).1,
        "version 0.7.6 is too old; 0.7.7 or later is required"
    );

    guest.file(VERSION_PY, "nothing = 1\n");
    assert_eq!(
        finding(&guest.report(), RuleId::CloudInit).outcome,
        Outcome::Unknown
    );

    let entry = "Package: cloud\nStatus: install ok installed\nVersion: 9\n\n\
        Package: cloud-init\nStatus: install ok installed\nArchitecture: all\nVersion: 22.4.2-1+deb12u3\n\n";
    guest.file("var/lib/dpkg/status", entry);
    let report = guest.report();
    assert_eq!(
        place(&report, RuleId::CloudInit),
        ("/var/lib/dpkg/status".into(), Some(8))
    );

    // Removed but not purged: the entry and the configuration stay.
    guest.file(
        "var/lib/dpkg/status",
        entry.replace("install ok installed", "deinstall ok config-files"),
    );
    guest.remove(VERSION_PY).remove("usr/bin/cloud-init");
    let report = guest.report();
    assert_eq!(
        says(&report, RuleId::CloudInit),
        (
            Outcome::Failure,
            "neither cloud-init nor another program that does its work is installed".into()
        )
    );
    assert_eq!(
        commands(&report, RuleId::CloudInit),
        [
            "apt-get update",
            "apt-get install -y cloud-init",
            "virt-customize -a IMAGE --install cloud-init"
        ]
    );
    assert_eq!(
        finding(&report, RuleId::DatasourceOrder).outcome,
        Outcome::Unknown
    );
}

#[test]
fn python_metadata_gives_the_version_too() {
    let guest = Guest::debian();
    guest.file(VERSION_PY, "");
    guest.file(
        "usr/lib/python3/dist-packages/cloud_init-22.4.2.egg-info/PKG-INFO",
        "Metadata-Version: 2.1\nName: cloud-init\nVersion: 22.4.2\n",
    );
    let report = guest.report();
    assert_eq!(
        finding(&report, RuleId::CloudInit).evidence[0].line,
        Some(3)
    );
    assert_eq!(
        report.facts.cloud_init.version.as_ref().unwrap().value,
        "22.4.2"
    );
}

/// What is changed, where that is seen, and a part of the commands that undo it.
type Switch = (fn(&Guest), &'static str, Option<u32>, &'static str);

/// Each change alone keeps cloud-init from running, is seen, and can be undone.
fn assert_disabled_by(switches: &[Switch]) {
    for (change, path, line, command) in switches {
        let guest = Guest::debian();
        change(&guest);
        let report = guest.report();
        let (outcome, text) = says(&report, RuleId::CloudInit);
        assert_eq!(
            (outcome, text.as_str()),
            (
                Outcome::Failure,
                "cloud-init is installed but does not run on boot"
            ),
            "{path}"
        );
        assert_eq!(
            place(&report, RuleId::CloudInit),
            ((*path).to_owned(), *line)
        );
        let commands = commands(&report, RuleId::CloudInit);
        assert!(
            commands.iter().any(|offered| offered.contains(command)),
            "{commands:?}"
        );
    }
}

#[test]
fn switches_of_cloud_init_itself_are_seen() {
    assert_disabled_by(&[
        (
            |guest| {
                guest.file("etc/cloud/cloud-init.disabled", "");
            },
            "/etc/cloud/cloud-init.disabled",
            None,
            "rm /etc/cloud/cloud-init.disabled",
        ),
        (
            |guest| {
                guest.file(
                    "boot/grub/grub.cfg",
                    "\n\tlinux /vmlinuz ro cloud-init=disabled\n",
                );
            },
            "/boot/grub/grub.cfg",
            Some(2),
            "sed -i 's/ *cloud-init=disabled//g' /etc/default/grub /boot/grub/grub.cfg",
        ),
        (
            |guest| {
                guest.file("etc/cloud/ds-identify.cfg", "# x\npolicy: disabled\n");
            },
            "/etc/cloud/ds-identify.cfg",
            Some(2),
            "sed -i '/^policy:/d' /etc/cloud/ds-identify.cfg",
        ),
    ]);
}

#[test]
fn switches_of_systemd_are_seen() {
    assert_disabled_by(&[
        (
            |guest| {
                guest.link("etc/systemd/system/cloud-init.service", "/dev/null");
            },
            "/etc/systemd/system/cloud-init.service",
            None,
            "systemctl unmask cloud-init.service",
        ),
        (
            |guest| {
                guest.link("etc/systemd/system/cloud-init.target", "/dev/null");
            },
            "/etc/systemd/system/cloud-init.target",
            None,
            "systemctl unmask cloud-init.target",
        ),
        (
            |guest| {
                guest.remove("etc/systemd/system/cloud-init.target.wants/cloud-init.service");
                guest.remove("etc/systemd/system/cloud-init.target.wants/cloud-init-local.service");
            },
            "/etc/systemd/system/cloud-init.target.wants",
            None,
            "systemctl enable cloud-init-local",
        ),
        (
            |guest| {
                guest.remove("usr/lib/systemd/system-generators/cloud-init-generator");
            },
            "/usr/lib/systemd/system-generators/cloud-init-generator",
            None,
            "systemctl enable",
        ),
    ]);
}

#[test]
fn the_kernel_command_line_may_enable_against_the_file() {
    let guest = Guest::debian();
    guest.file("etc/cloud/cloud-init.disabled", "");
    guest.file("boot/grub/grub.cfg", "linux /vmlinuz cloud-init=enabled\n");
    assert_eq!(
        finding(&guest.report(), RuleId::CloudInit).outcome,
        Outcome::Pass
    );
}

#[test]
fn the_last_file_sets_the_data_sources() {
    let guest = Guest::debian();
    guest.file(
        "etc/cloud/cloud.cfg.d/91_local.cfg",
        "datasource_list:\n  - NoCloud\n  - ConfigDrive\n",
    );
    guest.file(
        "etc/cloud/cloud.cfg.d/92_not.yaml",
        "datasource_list: [ ConfigDrive ]\n",
    );
    let report = guest.report();
    assert_eq!(
        says(&report, RuleId::DatasourceOrder),
        (
            Outcome::Warning,
            "NoCloud is asked before ConfigDrive: NoCloud, ConfigDrive".into()
        )
    );
    assert_eq!(
        place(&report, RuleId::DatasourceOrder).0,
        "/etc/cloud/cloud.cfg.d/91_local.cfg"
    );
    assert_eq!(report.verdict, Verdict::AcceptedWithWarnings);
    assert!(
        commands(&report, RuleId::DatasourceOrder)[0]
            .ends_with("/etc/cloud/cloud.cfg.d/99-datasource.cfg")
    );

    guest.file(
        "etc/cloud/cloud.cfg.d/zz.cfg",
        "datasource_list: [ Ec2, None ]\n",
    );
    let report = guest.report();
    assert_eq!(
        says(&report, RuleId::DatasourceOrder).1,
        "ConfigDrive is not asked: Ec2, None"
    );
    assert!(commands(&report, RuleId::DatasourceOrder)[0].ends_with("/zzz-datasource.cfg"));
}

#[test]
fn without_a_list_cloud_inits_own_order_counts() {
    let guest = Guest::debian();
    guest.remove("etc/cloud/cloud.cfg.d/90_dpkg.cfg");
    let report = guest.report();
    assert_eq!(
        finding(&report, RuleId::DatasourceOrder).message.id,
        "datasource-order-built-in"
    );
}

#[test]
fn ds_identify_may_name_the_only_source() {
    let guest = Guest::debian();
    guest.file("etc/cloud/ds-identify.cfg", "datasource: NoCloud\n");
    let report = guest.report();
    assert_eq!(
        finding(&report, RuleId::DatasourceOrder).message.id,
        "datasource-order-no-config-drive"
    );
    assert_eq!(
        place(&report, RuleId::DatasourceOrder),
        ("/etc/cloud/ds-identify.cfg".into(), Some(1))
    );
}

#[test]
fn sshd_is_missing_disabled_or_masked() {
    let guest = Guest::debian();
    guest.remove("usr/sbin/sshd");
    let report = guest.report();
    assert_eq!(
        says(&report, RuleId::Sshd),
        (Outcome::Warning, "no SSH server is installed".into())
    );
    assert!(
        commands(&report, RuleId::Sshd).contains(&"apt-get install -y openssh-server".to_owned())
    );

    let guest = Guest::debian();
    guest.remove("etc/systemd/system/multi-user.target.wants/ssh.service");
    let report = guest.report();
    assert_eq!(
        says(&report, RuleId::Sshd).1,
        "openssh is installed but does not start on boot"
    );
    assert_eq!(
        commands(&report, RuleId::Sshd),
        [
            "systemctl enable ssh",
            "virt-customize -a IMAGE --run-command 'systemctl enable ssh'"
        ]
    );

    // Ubuntu starts it through a socket.
    guest.enable("ssh.socket", "sockets.target");
    assert_eq!(
        finding(&guest.report(), RuleId::Sshd).outcome,
        Outcome::Pass
    );

    let guest = Guest::debian();
    guest.link("etc/systemd/system/ssh.service", "/dev/null");
    let report = guest.report();
    assert_eq!(finding(&report, RuleId::Sshd).outcome, Outcome::Warning);
    assert_eq!(
        place(&report, RuleId::Sshd).0,
        "/etc/systemd/system/ssh.service"
    );
    assert_eq!(
        commands(&report, RuleId::Sshd)[0],
        "systemctl unmask ssh.service"
    );
}

#[test]
fn a_dangling_link_or_a_switch_file_keeps_sshd_off() {
    let guest = Guest::debian();
    guest.remove("usr/lib/systemd/system/ssh.service");
    assert_eq!(
        finding(&guest.report(), RuleId::Sshd).outcome,
        Outcome::Warning
    );

    let guest = Guest::debian();
    guest.file("etc/ssh/sshd_not_to_be_run", "");
    let report = guest.report();
    assert_eq!(
        place(&report, RuleId::Sshd).0,
        "/etc/ssh/sshd_not_to_be_run"
    );
    assert_eq!(
        report.facts.sshd.enablement.unwrap().value,
        Enablement::Disabled
    );
}

#[test]
fn sshd_settings_take_the_first_value_and_stop_at_match() {
    let guest = Guest::debian();
    guest.file("etc/ssh/sshd_config", "Include /etc/ssh/sshd_config.d/*.conf\nPasswordAuthentication yes\nMatch User x\nPort 99\n");
    guest.file(
        "etc/ssh/sshd_config.d/50-cloud-init.conf",
        "PasswordAuthentication no\n",
    );
    let sshd = guest.report().facts.sshd;
    let password = sshd.password_authentication.unwrap();
    assert_eq!(password.value, "no");
    assert_eq!(
        password.evidence[0].path.as_deref(),
        Some("/etc/ssh/sshd_config.d/50-cloud-init.conf")
    );
    assert_eq!(sshd.port, None);
}
