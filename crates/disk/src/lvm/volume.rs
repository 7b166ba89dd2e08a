//! A logical volume as a source: bytes gathered from the stripes of its segments.

use super::Pool;
use super::group::{Layout, Segment};
use crate::{Error, ErrorKind, Extent, Result, Source, check_range, past_end};

/// The bytes of a logical volume.
#[derive(Debug)]
pub struct Volume<S> {
    /// In order, without gaps, at least one.
    segments: Layout,
    pool: Pool<S>,
    len: u64,
}

impl<S: Source> Volume<S> {
    /// Checks that every part of the volume lies on a physical volume that is there.
    pub(super) fn new(layout: &Layout, pool: Pool<S>, name: &str) -> Result<Self> {
        for segment in layout {
            for stripe in &segment.stripes {
                let Some(Some(physical)) = pool.get(stripe.physical) else {
                    return Err(missing(name));
                };
                let share = segment.share();
                if stripe.offset + share > physical.len() {
                    let wanted = usize::try_from(share).unwrap_or(usize::MAX);
                    return Err(past_end(stripe.offset, wanted, physical.len()));
                }
            }
        }
        let len = layout.last().map_or(0, |last| last.start + last.len);
        Ok(Self {
            segments: layout.clone(),
            pool,
            len,
        })
    }

    /// The physical volume that holds byte `offset`, where on it, and for how many bytes.
    fn place(&self, offset: u64) -> Result<(&S, u64, u64)> {
        let after = self.segments.partition_point(|s| s.start <= offset);
        let place = after
            .checked_sub(1)
            .and_then(|index| self.segments.get(index))
            .and_then(|segment| {
                let (stripe, host, len) = segment.place(offset - segment.start)?;
                let physical = self.pool.get(stripe)?.as_ref()?;
                Some((physical, host, len))
            });
        // Segments begin at 0 and join, and `new` has found their physical volumes.
        place.ok_or_else(|| past_end(offset, 1, self.len))
    }
}

fn missing(name: &str) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        "lvm-missing",
        format!("a part of the LVM volume {name} lies on a physical volume that is not there"),
    )
    .with_hint("move everything to one disk with `pvmove`, and make the image of that")
}

impl Segment {
    /// Bytes on each stripe.
    fn share(&self) -> u64 {
        self.len / self.stripes.len() as u64
    }

    /// Where byte `offset` of the segment lies: physical volume, offset on it, bytes up to the
    /// next stripe.
    fn place(&self, offset: u64) -> Option<(usize, u64, u64)> {
        let left = self.len.checked_sub(offset)?;
        let count = self.stripes.len() as u64;
        let (number, within) = (offset / self.chunk, offset % self.chunk);
        let stripe = self.stripes.get((number % count) as usize)?;
        // Within the stripe's share, whose end was checked not to overflow.
        let host = stripe.offset + number / count * self.chunk + within;
        Some((stripe.physical, host, left.min(self.chunk - within)))
    }
}

impl<S: Source> Source for Volume<S> {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, mut offset: u64, mut buf: &mut [u8]) -> Result<()> {
        check_range(offset, buf.len(), self.len)?;
        while !buf.is_empty() {
            let (physical, host, len) = self.place(offset)?;
            let len = usize::try_from(len).unwrap_or(buf.len()).min(buf.len());
            let (part, rest) = buf.split_at_mut(len);
            physical.read_at(host, part)?;
            offset += len as u64;
            buf = rest;
        }
        Ok(())
    }

    fn data_at(&self, offset: u64) -> Result<Extent> {
        check_range(offset, 1, self.len)?;
        let (physical, host, len) = self.place(offset)?;
        let extent = physical.data_at(host)?;
        Ok(Extent {
            offset,
            len: len.min(extent.len),
            kind: extent.kind,
        })
    }
}
