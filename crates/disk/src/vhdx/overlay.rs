//! The file as it would be after its log was written back, without writing anything.

use std::collections::BTreeMap;

use super::log::SECTOR;
use crate::{Extent, ExtentKind, Format, Result, Source, check_range};

/// A source, and what the log changes about it.
#[derive(Debug)]
pub(super) struct Overlay<S> {
    source: S,
    patch: Option<Patch>,
}

/// Changes to a file: sectors of 4 KiB with new content, and ranges of zeros.
///
/// Of two changes of the same bytes the later one stands, so zeros drop the sectors under them, and
/// a sector lies over all zeros.
#[derive(Debug)]
pub(super) struct Patch {
    /// The whole log; the sectors' content lies in it.
    log: Vec<u8>,
    /// Number of a sector of the file, and where in `log` its content begins.
    sectors: BTreeMap<u64, usize>,
    /// Zeros from the key to before the value, in bytes; ranges neither overlap nor touch.
    zeros: BTreeMap<u64, u64>,
    /// The file is at least this long, in bytes.
    min_len: u64,
}

impl Patch {
    /// No changes yet; their content will be taken from `log`.
    pub(super) fn new(log: Vec<u8>) -> Self {
        Self {
            log,
            sectors: BTreeMap::new(),
            zeros: BTreeMap::new(),
            min_len: 0,
        }
    }

    /// The log.
    pub(super) fn log(&self) -> &[u8] {
        &self.log
    }

    /// Replaces part of the log itself, which must lie within it.
    pub(super) fn write_log(&mut self, at: usize, bytes: &[u8]) {
        self.log[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// The sector of the file that begins at byte `offset` is the one at `at` of the log.
    pub(super) fn write_sector(&mut self, offset: u64, at: usize) {
        self.sectors.insert(offset / SECTOR, at);
        self.grow(offset + SECTOR);
    }

    /// The bytes `start .. end` of the file, both on sectors, are zero.
    pub(super) fn write_zeros(&mut self, mut start: u64, mut end: u64) {
        let dropped: Vec<u64> = self
            .sectors
            .range(start / SECTOR..end / SECTOR)
            .map(|(&sector, _)| sector)
            .collect();
        for sector in dropped {
            self.sectors.remove(&sector);
        }
        self.grow(end);
        while let Some((&other, &other_end)) = self.zeros.range(..=end).next_back() {
            if other_end < start {
                break;
            }
            self.zeros.remove(&other);
            start = start.min(other);
            end = end.max(other_end);
        }
        self.zeros.insert(start, end);
    }

    /// The file is at least `len` bytes long.
    pub(super) fn grow(&mut self, len: u64) {
        self.min_len = self.min_len.max(len);
    }

    /// How many ranges of zeros there are.
    pub(super) fn zero_ranges(&self) -> usize {
        self.zeros.len()
    }

    /// Changes `buf`, which was read at `offset`.
    fn apply(&self, offset: u64, buf: &mut [u8]) {
        // The caller has checked the range against a length, so it does not overflow.
        let end = offset + buf.len() as u64;
        // What lies between two offsets within `buf` fits a usize.
        let within = |at: u64| (at.clamp(offset, end) - offset) as usize;
        for (&start, &stop) in self.zeros.range(..end).rev() {
            if stop <= offset {
                break;
            }
            buf[within(start)..within(stop)].fill(0);
        }
        for (&sector, &at) in self
            .sectors
            .range(offset / SECTOR..end.div_ceil(SECTOR).max(offset / SECTOR))
        {
            let start = sector * SECTOR;
            let into = &mut buf[within(start)..within(start + SECTOR)];
            let skip = offset.saturating_sub(start) as usize;
            into.copy_from_slice(&self.log[at + skip..][..into.len()]);
        }
    }
}

impl<S: Source> Overlay<S> {
    /// `source` with the changes of `patch`, if there are any.
    pub(super) fn new(source: S, patch: Option<Patch>) -> Self {
        Self { source, patch }
    }
}

impl<S: Source> Source for Overlay<S> {
    fn len(&self) -> u64 {
        let min_len = self.patch.as_ref().map_or(0, |patch| patch.min_len);
        self.source.len().max(min_len)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let Some(patch) = &self.patch else {
            return self.source.read_at(offset, buf);
        };
        check_range(offset, buf.len(), self.len()).map_err(|e| e.in_format(Format::Vhdx))?;
        let left = self.source.len().saturating_sub(offset);
        let present = usize::try_from(left).unwrap_or(buf.len()).min(buf.len());
        let (file, beyond) = buf.split_at_mut(present);
        if !file.is_empty() {
            self.source.read_at(offset, file)?;
        }
        beyond.fill(0);
        patch.apply(offset, buf);
        Ok(())
    }

    fn data_at(&self, offset: u64) -> Result<Extent> {
        if self.patch.is_none() {
            return self.source.data_at(offset);
        }
        // Holes of the file may be filled by the log, so nothing is said about them.
        let len = self.len();
        check_range(offset, 1, len)?;
        Ok(Extent {
            offset,
            len: len - offset,
            kind: ExtentKind::Data,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_later_change_stands() {
        let mut log = vec![0xa1; 4096];
        log.resize(8192, 0xa2);
        let mut patch = Patch::new(log);
        patch.write_sector(4096, 0);
        patch.write_sector(8192, 0);
        patch.write_zeros(4096, 8192);
        patch.write_zeros(16_384, 20_480);
        patch.write_sector(16_384, 4096);
        patch.write_zeros(40_960, 45_056);
        patch.write_zeros(20_480, 24_576);
        assert_eq!(
            patch.zeros.iter().collect::<Vec<_>>(),
            [(&4096, &8192), (&16_384, &24_576), (&40_960, &45_056)]
        );
        let overlay = Overlay::new(vec![0x55; 30_000], Some(patch));
        assert_eq!(overlay.len(), 45_056);
        let mut whole = vec![1; 45_056];
        overlay.read_at(0, &mut whole).unwrap();
        let pages: Vec<u8> = whole.chunks(4096).map(|page| page[17]).collect();
        assert_eq!(pages, [0x55, 0, 0xa1, 0x55, 0xa2, 0, 0x55, 0x55, 0, 0, 0]);
        for (offset, len) in [(0, 5000), (8191, 2), (8193, 4096), (29_000, 9000)] {
            let mut buf = vec![1; len];
            overlay.read_at(offset as u64, &mut buf).unwrap();
            assert!(buf == whole[offset..offset + len], "{offset}, {len}");
        }
        assert!(overlay.read_at(45_056, &mut []).is_ok());
        assert!(overlay.read_at(45_056, &mut [0]).is_err());
    }

    #[test]
    fn zeros_that_touch_become_one_range() {
        let mut patch = Patch::new(Vec::new());
        for start in [0, 8192, 24_576, 4096, 16_384] {
            patch.write_zeros(start, start + 4096);
        }
        patch.write_zeros(0, 28_672);
        assert_eq!(patch.zeros.iter().collect::<Vec<_>>(), [(&0, &28_672)]);
    }
}
