//! What a file is, by its content.
//!
//! An ordered list of signatures is tried; the first that matches decides, for good or ill. A raw
//! disk has no signature and comes last but one: it is recognised by its partition table. What is
//! left may still be a file system without a table, and is named.
//!
//! Formats that are recognised but not read are refused with the command that turns them into one
//! that is.

use crate::bytes::{has, printable};
use crate::{Error, ErrorKind, Format, Result, Source, partition, qcow2, tar, vdi, vhdx, vmdk};

/// Bytes of the file's beginning that are looked at: the farthest signature, that of btrfs, is at
/// 64 KiB + 64.
const HEAD_LEN: u64 = 66 << 10;

/// Something that is known by a signature and not read here.
struct Foreign {
    /// Error code.
    code: &'static str,
    /// With its article, as the message says it.
    name: &'static str,
    /// Where the signature is.
    at: usize,
    magic: &'static [u8],
    /// What to do.
    hint: &'static str,
}

const fn foreign(
    code: &'static str,
    name: &'static str,
    at: usize,
    magic: &'static [u8],
    hint: &'static str,
) -> Foreign {
    Foreign {
        code,
        name,
        at,
        magic,
        hint,
    }
}

const CONVERT: &str = "convert it: `qemu-img convert -O qcow2 IMAGE NEW.qcow2`";
const ESX: &str = "in the directory of the disk's descriptor, the small text file NAME.vmdk, make one \
                   file of all its parts: `qemu-img convert -O qcow2 NAME.vmdk NEW.qcow2`";
const EXTRACT: &str = "unpack it and use the disk image inside";
const INSTALL: &str = "this is an installation medium: install it into a virtual machine and use \
                       that machine's disk, or look for the distribution's cloud image";

/// Containers and archives, by signatures that no disk with a partition table has.
const CONTAINERS: &[Foreign] = &[
    foreign(
        "gzip",
        "gzip-compressed data",
        0,
        b"\x1f\x8b\x08",
        "unpack it: `gunzip IMAGE`",
    ),
    foreign(
        "bzip2",
        "bzip2-compressed data",
        0,
        b"BZh",
        "unpack it: `bunzip2 IMAGE`",
    ),
    foreign(
        "xz",
        "xz-compressed data",
        0,
        b"\xfd7zXZ\0",
        "unpack it: `unxz IMAGE`",
    ),
    foreign(
        "zstd",
        "Zstandard-compressed data",
        0,
        b"\x28\xb5\x2f\xfd",
        "unpack it: `unzstd IMAGE`",
    ),
    foreign(
        "lz4",
        "LZ4-compressed data",
        0,
        b"\x04\x22\x4d\x18",
        "unpack it: `unlz4 IMAGE`",
    ),
    foreign(
        "7z",
        "a 7z archive",
        0,
        b"7z\xbc\xaf\x27\x1c",
        "unpack it with `7z x` and use the disk image inside",
    ),
    foreign(
        "zip",
        "a zip archive",
        0,
        b"PK\x03\x04",
        "unpack it with `unzip` and use the disk image inside",
    ),
    foreign("rar", "a RAR archive", 0, b"Rar!\x1a\x07", EXTRACT),
    foreign(
        "vhd",
        "a VHD image",
        0,
        b"conectix",
        "convert it: `qemu-img convert -f vpc -O qcow2 IMAGE NEW.qcow2`",
    ),
    foreign(
        "vmdk-cowd",
        "a part of a VMDK image in VMware ESX' sparse format (COWD)",
        0,
        b"COWD",
        ESX,
    ),
    foreign(
        "vmdk-sesparse",
        "a part of a VMDK image in VMware ESX' space-efficient sparse format (seSparse)",
        0,
        b"\xbe\xba\xfe\xca\0\0\0\0",
        ESX,
    ),
    foreign("qed", "a QED image", 0, b"QED\0", CONVERT),
    foreign(
        "parallels",
        "a Parallels image",
        0,
        b"WithoutFreeSpace",
        "convert it: `qemu-img convert -f parallels -O qcow2 IMAGE NEW.qcow2`",
    ),
    foreign(
        "parallels",
        "a Parallels image",
        0,
        b"WithouFreSpacExt",
        "convert it: `qemu-img convert -f parallels -O qcow2 IMAGE NEW.qcow2`",
    ),
    foreign(
        "vma",
        "a Proxmox backup",
        0,
        b"VMA\0",
        "extract it with `vma extract` and use the disk image inside",
    ),
    foreign(
        "android-sparse",
        "an Android sparse image",
        0,
        b"\x3a\xff\x26\xed",
        "convert it: `simg2img IMAGE NEW.raw`",
    ),
    foreign(
        "wim",
        "a Windows imaging (WIM) archive",
        0,
        b"MSWIM\0\0\0",
        "install Windows from it into a virtual machine and use that machine's disk",
    ),
    foreign("iso-9660", "an ISO 9660 image", 32_769, b"CD001", INSTALL),
    foreign("udf", "a UDF image", 32_769, b"BEA01", INSTALL),
];

/// Signatures in the last sector.
const FOOTERS: &[Foreign] = &[
    foreign(
        "vhd",
        "a VHD image of fixed size",
        0,
        b"conectix",
        "convert it: `qemu-img convert -f vpc -O qcow2 IMAGE NEW.qcow2`",
    ),
    foreign(
        "dmg",
        "an Apple disk image (DMG)",
        0,
        b"koly",
        "convert it: `qemu-img convert -f dmg -O qcow2 IMAGE NEW.qcow2`",
    ),
];

/// File systems and the like, by signatures that a disk with a partition table may have left over,
/// so they are tried only after the table.
const BARE: &[(&str, usize, &[u8])] = &[
    ("an ext2, ext3 or ext4 file system", 1080, b"\x53\xef"),
    ("an XFS file system", 0, b"XFSB"),
    ("a Btrfs file system", 65_600, b"_BHRfS_M"),
    ("an NTFS file system", 3, b"NTFS    "),
    ("an exFAT file system", 3, b"EXFAT   "),
    ("a FAT file system", 54, b"FAT12   "),
    ("a FAT file system", 54, b"FAT16   "),
    ("a FAT file system", 82, b"FAT32   "),
    ("an F2FS file system", 1024, b"\x10\x20\xf5\xf2"),
    ("an EROFS file system", 1024, b"\xe2\xe1\xf5\xe0"),
    ("a SquashFS file system", 0, b"hsqs"),
    ("an HFS+ file system", 1024, b"H+"),
    ("a LUKS volume", 0, b"LUKS\xba\xbe"),
    ("an LVM physical volume", 512, b"LABELONE"),
    ("an LVM physical volume", 0, b"LABELONE"),
    ("a Linux RAID member", 4096, b"\xfc\x4e\x2b\xa9"),
    ("swap space", 4086, b"SWAPSPACE2"),
    ("a BSD disklabel", 512, b"\x57\x45\x56\x82"),
    ("an Apple partition map", 512, b"PM\0\0"),
];

/// What a file turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// A disk image. [`Format::Raw`] for whatever has a partition table, intact or not; opening it
    /// tells.
    Disk(Format),
    /// A tar archive.
    Tar,
    /// The text that describes a VMDK image of several files.
    VmdkDescriptor,
}

/// The formats that are read, except raw, by their signatures.
const SUPPORTED: &[(Found, usize, &[u8])] = &[
    (Found::Disk(Format::Qcow2), 0, qcow2::MAGIC),
    (Found::Disk(Format::Vhdx), 0, vhdx::MAGIC),
    (Found::Disk(Format::Vmdk), 0, vmdk::MAGIC),
    (Found::Disk(Format::Vdi), vdi::MAGIC_OFFSET, vdi::MAGIC),
    (Found::Tar, tar::MAGIC_OFFSET, tar::MAGIC),
];

/// Finds out what `source` is.
pub(crate) fn detect<S: Source>(source: &S) -> Result<Found> {
    if source.len() == 0 {
        return Err(Error::new(
            ErrorKind::NotRecognised,
            "empty-file",
            "the file is empty (0 bytes)",
        )
        .with_hint("the transfer that made it has failed: get the image again"));
    }
    let head = read_part(source, 0, HEAD_LEN)?;
    if let Some((found, ..)) = SUPPORTED
        .iter()
        .find(|(_, at, magic)| has(&head, *at, magic))
    {
        return Ok(*found);
    }
    if vmdk::is_descriptor(&head) {
        return Ok(Found::VmdkDescriptor);
    }
    // The beginning decides by itself where it can: of a file that is still arriving, there is
    // nothing else.
    let container = CONTAINERS.iter().find(|c| has(&head, c.at, c.magic));
    let container = match container {
        Some(container) => Some(container),
        None => {
            let footer = read_part(source, source.len().saturating_sub(512), 512)?;
            FOOTERS.iter().find(|f| has(&footer, f.at, f.magic))
        }
    };
    if let Some(found) = container {
        return Err(unsupported(found.code, found.name, found.hint).at(found.at as u64));
    }
    match partition::read(source) {
        Err(error) if error.kind() == ErrorKind::NotRecognised => Err(no_table(source, &head)),
        Err(error) => Err(error.in_format(Format::Raw)),
        Ok(_) => Ok(Found::Disk(Format::Raw)),
    }
}

/// Up to `len` bytes at `offset`, fewer at the end of the file.
fn read_part<S: Source>(source: &S, offset: u64, len: u64) -> Result<Vec<u8>> {
    let len = len.min(source.len() - offset);
    // At most `HEAD_LEN`.
    let mut part = vec![0; len as usize];
    source.read_at(offset, &mut part)?;
    Ok(part)
}

fn unsupported(code: &'static str, name: &str, hint: &str) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        code,
        format!("the file is {name} and not a supported disk image"),
    )
    .with_hint(hint)
}

/// The error for a file without a partition table: names what is there instead.
fn no_table<S: Source>(source: &S, head: &[u8]) -> Error {
    if let Some((name, ..)) = BARE.iter().find(|(_, at, magic)| has(head, *at, magic)) {
        return unsupported(
            "bare-filesystem",
            &format!("{name} without a partition table"),
            "a bootable disk needs a partition table and a boot loader: install the system into a \
             virtual machine and use that machine's disk",
        );
    }
    let start = printable(head, 16).to_ascii_lowercase();
    if ["<!doctype", "<html", "<?xml", "{\""]
        .iter()
        .any(|text| start.starts_with(text))
    {
        return unsupported(
            "text",
            "text such as a web server's error page",
            "open it in an editor to see what the server said, and get the image again",
        );
    }
    let (what, hint) = if head.iter().all(|&byte| byte == 0) {
        (
            "begins with zeros",
            "the image was not written, or not transferred completely",
        )
    } else {
        (
            "is of no known format",
            "supported are qcow2, VHDX, VDI and VMDK images, and raw images with an MBR or GPT \
             partition table",
        )
    };
    Error::new(
        ErrorKind::NotRecognised,
        "no-partition-table",
        format!(
            "the file ({} bytes) {what} and has no partition table",
            source.len()
        ),
    )
    .with_hint(hint)
}
