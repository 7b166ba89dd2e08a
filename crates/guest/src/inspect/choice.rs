//! Which filesystem is the root, where several could be.
//!
//! A disk usually has one system. Where it has more, the one that the boot loader starts by default
//! is taken; where each has a boot loader of its own, or none says, then the one on the partition
//! that is marked for booting or has a root's type, and at last the one that looks most complete.
//! The report says which of these it was.

use super::candidate::Candidate;
use super::device::{BlockDevice, Devices};
use crate::facts::{Evidence, Fact, Reason, Root, System};
use crate::fs::Tree;
use crate::probe::cmdline;

/// What speaks for a candidate, if anything does.
type Test<'a> = &'a dyn Fn(&Candidate) -> Option<Evidence>;

/// Systems compared; each keeps its filesystem open.
const MAX_CANDIDATES: usize = 8;

/// Kinds that hold no operating system, whatever is in them.
const NEVER_ROOT: [&str; 4] = ["swap", "vfat", "iso9660", "exfat"];

/// The devices whose files are those of a root, their own mounts in place. What another one mounts
/// is a part of that.
pub(super) fn candidates(devices: &mut Devices) -> Vec<Candidate> {
    let mut candidates: Vec<Candidate> = Vec::new();
    for index in 0..devices.0.len() {
        if devices.has_usr_type(index) {
            continue;
        }
        let faults = match devices.0.get(index).and_then(BlockDevice::open) {
            Some(Ok(ext4)) => {
                let candidate = Candidate::new(index, ext4, devices);
                if candidate.score == 0 {
                    // Either there is no system on it, or what there is cannot be read.
                    candidate.tree.into_faults()
                } else {
                    candidates.push(candidate);
                    Vec::new()
                }
            }
            Some(Err(fault)) => vec![*fault],
            None => Vec::new(),
        };
        if let Some(device) = devices.0.get_mut(index) {
            device.faults.extend(faults);
        }
        if candidates.len() > MAX_CANDIDATES {
            let scores = candidates.iter().enumerate();
            let weakest = scores.min_by_key(|(_, candidate)| candidate.score);
            if let Some(position) = weakest.map(|(position, _)| position) {
                candidates.remove(position);
            }
        }
    }
    for candidate in &mut candidates {
        candidate.mount(devices);
    }
    let parts: Vec<(usize, usize)> = candidates
        .iter()
        .flat_map(|whole| whole.mounted.iter().map(|&part| (whole.index, part)))
        .collect();
    candidates.retain(|candidate| {
        let is_part = |&(whole, part): &(usize, usize)| {
            // Two that mount each other are two systems.
            part == candidate.index && whole != part && !parts.contains(&(part, whole))
        };
        !parts.iter().any(is_part)
    });
    candidates
}

/// The position among `candidates` of the one that boots, and why if there are several.
pub(super) fn choose(
    candidates: &[Candidate],
    devices: &Devices,
) -> Option<(usize, Option<Fact<Reason>>)> {
    if candidates.len() < 2 {
        return candidates.first().map(|_| (0, None));
    }
    let mut left: Vec<usize> = (0..candidates.len()).collect();
    let named = named_by_loaders(candidates, devices);
    let of = |position: &usize| candidates.get(*position);
    let loader = |candidate: &Candidate| {
        let mut named = named.iter().filter(|(index, _)| *index == candidate.index);
        named.next().map(|(_, evidence)| evidence.clone())
    };
    let flag = |candidate: &Candidate| {
        let mut parts = std::iter::once(&candidate.index).chain(&candidate.mounted);
        parts
            .find(|&&index| devices.is_bootable(index))
            .and_then(|&index| devices.evidence(index))
    };
    let kind = |candidate: &Candidate| {
        let is_root = devices.has_root_type(candidate.index);
        is_root.then(|| devices.evidence(candidate.index)).flatten()
    };
    let best = candidates.iter().map(|candidate| candidate.score).max();
    let files = |candidate: &Candidate| {
        let first = candidate.marks.first();
        first.filter(|_| Some(candidate.score) == best).cloned()
    };
    let tests: [(Reason, Test); 4] = [
        (Reason::BootLoader, &loader),
        (Reason::BootFlag, &flag),
        (Reason::PartitionType, &kind),
        (Reason::Files, &files),
    ];
    for (reason, test) in tests {
        let passed: Vec<(usize, Evidence)> = left
            .iter()
            .filter_map(|position| Some((*position, of(position).and_then(test)?)))
            .collect();
        match passed.as_slice() {
            [] => {}
            [(position, evidence)] => {
                return Some((*position, Some(Fact::new(reason, evidence.clone()))));
            }
            several => left = several.iter().map(|(position, _)| *position).collect(),
        }
    }
    let first = *left.first()?;
    let evidence = devices.evidence(of(&first)?.index)?;
    Some((first, Some(Fact::new(Reason::Order, evidence))))
}

/// The devices that the default entries of all boot loaders have as `root=`: those that the
/// candidates see, and those on a boot partition that no candidate mounts.
fn named_by_loaders(candidates: &[Candidate], devices: &Devices) -> Vec<(usize, Evidence)> {
    let named = |tree: &Tree| {
        let line = cmdline::probe(tree)?;
        Some((devices.find(line.value("root")?)?, line.evidence()))
    };
    let known = |index: usize| {
        candidates
            .iter()
            .any(|candidate| candidate.index == index || candidate.mounted.contains(&index))
    };
    let mut found: Vec<(usize, Evidence)> = Vec::new();
    for (index, device) in devices.0.iter().enumerate() {
        if known(index) {
            continue;
        }
        if let Some(Ok(boot)) = device.open() {
            // Seen from a root, its files are in `/boot`.
            let mut tree = Tree::new(boot.clone());
            tree.mount("/boot", boot);
            found.extend(named(&tree));
        }
    }
    found.extend(
        candidates
            .iter()
            .filter_map(|candidate| named(&candidate.tree)),
    );
    found
}

/// The device that most likely is the root when no readable one is, and why if several can be. One
/// that was read without a fault and holds no system is none.
pub(super) fn suspect(devices: &Devices) -> Option<(usize, Option<Fact<Reason>>)> {
    let may_be = |device: &BlockDevice| match device.kind() {
        // Only a volume that cannot be read counts among these.
        "" => device.volume_name().is_some() && !device.faults.is_empty(),
        // A group that could be opened is represented by its volumes.
        "lvm" | "ext2" | "ext3" | "ext4" => !device.faults.is_empty(),
        kind => !NEVER_ROOT.contains(&kind),
    };
    let all = devices.0.iter().enumerate();
    let suspects: Vec<usize> = all
        .filter(|(_, device)| may_be(device))
        .map(|(index, _)| index)
        .collect();
    if let [only] = suspects.as_slice() {
        return Some((*only, None));
    }
    let reason = |index: usize, reason, evidence: Option<Evidence>| {
        Some((index, evidence.map(|evidence| Fact::new(reason, evidence))))
    };
    let named = named_by_loaders(&[], devices);
    let mut named = named.into_iter();
    if let Some((index, evidence)) = named.find(|(index, _)| suspects.contains(index)) {
        return reason(index, Reason::BootLoader, Some(evidence));
    }
    let mut typed = suspects.iter().copied();
    if let Some(index) = typed.find(|&index| devices.has_root_type(index)) {
        return reason(index, Reason::PartitionType, devices.evidence(index));
    }
    let length = |index: &usize| devices.0.get(*index).map(BlockDevice::length);
    let largest = suspects.into_iter().max_by_key(length)?;
    reason(largest, Reason::Size, devices.evidence(largest))
}

/// Device `index` as the root.
pub(super) fn root(
    devices: &Devices,
    index: usize,
    evidence: Vec<Evidence>,
    reason: Option<Fact<Reason>>,
) -> Option<Root> {
    let device = devices.0.get(index)?;
    Some(Root {
        partition: device.number,
        volume: device.volume_name().cloned(),
        deployment: None,
        filesystem: device.kind_of_root().to_owned(),
        evidence,
        readable: false,
        reason,
    })
}

/// Device `index` as a system that does not boot.
pub(super) fn system(
    devices: &Devices,
    index: usize,
    name: Option<String>,
    evidence: Vec<Evidence>,
) -> Option<System> {
    let device = devices.0.get(index)?;
    Some(System {
        partition: device.number,
        volume: device.volume_name().cloned(),
        filesystem: device.kind_of_root().to_owned(),
        name,
        boots: false,
        evidence,
    })
}
