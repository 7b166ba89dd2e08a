//! The label of a physical volume and the header behind it.
//!
//! | Dec | Hex | Len | Name |
//! |----:|----:|----:|------|
//! |   0 |  00 |   8 | `LABELONE` |
//! |   8 |  08 |   8 | number of the sector |
//! |  16 |  10 |   4 | checksum of the sector from byte 20 on |
//! |  20 |  14 |   4 | offset of the header in the sector |
//! |  24 |  18 |   8 | `LVM2 001` |
//!
//! The header: UUID (32 characters), size in bytes, and two lists of (offset, length), each ended
//! by a pair of zeros: the data areas, then the metadata areas.

use super::{SECTOR, checksum};
use crate::bytes::{has, le32, le64};
use crate::{Error, ErrorKind, Result, Source};

/// The label is in one of the first sectors.
const SECTORS: u64 = 4;
const SECTOR_LEN: usize = SECTOR as usize;
/// The sum does not cover what stands before it, nor itself.
const SUMMED_FROM: usize = 20;
/// The largest number of metadata areas that LVM makes on one volume.
const MAX_AREAS: usize = 2;
/// Bytes of the header before its lists.
const LISTS_FROM: usize = 40;

/// What a physical volume says about itself.
#[derive(Debug)]
pub(super) struct Label {
    /// 32 characters, without the dashes.
    pub uuid: String,
    /// Metadata areas: offset and length in bytes.
    pub areas: Vec<(u64, u64)>,
}

/// The sector with the label, and its number.
pub(super) fn find<S: Source + ?Sized>(source: &S) -> Result<Option<(u64, Vec<u8>)>> {
    for number in 0..SECTORS {
        if (number + 1) * SECTOR > source.len() {
            break;
        }
        let mut sector = vec![0; SECTOR_LEN];
        source.read_at(number * SECTOR, &mut sector)?;
        if has(&sector, 0, b"LABELONE") && has(&sector, 24, b"LVM2 001") {
            return Ok(Some((number, sector)));
        }
    }
    Ok(None)
}

impl Label {
    /// Reads and checks the label and the header of `source`.
    pub(super) fn read<S: Source>(source: &S) -> Result<Self> {
        let Some((number, sector)) = find(source)? else {
            return Err(Error::new(
                ErrorKind::NotRecognised,
                "lvm-label",
                "there is no LVM label in the first four sectors",
            ));
        };
        let offset = number * SECTOR;
        let header = sector.get(le32(&sector, 20) as usize..).unwrap_or(&[]);
        let uuid = header.get(..32).unwrap_or(&[]);
        if le64(&sector, 8) != number
            || le32(&sector, 16) != checksum(&[&sector[SUMMED_FROM..]])
            || uuid.is_empty()
            || !uuid.iter().all(u8::is_ascii_graphic)
        {
            return Err(Error::new(
                ErrorKind::Corrupt,
                "lvm-label",
                "the label of the LVM physical volume is damaged",
            )
            .at(offset));
        }
        // A list that does not end in this sector ends with it.
        let mut pairs = header
            .get(LISTS_FROM..)
            .unwrap_or(&[])
            .chunks_exact(16)
            .map(|pair| (le64(pair, 0), le64(pair, 8)));
        pairs.by_ref().take_while(|pair| pair.0 != 0).for_each(drop);
        Ok(Self {
            uuid: uuid.iter().map(|&byte| char::from(byte)).collect(),
            areas: pairs
                .take_while(|pair| pair.0 != 0)
                .take(MAX_AREAS)
                .collect(),
        })
    }
}
