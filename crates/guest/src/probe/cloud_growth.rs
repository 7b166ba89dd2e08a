//! Whether the root filesystem grows to the size of the machine's disk.
//!
//! Two steps: the partition, then the filesystem in it. cloud-init's modules `growpart` and
//! `resizefs` do both, with programs that are not part of it (cloudinit/config/cc_growpart.py and
//! cc_resizefs.py). An initramfs or systemd-repart may have done the first already.

use crate::facts::{Evidence, Growth, Init};
use crate::fs::Tree;
use crate::text::clean;

use super::cloud_config::Configuration;
use super::units;

/// What is there to grow the disk with.
pub(crate) fn probe(tree: &Tree, init: Option<Init>, configuration: &Configuration) -> Growth {
    let first = |paths: &[&str]| {
        let node = tree.first_file(paths)?;
        Some(Evidence::path(clean(node.path)))
    };
    let bsd = init == Some(Init::Bsd);
    let (tool, resize): (&[&str], &[&str]) = if bsd {
        (
            &["/sbin/gpart", "/usr/local/bin/growpart"],
            &["/sbin/growfs"],
        )
    } else {
        (
            &["/usr/bin/growpart", "/usr/sbin/growpart", "/bin/growpart"],
            &[
                "/usr/sbin/resize2fs",
                "/sbin/resize2fs",
                "/usr/bin/resize2fs",
            ],
        )
    };
    Growth {
        tool: first(tool),
        early: if bsd {
            units::rc_conf(tree, "growfs_enable")
                .filter(|(yes, _)| *yes)
                .map(|(_, line)| line)
        } else {
            first(&[
                "/usr/share/initramfs-tools/scripts/local-bottom/growroot",
                "/usr/lib/dracut/modules.d/50growroot/module-setup.sh",
            ])
            .or_else(|| repart(tree))
        },
        resize: first(resize),
        modules: configuration.list("cloud_init_modules"),
        mode: configuration.text("growpart.mode"),
        resize_rootfs: configuration.text("resize_rootfs"),
    }
}

/// A definition of systemd-repart (repart.d(5)); without one it does nothing.
fn repart(tree: &Tree) -> Option<Evidence> {
    ["/etc/repart.d", "/usr/lib/repart.d"]
        .iter()
        .find_map(|directory| {
            let names = tree.list(directory);
            let name = names.iter().find(|name| name.ends_with(".conf"))?;
            Some(Evidence::path(clean(format!("{directory}/{name}"))))
        })
}
