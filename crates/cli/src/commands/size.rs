//! `abbild size list`.

use std::process::ExitCode;

use abbild_api::SizeList;

use crate::args::SizeCommand;
use crate::print::Table;
use crate::session::Session;

/// Runs the subcommand.
///
/// # Errors
/// Those of the request and of printing.
pub fn run(session: &Session, command: &SizeCommand) -> anyhow::Result<ExitCode> {
    let SizeCommand::List = command;
    let client = session.client()?;
    let sizes = client.list("/v2/sizes", |page: SizeList| (page.sizes, page.meta))?;
    session.show(&sizes, |out| {
        let mut table = Table::new(["SLUG", "VCPUS", "MEMORY", "DISK", "REGIONS"]);
        for size in &sizes {
            table.row([
                size.slug.clone(),
                size.vcpus.to_string(),
                format!("{} MiB", size.memory),
                format!("{} GB", size.disk),
                size.regions.join(", "),
            ]);
        }
        table.write(out)
    })?;
    Ok(ExitCode::SUCCESS)
}
