//! What a partition holds, told by the superblock that lies in it.
//!
//! One table of magic numbers ([`MAGICS`]) names everything that is not ext; ext2, ext3 and ext4
//! share a magic and are told apart by their feature bits, as `blkid` does. Offsets are those of
//! libblkid's probers (<https://github.com/util-linux/util-linux/tree/master/libblkid/src/superblocks>).

use abbild_disk::{Result, Source};

use crate::facts::{Evidence, Filesystem};
use crate::text::clean;

/// Where a filesystem kind has its magic number.
struct Magic {
    kind: &'static str,
    offset: usize,
    bytes: &'static [u8],
}

const fn magic(kind: &'static str, offset: usize, bytes: &'static [u8]) -> Magic {
    Magic {
        kind,
        offset,
        bytes,
    }
}

/// Encrypted and layered volumes come first: what lies inside them may show its own magic.
const MAGICS: &[Magic] = &[
    magic("luks", 0, b"LUKS\xba\xbe"),
    magic("bitlocker", 3, b"-FVE-FS-"),
    magic("lvm", 0x218, b"LVM2 001"),
    magic("lvm", 0x018, b"LVM2 001"),
    magic("lvm", 0x418, b"LVM2 001"),
    magic("lvm", 0x618, b"LVM2 001"),
    magic("mdraid", 0x1000, &[0xfc, 0x4e, 0x2b, 0xa9]),
    magic("mdraid", 0, &[0xfc, 0x4e, 0x2b, 0xa9]),
    magic("xfs", 0, b"XFSB"),
    magic("btrfs", 0x1_0040, b"_BHRfS_M"),
    magic("ntfs", 3, b"NTFS    "),
    magic("exfat", 3, b"EXFAT   "),
    magic("vfat", 0x52, b"FAT32   "),
    magic("vfat", 0x36, b"FAT16   "),
    magic("vfat", 0x36, b"FAT12   "),
    magic("squashfs", 0, b"hsqs"),
    magic("erofs", 0x400, &[0xe2, 0xe1, 0xf5, 0xe0]),
    magic("f2fs", 0x400, &[0x10, 0x20, 0xf5, 0xf2]),
    magic("apfs", 0x20, b"NXSB"),
    magic(
        "bcachefs",
        0x1018,
        &[
            0xc6, 0x85, 0x73, 0xf6, 0x4e, 0x1a, 0x45, 0xca, 0x82, 0x65, 0xf5, 0x7f, 0x48, 0xba,
            0x6d, 0x81,
        ],
    ),
    magic("swap", 0xff6, b"SWAPSPACE2"),
    magic("swap", 0xfff6, b"SWAPSPACE2"),
    magic("jfs", 0x8000, b"JFS1"),
    magic("iso9660", 0x8001, b"CD001"),
    magic("reiserfs", 0x1_0034, b"ReIsEr"),
    magic("ufs", 0x1_055c, &[0x19, 0x01, 0x54, 0x19]),
    magic("ufs", 0x255c, &[0x54, 0x19, 0x01, 0x00]),
];

/// All magics but that of ZFS lie in the first 68 KiB.
const PROBE_LEN: usize = 0x1_1000;

/// ZFS keeps a ring of uberblocks in the second half of its first label.
const ZFS_RING: (u64, usize) = (0x2_0000, 0x2_0000);

/// Says what the `source`, which begins at `origin`, holds.
///
/// `None` means that nothing known was recognised; that includes an empty partition.
///
/// # Errors
/// Those of reading the source.
pub(crate) fn probe(source: &impl Source, origin: &Evidence) -> Result<Option<Filesystem>> {
    let len = usize::try_from(source.len()).unwrap_or(usize::MAX);
    let mut head = vec![0; len.min(PROBE_LEN)];
    source.read_at(0, &mut head)?;
    for magic in MAGICS {
        let found = head.get(magic.offset..magic.offset + magic.bytes.len());
        if found == Some(magic.bytes) {
            let (label, uuid) = names(magic.kind, &head);
            return Ok(Some(Filesystem {
                kind: magic.kind.to_owned(),
                label,
                uuid,
                evidence: origin.further(magic.offset as u64),
            }));
        }
    }
    if let Some(superblock) = head.get(1024..2048).and_then(Superblock::from_bytes) {
        return Ok(Some(superblock.to_fact(origin)));
    }
    if source.len() >= 0x4_0000 && zfs_ring(source)? {
        return Ok(Some(Filesystem {
            kind: "zfs".to_owned(),
            label: None,
            uuid: None,
            evidence: origin.further(ZFS_RING.0),
        }));
    }
    Ok(None)
}

/// Whether nothing but zeros lies where filesystems have their superblocks.
///
/// # Errors
/// Those of reading the source.
pub(crate) fn is_blank(source: &impl Source) -> Result<bool> {
    let len = usize::try_from(source.len()).unwrap_or(usize::MAX);
    let mut head = vec![0; len.min(PROBE_LEN)];
    source.read_at(0, &mut head)?;
    Ok(head.iter().all(|&byte| byte == 0))
}

/// Label and UUID of the kinds that have them at a fixed place.
fn names(kind: &str, head: &[u8]) -> (Option<String>, Option<String>) {
    let (label, uuid) = match kind {
        "xfs" => (head.get(108..120), head.get(32..48)),
        "btrfs" => (head.get(0x1_012b..0x1_022b), head.get(0x1_0020..0x1_0030)),
        "swap" => (head.get(0x41c..0x42c), head.get(0x40c..0x41c)),
        _ => (None, None),
    };
    (label.and_then(padded), uuid.and_then(uuid_text))
}

fn zfs_ring(source: &impl Source) -> Result<bool> {
    let mut ring = vec![0; ZFS_RING.1];
    source.read_at(ZFS_RING.0, &mut ring)?;
    // "uberblock" as the number 0x00bab10c, in either byte order.
    Ok(ring.chunks(1024).any(|slot| {
        slot.starts_with(&[0x0c, 0xb1, 0xba, 0, 0, 0, 0, 0])
            || slot.starts_with(&[0, 0, 0, 0, 0, 0xba, 0xb1, 0x0c])
    }))
}

/// A name padded with zeros; `None` if empty.
fn padded(bytes: &[u8]) -> Option<String> {
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    bytes.get(..end).filter(|name| !name.is_empty()).map(clean)
}

fn uuid_text(bytes: &[u8]) -> Option<String> {
    if bytes.iter().all(|&b| b == 0) {
        return None;
    }
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    Some(format!(
        "{}-{}-{}-{}-{}",
        hex.get(..8)?,
        hex.get(8..12)?,
        hex.get(12..16)?,
        hex.get(16..20)?,
        hex.get(20..32)?
    ))
}

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

    fn to_fact(&self, origin: &Evidence) -> Filesystem {
        Filesystem {
            kind: self.kind().to_owned(),
            label: self.label.clone(),
            uuid: self.uuid.clone(),
            evidence: origin.further(1024),
        }
    }
}

#[cfg(test)]
mod tests {
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
        probe(disk, &Evidence::offset(0)).unwrap().map(|fs| fs.kind)
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
        let fact = probe(&ext(0x4, 0x42, 0), &Evidence::offset(1 << 20))
            .unwrap()
            .unwrap();
        assert_eq!(fact.label.as_deref(), Some("root"));
        assert_eq!(fact.evidence.offset, Some((1 << 20) + 1024));
    }

    #[test]
    fn every_magic_is_found_where_the_table_says() {
        for magic in MAGICS {
            let mut disk = vec![0; PROBE_LEN];
            disk[magic.offset..][..magic.bytes.len()].copy_from_slice(magic.bytes);
            assert_eq!(kind(&disk).as_deref(), Some(magic.kind), "{}", magic.offset);
        }
        let mut zfs = vec![0; 0x4_0000];
        zfs[0x2_1400..][..3].copy_from_slice(&[0x0c, 0xb1, 0xba]);
        assert_eq!(kind(&zfs).as_deref(), Some("zfs"));
    }

    #[test]
    fn short_and_empty_partitions_hold_nothing() {
        for len in [0, 1, 511, 2047, 4096] {
            assert_eq!(kind(&vec![0; len]), None);
        }
    }
}
