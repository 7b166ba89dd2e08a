//! Whether the kernel that boots has drivers for a virtio disk and network card.
//!
//! They are built in (`modules.builtin`) or lie as modules under `/lib/modules/VERSION/kernel`,
//! where their directories are the same everywhere because they are the kernel's own. The initrd,
//! which has to hold them, is not opened: it is large. Its maker's configuration tells whether it
//! holds drivers for any machine or only for the one it was made on (initramfs.conf(5),
//! dracut.conf(5)).

use crate::facts::{BootEntry, Drivers, Evidence, Fact};
use crate::fs::Tree;
use crate::text::clean;

use super::MAX_CONFIG;
use super::os::assignment;

/// Drivers, and where they lie.
const DRIVERS: [(&str, &str); 3] = [
    ("virtio_pci", "kernel/drivers/virtio/virtio_pci.ko"),
    ("virtio_blk", "kernel/drivers/block/virtio_blk.ko"),
    ("virtio_net", "kernel/drivers/net/virtio_net.ko"),
];
/// Modules may be compressed.
const SUFFIXES: [&str; 4] = ["", ".xz", ".zst", ".gz"];

/// The drivers of the default entry's kernel, or of the last in `/boot` if the entry names none.
/// `None` if that kernel's modules are not in the image.
pub(crate) fn probe(
    tree: &Tree,
    entry: Option<&BootEntry>,
    kernels: &[Fact<String>],
) -> Option<Drivers> {
    let version = entry
        .and_then(BootEntry::kernel_version)
        .or_else(|| kernels.last().map(|kernel| kernel.value.as_str()))?;
    if version.contains('/') || version == ".." {
        return None;
    }
    let home = ["/usr/lib/modules", "/lib/modules"]
        .iter()
        .map(|base| format!("{base}/{version}"))
        .find(|home| tree.exists(home))?;
    let builtin = tree.read(&format!("{home}/modules.builtin"), MAX_CONFIG);
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for (name, path) in DRIVERS {
        let built_in = builtin.as_ref().and_then(|file| {
            file.lines()
                .find(|(_, line)| *line == path)
                .map(|(number, line)| file.evidence(number, line))
        });
        let module = || {
            SUFFIXES
                .iter()
                .map(|suffix| format!("{home}/{path}{suffix}"))
                .find(|path| tree.exists(path))
                .map(|path| Evidence::path(clean(path)))
        };
        match built_in.or_else(module) {
            Some(evidence) => found.push(Fact::new(name.to_owned(), evidence)),
            None => missing.push(name.to_owned()),
        }
    }
    Some(Drivers {
        kernel: clean(version),
        initrd_of_one_machine: initrd_of_one_machine(tree, &found),
        found,
        missing,
    })
}

/// The line by which the initrd holds only the drivers of the machine that made it, unless the
/// disk's is built in or asked for by name.
fn initrd_of_one_machine(tree: &Tree, found: &[Fact<String>]) -> Option<Evidence> {
    let disk = found.iter().find(|driver| driver.value == "virtio_blk")?;
    let built_in = disk.evidence.iter().any(|evidence| evidence.line.is_some());
    if built_in {
        return None;
    }
    initramfs_tools(tree).or_else(|| dracut(tree))
}

fn initramfs_tools(tree: &Tree) -> Option<Evidence> {
    let named = tree
        .read("/etc/initramfs-tools/modules", MAX_CONFIG)
        .is_some_and(|file| file.lines().any(|(_, line)| line.trim() == "virtio_blk"));
    let last = setting(
        tree,
        &["/etc/initramfs-tools/initramfs.conf"],
        &["/etc/initramfs-tools/conf.d"],
        "MODULES",
    )?;
    (last.value == "dep" && !named).then(|| last.evidence.into_iter().next())?
}

/// Only an explicit setting counts: without one, whether dracut made an initrd for one machine
/// depends on how it was called.
fn dracut(tree: &Tree) -> Option<Evidence> {
    let directories = ["/usr/lib/dracut/dracut.conf.d", "/etc/dracut.conf.d"];
    let files = ["/etc/dracut.conf"];
    let hostonly = setting(tree, &files, &directories, "hostonly")?;
    let added = setting(tree, &files, &directories, "add_drivers");
    let named = added.is_some_and(|drivers| drivers.value.contains("virtio_blk"));
    (hostonly.value == "yes" && !named).then(|| hostonly.evidence.into_iter().next())?
}

/// The last value that the files, and those of the directories in name order, give `key`.
fn setting(tree: &Tree, files: &[&str], directories: &[&str], key: &str) -> Option<Fact<String>> {
    const MAX_FILES: usize = 32;
    let dropins = directories.iter().flat_map(|directory| {
        tree.list(directory)
            .into_iter()
            .take(MAX_FILES)
            .map(move |name| format!("{directory}/{name}"))
    });
    files
        .iter()
        .map(|&path| path.to_owned())
        .chain(dropins)
        .filter_map(|path| tree.read(&path, MAX_CONFIG))
        .filter_map(|file| {
            file.lines()
                .filter_map(|(number, line)| {
                    // dracut also appends: `add_drivers+=" virtio_blk "`.
                    let line = line.replace("+=", "=");
                    let (name, value) = assignment(&line)?;
                    (name == key).then(|| Fact::new(value, file.evidence(number, &line)))
                })
                .last()
        })
        .last()
}
