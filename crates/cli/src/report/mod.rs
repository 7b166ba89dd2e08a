//! The verdict on an image, in the forms in which it is printed.
//!
//! [`View`] is read from the JSON form of a report, which is what `abbild check` makes on this
//! machine and what the service sends for an imported image, so both print the same. The sentences
//! are in the report; only the few words around them are here, in both languages.
//!
//! [`text`] is for people, [`sarif`] and [`junit`] are for the pipelines that build images.

pub mod explain;
pub mod junit;
pub mod sarif;
mod summary;
pub mod text;
mod words;

use abbild_guest::{Basis, Evidence, Facts, Lang, Outcome, Place, RuleId, Verdict};
use serde::Deserialize;
use serde_json::Value;

use crate::print::clean;

/// What is printed of a report.
#[derive(Debug, Deserialize)]
pub struct View {
    /// What follows from the findings; none if the file could not be read.
    #[serde(default)]
    pub verdict: Option<Verdict>,
    verdict_text: String,
    lang: Lang,
    findings: Vec<Finding>,
    /// Read with [`Facts`] where possible; another version's facts are not worth failing for.
    #[serde(default)]
    facts: Value,
}

#[derive(Debug, Deserialize)]
struct Finding {
    /// A name and not a [`RuleId`], because another version may have more rules.
    rule: String,
    title: String,
    outcome: Outcome,
    #[serde(default)]
    message_id: String,
    message: String,
    #[serde(default)]
    evidence: Vec<Evidence>,
    why: String,
    #[serde(default)]
    remedies: Vec<Remedy>,
    #[serde(default)]
    basis: Basis,
    /// Of one that is proven: what the files of the image had led to.
    #[serde(default)]
    inferred: Option<Outcome>,
}

#[derive(Debug, Deserialize)]
struct Remedy {
    #[serde(rename = "where")]
    place: Place,
    text: String,
    #[serde(default)]
    commands: Vec<String>,
}

impl View {
    /// Whether a boot has proven that something is not as it should be.
    pub fn is_disproved(&self) -> bool {
        let amiss =
            |finding: &Finding| matches!(finding.outcome, Outcome::Failure | Outcome::Warning);
        let mut proven = self.findings.iter().filter(|f| f.basis == Basis::Proven);
        proven.any(amiss)
    }

    fn facts(&self) -> Facts {
        serde_json::from_value(self.facts.clone()).unwrap_or_default()
    }
}

impl Finding {
    /// Whether it is about one of the requirements.
    fn is_requirement(&self) -> bool {
        let rule: Result<RuleId, _> = self.rule.parse();
        rule.is_ok_and(RuleId::is_requirement)
    }

    /// Whether there is something that could be done about it.
    fn asks_for_action(&self) -> bool {
        matches!(
            self.outcome,
            Outcome::Failure | Outcome::Warning | Outcome::Note
        )
    }

    /// Whether a boot has proven something else than what the files of the image say; of a rule of which
    /// they say nothing, that it is not met.
    fn is_news(&self) -> bool {
        let before = self.inferred.unwrap_or(Outcome::Pass);
        self.basis == Basis::Proven && self.outcome != before
    }

    /// What it rests on, if that is more than the files of the image.
    fn proof(&self, lang: Lang) -> Option<&'static str> {
        (self.basis == Basis::Proven).then_some(words::words(lang).proven)
    }

    /// What was found, and whether it is proven.
    fn statement(&self, lang: Lang) -> String {
        match self.proof(lang) {
            Some(proven) => format!("{} ({proven})", self.message),
            None => self.message.clone(),
        }
    }

    /// Reason and remedies as plain text, for formats that have one place for all of it.
    fn advice(&self, lang: Lang) -> String {
        let words = words::words(lang);
        let mut text = format!("{}: {}", words.why, clean(&self.why));
        for remedy in &self.remedies {
            text.push_str(&format!("\n{}", remedy.heading(lang)));
            for line in remedy.lines() {
                text.push_str(&format!("\n    {line}"));
            }
        }
        text
    }
}

impl Remedy {
    /// Where it is carried out, and what it does.
    fn heading(&self, lang: Lang) -> String {
        format!("{}: {}", words::place(self.place, lang), clean(&self.text))
    }

    /// The lines of its commands, as they are to be typed.
    fn lines(&self) -> impl Iterator<Item = String> {
        self.commands
            .iter()
            .flat_map(|command| command.lines().map(clean))
    }
}

/// `path:line: text`, as compilers write it; before it where that is, if not in the image.
fn place(evidence: &Evidence, lang: Lang) -> String {
    let mut parts = Vec::new();
    let origin = evidence.from.map(|origin| words::origin(origin, lang));
    match (&evidence.path, evidence.line, origin) {
        (Some(path), line, origin) => {
            let line = line.map_or_else(String::new, |line| format!(":{line}"));
            let origin = origin.map_or_else(String::new, |origin| format!(" ({origin})"));
            parts.push(format!("{path}{line}{origin}"));
        }
        (None, Some(line), Some(origin)) => parts.push(format!("{origin}:{line}")),
        (None, _, Some(origin)) => parts.push(origin.to_owned()),
        (None, _, None) => {}
    }
    if let Some(offset) = evidence.offset {
        parts.push(format!("byte {offset}"));
    }
    parts.extend(evidence.text.clone());
    clean(&parts.join(": "))
}

#[cfg(test)]
mod tests;
