//! Raw: every byte has its place, so the threads that read also write.

use abbild_disk::Disk;

use super::Job;
use crate::Result;
use crate::output::Output;
use crate::pool::{self, Line};
use crate::ranges::{Range, Ranges};
use crate::zero::data_runs;

/// Zeros become a hole where they fill an aligned block of this many bytes: the block of most file
/// systems.
const GRANULE: usize = 4096;
/// The most bytes of a range that one thread is given at a time.
const RANGE: u64 = 4 << 20;
/// Bytes read and then written at once: they stay in the processor's cache in between.
const BUFFER: usize = 1 << 20;

/// Writes a raw image and returns its length.
pub(super) fn write<D: Disk + Sync + ?Sized>(job: &Job<'_, D>) -> Result<u64> {
    if job.out.is_recipe().is_some() {
        job.out.refer(0, job.virtual_size, 0);
        return job.out.finish(job.virtual_size);
    }
    let copying = Copying {
        disk: job.disk,
        out: job.out,
    };
    let mut ranges = Ranges::new(job.disk, GRANULE as u64, RANGE);
    pool::in_order(
        job.threads,
        |batch: &mut Range| {
            let next = ranges.next()?;
            *batch = next.unwrap_or_default();
            Ok(next.is_some())
        },
        &copying,
        |batch| job.step(batch.offset),
    )?;
    job.done()?;
    job.out.finish(job.virtual_size)
}

/// Copies ranges to where they were.
struct Copying<'a, D: ?Sized> {
    disk: &'a D,
    out: &'a Output<'a>,
}

impl<D: Disk + Sync + ?Sized> Line<Range> for Copying<'_, D> {
    type Worker = Vec<u8>;

    fn worker(&self) -> Result<Self::Worker> {
        Ok(vec![0; BUFFER])
    }

    fn work(&self, buffer: &mut Vec<u8>, range: &mut Range) -> Result<()> {
        let end = range.offset + range.len;
        let mut offset = range.offset;
        while offset < end {
            let len = (end - offset).min(BUFFER as u64);
            let bytes = &mut buffer[..len as usize];
            self.disk.read_at(offset, bytes)?;
            for run in data_runs(bytes, GRANULE) {
                self.out.write(offset + run.start as u64, &bytes[run])?;
            }
            offset += len;
        }
        self.out.complete(range.offset, range.len);
        Ok(())
    }
}
