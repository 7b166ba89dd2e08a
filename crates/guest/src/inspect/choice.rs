//! Which filesystem is the root.

use ext4_view::Ext4;

use super::device::{BlockDevice, Devices};
use crate::facts::{Evidence, Root};
use crate::fs::Tree;
use crate::text::clean;

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

/// A device whose files can be read, and how much it looks like a root.
pub(super) struct Candidate {
    pub(super) index: usize,
    pub(super) tree: Tree,
    pub(super) marks: Vec<Evidence>,
    score: u32,
}

/// The device whose files look most like those of a root.
pub(super) fn best(devices: &mut Devices) -> Option<Candidate> {
    let mut best: Option<Candidate> = None;
    for (index, device) in devices.0.iter_mut().enumerate() {
        match device.open() {
            Some(Ok(ext4)) => {
                let candidate = judge(index, ext4);
                if candidate.score == 0 {
                    // Either there is no system on it, or what there is cannot be read.
                    device.faults.extend(candidate.tree.into_faults());
                } else if best
                    .as_ref()
                    .is_none_or(|best| candidate.score > best.score)
                {
                    best = Some(candidate);
                }
            }
            Some(Err(fault)) => device.faults.push(fault),
            None => {}
        }
    }
    best
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
        marks,
        score,
    }
}

/// The device that most likely is the root when no readable one is: the largest that can be. One
/// that was read without a fault and holds no system is none.
pub(super) fn suspect(devices: &Devices) -> Option<usize> {
    let may_be = |device: &BlockDevice| match device.kind() {
        // Only a volume that cannot be read counts among these.
        "" => device.volume_name().is_some() && !device.faults.is_empty(),
        // A group that could be opened is represented by its volumes.
        "lvm" | "ext2" | "ext3" | "ext4" => !device.faults.is_empty(),
        kind => !NEVER_ROOT.contains(&kind),
    };
    let devices = devices.0.iter().enumerate();
    devices
        .filter(|(_, device)| may_be(device))
        .max_by_key(|(_, device)| device.length())
        .map(|(index, _)| index)
}

/// Device `index` as the root.
pub(super) fn root(
    devices: &Devices,
    index: usize,
    evidence: Vec<Evidence>,
    readable: bool,
) -> Option<Root> {
    let device = devices.0.get(index)?;
    Some(Root {
        partition: device.number,
        volume: device.volume_name().cloned(),
        filesystem: match device.kind() {
            "" => "lvm".to_owned(),
            kind => kind.to_owned(),
        },
        evidence,
        readable,
    })
}
