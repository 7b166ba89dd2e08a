//! The error type of this crate, built like `abbild-disk`'s: kind, permanent code, place, message,
//! hint and source. An error of the disk being read passes through unchanged.

use std::fmt;
use std::io;

use abbild_disk as disk;

/// What kind of fault an [`Error`] reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A file could not be read or written; trying again may help.
    Io,
    /// Valid, but uses something that is not supported.
    Unsupported,
    /// The input is damaged, truncated, or not what it was said to be.
    Corrupt,
    /// Readable, but refused on purpose: above a limit, or nested compression.
    Refused,
    /// The caller asked to stop.
    Cancelled,
}

/// A failure to decode, encode or copy an image.
///
/// `Display` is one lower-case sentence; it does not repeat the source error, which
/// [`std::error::Error::source`] returns.
#[derive(Debug)]
pub struct Error(Repr);

#[derive(Debug)]
enum Repr {
    Own {
        kind: ErrorKind,
        code: &'static str,
        offset: Option<u64>,
        message: String,
        hint: Option<String>,
        source: Option<io::Error>,
    },
    Disk(disk::Error),
}

/// Shorthand for results of this crate.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error of `kind` whose permanent kebab-case name is `code`.
    pub(crate) fn new(kind: ErrorKind, code: &'static str, message: impl Into<String>) -> Self {
        Self(Repr::Own {
            kind,
            code,
            offset: None,
            message: message.into(),
            hint: None,
            source: None,
        })
    }

    /// `doing` (a gerund phrase such as "writing the staging file") failed with `source`.
    pub(crate) fn io(doing: &str, cause: io::Error) -> Self {
        let full = cause.kind() == io::ErrorKind::StorageFull;
        Self(Repr::Own {
            kind: ErrorKind::Io,
            code: "io",
            offset: None,
            message: format!("{doing} failed"),
            hint: full.then(|| "make room there, or write to another file system".to_owned()),
            source: Some(cause),
        })
    }

    /// The error for work that its caller stopped.
    pub(crate) fn cancelled() -> Self {
        Self::new(ErrorKind::Cancelled, "cancelled", "stopped on request")
    }

    /// Names the byte offset of the fault in the input.
    #[must_use]
    pub(crate) fn at(mut self, place: u64) -> Self {
        if let Repr::Own { offset, .. } = &mut self.0 {
            *offset = Some(place);
        }
        self
    }

    /// Adds what the user can do about it.
    #[must_use]
    pub(crate) fn with_hint(mut self, text: impl Into<String>) -> Self {
        if let Repr::Own { hint, .. } = &mut self.0 {
            *hint = Some(text.into());
        }
        self
    }

    /// The class of the fault.
    pub fn kind(&self) -> ErrorKind {
        match &self.0 {
            Repr::Own { kind, .. } => *kind,
            Repr::Disk(error) => match error.kind() {
                disk::ErrorKind::Io => ErrorKind::Io,
                disk::ErrorKind::NotRecognised | disk::ErrorKind::Unsupported => {
                    ErrorKind::Unsupported
                }
                disk::ErrorKind::Refused => ErrorKind::Refused,
                _ => ErrorKind::Corrupt,
            },
        }
    }

    /// The permanent kebab-case name of the fault, for example `truncated`.
    pub fn code(&self) -> &'static str {
        match &self.0 {
            Repr::Own { code, .. } => code,
            Repr::Disk(error) => error.code(),
        }
    }

    /// The byte offset in the input, where there is one.
    pub fn offset(&self) -> Option<u64> {
        match &self.0 {
            Repr::Own { offset, .. } => *offset,
            Repr::Disk(error) => error.offset(),
        }
    }

    /// What to do next, where that is known.
    pub fn hint(&self) -> Option<&str> {
        match &self.0 {
            Repr::Own { hint, .. } => hint.as_deref(),
            Repr::Disk(error) => error.hint(),
        }
    }
}

impl From<disk::Error> for Error {
    fn from(error: disk::Error) -> Self {
        Self(Repr::Disk(error))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Disk(error) => error.fmt(f),
            Repr::Own {
                message, offset, ..
            } => {
                f.write_str(message)?;
                match offset {
                    Some(offset) => write!(f, " (at byte offset {offset})"),
                    None => Ok(()),
                }
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.0 {
            Repr::Own { source, .. } => source.as_ref().map(|e| e as _),
            Repr::Disk(error) => error.source(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_has_a_hint() {
        let full = Error::io("writing the image", io::ErrorKind::StorageFull.into());
        assert_eq!((full.kind(), full.code()), (ErrorKind::Io, "io"));
        assert!(full.hint().is_some_and(|hint| hint.contains("make room")));
        let other = Error::io("writing the image", io::ErrorKind::NotFound.into());
        assert_eq!(other.hint(), None);
    }
}
