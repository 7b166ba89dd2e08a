//! Firewalls inside the guest that let nobody in on the SSH server's port, as far as that is plain
//! to see: ufw(8), nft(8), iptables-restore(8) and firewalld(1), if they start on boot.
//!
//! A rule set is not evaluated. One that drops what comes in by default and names the port nowhere
//! is reported; anything finer is left alone, because a false alarm about a firewall costs more
//! trust than it is worth.

use crate::facts::{Evidence, Init};
use crate::fs::{Text, Tree};
use crate::text::clean;

use super::os::assignment;
use super::{MAX_CONFIG, units};

const TARGETS: [&str; 3] = ["multi-user.target", "sysinit.target", "basic.target"];

/// The firewall in the way of `port`: the line that turns it on or drops everything.
pub(crate) fn probe(tree: &Tree, init: Option<Init>, port: &str) -> Option<Evidence> {
    let starts = |unit: &str| match init {
        Some(Init::Systemd) => units::wanted(tree, &format!("{unit}.service"), &TARGETS).is_some(),
        Some(Init::OpenRc) => units::openrc_link(tree, unit).is_some(),
        _ => units::sysv_link(tree, unit).is_some(),
    };
    let names = |text: &str| names_port(text, port);
    ufw(tree, &starts, &names)
        .or_else(|| nftables(tree, &starts, &names))
        .or_else(|| iptables(tree, &starts, &names))
        .or_else(|| firewalld(tree, &starts, port))
}

/// Whether a rule names the port, by number or as `ssh`.
fn names_port(text: &str, port: &str) -> bool {
    text.lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .flat_map(|line| line.split(|c: char| !c.is_ascii_alphanumeric()))
        .any(|word| word == port || (port == "22" && word.eq_ignore_ascii_case("ssh")))
}

/// The first line that `test` accepts.
fn line(file: &Text, test: impl Fn(&str) -> bool) -> Option<Evidence> {
    file.lines()
        .find(|(_, line)| test(line.trim()))
        .map(|(number, line)| file.evidence(number, line))
}

fn ufw(
    tree: &Tree,
    starts: &dyn Fn(&str) -> bool,
    names: &dyn Fn(&str) -> bool,
) -> Option<Evidence> {
    let switch = tree.read("/etc/ufw/ufw.conf", MAX_CONFIG)?;
    let on = line(&switch, |line| {
        assignment(line)
            .is_some_and(|(key, value)| key == "ENABLED" && value.eq_ignore_ascii_case("yes"))
    })?;
    let policy = tree.read("/etc/default/ufw", MAX_CONFIG);
    let accepts = policy.is_some_and(|file| {
        file.lines().any(|(_, line)| {
            assignment(line)
                .is_some_and(|(key, value)| key == "DEFAULT_INPUT_POLICY" && value == "ACCEPT")
        })
    });
    let admits = ["/etc/ufw/user.rules", "/lib/ufw/user.rules"]
        .iter()
        .filter_map(|path| tree.read(path, MAX_CONFIG))
        .any(|file| names(&file.text));
    (starts("ufw") && !accepts && !admits).then_some(on)
}

fn nftables(
    tree: &Tree,
    starts: &dyn Fn(&str) -> bool,
    names: &dyn Fn(&str) -> bool,
) -> Option<Evidence> {
    let file = ["/etc/nftables.conf", "/etc/sysconfig/nftables.conf"]
        .iter()
        .find_map(|path| tree.read(path, MAX_CONFIG))?;
    // What it includes may admit the port.
    let whole = !file
        .lines()
        .any(|(_, line)| line.trim_start().starts_with("include"));
    let drops = line(&file, |line| {
        line.contains("hook input") && line.contains("policy drop")
    })?;
    (whole && starts("nftables") && !names(&file.text)).then_some(drops)
}

fn iptables(
    tree: &Tree,
    starts: &dyn Fn(&str) -> bool,
    names: &dyn Fn(&str) -> bool,
) -> Option<Evidence> {
    [
        ("/etc/iptables/rules.v4", "netfilter-persistent"),
        ("/etc/sysconfig/iptables", "iptables"),
        ("/etc/iptables/rules-save", "iptables"),
    ]
    .iter()
    .find_map(|(path, unit)| {
        let file = tree.read(path, MAX_CONFIG)?;
        let drops = line(&file, |line| line.starts_with(":INPUT DROP"))?;
        (starts(unit) && !names(&file.text)).then_some(drops)
    })
}

/// The default zone of firewalld, if its description admits neither `ssh` nor the port.
fn firewalld(tree: &Tree, starts: &dyn Fn(&str) -> bool, port: &str) -> Option<Evidence> {
    if !starts("firewalld") {
        return None;
    }
    let zone = tree
        .read("/etc/firewalld/firewalld.conf", MAX_CONFIG)
        .and_then(|file| {
            file.lines().find_map(|(_, line)| {
                let (key, value) = assignment(line)?;
                (key == "DefaultZone").then_some(value)
            })
        })
        .unwrap_or_else(|| "public".to_owned());
    if zone.contains('/') {
        return None;
    }
    let file = ["/etc/firewalld/zones", "/usr/lib/firewalld/zones"]
        .iter()
        .find_map(|directory| tree.read(&format!("{directory}/{zone}.xml"), MAX_CONFIG))?;
    let admits = names_port(&file.text, port) || file.text.contains("target=\"ACCEPT\"");
    (!admits).then(|| Evidence::path(clean(&file.path)).saying(clean(zone)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_named_by_number_or_service() {
        assert!(names_port("tcp dport 22 accept", "22"));
        assert!(names_port("tcp dport { ssh, http } accept", "22"));
        assert!(names_port("-A INPUT -p tcp --dport 2222 -j ACCEPT", "2222"));
        assert!(!names_port("tcp dport ssh accept", "2222"));
        assert!(!names_port("tcp dport 2200 accept\n# 22", "22"));
    }
}
