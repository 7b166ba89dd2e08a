//! What there is to say of every rule without an image: the catalogue.
//!
//! One entry per [`RuleId`], in a [`Lang`]. Everything that describes the rules as such is made from
//! it: `abbild rules`, `abbild check --explain`, the rules of a SARIF log, and the customers'
//! documentation. Words come from `messages/*.ftl`, where each rule has `ID-title`, `ID-why` and
//! `ID-explain`.

mod examples;

use serde::Serialize;

use crate::messages::{self, Lang};
use crate::report::{Message, Place, Remedy, RuleId, Severity};

/// A rule, described in one language.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Its permanent name.
    pub rule: RuleId,
    /// Its short name.
    pub title: String,
    /// Whether it is one of the requirements, on which every report has a finding.
    pub requirement: bool,
    /// What it means for an image not to meet it, unless the operator changed that.
    pub default_severity: Severity,
    /// Why it exists.
    pub why: String,
    /// What exactly is looked at.
    pub explanation: String,
    /// What is typically done to meet it, as on a Debian.
    pub remedies: Vec<Cure>,
}

/// A [`Remedy`] in one language.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cure {
    /// Where the commands belong.
    #[serde(rename = "where")]
    pub place: Place,
    /// What they do.
    pub text: String,
    /// The exact commands, in order. Empty where words must do.
    pub commands: Vec<String>,
}

impl Entry {
    /// The description of `rule` in `lang`.
    pub fn new(rule: RuleId, lang: Lang) -> Self {
        let text = |part: &str| {
            let text = messages::render(lang, &Message::new(&format!("{rule}-{part}")));
            // Where a line of the message file ends means nothing.
            text.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        Self {
            rule,
            title: text("title"),
            requirement: rule.is_requirement(),
            default_severity: rule.default_severity(),
            why: text("why"),
            explanation: text("explain"),
            remedies: remedies(rule, lang),
        }
    }
}

/// The remedies of all examples, each once.
fn remedies(rule: RuleId, lang: Lang) -> Vec<Cure> {
    let mut all: Vec<Remedy> = Vec::new();
    for finding in examples::findings(rule) {
        for remedy in finding.remedies {
            if !all.contains(&remedy) {
                all.push(remedy);
            }
        }
    }
    all.into_iter()
        .map(|remedy| Cure {
            place: remedy.place,
            text: remedy.text(lang),
            commands: remedy.commands,
        })
        .collect()
}

/// Every rule in `lang`, in report order.
pub fn catalogue(lang: Lang) -> Vec<Entry> {
    RuleId::ALL
        .iter()
        .map(|&rule| Entry::new(rule, lang))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_is_described_in_both_languages() {
        for lang in [Lang::De, Lang::En] {
            for entry in catalogue(lang) {
                for (part, text) in [
                    ("title", &entry.title),
                    ("why", &entry.why),
                    ("explain", &entry.explanation),
                ] {
                    let id = format!("{}-{part}", entry.rule);
                    assert_ne!(*text, id, "messages/{lang}.ftl has no `{id}`");
                }
                assert!(
                    entry.explanation.len() > entry.why.len() / 2,
                    "`{}-explain` in messages/{lang}.ftl says hardly anything",
                    entry.rule
                );
                assert!(!entry.explanation.ends_with('.'), "{}", entry.rule);
            }
        }
    }
}
