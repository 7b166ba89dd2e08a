//! Images that do not meet a rule, made up for the catalogue: what a rule proposes for them are its
//! typical remedies.
//!
//! Each is a Debian 12 that meets everything but that one rule, so that the commands shown to a
//! reader are the very ones that a report would show.

use abbild_disk::{Error, ErrorKind};

use crate::facts::{
    Boot, BootEntry, BootFile, CloudInit, CloudUsers, Container, Device, Drivers, Enablement,
    Evidence, Fact, Facts, Fault, FstabLine, FstabSource, Growth, Init, Os, Pinned, Renderers,
    Root, RootArgument, Sshd, System,
};
use crate::report::{Context, Finding, Limits, RuleId};
use crate::rules;

const KERNEL: &str = "6.1.0-37-amd64";
const TODAY: &str = "2030-01-01";
const CLOUD_CFG: &str = "/etc/cloud/cloud.cfg";
const SSHD_CONFIG: &str = "/etc/ssh/sshd_config";

/// What is found in images that do not meet `rule`.
pub(super) fn findings(rule: RuleId) -> Vec<Finding> {
    let context = Context {
        today: Some(TODAY.to_owned()),
        ..Context::default()
    };
    let mut findings: Vec<Finding> = broken(rule)
        .iter()
        .flat_map(|facts| rules::check(facts, &context))
        .collect();
    for error in refused(rule) {
        let facts = Facts::default();
        findings.extend(rules::report_refused(&error, facts, &context).findings);
    }
    findings.retain(|finding| finding.rule == rule);
    findings
}

/// Errors of the disk layer that are findings on `rule`.
fn refused(rule: RuleId) -> Vec<Error> {
    match rule {
        RuleId::ImageFormat => vec![
            Error::new(ErrorKind::Refused, "backing-file", "a backing file"),
            Error::new(ErrorKind::Corrupt, "marked-corrupt", "marked as corrupt"),
        ],
        _ => Vec::new(),
    }
}

/// Facts of images that do not meet `rule`.
fn broken(rule: RuleId) -> Vec<Facts> {
    match rule {
        RuleId::OperatingSystem => vec![with(|facts| {
            facts.os = None;
            facts.root = None;
        })],
        RuleId::VirtualSize => vec![with(|facts| {
            facts.container.virtual_size = Some(Limits::default().max_virtual_size + 1);
        })],
        RuleId::RootFilesystem => vec![
            with(|facts| facts.root = Some(root("xfs"))),
            with(|facts| facts.root = Some(root("ext2"))),
            with(|facts| facts.faults = vec![unclean()]),
        ],
        RuleId::CloudInit => vec![
            with(|facts| facts.cloud_init = CloudInit::default()),
            with(|facts| {
                facts.cloud_init.enablement = disabled("/etc/cloud/cloud-init.disabled");
            }),
            with(|facts| facts.cloud_init.enablement = disabled("/usr/lib/systemd/system")),
        ],
        RuleId::DatasourceOrder => vec![with(|facts| {
            facts.cloud_init.datasource_list = sources(&["NoCloud", "ConfigDrive", "None"]);
        })],
        RuleId::Sshd => vec![
            with(|facts| facts.sshd = Sshd::default()),
            with(|facts| facts.sshd.enablement = disabled("/usr/lib/systemd/system/ssh.service")),
        ],
        RuleId::SupportEnd => vec![with(|facts| {
            if let Some(os) = &mut facts.os {
                os.support_end = fact("2028-06-30", "/usr/lib/os-release");
            }
        })],
        RuleId::SeveralSystems => vec![with(|facts| {
            facts.systems = vec![system(1, true), system(2, false)];
        })],
        RuleId::Architecture => {
            vec![with(|facts| {
                facts.architecture = fact("aarch64", "/sbin/init")
            })]
        }
        RuleId::BootLoader => vec![
            with(|facts| facts.boot.bios = false),
            with(|facts| {
                facts.boot.bios = false;
                facts.boot.efi_programs = vec!["EFI/debian/shimx64.efi".to_owned()];
            }),
        ],
        RuleId::Kernel => vec![entry(|entry| {
            entry.kernel = Some(BootFile {
                path: "/vmlinuz".to_owned(),
                present: false,
            });
        })],
        RuleId::VirtioDrivers => vec![drivers(|drivers| {
            drivers.missing = vec!["virtio_blk".to_owned()];
        })],
        RuleId::InitrdDrivers => vec![drivers(|drivers| {
            let path = "/etc/initramfs-tools/initramfs.conf";
            drivers.initrd_of_one_machine = Some(Evidence::path(path).at_line(20));
        })],
        RuleId::RootDevice => vec![entry(|entry| {
            entry.root = Some(RootArgument {
                value: "/dev/sda1".to_owned(),
                device: Device::OtherName,
            });
        })],
        RuleId::SerialConsole => vec![with(|facts| facts.serial_console = None)],
        RuleId::Fstab => vec![with(|facts| facts.fstab = vec![absent_mount()])],
        _ => of_cloud_init(rule),
    }
}

/// A line for a disk that is not in the image.
fn absent_mount() -> FstabLine {
    FstabLine {
        device: "/dev/sdb1".to_owned(),
        mount_point: "/srv".to_owned(),
        kind: "ext4".to_owned(),
        options: "defaults".to_owned(),
        source: FstabSource::Absent,
        availability: Device::Absent,
        evidence: Evidence::path("/etc/fstab").at_line(4),
    }
}

/// The same for rules about how cloud-init sets up a machine.
fn of_cloud_init(rule: RuleId) -> Vec<Facts> {
    let cloud_init = |change: fn(&mut CloudInit)| with(|facts| change(&mut facts.cloud_init));
    match rule {
        RuleId::CloudConfig => vec![
            cloud_init(|found| found.problems = problem("seed", "/var/lib/cloud/seed/nocloud")),
            cloud_init(|found| found.problems = problem("instance-left", "/var/lib/cloud/data")),
            cloud_init(|found| {
                found.problems = problem("not-yaml", "/etc/cloud/cloud.cfg.d/99-custom.cfg");
            }),
        ],
        RuleId::CloudUser => vec![cloud_init(|found| found.users = CloudUsers::default())],
        RuleId::NetworkRenderer => vec![
            cloud_init(|found| found.renderers = Renderers::default()),
            cloud_init(|found| {
                let path = "/etc/cloud/cloud.cfg.d/99-network.cfg";
                let setting = Evidence::path(path).saying("network: {config: disabled}");
                found.renderers.disabled = Some(setting);
            }),
        ],
        RuleId::DiskGrowth => vec![
            cloud_init(|found| found.growth.tool = None),
            cloud_init(|found| found.growth.resize = None),
        ],
        _ => of_one_owner(rule),
    }
}

/// The same for rules about what belongs to one machine or one person, and about the ways in.
fn of_one_owner(rule: RuleId) -> Vec<Facts> {
    let found = |path: &str| vec![Evidence::path(path)];
    let facts = match rule {
        RuleId::StaticNetwork => with(|facts| {
            let place = Evidence::path("/etc/network/interfaces.d/eth0").at_line(2);
            facts.pinned_network = vec![Fact::new(Pinned::Address, place)];
        }),
        RuleId::MachineId => with(|facts| facts.identity.machine_id = found("/etc/machine-id")),
        RuleId::HostKeys => {
            with(|facts| facts.identity.host_keys = found("/etc/ssh/ssh_host_ed25519_key"))
        }
        RuleId::AuthorizedKeys => {
            with(|facts| facts.identity.authorized_keys = found("/root/.ssh/authorized_keys"))
        }
        RuleId::PrivateKeys => {
            with(|facts| facts.identity.private_keys = found("/root/.ssh/id_ed25519"))
        }
        RuleId::SshdPort => with(|facts| facts.sshd.port = fact("2222", SSHD_CONFIG)),
        RuleId::SshdFirewall => {
            with(|facts| facts.sshd.firewall = Some(Evidence::path("/etc/ufw/ufw.conf")))
        }
        RuleId::SshdRootLogin => with(|facts| {
            facts.sshd.permit_root_login = fact("yes", SSHD_CONFIG);
            facts.identity.root_password = Some(Fact::new(true, Evidence::path("/etc/shadow")));
        }),
        _ => return Vec::new(),
    };
    vec![facts]
}

/// The good image with another boot entry.
fn entry(change: impl FnOnce(&mut BootEntry)) -> Facts {
    with(|facts| change(facts.boot_entry.get_or_insert_default()))
}

/// The good image with other drivers.
fn drivers(change: impl FnOnce(&mut Drivers)) -> Facts {
    let mut drivers = Drivers {
        kernel: KERNEL.to_owned(),
        found: Vec::new(),
        missing: Vec::new(),
        initrd_of_one_machine: None,
    };
    change(&mut drivers);
    with(|facts| facts.drivers = Some(drivers))
}

fn with(change: impl FnOnce(&mut Facts)) -> Facts {
    let mut facts = good();
    change(&mut facts);
    facts
}

/// Facts of an image that meets every rule.
fn good() -> Facts {
    Facts {
        container: Container {
            format: Some("qcow2".to_owned()),
            virtual_size: Some(4 << 30),
            ..Container::default()
        },
        boot: Boot {
            bios: true,
            ..Boot::default()
        },
        root: Some(root("ext4")),
        kernels: fact(KERNEL, "/boot").into_iter().collect(),
        boot_entry: Some(BootEntry::default()),
        serial_console: fact("ttyS0,115200", "/boot/grub/grub.cfg"),
        os: Some(Os {
            family: "linux".to_owned(),
            id: Some("debian".to_owned()),
            name: Some("Debian GNU/Linux 12 (bookworm)".to_owned()),
            version: Some("12".to_owned()),
            ..Os::default()
        }),
        architecture: fact("x86_64", "/sbin/init"),
        init: Some(Fact::new(Init::Systemd, Evidence::path("/sbin/init"))),
        cloud_init: CloudInit {
            installed: Some(Evidence::path("/usr/bin/cloud-init")),
            version: fact(
                "22.4.2",
                "/usr/lib/python3/dist-packages/cloudinit/version.py",
            ),
            enablement: enabled("/etc/systemd/system/cloud-init.target.wants"),
            datasource_list: sources(&["ConfigDrive", "NoCloud", "None"]),
            default_user: fact("debian", CLOUD_CFG),
            users: CloudUsers {
                users: Some(Fact::new(
                    vec!["default".to_owned()],
                    Evidence::path(CLOUD_CFG),
                )),
                ..CloudUsers::default()
            },
            growth: Growth {
                tool: Some(Evidence::path("/usr/bin/growpart")),
                resize: Some(Evidence::path("/usr/sbin/resize2fs")),
                ..Growth::default()
            },
            renderers: Renderers {
                available: fact("netplan", "/usr/sbin/netplan").into_iter().collect(),
                ..Renderers::default()
            },
            ..CloudInit::default()
        },
        sshd: Sshd {
            server: fact("openssh", "/usr/sbin/sshd"),
            enablement: enabled("/etc/systemd/system/multi-user.target.wants/ssh.service"),
            ..Sshd::default()
        },
        ..Facts::default()
    }
}

fn root(filesystem: &str) -> Root {
    Root {
        partition: 1,
        volume: None,
        deployment: None,
        filesystem: filesystem.to_owned(),
        evidence: vec![Evidence::path("/etc/os-release")],
        readable: true,
        reason: None,
    }
}

fn system(partition: u32, boots: bool) -> System {
    System {
        partition,
        volume: None,
        filesystem: "ext4".to_owned(),
        name: Some("Debian GNU/Linux 12 (bookworm)".to_owned()),
        boots,
        evidence: vec![Evidence::path("/etc/os-release")],
    }
}

fn problem(code: &str, path: &str) -> Vec<Fault> {
    vec![Fault {
        code: code.to_owned(),
        detail: "NoCloud".to_owned(),
        evidence: Evidence::path(path),
    }]
}

fn unclean() -> Fault {
    Fault {
        code: "filesystem-dirty".to_owned(),
        detail: "the journal is not empty".to_owned(),
        evidence: Evidence::offset(0),
    }
}

fn sources(names: &[&str]) -> Option<Fact<Vec<String>>> {
    let names = names.iter().map(|&name| name.to_owned()).collect();
    let path = "/etc/cloud/cloud.cfg.d/90_dpkg.cfg";
    Some(Fact::new(names, Evidence::path(path).at_line(2)))
}

fn fact(value: &str, path: &str) -> Option<Fact<String>> {
    Some(Fact::new(value.to_owned(), Evidence::path(path)))
}

fn enabled(path: &str) -> Option<Fact<Enablement>> {
    Some(Fact::new(Enablement::Enabled, Evidence::path(path)))
}

fn disabled(path: &str) -> Option<Fact<Enablement>> {
    Some(Fact::new(Enablement::Disabled, Evidence::path(path)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Outcome, Verdict};

    #[test]
    fn the_good_image_has_nothing_wrong() {
        let findings = rules::check(&good(), &Context::default());
        let worse: Vec<_> = findings
            .iter()
            .filter(|finding| finding.outcome != Outcome::Pass)
            .collect();
        assert!(worse.is_empty(), "{worse:?}");
        assert_eq!(Verdict::over(&findings), Verdict::Accepted);
    }

    #[test]
    fn every_example_is_an_example_of_its_rule() {
        for &rule in RuleId::ALL {
            let expected = broken(rule).len() + refused(rule).len();
            let findings = findings(rule);
            assert_eq!(findings.len(), expected, "{rule}: {findings:?}");
            assert!(
                expected > 0,
                "`{rule}` needs an example in catalogue/examples.rs"
            );
            assert!(
                expected > 0,
                "{rule} has no example in catalogue/examples.rs"
            );
            for finding in findings {
                assert_ne!(finding.outcome, Outcome::Pass, "{rule}");
                assert_ne!(finding.outcome, Outcome::Unknown, "{rule}");
                assert!(
                    !finding.remedies.is_empty(),
                    "{rule}: {}",
                    finding.message.id
                );
            }
        }
    }
}
