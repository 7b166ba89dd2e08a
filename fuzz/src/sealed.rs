//! VHDX files whose checksums are made right, so that a changed byte is not merely a wrong checksum.

use abbild_disk::{Extent, Result, Source};

const MIB: u64 = 1 << 20;
/// The headers and the region tables: where, and how long.
const STRUCTURES: [(u64, usize); 4] = [
    (64 << 10, 4 << 10),
    (128 << 10, 4 << 10),
    (192 << 10, 64 << 10),
    (256 << 10, 64 << 10),
];

/// A source with other checksums.
#[derive(Debug)]
pub struct Sealed<S> {
    source: S,
    /// Where a checksum is, in order, and what it must be.
    sums: Vec<(u64, [u8; 4])>,
}

impl<S: Source> Sealed<S> {
    /// Computes the checksums of headers and region tables, and of what looks like an entry in the
    /// first MiB of each log.
    pub fn new(source: S) -> Self {
        let mut sealed = Self {
            source,
            sums: Vec::new(),
        };
        let mut logs = Vec::new();
        for (offset, len) in STRUCTURES {
            if let Some(structure) = sealed.seal(offset, len) {
                let log = field(&structure, 72);
                if len == 4 << 10 && !logs.contains(&log) {
                    logs.push(log);
                }
            }
        }
        for log in logs {
            for sector in (0..MIB).step_by(4096) {
                sealed.seal_entry(log.saturating_add(sector));
            }
        }
        sealed.sums.sort_unstable();
        sealed.sums.dedup_by_key(|(at, _)| *at);
        sealed
    }

    fn read(&self, offset: u64, len: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; len];
        self.source.read_at(offset, &mut bytes).ok()?;
        Some(bytes)
    }

    /// Makes the checksum at byte 4 of a structure right; the structure.
    fn seal(&mut self, offset: u64, len: usize) -> Option<Vec<u8>> {
        let mut structure = self.read(offset, len)?;
        structure[4..8].fill(0);
        let sum = crc32c::crc32c(&structure).to_le_bytes();
        self.sums.push((offset + 4, sum));
        Some(structure)
    }

    fn seal_entry(&mut self, offset: u64) {
        let Some(head) = self.read(offset, 16) else {
            return;
        };
        let len = field(&head, 8) as u32 as usize;
        if head.starts_with(b"loge") && (4096..=1 << 17).contains(&len) {
            self.seal(offset, len);
        }
    }
}

fn field(bytes: &[u8], at: usize) -> u64 {
    let field = bytes[at..at + 8].try_into();
    field.map_or(0, u64::from_le_bytes)
}

impl<S: Source> Source for Sealed<S> {
    fn len(&self) -> u64 {
        self.source.len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.source.read_at(offset, buf)?;
        for (at, sum) in &self.sums {
            for (at, byte) in (*at..).zip(sum) {
                if let Some(place) = at.checked_sub(offset)
                    && let Some(slot) = buf.get_mut(place as usize)
                {
                    *slot = *byte;
                }
            }
        }
        Ok(())
    }

    fn data_at(&self, offset: u64) -> Result<Extent> {
        self.source.data_at(offset)
    }
}

#[cfg(test)]
mod tests {
    use abbild_disk::{Disk, open};

    use super::*;
    use crate::sectors::Sectors;

    #[test]
    fn a_log_without_checksums_is_applied() {
        let file = Sectors::parse(include_bytes!("../seeds/vhdx/vhdx-dirty-log"));
        assert!(open(&file).is_err());
        let disk = open(Sealed::new(&file)).expect("all checksums are right");
        assert!(disk.warnings()[0].contains("(entries: 1)"));
        disk.verify().expect("the log changes nothing");
    }
}
