//! Writes the customers' documentation of all rules from the catalogue:
//! `cargo run -p abbild-guest --example requirements -- de > docs/requirements.de.md`, and the same
//! for `en`.
//!
//! `LANG.md` beside this file holds what is not about a single rule. A test fails when the files in
//! `docs/` are not what would be written.

use std::error::Error;

use abbild_guest::{Cure, Entry, Lang, Place, Severity, catalogue};

fn main() -> Result<(), Box<dyn Error>> {
    let lang = std::env::args().nth(1).ok_or("usage: requirements LANG")?;
    print!("{}", document(lang.parse()?));
    Ok(())
}

/// The whole document.
fn document(lang: Lang) -> String {
    let template = match lang {
        Lang::De => include_str!("de.md"),
        Lang::En => include_str!("en.md"),
    };
    let rules = catalogue(lang);
    let sections = |requirement: bool| -> String {
        rules
            .iter()
            .filter(|entry| entry.requirement == requirement)
            .map(|entry| section(entry, lang))
            .collect()
    };
    let settings: String = rules
        .iter()
        .map(|entry| format!("{} = \"{}\"\n", entry.rule, name(entry.default_severity)))
        .collect();
    template
        .replace("@TABLE@\n", &table(&rules, lang))
        .replace("@REQUIREMENTS@\n", &sections(true))
        .replace("@CHECKS@\n", &sections(false))
        .replace("@SETTINGS@\n", &settings)
}

/// The requirements with what follows if they are not met.
fn table(rules: &[Entry], lang: Lang) -> String {
    let mut table = match lang {
        Lang::De => "| Anforderung | Regel | wenn sie nicht erfüllt ist |\n|---|---|---|\n",
        Lang::En => "| requirement | rule | if it is not met |\n|---|---|---|\n",
    }
    .to_owned();
    for entry in rules.iter().filter(|entry| entry.requirement) {
        table.push_str(&format!(
            "| {} | [`{}`](#{}) | {} |\n",
            entry.title,
            entry.rule,
            anchor(entry),
            consequence(entry.default_severity, lang)
        ));
    }
    table
}

/// What there is to say of one rule.
fn section(entry: &Entry, lang: Lang) -> String {
    let [what, why, fix] = match lang {
        Lang::De => ["Was", "Warum", "Abhilfe"],
        Lang::En => ["What", "Why", "How to fix"],
    };
    let mut text = format!(
        "### {}: {}\n\n{}\n\n**{what}:** {}.\n\n**{why}:** {}.\n",
        entry.rule,
        entry.title,
        consequence(entry.default_severity, lang),
        entry.explanation,
        entry.why
    );
    text.push_str(&format!("\n**{fix}:**\n"));
    for cure in &entry.remedies {
        text.push_str(&remedy(cure, lang));
    }
    text.push('\n');
    text
}

fn remedy(cure: &Cure, lang: Lang) -> String {
    let place = match (cure.place, lang) {
        (Place::Guest, Lang::De) => "im Gast, als root",
        (Place::Host, Lang::De) => "auf dem Rechner mit dem Abbild",
        (Place::Guest, Lang::En) => "in the guest, as root",
        (Place::Host, Lang::En) => "on the machine with the image",
    };
    let mut text = format!("\n- {place}: {}\n", cure.text);
    if !cure.commands.is_empty() {
        text.push_str("\n  ```\n");
        for command in &cure.commands {
            text.push_str(&format!("  {command}\n"));
        }
        text.push_str("  ```\n");
    }
    text
}

/// The fragment that GitHub and GitLab give to the heading of a rule.
fn anchor(entry: &Entry) -> String {
    let title = entry.title.to_lowercase().replace(' ', "-");
    let title: String = title
        .chars()
        .filter(|c| c.is_alphanumeric() || *c == '-')
        .collect();
    format!("{}-{title}", entry.rule)
}

fn consequence(severity: Severity, lang: Lang) -> &'static str {
    match (severity, lang) {
        (Severity::Failure, Lang::De) => "Das Abbild wird abgelehnt.",
        (Severity::Warning, Lang::De) => "Das Abbild wird mit einer Warnung angenommen.",
        (Severity::Note, Lang::De) => "Das Abbild wird mit einem Hinweis angenommen.",
        (Severity::Failure, Lang::En) => "The image is refused.",
        (Severity::Warning, Lang::En) => "The image is accepted with a warning.",
        (Severity::Note, Lang::En) => "The image is accepted with a note.",
    }
}

/// As the configuration writes it.
fn name(severity: Severity) -> &'static str {
    match severity {
        Severity::Failure => "failure",
        Severity::Warning => "warning",
        Severity::Note => "note",
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_documentation_is_what_the_catalogue_says() {
        for lang in [Lang::De, Lang::En] {
            let path = format!("docs/requirements.{lang}.md");
            let file = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("../..")
                .join(&path);
            let written = std::fs::read_to_string(file).unwrap_or_default();
            assert!(
                written == document(lang),
                "{path} is out of date; run `cargo run -p abbild-guest --example requirements -- {lang} > {path}`"
            );
        }
    }

    #[test]
    fn nothing_is_left_to_fill_in() {
        for lang in [Lang::De, Lang::En] {
            let document = document(lang);
            for place in ["@TABLE@", "@REQUIREMENTS@", "@CHECKS@", "@SETTINGS@"] {
                assert!(!document.contains(place), "{lang}: {place}");
            }
            for entry in catalogue(lang) {
                assert!(
                    document.contains(&format!("### {}: ", entry.rule)),
                    "{lang}: {}",
                    entry.rule
                );
            }
        }
    }
}
