//! Processor architecture, init system and kernels.

use crate::facts::{Evidence, Fact, Init};
use crate::fs::{Kind, Tree};
use crate::text::clean;

/// Programs that every system of the kind has, in the order in which they are tried.
const INIT_PROGRAMS: [&str; 5] = [
    "/sbin/init",
    "/usr/lib/systemd/systemd",
    "/lib/systemd/systemd",
    "/init",
    "/bin/busybox",
];

/// The architecture, from the ELF header of the first program that the kernel starts.
///
/// Numbers from the ELF specification, `e_machine`; names as `uname -m` prints them.
pub(crate) fn architecture(tree: &Tree) -> Option<Fact<String>> {
    let node = tree
        .first_file(&INIT_PROGRAMS)
        .or_else(|| tree.first_file(&["/bin/sh", "/usr/bin/env"]))?;
    let header = tree.head(&node, 20);
    if !header.starts_with(b"\x7fELF") {
        return None;
    }
    let (class, order) = (*header.get(4)?, *header.get(5)?);
    let machine: [u8; 2] = *header.get(18..)?.first_chunk()?;
    let (machine, little) = match order {
        1 => (u16::from_le_bytes(machine), true),
        _ => (u16::from_be_bytes(machine), false),
    };
    let name = match (machine, class, little) {
        (62, 2, _) => "x86_64",
        (62, _, _) => "x32",
        (3, _, _) => "i686",
        (183, _, _) => "aarch64",
        (40, _, _) => "armv7l",
        (243, 2, _) => "riscv64",
        (21, _, true) => "ppc64le",
        (21, _, false) => "ppc64",
        (22, _, _) => "s390x",
        (258, _, _) => "loongarch64",
        (8, 2, true) => "mips64",
        _ => return None,
    };
    let evidence = Evidence::path(clean(node.path)).saying(format!("ELF e_machine {machine}"));
    Some(Fact::new(name.to_owned(), evidence))
}

/// The init system.
pub(crate) fn init(tree: &Tree) -> Option<Fact<Init>> {
    let seen = |init, path: String| Some(Fact::new(init, Evidence::path(clean(path))));
    let program = tree.first_file(&INIT_PROGRAMS[..4]);
    if let Some(program) = &program
        && program.path.ends_with("/systemd")
    {
        return seen(Init::Systemd, program.path.clone());
    }
    if let Some(openrc) =
        tree.first_file(&["/sbin/openrc", "/usr/sbin/openrc", "/sbin/openrc-init"])
    {
        return seen(Init::OpenRc, openrc.path);
    }
    if let Some(systemd) = tree.first_file(&INIT_PROGRAMS[1..3])
        && program.is_none()
    {
        return seen(Init::Systemd, systemd.path);
    }
    if let Some(rc) = tree.first_file(&["/etc/rc.subr"]) {
        return seen(Init::Bsd, rc.path);
    }
    if let Some(inittab) = tree.first_file(&["/etc/inittab"]) {
        return seen(Init::SysV, inittab.path);
    }
    seen(Init::Other, program?.path)
}

/// The version in the name of a kernel's file.
pub(crate) fn kernel_version(name: &str) -> Option<&str> {
    ["vmlinuz-", "vmlinux-", "Image-", "kernel-"]
        .iter()
        .find_map(|prefix| name.strip_prefix(prefix))
}

/// Kernels in `/boot`, by version, in name order; if there are none, those that lie with their
/// modules, as Fedora and ostree have them.
pub(crate) fn kernels(tree: &Tree) -> Vec<Fact<String>> {
    const MAX_KERNELS: usize = 32;
    const MODULES: &str = "/usr/lib/modules";
    let kernel = |version: &str, path: String| {
        let node = tree.stat(&path).filter(|node| node.kind == Kind::File)?;
        Some(Fact::new(clean(version), Evidence::path(clean(node.path))))
    };
    let in_boot = tree.list("/boot").into_iter().filter_map(|name| {
        let version = kernel_version(&name)?;
        kernel(version, format!("/boot/{name}"))
    });
    let in_boot: Vec<_> = in_boot.take(MAX_KERNELS).collect();
    if !in_boot.is_empty() {
        return in_boot;
    }
    let versions = tree.list(MODULES).into_iter().take(MAX_KERNELS);
    versions
        .filter_map(|version| kernel(&version, format!("{MODULES}/{version}/vmlinuz")))
        .collect()
}
