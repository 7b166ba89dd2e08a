//! What belongs to one machine or one person and should not be in an image: ids, keys, addresses.

use super::{Judgement, remedy};
use crate::facts::{Evidence, Facts, Pinned};
use crate::report::{Context, Message, Remedy};

/// `machine-id`: machines made from the image will differ in their machine id.
pub(super) fn machine_id(facts: &Facts, _: &Context) -> Option<Judgement> {
    let ids = &facts.identity.machine_id;
    // Without D-Bus there is no directory for its link.
    let commands: Vec<String> = [
        ("/etc/machine-id", "truncate -s 0 /etc/machine-id"),
        (
            "/var/lib/dbus/machine-id",
            "ln -sf /etc/machine-id /var/lib/dbus/machine-id",
        ),
    ]
    .into_iter()
    .filter(|(path, _)| ids.iter().any(|id| id.path.as_deref() == Some(*path)))
    .map(|(_, command)| command.to_owned())
    .collect();
    found(
        "machine-id-set",
        ids,
        remedy::both("machine-id-remedy", &commands),
    )
}

/// `host-keys`: machines made from the image will differ in their SSH host keys.
pub(super) fn host_keys(facts: &Facts, _: &Context) -> Option<Judgement> {
    found(
        "host-keys-present",
        &facts.identity.host_keys,
        remove(&facts.identity.host_keys, "host-keys-remedy"),
    )
}

/// `authorized-keys`: nobody's public keys are left in the image.
pub(super) fn authorized_keys(facts: &Facts, _: &Context) -> Option<Judgement> {
    let keys = &facts.identity.authorized_keys;
    found(
        "authorized-keys-present",
        keys,
        remove(keys, "authorized-keys-remedy"),
    )
}

/// `private-keys`: nobody's private keys are left in the image.
pub(super) fn private_keys(facts: &Facts, _: &Context) -> Option<Judgement> {
    let keys = &facts.identity.private_keys;
    found(
        "private-keys-present",
        keys,
        remove(keys, "private-keys-remedy"),
    )
}

/// `static-network`: no address is configured that belongs to another machine.
pub(super) fn static_network(facts: &Facts, _: &Context) -> Option<Judgement> {
    let pins = &facts.pinned_network;
    let id = match pins.iter().any(|pin| pin.value == Pinned::Address) {
        true => "static-network-address",
        false => "static-network-hardware",
    };
    let evidence: Vec<Evidence> = pins.iter().flat_map(|pin| pin.evidence.clone()).collect();
    let cure = remove(&evidence, "static-network-remedy");
    found(id, &evidence, cure)
}

/// A finding, if there is evidence of it.
fn found(id: &str, evidence: &[Evidence], cure: Vec<Remedy>) -> Option<Judgement> {
    if evidence.is_empty() {
        return None;
    }
    let message = Message::new(id).with("count", evidence.len().to_string());
    Some(
        Judgement::not_met(message)
            .seen(evidence.to_vec())
            .cure(cure),
    )
}

/// Deletes the files that the evidence lies in.
fn remove(evidence: &[Evidence], text: &str) -> Vec<Remedy> {
    let mut paths: Vec<String> = evidence
        .iter()
        .filter_map(|evidence| evidence.path.as_deref())
        .map(remedy::quote)
        .collect();
    paths.sort_unstable();
    paths.dedup();
    let on_host = paths
        .iter()
        .map(|path| format!("virt-customize -a IMAGE --delete {path}"));
    vec![
        remedy::guest(text, [format!("rm {}", paths.join(" "))]),
        remedy::host(text, on_host.collect::<Vec<_>>()),
    ]
}
