//! The parts of the qcow2 layout that our two writers, the canonical encoder and the overlay,
//! share.
//!
//! Specification: QEMU, `docs/interop/qcow2.txt`,
//! <https://www.qemu.org/docs/master/interop/qcow2.html>. All numbers are big-endian.
//!
//! | Dec | Hex  | Name                      | here                                     |
//! |-----|------|---------------------------|------------------------------------------|
//! |   0 | 0x00 | magic                     | `QFI\xfb`                                |
//! |   4 | 0x04 | version                   | 3                                        |
//! |   8 | 0x08 | backing_file_offset       | 0, or after the header extensions        |
//! |  16 | 0x10 | backing_file_size         | length of that name in bytes             |
//! |  20 | 0x14 | cluster_bits              | 16                                       |
//! |  24 | 0x18 | size                      | virtual size in bytes                    |
//! |  32 | 0x20 | crypt_method              | 0                                        |
//! |  36 | 0x24 | l1_size                   | entries                                  |
//! |  40 | 0x28 | l1_table_offset           | bytes, cluster-aligned                   |
//! |  48 | 0x30 | refcount_table_offset     | bytes, cluster-aligned                   |
//! |  56 | 0x38 | refcount_table_clusters   |                                          |
//! |  60 | 0x3c | nb_snapshots              | 0                                        |
//! |  64 | 0x40 | snapshots_offset          | 0                                        |
//! |  72 | 0x48 | incompatible_features     | bit 3 if `compression_type` is not 0     |
//! |  80 | 0x50 | compatible_features       | 0                                        |
//! |  88 | 0x58 | autoclear_features        | 0                                        |
//! |  96 | 0x60 | refcount_order            | 4, that is 16 bits                       |
//! | 100 | 0x64 | header_length             | 112                                      |
//! | 104 | 0x68 | compression_type          | 0 zlib, 1 zstd; then 7 bytes of padding  |

use crate::{Error, ErrorKind, Result};

/// log2 of the cluster size.
pub(crate) const CLUSTER_BITS: u32 = 16;
/// Bytes in a cluster, and in an L2 table or refcount block, which are one cluster each.
pub(crate) const CLUSTER: usize = 1 << CLUSTER_BITS;
/// [`CLUSTER`] for arithmetic on offsets.
pub(crate) const CLUSTER_U64: u64 = 1 << CLUSTER_BITS;
/// Entries in an L2 table.
pub(crate) const L2_ENTRIES: u64 = CLUSTER_U64 / 8;
/// Bytes of the virtual disk that one L2 table, hence one L1 entry, maps.
pub(crate) const L2_COVERS: u64 = L2_ENTRIES * CLUSTER_U64;
/// Entries of 16 bits in a refcount block.
pub(crate) const REFCOUNTS_PER_BLOCK: u64 = CLUSTER_U64 / 2;
/// L1 and L2 entry flag: the cluster's reference count is exactly one.
pub(crate) const COPIED: u64 = 1 << 63;
/// L2 entry flag: a compressed cluster descriptor.
pub(crate) const COMPRESSED: u64 = 1 << 62;
/// QEMU refuses an L1 table above 32 MiB (`QCOW_MAX_L1_SIZE`).
const MAX_L1_ENTRIES: u64 = (32 << 20) / 8;

const HEADER_LENGTH: u32 = 112;
const INCOMPATIBLE_COMPRESSION_TYPE: u64 = 1 << 3;
const EXTENSION_BACKING_FORMAT: u32 = 0xe279_2aca;
const EXTENSION_END: u32 = 0;

/// How compressed clusters are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CompressionType {
    Zlib,
    Zstd,
}

/// What varies between the headers that we write.
#[derive(Debug)]
pub(crate) struct Header<'a> {
    pub(crate) virtual_size: u64,
    pub(crate) l1_entries: u64,
    pub(crate) l1_offset: u64,
    pub(crate) refcount_table_offset: u64,
    pub(crate) refcount_table_clusters: u64,
    pub(crate) compression: CompressionType,
    /// Name and format of the backing file.
    pub(crate) backing: Option<(&'a str, &'a str)>,
}

impl Header<'_> {
    /// The header with its extensions and the backing file name; shorter than a cluster.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut extensions = Vec::new();
        if let Some((_, format)) = self.backing {
            push_u32(&mut extensions, EXTENSION_BACKING_FORMAT);
            push_u32(&mut extensions, narrow(format.len() as u64)?);
            extensions.extend_from_slice(format.as_bytes());
            extensions.resize(extensions.len().next_multiple_of(8), 0);
        }
        push_u32(&mut extensions, EXTENSION_END);
        push_u32(&mut extensions, 0);
        let name = self.backing.map_or("", |(name, _)| name);
        let name_offset = match self.backing {
            Some(_) => u64::from(HEADER_LENGTH) + extensions.len() as u64,
            None => 0,
        };

        let mut bytes = b"QFI\xfb".to_vec();
        push_u32(&mut bytes, 3);
        push_u64(&mut bytes, name_offset);
        push_u32(&mut bytes, narrow(name.len() as u64)?);
        push_u32(&mut bytes, CLUSTER_BITS);
        push_u64(&mut bytes, self.virtual_size);
        push_u32(&mut bytes, 0);
        push_u32(&mut bytes, narrow(self.l1_entries)?);
        push_u64(&mut bytes, self.l1_offset);
        push_u64(&mut bytes, self.refcount_table_offset);
        push_u32(&mut bytes, narrow(self.refcount_table_clusters)?);
        push_u32(&mut bytes, 0);
        push_u64(&mut bytes, 0);
        push_u64(
            &mut bytes,
            match self.compression {
                CompressionType::Zlib => 0,
                CompressionType::Zstd => INCOMPATIBLE_COMPRESSION_TYPE,
            },
        );
        push_u64(&mut bytes, 0);
        push_u64(&mut bytes, 0);
        push_u32(&mut bytes, 4);
        push_u32(&mut bytes, HEADER_LENGTH);
        bytes.push(match self.compression {
            CompressionType::Zlib => 0,
            CompressionType::Zstd => 1,
        });
        bytes.resize(HEADER_LENGTH as usize, 0);
        bytes.extend_from_slice(&extensions);
        bytes.extend_from_slice(name.as_bytes());
        Ok(bytes)
    }
}

/// L1 entries that a disk of `virtual_size` bytes needs.
///
/// # Errors
/// [`ErrorKind::Refused`] with code `virtual-size` if QEMU could not open such a disk.
pub(crate) fn l1_entries(virtual_size: u64) -> Result<u64> {
    let entries = virtual_size.div_ceil(L2_COVERS);
    if entries > MAX_L1_ENTRIES {
        return Err(Error::new(
            ErrorKind::Refused,
            "virtual-size",
            format!(
                "a virtual size of {virtual_size} bytes is above the {} bytes that a qcow2 with \
                 64 KiB clusters can have",
                MAX_L1_ENTRIES * L2_COVERS
            ),
        ));
    }
    Ok(entries)
}

/// Refcount blocks, and clusters of the table that lists them, for a file in which `clusters`
/// clusters are used by everything else.
pub(crate) fn refcount_clusters(clusters: u64) -> (u64, u64) {
    let (mut blocks, mut table) = (1, 1);
    loop {
        // Both only grow, and by less each time, so this ends after a few rounds.
        let needed_blocks = (clusters + blocks + table).div_ceil(REFCOUNTS_PER_BLOCK);
        let needed_table = needed_blocks.div_ceil(CLUSTER_U64 / 8);
        if (needed_blocks, needed_table) == (blocks, table) {
            return (blocks, table);
        }
        (blocks, table) = (needed_blocks.max(blocks), needed_table.max(table));
    }
}

pub(crate) fn push_u32(bytes: &mut Vec<u8>, value: u32) {
    bytes.extend_from_slice(&value.to_be_bytes());
}

pub(crate) fn push_u64(bytes: &mut Vec<u8>, value: u64) {
    bytes.extend_from_slice(&value.to_be_bytes());
}

/// A header field of 32 bits.
fn narrow(value: u64) -> Result<u32> {
    u32::try_from(value).map_err(|_| {
        Error::new(
            ErrorKind::Refused,
            "too-large",
            format!("{value} does not fit into a 32-bit qcow2 header field"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refcount_clusters_cover_themselves() {
        for clusters in [
            1,
            2,
            32765,
            32766,
            32767,
            32768,
            32769,
            1 << 28,
            (1 << 28) + 8191,
        ] {
            let (blocks, table) = refcount_clusters(clusters);
            assert!(blocks * REFCOUNTS_PER_BLOCK >= clusters + blocks + table);
            assert!(table * 8192 >= blocks);
            assert!(blocks == 1 || (blocks - 1) * REFCOUNTS_PER_BLOCK < clusters + blocks + table);
        }
    }

    #[test]
    fn l1_entries_are_bounded() {
        assert_eq!(l1_entries(1).unwrap(), 1);
        assert_eq!(l1_entries(L2_COVERS).unwrap(), 1);
        assert_eq!(l1_entries(L2_COVERS + 1).unwrap(), 2);
        assert_eq!(l1_entries(u64::MAX).unwrap_err().code(), "virtual-size");
    }
}
