//! Which parts of a file are spoken for, to find blocks that share bytes.

/// Units per window: a bitmap of 32 MiB, which in sectors covers 128 GiB of file.
const WINDOW: u64 = 1 << 28;

/// A bitmap of the units of a file, or of a window of them.
#[derive(Debug)]
pub(crate) struct Used {
    first: u64,
    words: Vec<u64>,
}

impl Used {
    /// Bitmaps that together cover `units`, one after another, so that memory is bounded however
    /// long the file is. Whoever checks a longer file walks its tables once per window.
    pub(crate) fn windows(units: u64) -> impl Iterator<Item = Self> {
        (0..units.div_ceil(WINDOW).max(1)).map(move |index| {
            let first = index * WINDOW;
            let count = (units - first).min(WINDOW);
            Self {
                first,
                // At most 2^22.
                words: vec![0; count.div_ceil(64) as usize],
            }
        })
    }

    /// Marks the units `start .. end` as used, as far as they lie within the window; whether none
    /// of them was used before.
    pub(crate) fn mark(&mut self, start: u64, end: u64) -> bool {
        let len = self.words.len() as u64 * 64;
        let end = end.saturating_sub(self.first).min(len);
        let mut at = start.saturating_sub(self.first);
        let mut free = true;
        while at < end {
            let bit = at % 64;
            let count = (64 - bit).min(end - at);
            let mask = (u64::MAX >> (64 - count)) << bit;
            let word = &mut self.words[(at / 64) as usize];
            free &= *word & mask == 0;
            *word |= mask;
            at += count;
        }
        free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_units_are_found_at_every_boundary() {
        for (start, end) in [(0, 1), (63, 65), (64, 128), (1, 200), (130, 131)] {
            let mut used = Used::windows(300).next().unwrap();
            assert!(used.mark(start, end));
            assert!(used.mark(end, end + 1), "{end} is free");
            assert!(!used.mark(start, start + 1));
            assert!(!used.mark(end - 1, end + 9));
            assert!(used.mark(5, 5), "an empty range meets nothing");
        }
    }

    #[test]
    fn windows_cover_a_long_file_without_overlap() {
        let units = WINDOW + 100;
        let mut hits = 0;
        for mut used in Used::windows(units) {
            assert!(used.mark(WINDOW - 1, WINDOW + 1));
            hits += u32::from(!used.mark(WINDOW - 1, WINDOW));
            hits += u32::from(!used.mark(WINDOW, WINDOW + 1));
            assert!(used.mark(units + 1000, u64::MAX), "past the end");
        }
        assert_eq!(hits, 2, "each unit is seen in one window");
    }
}
