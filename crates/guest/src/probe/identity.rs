//! What belongs to one machine or one person and is left in an image: the machine id, SSH host
//! keys, private keys, and public keys that would let somebody in.
//!
//! Every machine made from the image has the same of these, which everybody with the image knows.
//! Contents of private files never become facts, only their paths.

use crate::facts::{Evidence, Fact, Identity};
use crate::fs::{Kind, Text, Tree};
use crate::text::clean;

use super::MAX_CONFIG;

/// Home directories looked into.
const MAX_HOMES: usize = 32;
/// Keys reported of each sort.
const MAX_KEYS: usize = 16;
/// What machine-id(5) prescribes for images whose machines shall have an id of their own.
const UNINITIALIZED: &str = "uninitialized";

/// Everything of that sort.
pub(crate) fn probe(tree: &Tree) -> Identity {
    let homes = homes(tree);
    Identity {
        machine_id: machine_id(tree),
        host_keys: host_keys(tree),
        authorized_keys: authorized_keys(tree, &homes),
        private_keys: private_keys(tree, &homes),
        root_password: root_password(tree),
    }
}

/// `/etc/machine-id` with an id in it, and D-Bus' copy if that is no link to it.
fn machine_id(tree: &Tree) -> Vec<Evidence> {
    let holds_an_id = |file: &Text| {
        let id = file.text.trim();
        !id.is_empty() && id != UNINITIALIZED
    };
    ["/etc/machine-id", "/var/lib/dbus/machine-id"]
        .iter()
        .filter(|path| tree.lstat(path).is_some_and(|node| node.kind == Kind::File))
        .filter_map(|path| tree.read(path, MAX_CONFIG))
        .filter(holds_an_id)
        .map(|file| Evidence::path(clean(&file.path)).saying(clean(&file.text)))
        .collect()
}

/// OpenSSH's and dropbear's private host keys.
fn host_keys(tree: &Tree) -> Vec<Evidence> {
    let openssh = tree
        .list("/etc/ssh")
        .into_iter()
        .filter(|name| name.starts_with("ssh_host_") && name.ends_with("_key"))
        .map(|name| format!("/etc/ssh/{name}"));
    let dropbear = tree
        .list("/etc/dropbear")
        .into_iter()
        .filter(|name| name.starts_with("dropbear_") && name.ends_with("_host_key"))
        .map(|name| format!("/etc/dropbear/{name}"));
    openssh
        .chain(dropbear)
        .filter_map(|path| filled(tree, &path))
        .take(MAX_KEYS)
        .collect()
}

/// The file `path`, if there is something in it.
fn filled(tree: &Tree, path: &str) -> Option<Evidence> {
    let node = tree.stat(path)?;
    (node.kind == Kind::File && node.len > 0).then(|| Evidence::path(clean(node.path)))
}

/// root's home directory and those below `/home`.
fn homes(tree: &Tree) -> Vec<String> {
    let users = tree.list("/home").into_iter();
    std::iter::once("/root".to_owned())
        .chain(users.map(|name| format!("/home/{name}")))
        .take(MAX_HOMES)
        .collect()
}

/// The lines of authorized_keys (sshd(8)) that hold a key.
fn authorized_keys(tree: &Tree, homes: &[String]) -> Vec<Evidence> {
    let files = homes.iter().flat_map(|home| {
        ["authorized_keys", "authorized_keys2"].map(|name| format!("{home}/.ssh/{name}"))
    });
    let mut found = Vec::new();
    for file in files.filter_map(|path| tree.read(&path, MAX_CONFIG)) {
        let keys = file.lines().filter(|(_, line)| {
            let line = line.trim();
            !line.is_empty() && !line.starts_with('#')
        });
        found.extend(keys.map(|(number, line)| file.evidence(number, line)));
    }
    found.truncate(MAX_KEYS);
    found
}

/// Private keys of OpenSSH and GnuPG in home directories.
fn private_keys(tree: &Tree, homes: &[String]) -> Vec<Evidence> {
    let mut found = Vec::new();
    for home in homes {
        let ssh = tree
            .list(&format!("{home}/.ssh"))
            .into_iter()
            .filter(|name| name.starts_with("id_") && !name.ends_with(".pub"))
            .map(|name| format!("{home}/.ssh/{name}"));
        let gnupg = tree
            .list(&format!("{home}/.gnupg/private-keys-v1.d"))
            .into_iter()
            .filter(|name| name.ends_with(".key"))
            .map(|name| format!("{home}/.gnupg/private-keys-v1.d/{name}"));
        found.extend(ssh.chain(gnupg).filter_map(|path| filled(tree, &path)));
    }
    found.truncate(MAX_KEYS);
    found
}

/// Whether root can log in with a password: shadow(5) has a hash, or nothing at all, in the second
/// field of root's line. The hash itself is not shown.
fn root_password(tree: &Tree) -> Option<Fact<bool>> {
    ["/etc/shadow", "/etc/master.passwd"]
        .iter()
        .filter_map(|path| tree.read(path, MAX_CONFIG))
        .find_map(|file| {
            file.lines().find_map(|(number, line)| {
                let hash = line.strip_prefix("root:")?.split(':').next()?;
                let locked = hash.starts_with(['!', '*']);
                let evidence = Evidence::path(clean(&file.path)).at_line(number);
                Some(Fact::new(!locked, evidence))
            })
        })
}
