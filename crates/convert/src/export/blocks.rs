//! What the formats share that store whole units in the order of the disk: VHDX, VDI and the
//! sparse VMDK.
//!
//! Worker threads read, look for zeros and compute checksums; the calling thread asks the format
//! where each unit with data goes, and writes.

use abbild_disk::Disk;

use super::Job;
use super::identity::{Fingerprint, Identity};
use crate::Result;
use crate::output::Completion;
use crate::pool::{self, Line};
use crate::ranges::{Range, Ranges};
use crate::zero::is_zero;

/// Within a unit, zeros that fill a piece of this many bytes become a hole of the file.
pub(super) const PIECE: usize = 64 << 10;
/// Bytes of the disk that a thread handles at a time; a multiple of every unit.
pub(super) const BATCH: u64 = 1 << 20;

/// Where a format puts its units.
pub(super) trait Layout {
    /// The offset in the file for unit number `unit`; the units come in order, each at most once,
    /// and those that are all zeros do not come.
    fn place(&mut self, unit: u64) -> Result<u64>;
}

/// The checksum of a piece that is not all zeros.
pub(super) fn checksum(piece: &[u8]) -> Option<u32> {
    (!is_zero(piece)).then(|| crc32c::crc32c(piece))
}

/// Stores every unit of `unit` bytes that has data where `layout` says; in a recipe, every unit that
/// may have data, because nothing is read.
pub(super) fn write<D: Disk + Sync + ?Sized>(
    job: &Job<'_, D>,
    unit: u64,
    layout: &mut impl Layout,
) -> Result<Identity> {
    let mut ranges = Ranges::new(job.disk, unit, BATCH);
    if let Some(identity) = job.out.is_recipe() {
        while let Some(range) = ranges.next()? {
            for start in (range.offset..range.offset + range.len).step_by(unit as usize) {
                job.out.refer(layout.place(start / unit)?, unit, start);
            }
        }
        return Ok(identity);
    }
    let mut fingerprint = Fingerprint::new(job.virtual_size);
    let mut writer = Writer {
        job,
        unit,
        layout,
        completion: Completion::default(),
    };
    pool::in_order(
        job.threads,
        |batch: &mut Batch| {
            let next = ranges.next()?;
            batch.range = next.unwrap_or_default();
            Ok(next.is_some())
        },
        &Reading(job.disk),
        |batch| {
            job.step(batch.range.offset)?;
            for (index, checksum) in (batch.range.offset / PIECE as u64..).zip(&batch.checksums) {
                if let Some(checksum) = checksum {
                    fingerprint.add(index, *checksum);
                }
            }
            writer.store(batch)
        },
    )?;
    job.done()?;
    Ok(fingerprint.finish())
}

/// A range of the disk.
#[derive(Default)]
struct Batch {
    range: Range,
    bytes: Vec<u8>,
    /// One per piece of `bytes`; none for zeros.
    checksums: Vec<Option<u32>>,
}

/// The worker's part.
struct Reading<'a, D: ?Sized>(&'a D);

impl<D: Disk + Sync + ?Sized> Line<Batch> for Reading<'_, D> {
    type Worker = ();

    fn worker(&self) -> Result<()> {
        Ok(())
    }

    fn work(&self, (): &mut (), batch: &mut Batch) -> Result<()> {
        let padded = (batch.range.len as usize).next_multiple_of(PIECE);
        batch.bytes.resize(padded, 0);
        batch.range.read(self.0, &mut batch.bytes)?;
        batch.checksums.clear();
        batch
            .checksums
            .extend(batch.bytes.chunks(PIECE).map(checksum));
        Ok(())
    }
}

/// The calling thread's part.
struct Writer<'a, D: ?Sized, L> {
    job: &'a Job<'a, D>,
    unit: u64,
    layout: &'a mut L,
    completion: Completion,
}

impl<D: ?Sized, L: Layout> Writer<'_, D, L> {
    fn store(&mut self, batch: &Batch) -> Result<()> {
        let pieces = self.unit as usize / PIECE;
        // A part of the batch and where it goes, not yet written because more may follow it there.
        let mut run = (0, 0..0);
        let units = batch.range.offset / self.unit..;
        for ((unit, first), checksums) in units
            .zip((0..).step_by(pieces))
            .zip(batch.checksums.chunks(pieces))
        {
            if checksums.iter().all(Option::is_none) {
                continue;
            }
            let place = self.layout.place(unit)?;
            for (piece, checksum) in checksums.iter().enumerate() {
                if checksum.is_none() {
                    continue;
                }
                let at = place + (piece * PIECE) as u64;
                let start = (first + piece) * PIECE;
                if (run.0 + run.1.len() as u64, run.1.end) != (at, start) {
                    self.write(run.0, &batch.bytes[run.1])?;
                    run = (at, start..start);
                }
                run.1.end = start + PIECE;
            }
        }
        self.write(run.0, &batch.bytes[run.1])
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.completion.write(self.job.out, offset, bytes)
    }
}
