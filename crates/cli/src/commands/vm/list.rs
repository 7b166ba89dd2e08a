//! `abbild vm list`.

use std::process::ExitCode;

use abbild_api::DropletList;

use crate::print::Table;
use crate::session::Session;

use super::{address, status};

/// Prints all machines of the account.
///
/// # Errors
/// Those of the request and of printing.
pub fn run(session: &Session) -> anyhow::Result<ExitCode> {
    let client = session.client()?;
    let vms = client.list("/v2/droplets", |page: DropletList| {
        (page.droplets, page.meta)
    })?;
    session.show(&vms, |out| {
        let mut table = Table::new(["ID", "NAME", "STATE", "REGION", "SIZE", "IMAGE", "ADDRESS"]);
        for vm in &vms {
            table.row([
                vm.id.to_string(),
                vm.name.clone(),
                status(vm).to_owned(),
                vm.region.slug.clone(),
                vm.size_slug.clone(),
                vm.image.name.clone(),
                address(vm)
                    .map(|address| address.to_string())
                    .unwrap_or_default(),
            ]);
        }
        table.write(out)
    })?;
    Ok(ExitCode::SUCCESS)
}
