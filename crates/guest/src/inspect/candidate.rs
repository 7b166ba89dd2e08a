//! A filesystem that may be a root, with its guest's other filesystems mounted into it.

use ext4_view::Ext4;

use super::device::{BlockDevice, Devices};
use super::ostree;
use crate::facts::{Evidence, Fault, FstabLine, Mount, Os};
use crate::fs::Tree;
use crate::probe::{fstab, os};
use crate::text::clean;

/// Mount points whose contents matter to an inspection.
const WANTED: [&str; 6] = ["/boot", "/boot/efi", "/efi", "/usr", "/var", "/etc"];

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

/// A device whose files can be read, and how much it looks like a root.
pub(super) struct Candidate {
    /// Which device.
    pub(super) index: usize,
    pub(super) tree: Tree,
    /// What was found of a root's files.
    pub(super) marks: Vec<Evidence>,
    /// 0 if nothing was.
    pub(super) score: u32,
    pub(super) fstab: Vec<FstabLine>,
    pub(super) mounts: Vec<Mount>,
    /// The devices mounted.
    pub(super) mounted: Vec<usize>,
    /// Why some could not be.
    pub(super) faults: Vec<Fault>,
    /// The system on it.
    pub(super) os: Option<Os>,
    /// Where its root lies, if that is an ostree deployment.
    pub(super) deployment: Option<String>,
}

impl Candidate {
    /// Device `index`, whose files are those of `ext4`.
    pub(super) fn new(index: usize, ext4: Ext4, devices: &Devices) -> Self {
        let mut tree = Tree::new(ext4.clone());
        let mut score = 0;
        let mut marks = Vec::new();
        let deployment = ostree::find(&tree, &ext4, devices);
        if let Some(found) = &deployment {
            tree = found.open(ext4);
            marks.extend(found.evidence.clone());
        } else if let Some(usr) = devices.usr_of(index) {
            // Before its first boot there is nothing else on such a root.
            score += 1;
            marks.extend(devices.evidence(usr));
        }
        for (path, weight) in ROOT_MARKS {
            // The name alone counts: a link of the root may lead into a separate /usr.
            if let Some(node) = tree.lstat(path) {
                score += weight;
                marks.push(Evidence::path(clean(node.path)));
            }
        }
        Self {
            index,
            tree,
            marks,
            score,
            fstab: Vec::new(),
            mounts: Vec::new(),
            mounted: Vec::new(),
            faults: Vec::new(),
            os: None,
            deployment: deployment.map(|found| found.path),
        }
    }

    /// What is mounted without a line in fstab: the `/usr` of Flatcar and its OEM partition, and the
    /// `/boot` of an ostree deployment (`coreos-boot-mount-generator`).
    fn implied(&self, devices: &Devices) -> Vec<(&'static str, usize)> {
        let mut implied = Vec::new();
        if self.deployment.is_some() {
            implied.extend(devices.boot().map(|boot| ("/boot", boot)));
        }
        if let Some(usr) = devices.usr_of(self.index) {
            implied.push(("/usr", usr));
            implied.extend(devices.find("PARTLABEL=OEM").map(|oem| ("/oem", oem)));
        }
        implied
    }

    /// Mounts device `index` on `path`, or notes why not.
    fn mount_at(
        &mut self,
        path: &str,
        index: Option<usize>,
        devices: &Devices,
        evidence: Evidence,
    ) {
        let device = index.and_then(|index| devices.0.get(index));
        let opened = device.and_then(BlockDevice::open);
        self.mounts.push(Mount {
            path: path.to_owned(),
            partition: device.map(|device| device.number),
            volume: device.and_then(|device| device.volume_name().cloned()),
            readable: matches!(opened, Some(Ok(_))),
            evidence,
        });
        self.mounted.extend(index);
        match opened {
            Some(Ok(filesystem)) => self.tree.mount(path, filesystem),
            Some(Err(fault)) => self.faults.push(*fault),
            None => {}
        }
    }

    /// Mounts what the guest's own fstab names, where it matters here, and names the system.
    pub(super) fn mount(&mut self, devices: &Devices) {
        self.fstab = fstab::read(&self.tree, devices);
        for line in self.fstab.clone() {
            let done = |mount: &Mount| mount.path == line.mount_point;
            if !WANTED.contains(&line.mount_point.as_str()) || self.mounts.iter().any(done) {
                continue;
            }
            let index = devices.find(&line.device);
            self.mount_at(&line.mount_point, index, devices, line.evidence);
        }
        for (path, index) in self.implied(devices) {
            if !self.mounts.iter().any(|mount| mount.path == path) {
                let evidence = devices.evidence(index).unwrap_or_default();
                self.mount_at(path, Some(index), devices, evidence);
            }
        }
        self.os = os::probe(&self.tree);
    }
}
