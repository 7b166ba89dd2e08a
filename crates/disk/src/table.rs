//! Tables of fixed-size entries in the file, read piece by piece.
//!
//! A block map has an entry for every block of the disk, so its size is whatever the header says.
//! It is therefore never held as a whole: slices of it are read when they are asked for, and
//! cached within a fixed amount of memory.

use std::sync::Arc;

use crate::bytes::{le32, le64};
use crate::cache::Cache;
use crate::{Format, Result, Source, check_range};

/// log2 of the entries that are read and cached at once.
pub(crate) const SLICE_BITS: u32 = 13;
/// Memory for cached slices.
const CACHE_BYTES: usize = 8 << 20;

/// How entries are stored; both are little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Width {
    /// 32 bits.
    Four,
    /// 64 bits.
    Eight,
}

impl Width {
    fn bytes(self) -> u64 {
        match self {
            Self::Four => 4,
            Self::Eight => 8,
        }
    }
}

/// The slice that was used last, so that a walk does not ask the cache for every entry.
pub(crate) type Last = Option<(u64, Arc<[u64]>)>;

/// One table of an image.
#[derive(Debug)]
pub(crate) struct Table {
    format: Format,
    /// First byte in the file.
    offset: u64,
    entries: u64,
    width: Width,
    slices: Cache<u64>,
}

impl Table {
    /// A table of `entries` at byte `offset`; both were checked to fit a file.
    pub(crate) fn new(format: Format, offset: u64, entries: u64, width: Width) -> Self {
        Self {
            format,
            offset,
            entries,
            width,
            slices: Cache::new(CACHE_BYTES >> (SLICE_BITS + 3)),
        }
    }

    /// Where entry `number` lies in the file, in bytes.
    pub(crate) fn place(&self, number: u64) -> u64 {
        self.offset + number * self.width.bytes()
    }

    /// Entry `number`, which must be one of the table.
    ///
    /// # Errors
    /// Those of reading it.
    pub(crate) fn get<S: Source>(&self, source: &S, number: u64, last: &mut Last) -> Result<u64> {
        let index = number >> SLICE_BITS;
        let within = (number & ((1 << SLICE_BITS) - 1)) as usize;
        let slice = match last {
            Some((held, slice)) if *held == index => slice,
            _ => {
                let slice = self
                    .slices
                    .get_or_load(index, || self.read(source, index))?;
                &last.insert((index, slice)).1
            }
        };
        // The caller asks for entries of the table only.
        Ok(slice.get(within).copied().unwrap_or(0))
    }

    fn read<S: Source>(&self, source: &S, index: u64) -> Result<Arc<[u64]>> {
        let first = index << SLICE_BITS;
        let count = self.entries.saturating_sub(first).min(1 << SLICE_BITS);
        // At most 64 KiB.
        let mut bytes = vec![0; (count * self.width.bytes()) as usize];
        let offset = self.place(first);
        check_range(offset, bytes.len(), source.len()).map_err(|e| e.in_format(self.format))?;
        source.read_at(offset, &mut bytes)?;
        Ok(match self.width {
            Width::Four => bytes
                .chunks_exact(4)
                .map(|entry| le32(entry, 0).into())
                .collect(),
            Width::Eight => bytes.chunks_exact(8).map(|entry| le64(entry, 0)).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_both_widths_are_read_across_slices() {
        let bytes: Vec<u8> = (0..40_000u32).flat_map(u32::to_le_bytes).collect();
        let narrow = Table::new(Format::Vdi, 4, 39_999, Width::Four);
        let wide = Table::new(Format::Vhdx, 8, 19_999, Width::Eight);
        let mut last = None;
        for number in [0, 1, 8191, 8192, 39_998] {
            let entry = narrow.get(&bytes, number, &mut last).unwrap();
            assert_eq!(entry, number + 1);
        }
        last = None;
        for number in [0, 8191, 8192, 19_998] {
            let entry = wide.get(&bytes, number, &mut last).unwrap();
            assert_eq!(entry, (number * 2 + 2) | (number * 2 + 3) << 32);
        }
        assert_eq!(wide.place(3), 32);
    }

    #[test]
    fn a_table_past_the_end_is_truncated() {
        let table = Table::new(Format::Vdi, 0, 1 << 30, Width::Four);
        let error = table.get(&vec![0; 100], 0, &mut None).unwrap_err();
        assert_eq!(
            (error.code(), error.format()),
            ("truncated", Some(Format::Vdi))
        );
    }
}
