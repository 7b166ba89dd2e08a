//! Label, UUID and version in the superblocks of the kinds that a guest may name in its fstab.
//!
//! Written as libblkid writes them, because that is what the guest's own tools put into files.

use crate::facts::{Evidence, Filesystem};
use crate::text::clean;

/// What the superblock of a `kind` says, whose magic was found at `offset` of `head`, the beginning
/// of the filesystem. The place is left to the caller.
pub(super) fn read(kind: &str, offset: usize, head: &[u8]) -> Filesystem {
    let at = |from: usize, len: usize| head.get(from..from.checked_add(len)?);
    let uuid = |from| at(from, 16).and_then(uuid_text);
    let label = |from, len| at(from, len).and_then(padded);
    let (label, uuid, version) = match kind {
        "xfs" => (label(108, 12), uuid(32), None),
        "btrfs" => (label(0x1_012b, 256), uuid(0x1_0020), None),
        "swap" => (label(0x41c, 16), uuid(0x40c), None),
        "erofs" => (label(0x440, 16), uuid(0x430), None),
        "f2fs" => (at(0x47c, 1024).and_then(utf16), uuid(0x46c), None),
        "jfs" => (label(0x8098, 16), uuid(0x8088), None),
        "reiserfs" => {
            let from = offset.saturating_sub(0x34);
            (label(from + 100, 16), uuid(from + 84), None)
        }
        "iso9660" => (label(0x8028, 32), None, None),
        "luks" => luks(head),
        "ufs" => ufs(offset, head),
        "ntfs" => (None, at(0x48, 8).and_then(|id| serial(id, "")), None),
        "exfat" => (None, at(0x64, 4).and_then(|id| serial(id, "-")), None),
        "vfat" => fat(head),
        _ => (None, None, None),
    };
    Filesystem {
        kind: kind.to_owned(),
        label,
        uuid,
        version,
        evidence: Evidence::default(),
    }
}

type Names = (Option<String>, Option<String>, Option<String>);

/// Version at 6 (big-endian), UUID as text at 168; the label at 24 is version 2's.
fn luks(head: &[u8]) -> Names {
    let version = head.get(6..8).map(|v| u16::from_be_bytes([v[0], v[1]]));
    let label = head.get(24..72).filter(|_| version == Some(2));
    (
        label.and_then(padded),
        head.get(168..208).and_then(padded),
        version.map(|version| version.to_string()),
    )
}

/// The superblock begins 1372 bytes before its magic, with `fs_id` at 144 and `fs_volname` at 680.
fn ufs(offset: usize, head: &[u8]) -> Names {
    let is_ufs2 = offset == 0x1_055c;
    let start = offset.saturating_sub(1372);
    // The magics are 0x00011954 and 0x19540119.
    let little = matches!(
        head.get(offset..offset + 2),
        Some([0x54, 0x19] | [0x19, 0x01])
    );
    let half = |at: usize| {
        let bytes: [u8; 4] = *head.get(start + at..)?.first_chunk()?;
        Some(match little {
            true => u32::from_le_bytes(bytes),
            false => u32::from_be_bytes(bytes),
        })
    };
    let id = half(144).zip(half(148)).filter(|&id| id != (0, 0));
    let label = head.get(start + 680..start + 712).filter(|_| is_ufs2);
    (
        label.and_then(padded),
        id.map(|(high, low)| format!("{high:08x}{low:08x}")),
        Some(if is_ufs2 { "2" } else { "1" }.to_owned()),
    )
}

/// FAT32 has more fields before its serial number than the others.
fn fat(head: &[u8]) -> Names {
    let is_fat32 = head.get(0x52..0x57) == Some(b"FAT32");
    let at = if is_fat32 { 0x43 } else { 0x27 };
    let uuid = head.get(at..at + 4).and_then(|id| serial(id, "-"));
    let label = head.get(at + 4..at + 15).and_then(padded);
    let label = label.filter(|label| label != "NO NAME");
    let version = head.get(if is_fat32 { 0x52 } else { 0x36 }..);
    let version = version.and_then(|bytes| bytes.get(..5)).and_then(padded);
    let version = version.filter(|version| version.starts_with("FAT"));
    (label, uuid, version)
}

/// A FAT without the type's name, as some programs make it: a jump, and a BIOS parameter block that
/// makes sense (Microsoft's FAT specification, section 3.1).
pub(super) fn is_fat(head: &[u8]) -> bool {
    let Some(boot) = head.get(..512) else {
        return false;
    };
    let le16 = |at: usize| u16::from_le_bytes([boot[at], boot[at + 1]]);
    matches!(boot[0], 0xeb | 0xe9)
        && boot[510..] == [0x55, 0xaa]
        && matches!(le16(11), 512 | 1024 | 2048 | 4096)
        && boot[13].is_power_of_two()
        && le16(14) > 0
        && matches!(boot[16], 1 | 2)
        && boot[21] >= 0xf0
        && (le16(22) > 0 || le16(17) == 0)
}

/// A serial number, which is a little-endian number, as `1A2B-3C4D`; `None` if it is zero.
fn serial(bytes: &[u8], dash: &str) -> Option<String> {
    if bytes.iter().all(|&byte| byte == 0) {
        return None;
    }
    let hex: String = bytes.iter().rev().map(|b| format!("{b:02X}")).collect();
    let (high, low) = hex.split_at_checked(hex.len() / 2)?;
    Some(format!("{high}{dash}{low}"))
}

/// A name padded with zeros or blanks; `None` if empty.
pub(super) fn padded(bytes: &[u8]) -> Option<String> {
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    let name = clean(bytes.get(..end)?);
    Some(name).filter(|name| !name.is_empty())
}

/// A name in UTF-16, ended by a zero.
fn utf16(bytes: &[u8]) -> Option<String> {
    let units = bytes.chunks_exact(2);
    let units = units.map(|unit| u16::from_le_bytes([unit[0], unit[1]]));
    let units: Vec<u16> = units.take_while(|&unit| unit != 0).collect();
    Some(clean(String::from_utf16_lossy(&units))).filter(|name| !name.is_empty())
}

pub(super) fn uuid_text(bytes: &[u8]) -> Option<String> {
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
