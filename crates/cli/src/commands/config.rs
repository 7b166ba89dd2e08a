//! `abbild config`: what an operator asks before the service is started.

use std::path::Path;
use std::process::ExitCode;

use abbild_service::Config;
use abbild_service::config::Mistakes;
use serde_json::json;

use crate::args::ConfigCommand;
use crate::commands::serve;
use crate::failure::FAILED;
use crate::print::clean;
use crate::session::Session;

/// Carries out an operator's command.
///
/// # Errors
/// If a file cannot be read; for `show` also if the configuration is wrong.
pub fn run(session: &Session, command: &ConfigCommand) -> anyhow::Result<ExitCode> {
    match command {
        ConfigCommand::Check { file } => check(session, file.as_deref()),
        ConfigCommand::Show(args) => {
            let shown = serve::load(args)?.shown;
            session.show(&json!({ "toml": shown }), |out| write!(out, "{shown}"))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn check(session: &Session, file: Option<&Path>) -> anyhow::Result<ExitCode> {
    let mistakes = match Config::load(file, Vec::new()) {
        Ok(_) => Vec::new(),
        Err(error) => error.downcast::<Mistakes>()?.0,
    };
    let texts: Vec<String> = mistakes.iter().map(|m| clean(&m.to_string())).collect();
    session.show(&json!({ "mistakes": texts }), |out| {
        if texts.is_empty() {
            let what = file.map_or_else(
                || "the configuration".to_owned(),
                |file| clean(&file.display().to_string()),
            );
            writeln!(out, "nothing is wrong with {what}")?;
        }
        texts.iter().try_for_each(|text| writeln!(out, "{text}"))
    })?;
    Ok(if texts.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(FAILED)
    })
}
