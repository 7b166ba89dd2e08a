//! What is done to a machine: one action, awaited, and the machine as it is then.

use std::process::ExitCode;

use abbild_api::{
    Action, ActionOne, Droplet, DropletAction, DropletOne, IdOrName, Image, ImageOne,
};

use crate::args::{VmActArgs, VmRebuildArgs, VmRef, VmRenameArgs, VmResizeArgs, VmSnapshotArgs};
use crate::client::Client;
use crate::commands::image::write as write_image;
use crate::commands::wait;
use crate::failure::Failure;
use crate::names;
use crate::print::clean;
use crate::session::Session;

use super::{known_hosts, show};

/// Does what needs no parameters.
///
/// # Errors
/// If there is no such machine, the service refuses, or it does not succeed.
pub fn run(
    session: &Session,
    args: &VmActArgs,
    action: &DropletAction,
) -> anyhow::Result<ExitCode> {
    to(session, &args.vm, action, args.no_wait)
}

/// Gives it another name.
///
/// # Errors
/// As [`run`].
pub fn rename(session: &Session, args: &VmRenameArgs) -> anyhow::Result<ExitCode> {
    let name = args.name.clone();
    to(session, &args.vm, &DropletAction::Rename { name }, false)
}

/// Gives it another size.
///
/// # Errors
/// As [`run`].
pub fn resize(session: &Session, args: &VmResizeArgs) -> anyhow::Result<ExitCode> {
    let (size, disk) = (args.size.clone(), args.disk);
    to(
        session,
        &args.vm,
        &DropletAction::Resize { size, disk },
        false,
    )
}

/// Gives root another password, and prints it.
///
/// # Errors
/// As [`run`].
pub fn reset_password(session: &Session, args: &VmRef) -> anyhow::Result<ExitCode> {
    let client = session.client()?;
    let vm = names::vm(&client, &args.vm)?;
    let action = DropletAction::PasswordReset;
    let begun = begin(&client, &vm, &action)?;
    let password = begun.extra.as_ref().and_then(|e| e.password.clone());
    let password = password.ok_or_else(|| Failure::new("the service did not say the password"))?;
    wait_for(&client, &vm, &action, begun)?;
    let told = serde_json::json!({ "user": "root", "password": password });
    session.show(&told, |out| writeln!(out, "{}", clean(&password)))?;
    eprintln!(
        "\nhint: it is root's, for `abbild vm console {}`, and is not told again",
        clean(&vm.name)
    );
    Ok(ExitCode::SUCCESS)
}

fn to(
    session: &Session,
    vm: &VmRef,
    action: &DropletAction,
    no_wait: bool,
) -> anyhow::Result<ExitCode> {
    let client = session.client()?;
    let vm = names::vm(&client, &vm.vm)?;
    act(session, &client, &vm, action, no_wait)
}

/// Gives it a new disk.
///
/// # Errors
/// As [`run`], and if the image is not exactly one.
pub fn rebuild(session: &Session, args: &VmRebuildArgs) -> anyhow::Result<ExitCode> {
    let client = session.client()?;
    let vm = names::vm(&client, &args.vm.vm)?;
    let id = match &args.image {
        Some(image) => names::image(&client, image)?.id,
        None => vm.image.id,
    };
    let image = IdOrName::Id(id.0);
    let action = DropletAction::Rebuild { image };
    let begun = begin(&client, &vm, &action)?;
    // The new disk has host keys of its own.
    known_hosts::forget(&client, &vm);
    end(session, &client, &vm, &action, begun, args.no_wait)
}

/// Makes an image of its disk.
///
/// # Errors
/// As [`run`].
pub fn snapshot(session: &Session, args: &VmSnapshotArgs) -> anyhow::Result<ExitCode> {
    let client = session.client()?;
    let vm = names::vm(&client, &args.vm.vm)?;
    let name = args.name.clone();
    let action = DropletAction::Snapshot { name };
    let begun = begin(&client, &vm, &action)?;
    if args.no_wait {
        return show_begun(session, &vm, &begun);
    }
    let made = last_snapshot(&client, &ended(&client, &vm, &action, begun)?)?;
    session.show(&made, |out| write_image(out, &made))?;
    Ok(ExitCode::SUCCESS)
}

fn last_snapshot(client: &Client, vm: &Droplet) -> anyhow::Result<Image> {
    let id = vm.snapshot_ids.last();
    let id = id.ok_or_else(|| Failure::new("the image was deleted meanwhile"))?;
    Ok(client.get::<ImageOne>(&format!("/v2/images/{id}"))?.image)
}

/// Does `action` to `vm`.
///
/// # Errors
/// If the service refuses, or it does not succeed.
pub fn act(
    session: &Session,
    client: &Client,
    vm: &Droplet,
    action: &DropletAction,
    no_wait: bool,
) -> anyhow::Result<ExitCode> {
    let begun = begin(client, vm, action)?;
    end(session, client, vm, action, begun, no_wait)
}

/// Does `action` to `vm`, and returns the machine as it is when that has ended.
///
/// # Errors
/// As [`act`].
pub fn finish(client: &Client, vm: &Droplet, action: &DropletAction) -> anyhow::Result<Droplet> {
    let begun = begin(client, vm, action)?;
    ended(client, vm, action, begun)
}

fn ended(
    client: &Client,
    vm: &Droplet,
    action: &DropletAction,
    begun: Action,
) -> anyhow::Result<Droplet> {
    wait_for(client, vm, action, begun)?;
    fetch(client, vm)
}

fn end(
    session: &Session,
    client: &Client,
    vm: &Droplet,
    action: &DropletAction,
    begun: Action,
    no_wait: bool,
) -> anyhow::Result<ExitCode> {
    if no_wait {
        return show_begun(session, vm, &begun);
    }
    let vm = ended(client, vm, action, begun)?;
    session.show(&vm, |out| show::write(out, &vm))?;
    Ok(ExitCode::SUCCESS)
}

fn begin(client: &Client, vm: &Droplet, action: &DropletAction) -> anyhow::Result<Action> {
    let path = format!("/v2/droplets/{}/actions", vm.id);
    Ok(client.post::<ActionOne>(&path, action)?.action)
}

/// The machine as it is now.
///
/// # Errors
/// Those of the request.
pub fn fetch(client: &Client, vm: &Droplet) -> anyhow::Result<Droplet> {
    let answer: DropletOne = client.get(&format!("/v2/droplets/{}", vm.id))?;
    Ok(answer.droplet)
}

fn show_begun(session: &Session, vm: &Droplet, begun: &Action) -> anyhow::Result<ExitCode> {
    session.show(begun, |out| {
        let (kind, name) = (clean(&begun.kind), clean(&vm.name));
        writeln!(
            out,
            "{kind} of vm {} `{name}` is action {}",
            vm.id, begun.id
        )
    })?;
    Ok(ExitCode::SUCCESS)
}

fn wait_for(
    client: &Client,
    vm: &Droplet,
    action: &DropletAction,
    begun: Action,
) -> anyhow::Result<()> {
    let (label, failed) = words(action);
    let hint = format!("it goes on; `abbild vm show {}` shows the machine", vm.id);
    wait::to_end(client, begun, label, failed, &hint).map(drop)
}

/// What is happening, and what it is if it does not succeed.
fn words(action: &DropletAction) -> (&'static str, &'static str) {
    match action {
        DropletAction::PowerOn => ("starting", "the machine was not started"),
        DropletAction::PowerOff => ("switching off", "the machine was not switched off"),
        DropletAction::Shutdown => ("shutting down", "the machine was not shut down"),
        DropletAction::Reboot => ("rebooting", "the machine was not rebooted"),
        DropletAction::PowerCycle => ("switching off and on", "the machine was not restarted"),
        DropletAction::Rebuild { .. } => ("making a new disk", "the machine was not rebuilt"),
        DropletAction::Snapshot { .. } => ("making an image", "no image was made"),
        DropletAction::Rescue { .. } => ("starting the rescue", "the machine is not rescued"),
        DropletAction::Forward { .. } => ("opening the port", "the port was not opened"),
        DropletAction::Unforward { .. } => ("closing the port", "the port was not closed"),
        DropletAction::PasswordReset => ("asking the guest", "the password was not changed"),
        DropletAction::Unrescue => ("ending the rescue", "the rescue has not ended"),
        _ => ("changing", "the machine was not changed"),
    }
}
