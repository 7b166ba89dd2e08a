//! From a disk to facts: partitions, what they hold, which one is the root, and its files.
//!
//! [`table`] reads the partition table, [`device`] finds the volumes in the partitions and knows the names of both,
//! [`choice`] finds the root among them, and [`read_root`] asks the probes about its files, other
//! filesystems of the image mounted as the guest would.
//!
//! The filesystem handles live and die inside [`gather`], because `ext4_view::Ext4` cannot leave
//! its thread; only facts come out.

mod choice;
mod device;
mod table;

use std::sync::Arc;

use abbild_disk::Disk;

use crate::facts::{Evidence, Facts, Fault, Init, Mount};
use crate::fs::Tree;
use crate::probe::{
    agents, boot_entry, cloud_init, cmdline, fstab, identity, machine, modules, network, os, sshd,
};
use crate::report::Context;
use crate::text::clean;
use device::BlockDevice;
pub(crate) use device::Devices;

/// Mount points whose contents matter to an inspection.
const WANTED: [&str; 6] = ["/boot", "/boot/efi", "/efi", "/usr", "/var", "/etc"];

/// Everything that can be learnt from `disk`.
pub(crate) fn gather<D: Disk + 'static>(disk: &Arc<D>, context: &Context) -> Facts {
    let mut facts = Facts {
        container: context.container.clone(),
        ..Facts::default()
    };
    facts
        .container
        .virtual_size
        .get_or_insert(disk.virtual_size());
    facts
        .container
        .format
        .get_or_insert_with(|| disk.format().name().to_owned());
    for warning in disk.warnings() {
        let warning = clean(warning);
        if !facts.container.warnings.contains(&warning) {
            facts.container.warnings.push(warning);
        }
    }
    let partitions = table::read(disk, &mut facts);
    let mut devices = Devices::read(disk, partitions, &mut facts.container.warnings);
    look_into(&mut devices, &mut facts);
    let (partitions, volumes) = devices.into_facts();
    if let Some(table) = &mut facts.partition_table {
        table.partitions = partitions;
    }
    facts.volumes = volumes;
    facts
}

fn from_disk(error: &abbild_disk::Error) -> Fault {
    Fault {
        code: error.code().to_owned(),
        detail: clean(error.message()),
        evidence: Evidence {
            offset: error.offset(),
            ..Evidence::default()
        },
    }
}

/// The root, and what its files say.
fn look_into(devices: &mut Devices, facts: &mut Facts) {
    if let Some(candidate) = choice::best(devices) {
        facts.root = choice::root(devices, candidate.index, candidate.marks, true);
        read_root(facts, devices, candidate.tree);
        return;
    }
    let suspect = choice::suspect(devices);
    facts.root = suspect
        .and_then(|index| choice::root(devices, index, vec![devices.evidence(index)?], false));
    let relevant = |index: usize| suspect.is_none_or(|suspect| suspect == index);
    for (index, device) in devices.0.iter().enumerate() {
        if relevant(index) {
            facts.faults.extend(device.faults.iter().cloned());
        }
    }
}

/// Mounts what the guest's own fstab names, where it matters here.
fn mount(facts: &mut Facts, devices: &Devices, tree: &mut Tree) {
    facts.fstab = fstab::read(tree, devices);
    for line in &facts.fstab {
        let is_done = |mount: &Mount| mount.path == line.mount_point;
        if !WANTED.contains(&line.mount_point.as_str()) || facts.mounts.iter().any(is_done) {
            continue;
        }
        let device = devices.find(&line.device);
        let device = device.and_then(|index| devices.0.get(index));
        let filesystem = match device.and_then(BlockDevice::open) {
            Some(Ok(filesystem)) => Some(filesystem),
            Some(Err(fault)) => {
                facts.faults.push(fault);
                None
            }
            None => None,
        };
        facts.mounts.push(Mount {
            path: line.mount_point.clone(),
            partition: device.map(|device| device.number),
            volume: device.and_then(|device| device.volume_name().cloned()),
            readable: filesystem.is_some(),
            evidence: line.evidence.clone(),
        });
        if let Some(filesystem) = filesystem {
            tree.mount(&line.mount_point, filesystem);
        }
    }
}

fn read_root(facts: &mut Facts, devices: &Devices, mut tree: Tree) {
    mount(facts, devices, &mut tree);
    facts.os = os::probe(&tree);
    facts.architecture = machine::architecture(&tree);
    facts.init = machine::init(&tree);
    facts.kernels = machine::kernels(&tree);
    let init: Option<Init> = facts.init.as_ref().map(|init| init.value);
    let command_line = cmdline::probe(&tree);
    facts.serial_console = command_line.as_ref().and_then(|line| line.serial_console());
    facts.boot_entry = command_line
        .as_ref()
        .map(|line| boot_entry::probe(&tree, line, devices));
    facts.drivers = modules::probe(&tree, facts.boot_entry.as_ref(), &facts.kernels);
    let os = facts.os.as_ref();
    let (cloud_init, faults) = cloud_init::probe(&tree, init, os, command_line.as_ref());
    facts.cloud_init = cloud_init;
    facts.faults.extend(faults);
    facts.agents = agents::probe(&tree, init, command_line.as_ref());
    facts.sshd = sshd::probe(&tree, init);
    facts.identity = identity::probe(&tree);
    facts.pinned_network = network::probe(&tree);
    facts.faults.extend(tree.into_faults());
}
