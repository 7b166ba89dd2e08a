//! What every command is given: how to print, which language, and the service on demand.

use std::io::{self, BufWriter, Write};

use abbild_guest::Lang;
use serde::Serialize;

use crate::args::Cli;
use crate::client::Client;
use crate::credentials::Credentials;
use crate::print;

/// The global options.
#[derive(Debug, Clone, Copy)]
pub struct Session {
    /// Print JSON.
    pub json: bool,
    /// Language of reports and findings.
    pub lang: Lang,
}

impl Session {
    /// From the command line and the environment.
    pub fn new(cli: &Cli) -> Self {
        let lang = cli
            .lang
            .map_or_else(|| locale(|name| std::env::var(name).ok()), Lang::from);
        Self {
            json: cli.json,
            lang,
        }
    }

    /// A client for the service that the user is logged in to.
    ///
    /// # Errors
    /// If they are not.
    pub fn client(&self) -> anyhow::Result<Client> {
        Client::new(&Credentials::load()?, self.lang)
    }

    /// Prints `value` as JSON if that was asked for, else what `text` writes.
    ///
    /// # Errors
    /// Those of writing to standard output.
    pub fn show(
        &self,
        value: &impl Serialize,
        text: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut out = BufWriter::new(io::stdout().lock());
        if self.json {
            print::json(&mut out, value)?;
        } else {
            text(&mut out)?;
        }
        out.flush()
    }
}

/// The language of the first variable that is set, in POSIX's order of precedence.
fn locale(var: impl Fn(&str) -> Option<String>) -> Lang {
    ["LC_ALL", "LC_MESSAGES", "LANG"]
        .into_iter()
        .filter_map(var)
        .find(|value| !value.is_empty())
        .map_or(Lang::En, |value| Lang::from_locale(&value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_locale_has_an_order_of_precedence() {
        let with = |vars: &'static [(&str, &str)]| {
            locale(move |name| {
                let found = vars.iter().find(|(n, _)| *n == name);
                found.map(|(_, value)| (*value).to_owned())
            })
        };
        assert_eq!(with(&[]), Lang::En);
        assert_eq!(with(&[("LANG", "de_DE.UTF-8")]), Lang::De);
        assert_eq!(with(&[("LANG", "de_DE.UTF-8"), ("LC_ALL", "C")]), Lang::En);
        assert_eq!(with(&[("LC_ALL", ""), ("LANG", "de_AT")]), Lang::De);
    }
}
