//! Writing decoded data into a file so that its zeros become holes, and not more of it than allowed.

use std::fs::File;
use std::os::unix::fs::FileExt;

use crate::zero::is_zero;
use crate::{Compression, Error, ErrorKind, Result};

/// Zeros become a hole where they fill so many bytes of what is written at a time.
const GRANULE: usize = 64 * 1024;

/// The file that a decoder fills, at any places in any order and from several threads.
#[derive(Debug)]
pub(crate) struct Output<'a> {
    file: &'a File,
    limit: u64,
    outer: Option<Compression>,
}

impl<'a> Output<'a> {
    /// Empties `file`, which is to take at most `limit` bytes of what `outer` decodes to.
    pub(crate) fn new(file: &'a File, limit: u64, outer: Option<Compression>) -> Result<Self> {
        file.set_len(0).map_err(doing)?;
        Ok(Self { file, limit, outer })
    }

    /// Writes `bytes` at `offset`, without their zeros: nothing else was written there before.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] with code `virtual-size` past the limit, or `nested-compression` if
    /// these are the first bytes and those of a compressed file; those of writing.
    pub(crate) fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.zeros(offset, bytes.len() as u64)?;
        if let (0, Some(outer)) = (offset, self.outer)
            && let Some(inner) = Compression::detect(bytes)
        {
            return Err(nested(outer, inner));
        }
        let mut at = 0;
        while at < bytes.len() {
            at += run(&bytes[at..], true);
            let end = at + run(&bytes[at..], false);
            self.file
                .write_all_at(&bytes[at..end], offset + at as u64)
                .map_err(doing)?;
            at = end;
        }
        Ok(())
    }

    /// Leaves out `len` zeros at `offset`.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] with code `virtual-size` past the limit.
    pub(crate) fn zeros(&self, offset: u64, len: u64) -> Result<()> {
        match offset.checked_add(len) {
            Some(end) if end <= self.limit => Ok(()),
            _ => Err(self.too_large()),
        }
    }

    /// Gives the file its length in bytes, which matters if it ends in a hole.
    pub(crate) fn finish(self, len: u64) -> Result<()> {
        self.file.set_len(len).map_err(doing)
    }

    fn too_large(&self) -> Error {
        let what = match self.outer {
            Some(outer) => format!("the {outer} file decompresses to more than"),
            None => "the file is larger than".to_owned(),
        };
        Error::new(
            ErrorKind::Refused,
            "virtual-size",
            format!("{what} the limit of {} bytes", self.limit),
        )
    }
}

fn nested(outer: Compression, inner: Compression) -> Error {
    Error::new(
        ErrorKind::Refused,
        "nested-compression",
        format!("the {outer} file contains a {inner} file instead of a disk image"),
    )
    .with_hint(format!(
        "unpack the file once with `{}` and upload the result",
        outer.unpack_command()
    ))
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
        let output = Output::new(&file, u64::MAX, None).unwrap();
        output.write_at(0, &chunk).unwrap();
        output.write_at(9 * GRANULE as u64 + 5, &[3; 9]).unwrap();
        output
            .write_at(20 * GRANULE as u64 + 1, &vec![0; 80 * GRANULE])
            .unwrap();
        output.finish(108 * GRANULE as u64 + 77).unwrap();

        let mut back = vec![1; 108 * GRANULE + 77];
        file.read_exact_at(&mut back, 0).unwrap();
        chunk.resize(back.len(), 0);
        chunk[9 * GRANULE + 5..9 * GRANULE + 14].fill(3);
        assert!(back == chunk);
        let stored = file.metadata().unwrap().blocks() * 512;
        assert!(stored <= 4 * GRANULE as u64, "{stored} bytes are stored");
    }
}
