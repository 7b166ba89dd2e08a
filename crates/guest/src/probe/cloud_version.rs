//! Which cloud-init is installed, from what it says itself or what a package manager says of it.
//!
//! The program's own Python package is asked first, because hand-made images install it with pip;
//! then Debian's and Alpine's package databases. A database entry alone proves nothing: Debian
//! keeps one for a removed package whose configuration is still there.

use std::cmp::Ordering;

use crate::facts::{Evidence, Fact};
use crate::fs::{Kind, Node, Tree};
use crate::text::clean;

use super::MAX_CONFIG;

/// cloud-init's Python package, and the version it states.
pub(crate) struct Package {
    pub(crate) installed: Evidence,
    pub(crate) version: Option<Fact<String>>,
}

/// dpkg's and apk's databases are read up to this size; that of a desktop has some 8 MiB.
const MAX_DATABASE: u64 = 32 << 20;
/// Longest line of a package database that is looked at.
const MAX_LINE: usize = 4096;

const PROGRAMS: [&str; 3] = [
    "/usr/bin/cloud-init",
    "/usr/local/bin/cloud-init",
    "/opt/cloud-init/bin/cloud-init",
];

/// Finds cloud-init.
pub(crate) fn probe(tree: &Tree) -> Option<Package> {
    let modules: Vec<String> = module_directories(tree);
    let own = modules.iter().find_map(|directory| {
        let node = tree.stat(&format!("{directory}/cloudinit/version.py"))?;
        Some((directory, node))
    });
    if let Some((directory, node)) = own {
        let version = stated_version(tree, &node)
            .or_else(|| metadata_version(tree, directory, "cloud-init"))
            .or_else(|| database_version(tree, "cloud-init"));
        return Some(Package {
            installed: Evidence::path(clean(node.path)),
            version,
        });
    }
    let program = tree.first_file(&PROGRAMS)?;
    let version = modules
        .iter()
        .find_map(|directory| metadata_version(tree, directory, "cloud-init"))
        .or_else(|| database_version(tree, "cloud-init"));
    Some(Package {
        installed: Evidence::path(clean(program.path)),
        version,
    })
}

/// Directories in which Python looks for packages.
pub(crate) fn module_directories(tree: &Tree) -> Vec<String> {
    let mut directories = vec!["/usr/lib/python3/dist-packages".to_owned()];
    for base in ["/usr/lib", "/usr/local/lib", "/usr/lib64", "/usr/pkg/lib"] {
        let pythons = tree.list(base);
        for python in pythons.iter().filter(|name| name.starts_with("python")) {
            for kind in ["dist-packages", "site-packages"] {
                directories.push(format!("{base}/{python}/{kind}"));
            }
        }
    }
    directories.retain(|directory| tree.exists(directory));
    directories.truncate(32);
    directories
}

/// The constants in `cloudinit/version.py`. A distribution's build puts its package version in
/// the place of the placeholder `@@PACKAGED_VERSION@@`.
fn stated_version(tree: &Tree, node: &Node) -> Option<Fact<String>> {
    let file = tree.read(&node.path, MAX_CONFIG)?;
    ["_PACKAGED_VERSION", "__VERSION__"]
        .iter()
        .find_map(|name| {
            file.lines().find_map(|(number, line)| {
                let value = line.strip_prefix(name)?.trim_start().strip_prefix('=')?;
                let value = value.trim().trim_matches(['"', '\'']);
                let stated = value.starts_with(|c: char| c.is_ascii_digit());
                stated.then(|| Fact::new(clean(value), file.evidence(number, line)))
            })
        })
}

/// `Version:` in the metadata that Python's installers leave beside `project`. They write the
/// dashes of its name as underscores, but did not always.
pub(crate) fn metadata_version(
    tree: &Tree,
    directory: &str,
    project: &str,
) -> Option<Fact<String>> {
    let name = tree.list(directory).into_iter().find(|name| {
        let rest = name
            .get(..project.len())
            .filter(|stem| stem.replace('_', "-") == project)
            .and_then(|_| name.get(project.len()..));
        rest.is_some_and(|rest| {
            rest.starts_with('-') && (rest.ends_with(".dist-info") || rest.ends_with(".egg-info"))
        })
    })?;
    let path = format!("{directory}/{name}");
    let file = match tree.stat(&path)?.kind {
        Kind::Directory => ["METADATA", "PKG-INFO"]
            .iter()
            .find_map(|file| tree.read(&format!("{path}/{file}"), MAX_CONFIG)),
        _ => tree.read(&path, MAX_CONFIG),
    }?;
    file.lines().find_map(|(number, line)| {
        let version = line.strip_prefix("Version:")?;
        Some(Fact::new(clean(version), file.evidence(number, line)))
    })
}

/// What dpkg or apk say of `package`, if it is installed.
pub(crate) fn database_version(tree: &Tree, package: &str) -> Option<Fact<String>> {
    database(
        tree,
        "/var/lib/dpkg/status",
        &format!("Package: {package}"),
        "Version:",
        |block| {
            block
                .iter()
                .any(|line| line.starts_with("Status:") && line.ends_with(" installed"))
        },
    )
    .or_else(|| {
        let first = format!("P:{package}");
        database(tree, "/lib/apk/db/installed", &first, "V:", |_| true)
    })
}

/// Searches a database whose entries are blocks of lines, and stops at the entry.
fn database(
    tree: &Tree,
    path: &str,
    first: &str,
    version: &str,
    accept: impl Fn(&[String]) -> bool,
) -> Option<Fact<String>> {
    let node = tree
        .stat(path)
        .filter(|node| node.kind == Kind::File && node.len <= MAX_DATABASE)?;
    let mut found = None;
    let mut block: Vec<String> = Vec::new();
    let mut number = 0_u32;
    let mut start = 0_u32;
    lines(tree, &node, |line| {
        number = number.saturating_add(1);
        if !line.is_empty() {
            if block.is_empty() {
                start = number;
            }
            // Only the head of an entry is needed; a block without end must not pile up.
            if block.len() < 64 {
                block.push(String::from_utf8_lossy(line).into_owned());
            }
            return true;
        }
        if block.iter().any(|line| line == first) && accept(&block) {
            found = (start..).zip(&block).find_map(|(number, line)| {
                let value = line.strip_prefix(version)?;
                let evidence = Evidence::path(clean(&node.path))
                    .at_line(number)
                    .saying(clean(line));
                Some(Fact::new(clean(value), evidence))
            });
            return false;
        }
        block.clear();
        true
    });
    found
}

/// Hands over the lines of a file, cut to [`MAX_LINE`], and an empty one at the end.
fn lines(tree: &Tree, node: &Node, mut consume: impl FnMut(&[u8]) -> bool) {
    let mut line = Vec::new();
    let mut more = true;
    tree.stream(node, |chunk| {
        for part in chunk.split_inclusive(|&byte| byte == b'\n') {
            let (text, ends) = match part.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (part, false),
            };
            let room = text.len().min(MAX_LINE.saturating_sub(line.len()));
            line.extend_from_slice(text.get(..room).unwrap_or(text));
            if ends {
                more = consume(&line);
                line.clear();
                if !more {
                    return false;
                }
            }
        }
        true
    });
    if more && (line.is_empty() || consume(&line)) {
        consume(&[]);
    }
}

/// Compares versions as dpkg does ("Version: sorting" in deb-version(7)), without the Debian
/// revision: digits by value, `~` before the end, letters before everything else.
pub(crate) fn compare(left: &str, right: &str) -> Ordering {
    let (mut left, mut right) = (upstream(left).as_bytes(), upstream(right).as_bytes());
    loop {
        let (left_text, left_rest) = split(left, |byte| !byte.is_ascii_digit());
        let (right_text, right_rest) = split(right, |byte| !byte.is_ascii_digit());
        for at in 0..left_text.len().max(right_text.len()) {
            let order = weight(left_text.get(at)).cmp(&weight(right_text.get(at)));
            if order.is_ne() {
                return order;
            }
        }
        let (left_digits, left_rest) = split(left_rest, u8::is_ascii_digit);
        let (right_digits, right_rest) = split(right_rest, u8::is_ascii_digit);
        let order = number(left_digits).cmp(&number(right_digits));
        if order.is_ne() || (left_rest.is_empty() && right_rest.is_empty()) {
            return order;
        }
        (left, right) = (left_rest, right_rest);
    }
}

/// Without epoch and Debian revision.
fn upstream(version: &str) -> &str {
    let version = version.split_once(':').map_or(version, |(_, rest)| rest);
    version
        .rsplit_once('-')
        .map_or(version, |(upstream, _)| upstream)
}

fn split(bytes: &[u8], test: impl Fn(&u8) -> bool) -> (&[u8], &[u8]) {
    bytes.split_at(
        bytes
            .iter()
            .position(|byte| !test(byte))
            .unwrap_or(bytes.len()),
    )
}

fn weight(byte: Option<&u8>) -> u16 {
    match byte {
        Some(b'~') => 0,
        None => 1,
        Some(letter) if letter.is_ascii_alphabetic() => u16::from(*letter) + 2,
        Some(other) => u16::from(*other) + 300,
    }
}

/// Digits by value: without leading zeros, longer is larger.
fn number(digits: &[u8]) -> (usize, &[u8]) {
    let (_, digits) = split(digits, |&byte| byte == b'0');
    (digits.len(), digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_in_dpkg() {
        let ascending = [
            "0.6.3",
            "0.7.5-0ubuntu1",
            "0.7.6",
            "0.7.7~bzr1212",
            "0.7.7",
            "0.7.7-1",
            "0.7.9",
            "0.7.10",
            "0.7.10a",
            "18.2",
            "20.4.1-2+deb11u1",
            "22.4.2-1+deb12u3",
            "24.3.1",
        ];
        for pair in ascending.windows(2) {
            assert!(compare(pair[0], pair[1]).is_le(), "{pair:?}");
        }
        assert_eq!(compare("0.7.7", "0.7.7-1ubuntu2"), Ordering::Equal);
        assert_eq!(compare("1:0.7.07", "0.7.7"), Ordering::Equal);
        assert_eq!(compare("0.7.7", "0.7.7~rc1"), Ordering::Greater);
        assert_eq!(compare("0.7.7", "0.7.6.9"), Ordering::Greater);
        assert_eq!(compare("", ""), Ordering::Equal);
    }
}
