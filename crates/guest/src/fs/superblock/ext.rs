//! The superblock of ext2, ext3 and ext4, which share a magic and are told apart by their feature
//! bits, as `blkid` does.

use super::names::{padded, uuid_text};
use crate::facts::{Evidence, Filesystem};

const HAS_JOURNAL: u32 = 0x4;
const NEEDS_RECOVERY: u32 = 0x4;
const IS_64BIT: u32 = 0x80;
/// Feature bits that ext3's driver knew; any other makes a filesystem ext4.
const EXT3_INCOMPAT: u32 = 0x2 | NEEDS_RECOVERY | 0x8 | 0x10;
const EXT3_RO_COMPAT: u32 = 0x1 | 0x2 | 0x4;

/// The fields of an ext2/3/4 superblock that decide what it is and whether it is safe to open.
/// Names as in <https://docs.kernel.org/filesystems/ext4/super.html>.
#[derive(Debug, Clone)]
pub(crate) struct Superblock {
    /// Blocks in the filesystem.
    pub(crate) blocks: u64,
    /// Block size in bytes.
    pub(crate) block_size: u64,
    pub(crate) first_data_block: u32,
    pub(crate) blocks_per_group: u32,
    pub(crate) inodes: u32,
    pub(crate) inodes_per_group: u32,
    pub(crate) inode_size: u16,
    pub(crate) descriptor_size: u16,
    pub(crate) journal_inode: u32,
    compat: u32,
    incompat: u32,
    ro_compat: u32,
    label: Option<String>,
    uuid: Option<String>,
}

impl Superblock {
    /// Reads the 1024 bytes at offset 1024 of the filesystem; `None` without the magic, or with a
    /// block size that no kernel mounts.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let u16_at = |at: usize| Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
        let u32_at = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
        if u16_at(0x38)? != 0xef53 {
            return None;
        }
        let log_block_size = u32_at(0x18)?;
        // 64 KiB is the largest block that Linux mounts.
        if log_block_size > 6 {
            return None;
        }
        let incompat = u32_at(0x60)?;
        let high = if incompat & IS_64BIT != 0 {
            u32_at(0x150)?
        } else {
            0
        };
        Some(Self {
            blocks: u64::from(high) << 32 | u64::from(u32_at(0x4)?),
            block_size: 1024 << log_block_size,
            first_data_block: u32_at(0x14)?,
            blocks_per_group: u32_at(0x20)?,
            inodes: u32_at(0)?,
            inodes_per_group: u32_at(0x28)?,
            inode_size: u16_at(0x58)?,
            descriptor_size: if incompat & IS_64BIT != 0 {
                u16_at(0xfe)?
            } else {
                32
            },
            journal_inode: u32_at(0xe0)?,
            compat: u32_at(0x5c)?,
            incompat,
            ro_compat: u32_at(0x64)?,
            label: padded(bytes.get(0x78..0x88)?),
            uuid: uuid_text(bytes.get(0x68..0x78)?),
        })
    }

    /// `ext2`, `ext3` or `ext4`.
    pub(crate) fn kind(&self) -> &'static str {
        if self.incompat & !EXT3_INCOMPAT != 0 || self.ro_compat & !EXT3_RO_COMPAT != 0 {
            "ext4"
        } else if self.compat & HAS_JOURNAL != 0 {
            "ext3"
        } else {
            "ext2"
        }
    }

    /// Whether the journal holds changes that are not in place yet.
    pub(crate) fn needs_recovery(&self) -> bool {
        self.compat & HAS_JOURNAL != 0 && self.incompat & NEEDS_RECOVERY != 0
    }

    pub(super) fn to_fact(&self, origin: &Evidence) -> Filesystem {
        Filesystem {
            kind: self.kind().to_owned(),
            label: self.label.clone(),
            uuid: self.uuid.clone(),
            version: None,
            evidence: origin.further(1024),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::probe;
    use super::*;

    fn ext(compat: u32, incompat: u32, ro_compat: u32) -> Vec<u8> {
        let mut disk = vec![0; 4096];
        disk[1024 + 0x38..][..2].copy_from_slice(&0xef53_u16.to_le_bytes());
        disk[1024 + 0x5c..][..4].copy_from_slice(&compat.to_le_bytes());
        disk[1024 + 0x60..][..4].copy_from_slice(&incompat.to_le_bytes());
        disk[1024 + 0x64..][..4].copy_from_slice(&ro_compat.to_le_bytes());
        disk[1024 + 0x78..][..4].copy_from_slice(b"root");
        disk
    }

    fn kind(disk: &Vec<u8>) -> Option<String> {
        let found = probe(disk, &Evidence::offset(0));
        found.unwrap().map(|found| found.kind)
    }

    #[test]
    fn ext_versions_differ_by_features() {
        assert_eq!(kind(&ext(0, 0x2, 0x3)).as_deref(), Some("ext2"));
        assert_eq!(kind(&ext(0x4, 0x2, 0x3)).as_deref(), Some("ext3"));
        assert_eq!(kind(&ext(0x4, 0x42, 0x3)).as_deref(), Some("ext4"));
        assert_eq!(kind(&ext(0x4, 0x2, 0x43)).as_deref(), Some("ext4"));
    }

    #[test]
    fn label_and_place_are_reported() {
        let origin = Evidence::offset(1 << 20);
        let fact = probe(&ext(0x4, 0x42, 0), &origin).unwrap().unwrap();
        assert_eq!(fact.label.as_deref(), Some("root"));
        assert_eq!(fact.evidence.offset, Some((1 << 20) + 1024));
    }
}
