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
        format_in(wanted, message)
            .or_else(|| format_in(english, message))
            .unwrap_or_else(|| message.id.clone())
    })
}

fn format_in(bundle: &FluentBundle<FluentResource>, message: &Message) -> Option<String> {
    let pattern = bundle.get_message(&message.id)?.value()?;
    let args: FluentArgs = message
        .args
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let mut errors = Vec::new();
    let text = bundle.format_pattern(pattern, Some(&args), &mut errors);
    Some(text.into_owned())
}
