//! The verdict on an image as text.
//!
//! [`View`] is read from the JSON form of a report, which is what `abbild check` makes on this
//! machine and what the service sends for an imported image, so both print the same. The sentences
//! are in the report; only the few words around them are here, in both languages.

use std::io::{self, Write};

use abbild_guest::{Evidence, Facts, Lang, Outcome, Place, Verdict};
use serde::Deserialize;
use serde_json::Value;
use unicode_width::UnicodeWidthStr as _;

use crate::print::{Style, clean, clean_lines, size};

/// Columns before the text of a finding.
const INDENT: usize = 9;
/// Lines of evidence under a requirement that is met.
const PASS_EVIDENCE: usize = 2;

/// What is printed of a report.
#[derive(Debug, Deserialize)]
pub struct View {
    pub verdict: Verdict,
    verdict_text: String,
    lang: Lang,
    findings: Vec<Finding>,
    /// Read with [`Facts`] where possible; another version's facts are not worth failing for.
    #[serde(default)]
    facts: Value,
}

#[derive(Debug, Deserialize)]
struct Finding {
    title: String,
    outcome: Outcome,
    message: String,
    #[serde(default)]
    evidence: Vec<Evidence>,
    why: String,
    #[serde(default)]
    remedies: Vec<Remedy>,
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
    /// Writes the whole report on `name`, in `width` columns where commands and paths allow.
    ///
    /// # Errors
    /// Those of writing.
    pub fn write(
        &self,
        out: &mut dyn Write,
        name: &str,
        style: Style,
        width: usize,
    ) -> io::Result<()> {
        let verdict = self.paint_verdict(style);
        writeln!(out, "{}: {verdict}", style.bold(&clean(name)))?;
        let summary = summary(&serde_json::from_value(self.facts.clone()).unwrap_or_default());
        if !summary.is_empty() {
            wrapped(out, &summary, "", "", width)?;
        }
        writeln!(out)?;
        for finding in &self.findings {
            finding.write(out, self.lang, style, width)?;
        }
        Ok(())
    }

    fn paint_verdict(&self, style: Style) -> String {
        let text = clean(&self.verdict_text);
        match self.verdict {
            Verdict::Accepted => style.green(&text),
            Verdict::AcceptedWithWarnings => style.yellow(&text),
            Verdict::Refused => style.red(&text),
        }
    }
}

impl Finding {
    fn write(&self, out: &mut dyn Write, lang: Lang, style: Style, width: usize) -> io::Result<()> {
        let mark = mark(self.outcome, lang);
        let pad = " ".repeat(INDENT.saturating_sub(mark.width()));
        let indent = " ".repeat(INDENT);
        let head = format!("{}: {}", clean(&self.title), clean(&self.message));
        let painted = format!("{}{pad}", paint_mark(self.outcome, mark, style));
        // Wrapped without colour, which has no width, and then coloured at its known place.
        for (number, line) in wrap(&head, width.saturating_sub(INDENT)).iter().enumerate() {
            writeln!(
                out,
                "{}{line}",
                if number == 0 { &painted } else { &indent }
            )?;
        }
        let met = self.outcome == Outcome::Pass;
        let limit = if met { PASS_EVIDENCE } else { usize::MAX };
        // A bare value says nothing that the sentence does not, unless there is something to doubt.
        let worth = |evidence: &&Evidence| !met || has_place(evidence);
        for evidence in self.evidence.iter().filter(worth).take(limit) {
            let text = place(evidence);
            for line in wrap(&text, width.saturating_sub(INDENT + 2)) {
                writeln!(out, "{indent}  {}", style.dim(&line))?;
            }
        }
        if met || self.outcome == Outcome::Unknown {
            return Ok(());
        }
        let why = format!("{}: {}", words(lang).why, clean(&self.why));
        wrapped(out, &why, &indent, &indent, width)?;
        for remedy in &self.remedies {
            remedy.write(out, lang, style, &indent, width)?;
        }
        Ok(())
    }
}

impl Remedy {
    fn write(
        &self,
        out: &mut dyn Write,
        lang: Lang,
        style: Style,
        indent: &str,
        width: usize,
    ) -> io::Result<()> {
        let place = match self.place {
            Place::Guest => words(lang).in_guest,
            Place::Host => words(lang).on_host,
        };
        wrapped(
            out,
            &format!("{place}: {}", clean(&self.text)),
            indent,
            indent,
            width,
        )?;
        for command in &self.commands {
            // Never wrapped: commands are there to be copied.
            for line in clean_lines(command).lines() {
                writeln!(out, "{indent}    {}", style.bold(line))?;
            }
        }
        Ok(())
    }
}

fn has_place(evidence: &Evidence) -> bool {
    evidence.path.is_some() || evidence.offset.is_some()
}

/// `path:line: text`, as compilers write it.
fn place(evidence: &Evidence) -> String {
    let mut parts = Vec::new();
    match (&evidence.path, evidence.line) {
        (Some(path), Some(line)) => parts.push(format!("{path}:{line}")),
        (Some(path), None) => parts.push(path.clone()),
        _ => {}
    }
    if let Some(offset) = evidence.offset {
        parts.push(format!("byte {offset}"));
    }
    parts.extend(evidence.text.clone());
    clean(&parts.join(": "))
}

/// System, architecture, format, sizes, partition table and firmware in one line.
fn summary(facts: &Facts) -> String {
    let mut parts = Vec::new();
    if let Some(os) = &facts.os {
        parts.extend(os.name.clone().or_else(|| os.id.clone()));
    }
    parts.extend(facts.architecture.as_ref().map(|fact| fact.value.clone()));
    let container = &facts.container;
    if let Some(format) = &container.format {
        let layers = container
            .layers
            .iter()
            .rev()
            .map(|layer| format!("+{layer}"));
        parts.push(format!("{format}{}", layers.collect::<String>()));
    }
    match (container.virtual_size, container.file_size) {
        (Some(disk), Some(file)) => parts.push(format!("{} in {}", size(disk), size(file))),
        (Some(disk), None) => parts.push(size(disk)),
        _ => {}
    }
    if let Some(table) = &facts.partition_table {
        parts.push(table.kind.to_uppercase());
    }
    let firmware = [(facts.boot.bios, "BIOS"), (facts.boot.uefi, "UEFI")];
    let firmware: Vec<_> = firmware
        .iter()
        .filter(|(has, _)| *has)
        .map(|(_, name)| *name)
        .collect();
    if !firmware.is_empty() {
        parts.push(firmware.join("+"));
    }
    clean(&parts.join(", "))
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let options =
        textwrap::Options::new(width).word_splitter(textwrap::WordSplitter::NoHyphenation);
    textwrap::wrap(text, options)
        .into_iter()
        .map(String::from)
        .collect()
}

fn wrapped(
    out: &mut dyn Write,
    text: &str,
    first: &str,
    rest: &str,
    width: usize,
) -> io::Result<()> {
    for (number, line) in wrap(text, width.saturating_sub(rest.len()))
        .iter()
        .enumerate()
    {
        writeln!(out, "{}{line}", if number == 0 { first } else { rest })?;
    }
    Ok(())
}

fn paint_mark(outcome: Outcome, mark: &str, style: Style) -> String {
    match outcome {
        Outcome::Pass => style.green(mark),
        Outcome::Warning | Outcome::Unknown => style.yellow(mark),
        Outcome::Failure => style.red(mark),
        Outcome::Note => style.bold(mark),
    }
}

fn mark(outcome: Outcome, lang: Lang) -> &'static str {
    match (outcome, lang) {
        (Outcome::Pass, _) => "ok",
        (Outcome::Note, Lang::De) => "Hinweis",
        (Outcome::Note, Lang::En) => "note",
        (Outcome::Warning, Lang::De) => "Warnung",
        (Outcome::Warning, Lang::En) => "warning",
        (Outcome::Failure, Lang::De) => "Fehler",
        (Outcome::Failure, Lang::En) => "failure",
        (Outcome::Unknown, Lang::De) => "unklar",
        (Outcome::Unknown, Lang::En) => "unknown",
    }
}

struct Words {
    why: &'static str,
    in_guest: &'static str,
    on_host: &'static str,
}

fn words(lang: Lang) -> &'static Words {
    match lang {
        Lang::De => &Words {
            why: "Warum",
            in_guest: "Abhilfe im Gast, als root",
            on_host: "Abhilfe auf diesem Rechner",
        },
        Lang::En => &Words {
            why: "why",
            in_guest: "remedy in the guest, as root",
            on_host: "remedy on this machine",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view() -> View {
        serde_json::from_value(serde_json::json!({
            "verdict": "accepted_with_warnings",
            "verdict_text": "accepted with warnings",
            "lang": "en",
            "findings": [
                {
                    "rule": "operating-system", "title": "Operating system", "outcome": "pass",
                    "message_id": "x", "message": "Debian GNU/Linux 12 (bookworm)\u{1b}[2J",
                    "evidence": [
                        {"text": "only a value"},
                        {"path": "/usr/lib/os-release", "line": 1, "text": "PRETTY_NAME=\"Debian\""},
                        {"path": "/second"},
                        {"path": "/third, which is one too many"}
                    ],
                    "why": "never shown", "remedies": []
                },
                {
                    "rule": "sshd", "title": "SSH server", "outcome": "warning", "message_id": "y",
                    "message": "an SSH server is installed, but nothing starts it when the system boots, so nobody can log in",
                    "evidence": [
                        {"path": "/etc/systemd/system/ssh.service", "text": "/dev/null"},
                        {"offset": 512}
                    ],
                    "why": "keys are of no use without it",
                    "remedies": [{"where": "guest", "text": "unmask it", "commands": [
                        "systemctl unmask a-very-long-unit-name-that-does-not-fit-into-one-line-of-eighty.service"
                    ]}]
                }
            ],
            "facts": {"from": "another version"}
        }))
        .unwrap()
    }

    #[test]
    fn findings_show_evidence_reason_and_remedy() {
        let mut out = Vec::new();
        view()
            .write(&mut out, "a\x07.qcow2", Style::plain(), 80)
            .unwrap();
        let expected = "\
a.qcow2: accepted with warnings

ok       Operating system: Debian GNU/Linux 12 (bookworm)[2J
           /usr/lib/os-release:1: PRETTY_NAME=\"Debian\"
           /second
warning  SSH server: an SSH server is installed, but nothing starts it when the
         system boots, so nobody can log in
           /etc/systemd/system/ssh.service: /dev/null
           byte 512
         why: keys are of no use without it
         remedy in the guest, as root: unmask it
             systemctl unmask a-very-long-unit-name-that-does-not-fit-into-one-line-of-eighty.service
";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
