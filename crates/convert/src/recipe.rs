//! An image that is written nowhere: for each of its bytes, where it comes from.
//!
//! Whoever downloads an image wants it in some format, now, and perhaps from the middle on, because
//! a connection broke. Writing a file first would take as long as reading the disk, and its size on
//! the operator's disk. But apart from its tables an uncompressed image consists of pieces of the
//! disk. [`compose`] makes the tables from the extents of the disk, without reading it, and
//! [`Recipe::read_at`] then gives any part of the file. The tables take at most about 32 MiB per
//! 100 GiB of data.
//!
//! Compressed images have no such map: the canonical image is a file already, and a streamOptimized
//! VMDK is made from front to back by [`stream`].

use abbild_disk::Disk;

use crate::export::{ExportOptions, Identity, Target, write};
use crate::output::Output;
use crate::{Control, Error, ErrorKind, Result};

/// Changes whenever the same disk and digest would give other bytes than before.
///
/// Whoever continues a download checks it, so as not to join the halves of two different files.
pub const RECIPE_VERSION: u32 = 1;

/// A range of the file.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) offset: u64,
    pub(crate) len: u64,
    pub(crate) content: Content,
}

/// What is in a [`Part`].
#[derive(Debug)]
pub(crate) enum Content {
    /// These bytes.
    Bytes(Vec<u8>),
    /// Those of the disk from this offset on, and zeros behind its end.
    Disk(u64),
}

/// How to read a file that does not exist.
#[derive(Debug)]
pub struct Recipe {
    /// Sorted, without overlaps; between them are zeros.
    parts: Vec<Part>,
    len: u64,
}

/// The recipe for the content of `disk` as an uncompressed `target`. `digest`, of anything that
/// stands for the content, takes the place of random identifiers: the same disk with the same
/// digest always gives the same bytes.
///
/// # Errors
/// [`ErrorKind::Refused`] with code `virtual-size` for a disk that is empty, or larger than the
/// format can describe, and those of looking up extents.
pub fn compose<D: Disk + Sync + ?Sized>(
    disk: &D,
    target: Target,
    digest: [u8; 32],
) -> Result<Recipe> {
    let output = Output::recipe(Identity::new(digest));
    let options = ExportOptions {
        target,
        compress: false,
        threads: 1,
        durable: false,
    };
    let len = write(disk, &output, options, &Control::none())?.file_size;
    let mut parts = output.into_parts();
    parts.sort_by_key(|part| part.offset);
    Ok(Recipe { parts, len })
}

/// Gives the bytes of a streamOptimized VMDK with the content of `disk` to `sink`, in order and in
/// pieces of at most a few megabytes. `digest` as for [`compose`].
///
/// # Errors
/// As [`compose`], and whatever `sink` says.
pub fn stream<D: Disk + Sync + ?Sized>(
    disk: &D,
    digest: [u8; 32],
    threads: usize,
    mut sink: impl FnMut(&[u8]) -> std::io::Result<()> + Send + 'static,
    control: &Control<'_>,
) -> Result<u64> {
    let sink = move |bytes: &[u8]| sink(bytes).map_err(|e| Error::io("sending the image", e));
    let output = Output::stream(Identity::new(digest), Box::new(sink));
    let options = ExportOptions {
        target: Target::Vmdk,
        compress: true,
        threads,
        durable: false,
    };
    Ok(write(disk, &output, options, control)?.file_size)
}

impl Recipe {
    /// Length of the file in bytes. Never 0.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Fills `buf` with the bytes of the file from `offset` on. `disk` is the one that the recipe
    /// was composed for.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] with code `range` beyond the end of the file; those of reading the
    /// disk.
    pub fn read_at<D: Disk + ?Sized>(&self, disk: &D, offset: u64, buf: &mut [u8]) -> Result<()> {
        let end = offset.checked_add(buf.len() as u64);
        let Some(end) = end.filter(|end| *end <= self.len) else {
            let why = format!("{} bytes at {offset} of {}", buf.len(), self.len);
            return Err(Error::new(ErrorKind::Refused, "range", why));
        };
        buf.fill(0);
        let first = self
            .parts
            .partition_point(|part| part.offset + part.len <= offset);
        for part in &self.parts[first..] {
            if part.offset >= end {
                break;
            }
            let from = part.offset.max(offset);
            let to = (part.offset + part.len).min(end);
            let target = &mut buf[(from - offset) as usize..(to - offset) as usize];
            part.read(disk, from - part.offset, target)?;
        }
        Ok(())
    }
}

impl Part {
    /// Fills `buf`, which is zeros, from `skip` bytes behind the beginning on.
    fn read<D: Disk + ?Sized>(&self, disk: &D, skip: u64, buf: &mut [u8]) -> Result<()> {
        match &self.content {
            Content::Bytes(bytes) => {
                let skip = skip as usize;
                buf.copy_from_slice(&bytes[skip..skip + buf.len()]);
            }
            Content::Disk(source) => {
                let start = source + skip;
                let there = disk.virtual_size().saturating_sub(start);
                let len = there.min(buf.len() as u64) as usize;
                if len > 0 {
                    disk.read_at(start, &mut buf[..len])?;
                }
            }
        }
        Ok(())
    }
}
