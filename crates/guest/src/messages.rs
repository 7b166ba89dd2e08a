//! The sentences of the report in German and English.
//!
//! They are [Fluent](https://projectfluent.org) files under `messages/`, compiled in. A sentence
//! is named by a [`Message`]; [`render`] never fails: an id that a language lacks falls back to
//! English and then to the id itself, and a test makes sure that neither happens.

use std::fmt;
use std::str::FromStr;

use fluent_bundle::{FluentArgs, FluentBundle, FluentResource};
use serde::{Deserialize, Serialize};
use unic_langid::LanguageIdentifier;

use crate::report::Message;

const ENGLISH: &str = include_str!("../messages/en.ftl");
const GERMAN: &str = include_str!("../messages/de.ftl");

/// A language that reports can be read in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lang {
    /// German.
    De,
    /// English.
    #[default]
    En,
}

impl Lang {
    /// The two-letter code.
    pub fn code(self) -> &'static str {
        match self {
            Self::De => "de",
            Self::En => "en",
        }
    }

    /// The language of a POSIX locale (`de_DE.UTF-8`) or an HTTP language tag (`de-AT`); English
    /// for anything that is not German.
    pub fn from_locale(locale: &str) -> Self {
        let primary = locale.split(['-', '_', '.', '@']).next().unwrap_or("");
        if primary.eq_ignore_ascii_case("de") {
            Self::De
        } else {
            Self::En
        }
    }

    fn source(self) -> &'static str {
        match self {
            Self::De => GERMAN,
            Self::En => ENGLISH,
        }
    }
}

impl fmt::Display for Lang {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// A language code that is neither `de` nor `en`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown language `{0}`; use `de` or `en`")]
pub struct UnknownLang(String);

impl FromStr for Lang {
    type Err = UnknownLang;

    fn from_str(code: &str) -> Result<Self, UnknownLang> {
        match code {
            "de" => Ok(Self::De),
            "en" => Ok(Self::En),
            _ => Err(UnknownLang(code.to_owned())),
        }
    }
}

thread_local! {
    // Parsing takes a fraction of a millisecond, but a report has some thirty sentences. The
    // bundle is not Sync, hence one per thread.
    static BUNDLES: [FluentBundle<FluentResource>; 2] = [bundle(Lang::De), bundle(Lang::En)];
}

fn bundle(lang: Lang) -> FluentBundle<FluentResource> {
    let id = LanguageIdentifier::from_bytes(lang.code().as_bytes()).unwrap_or_default();
    let mut bundle = FluentBundle::new(vec![id]);
    // Bidirectional isolation marks would end up in terminals and in copied commands.
    bundle.set_use_isolating(false);
    let resource = match FluentResource::try_new(lang.source().to_owned()) {
        Ok(resource) | Err((resource, _)) => resource,
    };
    bundle.add_resource_overriding(resource);
    bundle
}

/// The sentence `message` in `lang`.
pub fn render(lang: Lang, message: &Message) -> String {
    BUNDLES.with(|[german, english]| {
        let wanted = match lang {
            Lang::De => german,
            Lang::En => english,
        };
        format_in(wanted, lang, message)
            .or_else(|| format_in(english, Lang::En, message))
            .unwrap_or_else(|| message.id.clone())
    })
}

fn format_in(
    bundle: &FluentBundle<FluentResource>,
    lang: Lang,
    message: &Message,
) -> Option<String> {
    let pattern = bundle.get_message(&message.id)?.value()?;
    let mut args = FluentArgs::new();
    for (name, value) in &message.args {
        // `size_bytes` in a message becomes `size` in a sentence, in the units people use.
        match (name.strip_suffix("_bytes"), value.parse::<u64>()) {
            (Some(name), Ok(bytes)) => args.set(name, size(lang, bytes)),
            _ => args.set(name.as_str(), value.as_str()),
        }
    }
    let mut errors = Vec::new();
    let text = bundle.format_pattern(pattern, Some(&args), &mut errors);
    Some(text.into_owned())
}

/// `4 GiB`, `1.5 GiB` (`1,5 GiB` in German), `512 bytes`.
fn size(lang: Lang, bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let Some((unit, scale)) = UNITS
        .iter()
        .zip([1_u64 << 10, 1 << 20, 1 << 30, 1 << 40])
        .rfind(|(_, scale)| bytes >= *scale)
    else {
        return match lang {
            Lang::De => format!("{bytes} Byte"),
            Lang::En => format!("{bytes} bytes"),
        };
    };
    let (whole, tenth) = (bytes / scale, bytes % scale * 10 / scale);
    match (tenth, lang) {
        (0, _) => format!("{whole} {unit}"),
        (_, Lang::De) => format!("{whole},{tenth} {unit}"),
        (_, Lang::En) => format!("{whole}.{tenth} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// What the sources of the rules and of the report say, in which ids are string literals.
    fn sources() -> Vec<String> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let rules = fs::read_dir(source.join("rules")).unwrap();
        rules
            .map(|entry| entry.unwrap().path())
            .chain([source.join("report.rs")])
            // A quote within a literal does not end it.
            .map(|path| fs::read_to_string(path).unwrap().replace("\\\"", ""))
            .collect()
    }

    fn ids(source: &str) -> Vec<&str> {
        source
            .lines()
            .filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()))
            .filter_map(|line| line.split(" =").next())
            .collect()
    }

    #[test]
    fn both_files_parse() {
        for source in [GERMAN, ENGLISH] {
            if let Err((_, errors)) = FluentResource::try_new(source.to_owned()) {
                panic!("{errors:?}");
            }
        }
    }

    #[test]
    fn both_languages_have_the_same_sentences_in_the_same_order() {
        assert_eq!(ids(GERMAN), ids(ENGLISH));
        assert!(ids(GERMAN).len() > 60);
    }

    #[test]
    fn every_sentence_is_used_and_every_id_has_a_sentence() {
        let mut literals: Vec<String> = sources()
            .iter()
            .flat_map(|source| source.split('"').skip(1).step_by(2))
            .map(str::to_owned)
            .collect();
        // A sentence may be a part of others: `{ its-id }`.
        let parts = ENGLISH.split("{ ").skip(1);
        literals.extend(parts.filter_map(|part| Some(part.split_once(" }")?.0.to_owned())));
        // Of a boot, by the names of what they are of; a test there knows each.
        let of_boots = |id: &&str| id.starts_with("step-") || id.starts_with("end-");
        literals.extend(ids(ENGLISH).into_iter().filter(of_boots).map(str::to_owned));
        for rule in crate::RuleId::ALL {
            literals.push(format!("{rule}-title"));
            literals.push(format!("{rule}-why"));
            literals.push(format!("{rule}-explain"));
        }
        let ids = ids(ENGLISH);
        for id in &ids {
            assert!(literals.iter().any(|literal| literal == id), "unused: {id}");
        }
        // A boot script of cloud-init, not a sentence.
        literals.retain(|literal| literal != "cloud-init-local");
        let prefixes = ["verdict-", "remedy-", "not-checked-", "proven-"];
        let rules: Vec<String> = crate::RuleId::ALL
            .iter()
            .map(|rule| format!("{rule}-"))
            .chain(prefixes.map(str::to_owned))
            .collect();
        for literal in &literals {
            let looks_like_an_id = rules.iter().any(|prefix| literal.starts_with(prefix))
                && literal.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
            assert!(
                !looks_like_an_id || ids.contains(&literal.as_str()),
                "missing: {literal}"
            );
        }
    }

    /// Arguments that a sentence needs are those that the other language needs, too.
    #[test]
    fn both_languages_use_the_same_arguments() {
        let arguments = |source: &str| -> Vec<std::collections::BTreeSet<String>> {
            let mut found: Vec<std::collections::BTreeSet<String>> = Vec::new();
            for line in source.lines() {
                if line.starts_with(|c: char| c.is_ascii_lowercase()) {
                    found.push(std::collections::BTreeSet::new());
                }
                for part in line.split("{ $").skip(1) {
                    let name = part.split([' ', '}']).next().unwrap().to_owned();
                    found.last_mut().unwrap().insert(name);
                }
            }
            found
        };
        let (german, english) = (arguments(GERMAN), arguments(ENGLISH));
        for ((id, german), english) in ids(ENGLISH).iter().zip(german).zip(english) {
            // German chooses a translation where English repeats the hint.
            if *id != "image-format-remedy-hint" {
                assert_eq!(german, english, "{id}");
            }
        }
    }

    #[test]
    fn sizes_are_written_as_people_write_them() {
        assert_eq!(size(Lang::En, 4 << 30), "4 GiB");
        assert_eq!(size(Lang::De, 3 << 29), "1,5 GiB");
        assert_eq!(size(Lang::En, 3 << 29), "1.5 GiB");
        assert_eq!(size(Lang::De, 17), "17 Byte");
        assert_eq!(size(Lang::En, u64::MAX), "16777215.9 TiB");
    }

    #[test]
    fn an_unknown_sentence_is_shown_by_its_id() {
        assert_eq!(render(Lang::De, &Message::new("no-such")), "no-such");
    }

    #[test]
    fn locales_choose_the_language() {
        for (locale, lang) in [
            ("de_DE.UTF-8", Lang::De),
            ("de", Lang::De),
            ("DE-at", Lang::De),
            ("en_US", Lang::En),
            ("C", Lang::En),
            ("", Lang::En),
            ("den", Lang::En),
        ] {
            assert_eq!(Lang::from_locale(locale), lang, "{locale}");
        }
    }
}
