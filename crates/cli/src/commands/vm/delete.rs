//! `abbild vm delete`.

use std::process::ExitCode;

use serde_json::json;

use crate::args::VmRef;
use crate::names;
use crate::print::clean;
use crate::session::Session;

use super::known_hosts;

/// Deletes one machine and its disk.
///
/// # Errors
/// If the name is not exactly one machine's; those of the request and of printing.
pub fn run(session: &Session, args: &VmRef) -> anyhow::Result<ExitCode> {
    let client = session.client()?;
    let vm = names::vm(&client, &args.vm)?;
    client.delete(&format!("/v2/droplets/{}", vm.id))?;
    known_hosts::forget(&client, &vm);
    session.show(&json!({"deleted": vm.id}), |out| {
        writeln!(out, "deleted vm {} `{}`", vm.id, clean(&vm.name))
    })?;
    Ok(ExitCode::SUCCESS)
}
