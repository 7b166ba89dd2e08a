//! cloud-init's configuration: what is in force, where it is set, and what is wrong with it.

use abbild_guest::{Finding, Lang, Outcome, Report, RuleId};

use crate::tree::{Guest, commands, place, says};

const DROPIN: &str = "etc/cloud/cloud.cfg.d/99_local.cfg";

/// A guest in order but for one more file of `cloud.cfg.d`.
fn with(contents: &str) -> Guest {
    let guest = Guest::debian();
    guest.file(DROPIN, contents);
    guest
}

fn optional(report: &Report, rule: RuleId) -> Option<&Finding> {
    report.finding(rule)
}

/// Outcome and sentence of a finding that must be there.
fn said(guest: &Guest, rule: RuleId) -> (Outcome, String) {
    says(&guest.report(), rule)
}

fn order(guest: &Guest) -> (Vec<String>, Option<String>, Option<u32>) {
    let list = guest.report().facts.cloud_init.datasource_list.unwrap();
    let evidence = &list.evidence[0];
    (list.value, evidence.path.clone(), evidence.line)
}

#[test]
fn a_list_over_several_lines_has_the_line_of_every_entry() {
    let guest = with("x: 1\ndatasource_list:\n  - ConfigDrive\n  - None\n");
    let report = guest.report();
    let cloud = &report.facts.cloud_init;
    let lines: Vec<_> = cloud
        .datasource_list
        .iter()
        .flat_map(|list| list.evidence.iter().map(|evidence| evidence.line.unwrap()))
        .collect();
    assert_eq!(lines, [2, 3, 4]);
    // What it overrides is shown as well.
    assert_eq!(
        cloud.datasource_overridden[0].value,
        ["ConfigDrive", "NoCloud", "None"]
    );
    let (outcome, text) = says(&report, RuleId::CloudConfig);
    assert_eq!(outcome, Outcome::Note, "{text}");
    assert!(text.contains("several lines"));
}

#[test]
fn mappings_are_merged_and_lists_replaced() {
    let guest = with(
        "system_info:\n  default_user:\n    shell: /usr/bin/systemctl\nusers: [default, {name: eve}]\n",
    );
    guest.file("usr/bin/systemctl", "");
    let cloud = guest.report().facts.cloud_init;
    // The name is from cloud.cfg, the shell from the drop-in.
    assert_eq!(cloud.default_user.unwrap().value, "debian");
    assert_eq!(cloud.users.shell.unwrap().value, "/usr/bin/systemctl");
    assert_eq!(cloud.users.users.unwrap().value, ["default", "eve"]);
}

#[test]
fn cloud_cfg_may_name_another_directory() {
    let guest = with("datasource_list: [ NoCloud ]\n");
    guest
        .file("etc/cloud/cloud.cfg", "conf_d: /srv/cloud\n")
        .file(
            "srv/cloud/1.cfg",
            "datasource_list: [ ConfigDrive ]\ndisable_ec2_metadata: yes\n",
        );
    let (list, path, _) = order(&guest);
    assert_eq!(list, ["ConfigDrive"]);
    assert_eq!(path.as_deref(), Some("/srv/cloud/1.cfg"));
    let blocked = guest.report().facts.cloud_init.disable_ec2_metadata;
    assert!(blocked.unwrap().value);
}

#[test]
fn the_kernel_command_line_is_stronger_than_files() {
    let line = |arguments: &str| {
        let guest = Guest::debian();
        guest.file(
            "boot/grub/grub.cfg",
            format!("menuentry x {{\n linux /boot/vmlinuz-6.1.0-40-cloud-amd64 root=LABEL=root console=ttyS0 {arguments}\n}}\n"),
        );
        guest.file("etc/cloud/ds-identify.cfg", "datasource: Ec2\n");
        guest
    };
    let grub = Some("/boot/grub/grub.cfg".to_owned());
    for (arguments, list) in [
        ("ds=nocloud;s=http://10.0.0.1/", ["nocloud", "None"]),
        ("ci.ds=ConfigDrive", ["ConfigDrive", "None"]),
        ("ds=nocloud ci.ds=ConfigDrive", ["ConfigDrive", "None"]),
        ("ci.datasource=OpenStack", ["OpenStack", "None"]),
        (
            "ds=Ec2 cc: datasource_list: [ConfigDrive, NoCloud] end_cc ro",
            ["ConfigDrive", "NoCloud"],
        ),
    ] {
        let (found, path, number) = order(&line(arguments));
        assert_eq!(found, list, "{arguments}");
        assert_eq!((path, number), (grub.clone(), Some(2)), "{arguments}");
    }
    let (found, path, number) = order(&line("quiet"));
    assert_eq!(found, ["Ec2", "None"]);
    assert_eq!(path.as_deref(), Some("/etc/cloud/ds-identify.cfg"));
    assert_eq!(number, Some(1));

    let report = line("ci.di.policy=disabled").report();
    assert_eq!(says(&report, RuleId::CloudInit).0, Outcome::Failure);
    assert_eq!(place(&report, RuleId::CloudInit).0, "/boot/grub/grub.cfg");
    assert_eq!(
        commands(&report, RuleId::CloudInit)[0],
        "sed -i 's/ *ci\\.di\\.policy=[^ ]*//g' /etc/default/grub /boot/grub/grub.cfg"
    );
    // A file would change nothing.
    assert_eq!(
        commands(&line("ds=nocloud").report(), RuleId::DatasourceOrder)[0],
        "sed -i 's/\\b\\(ci\\.datasource\\|ci\\.ds\\|ds\\)=[^ \"]*//g' /etc/default/grub /boot/grub/grub.cfg"
    );
    assert_eq!(
        commands(
            &line("cc: datasource_list: [Ec2] end_cc").report(),
            RuleId::DatasourceOrder
        )[0],
        "sed -i 's/ *cc:.*end_cc//g' /etc/default/grub /boot/grub/grub.cfg"
    );
}

/// As tools/ds-identify itself answers.
#[test]
fn ds_identify_cfg_is_read_as_the_shell_reads_it() {
    for (contents, source) in [
        ("  datasource : \"Ec2\" # x\n", Some("Ec2")),
        ("datasource: Ec2\ndatasource: Azure\n", Some("Azure")),
        ("datasource: Ec2\ndatasource:\n", None),
        ("datasource: Ec2", None),
        ("# datasource: Ec2\n", None),
    ] {
        let guest = Guest::debian();
        guest.file("etc/cloud/ds-identify.cfg", contents);
        let (list, ..) = order(&guest);
        assert_eq!(list[0], source.unwrap_or("ConfigDrive"), "{contents}");
    }
}

#[test]
fn files_that_are_no_yaml_are_passed_over_and_named() {
    let guest = with("datasource_list: [ NoCloud\nusers: [default]\n");
    let report = guest.report();
    assert_eq!(says(&report, RuleId::DatasourceOrder).0, Outcome::Pass);
    let (outcome, text) = says(&report, RuleId::CloudConfig);
    assert_eq!(outcome, Outcome::Warning);
    assert!(text.starts_with("a file is no valid YAML"), "{text}");
    let (path, line) = place(&report, RuleId::CloudConfig);
    assert_eq!(path, "/etc/cloud/cloud.cfg.d/99_local.cfg");
    assert!(line.is_some());
    assert_eq!(
        commands(&report, RuleId::CloudConfig),
        ["cloud-init schema --config-file /etc/cloud/cloud.cfg.d/99_local.cfg"]
    );

    // A template is rendered first.
    let guest = with("## template: jinja\n{% if x %}\na: b: c\n{% endif %}\n");
    assert!(optional(&guest.report(), RuleId::CloudConfig).is_none());
}

#[test]
fn lists_that_ask_nobody_are_named() {
    let guest = with("datasource_list: []\n");
    let report = guest.report();
    assert_eq!(
        says(&report, RuleId::CloudConfig),
        (
            Outcome::Warning,
            "the list of data sources is empty, so that cloud-init asks none".into()
        )
    );
    assert_eq!(says(&report, RuleId::DatasourceOrder).0, Outcome::Warning);

    let guest = with("datasource_list: [ ConfigDrive, ConfigDisk, None ]\n");
    assert_eq!(
        said(&guest, RuleId::CloudConfig),
        (
            Outcome::Note,
            "the list of data sources names `ConfigDisk`, which cloud-init does not know".into()
        )
    );

    let guest = with("merge_how: \"list(append)+dict()+str()\"\n");
    assert_eq!(said(&guest, RuleId::CloudConfig).0, Outcome::Note);

    let guest = with("datasource:\n  ConfigDrive:\n    dsmode: disabled\n");
    let (outcome, text) = said(&guest, RuleId::CloudConfig);
    assert_eq!(outcome, Outcome::Warning);
    assert_eq!(text, "the data source ConfigDrive is switched off");
}

#[test]
fn data_of_the_image_itself_may_hide_the_drive() {
    let guest = Guest::debian();
    guest
        .file("var/lib/cloud/seed/nocloud/user-data", "#cloud-config\n")
        .file("var/lib/cloud/seed/nocloud/meta-data", "instance-id: x\n");
    // ConfigDrive is asked first, so it does no harm.
    assert!(optional(&guest.report(), RuleId::CloudConfig).is_none());
    guest.file(DROPIN, "datasource_list: [ NoCloud, ConfigDrive ]\n");
    let report = guest.report();
    let (outcome, text) = says(&report, RuleId::CloudConfig);
    assert_eq!(outcome, Outcome::Warning);
    assert!(text.contains("data for NoCloud"), "{text}");
    assert_eq!(
        commands(&report, RuleId::CloudConfig)[0],
        "rm -r /var/lib/cloud/seed/nocloud"
    );

    let guest = Guest::debian();
    guest.file(
        "var/lib/cloud/seed/config_drive/openstack/latest/meta_data.json",
        "{}",
    );
    assert!(
        said(&guest, RuleId::CloudConfig)
            .1
            .contains("data for ConfigDrive")
    );
}

#[test]
fn the_state_of_another_machine_is_a_note_unless_it_stays() {
    let guest = Guest::debian();
    guest
        .link("var/lib/cloud/instance", "/var/lib/cloud/instances/i-0123")
        .file(
            "var/lib/cloud/instances/i-0123/datasource",
            "DataSourceNoCloud\n",
        );
    let report = guest.report();
    assert_eq!(says(&report, RuleId::CloudConfig).0, Outcome::Note);
    assert_eq!(
        commands(&report, RuleId::CloudConfig)[0],
        "cloud-init clean --logs --seed"
    );

    guest.file(DROPIN, "manual_cache_clean: true\n");
    let report = guest.report();
    assert_eq!(says(&report, RuleId::CloudConfig).0, Outcome::Warning);
    assert_eq!(
        place(&report, RuleId::CloudConfig),
        ("/etc/cloud/cloud.cfg.d/99_local.cfg".into(), Some(1))
    );
}

#[test]
fn an_account_must_get_the_keys() {
    for (contents, part) in [
        ("users: [eve]\n", "`default` is not among the users"),
        ("users: []\ndisable_root: true\n", "`default` is not among"),
        (
            "users: {default: false, eve: {}}\n",
            "`default` is not among",
        ),
        ("users: []\nuser: \"\"\n", "`default` is not among"),
        (
            "system_info: {default_user: {shell: /usr/sbin/nologin}}\n",
            "the account `debian` has the shell `/usr/sbin/nologin`",
        ),
        (
            "system_info: {default_user: {shell: /bin/fish}}\n",
            "shell `/bin/fish`",
        ),
        (
            "cloud_init_modules: [growpart, resizefs, users-groups]\n",
            "the module `ssh` is not among",
        ),
    ] {
        let guest = with(contents);
        let (outcome, text) = said(&guest, RuleId::CloudUser);
        assert_eq!(outcome, Outcome::Warning, "{contents}");
        assert!(text.contains(part), "{text}");
    }
    // Root with a key that works, and the old way of naming the user.
    for contents in [
        "users: []\ndisable_root: false\n",
        "users: [eve]\nuser: bob\n",
        "users: [{name: default}]\n",
        "users: [[default, eve]]\n",
        "users: {default: true}\n",
        "users: \"eve,default\"\n",
    ] {
        let report = with(contents).report();
        assert!(optional(&report, RuleId::CloudUser).is_none(), "{contents}");
    }
    let guest = with("users: [eve]\n");
    assert_eq!(
        commands(&guest.report(), RuleId::CloudUser)[0],
        "echo 'users: [default]' > /etc/cloud/cloud.cfg.d/99-users.cfg"
    );
}

#[test]
fn the_disk_must_be_able_to_grow() {
    for (contents, part) in [
        ("growpart: {mode: off}\n", "`growpart.mode: off`"),
        ("resize_rootfs: false\n", "`resize_rootfs: false`"),
        (
            "cloud_init_modules: [ssh, resizefs]\n",
            "the module `growpart` is not among",
        ),
        (
            "cloud_init_modules: [ssh, [growpart, always]]\n",
            "the module `resizefs` is not among",
        ),
    ] {
        let (outcome, text) = said(&with(contents), RuleId::DiskGrowth);
        assert_eq!(outcome, Outcome::Warning);
        assert!(text.contains(part), "{text}");
    }

    let guest = Guest::debian();
    guest.remove("usr/bin/growpart");
    let report = guest.report();
    assert!(
        says(&report, RuleId::DiskGrowth)
            .1
            .starts_with("`growpart` is not installed")
    );
    assert_eq!(
        commands(&report, RuleId::DiskGrowth)[1],
        "apt-get install -y cloud-guest-utils"
    );
    // An initramfs does as well.
    guest.file(
        "usr/share/initramfs-tools/scripts/local-bottom/growroot",
        "#!/bin/sh\n",
    );
    assert!(optional(&guest.report(), RuleId::DiskGrowth).is_none());

    let guest = Guest::debian();
    guest.remove("usr/sbin/resize2fs");
    assert!(
        said(&guest, RuleId::DiskGrowth)
            .1
            .starts_with("`resize2fs` is not installed")
    );
}

#[test]
fn the_network_must_be_one_that_cloud_init_can_set_up() {
    let guest = with("network: {config: disabled}\n");
    let report = guest.report();
    assert_eq!(
        says(&report, RuleId::NetworkRenderer),
        (
            Outcome::Warning,
            "cloud-init is told to leave the network alone".into()
        )
    );
    assert_eq!(
        commands(&report, RuleId::NetworkRenderer)[0],
        "sed -i '/^network:/d' /etc/cloud/cloud.cfg.d/99_local.cfg"
    );

    let guest = with("system_info:\n  network:\n    renderers: [eni, sysconfig]\n");
    let report = guest.report();
    assert!(
        says(&report, RuleId::NetworkRenderer)
            .1
            .ends_with("with eni, sysconfig, but the image has netplan")
    );
    assert_eq!(place(&report, RuleId::NetworkRenderer).1, Some(3));

    guest.remove("usr/sbin/netplan");
    assert!(
        said(&guest, RuleId::NetworkRenderer)
            .1
            .ends_with("and none of that is installed")
    );
    guest.remove(DROPIN);
    let report = guest.report();
    assert_eq!(
        says(&report, RuleId::NetworkRenderer).1,
        "cloud-init finds no program that it could set up the network with"
    );
    assert!(
        commands(&report, RuleId::NetworkRenderer)
            .contains(&"apt-get install -y netplan.io".to_owned())
    );
    // Debian's older way.
    for program in ["ifquery", "ifup", "ifdown"] {
        guest.file(&format!("usr/sbin/{program}"), "");
    }
    guest.file("etc/network/interfaces", "auto lo\n");
    let report = guest.report();
    assert!(optional(&report, RuleId::NetworkRenderer).is_none());
    assert_eq!(report.facts.cloud_init.renderers.available[0].value, "eni");
}

#[test]
fn cloudbase_init_is_seen_by_its_package_or_its_configuration() {
    let guest = Guest::debian();
    guest
        .remove("usr/bin/cloud-init")
        .remove(crate::tree::VERSION_PY)
        .file(
            "usr/lib/python3/dist-packages/cloudbaseinit/__init__.py",
            "",
        )
        .file(
            "usr/lib/python3/dist-packages/cloudbase_init-1.1.6.dist-info/METADATA",
            "Metadata-Version: 2.1\nName: cloudbase-init\nVersion: 1.1.6\n",
        )
        .file(
            "etc/cloudbase-init/cloudbase-init.conf",
            "[DEFAULT]\nmetadata_services=cloudbaseinit.metadata.services.httpservice.HttpService\n",
        );
    let report = guest.report();
    // Nothing starts it: it is a service of Windows.
    assert_eq!(
        says(&report, RuleId::CloudInit),
        (
            Outcome::Failure,
            "cloudbase-init is installed but does not run on the first boot".into()
        )
    );
    assert_eq!(says(&report, RuleId::DatasourceOrder).0, Outcome::Warning);

    guest
        .enable("cloudbase-init.service", "multi-user.target")
        .remove("etc/cloudbase-init/cloudbase-init.conf");
    let report = guest.report();
    let finding = optional(&report, RuleId::CloudInit).unwrap();
    assert_eq!(
        finding.text(Lang::De),
        "cloudbase-init 1.1.6, läuft beim ersten Start"
    );
    assert_eq!(says(&report, RuleId::DatasourceOrder).0, Outcome::Pass);
}
