//! The rules: the seven requirements, one file each, and [`CHECKS`], which look for what makes an
//! image that meets them misbehave.
//!
//! A rule looks at facts and nothing else, and says whether it is met, what it saw, and how to meet
//! it ([`Judgement`]). Its sentences are in `messages/*.ftl` under its id: `ID-title` and `ID-why`
//! always, the others as the rule names them. What a rule that is not met means for the image is
//! decided here, in [`check`], by the operator's severities.

mod agents;
mod boot;
mod cloud_config;
mod cloud_init;
mod cloud_user;
mod datasource_order;
mod disk_growth;
mod fstab;
mod identity;
pub(crate) mod image_format;
mod network_renderer;
mod operating_system;
mod proven;
mod remedy;
mod root_filesystem;
mod several_systems;
mod ssh_access;
mod sshd;
mod support_end;
mod virtual_size;

use crate::boot_probe::BootRecord;
use crate::facts::{Evidence, Facts, Mount};
use crate::report::{
    Basis, Context, Finding, Message, Outcome, Remedy, Report, RuleId, Severities, Severity,
    Verdict,
};

/// A requirement.
pub(crate) trait Rule {
    /// Its permanent name.
    fn id(&self) -> RuleId;

    /// How `facts` stand to it.
    fn judge(&self, facts: &Facts, context: &Context) -> Judgement;
}

/// Whether a rule is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Met {
    Yes,
    No,
    Unknown,
}

/// What a rule has to say.
pub(crate) struct Judgement {
    met: Met,
    message: Message,
    evidence: Vec<Evidence>,
    remedies: Vec<Remedy>,
    mild: bool,
}

impl Judgement {
    fn new(met: Met, message: Message) -> Self {
        Self {
            met,
            message,
            evidence: Vec::new(),
            remedies: Vec::new(),
            mild: false,
        }
    }

    fn met(message: Message) -> Self {
        Self::new(Met::Yes, message)
    }

    fn not_met(message: Message) -> Self {
        Self::new(Met::No, message)
    }

    fn unknown(message: Message) -> Self {
        Self::new(Met::Unknown, message)
    }

    fn seen(mut self, evidence: impl IntoIterator<Item = Evidence>) -> Self {
        self.evidence.extend(evidence);
        self
    }

    fn cure(mut self, remedies: impl IntoIterator<Item = Remedy>) -> Self {
        self.remedies.extend(remedies);
        self
    }

    /// What would be a warning is a note: the same rule has worse to say elsewhere.
    fn mild(mut self) -> Self {
        self.mild = true;
        self
    }

    pub(crate) fn into_finding(self, rule: RuleId, severities: &Severities) -> Finding {
        let outcome = match (self.met, severities.of(rule)) {
            (Met::Yes, _) => Outcome::Pass,
            (Met::Unknown, _) => Outcome::Unknown,
            (Met::No, Severity::Failure) => Outcome::Failure,
            (Met::No, Severity::Warning) if !self.mild => Outcome::Warning,
            (Met::No, Severity::Warning | Severity::Note) => Outcome::Note,
        };
        Finding {
            rule,
            outcome,
            message: self.message,
            evidence: self.evidence,
            why: Message::new(&format!("{rule}-why")),
            remedies: self.remedies,
            basis: Basis::Inferred,
            inferred: None,
        }
    }
}

/// The requirements, in the order of [`RuleId::REQUIREMENTS`].
const REQUIREMENTS: [&dyn Rule; 7] = [
    &operating_system::OperatingSystem,
    &image_format::ImageFormat,
    &virtual_size::VirtualSize,
    &root_filesystem::RootFilesystem,
    &cloud_init::CloudInit,
    &datasource_order::DatasourceOrder,
    &sshd::Sshd,
];

/// A rule that has a say only where something is amiss.
type Check = fn(&Facts, &Context) -> Option<Judgement>;

/// The other rules, in the order of [`RuleId::ALL`].
const CHECKS: &[(RuleId, Check)] = &[
    (RuleId::SupportEnd, support_end::check),
    (RuleId::SeveralSystems, several_systems::check),
    (RuleId::Architecture, boot::architecture),
    (RuleId::BootLoader, boot::boot_loader),
    (RuleId::Kernel, boot::kernel),
    (RuleId::VirtioDrivers, boot::virtio_drivers),
    (RuleId::InitrdDrivers, boot::initrd_drivers),
    (RuleId::RootDevice, boot::root_device),
    (RuleId::SerialConsole, boot::serial_console),
    (RuleId::Fstab, fstab::check),
    (RuleId::CloudConfig, cloud_config::check),
    (RuleId::CloudUser, cloud_user::check),
    (RuleId::NetworkRenderer, network_renderer::check),
    (RuleId::DiskGrowth, disk_growth::check),
    (RuleId::StaticNetwork, identity::static_network),
    (RuleId::MachineId, identity::machine_id),
    (RuleId::HostKeys, identity::host_keys),
    (RuleId::AuthorizedKeys, identity::authorized_keys),
    (RuleId::PrivateKeys, identity::private_keys),
    (RuleId::SshdPort, ssh_access::port),
    (RuleId::SshdFirewall, ssh_access::firewall),
    (RuleId::SshdRootLogin, ssh_access::root_login),
];

/// A finding per requirement, and one for each other rule that is not met.
pub(crate) fn check(facts: &Facts, context: &Context) -> Vec<Finding> {
    let requirements = REQUIREMENTS
        .iter()
        .map(|rule| (rule.id(), rule.judge(facts, context)));
    // Files that could not be read are missing to these rules, so they would be wrong about them.
    let readable = unreadable(facts).is_none();
    let checks = CHECKS
        .iter()
        .filter(|_| readable)
        .filter_map(|(rule, check)| Some((*rule, check(facts, context)?)));
    requirements
        .chain(checks)
        .map(|(rule, judgement)| judgement.into_finding(rule, &context.severities))
        .collect()
}

/// Replaces what was inferred by what `record` proves. See [`Report::prove`].
pub(crate) fn prove(
    findings: &mut Vec<Finding>,
    facts: &Facts,
    record: &BootRecord,
    severities: &Severities,
) {
    for &rule in RuleId::ALL {
        let position = findings.iter().position(|finding| finding.rule == rule);
        let before = position.and_then(|position| findings.get(position));
        let Some(judgement) = proven::judge(rule, record, facts, before) else {
            continue;
        };
        let mut finding = judgement.into_finding(rule, severities);
        if finding.outcome == Outcome::Failure {
            finding.outcome = Outcome::Warning;
        }
        finding.basis = Basis::Proven;
        finding.inferred = before.map(|finding| finding.outcome);
        let static_evidence = before.map_or_else(Vec::new, |finding| finding.evidence.clone());
        finding.evidence.extend(static_evidence);
        match position.and_then(|position| findings.get_mut(position)) {
            Some(place) => *place = finding,
            None => findings.push(finding),
        }
    }
    findings.sort_by_key(|finding| finding.rule);
}

/// The judgement of rules that need the guest's files, when those could not be read.
fn unreadable(facts: &Facts) -> Option<Judgement> {
    let is_hidden =
        |mount: &&Mount| !mount.readable && matches!(mount.path.as_str(), "/usr" | "/etc");
    let message = match &facts.root {
        None => Message::new("not-checked-no-system"),
        Some(root) if !root.readable => Message::new("not-checked-no-root"),
        Some(_) => {
            let hidden = facts.mounts.iter().find(is_hidden)?;
            Message::new("not-checked-hidden").with("path", &hidden.path)
        }
    };
    Some(Judgement::unknown(message))
}

/// The report on an image that the disk layer refused with `error`.
pub(crate) fn report_refused(
    error: &abbild_disk::Error,
    facts: Facts,
    context: &Context,
) -> Report {
    let (decisive, judgement) = match error.code() {
        "virtual-size" => (
            RuleId::VirtualSize,
            virtual_size::refused(error, &facts, context),
        ),
        _ => (RuleId::ImageFormat, image_format::refused(error)),
    };
    let mut decisive_judgement = Some(judgement);
    let findings: Vec<Finding> = RuleId::REQUIREMENTS
        .iter()
        .map(|&rule| {
            let judgement = if rule == decisive {
                decisive_judgement.take()
            } else {
                None
            };
            judgement
                .unwrap_or_else(|| Judgement::unknown(Message::new("not-checked-no-image")))
                .into_finding(rule, &context.severities)
        })
        .collect();
    Report {
        // Whatever the severities are, there is nothing here to make a machine from.
        verdict: Verdict::Refused,
        findings,
        facts,
    }
}

/// Where the disk layer found the fault, and the permanent name of its check.
fn refusal(error: &abbild_disk::Error) -> Evidence {
    Evidence {
        offset: error.offset(),
        text: Some(error.code().to_owned()),
        ..Evidence::default()
    }
}
