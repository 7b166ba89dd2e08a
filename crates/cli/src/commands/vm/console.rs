//! `abbild vm console`: the machine's serial line on this terminal.

use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::process::ExitCode;

use crate::args::VmConsoleArgs;
use crate::client::{Client, Error};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::names;
use crate::print::clean;
use crate::session::Session;
use crate::terminal;

use super::attach::{Attached, End};
use super::screen;

/// Bytes of the log that are shown before attaching: about a screen.
const TAIL: u64 = 4096;

/// Attaches to the console, or prints its log.
///
/// # Errors
/// If the machine has no console, or the connection breaks.
pub fn run(session: &Session, args: &VmConsoleArgs) -> anyhow::Result<ExitCode> {
    let client = session.client()?;
    let vm = names::vm(&client, &args.vm)?;
    if let Some(keys) = &args.send {
        return screen::press(&client, &vm, keys);
    }
    if args.vnc {
        return screen::serve(&client, &vm, args.port);
    }
    let name = clean(&vm.name);
    let console = vm
        .extra
        .map(|extra| extra.console)
        .ok_or_else(|| Failure::new(format!("the service offers no console for `{name}`")))?;
    for path in [&console.path, &console.log] {
        if !path.starts_with('/') {
            return Err(Error::malformed("GET /v2/droplets", "a console elsewhere").into());
        }
    }
    if args.log {
        copy_log(&client, &console.log)?;
        return Ok(ExitCode::SUCCESS);
    }
    let interrupt = Interrupt::watch()?;
    let terminal = io::stdin().is_terminal();
    // Attached first, so that nothing falls between the log and what follows it.
    let linger = (!terminal).then_some(args.linger);
    let mode = if args.watch { "?mode=watch" } else { "" };
    let mut attached = Attached::connect(&client, &format!("{}{mode}", console.path), linger)?;
    if terminal {
        eprintln!("attached to the console of {name}; Ctrl-] detaches, Enter may bring a prompt");
    }
    copy_log(&client, &format!("{}?tail={TAIL}", console.log))?;
    let end = if terminal {
        terminal::raw(io::stdin(), || attached.run(&interrupt))?
    } else {
        attached.run(&interrupt)?
    };
    if terminal {
        match end {
            End::Detached => eprintln!("\ndetached from {name}"),
            End::Closed => eprintln!("\nthe service closed the console of {name}"),
            End::Silent | End::Interrupted => eprintln!(),
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Copies console bytes as they are: escape sequences belong to the machine's screen.
fn copy_log(client: &Client, path: &str) -> anyhow::Result<()> {
    let mut log = client.get_stream(path)?;
    let mut out = io::stdout().lock();
    let mut buffer = [0; 16 * 1024];
    loop {
        match log.read(&mut buffer)? {
            0 => break,
            read => out.write_all(&buffer[..read])?,
        }
    }
    out.flush()?;
    Ok(())
}
