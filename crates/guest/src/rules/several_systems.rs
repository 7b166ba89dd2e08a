//! `several-systems`: the disk holds no other system besides the one that boots.

use super::{Judgement, remedy};
use crate::facts::{Facts, Reason, System};
use crate::report::{Context, Message};

/// Systems named in the sentence; all are facts.
const MAX_NAMED: usize = 4;

pub(super) fn check(facts: &Facts, _: &Context) -> Option<Judgement> {
    let boots = facts.systems.iter().find(|system| system.boots)?;
    let others: Vec<&System> = facts.systems.iter().filter(|s| !s.boots).collect();
    let evidence = others.first()?.evidence.first().cloned();
    let mut named: Vec<String> = others.iter().take(MAX_NAMED).map(|s| called(s)).collect();
    if others.len() > MAX_NAMED {
        named.push("…".to_owned());
    }
    let reason = facts.root.as_ref().and_then(|root| root.reason.as_ref());
    let message = Message::new("several-systems-found")
        .with("boots", called(boots))
        .with("others", named.join(", "))
        .with("reason", word(reason.map(|reason| reason.value)));
    let decisive = reason.iter().flat_map(|reason| reason.evidence.clone());
    Some(
        Judgement::not_met(message)
            .seen(decisive)
            .seen(evidence)
            .cure([remedy::host(
                "several-systems-remedy",
                ["virt-filesystems -a IMAGE --long --human-readable"],
            )]),
    )
}

/// `Debian GNU/Linux 12 (vda2)`, or by the name of its volume.
fn called(system: &System) -> String {
    let name = system.name.as_deref().unwrap_or(&system.filesystem);
    match (&system.volume, system.partition) {
        (Some(volume), _) => format!("{name} ({volume})"),
        (None, 0) => format!("{name} (vda)"),
        (None, number) => format!("{name} (vda{number})"),
    }
}

fn word(reason: Option<Reason>) -> &'static str {
    match reason {
        Some(Reason::BootLoader) => "boot-entry",
        Some(Reason::BootFlag) => "flag",
        Some(Reason::PartitionType) => "type",
        Some(Reason::Files) => "files",
        Some(Reason::Size) => "size",
        Some(Reason::Order) => "order",
        None => "only",
    }
}
