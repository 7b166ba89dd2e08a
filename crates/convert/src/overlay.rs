//! The writable layer of a virtual machine: an empty qcow2 on top of a canonical image.
//!
//! Written here rather than by `qemu-img create`, so that making one takes a few kilobytes and no
//! process, whatever the size of the disk.

use std::fs::File;
use std::os::unix::fs::FileExt;

use crate::qcow2::{
    self, CLUSTER_U64, CompressionType, Header, REFCOUNTS_PER_BLOCK, refcount_clusters,
};
use crate::{Error, ErrorKind, Result};

/// QEMU's limit for the name of a backing file, in bytes (qcow2 specification, header).
const MAX_NAME: usize = 1023;

/// The canonical image below an overlay.
#[derive(Debug, Clone, Copy)]
pub struct Backing<'a> {
    /// Path that QEMU opens: absolute, or relative to the directory of the overlay.
    pub file_name: &'a str,
    /// Virtual size of the image in bytes.
    pub virtual_size: u64,
}

/// Writes into the emptied file `out` a qcow2 without any data of its own, whose virtual size is
/// `virtual_size` bytes and whose content is that of `backing`, followed by zeros.
///
/// The file is not flushed to disk: an empty overlay can be made again.
///
/// # Errors
/// [`ErrorKind::Refused`] with code `virtual-size` if the size is below the backing image's, not a
/// multiple of 512, or beyond what a qcow2 can have; with code `backing-name` if QEMU could not
/// open the name as a plain file; those of writing.
pub fn create_overlay(out: &File, backing: &Backing<'_>, virtual_size: u64) -> Result<()> {
    check_name(backing.file_name)?;
    check_size(backing.virtual_size, virtual_size)?;
    let l1_entries = qcow2::l1_entries(virtual_size)?;
    let l1_clusters = (l1_entries * 8).div_ceil(CLUSTER_U64);
    // Header, refcount table, refcount blocks, L1 table.
    let (blocks, table_clusters) = refcount_clusters(1 + l1_clusters);
    let table_offset = CLUSTER_U64;
    let blocks_offset = table_offset + table_clusters * CLUSTER_U64;
    let l1_offset = blocks_offset + blocks * CLUSTER_U64;
    let used_clusters = 1 + table_clusters + blocks + l1_clusters;

    let header = Header {
        virtual_size,
        l1_entries,
        l1_offset,
        refcount_table_offset: table_offset,
        refcount_table_clusters: table_clusters,
        compression: CompressionType::Zlib,
        backing: Some((backing.file_name, "qcow2")),
    };
    let table: Vec<u8> = (0..blocks)
        .flat_map(|block| (blocks_offset + block * CLUSTER_U64).to_be_bytes())
        .collect();
    let counts = 1u16.to_be_bytes().repeat(used_clusters as usize);
    debug_assert!(used_clusters <= blocks * REFCOUNTS_PER_BLOCK);

    let doing = |e| Error::io("writing the overlay", e);
    out.set_len(0).map_err(doing)?;
    // The L1 table is all zeros, hence a hole.
    out.set_len(used_clusters * CLUSTER_U64).map_err(doing)?;
    out.write_all_at(&counts, blocks_offset).map_err(doing)?;
    out.write_all_at(&table, table_offset).map_err(doing)?;
    out.write_all_at(&header.to_bytes()?, 0).map_err(doing)
}

fn check_size(backing: u64, wanted: u64) -> Result<()> {
    let refused = |message| Err(Error::new(ErrorKind::Refused, "virtual-size", message));
    if wanted < backing {
        return refused(format!(
            "a disk of {wanted} bytes is too small for an image of {backing} bytes"
        ));
    }
    if !wanted.is_multiple_of(512) {
        return refused(format!(
            "a disk of {wanted} bytes does not end at a sector of 512 bytes"
        ));
    }
    Ok(())
}

/// QEMU would read `nbd://host` or `json:{…}` as something else than a file.
fn check_name(name: &str) -> Result<()> {
    let why = if name.is_empty() {
        "is empty"
    } else if name.len() > MAX_NAME {
        "is longer than 1023 bytes"
    } else if name.contains('\0') {
        "contains a NUL byte"
    } else if name
        .split('/')
        .next()
        .is_some_and(|first| first.contains(':'))
    {
        "has a colon in its first part, which QEMU takes for a protocol"
    } else {
        return Ok(());
    };
    Err(Error::new(
        ErrorKind::Refused,
        "backing-name",
        format!(
            "the name `{}` of the backing file {why}",
            name.escape_default()
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(name: &str, backing: u64, wanted: u64) -> &'static str {
        let out = tempfile::tempfile().unwrap();
        let backing = Backing {
            file_name: name,
            virtual_size: backing,
        };
        create_overlay(&out, &backing, wanted).unwrap_err().code()
    }

    #[test]
    fn names_that_qemu_would_misread_are_refused() {
        for name in ["", "nbd:host:1", "json:{}", "a:b/c", "a\0b"] {
            assert_eq!(refusal(name, 512, 512), "backing-name", "{name}");
        }
        assert_eq!(refusal(&"x".repeat(1024), 512, 512), "backing-name");
    }

    #[test]
    fn sizes_that_cannot_work_are_refused() {
        assert_eq!(refusal("/a", 1024, 512), "virtual-size");
        assert_eq!(refusal("/a", 512, 1000), "virtual-size");
        assert_eq!(refusal("/a", 512, u64::MAX - 511), "virtual-size");
    }
}
