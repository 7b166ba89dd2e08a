//! `network-renderer`: cloud-init finds a program with which it can set up the network.

use super::remedy::{self, Packages};
use super::{Judgement, agents};
use crate::facts::{Evidence, Facts};
use crate::report::{Context, Message, Remedy};

pub(super) fn check(facts: &Facts, _: &Context) -> Option<Judgement> {
    let renderers = &agents::cloud_init(facts)?.renderers;
    if let Some(setting) = &renderers.disabled {
        let message = Message::new("network-renderer-disabled");
        let judgement = Judgement::not_met(message).seen([setting.clone()]);
        return Some(judgement.cure(remove(setting)));
    }
    let available: Vec<&str> = renderers
        .available
        .iter()
        .map(|renderer| renderer.value.as_str())
        .collect();
    let Some(wanted) = &renderers.wanted else {
        return available.is_empty().then(|| {
            let message = Message::new("network-renderer-none");
            Judgement::not_met(message).cure(install(facts))
        });
    };
    let found = wanted
        .value
        .iter()
        .any(|name| available.contains(&name.as_str()));
    if found {
        return None;
    }
    let message = Message::new("network-renderer-missing")
        .with("wanted", wanted.value.join(", "))
        .with(
            "available",
            match available.as_slice() {
                [] => "none".to_owned(),
                some => some.join(", "),
            },
        );
    let place = wanted.evidence.first().cloned();
    Some(Judgement::not_met(message).seen(place))
}

/// Installs what the distribution's own images have.
fn install(facts: &Facts) -> Vec<Remedy> {
    let package = match Packages::of(facts) {
        Some(Packages::Apt) => "netplan.io",
        Some(Packages::Apk) => "ifupdown-ng",
        _ => "NetworkManager",
    };
    remedy::install(facts, package, "networkmanager")
}

/// Removes the setting, if it is on one line, as installers write it.
fn remove(setting: &Evidence) -> Vec<Remedy> {
    let path = setting.path.as_deref().unwrap_or("");
    let one_line = setting
        .text
        .as_deref()
        .is_some_and(|text| text.starts_with("network:"));
    if !one_line {
        return Vec::new();
    }
    let command = format!("sed -i '/^network:/d' {}", remedy::quote(path));
    remedy::both("network-renderer-remedy", &[command])
}
