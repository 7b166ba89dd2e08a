//! Network configuration that fits one machine only: fixed addresses, and interfaces named by
//! their hardware address.
//!
//! Looked at are ifupdown's interfaces(5), netplan(5), NetworkManager's keyfiles
//! (nm-settings-keyfile(5)), ifcfg files of Red Hat and SUSE, systemd.network(5), the udev rules
//! that older systems wrote for each card they saw, and a BSD's rc.conf(5). What cloud-init has
//! written is left out: it writes that anew for every machine.

use crate::facts::{Evidence, Fact, Pinned};
use crate::fs::{Text, Tree};

use super::MAX_CONFIG;

/// Files looked at of each directory.
const MAX_FILES: usize = 64;
/// Places reported.
const MAX_FOUND: usize = 16;

/// Reads a directory's files whose names `wanted` accepts, and looks at each of their lines.
struct Place {
    directory: &'static str,
    wanted: fn(&str) -> bool,
    pins: fn(&Text) -> Vec<Fact<Pinned>>,
}

const PLACES: [Place; 7] = [
    Place {
        directory: "/etc/network",
        wanted: |name| name == "interfaces",
        pins: ifupdown,
    },
    Place {
        directory: "/etc/network/interfaces.d",
        wanted: |name| !name.starts_with('.'),
        pins: ifupdown,
    },
    Place {
        directory: "/etc/netplan",
        wanted: |name| name.ends_with(".yaml"),
        pins: netplan,
    },
    Place {
        directory: "/etc/NetworkManager/system-connections",
        wanted: |name| !name.starts_with('.'),
        pins: network_manager,
    },
    Place {
        directory: "/etc/sysconfig/network-scripts",
        wanted: |name| name.starts_with("ifcfg-") && name != "ifcfg-lo",
        pins: ifcfg,
    },
    Place {
        directory: "/etc/sysconfig/network",
        wanted: |name| name.starts_with("ifcfg-") && name != "ifcfg-lo",
        pins: ifcfg,
    },
    Place {
        directory: "/etc/systemd/network",
        wanted: |name| name.ends_with(".network"),
        pins: networkd,
    },
];

/// Everything that ties the network to one machine.
pub(crate) fn probe(tree: &Tree) -> Vec<Fact<Pinned>> {
    let mut found: Vec<Fact<Pinned>> = PLACES
        .iter()
        .flat_map(|place| {
            tree.list(place.directory)
                .into_iter()
                .filter(|name| (place.wanted)(name))
                .take(MAX_FILES)
                .filter_map(|name| tree.read(&format!("{}/{name}", place.directory), MAX_CONFIG))
                .filter(|file| !is_cloud_inits(file))
                .flat_map(|file| (place.pins)(&file))
                .collect::<Vec<_>>()
        })
        .collect();
    let rules = "/etc/udev/rules.d/70-persistent-net.rules";
    found.extend(tree.read(rules, MAX_CONFIG).iter().flat_map(udev));
    found.extend(
        tree.read("/etc/rc.conf", MAX_CONFIG)
            .iter()
            .flat_map(rc_conf),
    );
    found.truncate(MAX_FOUND);
    found
}

/// cloud-init heads the files that it writes with where their content comes from.
fn is_cloud_inits(file: &Text) -> bool {
    let mut head = file.text.lines().take(10);
    file.path.contains("50-cloud-init")
        || head.any(|line| line.starts_with('#') && line.contains("cloud-init"))
}

/// The lines of `file`, comments left out, that `test` takes for pinned.
fn lines(file: &Text, test: impl Fn(&str) -> Option<Pinned>) -> Vec<Fact<Pinned>> {
    file.lines()
        .filter(|(_, line)| !line.trim_start().starts_with(['#', ';']))
        .filter_map(|(number, line)| {
            Some(Fact::new(test(line.trim())?, file.evidence(number, line)))
        })
        .collect()
}

fn ifupdown(file: &Text) -> Vec<Fact<Pinned>> {
    lines(file, |line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["iface", interface, "inet" | "inet6", "static", ..] => {
                (*interface != "lo").then_some(Pinned::Address)
            }
            ["hwaddress", ..] => Some(Pinned::Hardware),
            _ => None,
        }
    })
}

/// Keys of a YAML mapping, one a line, as netplan's own examples and generators have them.
fn netplan(file: &Text) -> Vec<Fact<Pinned>> {
    lines(file, |line| {
        let key = line
            .split(':')
            .next()
            .unwrap_or("")
            .trim_start_matches("- ");
        match key {
            "addresses" if file.text.contains("dhcp4: true") => None,
            "addresses" => Some(Pinned::Address),
            "macaddress" => Some(Pinned::Hardware),
            _ => None,
        }
    })
    .into_iter()
    .filter(|fact| !below_nameservers(file, fact.evidence.first()))
    .collect()
}

/// Whether the key belongs to `nameservers`, whose `addresses` are somebody else's.
fn below_nameservers(file: &Text, evidence: Option<&Evidence>) -> bool {
    let Some(before) = evidence
        .and_then(|evidence| evidence.line)
        .and_then(|line| (line as usize).checked_sub(2))
    else {
        return false;
    };
    file.text
        .lines()
        .nth(before)
        .is_some_and(|line| line.trim_start().starts_with("nameservers:"))
}

fn network_manager(file: &Text) -> Vec<Fact<Pinned>> {
    lines(file, |line| {
        let (key, value) = line.split_once('=')?;
        match (key.trim(), value.trim()) {
            ("method", "manual") => Some(Pinned::Address),
            ("mac-address", value) if !value.is_empty() => Some(Pinned::Hardware),
            _ => None,
        }
    })
}

fn ifcfg(file: &Text) -> Vec<Fact<Pinned>> {
    lines(file, |line| {
        let (key, value) = line.split_once('=')?;
        let value = value.trim_matches(['"', '\'']);
        match key {
            "IPADDR" | "IPADDR0" | "IPADDR_0" if !value.is_empty() => Some(Pinned::Address),
            "HWADDR" if !value.is_empty() => Some(Pinned::Hardware),
            _ => None,
        }
    })
}

fn networkd(file: &Text) -> Vec<Fact<Pinned>> {
    lines(file, |line| {
        let (key, value) = line.split_once('=')?;
        let loopback = value.trim().starts_with("127.");
        match key.trim() {
            "Address" if !loopback => Some(Pinned::Address),
            "MACAddress" => Some(Pinned::Hardware),
            _ => None,
        }
    })
}

fn udev(file: &Text) -> Vec<Fact<Pinned>> {
    lines(file, |line| {
        line.contains("ATTR{address}==").then_some(Pinned::Hardware)
    })
}

fn rc_conf(file: &Text) -> Vec<Fact<Pinned>> {
    lines(file, |line| {
        let (key, value) = line.split_once('=')?;
        let interface = key.strip_prefix("ifconfig_")?;
        let fixed = value.trim_start_matches(['"', '\'']).starts_with("inet ");
        (fixed && !interface.starts_with("lo0")).then_some(Pinned::Address)
    })
}
