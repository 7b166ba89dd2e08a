//! Sparse files in few bytes.
//!
//! ```text
//! length of the file in bytes     u64, little-endian
//! then any number of times:
//!   sector, counted in 512 bytes  u32, little-endian
//!   bytes that follow             u16, little-endian
//!   those bytes
//! ```
//!
//! Everything that is not written reads as zeros. A later record hides an earlier one. What does
//! not parse is ignored, so that every input is a file.

use abbild_disk::{Result, Source, check_range};

const SECTOR: u64 = 512;
/// No file is longer: 16 TiB, so that no sum of offsets overflows in here.
const MAX_LEN: u64 = 1 << 44;

/// The file that an input describes.
#[derive(Debug)]
pub struct Sectors<'a> {
    len: u64,
    /// Offset and content, in order of the input.
    records: Vec<(u64, &'a [u8])>,
}

impl<'a> Sectors<'a> {
    /// Reads the records of `input`.
    pub fn parse(input: &'a [u8]) -> Self {
        let (len, mut rest) = match input.split_first_chunk::<8>() {
            Some((len, rest)) => (u64::from_le_bytes(*len).min(MAX_LEN), rest),
            None => (0, input),
        };
        let mut records = Vec::new();
        while let Some((sector, tail)) = rest.split_first_chunk::<4>()
            && let Some((count, tail)) = tail.split_first_chunk::<2>()
        {
            let count = usize::from(u16::from_le_bytes(*count)).min(tail.len());
            let (bytes, tail) = tail.split_at(count);
            records.push((u64::from(u32::from_le_bytes(*sector)) * SECTOR, bytes));
            rest = tail;
        }
        Self { len, records }
    }

    /// Writes `file` in this form.
    pub fn encode(file: &[u8]) -> Vec<u8> {
        let mut input = (file.len() as u64).to_le_bytes().to_vec();
        for (sector, bytes) in file.chunks(SECTOR as usize).enumerate() {
            let used = bytes
                .iter()
                .rposition(|&byte| byte != 0)
                .map_or(0, |last| last + 1);
            if used > 0 {
                input.extend((sector as u32).to_le_bytes());
                input.extend((used as u16).to_le_bytes());
                input.extend(&bytes[..used]);
            }
        }
        input
    }
}

impl Source for Sectors<'_> {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        check_range(offset, buf.len(), self.len)?;
        buf.fill(0);
        let end = offset + buf.len() as u64;
        for (start, bytes) in &self.records {
            let (from, to) = (offset.max(*start), end.min(start + Source::len(bytes)));
            if from < to {
                buf[(from - offset) as usize..(to - offset) as usize]
                    .copy_from_slice(&bytes[(from - start) as usize..(to - start) as usize]);
            }
        }
        Ok(())
    }
}
