//! Programs other than cloud-init that set up a machine on its first boot.
//!
//! Each is known by its program, decides in its own way whether it runs, and looks for its data in
//! its own place:
//!
//! - Ignition runs in the initrd of the first boot only. GRUB tells it so when a stamp file is
//!   there, and the kernel command line names the platform whose data it fetches
//!   (`dracut/30ignition/ignition-generator` and `grub2/05_ignition.cfg` of coreos/ignition;
//!   Flatcar's bootengine has `flatcar.first_boot` and `flatcar.oem.id` instead).
//! - coreos-cloudinit is started by a udev rule when a config drive appears (its `units/`).
//! - bsd-cloudinit lies in root's home and is started by `/etc/rc.local` (`installer.sh` of
//!   pellaeon/bsd-cloudinit-installer).
//! - cloudbase-init is a service of Windows. Elsewhere it is a Python package that somebody
//!   installed by hand.

use crate::facts::{Agent, Enablement, Evidence, Fact, Init};
use crate::fs::{Text, Tree};
use crate::text::clean;

use super::cmdline::CommandLine;
use super::{MAX_CONFIG, cloud_version, units};

/// All that are there.
pub(crate) fn probe(
    tree: &Tree,
    init: Option<Init>,
    command_line: Option<&CommandLine>,
) -> Vec<Agent> {
    [
        ignition(tree, command_line),
        coreos_cloudinit(tree, command_line),
        bsd_cloudinit(tree),
        cloudbase_init(tree, init),
        nuageinit(tree),
        tiny_cloud(tree, init),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn program(tree: &Tree, paths: &[&str]) -> Option<Evidence> {
    let node = tree.first_file(paths)?;
    Some(Evidence::path(clean(node.path)))
}

fn enabled(evidence: Evidence) -> Fact<Enablement> {
    Fact::new(Enablement::Enabled, evidence)
}

fn disabled(evidence: Evidence) -> Fact<Enablement> {
    Fact::new(Enablement::Disabled, evidence)
}

fn unknown() -> Fact<Enablement> {
    Fact {
        value: Enablement::Unknown,
        evidence: Vec::new(),
    }
}

/// Platforms on which Ignition reads `openstack/latest/user_data` of a disk labelled `config-2`
/// (`internal/providers/` of coreos/ignition).
const CONFIG_DRIVE_PLATFORMS: [&str; 5] =
    ["openstack", "brightbox", "kubevirt", "nutanix", "powervs"];
/// Files that GRUB sources, or looks for, to tell a first boot.
const STAMPS: [&str; 3] = [
    "/boot/ignition.firstboot",
    "/boot/flatcar/first_boot",
    "/boot/coreos/first_boot",
];
/// openSUSE has it the other way round: this part of `grub.cfg` makes every boot the first until
/// a file appears (package ignition-dracut-grub2).
const SUSE_GRUB: &str = "/etc/grub.d/02_ignition_firstboot";
const HAPPENED: &str = "/boot/writable/firstboot_happened";

fn ignition(tree: &Tree, command_line: Option<&CommandLine>) -> Option<Agent> {
    let installed = program(
        tree,
        &[
            "/usr/lib/dracut/modules.d/30ignition/ignition",
            "/usr/bin/ignition",
            "/usr/lib/dracut/modules.d/30ignition/module-setup.sh",
        ],
    )?;
    let platform = platform(tree, command_line);
    let reads = platform
        .as_ref()
        .map(|platform| CONFIG_DRIVE_PLATFORMS.contains(&platform.value.as_str()));
    Some(Agent {
        name: "ignition".to_owned(),
        installed,
        version: cloud_version::database_version(tree, "ignition"),
        enablement: ignition_runs(tree, command_line),
        data_source: platform,
        reads_config_drive: reads,
    })
}

fn ignition_runs(tree: &Tree, command_line: Option<&CommandLine>) -> Fact<Enablement> {
    if let Some(node) = tree.first_file(&STAMPS) {
        return enabled(Evidence::path(clean(node.path)));
    }
    if let Some(node) = tree.lstat(HAPPENED) {
        return disabled(Evidence::path(clean(node.path)));
    }
    if let Some(part) = program(tree, &[SUSE_GRUB]) {
        return enabled(part);
    }
    let Some(line) = command_line else {
        return unknown();
    };
    let first_boot = [
        "ignition.firstboot",
        "flatcar.first_boot",
        "coreos.first_boot",
    ];
    if first_boot.iter().any(|argument| line.says(argument)) {
        return enabled(line.evidence());
    }
    disabled(Evidence::path(STAMPS[0]))
}

/// The platform whose data Ignition fetches, from the kernel command line or Flatcar's OEM file.
fn platform(tree: &Tree, command_line: Option<&CommandLine>) -> Option<Fact<String>> {
    let from_line = command_line.and_then(|line| {
        ["ignition.platform.id", "flatcar.oem.id", "coreos.oem.id"]
            .iter()
            .find_map(|name| line.value(name))
            .map(|platform| Fact::new(clean(platform), line.evidence()))
    });
    from_line.or_else(|| {
        ["/oem/grub.cfg", "/usr/share/oem/grub.cfg"]
            .iter()
            .filter_map(|path| tree.read(path, MAX_CONFIG))
            .find_map(|file| {
                file.lines().find_map(|(number, line)| {
                    let value = line.trim().strip_prefix("set oem_id=")?;
                    let value = value.trim().trim_matches(['"', '\'']);
                    Some(Fact::new(clean(value), file.evidence(number, line)))
                })
            })
    })
}

fn coreos_cloudinit(tree: &Tree, command_line: Option<&CommandLine>) -> Option<Agent> {
    let installed = program(tree, &["/usr/bin/coreos-cloudinit"])?;
    let (enablement, reads) = coreos_cloudinit_runs(tree, command_line);
    Some(Agent {
        name: "coreos-cloudinit".to_owned(),
        installed,
        version: None,
        enablement,
        data_source: None,
        reads_config_drive: reads,
    })
}

/// Whether it runs, and whether that is to read a config drive.
fn coreos_cloudinit_runs(
    tree: &Tree,
    command_line: Option<&CommandLine>,
) -> (Fact<Enablement>, Option<bool>) {
    const MOUNT: &str = "media-configdrive.mount";
    const SERVICE: &str = "user-configdrive.service";
    if let Some(mask) = [SERVICE, MOUNT]
        .iter()
        .find_map(|unit| units::mask(tree, unit))
    {
        return (disabled(mask), Some(false));
    }
    let forbidden = |line: &&CommandLine| {
        ["flatcar.configdrive", "coreos.configdrive"]
            .iter()
            .any(|name| line.value(name) == Some("0"))
    };
    if let Some(line) = command_line.filter(forbidden) {
        return (disabled(line.evidence()), Some(false));
    }
    let rule = program(
        tree,
        &[
            "/usr/lib/udev/rules.d/90-configdrive.rules",
            "/etc/udev/rules.d/90-configdrive.rules",
        ],
    );
    if let Some(rule) = rule
        && let Some(service) = units::unit_file(tree, SERVICE)
        && units::unit_file(tree, MOUNT).is_some()
    {
        let evidence = vec![Evidence::path(clean(service)), rule];
        let value = Enablement::Enabled;
        return (Fact { value, evidence }, Some(true));
    }
    let other = ["oem-cloudinit.service", "user-config.target"]
        .iter()
        .find_map(|unit| units::wanted(tree, unit, &["multi-user.target"]));
    match other {
        Some(link) => (enabled(link), Some(false)),
        None => {
            let place = Evidence::path(format!("/usr/lib/systemd/system/{SERVICE}"));
            (disabled(place), Some(false))
        }
    }
}

fn bsd_cloudinit(tree: &Tree) -> Option<Agent> {
    const DIRECTORY: &str = "/root/bsd-cloudinit";
    let installed = program(tree, &["/root/bsd-cloudinit/run.py"])?;
    let setup = tree.read(&format!("{DIRECTORY}/setup.cfg"), MAX_CONFIG);
    let factory = format!("{DIRECTORY}/cloudbaseinit/metadata/factory.py");
    let service = tree
        .read(&factory, MAX_CONFIG)
        .and_then(|file| default_service(&file));
    Some(Agent {
        name: "bsd-cloudinit".to_owned(),
        installed,
        version: setup.and_then(|file| setting(&file, "version")),
        enablement: bsd_cloudinit_runs(tree),
        reads_config_drive: service
            .as_ref()
            .map(|service| service.value.contains("ConfigDrive")),
        data_source: service,
    })
}

fn bsd_cloudinit_runs(tree: &Tree) -> Fact<Enablement> {
    let script = "/etc/rc.local";
    let call = tree.read(script, MAX_CONFIG).and_then(|file| {
        file.lines().find_map(|(number, line)| {
            let runs = line.contains("bsd-cloudinit/run.py") && !line.trim_start().starts_with('#');
            runs.then(|| file.evidence(number, line))
        })
    });
    match call {
        Some(line) => enabled(line),
        // A script of rc.d, if somebody made one.
        None => match units::rc_conf(tree, "bsd_cloudinit_enable") {
            Some((true, line)) => enabled(line),
            Some((false, line)) => disabled(line),
            None => disabled(Evidence::path(script)),
        },
    }
}

/// The first metadata service of the default list in `factory.py`, which nothing else sets.
fn default_service(file: &Text) -> Option<Fact<String>> {
    file.lines().find_map(|(number, line)| {
        let path = line.trim().trim_matches([',', '\'', '"']);
        let name = path.strip_prefix("cloudbaseinit.metadata.services.")?;
        let class = name.rsplit('.').next().unwrap_or(name);
        Some(Fact::new(clean(class), file.evidence(number, line)))
    })
}

/// `KEY = value` or `KEY=value` of an ini file, wherever it stands.
fn setting(file: &Text, key: &str) -> Option<Fact<String>> {
    file.lines().find_map(|(number, line)| {
        let value = line.strip_prefix(key)?.trim_start().strip_prefix('=')?;
        Some(Fact::new(clean(value), file.evidence(number, line)))
    })
}

fn cloudbase_init(tree: &Tree, init: Option<Init>) -> Option<Agent> {
    const CONFIGURATIONS: [&str; 3] = [
        "/etc/cloudbase-init/cloudbase-init.conf",
        "/etc/cloudbase-init.conf",
        "/Program Files/Cloudbase Solutions/Cloudbase-Init/conf/cloudbase-init.conf",
    ];
    let modules = cloud_version::module_directories(tree);
    let package = modules
        .iter()
        .find_map(|directory| tree.stat(&format!("{directory}/cloudbaseinit/__init__.py")))
        .map(|node| Evidence::path(clean(node.path)));
    let installed = package.or_else(|| program(tree, &CONFIGURATIONS))?;
    let services = CONFIGURATIONS
        .iter()
        .filter_map(|path| tree.read(path, MAX_CONFIG))
        .find_map(|file| setting(&file, "metadata_services"));
    Some(Agent {
        name: "cloudbase-init".to_owned(),
        version: modules.iter().find_map(|directory| {
            cloud_version::metadata_version(tree, directory, "cloudbase-init")
        }),
        enablement: service_runs(tree, init, "cloudbase-init", &installed),
        // Without the setting it tries all services, ConfigDrive among the first.
        reads_config_drive: Some(
            services
                .as_ref()
                .is_none_or(|services| services.value.contains("ConfigDrive")),
        ),
        data_source: services,
        installed,
    })
}

/// Whether the service `name` starts on boot; `instead` is shown if nothing starts it.
fn service_runs(
    tree: &Tree,
    init: Option<Init>,
    name: &str,
    instead: &Evidence,
) -> Fact<Enablement> {
    let unit = format!("{name}.service");
    let link = match init {
        Some(Init::Systemd) => units::wanted(tree, &unit, &["multi-user.target", "default.target"]),
        Some(Init::OpenRc) => units::openrc_link(tree, name),
        Some(Init::SysV) => units::sysv_link(tree, name),
        Some(Init::Bsd | Init::Other) | None => return unknown(),
    };
    link.map_or_else(|| disabled(instead.clone()), enabled)
}

/// FreeBSD's own since release 14.1.
fn nuageinit(tree: &Tree) -> Option<Agent> {
    let installed = program(tree, &["/usr/libexec/nuageinit"])?;
    let enablement = match units::rc_conf(tree, "nuageinit_enable") {
        Some((true, line)) => enabled(line),
        Some((false, line)) => disabled(line),
        None => disabled(Evidence::path("/etc/rc.conf")),
    };
    Some(Agent {
        name: "nuageinit".to_owned(),
        installed,
        version: None,
        enablement,
        data_source: None,
        reads_config_drive: Some(true),
    })
}

/// Alpine's small one. It knows the metadata services of some clouds and NoCloud.
fn tiny_cloud(tree: &Tree, init: Option<Init>) -> Option<Agent> {
    let installed = program(
        tree,
        &[
            "/usr/bin/tiny-cloud",
            "/usr/sbin/tiny-cloud",
            "/bin/tiny-cloud",
        ],
    )?;
    Some(Agent {
        name: "tiny-cloud".to_owned(),
        version: cloud_version::database_version(tree, "tiny-cloud"),
        // Version 3 calls its main service otherwise.
        enablement: ["tiny-cloud-main", "tiny-cloud"]
            .iter()
            .map(|name| service_runs(tree, init, name, &installed))
            .max_by_key(|state| state.value == Enablement::Enabled)
            .unwrap_or_else(unknown),
        installed,
        data_source: None,
        reads_config_drive: Some(false),
    })
}
