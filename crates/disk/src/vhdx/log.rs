//! The log (section 2.3): changes of tables that were not, or not all, written back.
//!
//! The log is a ring of sectors of 4 KiB. An entry is a header and descriptors, filled up to
//! sectors, and one data sector for each data descriptor:
//!
//! | Dec | Hex | Len | Name |
//! |----:|----:|----:|------|
//! |   0 |  00 |   4 | signature `loge` |
//! |   4 |  04 |   4 | checksum of the entry |
//! |   8 |  08 |   4 | length of the entry |
//! |  12 |  0c |   4 | tail: where the oldest entry begins that still counts |
//! |  16 |  10 |   8 | sequence number, not 0 |
//! |  24 |  18 |   4 | number of descriptors |
//! |  32 |  20 |  16 | GUID of the log |
//! |  48 |  30 |   8 | length of the file when the entry was written |
//! |  56 |  38 |   8 | length of the file that its changes need |
//! |  64 |  40 | 32 each | `zero`: length (8), offset (16), sequence number (24) |
//! |     |     |         | `desc`: last 4 bytes (4), first 8 (8), offset (16), sequence number (24) |
//!
//! Entries with consecutive sequence numbers form a sequence; the active one is that with the
//! greatest number whose last entry's tail is an entry of the same sequence. What it says, from
//! the tail on, is applied in order.

use super::header::Header;
use super::overlay::Patch;
use super::{MIB, fault, read_structure};
use crate::bytes::{has, le32, le64};
use crate::partition::Guid;
use crate::{Error, ErrorKind, Format, Result, Source, past_end};

/// Everything in the log is a multiple of this, in bytes.
pub(super) const SECTOR: u64 = 4096;
const SECTOR_LEN: usize = SECTOR as usize;
const ENTRY_HEADER_LEN: usize = 64;
const DESCRIPTOR_LEN: usize = 32;
/// The longest log that is replayed, since it is held in memory. Hyper-V makes logs of 1 MiB.
const MAX_LOG_LEN: u64 = 32 * MIB;
/// Ranges of zeros that are remembered; Hyper-V and QEMU write a handful.
const MAX_ZERO_RANGES: usize = 1 << 16;
/// How often the log's length is checksummed before the search is given up. Twice is enough for
/// valid logs, of which the end may continue at the beginning.
const MAX_PASSES: u64 = 4;

/// A valid entry of the log.
#[derive(Debug, Clone, Copy)]
struct Entry {
    /// Where in the log it begins.
    at: u64,
    /// Length in bytes.
    len: u64,
    tail: u64,
    sequence: u64,
    descriptors: usize,
    flushed_len: u64,
    last_len: u64,
}

/// Applies the log of `header` to a patch; `None` if there is nothing to apply.
pub(super) fn replay<S: Source>(
    source: &S,
    header: &Header,
    warnings: &mut Vec<String>,
) -> Result<Option<Patch>> {
    if header.log_guid == Guid::NONE {
        return Ok(None);
    }
    check_place(header)?;
    // At most `MAX_LOG_LEN`.
    let log = read_structure(source, header.log_offset, header.log_len as usize)?;
    let mut ring = Ring {
        log: &log,
        guid: header.log_guid,
        budget: MAX_PASSES * header.log_len,
    };
    if ring.is_empty() {
        // The log is marked before its first entry is written, and nothing was changed since.
        warnings.push(
            "the image was not closed properly, but its log is empty; it is read as it is"
                .to_owned(),
        );
        return Ok(None);
    }
    let sequence = ring.active(header.log_offset)?;
    let mut patch = Patch::new(log);
    for entry in &sequence {
        if entry.flushed_len > source.len() {
            let wanted = usize::try_from(entry.flushed_len).unwrap_or(usize::MAX);
            return Err(past_end(0, wanted, source.len()).in_format(Format::Vhdx));
        }
        apply(&mut patch, entry, header.log_offset)?;
    }
    warnings.push(format!(
        "the image was not closed properly; its log is applied in memory (entries: {})",
        sequence.len()
    ));
    Ok(Some(patch))
}

fn check_place(header: &Header) -> Result<()> {
    let error = |kind, code, field, message| Err(fault(kind, code, header.offset + field, message));
    if header.log_version != 0 {
        return error(
            ErrorKind::Unsupported,
            "log-version",
            64,
            format!("a log of the unknown version {}", header.log_version),
        );
    }
    if header.log_len == 0
        || !header.log_len.is_multiple_of(MIB)
        || header.log_offset < MIB
        || !header.log_offset.is_multiple_of(MIB)
    {
        return error(
            ErrorKind::Corrupt,
            "log-place",
            68,
            format!(
                "the log of {} bytes at byte {} is not on whole MiB",
                header.log_len, header.log_offset
            ),
        );
    }
    if header.log_len > MAX_LOG_LEN {
        return Err(too_large(
            header.offset + 68,
            format!("has {} bytes", header.log_len),
        ));
    }
    Ok(())
}

/// The error for a log that cannot be held in memory.
fn too_large(field: u64, what: String) -> Error {
    fault(
        ErrorKind::Unsupported,
        "log-size",
        field,
        format!("the image was not closed properly, and its log {what}: too much to apply"),
    )
    .with_hint("have the log written back: `qemu-img check -r all IMAGE`")
}

/// The log as a ring of sectors.
struct Ring<'a> {
    log: &'a [u8],
    guid: Guid,
    /// Bytes that may still be checksummed.
    budget: u64,
}

impl<'a> Ring<'a> {
    fn len(&self) -> u64 {
        self.log.len() as u64
    }

    /// Whether no sector begins an entry of this log, valid or not.
    fn is_empty(&self) -> bool {
        !self
            .log
            .chunks_exact(SECTOR_LEN)
            .any(|sector| has(sector, 0, b"loge") && Guid::from_bytes(sector, 32) == self.guid)
    }

    /// The `len` bytes from `at` on, in one or, over the end of the ring, two pieces.
    ///
    /// Neither may be longer than the ring.
    fn slices(&self, at: u64, len: u64) -> [&'a [u8]; 2] {
        let (at, len) = (at as usize, len as usize);
        let first = len.min(self.log.len() - at);
        [&self.log[at..at + first], &self.log[..len - first]]
    }

    /// The entry that begins at `at`, if a valid one does (section 2.3.1.1).
    fn entry(&mut self, at: u64) -> Result<Option<Entry>> {
        let [raw, _] = self.slices(at, SECTOR);
        let entry = Entry {
            at,
            len: le32(raw, 8).into(),
            tail: le32(raw, 12).into(),
            sequence: le64(raw, 16),
            descriptors: le32(raw, 24) as usize,
            flushed_len: le64(raw, 48),
            last_len: le64(raw, 56),
        };
        let sound = has(raw, 0, b"loge")
            && Guid::from_bytes(raw, 32) == self.guid
            && entry.sequence > 0
            && (SECTOR..=self.len()).contains(&entry.len)
            && entry.len.is_multiple_of(SECTOR)
            && entry.tail < self.len()
            && entry.tail.is_multiple_of(SECTOR)
            && entry.descriptors as u64 <= entry.len / DESCRIPTOR_LEN as u64
            && entry.descriptor_len() <= entry.len;
        if !sound {
            return Ok(None);
        }
        let Some(budget) = self.budget.checked_sub(entry.len) else {
            return Err(fault(
                ErrorKind::Corrupt,
                "log",
                at,
                "the log consists of entries that overlap",
            ));
        };
        self.budget = budget;
        let [first, second] = self.slices(at, entry.len);
        let sum = crc32c::crc32c_append(super::checksum(first), second);
        let valid = sum == le32(raw, 4) && self.has_sound_parts(&entry);
        Ok(valid.then_some(entry))
    }

    /// Whether the descriptors and data sectors belong to the entry.
    fn has_sound_parts(&self, entry: &Entry) -> bool {
        let mut data = entry.descriptor_len();
        (0..entry.descriptors).all(|index| {
            let descriptor = self.descriptor(entry, index);
            if le64(descriptor, 24) != entry.sequence
                || !le64(descriptor, 16).is_multiple_of(SECTOR)
            {
                return false;
            }
            if has(descriptor, 0, b"zero") {
                let (start, len) = (le64(descriptor, 16), le64(descriptor, 8));
                return len.is_multiple_of(SECTOR) && start.checked_add(len).is_some();
            }
            if !has(descriptor, 0, b"desc") || data + SECTOR > entry.len {
                return false;
            }
            let [sector, _] = self.slices(entry.place(data, self.len()), SECTOR);
            data += SECTOR;
            let (high, low) = (le32(sector, 4), le32(sector, SECTOR_LEN - 4));
            has(sector, 0, b"data")
                && u64::from(high) << 32 | u64::from(low) == entry.sequence
                && le64(descriptor, 16).checked_add(SECTOR).is_some()
        })
    }

    fn descriptor(&self, entry: &Entry, index: usize) -> &[u8] {
        &self.log[entry.descriptor_place(index, self.len())..][..DESCRIPTOR_LEN]
    }

    /// The entries of the active sequence from its tail on (section 2.3.3).
    fn active(&mut self, log_offset: u64) -> Result<Vec<Entry>> {
        let mut active: Vec<Entry> = Vec::new();
        let mut start = 0;
        loop {
            let (sequence, next) = self.sequence(start)?;
            if let (Some(newest), Some(tail)) = (sequence.last(), tail_of(&sequence))
                && active
                    .last()
                    .is_none_or(|last| last.sequence < newest.sequence)
            {
                active = sequence[tail..].to_vec();
            }
            // The search has come round.
            if next <= start {
                break;
            }
            start = next;
        }
        if active.is_empty() {
            return Err(fault(
                ErrorKind::Corrupt,
                "log",
                log_offset,
                "the image was not closed properly, and its log is damaged",
            )
            .with_hint(
                "attach the image to a virtual machine where it came from, shut that down and \
                 copy the image again",
            ));
        }
        Ok(active)
    }

    /// The entries from `start` on with consecutive numbers, and where to search on; that is not
    /// after `start` when the end of the ring was passed.
    fn sequence(&mut self, start: u64) -> Result<(Vec<Entry>, u64)> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut at = start;
        while let Some(entry) = self.entry(at)? {
            if entries
                .last()
                .is_some_and(|last| last.sequence.checked_add(1) != Some(entry.sequence))
            {
                break;
            }
            at = entry.place(entry.len, self.len());
            entries.push(entry);
        }
        if entries.is_empty() {
            at = (start + SECTOR) % self.len();
        }
        Ok((entries, at))
    }
}

/// Which entry of the sequence the last one's tail is, if it is one.
fn tail_of(sequence: &[Entry]) -> Option<usize> {
    let tail = sequence.last()?.tail;
    sequence.iter().position(|entry| entry.at == tail)
}

impl Entry {
    /// Bytes that header and descriptors take, in whole sectors.
    fn descriptor_len(&self) -> u64 {
        let used = (ENTRY_HEADER_LEN + self.descriptors * DESCRIPTOR_LEN) as u64;
        used.next_multiple_of(SECTOR)
    }

    /// Where in a ring of `ring` bytes the byte `skip` of the entry lies.
    fn place(&self, skip: u64, ring: u64) -> u64 {
        (self.at + skip) % ring
    }

    /// Where in the ring a descriptor begins. None crosses a sector's end.
    fn descriptor_place(&self, index: usize, ring: u64) -> usize {
        let skip = ENTRY_HEADER_LEN + index * DESCRIPTOR_LEN;
        self.place(skip as u64, ring) as usize
    }
}

/// Applies one valid entry.
fn apply(patch: &mut Patch, entry: &Entry, log_offset: u64) -> Result<()> {
    let ring = patch.log().len() as u64;
    let mut data = entry.descriptor_len();
    for index in 0..entry.descriptors {
        let place = entry.descriptor_place(index, ring);
        let mut descriptor = [0; DESCRIPTOR_LEN];
        descriptor.copy_from_slice(&patch.log()[place..][..DESCRIPTOR_LEN]);
        let start = le64(&descriptor, 16);
        if has(&descriptor, 0, b"zero") {
            // The sum was checked with the entry.
            patch.write_zeros(start, start + le64(&descriptor, 8));
            if patch.zero_ranges() > MAX_ZERO_RANGES {
                return Err(too_large(
                    log_offset,
                    format!("clears more than {MAX_ZERO_RANGES} places"),
                ));
            }
            continue;
        }
        // The data sector keeps its own marks where the descriptor has the bytes of the file.
        let at = entry.place(data, ring) as usize;
        patch.write_log(at, &descriptor[8..16]);
        patch.write_log(at + SECTOR_LEN - 4, &descriptor[4..8]);
        patch.write_sector(start, at);
        data += SECTOR;
    }
    patch.grow(entry.last_len);
    Ok(())
}
