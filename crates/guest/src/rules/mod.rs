//! The seven requirements, one file each.
//!
//! A [`Rule`] looks at facts and nothing else, and says whether its requirement is met, what it
//! saw, and how to meet it ([`Judgement`]). Its sentences are in `messages/*.ftl` under its id:
//! `ID-title` and `ID-why` always, the others as the rule names them. What a requirement that is
//! not met means for the image is decided here, in [`check`], by the operator's severities.

mod cloud_init;
mod datasource_order;
pub(crate) mod image_format;
mod operating_system;
mod remedy;
mod root_filesystem;
mod sshd;
mod virtual_size;

use crate::facts::{Evidence, Facts};
use crate::report::{
    Context, Finding, Limits, Message, Outcome, Remedy, Report, RuleId, Severities, Severity,
    Verdict,
};

/// One requirement.
pub(crate) trait Rule {
    /// Its permanent name.
    fn id(&self) -> RuleId;

    /// How `facts` stand to it.
    fn judge(&self, facts: &Facts, limits: &Limits) -> Judgement;
}

/// Whether a requirement is met.
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
}

impl Judgement {
    fn new(met: Met, message: Message) -> Self {
        Self {
            met,
            message,
            evidence: Vec::new(),
            remedies: Vec::new(),
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

    pub(crate) fn into_finding(self, rule: RuleId, severities: &Severities) -> Finding {
        let outcome = match (self.met, severities.of(rule)) {
            (Met::Yes, _) => Outcome::Pass,
            (Met::Unknown, _) => Outcome::Unknown,
            (Met::No, Severity::Failure) => Outcome::Failure,
            (Met::No, Severity::Warning) => Outcome::Warning,
            (Met::No, Severity::Note) => Outcome::Note,
        };
        Finding {
            rule,
            outcome,
            message: self.message,
            evidence: self.evidence,
            why: Message::new(&format!("{rule}-why")),
            remedies: self.remedies,
        }
    }
}

/// All rules, in the order of [`RuleId::ALL`].
const RULES: [&dyn Rule; 7] = [
    &operating_system::OperatingSystem,
    &image_format::ImageFormat,
    &virtual_size::VirtualSize,
    &root_filesystem::RootFilesystem,
    &cloud_init::CloudInit,
    &datasource_order::DatasourceOrder,
    &sshd::Sshd,
];

/// One finding per requirement.
pub(crate) fn check(facts: &Facts, limits: &Limits, severities: &Severities) -> Vec<Finding> {
    RULES
        .iter()
        .map(|rule| {
            rule.judge(facts, limits)
                .into_finding(rule.id(), severities)
        })
        .collect()
}

/// The judgement of rules that need the guest's files, when those could not be read.
fn unreadable(facts: &Facts) -> Option<Judgement> {
    if facts.root.as_ref().is_some_and(|root| root.readable) {
        return None;
    }
    Some(Judgement::unknown(Message::new(match facts.root {
        Some(_) => "not-checked-no-root",
        None => "not-checked-no-system",
    })))
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
            virtual_size::refused(error, &facts, &context.limits),
        ),
        _ => (RuleId::ImageFormat, image_format::refused(error)),
    };
    let mut decisive_judgement = Some(judgement);
    let findings: Vec<Finding> = RuleId::ALL
        .into_iter()
        .map(|rule| {
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
