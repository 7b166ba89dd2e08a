//! The file that an image is written to.

use std::fs::File;
use std::os::unix::fs::FileExt;

use crate::durable::{empty, start_writeback};
use crate::{Error, Result};

/// A file that was emptied, so that what is not written reads as zeros.
#[derive(Debug)]
pub(super) struct Output<'a> {
    file: &'a File,
    durable: bool,
}

impl<'a> Output<'a> {
    /// Empties `file`; `durable` says that it will be flushed in the end.
    pub(super) fn new(file: &'a File, durable: bool) -> Result<Self> {
        empty(file).map_err(doing)?;
        Ok(Self { file, durable })
    }

    /// Writes `bytes` at `offset`.
    pub(super) fn write(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.file.write_all_at(bytes, offset).map_err(doing)
    }

    /// Says that a range of a few megabytes is complete, so that it may go to the disk now and the
    /// flush at the end is short.
    pub(super) fn complete(&self, offset: u64, len: u64) {
        if self.durable {
            start_writeback(self.file, offset, len);
        }
    }

    /// Gives the file its length, which matters if it ends in a hole, and returns that.
    pub(super) fn finish(&self, len: u64) -> Result<u64> {
        self.file.set_len(len).map_err(doing)?;
        Ok(len)
    }
}

/// Bytes after which the kernel is asked to write.
const COMPLETE: u64 = 4 << 20;

/// How far a file that is written from front to back is complete.
#[derive(Debug, Default)]
pub(super) struct Completion {
    reached: Option<u64>,
}

impl Completion {
    /// Writes `bytes` at `offset`, behind everything that was written before through this.
    pub(super) fn write(&mut self, out: &Output<'_>, offset: u64, bytes: &[u8]) -> Result<()> {
        out.write(offset, bytes)?;
        let from = *self.reached.get_or_insert(offset);
        let len = (offset - from) + bytes.len() as u64;
        if len >= COMPLETE {
            out.complete(from, len);
            self.reached = Some(from + len);
        }
        Ok(())
    }
}

fn doing(cause: std::io::Error) -> Error {
    Error::io("writing the image", cause)
}
