//! The guest's files, read without mounting anything.
//!
//! [`superblock`] names what a partition holds, [`guard`] makes an ext filesystem safe to open,
//! and [`Tree`] is the guest's view of its files: several filesystems mounted into one tree, with
//! symbolic links followed inside it only.

pub(crate) mod fat;
mod features;
mod guard;
pub(crate) mod superblock;
mod tree;

use abbild_disk::Source;
use ext4_view::{Ext4, Ext4Error};

use crate::facts::{Evidence, Fault};
use crate::text::clean;
use guard::Guard;
use superblock::Superblock;
pub(crate) use tree::{Kind, Node, Text, Tree};

/// Opens the ext2/3/4 filesystem that begins at `origin`.
///
/// # Errors
/// Why it cannot be opened, ready to be reported.
pub(crate) fn open<S: Source + 'static>(source: S, origin: &Evidence) -> Result<Ext4, Box<Fault>> {
    let fault = |code: &str, detail: String| {
        Box::new(Fault {
            code: code.to_owned(),
            detail: clean(detail),
            evidence: origin.further(1024),
        })
    };
    let mut head = [0; 1024];
    source
        .read_at(1024, &mut head)
        .map_err(|error| fault("filesystem-io", error.to_string()))?;
    let superblock = Superblock::from_bytes(&head)
        .ok_or_else(|| fault("filesystem-corrupt", "its superblock is damaged".to_owned()))?;
    guard::check(&superblock, &source).map_err(|refusal| fault(refusal.code, refusal.detail))?;
    let block_size = usize::try_from(superblock.block_size).map_err(|_| {
        fault(
            "filesystem-unsupported",
            "its blocks are too large".to_owned(),
        )
    })?;
    Ext4::load(Box::new(Guard::new(source, block_size))).map_err(|error| {
        // A journal that is not understood is no fault of the filesystem: replaying it elsewhere
        // helps.
        let code = match code_of(&error) {
            "filesystem-unsupported" if superblock.needs_recovery() => "filesystem-dirty",
            code => code,
        };
        fault(code, error.to_string())
    })
}

/// The size in bytes of the ext2/3/4 filesystem in `source`, if its superblock is whole and its journal
/// has nothing more to say of it.
pub(crate) fn size(source: &dyn Source) -> Option<u64> {
    let mut head = [0; 1024];
    source.read_at(1024, &mut head).ok()?;
    let superblock = Superblock::from_bytes(&head)?;
    let bytes = superblock.blocks.checked_mul(superblock.block_size)?;
    (!superblock.needs_recovery()).then_some(bytes)
}

/// The permanent name for a failure of the ext4 reader.
fn code_of(error: &Ext4Error) -> &'static str {
    match error {
        Ext4Error::Io(_) => "filesystem-io",
        Ext4Error::Corrupt(_) => "filesystem-corrupt",
        Ext4Error::Incompatible(_) => "filesystem-unsupported",
        Ext4Error::Encrypted => "file-encrypted",
        _ => "file-unreadable",
    }
}
