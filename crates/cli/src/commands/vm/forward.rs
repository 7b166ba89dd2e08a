//! `abbild vm forward`: ports of a machine's address that lead into its guest.

use std::io::{self, Write};
use std::process::ExitCode;

use abbild_api::{Droplet, DropletAction, Forward, Protocol};

use crate::args::VmForwardArgs;
use crate::names;
use crate::session::Session;

use super::{act, address};

/// Lists them, or adds or removes some.
///
/// # Errors
/// If there is no such machine, the service refuses, or it does not succeed.
pub fn run(session: &Session, args: &VmForwardArgs) -> anyhow::Result<ExitCode> {
    let client = session.client()?;
    let mut vm = names::vm(&client, &args.vm.vm)?;
    for ports in &args.ports {
        vm = act::finish(&client, &vm, &action(ports.0, args.remove))?;
    }
    session.show(&forwards(&vm), |out| write(out, &vm))?;
    Ok(ExitCode::SUCCESS)
}

fn action(forward: Forward, remove: bool) -> DropletAction {
    let Forward {
        port,
        guest_port,
        protocol,
    } = forward;
    if remove {
        return DropletAction::Unforward { port, protocol };
    }
    DropletAction::Forward {
        port,
        guest_port: Some(guest_port),
        protocol,
    }
}

/// Those of `vm`.
pub fn forwards(vm: &Droplet) -> &[Forward] {
    vm.extra.as_ref().map_or(&[], |extra| &extra.forwards)
}

/// One of them as it is written on the command line.
pub fn short(forward: &Forward) -> String {
    let guest_port = match forward.guest_port == forward.port {
        true => String::new(),
        false => format!(":{}", forward.guest_port),
    };
    let protocol = match forward.protocol {
        Protocol::Tcp => "",
        Protocol::Udp => "/udp",
    };
    format!("{}{guest_port}{protocol}", forward.port)
}

fn write(out: &mut dyn Write, vm: &Droplet) -> io::Result<()> {
    let forwards = forwards(vm);
    if forwards.is_empty() {
        return writeln!(out, "only SSH leads into the guest");
    }
    let address = address(vm).map_or_else(String::new, |address| address.to_string());
    for forward in forwards {
        let Forward {
            port,
            guest_port,
            protocol,
        } = forward;
        let protocol = protocol.name();
        writeln!(
            out,
            "{address}:{port} ({protocol}) leads to port {guest_port} of the guest"
        )?;
    }
    Ok(())
}
