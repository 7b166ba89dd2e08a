//! Whether something starts on boot, under the init systems that cloud images have.
//!
//! A systemd unit starts if a `.wants` or `.requires` directory of a target links to it, it is not
//! masked, and the link does not dangle (packages that were removed leave links behind). Under
//! SysV it is an `S` link of the default runlevel, under OpenRC a link in a runlevel directory,
//! under BSD a line of `rc.conf`.

use crate::facts::Evidence;
use crate::fs::{Kind, Tree};
use crate::text::clean;

use super::MAX_CONFIG;
use super::os::assignment;

/// Directories of unit files, first the one that overrides the others.
const UNIT_DIRECTORIES: [&str; 4] = [
    "/etc/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];

/// Where the unit file of `unit` lies; `None` if it is not installed or is masked.
pub(crate) fn unit_file(tree: &Tree, unit: &str) -> Option<String> {
    if mask(tree, unit).is_some() {
        return None;
    }
    UNIT_DIRECTORIES
        .iter()
        .filter_map(|directory| tree.stat(&format!("{directory}/{unit}")))
        .find(|node| node.kind == Kind::File)
        .map(|node| node.path)
}

/// The link to `/dev/null`, or the empty file, that masks `unit`.
pub(crate) fn mask(tree: &Tree, unit: &str) -> Option<Evidence> {
    mask_at(tree, &format!("/etc/systemd/system/{unit}"))
}

/// The link to `/dev/null`, or the empty file, at `path`.
pub(crate) fn mask_at(tree: &Tree, path: &str) -> Option<Evidence> {
    let node = tree.lstat(path)?;
    match node.kind {
        Kind::Symlink => {
            let target = tree.link_target(path)?;
            let masks = target == "/dev/null" || target.ends_with("../dev/null");
            masks.then(|| Evidence::path(clean(path)).saying("-> /dev/null"))
        }
        Kind::File if node.len == 0 => Some(Evidence::path(clean(path)).saying("(empty)")),
        _ => None,
    }
}

/// The link by which one of `targets` wants `unit`, if the unit can start.
pub(crate) fn wanted(tree: &Tree, unit: &str, targets: &[&str]) -> Option<Evidence> {
    let file = unit_file(tree, unit)?;
    for directory in UNIT_DIRECTORIES {
        for target in targets {
            for kind in ["wants", "requires"] {
                let path = format!("{directory}/{target}.{kind}/{unit}");
                if let Some(node) = tree.lstat(&path) {
                    let target = tree.link_target(&path).unwrap_or(file);
                    return Some(
                        Evidence::path(clean(node.path)).saying(format!("-> {}", clean(target))),
                    );
                }
            }
        }
    }
    None
}

/// Whether what listens at a socket can be started: a socket that accepts connections itself
/// starts `NAME@.service`, any other `NAME.service` (systemd.socket(5)). True for other units.
pub(crate) fn socket_leads_on(tree: &Tree, unit: &str) -> bool {
    let Some(name) = unit.strip_suffix(".socket") else {
        return true;
    };
    let accepts = unit_file(tree, unit)
        .and_then(|path| tree.read(&path, MAX_CONFIG))
        .is_some_and(|file| {
            file.lines().any(|(_, line)| {
                assignment(line).is_some_and(|(key, value)| {
                    key == "Accept" && matches!(value.as_str(), "yes" | "true" | "on" | "1")
                })
            })
        });
    let service = if accepts {
        format!("{name}@.service")
    } else {
        format!("{name}.service")
    };
    mask(tree, &service).is_none()
}

/// The `S` link that starts `service` in the default runlevel.
pub(crate) fn sysv_link(tree: &Tree, service: &str) -> Option<Evidence> {
    let runlevel = default_runlevel(tree);
    [
        format!("/etc/rc{runlevel}.d"),
        format!("/etc/rc.d/rc{runlevel}.d"),
    ]
    .iter()
    .find_map(|directory| {
        let names = tree.list(directory);
        let name = names.iter().find(|name| {
            name.strip_prefix('S')
                .and_then(|rest| rest.get(2..))
                .is_some_and(|rest| rest == service)
        })?;
        let path = format!("{directory}/{name}");
        // A dangling link starts nothing.
        tree.stat(&path).filter(|node| node.kind == Kind::File)?;
        Some(Evidence::path(clean(path)))
    })
}

/// The runlevel of inittab's `initdefault`; Debian's 2 if there is none.
fn default_runlevel(tree: &Tree) -> char {
    tree.read("/etc/inittab", MAX_CONFIG)
        .and_then(|file| {
            file.lines().find_map(|(_, line)| {
                let mut fields = line.trim().split(':');
                let level = fields.nth(1)?.chars().next()?;
                (fields.next() == Some("initdefault")).then_some(level)
            })
        })
        .filter(char::is_ascii_digit)
        .unwrap_or('2')
}

/// The link that starts `service` in one of OpenRC's runlevels.
pub(crate) fn openrc_link(tree: &Tree, service: &str) -> Option<Evidence> {
    ["default", "boot", "sysinit"].iter().find_map(|runlevel| {
        let path = format!("/etc/runlevels/{runlevel}/{service}");
        tree.stat(&path)?;
        Some(Evidence::path(clean(path)))
    })
}

/// The line of a BSD's rc.conf that sets `variable`, and whether it says yes.
pub(crate) fn rc_conf(tree: &Tree, variable: &str) -> Option<(bool, Evidence)> {
    let file = tree.read("/etc/rc.conf", MAX_CONFIG)?;
    file.lines()
        .filter_map(|(number, line)| {
            let (key, value) = assignment(line)?;
            (key == variable).then(|| {
                let yes = ["yes", "true", "on", "1"]
                    .iter()
                    .any(|word| value.eq_ignore_ascii_case(word));
                (yes, file.evidence(number, line))
            })
        })
        .last()
}
