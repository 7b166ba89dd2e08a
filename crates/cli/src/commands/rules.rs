//! `abbild rules` and `abbild check --explain`: the rules themselves, without an image.

use std::process::ExitCode;

use abbild_guest::{Entry, RuleId, catalogue};

use crate::print::{self, Style};
use crate::report::explain;
use crate::session::Session;

/// Lists every rule.
///
/// # Errors
/// Those of printing.
pub fn run(session: &Session) -> anyhow::Result<ExitCode> {
    let entries = catalogue(session.lang);
    session.show(&entries, |out| explain::list(out, &entries, session.lang))?;
    Ok(ExitCode::SUCCESS)
}

/// Explains one rule.
///
/// # Errors
/// Those of printing.
pub fn explain(session: &Session, rule: RuleId) -> anyhow::Result<ExitCode> {
    let entry = Entry::new(rule, session.lang);
    session.show(&entry, |out| {
        explain::explain(out, &entry, session.lang, Style::stdout(), print::width())
    })?;
    Ok(ExitCode::SUCCESS)
}
