//! `abbild vm rescue`: another system in the place of a machine's own.

use std::process::ExitCode;

use abbild_api::{DropletAction, IdOrName};

use crate::args::VmRescueArgs;
use crate::names;
use crate::print::clean;
use crate::session::Session;

use super::act::act;

/// Starts the rescue system, or an image, with the disk of the machine beside it.
///
/// # Errors
/// If the service refuses or cannot do it.
pub fn run(session: &Session, args: &VmRescueArgs) -> anyhow::Result<ExitCode> {
    let client = session.client()?;
    let vm = names::vm(&client, &args.vm.vm)?;
    let image = match &args.image {
        Some(name) => Some(IdOrName::Id(names::image(&client, name)?.id.0)),
        None => None,
    };
    let is_built_in = image.is_none();
    let action = DropletAction::Rescue { image };
    let code = act(session, &client, &vm, &action, args.no_wait)?;
    let name = clean(&vm.name);
    eprintln!("\nhint: `abbild vm ssh {name}` or `abbild vm console {name}` leads into it");
    if is_built_in {
        eprintln!("hint: there, `rescue-chroot` opens a shell inside the machine's own system");
    }
    eprintln!("hint: `abbild vm unrescue {name}` starts the machine from its own disk again");
    Ok(code)
}
