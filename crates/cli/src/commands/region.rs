//! `abbild region list`.

use std::process::ExitCode;

use abbild_api::RegionList;

use crate::args::RegionCommand;
use crate::print::Table;
use crate::session::Session;

/// Runs the subcommand.
///
/// # Errors
/// Those of the request and of printing.
pub fn run(session: &Session, command: &RegionCommand) -> anyhow::Result<ExitCode> {
    let RegionCommand::List = command;
    let client = session.client()?;
    let regions = client.list("/v2/regions", |page: RegionList| (page.regions, page.meta))?;
    session.show(&regions, |out| {
        let mut table = Table::new(["SLUG", "NAME", "AVAILABLE", "FEATURES"]);
        for region in &regions {
            let available = if region.available { "yes" } else { "no" };
            table.row([
                region.slug.clone(),
                region.name.clone(),
                available.to_owned(),
                region.features.join(", "),
            ]);
        }
        table.write(out)
    })?;
    Ok(ExitCode::SUCCESS)
}
