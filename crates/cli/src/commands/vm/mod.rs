//! `abbild vm …`: machines, and the ways into them.

mod act;
mod attach;
mod console;
mod create;
mod delete;
mod forward;
mod known_hosts;
mod list;
mod rescue;
mod screen;
mod show;
mod ssh;

use std::net::IpAddr;
use std::process::ExitCode;

use abbild_api::{Droplet, DropletAction, DropletStatus};

use crate::args::VmCommand;
use crate::session::Session;

/// Runs the subcommand.
///
/// # Errors
/// Those of the subcommand.
pub fn run(session: &Session, command: &VmCommand) -> anyhow::Result<ExitCode> {
    match command {
        VmCommand::Create(args) => create::run(session, args),
        VmCommand::List(args) => list::run(session, args),
        VmCommand::Show(args) => show::run(session, args),
        VmCommand::Ssh(args) => ssh::run(session, args),
        VmCommand::Console(args) => console::run(session, args),
        VmCommand::PowerOn(args) => act::run(session, args, &DropletAction::PowerOn),
        VmCommand::PowerOff(args) => act::run(session, args, &DropletAction::PowerOff),
        VmCommand::Shutdown(args) => act::run(session, args, &DropletAction::Shutdown),
        VmCommand::Reboot(args) => act::run(session, args, &DropletAction::Reboot),
        VmCommand::PowerCycle(args) => act::run(session, args, &DropletAction::PowerCycle),
        VmCommand::Forward(args) => forward::run(session, args),
        VmCommand::PasswordReset(args) => act::reset_password(session, args),
        VmCommand::Rename(args) => act::rename(session, args),
        VmCommand::Resize(args) => act::resize(session, args),
        VmCommand::Rebuild(args) => act::rebuild(session, args),
        VmCommand::Snapshot(args) => act::snapshot(session, args),
        VmCommand::Rescue(args) => rescue::run(session, args),
        VmCommand::Unrescue(args) => act::run(session, args, &DropletAction::Unrescue),
        VmCommand::Delete(args) => delete::run(session, args),
    }
}

/// The first public IPv4 address. Parsed, so that nothing else can pass for one.
fn address(vm: &Droplet) -> Option<IpAddr> {
    let public = vm
        .networks
        .v4
        .iter()
        .find(|network| network.kind == "public");
    public?.ip_address.parse().ok()
}

fn ssh_port(vm: &Droplet) -> u16 {
    vm.extra.as_ref().map_or(22, |extra| extra.ssh_port)
}

fn status(vm: &Droplet) -> &'static str {
    match vm.status {
        DropletStatus::New => "starting",
        DropletStatus::Active => "running",
        DropletStatus::Off => "off",
        DropletStatus::Archive => "archived",
    }
}

/// The `ssh` command for people to copy.
fn ssh_command(vm: &Droplet) -> Option<String> {
    let address = address(vm)?;
    let user = default_user(vm)
        .filter(|user| is_user(user))
        .map(|user| format!("{user}@"));
    let port = match ssh_port(vm) {
        22 => String::new(),
        port => format!("-p {port} "),
    };
    Some(format!("ssh {port}{}{address}", user.unwrap_or_default()))
}

/// Whom to log in as: the image's default user, in the built-in rescue system root.
fn default_user(vm: &Droplet) -> Option<&str> {
    match is_in_rescue_system(vm) {
        true => Some("root"),
        false => vm.extra.as_ref()?.default_user.as_deref(),
    }
}

/// Whether it runs the built-in rescue system.
fn is_in_rescue_system(vm: &Droplet) -> bool {
    let rescue = vm.extra.as_ref().and_then(|extra| extra.rescue.as_ref());
    rescue.is_some_and(|rescue| rescue.image.is_none())
}

/// Whether `name` may stand unquoted in a command line.
fn is_user(name: &str) -> bool {
    !name.starts_with('-')
        && !name.is_empty()
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
}
