//! Where bytes come from: the only input that a parser of this crate ever has.

use std::sync::Arc;

use crate::{Error, ErrorKind, Extent, ExtentKind, Result};

/// A finite, positioned, read-only sequence of bytes.
///
/// Synchronous on purpose, so that one parser serves a file, memory, a browser `File` in a Worker
/// and a staging file that is still growing.
#[allow(clippy::len_without_is_empty)] // an empty source is refused by every format
pub trait Source {
    /// Length in bytes.
    fn len(&self) -> u64;

    /// Fills `buf` from byte `offset`.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] with code `truncated` if the range ends past [`Source::len`];
    /// [`ErrorKind::Io`] if the source itself fails.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()>;

    /// The extent that contains byte `offset`, cut to begin there: stored bytes, or a run known
    /// to read as zeros.
    ///
    /// A source that knows nothing about holes calls everything data, which is always correct.
    ///
    /// # Errors
    /// As [`Source::read_at`] for one byte at `offset`.
    fn data_at(&self, offset: u64) -> Result<Extent> {
        let len = self.len();
        check_range(offset, 1, len)?;
        Ok(Extent {
            offset,
            len: len - offset,
            kind: ExtentKind::Data,
        })
    }
}

/// The error for a read that passes the end of a source of `len` bytes.
pub fn past_end(offset: u64, wanted: usize, len: u64) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        "truncated",
        format!("{wanted} bytes are needed but the file ends at byte {len}"),
    )
    .at(offset)
}

/// Checks that `wanted` bytes at `offset` lie within a source of `len` bytes.
///
/// # Errors
/// [`past_end`] if they do not, or if their end overflows.
pub fn check_range(offset: u64, wanted: usize, len: u64) -> Result<()> {
    let end = u64::try_from(wanted)
        .ok()
        .and_then(|wanted| offset.checked_add(wanted));
    match end {
        Some(end) if end <= len => Ok(()),
        _ => Err(past_end(offset, wanted, len)),
    }
}

impl Source for [u8] {
    fn len(&self) -> u64 {
        u64::try_from(<[u8]>::len(self)).unwrap_or(u64::MAX)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        check_range(offset, buf.len(), Source::len(self))?;
        let start =
            usize::try_from(offset).map_err(|_| past_end(offset, buf.len(), Source::len(self)))?;
        match self.get(start..).and_then(|tail| tail.get(..buf.len())) {
            Some(bytes) => buf.copy_from_slice(bytes),
            None => return Err(past_end(offset, buf.len(), Source::len(self))),
        }
        Ok(())
    }
}

impl Source for Vec<u8> {
    fn len(&self) -> u64 {
        Source::len(self.as_slice())
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.as_slice().read_at(offset, buf)
    }
}

impl<S: Source + ?Sized> Source for &S {
    fn len(&self) -> u64 {
        (**self).len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        (**self).read_at(offset, buf)
    }

    fn data_at(&self, offset: u64) -> Result<Extent> {
        (**self).data_at(offset)
    }
}

impl<S: Source + ?Sized> Source for Arc<S> {
    fn len(&self) -> u64 {
        (**self).len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        (**self).read_at(offset, buf)
    }

    fn data_at(&self, offset: u64) -> Result<Extent> {
        (**self).data_at(offset)
    }
}

/// A regular file, read with positioned reads so that threads can share it.
#[cfg(unix)]
#[derive(Debug)]
pub struct FileSource {
    file: std::fs::File,
    len: u64,
}

#[cfg(unix)]
impl FileSource {
    /// Takes the file's present length as the length of the source.
    ///
    /// # Errors
    /// Those of `fstat`.
    pub fn new(file: std::fs::File) -> std::io::Result<Self> {
        let len = file.metadata()?.len();
        Ok(Self { file, len })
    }

    /// Opens `path` for reading.
    ///
    /// # Errors
    /// Those of opening the file.
    pub fn open(path: &std::path::Path) -> std::io::Result<Self> {
        Self::new(std::fs::File::open(path)?)
    }

    /// The file itself.
    pub fn file(&self) -> &std::fs::File {
        &self.file
    }
}

#[cfg(unix)]
impl Source for FileSource {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        use std::os::unix::fs::FileExt;
        check_range(offset, buf.len(), self.len)?;
        self.file
            .read_exact_at(buf, offset)
            .map_err(|e| Error::io(e, offset, buf.len()))
    }

    /// Asks the file system for holes, so that a sparse file is walked without reading it.
    #[cfg(any(target_os = "linux", target_os = "macos", target_os = "freebsd"))]
    fn data_at(&self, offset: u64) -> Result<Extent> {
        use rustix::fs::{SeekFrom, seek};
        use rustix::io::Errno;

        check_range(offset, 1, self.len)?;
        // The file position that these calls move is never used: reads are positioned.
        let (end, kind) = match seek(&self.file, SeekFrom::Data(offset)) {
            Ok(data) if data > offset => (data, ExtentKind::Zero),
            Ok(_) => {
                let hole = seek(&self.file, SeekFrom::Hole(offset)).unwrap_or(self.len);
                (hole, ExtentKind::Data)
            }
            Err(Errno::NXIO) => (self.len, ExtentKind::Zero),
            // A file system or a device that cannot tell holds data as far as anyone knows.
            Err(_) => (self.len, ExtentKind::Data),
        };
        let end = end.min(self.len);
        // A file changed under us may answer nonsense; an extent is never empty.
        let (end, kind) = if end > offset {
            (end, kind)
        } else {
            (self.len, ExtentKind::Data)
        };
        Ok(Extent {
            offset,
            len: end - offset,
            kind,
        })
    }
}
