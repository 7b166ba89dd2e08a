//! Reading the configuration: the file, the environment over it, the command line over both.
//!
//! Everything that is wrong is said at once, each with its place. So when a value does not fit its
//! setting, it is noted and taken out, and the rest is read again without it.

use std::path::Path;

use abbild_guest::{RuleId, Severities};
use anyhow::Context;

use super::document::{Document, Override, Span};
use super::mistake::{Mistake, Mistakes, Origin};
use super::{Config, Issue, show};

/// What variables of the environment begin with; `__` then separates the steps to a setting.
pub const PREFIX: &str = "ABBILD__";

/// How many mistakes are worth telling at once.
const MAX_MISTAKES: usize = 20;

/// Where a configuration is read from.
#[derive(Debug, Default)]
pub struct Sources<'a> {
    /// The file and its text; the defaults alone without one.
    pub file: Option<(&'a Path, &'a str)>,
    /// The environment; variables without [`PREFIX`] do not matter.
    pub environment: Vec<(String, String)>,
    /// Options of the command line: as they are written, the setting, and the value.
    pub arguments: Vec<(&'static str, &'static str, String)>,
}

/// A valid configuration that knows where each value came from.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// As a file that would give the same configuration, with the origin behind each value, and
    /// without secrets.
    pub shown: String,
}

/// What the environment of this process says. Names and values that are no Unicode are none of
/// ours.
pub fn process_environment() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| name.starts_with(PREFIX))
        .collect()
}

impl Config {
    /// Reads `path`, or takes the defaults without one, with what the environment and `arguments`
    /// change: options as they are written, their setting, and the value.
    ///
    /// # Errors
    /// When the file cannot be read, or with [`Mistakes`].
    pub fn load(
        path: Option<&Path>,
        arguments: Vec<(&'static str, &'static str, String)>,
    ) -> anyhow::Result<Loaded> {
        let text = path
            .map(|path| {
                std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
            })
            .transpose()?;
        let sources = Sources {
            file: path.zip(text.as_deref()),
            environment: process_environment(),
            arguments,
        };
        Ok(sources.load()?)
    }
}

impl Sources<'_> {
    /// Reads and checks everything.
    ///
    /// # Errors
    /// With all that is wrong.
    pub fn load(&self) -> Result<Loaded, Mistakes> {
        let text = self.file.map_or("", |(_, text)| text);
        let (overrides, origins) = self.overrides();
        Reader {
            file: self.file.map(|(path, _)| path),
            text,
            overrides: &overrides,
            origins: &origins,
        }
        .read()
    }

    fn overrides(&self) -> (Vec<Override>, Vec<Origin>) {
        let variables = self.environment.iter().filter_map(|(name, value)| {
            let path = variable_path(name.strip_prefix(PREFIX)?);
            Some((path, value, Origin::Variable(name.clone())))
        });
        let arguments = self.arguments.iter().map(|(option, key, value)| {
            let path = key.split('.').map(str::to_owned).collect();
            (path, value, Origin::Argument((*option).to_owned()))
        });
        variables
            .chain(arguments)
            .map(|(path, value, origin)| {
                let value = value.clone();
                (Override { path, value }, origin)
            })
            .unzip()
    }
}

/// `LIMITS__MAX_UPLOAD_SIZE` as `limits`, `max_upload_size`. Only the rules of `[requirements]`
/// have hyphens, which variables cannot.
fn variable_path(name: &str) -> Vec<String> {
    let mut path: Vec<String> = name.split("__").map(str::to_lowercase).collect();
    if let [section, rule] = path.as_mut_slice()
        && section == "requirements"
    {
        *rule = rule.replace('_', "-");
    }
    path
}

struct Reader<'a> {
    file: Option<&'a Path>,
    text: &'a str,
    overrides: &'a [Override],
    origins: &'a [Origin],
}

impl<'a> Reader<'a> {
    fn read(&self) -> Result<Loaded, Mistakes> {
        let mut document = Document::parse(self.text).map_err(|errors| self.syntax(&errors))?;
        let mut found = Vec::new();
        for (index, with) in self.overrides.iter().enumerate() {
            if let Err(message) = document.apply(index, with, false) {
                found.push((document.override_span(index), message));
            }
        }
        let mut removed = Vec::new();
        let config = self.fit(&mut document, &mut found, &mut removed);
        let issues = config.as_ref().map_or_else(Vec::new, Config::issues);
        for Issue { key, message } in issues {
            let path: Vec<String> = key.split('.').map(str::to_owned).collect();
            // What was taken out is reported already; its absence is no second mistake.
            if removed.iter().any(|gone| is_along(gone, &path)) {
                continue;
            }
            let span = (1..=path.len())
                .rev()
                .find_map(|steps| document.span_of(path.get(..steps)?));
            found.push((span.unwrap_or(usize::MAX..usize::MAX), message));
        }
        match config {
            Some(config) if found.is_empty() => {
                let shown = show::render(&plain(&config), |path| {
                    document
                        .span_of(path)
                        .and_then(|span| self.origin(&document, &span))
                });
                Ok(Loaded { config, shown })
            }
            _ => Err(self.mistakes(&document, found)),
        }
    }

    /// The configuration of `document`, less what does not fit.
    fn fit(
        &self,
        document: &mut Document<'a>,
        found: &mut Vec<(Span, String)>,
        removed: &mut Vec<Vec<String>>,
    ) -> Option<Config> {
        let mut missing: Vec<String> = Vec::new();
        let mut retried = Vec::new();
        loop {
            let error = match document.to::<Config>() {
                Ok(config) => return Some(config),
                Err(error) => error,
            };
            let span = error.span().unwrap_or(0..0);
            if let Some(index) = document.override_index(&span)
                && !retried.contains(&index)
                && let Some(with) = self.overrides.get(index)
            {
                // A password such as 1234 is a text all the same.
                retried.push(index);
                let mut again = document.clone();
                if again.apply(index, with, true).is_ok() && improves(&again, &span) {
                    *document = again;
                    continue;
                }
            }
            let path = document.path_at(&span);
            let message = error.message().to_owned();
            let follows = missing
                .iter()
                .any(|key| message == format!("missing field `{key}`"));
            if !follows {
                found.push((span, message));
            }
            let path = path?;
            missing.extend(path.last().cloned());
            document.remove(&path);
            removed.push(path);
            if found.len() >= MAX_MISTAKES {
                return None;
            }
        }
    }

    fn syntax(&self, errors: &[toml::de::Error]) -> Mistakes {
        let mistakes = errors.iter().take(MAX_MISTAKES).map(|error| Mistake {
            origin: error.span().and_then(|span| self.file_origin(&span)),
            message: error.message().to_owned(),
        });
        Mistakes(mistakes.collect())
    }

    fn mistakes(&self, document: &Document<'_>, mut found: Vec<(Span, String)>) -> Mistakes {
        found.sort_by_key(|(span, _)| span.start);
        let mistakes = found.into_iter().map(|(span, message)| Mistake {
            origin: self.origin(document, &span),
            message,
        });
        Mistakes(mistakes.collect())
    }

    fn origin(&self, document: &Document<'_>, span: &Span) -> Option<Origin> {
        match document.override_index(span) {
            Some(index) => self.origins.get(index).cloned(),
            None => self.file_origin(span),
        }
    }

    fn file_origin(&self, span: &Span) -> Option<Origin> {
        let path = self.file?;
        let before = self.text.get(..span.start)?;
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Some(Origin::File {
            path: path.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..)?.chars().count() + 1,
        })
    }
}

/// The configuration as plain data; secrets are masked by their own type.
fn plain(config: &Config) -> serde_json::Value {
    let mut config = config.clone();
    // Severities in force, not only those that were changed.
    let in_force = |&rule| (rule, config.requirements.of(rule));
    config.requirements = Severities(RuleId::ALL.iter().map(in_force).collect());
    serde_json::to_value(config).unwrap_or_else(|e| unreachable!("plain data: {e}"))
}

/// Whether one of two settings is within the other.
fn is_along(one: &[String], other: &[String]) -> bool {
    one.starts_with(other) || other.starts_with(one)
}

/// Whether the mistake at `span` is gone.
fn improves(document: &Document<'_>, span: &Span) -> bool {
    match document.to::<Config>() {
        Ok(_) => true,
        Err(error) => error.span().as_ref() != Some(span),
    }
}
