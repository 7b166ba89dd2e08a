//! The SSH server: which one, whether it starts, and the settings that decide who gets in.

use crate::facts::{Enablement, Evidence, Fact, Init, Sshd};
use crate::fs::{Text, Tree};
use crate::text::clean;

use super::{MAX_CONFIG, firewall, units};

const OPENSSH: [&str; 3] = ["/usr/sbin/sshd", "/usr/bin/sshd", "/usr/local/sbin/sshd"];
const DROPBEAR: [&str; 3] = [
    "/usr/sbin/dropbear",
    "/usr/bin/dropbear",
    "/usr/local/sbin/dropbear",
];
/// Debian calls the unit `ssh`, with `sshd` as an alias; others call it `sshd`.
const OPENSSH_UNITS: [&str; 4] = ["ssh.service", "sshd.service", "ssh.socket", "sshd.socket"];
const DROPBEAR_UNITS: [&str; 2] = ["dropbear.service", "dropbear.socket"];
/// Targets that a normal boot reaches.
const TARGETS: [&str; 6] = [
    "multi-user.target",
    "sockets.target",
    "graphical.target",
    "default.target",
    "basic.target",
    "cloud-init.target",
];

/// Everything about the SSH server.
pub(crate) fn probe(tree: &Tree, init: Option<Init>) -> Sshd {
    let find = |name: &str, paths: &[&str]| {
        let node = tree.first_file(paths)?;
        Some(Fact::new(name.to_owned(), Evidence::path(clean(node.path))))
    };
    let openssh = find("openssh", &OPENSSH);
    let dropbear = find("dropbear", &DROPBEAR);
    let mut sshd = Sshd::default();
    if let Some(server) = openssh {
        sshd.enablement = Some(enablement(tree, init, &OPENSSH_UNITS, &["ssh", "sshd"]));
        sshd.server = Some(server);
        settings(tree, &mut sshd);
    }
    let starts =
        |sshd: &Sshd| matches!(&sshd.enablement, Some(fact) if fact.value == Enablement::Enabled);
    if let Some(server) = dropbear
        && !starts(&sshd)
    {
        let state = enablement(tree, init, &DROPBEAR_UNITS, &["dropbear"]);
        if sshd.server.is_none() || state.value == Enablement::Enabled {
            sshd = Sshd {
                server: Some(server),
                enablement: Some(state),
                ..Sshd::default()
            };
        }
    }
    if sshd.server.is_some() {
        let port = sshd.port.as_ref().map_or("22", |port| port.value.as_str());
        sshd.firewall = firewall::probe(tree, init, port);
    }
    sshd
}

fn enablement(
    tree: &Tree,
    init: Option<Init>,
    unit_names: &[&str],
    services: &[&str],
) -> Fact<Enablement> {
    let enabled = |evidence| Fact::new(Enablement::Enabled, evidence);
    let disabled = |evidence| Fact::new(Enablement::Disabled, evidence);
    if let Some(node) = tree.stat("/etc/ssh/sshd_not_to_be_run")
        && services.contains(&"ssh")
    {
        return disabled(Evidence::path(clean(node.path)));
    }
    let sysv = || {
        services
            .iter()
            .find_map(|service| units::sysv_link(tree, service))
    };
    match init {
        Some(Init::Systemd) => systemd(tree, unit_names, services),
        Some(Init::OpenRc) => services
            .iter()
            .find_map(|service| units::openrc_link(tree, service))
            .map_or_else(
                || disabled(Evidence::path("/etc/runlevels/default")),
                enabled,
            ),
        Some(Init::Bsd) => match units::rc_conf(tree, "sshd_enable") {
            Some((true, evidence)) => enabled(evidence),
            Some((false, evidence)) => disabled(evidence),
            None => disabled(Evidence::path("/etc/rc.conf")),
        },
        Some(Init::SysV) => sysv().map_or_else(|| disabled(Evidence::path("/etc/rc2.d")), enabled),
        Some(Init::Other) | None => sysv().map_or_else(
            || Fact {
                value: Enablement::Unknown,
                evidence: Vec::new(),
            },
            enabled,
        ),
    }
}

fn systemd(tree: &Tree, unit_names: &[&str], services: &[&str]) -> Fact<Enablement> {
    for unit in unit_names {
        if let Some(link) = units::wanted(tree, unit, &TARGETS)
            && units::socket_leads_on(tree, unit)
        {
            return Fact::new(Enablement::Enabled, link);
        }
    }
    let installed: Vec<String> = unit_names
        .iter()
        .filter_map(|unit| units::unit_file(tree, unit))
        .collect();
    let masks: Vec<Evidence> = unit_names
        .iter()
        .filter_map(|unit| units::mask(tree, unit))
        .collect();
    // systemd turns init scripts without a unit of their own into units.
    if installed.is_empty()
        && masks.is_empty()
        && let Some(link) = services
            .iter()
            .find_map(|service| units::sysv_link(tree, service))
    {
        return Fact::new(Enablement::Enabled, link);
    }
    let mut evidence = masks;
    evidence.extend(
        installed
            .into_iter()
            .take(1)
            .map(|path| Evidence::path(clean(path))),
    );
    evidence.extend(preset(tree, unit_names));
    Fact {
        value: Enablement::Disabled,
        evidence,
    }
}

/// The preset line about one of the units. Presets act when a package is installed or the machine
/// is started for the very first time; they explain, and decide nothing.
fn preset(tree: &Tree, unit_names: &[&str]) -> Option<Evidence> {
    [
        "/etc/systemd/system-preset",
        "/usr/lib/systemd/system-preset",
    ]
    .iter()
    .flat_map(|directory| {
        tree.list(directory)
            .into_iter()
            .map(move |name| format!("{directory}/{name}"))
    })
    .take(64)
    .find_map(|path| {
        let file = tree.read(&path, MAX_CONFIG)?;
        file.lines().find_map(|(number, line)| {
            let mut words = line.split_whitespace();
            let verb = words.next()?;
            let named = words.next()?;
            (matches!(verb, "enable" | "disable") && unit_names.contains(&named))
                .then(|| file.evidence(number, line))
        })
    })
}

/// Where the configuration lies: openSUSE ships its own below `/usr`, and a file of the
/// administrator's takes its place.
const CONFIGURATIONS: [&str; 2] = ["/etc/ssh/sshd_config", "/usr/etc/ssh/sshd_config"];

/// sshd_config(5): the first value of a keyword counts, drop-ins are read where `Include` stands,
/// and what follows `Match` holds for some connections only.
fn settings(tree: &Tree, sshd: &mut Sshd) {
    let file = CONFIGURATIONS
        .iter()
        .find_map(|path| tree.read(path, MAX_CONFIG));
    if let Some(file) = file {
        take_settings(tree, &file, sshd, true);
    }
}

fn take_settings(tree: &Tree, file: &Text, sshd: &mut Sshd, may_include: bool) {
    for (number, line) in file.lines() {
        let line = line.trim();
        let Some((keyword, value)) = line
            .split_once(|c: char| c.is_whitespace() || c == '=')
            .map(|(keyword, value)| (keyword.to_ascii_lowercase(), value.trim()))
        else {
            continue;
        };
        let slot = match keyword.as_str() {
            "match" => return,
            "include" => {
                if may_include {
                    include(tree, value, sshd);
                }
                continue;
            }
            "port" => &mut sshd.port,
            "permitrootlogin" => &mut sshd.permit_root_login,
            "passwordauthentication" => &mut sshd.password_authentication,
            _ => continue,
        };
        if slot.is_none() {
            *slot = Some(Fact::new(clean(value), file.evidence(number, line)));
        }
    }
}

/// The files that a pattern names, one level deep. A relative one starts from `/etc/ssh`.
fn include(tree: &Tree, pattern: &str, sshd: &mut Sshd) {
    const MAX_INCLUDED: usize = 64;
    let Some(directory) = pattern.strip_suffix("/*.conf") else {
        return;
    };
    let directory = match directory.strip_prefix('/') {
        Some(_) => directory.to_owned(),
        None => format!("/etc/ssh/{directory}"),
    };
    let names = tree.list(&directory);
    let names = names.iter().filter(|name| name.ends_with(".conf"));
    for name in names.take(MAX_INCLUDED) {
        if let Some(file) = tree.read(&format!("{directory}/{name}"), MAX_CONFIG) {
            take_settings(tree, &file, sshd, false);
        }
    }
}
