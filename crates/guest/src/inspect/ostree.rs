//! A root that is a deployment of ostree, as on Fedora CoreOS: a directory of the filesystem.
//!
//! Layout ("Anatomy of an OSTree repository" and "Deployments" in ostree's manual): the deployments
//! of the system OS are `/ostree/deploy/OS/deploy/CHECKSUM.N`, their common `/var` is
//! `/ostree/deploy/OS/var`. The boot entries, on a filesystem of their own, say `ostree=` and a link
//! to the deployment that boots; the whole filesystem is then in `/sysroot`.

use ext4_view::Ext4;

use super::device::{BlockDevice, Devices};
use crate::facts::Evidence;
use crate::fs::{Kind, Tree};
use crate::probe::cmdline;

const DEPLOY: &str = "/ostree/deploy";

/// A deployment.
pub(super) struct Deployment {
    /// Where it lies in the filesystem.
    pub(super) path: String,
    /// Why it is this one.
    pub(super) evidence: Option<Evidence>,
}

/// The deployment that boots from `ext4`, whose files are those of `sysroot`; `None` if it has none.
pub(super) fn find(sysroot: &Tree, ext4: &Ext4, devices: &Devices) -> Option<Deployment> {
    sysroot.stat(DEPLOY)?;
    let mut tree = Tree::new(ext4.clone());
    let boot = devices.boot().and_then(|index| devices.0.get(index));
    if let Some(Ok(boot)) = boot.and_then(BlockDevice::open) {
        tree.mount("/boot", boot);
    }
    let line = cmdline::probe(&tree);
    let named = line.as_ref().and_then(|line| {
        let node = tree.stat(line.value("ostree")?)?;
        let is_deployment = node.kind == Kind::Directory && stateroot(&node.path).is_some();
        is_deployment.then(|| Deployment {
            path: node.path,
            evidence: Some(line.evidence()),
        })
    });
    named.or_else(|| first(&tree))
}

/// Without a boot entry, the first there is.
fn first(tree: &Tree) -> Option<Deployment> {
    tree.list(DEPLOY).iter().find_map(|os| {
        let directory = format!("{DEPLOY}/{os}/deploy");
        let names = tree.list(&directory);
        let nodes = names.iter().map(|name| format!("{directory}/{name}"));
        nodes
            .filter_map(|path| tree.lstat(&path))
            .find(|node| node.kind == Kind::Directory)
            .map(|node| Deployment {
                path: node.path,
                evidence: None,
            })
    })
}

/// `/ostree/deploy/OS` of a deployment's path.
fn stateroot(path: &str) -> Option<&str> {
    let (stateroot, deployment) = path.rsplit_once("/deploy/")?;
    let os = stateroot.strip_prefix(DEPLOY)?.strip_prefix('/')?;
    (!os.is_empty() && !os.contains('/') && !deployment.contains('/')).then_some(stateroot)
}

impl Deployment {
    /// Its files as the system sees them.
    pub(super) fn open(&self, ext4: Ext4) -> Tree {
        let mut tree = Tree::at(ext4.clone(), &self.path);
        if let Some(stateroot) = stateroot(&self.path) {
            tree.bind("/var", ext4.clone(), &format!("{stateroot}/var"));
        }
        tree.mount("/sysroot", ext4);
        tree
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_path_of_a_deployment_has_a_stateroot() {
        let of = |path| stateroot(path);
        assert_eq!(
            of("/ostree/deploy/fcos/deploy/ab.0"),
            Some("/ostree/deploy/fcos")
        );
        assert_eq!(of("/ostree/deploy/fcos/deploy/ab.0/usr"), None);
        assert_eq!(of("/ostree/deploy/fcos"), None);
        assert_eq!(of("/etc"), None);
    }
}
