//! `sshd`: an SSH server is installed and starts on boot.

use super::remedy::{self, Packages};
use super::{Judgement, Rule, unreadable};
use crate::facts::{Enablement, Evidence, Facts, Init};
use crate::report::{Context, Message, Remedy, RuleId};

pub(super) struct Sshd;

impl Rule for Sshd {
    fn id(&self) -> RuleId {
        RuleId::Sshd
    }

    fn judge(&self, facts: &Facts, _: &Context) -> Judgement {
        if let Some(judgement) = unreadable(facts) {
            return judgement;
        }
        let Some(server) = &facts.sshd.server else {
            return Judgement::not_met(Message::new("sshd-missing")).cure(remedy::install_started(
                facts,
                "openssh-server",
                "openssh",
                start,
            ));
        };
        let about = |id: &str| Message::new(id).with("server", &server.value);
        let (state, evidence) = match &facts.sshd.enablement {
            Some(state) => (state.value, state.evidence.clone()),
            None => (Enablement::Unknown, Vec::new()),
        };
        match state {
            Enablement::Enabled => Judgement::met(about("sshd-good"))
                .seen(server.evidence.clone())
                .seen(evidence),
            Enablement::Disabled => {
                let cure = enable(facts, &server.value, &evidence);
                Judgement::not_met(about("sshd-disabled"))
                    .seen(evidence)
                    .cure(cure)
            }
            Enablement::Unknown => {
                Judgement::unknown(about("sshd-unclear")).seen(server.evidence.clone())
            }
        }
    }
}

/// What has it start where installing it does not.
fn start(packages: Packages) -> Option<&'static str> {
    match packages {
        Packages::Apk => Some("rc-update add sshd default"),
        Packages::Pacman | Packages::Zypper => Some("systemctl enable sshd"),
        Packages::Pkg => Some("sysrc openssh_enable=YES"),
        Packages::Apt | Packages::Dnf => None,
    }
}

fn enable(facts: &Facts, server: &str, evidence: &[Evidence]) -> Vec<Remedy> {
    let path = |end: &str| {
        evidence
            .iter()
            .filter_map(|evidence| evidence.path.as_deref())
            .find(|path| path.ends_with(end))
    };
    if let Some(switch) = path("/sshd_not_to_be_run") {
        return vec![
            remedy::guest("sshd-remedy-file", [format!("rm {switch}")]),
            remedy::host(
                "sshd-remedy-file",
                [format!("virt-customize -a IMAGE --delete {switch}")],
            ),
        ];
    }
    let service = match server {
        "dropbear" => "dropbear",
        _ if path("/ssh.service").is_some() => "ssh",
        _ => "sshd",
    };
    let mut commands = remedy::unmask(evidence);
    match facts.init.as_ref().map(|init| init.value) {
        Some(Init::OpenRc) => commands.push(format!("rc-update add {service} default")),
        Some(Init::SysV) => commands.push("update-rc.d ssh defaults".to_owned()),
        Some(Init::Bsd) => {
            return vec![remedy::guest("remedy-enable", ["sysrc sshd_enable=YES"])];
        }
        _ => commands.push(format!("systemctl enable {service}")),
    }
    remedy::both("remedy-enable", &commands)
}
