//! `abbild vm show`.

use std::io::{self, Write};
use std::process::ExitCode;

use abbild_api::{Devices, Droplet, Firmware};

use crate::args::VmRef;
use crate::names;
use crate::print::{clean, fields};
use crate::session::Session;

use super::{address, forward, ssh_command, status};

/// Prints one machine.
///
/// # Errors
/// If there is no such machine; those of the request and of printing.
pub fn run(session: &Session, args: &VmRef) -> anyhow::Result<ExitCode> {
    let vm = names::vm(&session.client()?, &args.vm)?;
    session.show(&vm, |out| write(out, &vm))?;
    Ok(ExitCode::SUCCESS)
}

fn addresses(vm: &Droplet) -> String {
    let v6 = vm.networks.v6.iter().map(|v6| clean(&v6.ip_address));
    let v4 = address(vm).map(|address| address.to_string());
    let all: Vec<String> = v4.into_iter().chain(v6).collect();
    all.join(", ")
}

/// Writes everything about `vm` that a customer may want to know.
///
/// # Errors
/// Those of writing.
pub fn write(out: &mut dyn Write, vm: &Droplet) -> io::Result<()> {
    let extra = vm.extra.as_ref();
    let acceleration = extra.map(|extra| match &extra.acceleration_note {
        Some(note) => format!("{} ({note})", extra.acceleration),
        None => extra.acceleration.clone(),
    });
    let hardware = extra.and_then(|extra| extra.hardware.as_ref());
    let firmware = hardware.map(|hardware| {
        let name = match hardware.firmware {
            Firmware::Bios => "BIOS",
            Firmware::Uefi => "UEFI",
        };
        format!("{name} ({})", hardware.firmware_note)
    });
    let devices = hardware.map(|hardware| {
        let names = match hardware.devices {
            Devices::Virtio => "virtio",
            Devices::Emulated => "SATA and e1000",
        };
        format!("{names} ({})", hardware.devices_note)
    });
    let rescue = extra.and_then(|extra| extra.rescue.as_ref());
    let rescue = rescue.map(|rescue| match rescue.image {
        Some(image) => format!("image {image} runs, with the machine's disk as a further one"),
        None => "the rescue system runs, with the machine's disk".to_owned(),
    });
    let ports: Vec<String> = forward::forwards(vm).iter().map(forward::short).collect();
    let lines = [
        ("id", vm.id.to_string()),
        ("name", vm.name.clone()),
        ("state", status(vm).to_owned()),
        ("rescue", rescue.unwrap_or_default()),
        (
            "reason",
            extra
                .and_then(|extra| extra.reason.clone())
                .unwrap_or_default(),
        ),
        ("image", format!("{} `{}`", vm.image.id, vm.image.name)),
        ("region", vm.region.slug.clone()),
        ("size", vm.size_slug.clone()),
        ("tags", vm.tags.join(", ")),
        ("created", vm.created_at.clone()),
        ("acceleration", acceleration.unwrap_or_default()),
        ("firmware", firmware.unwrap_or_default()),
        ("devices", devices.unwrap_or_default()),
        ("address", addresses(vm)),
        ("ssh", ssh_command(vm).unwrap_or_default()),
        ("ports", ports.join(", ")),
    ];
    fields(out, &lines)?;
    let warnings = extra.map_or(&[][..], |extra| &extra.warnings);
    for warning in warnings {
        writeln!(out, "image warning: {}", clean(warning))?;
    }
    Ok(())
}
