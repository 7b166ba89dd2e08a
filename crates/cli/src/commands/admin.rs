//! `abbild admin`: what an operator does on the machine that has the data.

use std::process::ExitCode;

use serde_json::json;

use crate::args::AdminCommand;
use crate::commands::serve;
use crate::session::Session;

/// Carries out an operator's command.
///
/// # Errors
/// If the data directory holds no database.
pub fn run(session: &Session, command: &AdminCommand) -> anyhow::Result<ExitCode> {
    match command {
        AdminCommand::Token(args) => {
            let config = serve::config(args)?;
            let token = serve::runtime()?.block_on(abbild_service::new_token(&config))?;
            session.show(&json!({ "token": token }), |out| writeln!(out, "{token}"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
