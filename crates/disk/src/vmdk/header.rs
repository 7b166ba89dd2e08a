//! The header of a file in grains ("Hosted Sparse Extent Header"): parsed once, and every number
//! in it checked before anything uses it.

use super::{MAGIC, SECTOR, fault};
use crate::bytes::{has, le16, le32, le64};
use crate::{ErrorKind, Format, Result, Source, check_range};

/// Length of the header, of markers and of the footer.
const LEN: usize = 512;
/// The directory's place in the header of a stream, which knows it only in the end.
const AT_END: u64 = u64::MAX;
/// The four bytes that an ASCII transfer changes, at byte 73.
const NEWLINES: &[u8; 4] = b"\n \r\n";
/// The type of the marker before a footer.
const FOOTER: u32 = 3;
/// The largest grain, in sectors: 32 MiB, and 2 MiB if it has to be decompressed. All of VMware's
/// products use 128.
const MAX_GRAIN: u64 = 65_536;
const MAX_PACKED_GRAIN: u64 = 4096;
/// The most entries of a grain table; all of VMware's products use this many.
const MAX_TABLE: u32 = 512;

const FLAG_NEWLINES: u32 = 1;
const FLAG_REDUNDANT: u32 = 1 << 1;
const FLAG_ZEROED: u32 = 1 << 2;
const FLAG_COMPRESSED: u32 = 1 << 16;
const FLAG_MARKERS: u32 = 1 << 17;

/// What the rest of the reader needs from the header. Sizes and places are in sectors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub capacity: u64,
    pub grain: u64,
    /// Entries of a grain table.
    pub table_len: u64,
    /// Where the descriptor is and how long; 0 if there is none.
    pub descriptor: (u64, u64),
    pub directory: u64,
    /// The copy of the directory, if there is one.
    pub redundant: Option<u64>,
    /// Whether grains are compressed, each behind a marker.
    pub compressed: bool,
    /// Whether entry 1 of a grain table means zeros.
    pub zeroed: bool,
    /// Whether whoever wrote the file did not come to an end.
    pub unclean: bool,
}

impl Header {
    /// Reads and checks the header of `file`, and the footer if that is where the directory is
    /// named.
    pub(super) fn read<S: Source>(file: &S) -> Result<Self> {
        let raw = read_sector(file, 0)?;
        let mut header = Self::parse(&raw, 0)?;
        if header.directory == AT_END {
            header.directory = header.directory_in_footer(file)?;
        }
        if header.directory == 0 {
            return Err(fault(
                ErrorKind::Corrupt,
                "directory-offset",
                56,
                "the header names no grain directory",
            ));
        }
        Ok(header)
    }

    /// Parses the header in the sector at byte `base` of the file.
    fn parse(raw: &[u8; LEN], base: u64) -> Result<Self> {
        if !has(raw, 0, MAGIC) {
            return Err(fault(
                ErrorKind::Corrupt,
                "magic",
                base,
                "this is not the header of a sparse extent",
            ));
        }
        let flags = le32(raw, 8);
        check_damage(raw, flags, base)?;
        check_version(raw, base)?;
        let compressed = compression(raw, flags, base)?;
        let grain = le64(raw, 20);
        let max = if compressed {
            MAX_PACKED_GRAIN
        } else {
            MAX_GRAIN
        };
        if !grain.is_power_of_two() || grain > max {
            return Err(fault(
                ErrorKind::Corrupt,
                "grain-size",
                base + 20,
                format!("grains of {grain} sectors; powers of two up to {max} are allowed"),
            ));
        }
        let table_len = le32(raw, 44);
        if !(1..=MAX_TABLE).contains(&table_len) {
            return Err(fault(
                ErrorKind::Corrupt,
                "table-length",
                base + 44,
                format!("grain tables of {table_len} entries; 1 to {MAX_TABLE} are allowed"),
            ));
        }
        Ok(Self {
            capacity: capacity(raw, base)?,
            grain,
            table_len: table_len.into(),
            descriptor: (le64(raw, 28), le64(raw, 36)),
            directory: le64(raw, 56),
            redundant: (flags & FLAG_REDUNDANT != 0).then(|| le64(raw, 48)),
            compressed,
            zeroed: flags & FLAG_ZEROED != 0,
            unclean: raw[72] != 0,
        })
    }

    /// The directory's place by the footer: a copy of the header in the last sector but one,
    /// between a marker and the end-of-stream marker.
    fn directory_in_footer<S: Source>(&self, file: &S) -> Result<u64> {
        let missing = |at: u64| {
            fault(
                ErrorKind::Corrupt,
                "footer",
                at,
                "the image does not end with a footer, which would name the grain directory",
            )
            .with_hint("the file is incomplete: compare its size and checksum with the original")
        };
        let Some(at) = file.len().checked_sub(3 * LEN as u64) else {
            return Err(missing(file.len()));
        };
        let marker = read_sector(file, at)?;
        let raw = read_sector(file, at + LEN as u64)?;
        if le32(&marker, 8) != 0 || le32(&marker, 12) != FOOTER || !has(&raw, 0, MAGIC) {
            return Err(missing(at));
        }
        let footer = Self::parse(&raw, at + LEN as u64)?;
        let same = footer.capacity == self.capacity
            && footer.grain == self.grain
            && footer.table_len == self.table_len
            && footer.compressed == self.compressed
            && footer.directory != AT_END;
        if !same {
            return Err(fault(
                ErrorKind::Corrupt,
                "footer",
                at + LEN as u64,
                "the footer contradicts the header",
            ));
        }
        Ok(footer.directory)
    }
}

fn read_sector<S: Source>(file: &S, at: u64) -> Result<[u8; LEN]> {
    check_range(at, LEN, file.len()).map_err(|e| e.in_format(Format::Vmdk))?;
    let mut raw = [0; LEN];
    file.read_at(at, &mut raw)?;
    Ok(raw)
}

/// Finds files that were transferred as text, which changes the ends of lines.
fn check_damage(raw: &[u8; LEN], flags: u32, base: u64) -> Result<()> {
    if flags & FLAG_NEWLINES == 0 || has(raw, 73, NEWLINES) {
        return Ok(());
    }
    Err(fault(
        ErrorKind::Corrupt,
        "newline-damage",
        base + 73,
        "the ends of lines were changed, as by a transfer as text: all data are damaged",
    )
    .with_hint("transfer the original again in binary mode: in ftp, say `binary` before `put`"))
}

fn check_version(raw: &[u8; LEN], base: u64) -> Result<()> {
    let version = le32(raw, 4);
    if (1..=3).contains(&version) {
        return Ok(());
    }
    Err(fault(
        ErrorKind::Unsupported,
        "version",
        base + 4,
        format!("version {version} is unknown; versions 1 to 3 are supported"),
    ))
}

/// Whether grains are compressed.
fn compression(raw: &[u8; LEN], flags: u32, base: u64) -> Result<bool> {
    let error = |kind, message: String| Err(fault(kind, "compression", base + 77, message));
    match le16(raw, 77) {
        0 if flags & FLAG_COMPRESSED == 0 => Ok(false),
        0 => error(
            ErrorKind::Corrupt,
            "grains are said to be compressed, but not how".to_owned(),
        ),
        1 if flags & FLAG_MARKERS != 0 => Ok(true),
        1 => error(
            ErrorKind::Unsupported,
            "grains are compressed and have no markers".to_owned(),
        ),
        other => error(
            ErrorKind::Unsupported,
            format!("compression {other} is unknown; deflate is supported"),
        ),
    }
}

fn capacity(raw: &[u8; LEN], base: u64) -> Result<u64> {
    let capacity = le64(raw, 12);
    let error = |code, message: String| Err(fault(ErrorKind::Corrupt, code, base + 12, message));
    match capacity {
        0 => error(
            "empty-disk",
            "the virtual disk has a size of 0 bytes".to_owned(),
        ),
        _ if capacity > u64::MAX / SECTOR => error(
            "capacity",
            format!("a capacity of {capacity} sectors, which no number of bytes can express"),
        ),
        _ => Ok(capacity),
    }
}
