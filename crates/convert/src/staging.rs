//! Writing a stream into a file so that its zeros become holes.

use std::fs::File;
use std::os::unix::fs::FileExt;

use crate::zero::is_zero;
use crate::{Error, Result};

/// Zeros become a hole where they fill an aligned block of this many bytes.
const GRANULE: usize = 64 * 1024;

/// Writes consecutive chunks into a file that was empty, leaving out the zeros.
///
/// Every chunk except the last has to be a multiple of [`GRANULE`] long.
#[derive(Debug)]
pub(crate) struct SparseWriter<'a> {
    file: &'a File,
    offset: u64,
}

impl<'a> SparseWriter<'a> {
    /// Empties `file` and starts at its beginning.
    pub(crate) fn new(file: &'a File) -> Result<Self> {
        file.set_len(0).map_err(doing)?;
        Ok(Self { file, offset: 0 })
    }

    /// Appends `bytes`.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let zeros = run(rest, true);
            let data = run(&rest[zeros..], false);
            let end = zeros + data;
            self.file
                .write_all_at(&rest[zeros..end], self.offset + zeros as u64)
                .map_err(doing)?;
            self.offset += end as u64;
            rest = &rest[end..];
        }
        Ok(())
    }

    /// Gives the file its length, which matters if it ends in a hole, and returns that.
    pub(crate) fn finish(self) -> Result<u64> {
        self.file.set_len(self.offset).map_err(doing)?;
        Ok(self.offset)
    }
}

/// Length of the run of granules at the start of `bytes` that are all zero, or all not.
fn run(bytes: &[u8], zero: bool) -> usize {
    bytes
        .chunks(GRANULE)
        .take_while(|granule| is_zero(granule) == zero)
        .map(<[u8]>::len)
        .sum()
}

fn doing(cause: std::io::Error) -> Error {
    Error::io("writing the staging file", cause)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn zeros_take_no_space_and_read_back() {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&[9; 100], 5 * GRANULE as u64).unwrap();
        let mut chunk = vec![0; 8 * GRANULE];
        chunk[GRANULE] = 1;
        chunk[6 * GRANULE - 1] = 2;
        let mut writer = SparseWriter::new(&file).unwrap();
        writer.write(&chunk).unwrap();
        writer.write(&vec![0; 100 * GRANULE]).unwrap();
        writer.write(&[0; 77]).unwrap();
        assert_eq!(writer.finish().unwrap(), 108 * GRANULE as u64 + 77);

        let mut back = vec![1; 108 * GRANULE + 77];
        file.read_exact_at(&mut back, 0).unwrap();
        chunk.resize(back.len(), 0);
        assert!(back == chunk);
        let stored = file.metadata().unwrap().blocks() * 512;
        assert!(stored <= 3 * GRANULE as u64, "{stored} bytes are stored");
    }
}
