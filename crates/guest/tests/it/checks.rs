//! The rules beyond the requirements: silent on a guest in order, and each with the place and the
//! remedy where something is amiss.

use abbild_guest::{Context, Lang, Outcome, Report, RuleId, Verdict};

use crate::tree::{Guest, assert_rendered, commands, finding, place, report, says};

/// What makes D-Bus' id the machine's.
const LINK: &str = "ln -sf /etc/machine-id /var/lib/dbus/machine-id";

/// The names of the findings beyond the requirements.
fn extra(report: &Report) -> Vec<&'static str> {
    report
        .findings
        .iter()
        .filter(|finding| !finding.rule.is_requirement())
        .map(|finding| finding.rule.as_str())
        .collect()
}

#[test]
fn a_guest_in_order_has_findings_on_the_requirements_only() {
    let report = Guest::debian().report();
    assert_eq!(report.findings.len(), 7, "{:#?}", report.findings);
    assert_eq!(report.verdict, Verdict::Accepted);
}

#[test]
fn what_belongs_to_one_machine_is_found() {
    let guest = Guest::debian();
    guest
        .file("etc/machine-id", "0123456789abcdef0123456789abcdef\n")
        .link("var/lib/dbus/machine-id", "/etc/machine-id")
        .file("etc/ssh/ssh_host_rsa_key", "-----BEGIN\n")
        .file("etc/ssh/ssh_host_rsa_key.pub", "ssh-rsa AAAA\n")
        .file("etc/ssh/ssh_host_ed25519_key", "-----BEGIN\n")
        .file(
            "root/.ssh/authorized_keys",
            "# nobody\n\nssh-ed25519 AAAA a@b\n",
        )
        .file("home/debian/.ssh/id_ed25519", "-----BEGIN\n")
        .file("home/debian/.ssh/id_ed25519.pub", "ssh-ed25519 AAAA\n");
    let report = guest.report();
    assert_eq!(
        extra(&report),
        ["machine-id", "host-keys", "authorized-keys", "private-keys"]
    );
    assert_eq!(report.verdict, Verdict::AcceptedWithWarnings);
    assert_eq!(
        place(&report, RuleId::MachineId),
        ("/etc/machine-id".into(), None)
    );
    assert_eq!(
        commands(&report, RuleId::MachineId)[0],
        "truncate -s 0 /etc/machine-id"
    );
    assert!(!commands(&report, RuleId::MachineId).contains(&LINK.to_owned()));
    assert_eq!(
        says(&report, RuleId::HostKeys).1,
        "the image holds 2 private SSH host keys"
    );
    assert_eq!(
        commands(&report, RuleId::HostKeys)[0],
        "rm /etc/ssh/ssh_host_ed25519_key /etc/ssh/ssh_host_rsa_key"
    );
    assert_eq!(
        place(&report, RuleId::AuthorizedKeys),
        ("/root/.ssh/authorized_keys".into(), Some(3))
    );
    let json = report.to_json(Lang::En).to_string();
    assert!(!json.contains("BEGIN"), "a private key is in the report");

    guest.remove("var/lib/dbus/machine-id").file(
        "var/lib/dbus/machine-id",
        "0123456789abcdef0123456789abcdef\n",
    );
    assert_eq!(commands(&guest.report(), RuleId::MachineId)[1], LINK);

    let clean = Guest::debian();
    clean
        .file("etc/machine-id", "uninitialized\n")
        .file("root/.ssh/authorized_keys", "# none\n");
    assert!(extra(&clean.report()).is_empty());
}

#[test]
fn settings_of_the_ssh_server_that_matter() {
    let guest = Guest::debian();
    guest
        .file("etc/ssh/sshd_config", "Port 2222\nPermitRootLogin yes\n")
        .file("etc/shadow", "root:$y$secret:19000::::::\nbin:*:1::::::\n");
    let report = guest.report();
    assert_eq!(extra(&report), ["sshd-port", "sshd-root-login"]);
    assert_eq!(finding(&report, RuleId::SshdPort).outcome, Outcome::Note);
    assert_eq!(
        place(&report, RuleId::SshdRootLogin),
        ("/etc/ssh/sshd_config".into(), Some(2))
    );
    assert!(!report.to_json(Lang::En).to_string().contains("secret"));

    // A locked password lets nobody in, and neither does a server that takes keys only.
    guest.file("etc/shadow", "root:!$y$secret:19000::::::\n");
    assert_eq!(extra(&guest.report()), ["sshd-port"]);
    guest.file("etc/shadow", "root::19000::::::\n").file(
        "etc/ssh/sshd_config",
        "PermitRootLogin yes\nPasswordAuthentication no\n",
    );
    assert!(extra(&guest.report()).is_empty());
}

#[test]
fn firewalls_that_admit_nobody() {
    let nft = "table inet filter {\n\tchain input {\n\t\ttype filter hook input priority 0; policy drop;\n\t\ttcp dport 80 accept\n\t}\n}\n";
    let guest = Guest::debian();
    guest.file("etc/nftables.conf", nft);
    assert!(extra(&guest.report()).is_empty(), "it does not start");
    guest.enable("nftables.service", "sysinit.target");
    let report = guest.report();
    assert_eq!(extra(&report), ["sshd-firewall"]);
    assert_eq!(
        place(&report, RuleId::SshdFirewall),
        ("/etc/nftables.conf".into(), Some(3))
    );
    guest.file("etc/nftables.conf", nft.replace("dport 80", "dport ssh"));
    assert!(extra(&guest.report()).is_empty());

    let guest = Guest::debian();
    guest
        .file("etc/ufw/ufw.conf", "ENABLED=yes\n")
        .file("etc/default/ufw", "DEFAULT_INPUT_POLICY=\"DROP\"\n")
        .enable("ufw.service", "multi-user.target");
    assert_eq!(
        commands(&guest.report(), RuleId::SshdFirewall)[0],
        "ufw allow 22/tcp"
    );
    guest.file(
        "etc/ufw/user.rules",
        "-A ufw-user-input -p tcp --dport 22 -j ACCEPT\n",
    );
    assert!(extra(&guest.report()).is_empty());

    let guest = Guest::debian();
    guest
        .file("etc/firewalld/firewalld.conf", "DefaultZone=drop\n")
        .file(
            "usr/lib/firewalld/zones/drop.xml",
            "<zone target=\"DROP\"></zone>\n",
        )
        .enable("firewalld.service", "multi-user.target");
    assert_eq!(extra(&guest.report()), ["sshd-firewall"]);
}

#[test]
fn networks_of_one_machine() {
    let cases = [
        (
            "etc/network/interfaces",
            "auto lo\niface lo inet loopback\niface eth0 inet static\n",
            3,
        ),
        (
            "etc/network/interfaces.d/eth0",
            "iface eth0 inet6 static\n",
            1,
        ),
        (
            "etc/netplan/01.yaml",
            "network:\n  ethernets:\n    a:\n      addresses: [192.0.2.1/24]\n",
            4,
        ),
        (
            "etc/netplan/02.yaml",
            "network:\n  ethernets:\n    a:\n      match:\n        macaddress: 52:54:00:0:0:1\n",
            5,
        ),
        (
            "etc/NetworkManager/system-connections/a.nmconnection",
            "[ipv4]\nmethod=manual\n",
            2,
        ),
        (
            "etc/sysconfig/network-scripts/ifcfg-eth0",
            "DEVICE=eth0\nHWADDR=52:54:00:00:00:01\n",
            2,
        ),
        (
            "etc/systemd/network/10.network",
            "[Network]\nAddress=192.0.2.1/24\n",
            2,
        ),
        (
            "etc/udev/rules.d/70-persistent-net.rules",
            "SUBSYSTEM==\"net\", ATTR{address}==\"52:54:00:00:00:01\", NAME=\"eth0\"\n",
            1,
        ),
        (
            "etc/rc.conf",
            "ifconfig_lo0=\"inet 127.0.0.1\"\nifconfig_vtnet0=\"inet 192.0.2.1\"\n",
            2,
        ),
    ];
    for (path, text, line) in cases {
        let guest = Guest::debian();
        guest.file(path, text);
        let report = guest.report();
        assert_eq!(extra(&report), ["static-network"], "{path}");
        assert_eq!(
            place(&report, RuleId::StaticNetwork),
            (format!("/{path}"), Some(line))
        );
    }
    let harmless = [
        (
            "etc/network/interfaces",
            "iface eth0 inet dhcp\n# iface eth1 inet static\n",
        ),
        (
            "etc/netplan/50-cloud-init.yaml",
            "addresses: [192.0.2.1/24]\n",
        ),
        (
            "etc/netplan/01.yaml",
            "network:\n  ethernets:\n    a:\n      nameservers:\n        addresses: [192.0.2.1]\n",
        ),
        (
            "etc/NetworkManager/system-connections/a",
            "[ipv4]\nmethod=auto\n",
        ),
        (
            "etc/sysconfig/network-scripts/ifcfg-eth0",
            "BOOTPROTO=dhcp\nIPADDR=\n",
        ),
    ];
    for (path, text) in harmless {
        let guest = Guest::debian();
        guest.file(path, text);
        assert!(extra(&guest.report()).is_empty(), "{path}");
    }
}

#[test]
fn boot_menus_that_lead_nowhere() {
    let grub = |line: &str, initrd: &str| {
        format!("menuentry 'Debian' {{\n\tlinux\t{line}\n\tinitrd\t{initrd}\n}}\n")
    };
    let kernel = "/boot/vmlinuz-6.1.0-40-cloud-amd64 root=LABEL=root console=ttyS0";
    let initrd = "/boot/initrd.img-6.1.0-40-cloud-amd64";
    let guest = Guest::debian();
    guest.file("boot/grub/grub.cfg", grub(kernel, initrd));
    let report = guest.report();
    assert_eq!(
        says(&report, RuleId::Kernel),
        (
            Outcome::Warning,
            format!("the boot menu loads `{initrd}`, which does not exist")
        )
    );
    assert_eq!(
        commands(&report, RuleId::Kernel)[..2],
        ["update-initramfs -u -k all", "update-grub"]
    );
    guest.file(&initrd[1..], "");
    assert!(extra(&guest.report()).is_empty());
    // Where /boot is a filesystem of its own, the paths begin there.
    guest.file(
        "boot/grub/grub.cfg",
        grub(
            &kernel.replace("/boot/", "/"),
            &initrd.replace("/boot/", "/"),
        ),
    );
    assert!(extra(&guest.report()).is_empty());

    guest.file(
        "boot/grub/grub.cfg",
        grub(&kernel.replace("6.1", "9.9"), initrd),
    );
    assert_eq!(extra(&guest.report()), ["kernel"]);

    for (root, rule) in [
        ("UUID=0-0", Some("which is not in the image")),
        ("/dev/sda1", Some("`/dev/vda`")),
        ("/dev/vda7", Some("which is not in the image")),
        ("/dev/vda1", None),
        ("/dev/mapper/a-b", None),
    ] {
        let line = kernel.replace("LABEL=root", root);
        guest.file("boot/grub/grub.cfg", grub(&line, initrd));
        let report = guest.report();
        match rule {
            Some(words) => {
                let text = says(&report, RuleId::RootDevice).1;
                assert!(text.contains(words) && text.contains(root), "{text}");
            }
            None => assert!(extra(&report).is_empty(), "{root}"),
        }
    }

    guest.file(
        "boot/grub/grub.cfg",
        grub(&kernel.replace("console=ttyS0", "quiet"), initrd),
    );
    assert_eq!(extra(&guest.report()), ["serial-console"]);
}

#[test]
fn drivers_of_the_kernel_that_boots() {
    let modules = "usr/lib/modules/6.1.0-40-cloud-amd64";
    let guest = Guest::debian();
    guest
        .file(
            &format!("{modules}/modules.builtin"),
            "kernel/drivers/virtio/virtio_pci.ko\n",
        )
        .file(
            &format!("{modules}/kernel/drivers/block/virtio_blk.ko.xz"),
            "",
        );
    let report = guest.report();
    assert_eq!(
        says(&report, RuleId::VirtioDrivers).1,
        "kernel 6.1.0-40-cloud-amd64 has no virtio_net"
    );
    guest.file(&format!("{modules}/kernel/drivers/net/virtio_net.ko"), "");
    assert!(extra(&guest.report()).is_empty());

    guest
        .file("etc/initramfs-tools/initramfs.conf", "MODULES=most\n")
        .file("etc/initramfs-tools/conf.d/driver-policy", "MODULES=dep\n");
    let report = guest.report();
    assert_eq!(extra(&report), ["initrd-drivers"]);
    assert_eq!(
        place(&report, RuleId::InitrdDrivers),
        ("/etc/initramfs-tools/conf.d/driver-policy".into(), Some(1))
    );
    guest.file("etc/initramfs-tools/modules", "# named\nvirtio_blk\n");
    assert!(extra(&guest.report()).is_empty());
}

#[test]
fn a_disk_without_boot_code_and_with_foreign_programs() {
    let guest = Guest::debian();
    let mut disk = guest.disk();
    disk[..440].fill(0);
    let report_without = report(disk);
    assert_eq!(extra(&report_without), ["boot-loader"]);

    let mut elf = crate::tree::ELF_X86_64.to_vec();
    elf[18] = 183;
    guest.file("usr/lib/systemd/systemd", &elf);
    let report = guest.report();
    assert_eq!(
        says(&report, RuleId::Architecture).1,
        "the programs are for aarch64 processors"
    );
}

#[test]
fn the_operator_decides_what_a_check_means() {
    let guest = Guest::debian();
    guest.file("etc/machine-id", "0123456789abcdef0123456789abcdef\n");
    let disk = std::sync::Arc::new(abbild_disk::open(guest.disk()).unwrap());
    let mut context = Context::default();
    context.severities.0 = serde_json::from_str(r#"{"machine-id": "failure"}"#).unwrap();
    let report = abbild_guest::inspect(&disk, &context);
    assert_rendered(&report);
    assert_eq!(report.verdict, Verdict::Refused);
}

#[test]
fn mounts_that_will_not_be_there() {
    let guest = Guest::debian();
    let root = "LABEL=root / ext4 defaults 0 1\n";
    for harmless in [
        "/dev/sdb1 /srv ext4 nofail 0 2\n",
        "UUID=0-0 /srv ext4 defaults,noauto 0 2\n",
        "tmpfs /tmp tmpfs defaults 0 0\n",
        "server:/x /srv nfs defaults 0 0\n",
        "/swapfile none swap sw 0 0\n",
    ] {
        guest.file("etc/fstab", format!("{root}{harmless}"));
        let report = guest.report();
        assert!(extra(&report).is_empty(), "{harmless}");
    }
    guest.file(
        "etc/fstab",
        format!("{root}UUID=0-0 /srv ext4 defaults 0 2\n/dev/sdb2 none swap sw 0 0\n"),
    );
    let report = guest.report();
    assert_eq!(extra(&report), ["fstab"]);
    assert_eq!(
        says(&report, RuleId::Fstab).1,
        "`/etc/fstab` mounts `UUID=0-0` on `/srv`, which is not in the image, and 2 such lines in all"
    );
    assert_eq!(
        place(&report, RuleId::Fstab),
        ("/etc/fstab".into(), Some(2))
    );
    assert_eq!(
        commands(&report, RuleId::Fstab)[..2],
        ["sed -i '2s/^/#/' /etc/fstab", "sed -i '3s/^/#/' /etc/fstab"]
    );
    guest.file("etc/fstab", "/dev/sda1 / ext4 defaults 0 1\n");
    assert_eq!(extra(&guest.report()), ["fstab"]);
}

#[test]
fn support_that_has_ended() {
    let guest = Guest::debian();
    guest.file(
        "usr/lib/os-release",
        "ID=debian\nPRETTY_NAME=Old\nSUPPORT_END=2024-06-30\n",
    );
    let disk = std::sync::Arc::new(abbild_disk::open(guest.disk()).unwrap());
    let on = |today: Option<&str>| {
        let context = Context {
            today: today.map(str::to_owned),
            ..Context::default()
        };
        abbild_guest::inspect(&disk, &context)
    };
    let report = on(Some("2024-07-01"));
    assert_rendered(&report);
    assert_eq!(extra(&report), ["support-end"]);
    assert_eq!(
        place(&report, RuleId::SupportEnd),
        ("/usr/lib/os-release".into(), Some(3))
    );
    for today in [None, Some("2024-06-30"), Some("soon")] {
        assert!(extra(&on(today)).is_empty(), "{today:?}");
    }
}
