//! cloud-init: whether it is installed and runs.
//!
//! Under systemd a generator decides on every boot. It links `cloud-init.target` into the boot
//! unless, in this order, the kernel command line or `/etc/cloud/cloud-init.disabled` says no, or
//! ds-identify does. The services themselves must be wanted by that target, which installing the
//! package sees to (cloud-init's documentation, "How to disable cloud-init").

use crate::facts::{CloudInit, Enablement, Evidence, Fact, Fault, Init, Os};
use crate::fs::Tree;
use crate::text::clean;

use super::cloud_config::Configuration;
use super::cmdline::CommandLine;
use super::{
    cloud_growth, cloud_problems, cloud_user, cloud_version, datasources, renderers, units,
};

const GENERATORS: [&str; 2] = [
    "/usr/lib/systemd/system-generators/cloud-init-generator",
    "/lib/systemd/system-generators/cloud-init-generator",
];
const GENERATOR_MASK: &str = "/etc/systemd/system-generators/cloud-init-generator";
/// Services without which cloud-init does nothing useful; 24.3 renamed the second.
const SERVICES: [&str; 4] = [
    "cloud-init-main.service",
    "cloud-init-network.service",
    "cloud-init.service",
    "cloud-init-local.service",
];
const SCRIPTS: [&str; 2] = ["cloud-init", "cloud-init-local"];

/// Everything about cloud-init, and what could not be read of its configuration.
pub(crate) fn probe(
    tree: &Tree,
    init: Option<Init>,
    os: Option<&Os>,
    command_line: Option<&CommandLine>,
) -> (CloudInit, Vec<Fault>) {
    let Some(package) = cloud_version::probe(tree) else {
        return (CloudInit::default(), Vec::new());
    };
    let configuration = Configuration::read(tree);
    let order = datasources::probe(tree, &configuration, command_line);
    let growth = cloud_growth::probe(tree, init, &configuration);
    let facts = CloudInit {
        installed: Some(package.installed),
        version: package.version,
        enablement: Some(enablement(tree, init, configuration.base, command_line)),
        problems: cloud_problems::probe(tree, &configuration, &order),
        datasource_list: order.list,
        datasource_built_in: order.built_in,
        datasource_overridden: order.overridden,
        disable_ec2_metadata: configuration.flag("disable_ec2_metadata"),
        default_user: configuration.text("system_info.default_user.name"),
        growpart: growth.tool.clone().or_else(|| growth.early.clone()),
        users: cloud_user::probe(tree, &configuration),
        renderers: renderers::probe(tree, init, os, &configuration),
        growth,
    };
    (facts, configuration.faults)
}

fn enablement(
    tree: &Tree,
    init: Option<Init>,
    base: Option<&str>,
    command_line: Option<&CommandLine>,
) -> Fact<Enablement> {
    let enabled = |evidence| Fact::new(Enablement::Enabled, evidence);
    let disabled = |evidence| Fact::new(Enablement::Disabled, evidence);
    let switch = command_line.and_then(|line| Some((line.value("cloud-init")?, line)));
    match switch {
        Some(("disabled", line)) => return disabled(line.evidence()),
        // An explicit yes overrides the file.
        Some(("enabled", _)) => {}
        _ => {
            let file = format!("{}/cloud-init.disabled", base.unwrap_or("/etc/cloud"));
            if let Some(node) = tree.lstat(&file) {
                return disabled(Evidence::path(clean(node.path)));
            }
        }
    }
    if let Some(evidence) = datasources::policy_disabled(tree, command_line) {
        return disabled(evidence);
    }
    match init {
        Some(Init::Systemd) => systemd(tree),
        Some(Init::OpenRc) => SCRIPTS
            .iter()
            .find_map(|script| units::openrc_link(tree, script))
            .map_or_else(
                || disabled(Evidence::path("/etc/runlevels/default")),
                enabled,
            ),
        Some(Init::SysV) => SCRIPTS
            .iter()
            .find_map(|script| units::sysv_link(tree, script))
            .map_or_else(|| disabled(Evidence::path("/etc/rc2.d")), enabled),
        Some(Init::Bsd) => match units::rc_conf(tree, "cloudinit_enable") {
            Some((true, evidence)) => enabled(evidence),
            Some((false, evidence)) => disabled(evidence),
            None => disabled(Evidence::path("/etc/rc.conf")),
        },
        Some(Init::Other) | None => Fact {
            value: Enablement::Unknown,
            evidence: Vec::new(),
        },
    }
}

fn systemd(tree: &Tree) -> Fact<Enablement> {
    let masked = std::iter::once("cloud-init.target")
        .chain(SERVICES)
        .find_map(|unit| units::mask(tree, unit));
    if let Some(mask) = masked {
        return Fact::new(Enablement::Disabled, mask);
    }
    // Old packages link the services into the boot directly, without a generator.
    let direct = SERVICES
        .iter()
        .find_map(|unit| units::wanted(tree, unit, &["multi-user.target", "sysinit.target"]));
    if let Some(link) = direct {
        return Fact::new(Enablement::Enabled, link);
    }
    let wanted = SERVICES
        .iter()
        .find_map(|unit| units::wanted(tree, unit, &["cloud-init.target"]));
    let Some(link) = wanted else {
        let place = Evidence::path("/etc/systemd/system/cloud-init.target.wants");
        return Fact::new(Enablement::Disabled, place);
    };
    if let Some(mask) = units::mask_at(tree, GENERATOR_MASK) {
        return Fact::new(Enablement::Disabled, mask);
    }
    let starter = tree
        .first_file(&GENERATORS)
        .map(|node| Evidence::path(clean(node.path)))
        .or_else(|| units::wanted(tree, "cloud-init.target", &["multi-user.target"]));
    match starter {
        Some(starter) => Fact {
            value: Enablement::Enabled,
            evidence: vec![link, starter],
        },
        None => Fact::new(Enablement::Disabled, Evidence::path(GENERATORS[0])),
    }
}
