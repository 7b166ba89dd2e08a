//! `abbild doctor`: whether this host has what the service needs.

use std::io::{self, Write};
use std::process::ExitCode;

use abbild_service::doctor::{Finding, Outcome, examine};
use anyhow::Context as _;
use serde_json::json;

use crate::args::ServeArgs;
use crate::commands::serve;
use crate::failure::FAILED;
use crate::print::clean;
use crate::session::Session;

/// Looks at everything and says what is wrong.
///
/// # Errors
/// If the configuration is wrong.
pub fn run(session: &Session, args: &ServeArgs) -> anyhow::Result<ExitCode> {
    let config = serve::load(args)?.config;
    let runtime = tokio::runtime::Runtime::new().context("starting the runtime")?;
    let findings = runtime.block_on(examine(&config));
    session.show(&json!({ "findings": findings }), |out| {
        findings.iter().try_for_each(|finding| write(out, finding))
    })?;
    let failed = findings.iter().any(|f| f.outcome == Outcome::Failure);
    Ok(ExitCode::from(if failed { FAILED } else { 0 }))
}

fn write(out: &mut dyn Write, finding: &Finding) -> io::Result<()> {
    let outcome = match finding.outcome {
        Outcome::Ok => "ok",
        Outcome::Warning => "warning",
        Outcome::Failure => "failure",
    };
    let (id, text) = (clean(&finding.id), clean(&finding.text));
    writeln!(out, "{outcome:<8} {id}: {text}")?;
    match &finding.remedy {
        Some(remedy) => writeln!(out, "           {}", clean(remedy)),
        None => Ok(()),
    }
}
