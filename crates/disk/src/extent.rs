//! Which parts of a disk hold data, so that readers can skip the rest.

use crate::Result;

/// How many runs of a format's tables one extent may span. It bounds the time of one call; a
/// longer run of the same kind comes as several extents.
const MAX_RUNS: usize = 256;

/// What a run of a virtual disk holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExtentKind {
    /// Stored bytes, which may of course all be zero.
    Data,
    /// Reads as zeros without anything being stored.
    Zero,
}

/// A run of bytes of a virtual disk, all of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Extent {
    /// First byte on the virtual disk.
    pub offset: u64,
    /// Length in bytes, never zero.
    pub len: u64,
    /// What is there.
    pub kind: ExtentKind,
}

impl Extent {
    /// The extent at `offset` of a disk of `size` bytes: `run` tells the kind of the bytes at an
    /// offset and for how many bytes at least, and neighbours of the same kind are joined.
    ///
    /// `offset` must lie on the disk.
    ///
    /// # Errors
    /// That of the first run. A fault further on is reported where it lies; what was found before
    /// it is right.
    pub(crate) fn join(
        offset: u64,
        size: u64,
        run: impl Fn(u64) -> Result<(ExtentKind, u64)>,
    ) -> Result<Self> {
        let (kind, len) = run(offset)?;
        let mut end = offset + len;
        for _ in 1..MAX_RUNS {
            if end >= size {
                break;
            }
            match run(end) {
                Ok((next, len)) if next == kind => end += len,
                _ => break,
            }
        }
        Ok(Self {
            offset,
            len: end - offset,
            kind,
        })
    }
}
