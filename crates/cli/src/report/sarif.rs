//! The findings as a SARIF log, for code scanning and editors.
//!
//! Static Analysis Results Interchange Format, version 2.1.0, OASIS Standard of 27 March 2020,
//! <https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html>. There is one run. Its rules
//! are the whole catalogue, its results are the findings on rules that are not met (kind `fail`) or
//! could not be checked (kind `open`).
//!
//! A result lies in the image file, which is the artifact. Where in the guest is its logical
//! location, and the line of that file is in words: a `startLine` would be one of the image file,
//! which has no lines.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use abbild_guest::{Basis, Entry, Evidence, Facts, Lang, Outcome, Severity, catalogue};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use serde_json::{Value, json};

use super::words::{self, words};
use super::{Finding, View, place};
use crate::print::{clean, clean_lines};

const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// What may stand in a path of a URI as it is: RFC 3986's unreserved characters and the slash.
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/');

impl View {
    /// The log of a check of the image file at `path`. An `error` is why nothing could be said
    /// about it.
    pub fn sarif(&self, path: &Path, error: Option<&str>) -> Value {
        let facts = self.facts();
        let rules = catalogue(self.lang);
        let results: Vec<_> = self
            .findings
            .iter()
            .filter(|finding| finding.outcome != Outcome::Pass)
            .map(|finding| self.result(finding, &rules, &facts, path))
            .collect();
        let descriptors: Vec<_> = rules
            .iter()
            .map(|entry| descriptor(entry, self.lang))
            .collect();
        let mut artifact = json!({
            "location": { "uri": uri(path) },
            "roles": ["analysisTarget"],
        });
        if let Some(size) = facts.container.file_size {
            artifact["length"] = size.into();
        }
        json!({
            "$schema": SCHEMA,
            "version": "2.1.0",
            "runs": [{
                "tool": { "driver": {
                    "name": env!("CARGO_PKG_NAME"),
                    "semanticVersion": env!("CARGO_PKG_VERSION"),
                    "language": self.lang.code(),
                    "rules": descriptors,
                }},
                "language": self.lang.code(),
                "invocations": [invocation(error)],
                "artifacts": [artifact],
                "results": results,
                "properties": { "verdict": self.verdict },
            }],
        })
    }

    fn result(&self, finding: &Finding, rules: &[Entry], facts: &Facts, path: &Path) -> Value {
        let mut text = sentence(&finding.statement(self.lang));
        if finding.asks_for_action() {
            text.push_str("\n\n");
            text.push_str(&finding.advice(self.lang));
        }
        // An image that was not opened has nothing inside: its offsets are those of the file.
        let in_file = facts.container.format.is_none() && facts.container.layers.is_empty();
        let mut locations: Vec<_> = finding
            .evidence
            .iter()
            .map(|evidence| location(evidence, path, in_file, self.lang))
            .collect();
        if locations.is_empty() {
            locations.push(json!({ "physicalLocation": physical(path) }));
        }
        let (kind, level) = match finding.outcome {
            Outcome::Failure => ("fail", "error"),
            Outcome::Warning => ("fail", "warning"),
            Outcome::Note => ("fail", "note"),
            Outcome::Pass | Outcome::Unknown => ("open", "none"),
        };
        let mut result = json!({
            "ruleId": clean(&finding.rule),
            "kind": kind,
            "level": level,
            "message": message(&text),
            "locations": locations,
            // The same trouble is recognised in the next build of the image.
            "partialFingerprints": {
                "ruleAndMessage/v1": clean(&format!("{}/{}", finding.rule, finding.message_id)),
            },
        });
        if finding.basis == Basis::Proven {
            result["properties"] = json!({ "basis": finding.basis, "inferred": finding.inferred });
        }
        let index = rules
            .iter()
            .position(|entry| entry.rule.as_str() == finding.rule);
        if let Some(index) = index {
            result["ruleIndex"] = index.into();
        }
        result
    }
}

/// A rule as a `reportingDescriptor` (§3.49).
fn descriptor(entry: &Entry, lang: Lang) -> Value {
    let level = match entry.default_severity {
        Severity::Failure => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    };
    json!({
        "id": entry.rule,
        "shortDescription": { "text": literal(&entry.title) },
        "fullDescription": { "text": literal(&sentence(&entry.explanation)) },
        "help": { "text": literal(&help(entry, lang)) },
        "defaultConfiguration": { "level": level },
        "properties": { "requirement": entry.requirement },
    })
}

/// Why there is a rule, and what is typically done to meet it.
fn help(entry: &Entry, lang: Lang) -> String {
    let mut text = sentence(&entry.why);
    text.push_str(&format!("\n\n{}:", words(lang).fix));
    for remedy in &entry.remedies {
        let heading = format!("{}: {}", words::place(remedy.place, lang), remedy.text);
        text.push_str(&format!("\n\n{heading}"));
        for command in &remedy.commands {
            text.push_str(&format!("\n    {command}"));
        }
    }
    text
}

/// How the check itself went (§3.20).
fn invocation(error: Option<&str>) -> Value {
    match error {
        None => json!({ "executionSuccessful": true }),
        Some(error) => json!({
            "executionSuccessful": false,
            "toolExecutionNotifications": [{ "level": "error", "message": message(error) }],
        }),
    }
}

fn location(evidence: &Evidence, path: &Path, in_file: bool, lang: Lang) -> Value {
    let mut physical = physical(path);
    if let Some(offset) = evidence.offset.filter(|_| in_file) {
        physical["region"] = json!({ "byteOffset": offset });
    }
    let mut location = json!({ "physicalLocation": physical });
    if let Some(guest_path) = &evidence.path {
        let guest_path = clean(guest_path);
        let name = guest_path.rsplit('/').next().unwrap_or_default();
        location["logicalLocations"] = json!([{
            "name": name,
            "fullyQualifiedName": guest_path,
            "kind": "resource",
        }]);
    }
    let words = place(evidence, lang);
    if !words.is_empty() {
        location["message"] = message(&words);
    }
    location
}

fn physical(path: &Path) -> Value {
    json!({ "artifactLocation": { "uri": uri(path), "index": 0 } })
}

/// A URI reference to `path`: relative to the directory of the check if `path` is.
fn uri(path: &Path) -> String {
    let encoded = percent_encode(path.as_os_str().as_bytes(), PATH);
    match path.is_absolute() {
        true => format!("file://{encoded}"),
        false => encoded.to_string(),
    }
}

fn message(text: &str) -> Value {
    json!({ "text": literal(&clean_lines(text)) })
}

/// `text` as a plain text message, in which braces are doubled (§3.11.5) and nothing is a link
/// (§3.11.6), whatever a guest wrote.
fn literal(text: &str) -> String {
    text.replace('{', "{{")
        .replace('}', "}}")
        .replace("](", "] (")
}

/// `text` with a full stop, which consumers look for when they want the first sentence (§3.11.3).
fn sentence(text: &str) -> String {
    let text = clean(text);
    match text.ends_with(['.', '!', '?', '…']) {
        true => text,
        false => format!("{text}."),
    }
}
