//! The report as text for people, in as many columns as there are.
//!
//! Above stands what the image is, then the requirements in their order, then whatever else was
//! found, the worst first. Prose is wrapped; commands and paths are there to be copied and never
//! are.

use std::io::{self, Write};

use abbild_guest::{Evidence, Lang, Outcome, Verdict};
use unicode_width::UnicodeWidthStr as _;

use super::words::{mark, words};
use super::{Finding, Remedy, View, place, summary};
use crate::print::{Style, clean};

/// Columns before the text of a finding.
const INDENT: usize = 9;
/// Lines of evidence under a requirement that is met.
const PASS_EVIDENCE: usize = 2;

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
        labelled(out, &summary::lines(&self.facts(), self.lang), style, width)?;
        let words = words(self.lang);
        let requirements = self.findings.iter().filter(|f| f.is_requirement());
        self.section(
            out,
            words.requirements,
            requirements.collect(),
            style,
            width,
        )?;
        let mut further: Vec<_> = self
            .findings
            .iter()
            .filter(|finding| !finding.is_requirement())
            .collect();
        further.sort_by_key(|finding| rank(finding.outcome));
        self.section(out, words.further, further, style, width)?;
        if let Some(finding) = self.findings.iter().find(|f| f.asks_for_action()) {
            let command = format!("abbild check --explain {}", clean(&finding.rule));
            writeln!(out, "\n{}: {}", words.explain, style.bold(&command))?;
        }
        Ok(())
    }

    /// Writes what a boot has proven against what the files of the image say.
    ///
    /// # Errors
    /// Those of writing.
    pub fn write_proven(&self, out: &mut dyn Write, style: Style, width: usize) -> io::Result<()> {
        let words = words(self.lang);
        let news: Vec<_> = self.findings.iter().filter(|f| f.is_news()).collect();
        if news.is_empty() {
            return writeln!(out, "\n{}", words.no_news);
        }
        self.section(out, words.news, news, style, width)
    }

    fn section(
        &self,
        out: &mut dyn Write,
        heading: &str,
        findings: Vec<&Finding>,
        style: Style,
        width: usize,
    ) -> io::Result<()> {
        if findings.is_empty() {
            return Ok(());
        }
        writeln!(out, "\n{}\n", style.bold(heading))?;
        for finding in findings {
            finding.write(out, self.lang, style, width)?;
        }
        Ok(())
    }

    fn paint_verdict(&self, style: Style) -> String {
        let text = clean(&self.verdict_text);
        match self.verdict {
            Some(Verdict::Accepted) => style.green(&text),
            Some(Verdict::AcceptedWithWarnings) => style.yellow(&text),
            Some(Verdict::Refused) | None => style.red(&text),
        }
    }
}

/// The place among further findings: what should be read first comes first.
fn rank(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Failure => 0,
        Outcome::Warning => 1,
        Outcome::Unknown => 2,
        Outcome::Note => 3,
        Outcome::Pass => 4,
    }
}

impl Finding {
    fn write(&self, out: &mut dyn Write, lang: Lang, style: Style, width: usize) -> io::Result<()> {
        let mark = mark(self.outcome, lang);
        let pad = " ".repeat(INDENT.saturating_sub(mark.width()));
        let indent = " ".repeat(INDENT);
        // The rule's name is for `--explain`, and for an operator's configuration.
        let name = match self.asks_for_action() && self.rule != self.title {
            true => format!(" ({})", clean(&self.rule)),
            false => String::new(),
        };
        let statement = clean(&self.statement(lang));
        let head = format!("{}{name}: {statement}", clean(&self.title));
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
        let worth = |evidence: &&Evidence| {
            !met || evidence.path.is_some() || evidence.offset.is_some() || evidence.from.is_some()
        };
        for evidence in self.evidence.iter().filter(worth).take(limit) {
            for line in evidence_lines(evidence, lang, width.saturating_sub(INDENT + 2)) {
                writeln!(out, "{indent}  {}", style.dim(&line))?;
            }
        }
        if !self.asks_for_action() {
            return Ok(());
        }
        let why = format!("{}: {}", words(lang).why, clean(&self.why));
        wrapped(out, &why, &indent, width)?;
        for remedy in &self.remedies {
            remedy.write(out, lang, style, &indent, width)?;
        }
        Ok(())
    }
}

impl Remedy {
    pub(super) fn write(
        &self,
        out: &mut dyn Write,
        lang: Lang,
        style: Style,
        indent: &str,
        width: usize,
    ) -> io::Result<()> {
        wrapped(out, &self.heading(lang), indent, width)?;
        for line in self.lines() {
            writeln!(out, "{indent}    {}", style.bold(&line))?;
        }
        Ok(())
    }
}

/// A place and what stands there, below it if they do not fit into one line.
fn evidence_lines(evidence: &Evidence, lang: Lang, width: usize) -> Vec<String> {
    let line = place(evidence, lang);
    if line.width() <= width {
        return vec![line];
    }
    let bare = Evidence {
        text: None,
        ..evidence.clone()
    };
    let text = clean(evidence.text.as_deref().unwrap_or_default());
    let mut lines = vec![place(&bare, lang)];
    lines.retain(|line| !line.is_empty());
    let indent = if lines.is_empty() { "" } else { "  " };
    let rest = wrap(&text, width.saturating_sub(indent.len()));
    lines.extend(rest.iter().map(|line| format!("{indent}{line}")));
    lines
}

/// Writes `label  value` lines with the values aligned and wrapped; empty ones are left out.
pub(super) fn labelled(
    out: &mut dyn Write,
    lines: &[(&str, String)],
    style: Style,
    width: usize,
) -> io::Result<()> {
    let shown = || lines.iter().filter(|(_, value)| !value.is_empty());
    let column = shown().map(|(label, _)| label.width()).max().unwrap_or(0) + 2;
    for (label, value) in shown() {
        let pad = " ".repeat(column.saturating_sub(label.width()));
        for (number, line) in wrap(&clean(value), width.saturating_sub(column))
            .iter()
            .enumerate()
        {
            match number {
                0 => writeln!(out, "{}{pad}{line}", style.dim(label))?,
                _ => writeln!(out, "{}{line}", " ".repeat(column))?,
            }
        }
    }
    Ok(())
}

/// Lines of at most `width` columns, where words allow: no word is taken apart.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let options = textwrap::Options::new(width)
        .break_words(false)
        .word_separator(textwrap::WordSeparator::AsciiSpace)
        .word_splitter(textwrap::WordSplitter::NoHyphenation);
    textwrap::wrap(text, options)
        .into_iter()
        .map(String::from)
        .collect()
}

/// Writes `text` wrapped, with `indent` before every line.
pub(super) fn wrapped(
    out: &mut dyn Write,
    text: &str,
    indent: &str,
    width: usize,
) -> io::Result<()> {
    for line in wrap(text, width.saturating_sub(indent.len())) {
        writeln!(out, "{indent}{line}")?;
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
