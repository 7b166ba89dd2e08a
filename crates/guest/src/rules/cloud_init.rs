//! `cloud-init`: version 0.7.7 or later, or another program that does its work, is installed and
//! runs on boot.

use super::remedy::{self, Packages};
use super::{Judgement, Rule, agents, unreadable};
use crate::facts::{CloudInit as Found, Enablement, Evidence, Facts};
use crate::probe::cloud_version::compare;
use crate::report::{Context, Message, Remedy, RuleId};

/// The first version whose ConfigDrive support suffices.
const MINIMUM: &str = "0.7.7";

const ENABLE: &str = "systemctl enable cloud-init-local cloud-init cloud-config cloud-final";

pub(super) struct CloudInit;

impl Rule for CloudInit {
    fn id(&self) -> RuleId {
        RuleId::CloudInit
    }

    fn judge(&self, facts: &Facts, _: &Context) -> Judgement {
        if let Some(judgement) = unreadable(facts) {
            return judgement;
        }
        let found = &facts.cloud_init;
        let Some(installed) = &found.installed else {
            return agents::installed(facts).unwrap_or_else(|| missing(facts));
        };
        if agents::stand_in(facts)
            && let Some(judgement) = agents::installed(facts)
        {
            return judgement;
        }
        let version = found.version.as_ref();
        if let Some(version) = version.filter(|version| compare(&version.value, MINIMUM).is_lt()) {
            let message = Message::new("cloud-init-old")
                .with("version", &version.value)
                .with("minimum", MINIMUM);
            return Judgement::not_met(message)
                .seen(version.evidence.clone())
                .cure(remedy::install(facts, "cloud-init", "cloud-init"));
        }
        let state = found.enablement.as_ref();
        let evidence = state
            .map(|state| state.evidence.clone())
            .unwrap_or_default();
        match (state.map(|state| state.value), version) {
            (Some(Enablement::Disabled), _) => disabled(found, evidence),
            (Some(Enablement::Enabled), Some(version)) => {
                let message = Message::new("cloud-init-good").with("version", &version.value);
                Judgement::met(message)
                    .seen(version.evidence.clone())
                    .seen(evidence)
            }
            (Some(Enablement::Enabled), None) => {
                let message = Message::new("cloud-init-no-version").with("minimum", MINIMUM);
                Judgement::unknown(message).seen([installed.clone()])
            }
            _ => Judgement::unknown(Message::new("cloud-init-unclear")).seen([installed.clone()]),
        }
    }
}

fn missing(facts: &Facts) -> Judgement {
    let cure = remedy::install_started(facts, "cloud-init", "cloud-init", start);
    match agents::other(facts) {
        Some(agent) => {
            let message = Message::new("cloud-init-other").with("agent", &agent.name);
            Judgement::not_met(message)
                .seen([agent.installed.clone()])
                .cure(cure)
        }
        None => Judgement::not_met(Message::new("cloud-init-missing")).cure(cure),
    }
}

/// What has it start where installing it does not.
fn start(packages: Packages) -> Option<&'static str> {
    match packages {
        Packages::Apk => Some("setup-cloud-init"),
        Packages::Pkg => Some("sysrc cloudinit_enable=YES"),
        Packages::Pacman | Packages::Zypper => Some(ENABLE),
        Packages::Apt | Packages::Dnf => None,
    }
}

fn disabled(found: &Found, evidence: Vec<Evidence>) -> Judgement {
    let version = found.version.as_ref().map_or("", |version| &version.value);
    let cure = enable(&evidence);
    Judgement::not_met(Message::new("cloud-init-disabled").with("version", version))
        .seen(evidence)
        .cure(cure)
}

/// Undoes what disables it, which the evidence shows.
fn enable(evidence: &[Evidence]) -> Vec<Remedy> {
    let path = evidence
        .first()
        .and_then(|evidence| evidence.path.as_deref())
        .unwrap_or("");
    let unmask = remedy::unmask(evidence);
    if !unmask.is_empty() {
        return remedy::both("remedy-enable", &unmask);
    }
    if path.ends_with("/cloud-init.disabled") {
        return vec![
            remedy::guest("cloud-init-remedy-file", [format!("rm {path}")]),
            remedy::host(
                "cloud-init-remedy-file",
                [format!("virt-customize -a IMAGE --delete {path}")],
            ),
        ];
    }
    if path.ends_with("ds-identify.cfg") {
        let command = format!("sed -i '/^policy:/d' {}", remedy::quote(path));
        return remedy::both("cloud-init-remedy-policy", &[command]);
    }
    if remedy::is_command_line(path) {
        let text = evidence
            .first()
            .and_then(|evidence| evidence.text.as_deref());
        let pattern = match text {
            Some(line) if !line.contains("cloud-init=disabled") => " *ci\\.di\\.policy=[^ ]*",
            _ => " *cloud-init=disabled",
        };
        return remedy::from_command_line("cloud-init-remedy-command-line", pattern, path);
    }
    if path.starts_with("/etc/runlevels") {
        let commands = [
            ("cloud-init-local", "boot"),
            ("cloud-init", "default"),
            ("cloud-config", "default"),
            ("cloud-final", "default"),
        ]
        .map(|(script, runlevel)| format!("rc-update add {script} {runlevel}"));
        return remedy::both("remedy-enable", &commands);
    }
    if path == "/etc/rc.conf" {
        let command = "sysrc cloudinit_enable=YES".to_owned();
        return vec![remedy::guest("remedy-enable", [command])];
    }
    remedy::both("remedy-enable", &[ENABLE.to_owned()])
}
