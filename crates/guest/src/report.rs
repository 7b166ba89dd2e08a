//! The verdict on an image: the facts, the findings, and what follows from them.
//!
//! A [`Report`] is language-neutral and can be stored and read back; [`Report::to_json`] and the
//! methods of [`Finding`] add the words of a [`Lang`]. Severity is not part of a rule's code: an
//! operator may turn any failure into a warning or a note ([`Severities`]), so a rule only says
//! *met*, *not met* or *cannot tell*, and [`Finding::outcome`] already has the severity applied.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::boot_probe::BootRecord;
use crate::facts::{Container, Evidence, Facts};
use crate::messages::{self, Lang};
pub use crate::rule_id::{RuleId, UnknownRule};
use crate::rules;

/// What the caller brings to an inspection.
#[derive(Debug, Clone, Default)]
pub struct Context {
    /// What is known of the file around the disk.
    pub container: Container,
    /// Limits of the operator.
    pub limits: Limits,
    /// Severities changed by the operator.
    pub severities: Severities,
    /// The date of the inspection as `2026-11-25`, if the caller has a clock. Without it, nothing
    /// is said about dates.
    pub today: Option<String>,
}

/// Limits of the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Largest accepted virtual disk, in bytes.
    pub max_virtual_size: u64,
}

impl Default for Limits {
    /// 100 GiB, the smallest disk of the usual sizes that every customer can order.
    fn default() -> Self {
        Self {
            max_virtual_size: 100 << 30,
        }
    }
}

/// What it means for the image when a rule is not met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The image is refused.
    Failure,
    /// The image is accepted and marked.
    Warning,
    /// It is mentioned.
    Note,
}

/// Severities changed by the operator; the rest keep [`RuleId::default_severity`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Severities(pub BTreeMap<RuleId, Severity>);

impl Severities {
    /// The severity in force for `rule`.
    pub fn of(&self, rule: RuleId) -> Severity {
        self.0
            .get(&rule)
            .copied()
            .unwrap_or_else(|| rule.default_severity())
    }
}

/// How an image stands to one requirement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Met.
    Pass,
    /// Not met, and worth a mention only, by the operator's choice.
    Note,
    /// Not met; the image is accepted and marked.
    Warning,
    /// Not met; the image is refused.
    Failure,
    /// Could not be checked. Another finding says why.
    Unknown,
}

/// What follows from all findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Every requirement is met.
    Accepted,
    /// Usable, but something was found that the customer should know.
    AcceptedWithWarnings,
    /// Not usable as it is.
    Refused,
}

impl Verdict {
    /// The verdict over `findings`: the worst outcome decides. Only a failure refuses; a
    /// requirement that could not be checked marks the image, because the finding that prevented
    /// the check is there too.
    pub fn over(findings: &[Finding]) -> Self {
        let has = |outcome| findings.iter().any(|finding| finding.outcome == outcome);
        if has(Outcome::Failure) {
            Self::Refused
        } else if has(Outcome::Warning) || has(Outcome::Unknown) {
            Self::AcceptedWithWarnings
        } else {
            Self::Accepted
        }
    }

    /// The name used in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::AcceptedWithWarnings => "accepted_with_warnings",
            Self::Refused => "refused",
        }
    }

    /// One phrase in `lang`.
    pub fn text(self, lang: Lang) -> String {
        let id = match self {
            Self::Accepted => "verdict-accepted",
            Self::AcceptedWithWarnings => "verdict-accepted-with-warnings",
            Self::Refused => "verdict-refused",
        };
        messages::render(lang, &Message::new(id))
    }
}

/// A sentence by its id in the message files, with its arguments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Id in `messages/*.ftl`.
    pub id: String,
    /// Arguments by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub args: BTreeMap<String, String>,
}

impl Message {
    /// A sentence without arguments.
    pub fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            args: BTreeMap::new(),
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.args.insert(name.to_owned(), value.into());
        self
    }
}

/// Where a remedy is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// In the running guest, as root.
    Guest,
    /// On the machine that has the image file, here called `IMAGE`.
    Host,
}

/// One way to meet a requirement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remedy {
    /// Where the commands belong.
    #[serde(rename = "where")]
    pub place: Place,
    /// What they do.
    pub text: Message,
    /// The exact commands, in order. Empty where words must do.
    pub commands: Vec<String>,
}

impl Remedy {
    /// What the commands do, in `lang`.
    pub fn text(&self, lang: Lang) -> String {
        messages::render(lang, &self.text)
    }
}

/// What a finding rests on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Basis {
    /// The files of the image, which was not started.
    #[default]
    Inferred,
    /// What was seen when it was booted.
    Proven,
}

impl Basis {
    /// As nearly all findings are.
    #[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
    fn is_inferred(&self) -> bool {
        *self == Self::Inferred
    }
}

/// How an image stands to one rule, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Which rule.
    pub rule: RuleId,
    /// How it stands, severity applied.
    pub outcome: Outcome,
    /// What was found.
    pub message: Message,
    /// Where, the decisive place first.
    pub evidence: Vec<Evidence>,
    /// Why the rule exists.
    pub why: Message,
    /// Ways to meet it; empty if it is met.
    pub remedies: Vec<Remedy>,
    /// What it rests on.
    #[serde(default, skip_serializing_if = "Basis::is_inferred")]
    pub basis: Basis,
    /// Of one that is proven: how the image stood to the rule by its files, if they said anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inferred: Option<Outcome>,
}

impl Finding {
    /// The rule's short name in `lang`.
    pub fn title(&self, lang: Lang) -> String {
        self.rule.title(lang)
    }

    /// What was found, in `lang`.
    pub fn text(&self, lang: Lang) -> String {
        messages::render(lang, &self.message)
    }

    /// Why the rule exists, in `lang`.
    pub fn why(&self, lang: Lang) -> String {
        messages::render(lang, &self.why)
    }
}

/// The result of an inspection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// What follows from the findings.
    pub verdict: Verdict,
    /// In the order of [`RuleId::ALL`]: one for each requirement, and one for each other rule that
    /// is not met or proven.
    pub findings: Vec<Finding>,
    /// What was seen.
    pub facts: Facts,
}

impl Report {
    /// The finding on `rule`.
    pub fn finding(&self, rule: RuleId) -> Option<&Finding> {
        self.findings.iter().find(|finding| finding.rule == rule)
    }

    /// Judges anew what a boot of the image has proven. Its evidence comes first, and what the files
    /// say stays beside it. No boot makes an image refused that was accepted: whatever is not met is a
    /// warning at most.
    pub fn prove(&mut self, record: &BootRecord, severities: &Severities) {
        rules::prove(&mut self.findings, &self.facts, record, severities);
        self.verdict = Verdict::over(&self.findings);
    }

    /// The whole report with every sentence rendered in `lang`, for people and programs alike.
    pub fn to_json(&self, lang: Lang) -> serde_json::Value {
        let findings: Vec<_> = self
            .findings
            .iter()
            .map(|finding| {
                let remedies: Vec<_> = finding
                    .remedies
                    .iter()
                    .map(|remedy| {
                        serde_json::json!({
                            "where": remedy.place,
                            "text": remedy.text(lang),
                            "commands": remedy.commands,
                        })
                    })
                    .collect();
                let mut json = serde_json::json!({
                    "rule": finding.rule,
                    "title": finding.title(lang),
                    "outcome": finding.outcome,
                    "basis": finding.basis,
                    "message_id": finding.message.id,
                    "message": finding.text(lang),
                    "evidence": finding.evidence,
                    "why": finding.why(lang),
                    "remedies": remedies,
                });
                if finding.basis == Basis::Proven {
                    json["inferred"] = serde_json::json!(finding.inferred);
                }
                json
            })
            .collect();
        serde_json::json!({
            "verdict": self.verdict,
            "verdict_text": self.verdict.text(lang),
            "lang": lang.code(),
            "findings": findings,
            "facts": self.facts,
        })
    }
}
