//! Metadata areas: where the text that describes the group lies in its ring.
//!
//! | Dec | Hex | Len | Name |
//! |----:|----:|----:|------|
//! |   0 |  00 |   4 | checksum of the 512 bytes from byte 4 on |
//! |   4 |  04 |  16 | magic |
//! |  20 |  14 |   4 | version: 1 |
//! |  24 |  18 |   8 | offset of the area on the volume |
//! |  32 |  20 |   8 | length of the area |
//! |  40 |  28 | 24 each | texts: offset in the area, length (8), checksum (16), flags (20) |
//!
//! The first text is the valid one; a second one is not yet committed.

use super::checksum;
use super::label::Label;
use crate::bytes::{has, le32, le64};
use crate::{Result, Source, check_range};

const MAGIC: &[u8; 16] = b" LVM2 x[5A%r0N*>";
const HEADER_LEN: u64 = 512;
/// The longest text that is read. LVM's own areas have 1 MiB, for at least two texts.
const MAX_TEXT_LEN: u64 = 1 << 20;
/// Flag of a text: the area is kept, but not kept up to date.
const IGNORED: u32 = 1;

/// The texts of all areas, of which one that is damaged is told as long as another one is not.
///
/// # Errors
/// The fault of the last area if no area is sound.
pub(super) fn texts<S: Source>(
    source: &S,
    label: &Label,
    warnings: &mut Vec<String>,
) -> Result<Vec<Vec<u8>>> {
    let mut texts = Vec::new();
    let mut damage = None;
    let mut sound = false;
    for &(offset, len) in &label.areas {
        match text(source, offset, len) {
            Ok(found) => {
                sound = true;
                texts.extend(found);
            }
            Err(error) if error.kind() == crate::ErrorKind::Io => return Err(error),
            Err(error) => {
                warnings.push(format!(
                    "an LVM metadata area of {len} bytes at byte {offset} is damaged"
                ));
                damage = Some(error);
            }
        }
    }
    match damage {
        Some(error) if !sound => Err(error),
        _ => Ok(texts),
    }
}

fn damaged(offset: u64, what: &str) -> crate::Error {
    crate::Error::new(
        crate::ErrorKind::Corrupt,
        "lvm-metadata",
        format!("the LVM metadata are damaged: {what}"),
    )
    .at(offset)
}

/// The text of the area at `offset`; `None` if it holds none that counts.
fn text<S: Source>(source: &S, offset: u64, len: u64) -> Result<Option<Vec<u8>>> {
    let mut header = [0; HEADER_LEN as usize];
    source.read_at(offset, &mut header)?;
    if le32(&header, 0) != checksum(&[&header[4..]]) || !has(&header, 4, MAGIC) {
        return Err(damaged(offset, "the header of an area is not valid"));
    }
    if le32(&header, 20) != 1 || le64(&header, 24) != offset || le64(&header, 32) != len {
        return Err(damaged(
            offset,
            "the header of an area contradicts the label",
        ));
    }
    let (start, text_len) = (le64(&header, 40), le64(&header, 48));
    if start == 0 || le32(&header, 60) & IGNORED != 0 {
        return Ok(None);
    }
    let ring_len = len.saturating_sub(HEADER_LEN);
    if !(HEADER_LEN..len).contains(&start) || text_len > ring_len || text_len > MAX_TEXT_LEN {
        return Err(damaged(offset, "the text lies outside its area"));
    }
    // Over the end of the area, the text goes on behind the header.
    let first = text_len.min(len - start);
    let place = |at: u64| {
        offset
            .checked_add(at)
            .ok_or_else(|| damaged(offset, "the area lies outside the volume"))
    };
    let (begin, again) = (place(start)?, place(HEADER_LEN)?);
    // Before anything is allocated, and both at most `MAX_TEXT_LEN`.
    check_range(begin, first as usize, source.len())?;
    let mut text = vec![0; text_len as usize];
    let (head, tail) = text.split_at_mut(first as usize);
    source.read_at(begin, head)?;
    source.read_at(again, tail)?;
    if checksum(&[&text]) != le32(&header, 56) {
        return Err(damaged(begin, "the checksum of the text is wrong"));
    }
    Ok(Some(text))
}
