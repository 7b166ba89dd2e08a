//! `fstab`: `/etc/fstab` mounts nothing that a machine will not have.
//!
//! systemd waits a minute and a half for such a device and then gives up on the boot, unless the
//! line says `nofail` or `noauto` (systemd.mount(5), fstab(5)).

use super::{Judgement, remedy};
use crate::facts::{Device, Facts, FstabLine};
use crate::report::{Context, Message};

pub(super) fn check(facts: &Facts, _: &Context) -> Option<Judgement> {
    let lines: Vec<&FstabLine> = facts.fstab.iter().filter(|line| is_missed(line)).collect();
    let first = lines.first()?;
    let id = match first.availability {
        Device::OtherName => "fstab-other-name",
        _ => "fstab-absent",
    };
    let message = Message::new(id)
        .with("device", &first.device)
        .with("place", &first.mount_point)
        .with("count", lines.len().to_string());
    let commands: Vec<String> = lines
        .iter()
        .filter_map(|line| line.evidence.line)
        .map(|number| format!("sed -i '{number}s/^/#/' /etc/fstab"))
        .collect();
    Some(
        Judgement::not_met(message)
            .seen(lines.iter().map(|line| line.evidence.clone()))
            .cure(remedy::both("fstab-remedy", &commands)),
    )
}

/// Whether the boot waits for a device that will not come.
fn is_missed(line: &FstabLine) -> bool {
    let optional = line
        .options
        .split(',')
        .any(|option| matches!(option, "nofail" | "noauto"));
    !optional && matches!(line.availability, Device::Absent | Device::OtherName)
}
