//! From a disk to facts: partitions, what they hold, which one is the root, and its files.
//!
//! [`table`] reads the partition table. [`device`] finds the volumes in the partitions and knows the
//! names of both. [`candidate`] puts the filesystems of one system together, [`choice`] says which
//! system boots, [`ostree`] finds a root that is no filesystem's own root, and [`content`] names what is none of ours. [`read_root`] asks the probes about the
//! files of the one that boots.
//!
//! The filesystem handles live and die inside [`gather`], because `ext4_view::Ext4` cannot leave
//! its thread; only facts come out.

mod candidate;
mod choice;
mod content;
mod device;
mod ostree;
mod table;

use std::sync::Arc;

use abbild_disk::Disk;

use crate::facts::{Evidence, Facts, Fault, Init, System};
use crate::fs::{self, Tree};
use crate::probe::{
    agents, boot_entry, cloud_init, cmdline, identity, machine, modules, network, sshd,
};
use crate::report::Context;
use crate::text::clean;
use candidate::Candidate;
pub(crate) use device::Devices;

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
    look_into(disk.as_ref(), &mut devices, &mut facts);
    let (partitions, volumes) = devices.into_facts();
    if let Some(table) = &mut facts.partition_table {
        table.partitions = partitions;
    }
    facts.volumes = volumes;
    facts
}

/// The root of the system that boots from a disk.
pub(crate) struct BootRoot {
    /// Its files.
    pub(crate) tree: Tree,
    /// Its size in bytes by its superblock, and where that is; none if the journal may still change it.
    pub(crate) size: Option<(u64, Evidence)>,
}

/// The root of the system that boots from `disk`, if it can be read.
pub(crate) fn root_of<D: Disk + 'static>(disk: &Arc<D>) -> Option<BootRoot> {
    let mut facts = Facts::default();
    let partitions = table::read(disk, &mut facts);
    let mut devices = Devices::read(disk, partitions, &mut facts.container.warnings);
    let mut candidates = choice::candidates(&mut devices);
    let (position, _) = choice::choose(&candidates, &devices)?;
    let root = candidates.swap_remove(position);
    let source = devices.0.get(root.index).and_then(|device| device.source());
    let size = source.and_then(|source| fs::size(source.as_ref()));
    Some(BootRoot {
        tree: root.tree,
        size: size.zip(devices.evidence(root.index)),
    })
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
fn look_into<D: Disk>(disk: &D, devices: &mut Devices, facts: &mut Facts) {
    let mut candidates = choice::candidates(devices);
    let chosen = choice::choose(&candidates, devices);
    list_systems(&candidates, devices, facts);
    if let Some((position, reason)) = chosen {
        let candidate = candidates.swap_remove(position);
        // The others' filesystems are no longer needed.
        drop(candidates);
        let marks = candidate.marks.clone();
        facts.root = choice::root(devices, candidate.index, marks, reason);
        if let Some(root) = &mut facts.root {
            root.readable = true;
            root.deployment = candidate.deployment.clone();
        }
        read_root(facts, devices, candidate);
    } else {
        let suspect = choice::suspect(devices);
        let index = suspect.as_ref().map(|(index, _)| *index);
        facts.root = suspect.and_then(|(index, reason)| {
            choice::root(devices, index, vec![devices.evidence(index)?], reason)
        });
        let relevant = |other: usize| index.is_none_or(|index| index == other);
        for (index, device) in devices.0.iter().enumerate() {
            if relevant(index) {
                facts.faults.extend(device.faults.iter().cloned());
            }
        }
        facts.content = content::probe(disk, devices);
    }
    mark_what_boots(facts);
}

/// Marks the root among the systems, and lists it if it was not known for one.
fn mark_what_boots(facts: &mut Facts) {
    let Some(root) = &facts.root else {
        return;
    };
    let is_root =
        |system: &&mut System| system.partition == root.partition && system.volume == root.volume;
    match facts.systems.iter_mut().find(is_root) {
        Some(system) => system.boots = true,
        None => facts.systems.push(System {
            partition: root.partition,
            volume: root.volume.clone(),
            filesystem: root.filesystem.clone(),
            name: None,
            boots: true,
            evidence: root.evidence.clone(),
        }),
    }
}

/// All systems on the disk: those that were read, and those that show themselves from outside.
fn list_systems(candidates: &[Candidate], devices: &Devices, facts: &mut Facts) {
    let readable = candidates.iter().filter_map(|candidate| {
        let name = candidate.os.as_ref().and_then(|os| os.name.clone());
        choice::system(devices, candidate.index, name, candidate.marks.clone())
    });
    facts.systems.extend(readable);
    let windows = content::windows(devices);
    let typed = (0..devices.0.len()).filter(|&index| {
        let is_listed = candidates.iter().any(|candidate| candidate.index == index);
        devices.has_root_type(index) && !is_listed && devices.is_known(index)
    });
    for index in windows.into_iter().chain(typed) {
        let name = (windows == Some(index)).then(|| "Windows".to_owned());
        let evidence = devices.evidence(index).into_iter().collect();
        facts
            .systems
            .extend(choice::system(devices, index, name, evidence));
    }
}

fn read_root(facts: &mut Facts, devices: &Devices, candidate: Candidate) {
    facts.os = candidate.os;
    facts.fstab = candidate.fstab;
    facts.mounts = candidate.mounts;
    facts.faults.extend(candidate.faults);
    let tree = candidate.tree;
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
