//! What the rules `cloud-init` and `datasource-order` say of an image without cloud-init, or with
//! one that does not run: four other programs do as well, if they run and read a config drive.

use super::{Judgement, remedy};
use crate::facts::{Agent, CloudInit, Enablement, Evidence, Facts};
use crate::report::{Message, Remedy};

/// Programs that are as good as cloud-init.
const ACCEPTED: [&str; 4] = [
    "ignition",
    "coreos-cloudinit",
    "bsd-cloudinit",
    "cloudbase-init",
];

/// The accepted program that decides: one that runs, else any.
fn accepted(facts: &Facts) -> Option<&Agent> {
    let all = || {
        let agents = facts.agents.iter();
        agents.filter(|agent| ACCEPTED.contains(&agent.name.as_str()))
    };
    // One that finds its data comes before one that does not.
    all()
        .filter(|agent| agent.enablement.value == Enablement::Enabled)
        .max_by_key(|agent| agent.reads_config_drive == Some(true))
        .or_else(|| all().next())
}

/// Whether one of them runs in the place of a cloud-init that is there and does not.
pub(super) fn stand_in(facts: &Facts) -> bool {
    let state = facts.cloud_init.enablement.as_ref();
    let idle = state.is_none_or(|state| state.value == Enablement::Disabled);
    idle && accepted(facts).is_some_and(|agent| agent.enablement.value == Enablement::Enabled)
}

/// cloud-init, if it is the one that sets up machines.
pub(super) fn cloud_init(facts: &Facts) -> Option<&CloudInit> {
    let found = &facts.cloud_init;
    (found.installed.is_some() && !stand_in(facts)).then_some(found)
}

/// `cloud-init`: which other program does its work, if one is there that can.
pub(super) fn installed(facts: &Facts) -> Option<Judgement> {
    let agent = accepted(facts)?;
    let message = |id: &str| {
        let version = agent.version.as_ref().map(|version| version.value.as_str());
        Message::new(id)
            .with("agent", &agent.name)
            .with("version", version.unwrap_or("none"))
    };
    let state = agent.enablement.evidence.clone();
    Some(match agent.enablement.value {
        Enablement::Enabled => Judgement::met(message("cloud-init-agent"))
            .seen([agent.installed.clone()])
            .seen(state),
        Enablement::Disabled => Judgement::not_met(message("cloud-init-agent-disabled"))
            .seen(state)
            .cure(enable(facts, agent)),
        Enablement::Unknown => {
            Judgement::unknown(message("cloud-init-agent-unclear")).seen([agent.installed.clone()])
        }
    })
}

/// `cloud-init`: a program that sets up machines, but is none of the accepted ones.
pub(super) fn other(facts: &Facts) -> Option<&Agent> {
    facts.agents.first()
}

/// `datasource-order`: whether the program that does cloud-init's work reads a config drive.
pub(super) fn data_source(facts: &Facts) -> Option<Judgement> {
    let agent = accepted(facts)?;
    let source = agent.data_source.as_ref();
    let message = |id: &str| {
        Message::new(id)
            .with("agent", &agent.name)
            .with("source", source.map_or("none", |source| &source.value))
    };
    let evidence = source.map_or_else(
        || vec![agent.installed.clone()],
        |source| source.evidence.clone(),
    );
    Some(match agent.reads_config_drive {
        Some(true) => Judgement::met(message("datasource-order-agent")).seen(evidence),
        Some(false) => Judgement::not_met(message("datasource-order-agent-elsewhere"))
            .seen(evidence)
            .cure(redirect(facts, agent)),
        None => Judgement::unknown(message("datasource-order-agent-unclear")).seen(evidence),
    })
}

/// Has the program run on the first boot.
fn enable(facts: &Facts, agent: &Agent) -> Vec<Remedy> {
    let evidence = &agent.enablement.evidence;
    let unmask = remedy::unmask(evidence);
    if !unmask.is_empty() {
        return remedy::both("remedy-enable", &unmask);
    }
    match (agent.name.as_str(), path_of(evidence)) {
        ("ignition", Some(path @ "/boot/writable/firstboot_happened")) => {
            remedy::both("cloud-init-remedy-first-boot", &[format!("rm {path}")])
        }
        ("ignition", path) => {
            let flatcar = facts
                .os
                .as_ref()
                .is_some_and(|os| os.id.as_deref() == Some("flatcar"));
            let stamp = match path {
                _ if flatcar => "/boot/flatcar/first_boot",
                Some(path) if path.ends_with("firstboot") => path,
                _ => "/boot/ignition.firstboot",
            };
            remedy::both("cloud-init-remedy-first-boot", &[format!("touch {stamp}")])
        }
        ("bsd-cloudinit", _) => {
            let line = "/root/bsd-cloudinit/.venv/bin/python /root/bsd-cloudinit/run.py";
            let command = format!("echo '{line}' >> /etc/rc.local");
            vec![remedy::guest("remedy-enable", [command])]
        }
        ("coreos-cloudinit", _) => {
            let command = "systemctl enable user-config.target".to_owned();
            remedy::both("remedy-enable", &[command])
        }
        _ => remedy::install(facts, "cloud-init", "cloud-init"),
    }
}

/// Has the program look on a config drive.
fn redirect(facts: &Facts, agent: &Agent) -> Vec<Remedy> {
    let path = agent
        .data_source
        .as_ref()
        .and_then(|source| path_of(&source.evidence));
    match (agent.name.as_str(), &agent.data_source, path) {
        ("ignition", Some(platform), Some(path)) => {
            let pattern = if path.ends_with("/oem/grub.cfg") {
                "s/oem_id=.*/oem_id=\"openstack\"/".to_owned()
            } else {
                // The value goes into a pattern, so nothing but a plain word is repeated.
                let word = platform.value.chars().all(|c| c.is_ascii_alphanumeric());
                let value = if word { &platform.value } else { "[^ ]*" };
                format!("s/\\(platform\\|oem\\)\\.id={value}/\\1.id=openstack/")
            };
            let command = format!("sed -i {} {}", remedy::quote(&pattern), remedy::quote(path));
            remedy::both("datasource-order-remedy-platform", &[command])
        }
        ("bsd-cloudinit" | "cloudbase-init", Some(_), Some(path)) => {
            let text = "datasource-order-remedy-services";
            vec![remedy::guest(text, [format!("vi {}", remedy::quote(path))])]
        }
        _ => remedy::install(facts, "cloud-init", "cloud-init"),
    }
}

fn path_of(evidence: &[Evidence]) -> Option<&str> {
    evidence.first()?.path.as_deref()
}
