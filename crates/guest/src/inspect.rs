//! From a disk to facts: partitions, what they hold, which one is the root, and its files.
//!
//! The filesystem handles live and die inside [`gather`], because `ext4_view::Ext4` cannot leave
//! its thread; only facts come out.

use std::sync::Arc;

use abbild_disk::{Disk, Range, partition};
use ext4_view::Ext4;

use crate::facts::{
    Evidence, Facts, Fault, Filesystem, Init, Mount, Partition, PartitionTable, Root,
};
use crate::fs::{self, Tree, superblock};
use crate::probe::{
    agents, boot_entry, cloud_init, cmdline, firmware, fstab, identity, machine, modules, network,
    os, sshd,
};
use crate::report::Context;
use crate::text::clean;

/// Partitions looked into. More exist only to waste time.
const MAX_PARTITIONS: usize = 64;

/// Files that mark a root filesystem, and how strongly.
const ROOT_MARKS: [(&str, u32); 7] = [
    ("/etc/os-release", 4),
    ("/usr/lib/os-release", 4),
    ("/sbin/init", 2),
    ("/usr/lib/systemd/systemd", 2),
    ("/etc/debian_version", 2),
    ("/etc/fstab", 1),
    ("/etc/passwd", 1),
];

/// Kinds that hold no operating system, whatever is in them.
const NEVER_ROOT: [&str; 4] = ["swap", "vfat", "iso9660", "exfat"];

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
    let partitions = read_table(disk, &mut facts);
    look_into(disk, &mut facts, partitions);
    facts
}

/// The partition table; a filesystem without one counts as partition 0.
fn read_table<D: Disk>(disk: &Arc<D>, facts: &mut Facts) -> Vec<Partition> {
    match partition::read(disk) {
        Ok(table) => {
            facts.boot = firmware::probe(disk, &table);
            for warning in &table.warnings {
                facts.container.warnings.push(clean(warning));
            }
            let partitions = table
                .partitions
                .iter()
                .filter(|partition| partition.role != partition::Role::Extended)
                .take(MAX_PARTITIONS)
                .map(to_fact)
                .collect();
            facts.partition_table = Some(PartitionTable {
                kind: table.scheme.to_string().to_lowercase(),
                partitions: Vec::new(),
            });
            partitions
        }
        Err(error) => {
            if error.kind() != abbild_disk::ErrorKind::NotRecognised {
                facts.faults.push(from_disk(&error));
            }
            vec![Partition {
                number: 0,
                offset: 0,
                length: disk.virtual_size(),
                type_code: String::new(),
                name: None,
                uuid: None,
                filesystem: None,
            }]
        }
    }
}

fn to_fact(partition: &partition::Partition) -> Partition {
    let some = |text: &str| Some(clean(text)).filter(|text| !text.is_empty());
    Partition {
        number: partition.number,
        offset: partition.start,
        length: partition.len,
        type_code: partition.kind.to_string(),
        name: some(&partition.name),
        uuid: some(&partition.part_uuid),
        filesystem: None,
    }
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

/// A partition whose files can be read, and how much it looks like a root.
struct Candidate {
    index: usize,
    tree: Tree,
    score: u32,
    marks: Vec<Evidence>,
}

fn look_into<D: Disk + 'static>(disk: &Arc<D>, facts: &mut Facts, mut partitions: Vec<Partition>) {
    let mut best: Option<Candidate> = None;
    let mut faults: Vec<(usize, Fault)> = Vec::new();
    for (index, partition) in partitions.iter_mut().enumerate() {
        let source = match Range::new(Arc::clone(disk), partition.offset, partition.length) {
            Ok(source) => source,
            Err(error) => {
                faults.push((index, from_disk(&error)));
                continue;
            }
        };
        match superblock::probe(&source, partition.offset) {
            Ok(found) => partition.filesystem = found,
            Err(error) => faults.push((index, from_disk(&error))),
        }
        if !is_ext(partition.filesystem.as_ref()) {
            continue;
        }
        match fs::open(source, partition.offset) {
            Ok(ext4) => {
                let candidate = judge(index, ext4);
                if candidate.score == 0 {
                    // Either there is no system on it, or what there is cannot be read.
                    faults.extend(candidate.tree.into_faults().into_iter().map(|f| (index, f)));
                } else if best
                    .as_ref()
                    .is_none_or(|best| candidate.score > best.score)
                {
                    best = Some(candidate);
                }
            }
            Err(fault) => faults.push((index, fault)),
        }
    }
    match best {
        Some(candidate) => {
            facts.root = root_fact(&partitions, candidate.index, candidate.marks, true);
            read_root(disk, facts, &partitions, candidate.tree);
        }
        None => {
            let suspect = suspect(&partitions, &faults);
            facts.root = suspect.and_then(|index| {
                let evidence = partitions.get(index)?.filesystem.as_ref()?.evidence.clone();
                root_fact(&partitions, index, vec![evidence], false)
            });
            let relevant = |index: usize| suspect.is_none_or(|suspect| suspect == index);
            let faults = faults.into_iter().filter(|(index, _)| relevant(*index));
            facts.faults.extend(faults.map(|(_, fault)| fault));
        }
    }
    let table = facts.partition_table.get_or_insert_with(|| PartitionTable {
        kind: "none".to_owned(),
        partitions: Vec::new(),
    });
    table.partitions = partitions;
}

fn is_ext(filesystem: Option<&Filesystem>) -> bool {
    filesystem.is_some_and(|filesystem| filesystem.kind.starts_with("ext"))
}

fn judge(index: usize, ext4: Ext4) -> Candidate {
    let tree = Tree::new(ext4);
    let mut score = 0;
    let mut marks = Vec::new();
    for (path, weight) in ROOT_MARKS {
        // The name alone counts: a link of the root may lead into a separate /usr.
        if let Some(node) = tree.lstat(path) {
            score += weight;
            marks.push(Evidence::path(clean(node.path)));
        }
    }
    Candidate {
        index,
        tree,
        score,
        marks,
    }
}

/// The partition that most likely is the root when no readable one is: the largest that can be.
/// One that was read without a fault and holds no system is none.
fn suspect(partitions: &[Partition], faults: &[(usize, Fault)]) -> Option<usize> {
    partitions
        .iter()
        .enumerate()
        .filter(|(index, partition)| {
            let filesystem = partition.filesystem.as_ref();
            filesystem.is_some_and(|filesystem| !NEVER_ROOT.contains(&filesystem.kind.as_str()))
                && (!is_ext(filesystem) || faults.iter().any(|(faulty, _)| faulty == index))
        })
        .max_by_key(|(_, partition)| partition.length)
        .map(|(index, _)| index)
}

fn root_fact(
    partitions: &[Partition],
    index: usize,
    evidence: Vec<Evidence>,
    readable: bool,
) -> Option<Root> {
    let partition = partitions.get(index)?;
    Some(Root {
        partition: partition.number,
        filesystem: partition.filesystem.as_ref()?.kind.clone(),
        evidence,
        readable,
    })
}

fn read_root<D: Disk + 'static>(
    disk: &Arc<D>,
    facts: &mut Facts,
    partitions: &[Partition],
    mut tree: Tree,
) {
    for entry in fstab::read(&tree, partitions) {
        let filesystem = partitions
            .iter()
            .find(|partition| Some(partition.number) == entry.partition)
            .filter(|partition| is_ext(partition.filesystem.as_ref()))
            .and_then(|partition| {
                let source =
                    Range::new(Arc::clone(disk), partition.offset, partition.length).ok()?;
                match fs::open(source, partition.offset) {
                    Ok(filesystem) => Some(filesystem),
                    Err(fault) => {
                        facts.faults.push(fault);
                        None
                    }
                }
            });
        facts.mounts.push(Mount {
            path: entry.path.clone(),
            partition: entry.partition,
            readable: filesystem.is_some(),
            evidence: entry.evidence,
        });
        if let Some(filesystem) = filesystem {
            tree.mount(&entry.path, filesystem);
        }
    }
    facts.os = os::probe(&tree);
    facts.architecture = machine::architecture(&tree);
    facts.init = machine::init(&tree);
    facts.kernels = machine::kernels(&tree);
    let init: Option<Init> = facts.init.as_ref().map(|init| init.value);
    let command_line = cmdline::probe(&tree);
    facts.serial_console = command_line.as_ref().and_then(|line| line.serial_console());
    facts.boot_entry = command_line
        .as_ref()
        .map(|line| boot_entry::probe(&tree, line, partitions));
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
