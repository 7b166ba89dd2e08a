//! `abbild admin`: what an operator does on the machine that has the data.

mod account;
mod backup;
mod desk;
mod fsck;
mod gc;
mod region;

use std::process::ExitCode;

use serde_json::json;

use crate::args::{AdminCommand, ServeArgs};
use crate::commands::serve;
use crate::print::fields;
use crate::session::Session;

/// Carries out an operator's command.
///
/// # Errors
/// If there is no database yet, or it cannot be used as asked.
pub fn run(session: &Session, command: &AdminCommand) -> anyhow::Result<ExitCode> {
    match command {
        AdminCommand::Account(command) => account::account(session, command)?,
        AdminCommand::User(command) => account::user(session, command)?,
        AdminCommand::Token(command) => account::token(session, command)?,
        AdminCommand::Quota(command) => account::quota(session, command)?,
        AdminCommand::Audit(args) => account::audit(session, args)?,
        AdminCommand::Fsck(args) => return fsck::run(session, args),
        AdminCommand::Gc(args) => return gc::run(session, args),
        AdminCommand::Backup(args) => return backup::backup(session, args),
        AdminCommand::Restore(args) => return backup::restore(session, args),
        AdminCommand::Region(command) => region::run(session, command)?,
        AdminCommand::Schema { service, to } => schema(session, service, *to)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn schema(session: &Session, service: &ServeArgs, to: Option<i64>) -> anyhow::Result<()> {
    let config = serve::config(service)?;
    let schema = serve::runtime()?.block_on(async {
        match to {
            Some(version) => abbild_service::schema_back(&config, version).await,
            None => abbild_service::schema(&config).await,
        }
    })?;
    let data = json!({ "applied": schema.applied, "known": schema.known });
    session.show(&data, |out| {
        let lines = [
            ("applied", versions(&schema.applied)),
            ("known", versions(&schema.known)),
        ];
        fields(out, &lines)
    })?;
    Ok(())
}

fn versions(all: &[i64]) -> String {
    let all: Vec<_> = all.iter().map(i64::to_string).collect();
    all.join(", ")
}
