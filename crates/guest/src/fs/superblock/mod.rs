//! What a partition holds, told by the superblock that lies in it.
//!
//! One table of magic numbers ([`MAGICS`]) names everything but ext ([`ext`]), Linux' RAID ([`raid`],
//! whose superblock may lie at the end) and ZFS. What is layered around a filesystem is asked for
//! first, since the filesystem's own magic may show through. Offsets and order are those of libblkid
//! (<https://github.com/util-linux/util-linux/tree/master/libblkid/src/superblocks>) unless a line
//! names another source.

mod ext;
mod names;
mod raid;

use abbild_disk::{Result, Source};

use crate::facts::{Evidence, Filesystem};
pub(crate) use ext::Superblock;

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
    // LUKS1 On-Disk Format Specification 1.2.3, and LUKS2's, section 2.1.
    magic("luks", 0, b"LUKS\xba\xbe"),
    // Windows 7 and later, and BitLocker To Go with its FAT in front: libyal's
    // "BitLocker Drive Encryption (BDE) format".
    magic("bitlocker", 3, b"-FVE-FS-"),
    magic(
        "bitlocker",
        0x1a8,
        &[
            0x3b, 0xd6, 0x67, 0x49, 0x29, 0x2e, 0xd8, 0x4a, 0x83, 0x99, 0xf6, 0xa3, 0x39, 0xe3,
            0xd0, 0x01,
        ],
    ),
    // LVM2, lib/label/label.h: in one of the first four sectors.
    magic("lvm", 0x018, b"LVM2 001"),
    magic("lvm", 0x218, b"LVM2 001"),
    magic("lvm", 0x418, b"LVM2 001"),
    magic("lvm", 0x618, b"LVM2 001"),
    // cryptsetup's wiki, "DMVerity": a hash tree alone.
    magic("verity", 0, b"verity\0\0"),
    // Linux, include/uapi/linux/bcache.h and fs/bcachefs/bcachefs_format.h.
    magic(
        "bcache",
        0x1018,
        &[
            0xc6, 0x85, 0x73, 0xf6, 0x4e, 0x1a, 0x45, 0xca, 0x82, 0x65, 0xf5, 0x7f, 0x48, 0xba,
            0x6d, 0x81,
        ],
    ),
    magic(
        "bcachefs",
        0x1018,
        &[
            0xc6, 0x85, 0x73, 0xf6, 0x66, 0xce, 0x90, 0xa9, 0xd9, 0x6a, 0x60, 0xcf, 0x80, 0x3d,
            0xf7, 0xef,
        ],
    ),
    // XFS Algorithms & Data Structures, "Superblocks".
    magic("xfs", 0, b"XFSB"),
    // btrfs' documentation, "On-disk Format": the superblock is at 64 KiB.
    magic("btrfs", 0x1_0040, b"_BHRfS_M"),
    // Boot sectors of Microsoft's: NTFS and ReFS by their OEM name, exFAT by its specification,
    // section 3.1.2; FAT by the type that its specification has for information only.
    magic("ntfs", 3, b"NTFS    "),
    magic("refs", 0, b"\0\0\0ReFS\0"),
    magic("exfat", 3, b"EXFAT   "),
    magic("vfat", 0x52, b"FAT32   "),
    magic("vfat", 0x36, b"FAT16   "),
    magic("vfat", 0x36, b"FAT12   "),
    // Linux, Documentation/filesystems: squashfs.rst, erofs.rst; include/linux/f2fs_fs.h.
    magic("squashfs", 0, b"hsqs"),
    magic("erofs", 0x400, &[0xe2, 0xe1, 0xf5, 0xe0]),
    magic("f2fs", 0x400, &[0x10, 0x20, 0xf5, 0xf2]),
    // Apple File System Reference, nx_superblock_t; TN1150 for HFS+ and HFSX.
    magic("apfs", 0x20, b"NXSB"),
    magic("hfsplus", 0x400, b"H+\0\x04"),
    magic("hfsplus", 0x400, b"HX\0\x05"),
    // mkswap(8): at the end of the first page, whose size depends on the processor.
    magic("swap", 0xff6, b"SWAPSPACE2"),
    magic("swap", 0x1ff6, b"SWAPSPACE2"),
    magic("swap", 0x3ff6, b"SWAPSPACE2"),
    magic("swap", 0x7ff6, b"SWAPSPACE2"),
    magic("swap", 0xfff6, b"SWAPSPACE2"),
    magic("jfs", 0x8000, b"JFS1"),
    // ECMA-119, 8.1.2, and ECMA-167, 2/9.1.2.
    magic("iso9660", 0x8001, b"CD001"),
    magic("udf", 0x8001, b"BEA01"),
    magic("reiserfs", 0x2034, b"ReIsEr"),
    magic("reiserfs", 0x1_0034, b"ReIsEr"),
    // FreeBSD, sys/ufs/ffs/fs.h: fs_magic at 1372 of a superblock at 8 KiB (UFS1) or 64 KiB (UFS2),
    // in the processor's byte order.
    magic("ufs", 0x1_055c, &[0x19, 0x01, 0x54, 0x19]),
    magic("ufs", 0x1_055c, &[0x19, 0x54, 0x01, 0x19]),
    magic("ufs", 0x255c, &[0x54, 0x19, 0x01, 0x00]),
    magic("ufs", 0x255c, &[0x00, 0x01, 0x19, 0x54]),
];

/// All magics but those of ZFS and of Linux' RAID lie in the first 68 KiB.
const PROBE_LEN: usize = 0x1_1000;

/// ZFS keeps a ring of uberblocks in the second half of its first label (OpenZFS,
/// include/sys/vdev_impl.h).
const ZFS_RING: (u64, usize) = (0x2_0000, 0x2_0000);

/// Says what the `source`, which begins at `origin`, holds.
///
/// `None` means that nothing known was recognised; that includes an empty partition.
///
/// # Errors
/// Those of reading the source.
pub(crate) fn probe(source: &impl Source, origin: &Evidence) -> Result<Option<Filesystem>> {
    let head = head(source)?;
    if let Some(raid) = raid::probe(source, &head, origin)? {
        return Ok(Some(raid));
    }
    let found = MAGICS.iter().find(|magic| {
        let bytes = head.get(magic.offset..magic.offset + magic.bytes.len());
        bytes == Some(magic.bytes)
    });
    if let Some(magic) = found {
        let mut filesystem = names::read(magic.kind, magic.offset, &head);
        filesystem.evidence = origin.further(magic.offset as u64);
        return Ok(Some(filesystem));
    }
    if let Some(superblock) = head.get(1024..2048).and_then(Superblock::from_bytes) {
        return Ok(Some(superblock.to_fact(origin)));
    }
    if names::is_fat(&head) {
        let mut filesystem = names::read("vfat", 0, &head);
        filesystem.evidence = origin.clone();
        return Ok(Some(filesystem));
    }
    if source.len() >= 0x4_0000 && zfs_ring(source)? {
        let mut filesystem = names::read("zfs", 0, &head);
        filesystem.evidence = origin.further(ZFS_RING.0);
        return Ok(Some(filesystem));
    }
    Ok(None)
}

/// Whether nothing but zeros lies where filesystems have their superblocks.
///
/// # Errors
/// Those of reading the source.
pub(crate) fn is_blank(source: &impl Source) -> Result<bool> {
    Ok(head(source)?.iter().all(|&byte| byte == 0))
}

fn head(source: &impl Source) -> Result<Vec<u8>> {
    let len = usize::try_from(source.len()).unwrap_or(usize::MAX);
    let mut head = vec![0; len.min(PROBE_LEN)];
    source.read_at(0, &mut head)?;
    Ok(head)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(disk: &Vec<u8>) -> Option<String> {
        let found = probe(disk, &Evidence::offset(0));
        found.unwrap().map(|found| found.kind)
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
        for len in [0, 1, 511, 2047, 4096, 1 << 20] {
            let disk = vec![0; len];
            assert_eq!(kind(&disk), None);
            assert!(is_blank(&disk).unwrap());
        }
        assert!(!is_blank(&vec![1; 10]).unwrap());
    }
}
