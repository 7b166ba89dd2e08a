//! A table of fixed-size entries at a known place in the file, filled from front to back.
//!
//! Only one page of it is in memory, so a table of any length takes the same. Pages without an
//! entry of their own are left to the empty file if what they would hold is zeros.

use crate::Result;
use crate::output::Output;

/// Bytes gathered before they are written; a multiple of every entry.
const PAGE: usize = 64 << 10;

/// The table.
pub(super) struct Table<'a> {
    out: &'a Output<'a>,
    /// Where it begins in the file.
    offset: u64,
    /// Its length in bytes.
    len: u64,
    /// What an entry that is not set consists of.
    filler: u8,
    page: Vec<u8>,
    /// Number of the page in `page`.
    number: u64,
    /// Whether `page` differs from the empty file.
    dirty: bool,
}

impl<'a> Table<'a> {
    /// A table of `len` bytes at `offset`.
    pub(super) fn new(out: &'a Output<'a>, offset: u64, len: u64, filler: u8) -> Self {
        Self {
            out,
            offset,
            len,
            filler,
            page: vec![filler; PAGE],
            number: 0,
            dirty: filler != 0,
        }
    }

    /// Sets entry number `index`, which does not come before the last one that was set.
    pub(super) fn set<const N: usize>(&mut self, index: u64, entry: [u8; N]) -> Result<()> {
        let at = index * N as u64;
        self.go_to(at / PAGE as u64)?;
        let at = (at % PAGE as u64) as usize;
        self.page[at..at + N].copy_from_slice(&entry);
        self.dirty = true;
        Ok(())
    }

    /// Writes the rest.
    pub(super) fn finish(mut self) -> Result<()> {
        self.go_to(self.len.div_ceil(PAGE as u64))
    }

    /// Makes page `number` the current one and writes those before it.
    fn go_to(&mut self, number: u64) -> Result<()> {
        while self.number < number {
            if self.dirty {
                let start = self.number * PAGE as u64;
                let len = (self.len - start).min(PAGE as u64) as usize;
                self.out.write(self.offset + start, &self.page[..len])?;
                self.page.fill(self.filler);
                self.dirty = self.filler != 0;
            }
            self.number = match self.filler {
                0 => number,
                _ => self.number + 1,
            };
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    fn table(filler: u8, entries: u64, set: &[u64]) -> Vec<u8> {
        let file = tempfile::tempfile().unwrap();
        let out = Output::file(&file, false).unwrap();
        let mut table = Table::new(&out, 512, entries * 4, filler);
        for index in set {
            table.set(*index, [1, 2, 3, 4]).unwrap();
        }
        table.finish().unwrap();
        out.finish(512 + entries * 4 + 8).unwrap();
        let mut bytes = vec![9; entries as usize * 4 + 8];
        file.read_exact_at(&mut bytes, 512).unwrap();
        bytes
    }

    #[test]
    fn entries_land_in_their_place_and_the_rest_is_filler() {
        let entries = 3 * PAGE as u64 / 4 + 5;
        for filler in [0, 0xff] {
            for set in [
                vec![],
                vec![0, 1, 2],
                vec![entries - 1],
                vec![PAGE as u64 / 4 - 1, PAGE as u64 / 4, entries - 2],
            ] {
                let mut expected = vec![filler; entries as usize * 4];
                for index in &set {
                    expected[*index as usize * 4..][..4].copy_from_slice(&[1, 2, 3, 4]);
                }
                expected.extend([0; 8]);
                assert!(table(filler, entries, &set) == expected, "{filler} {set:?}");
            }
        }
    }
}
