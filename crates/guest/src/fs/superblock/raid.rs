//! Members of a Linux software RAID: Linux, include/uapi/linux/raid/md_p.h.
//!
//! | version | where the superblock is |
//! |---------|-------------------------|
//! | 0.90 | the last 64 KiB that begin at a multiple of 64 KiB |
//! | 1.0 | at least 8 KiB from the end, at a multiple of 4 KiB |
//! | 1.1 | the beginning |
//! | 1.2 | 4 KiB from the beginning |
//!
//! With 0.90 and 1.0 a mirrored filesystem begins where the member does, and looks like one of its
//! own.

use abbild_disk::{Result, Source};

use super::names::{padded, uuid_text};
use crate::facts::{Evidence, Filesystem};

const MAGIC: u32 = 0xa92b_4efc;
const BLOCK: u64 = 64 << 10;
/// What is read of a superblock.
const LEN: usize = 256;

/// What the member says of its array; `None` if `source`, which begins with `head`, is none.
pub(super) fn probe(
    source: &impl Source,
    head: &[u8],
    origin: &Evidence,
) -> Result<Option<Filesystem>> {
    for (version, offset) in [("1.1", 0), ("1.2", 4096)] {
        let found = head.get(offset..).and_then(|bytes| newer(bytes, version));
        if let Some(found) = found {
            return Ok(Some(at(found, origin.further(offset as u64))));
        }
    }
    let len = source.len();
    if len < 2 * BLOCK {
        return Ok(None);
    }
    let mut bytes = [0; LEN];
    let offset = (len - 8192) / 4096 * 4096;
    source.read_at(offset, &mut bytes)?;
    if let Some(found) = newer(&bytes, "1.0") {
        return Ok(Some(at(found, origin.further(offset))));
    }
    let offset = len / BLOCK * BLOCK - BLOCK;
    source.read_at(offset, &mut bytes)?;
    Ok(older(&bytes).map(|found| at(found, origin.further(offset))))
}

fn at(found: Filesystem, evidence: Evidence) -> Filesystem {
    Filesystem { evidence, ..found }
}

/// Version 1: always little-endian; UUID at 16, name at 32.
fn newer(bytes: &[u8], version: &str) -> Option<Filesystem> {
    let (magic, major) = (le32(bytes, 0)?, le32(bytes, 4)?);
    (magic == MAGIC && major == 1).then(|| Filesystem {
        kind: "mdraid".to_owned(),
        label: bytes.get(32..64).and_then(padded),
        uuid: bytes.get(16..32).and_then(uuid_text),
        version: Some(version.to_owned()),
        evidence: Evidence::default(),
    })
}

/// Version 0.90: in the processor's byte order; UUID in pieces at 20 and 52.
fn older(bytes: &[u8]) -> Option<Filesystem> {
    let magic = le32(bytes, 0)?;
    if magic != MAGIC && magic.swap_bytes() != MAGIC {
        return None;
    }
    let uuid = [bytes.get(20..24)?, bytes.get(52..64)?].concat();
    Some(Filesystem {
        kind: "mdraid".to_owned(),
        label: None,
        uuid: uuid_text(&uuid),
        version: Some("0.90".to_owned()),
        evidence: Evidence::default(),
    })
}

fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}
