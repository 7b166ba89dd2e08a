//! How a command fails: a sentence, perhaps a hint, and the exit status.
//!
//! Commands return `anyhow` errors. Where the user can do something about it, or the exit status
//! is not the usual 1, there is a [`Failure`] in the chain; [`exit_code`] and [`hint`] find it.

use std::fmt;
use std::process::ExitCode;

use crate::client;
use crate::print::clean;

/// Refused, or failed.
pub const FAILED: u8 = 1;
/// What was to be read could not be read. clap uses the same for wrong usage.
pub const UNREADABLE: u8 = 2;
/// Ended by Ctrl-C: 128 + SIGINT, as shells report it.
pub const INTERRUPTED: u8 = 130;

/// An error that knows what to do next.
#[derive(Debug)]
pub struct Failure {
    message: String,
    hint: Option<String>,
    code: u8,
}

impl Failure {
    /// Failed with one lower-case sentence; exit status [`FAILED`].
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
            code: FAILED,
        }
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds what to do next, where that is known.
    #[must_use]
    pub fn maybe_hint(mut self, hint: Option<&str>) -> Self {
        self.hint = hint.map(str::to_owned);
        self
    }

    /// Sets the exit status.
    #[must_use]
    pub fn code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// The failure of work that the user stopped.
pub fn stopped() -> Failure {
    Failure::new("stopped").code(INTERRUPTED)
}

/// `error` and everything that caused it, on one line that is safe to print.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    clean(&text)
}

/// The exit status for `error`.
pub fn exit_code(error: &anyhow::Error) -> ExitCode {
    let code = error
        .downcast_ref::<Failure>()
        .map_or(FAILED, |failure| failure.code);
    ExitCode::from(code)
}

/// The hint of the first error in the chain that has one.
pub fn hint(error: &anyhow::Error) -> Option<String> {
    if let Some(hint) = error.downcast_ref::<Failure>().and_then(|f| f.hint.clone()) {
        return Some(hint);
    }
    error
        .downcast_ref::<client::Error>()
        .and_then(client::Error::hint)
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn context_does_not_hide_status_and_hint() {
        let error = Err::<(), _>(Failure::new("no").hint("do").code(UNREADABLE))
            .context("outer")
            .unwrap_err();
        assert_eq!(exit_code(&error), ExitCode::from(UNREADABLE));
        assert_eq!(hint(&error).as_deref(), Some("do"));
        assert_eq!(format!("{error:#}"), "outer: no");
    }
}
