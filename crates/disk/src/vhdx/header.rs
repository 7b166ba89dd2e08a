//! The two headers (section 2.2.2), of which the newer valid one counts.
//!
//! | Dec | Hex | Len | Name |
//! |----:|----:|----:|------|
//! |   0 |  00 |   4 | signature `head` |
//! |   4 |  04 |   4 | checksum of the 4 KiB |
//! |   8 |  08 |   8 | sequence number |
//! |  16 |  10 |  32 | GUIDs of the file's and the disk's last change |
//! |  48 |  30 |  16 | GUID of the log, zero if there is nothing to replay |
//! |  64 |  40 |   2 | version of the log: 0 |
//! |  66 |  42 |   2 | version of the format: 1 |
//! |  68 |  44 |   4 | length of the log |
//! |  72 |  48 |   8 | offset of the log |

use super::{checksum, fault, read_structure};
use crate::bytes::{has, le16, le32, le64};
use crate::partition::Guid;
use crate::{ErrorKind, Result, Source};

const OFFSETS: [u64; 2] = [64 << 10, 128 << 10];
const LEN: usize = 4 << 10;

/// What the rest of the reader needs from the current header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// Where it lies in the file.
    pub offset: u64,
    /// Greater in the newer header.
    pub sequence: u64,
    /// Marks the entries of the log that count; [`Guid::NONE`] if none has to be replayed.
    pub log_guid: Guid,
    /// Version of the log's structures.
    pub log_version: u16,
    /// Length of the log in bytes.
    pub log_len: u64,
    /// Byte offset of the log in the file.
    pub log_offset: u64,
    /// Version of the format.
    version: u16,
}

/// Finds the current header.
pub(super) fn read<S: Source>(source: &S, warnings: &mut Vec<String>) -> Result<Header> {
    let first = read_copy(source, OFFSETS[0])?;
    let second = read_copy(source, OFFSETS[1])?;
    let header = match (first, second) {
        (Some(first), Some(second)) if first.sequence == second.sequence => {
            // Neither is newer, so they must say the same.
            let moved = Header {
                offset: first.offset,
                ..second
            };
            if moved != first {
                return Err(fault(
                    ErrorKind::Corrupt,
                    "header",
                    OFFSETS[1],
                    format!(
                        "both headers have the sequence number {} but differ",
                        first.sequence
                    ),
                ));
            }
            first
        }
        (Some(first), Some(second)) if first.sequence > second.sequence => first,
        (_, Some(second)) if first.is_some() => second,
        (Some(only), None) | (None, Some(only)) => {
            let name = if first.is_some() { "second" } else { "first" };
            warnings.push(format!(
                "the {name} of the two VHDX headers is damaged; the other one is used"
            ));
            only
        }
        _ => {
            return Err(fault(
                ErrorKind::Corrupt,
                "header",
                OFFSETS[0],
                "both VHDX headers are damaged",
            ));
        }
    };
    if header.version != 1 {
        return Err(fault(
            ErrorKind::Unsupported,
            "version",
            header.offset + 66,
            format!(
                "VHDX version {} is unknown; version 1 is supported",
                header.version
            ),
        ));
    }
    Ok(header)
}

/// The header at `offset`, if signature and checksum are right.
fn read_copy<S: Source>(source: &S, offset: u64) -> Result<Option<Header>> {
    let raw = read_structure(source, offset, LEN)?;
    if !has(&raw, 0, b"head") || le32(&raw, 4) != checksum(&raw) {
        return Ok(None);
    }
    Ok(Some(Header {
        offset,
        sequence: le64(&raw, 8),
        log_guid: Guid::from_bytes(&raw, 48),
        log_version: le16(&raw, 64),
        version: le16(&raw, 66),
        log_len: le32(&raw, 68).into(),
        log_offset: le64(&raw, 72),
    }))
}
