//! Rules explained, and the list of them: what can be said without an image.

use std::io::{self, Write};

use abbild_guest::{Entry, Lang};

use super::text::{labelled, wrapped};
use super::words::{place, severity, words};
use crate::print::{Style, Table};

/// Writes all there is to know of one rule.
///
/// # Errors
/// Those of writing.
pub fn explain(
    out: &mut dyn Write,
    entry: &Entry,
    lang: Lang,
    style: Style,
    width: usize,
) -> io::Result<()> {
    let words = words(lang);
    let rule = entry.rule.as_str();
    writeln!(out, "{}: {}\n", style.bold(rule), entry.title)?;
    let kind = format!(
        "{}; {}, {}",
        kind(entry, lang),
        severity(entry.default_severity, lang),
        words.overridable
    );
    wrapped(out, &kind, "", width)?;
    writeln!(out)?;
    let lines = [
        (words.what, entry.explanation.clone()),
        (words.why, entry.why.clone()),
    ];
    labelled(out, &lines, style, width)?;
    if entry.remedies.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{}", style.bold(words.fix))?;
    for remedy in &entry.remedies {
        writeln!(out)?;
        wrapped(
            out,
            &format!("{}: {}", place(remedy.place, lang), remedy.text),
            "",
            width,
        )?;
        for command in &remedy.commands {
            writeln!(out, "    {}", style.bold(command))?;
        }
    }
    Ok(())
}

/// Writes a table of `entries`.
///
/// # Errors
/// Those of writing.
pub fn list(out: &mut dyn Write, entries: &[Entry], lang: Lang) -> io::Result<()> {
    let mut table = Table::new(match lang {
        Lang::De => ["REGEL", "ART", "FOLGE", "TITEL"],
        Lang::En => ["RULE", "KIND", "SEVERITY", "TITLE"],
    });
    for entry in entries {
        table.row([
            entry.rule.to_string(),
            kind(entry, lang).to_owned(),
            severity(entry.default_severity, lang).to_owned(),
            entry.title.clone(),
        ]);
    }
    table.write(out)
}

fn kind(entry: &Entry, lang: Lang) -> &'static str {
    match entry.requirement {
        true => words(lang).requirement,
        false => words(lang).check,
    }
}
