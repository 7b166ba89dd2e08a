//! `abbild vm list`.

use std::io::{self, Write};
use std::process::ExitCode;

use abbild_api::{Droplet, DropletList};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::args::VmListArgs;
use crate::print::Table;
use crate::session::Session;

use super::{address, status};

/// Prints all machines of the account, or those with a tag.
///
/// # Errors
/// Those of the request and of printing.
pub fn run(session: &Session, args: &VmListArgs) -> anyhow::Result<ExitCode> {
    let client = session.client()?;
    let path = match &args.tag {
        Some(tag) => format!(
            "/v2/droplets?tag_name={}",
            utf8_percent_encode(tag, NON_ALPHANUMERIC)
        ),
        None => "/v2/droplets".to_owned(),
    };
    let vms = client.list(&path, |page: DropletList| (page.droplets, page.meta))?;
    session.show(&vms, |out| write(out, &vms))?;
    Ok(ExitCode::SUCCESS)
}

/// A table of machines.
///
/// # Errors
/// Those of `out`.
pub fn write(out: &mut dyn Write, vms: &[Droplet]) -> io::Result<()> {
    let mut table = Table::new(["ID", "NAME", "STATE", "REGION", "SIZE", "IMAGE", "ADDRESS"]);
    for vm in vms {
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
}
