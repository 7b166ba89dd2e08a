//! What in cloud-init's configuration and state is wrong, or will surprise.
//!
//! Each is a [`Fault`] with a permanent name; the rule `cloud-config` has a sentence for every one.

use crate::facts::{Evidence, Fault};
use crate::fs::{Kind, Tree};
use crate::text::clean;

use super::cloud_config::Configuration;
use super::datasources::Order;

/// Modules under cloudinit/sources, of all versions so far.
const KNOWN: [&str; 34] = [
    "Akamai",
    "AliYun",
    "AltCloud",
    "Azure",
    "Bigstep",
    "CloudCIX",
    "CloudSigma",
    "CloudStack",
    "ConfigDrive",
    "DigitalOcean",
    "Ec2",
    "Exoscale",
    "GCE",
    "GPortal",
    "Hetzner",
    "IBMCloud",
    "LXD",
    "MAAS",
    "NWCS",
    "NoCloud",
    "NoCloudNet",
    "None",
    "OVF",
    "OpenNebula",
    "OpenStack",
    "Oracle",
    "RbxCloud",
    "Scaleway",
    "SmartOS",
    "TencentCloud",
    "UpCloud",
    "VMware",
    "Vultr",
    "WSL",
];
/// Where state lies, whatever the prefix of the configuration.
const STATE: &str = "/var/lib/cloud";

/// All problems, the worst first.
pub(crate) fn probe(tree: &Tree, configuration: &Configuration, order: &Order) -> Vec<Fault> {
    let mut problems = Vec::new();
    if let Some(list) = order.list.as_ref().filter(|_| !order.built_in) {
        let place = list.evidence.first().cloned().unwrap_or_default();
        if list.value.is_empty() {
            problems.push(problem("empty-list", "", place));
        } else {
            let unknown = list
                .value
                .iter()
                .filter(|name| !KNOWN.iter().any(|known| known.eq_ignore_ascii_case(name)));
            for name in unknown.take(4) {
                problems.push(problem("unknown-source", name, place.clone()));
            }
        }
    }
    if let Some(mode) = configuration
        .text("datasource.ConfigDrive.dsmode")
        .filter(|mode| mode.value == "disabled")
    {
        let place = mode.evidence.into_iter().next().unwrap_or_default();
        problems.push(problem("config-drive-off", "", place));
    }
    problems.extend(seed(tree, order));
    problems.extend(kept_instance(tree, configuration));
    problems.extend(configuration.broken.iter().cloned());
    problems.extend(block_list(configuration));
    let merging = ["merge_how", "merge_type"]
        .iter()
        .find_map(|key| configuration.place(key));
    problems.extend(merging.map(|place| problem("merge-how", "", place)));
    problems
}

fn problem(code: &str, detail: &str, evidence: Evidence) -> Fault {
    Fault {
        code: code.to_owned(),
        detail: detail.to_owned(),
        evidence,
    }
}

/// Data in the image itself that a data source takes for the machine's. ConfigDrive's own are
/// taken before any drive; NoCloud's if that is asked first.
fn seed(tree: &Tree, order: &Order) -> Option<Fault> {
    let place = |name: &str| {
        let list = order.list.as_ref()?;
        list.value
            .iter()
            .position(|source| source.eq_ignore_ascii_case(name))
    };
    let drive = place("ConfigDrive");
    let config_drive = format!("{STATE}/seed/config_drive/openstack");
    if drive.is_some() && tree.exists(&config_drive) {
        return Some(problem("seed", "ConfigDrive", Evidence::path(config_drive)));
    }
    let no_cloud = place("NoCloud")?;
    if drive.is_some_and(|drive| drive < no_cloud) {
        return None;
    }
    ["nocloud", "nocloud-net"].iter().find_map(|name| {
        let directory = format!("{STATE}/seed/{name}");
        let complete = ["user-data", "meta-data"]
            .iter()
            .all(|file| tree.exists(&format!("{directory}/{file}")));
        complete.then(|| problem("seed", "NoCloud", Evidence::path(directory)))
    })
}

/// With `manual_cache_clean` the machine that the image was made on stays the instance for ever.
fn kept_instance(tree: &Tree, configuration: &Configuration) -> Option<Fault> {
    let instance = leftover(tree)?;
    let manual = configuration
        .flag("manual_cache_clean")
        .filter(|manual| manual.value);
    match manual {
        Some(manual) => {
            let place = manual.evidence.into_iter().next().unwrap_or(instance);
            Some(problem("instance-kept", "", place))
        }
        None => Some(problem("instance-left", "", instance)),
    }
}

/// The state of an instance that ran from this disk.
fn leftover(tree: &Tree) -> Option<Evidence> {
    let link = format!("{STATE}/instance");
    if let Some(node) = tree.lstat(&link)
        && matches!(node.kind, Kind::Symlink | Kind::Directory)
    {
        let target = tree.link_target(&link).unwrap_or_default();
        let evidence = Evidence::path(clean(node.path));
        return Some(if target.is_empty() {
            evidence
        } else {
            evidence.saying(format!("-> {}", clean(target)))
        });
    }
    let node = tree.first_file(&["/var/lib/cloud/data/instance-id"])?;
    Some(Evidence::path(clean(node.path)))
}

/// ds-identify reads a list only if it is written on one line.
fn block_list(configuration: &Configuration) -> Option<Fault> {
    let list = configuration.datasource_lists.last()?;
    let evidence = list.evidence.first()?;
    let several = list.evidence.len() > 1;
    several.then(|| problem("list-on-lines", "", evidence.clone()))
}
