//! What the boot loader starts when nobody chooses: whether kernel and initrd are there, and
//! whether the kernel will find its root.
//!
//! A boot loader's paths begin at the filesystem it reads, which is the root's `/boot` where that
//! is a partition of its own, so a file is looked for under both names. A path with variables, or
//! on a device of the loader's own naming, is left alone.

use crate::facts::{BootEntry, BootFile, Device, RootArgument};
use crate::fs::Tree;
use crate::inspect::Devices;
use crate::text::clean;

use super::cmdline::CommandLine;

/// Initrds of one entry.
const MAX_INITRDS: usize = 8;

/// The entry that `line` stands in.
pub(crate) fn probe(tree: &Tree, line: &CommandLine, devices: &Devices) -> BootEntry {
    BootEntry {
        kernel: line.kernel().and_then(|path| file(tree, path)),
        initrds: line
            .initrds()
            .iter()
            .filter_map(|path| file(tree, path))
            .take(MAX_INITRDS)
            .collect(),
        root: line.value("root").map(|value| RootArgument {
            value: clean(value),
            device: devices.availability(value),
        }),
        evidence: vec![line.evidence()],
    }
}

fn file(tree: &Tree, path: &str) -> Option<BootFile> {
    if !path.starts_with('/') || path.contains(['$', '(', ')']) {
        return None;
    }
    // btrfs and ZFS put a volume's name in front, which is none of this reader's filesystems.
    let present = [path.to_owned(), format!("/boot{path}")]
        .iter()
        .any(|path| tree.exists(path));
    Some(BootFile {
        path: clean(path),
        present,
    })
}

impl BootEntry {
    /// The version of the kernel, by its file name.
    pub(crate) fn kernel_version(&self) -> Option<&str> {
        let name = self.kernel.as_ref()?.path.rsplit('/').next()?;
        super::machine::kernel_version(name)
    }

    /// Whether a machine will have the root device; [`Device::Unknown`] without `root=`.
    pub(crate) fn root_device(&self) -> Device {
        self.root
            .as_ref()
            .map_or(Device::Unknown, |root| root.device)
    }
}
