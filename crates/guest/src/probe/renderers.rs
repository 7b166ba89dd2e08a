//! How cloud-init can set up the network.
//!
//! It takes the first of `system_info.network.renderers`, else of its own order, whose programs
//! are there (`available` in cloudinit/net/{eni,sysconfig,netplan,network_manager,networkd}.py;
//! `renderers.py` has the order). Without any, a machine starts without network.

use crate::facts::{Evidence, Fact, Init, Os, Renderers};
use crate::fs::Tree;
use crate::text::clean;

use super::cloud_config::Configuration;
use super::units;

/// cloud-init's own order.
const ORDER: [&str; 8] = [
    "eni",
    "sysconfig",
    "netplan",
    "network-manager",
    "freebsd",
    "netbsd",
    "openbsd",
    "networkd",
];

/// What is wanted and what is there.
pub(crate) fn probe(
    tree: &Tree,
    init: Option<Init>,
    os: Option<&Os>,
    configuration: &Configuration,
) -> Renderers {
    let disabled = configuration
        .text("network.config")
        .filter(|word| word.value == "disabled")
        .and_then(|word| word.evidence.into_iter().next());
    Renderers {
        wanted: configuration.list("system_info.network.renderers"),
        available: ORDER
            .iter()
            .filter_map(|name| {
                let evidence = available(name, tree, init, os)?;
                Some(Fact::new((*name).to_owned(), evidence))
            })
            .collect(),
        disabled,
    }
}

fn available(name: &str, tree: &Tree, init: Option<Init>, os: Option<&Os>) -> Option<Evidence> {
    match name {
        "eni" => {
            all(
                tree,
                &["ifquery", "ifup", "ifdown"],
                &["/usr/sbin", "/sbin"],
            )?;
            file(tree, &["/etc/network/interfaces"])
        }
        "sysconfig" => sysconfig(tree, os),
        "netplan" => all(tree, &["netplan"], &["/usr/sbin", "/sbin"]),
        "network-manager" => {
            let program = all(tree, &["nmcli"], &["/usr/bin", "/bin", "/usr/sbin"])?;
            let unit = "NetworkManager.service";
            match init {
                Some(Init::Systemd) => units::wanted(tree, unit, &["multi-user.target"]),
                _ => Some(program),
            }
        }
        // Looked for where `subp.which` looks; both are links into /usr on merged systems.
        "networkd" => all(tree, &["ip", "systemctl"], &["/usr/sbin", "/bin", "/sbin"]),
        bsd => {
            let family = os.map(|os| os.family.as_str());
            (family == Some(bsd)).then(|| Evidence::path("/etc/rc.conf"))
        }
    }
}

/// `ifup` and its functions, or NetworkManager's plugin for the same files, on the distributions
/// that have them.
fn sysconfig(tree: &Tree, os: Option<&Os>) -> Option<Evidence> {
    const FAMILIES: [&str; 6] = [
        "fedora",
        "rhel",
        "centos",
        "suse",
        "opensuse",
        "openmandriva",
    ];
    let os = os?;
    let known = os.id.iter().chain(&os.id_like);
    if !known.into_iter().any(|id| FAMILIES.contains(&id.as_str())) {
        return None;
    }
    let scripts = all(tree, &["ifup", "ifdown"], &["/sbin", "/usr/sbin"]).and_then(|_| {
        file(
            tree,
            &[
                "/etc/sysconfig/network-scripts/network-functions",
                "/etc/sysconfig/config",
                // Where openSUSE has it.
                "/etc/sysconfig/network/config",
            ],
        )
    });
    scripts.or_else(|| {
        let base = "/usr/lib64/NetworkManager";
        let versions = tree.list(base);
        versions.iter().find_map(|version| {
            let plugin = format!("{base}/{version}/libnm-settings-plugin-ifcfg-rh.so");
            file(tree, &[&plugin])
        })
    })
}

/// The last of `programs`, if each is in one of `directories`.
fn all(tree: &Tree, programs: &[&str], directories: &[&str]) -> Option<Evidence> {
    let mut last = None;
    for program in programs {
        let node = directories
            .iter()
            .find_map(|directory| tree.stat(&format!("{directory}/{program}")))?;
        last = Some(Evidence::path(clean(node.path)));
    }
    last
}

fn file(tree: &Tree, paths: &[&str]) -> Option<Evidence> {
    let node = tree.first_file(paths)?;
    Some(Evidence::path(clean(node.path)))
}
