//! The one error type of this crate: what kind of fault, in which format, at which place.
//!
//! A user acts differently on each kind, so they are kept apart: [`ErrorKind::Io`] means the
//! *source* failed (try again), [`ErrorKind::NotRecognised`] that no format claimed the bytes,
//! [`ErrorKind::Unsupported`] that the image is valid but uses something we do not read,
//! [`ErrorKind::Corrupt`] that the image contradicts itself, and [`ErrorKind::Refused`] that we
//! could read it but will not (a reference to another file, a size above the limit).

use std::fmt;
use std::io;

use crate::Format;

/// What kind of fault an [`Error`] reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The underlying source could not be read.
    Io,
    /// No supported format recognises these bytes.
    NotRecognised,
    /// Valid, but uses a feature that is not supported.
    Unsupported,
    /// The image contradicts its own specification, or is truncated.
    Corrupt,
    /// Readable, but refused on purpose: unsafe or above a limit.
    Refused,
}

/// A failure to open or read a disk image.
///
/// `Display` is one lower-case sentence with the numbers in it; it does not repeat the source
/// error, which [`std::error::Error::source`] returns.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    /// The permanent kebab-case name of the check that failed, for example `backing-file`.
    code: &'static str,
    format: Option<Format>,
    offset: Option<u64>,
    message: String,
    hint: Option<String>,
    source: Option<io::Error>,
}

/// Shorthand for results of this crate.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error of `kind` whose permanent kebab-case name is `code`.
    pub fn new(kind: ErrorKind, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind,
            code,
            format: None,
            offset: None,
            message: message.into(),
            hint: None,
            source: None,
        }
    }

    /// The source failed while `len` bytes at `offset` were read.
    pub fn io(source: io::Error, offset: u64, len: usize) -> Self {
        let mut error = Self::new(
            ErrorKind::Io,
            "io",
            format!("reading {len} bytes at offset {offset} failed"),
        );
        error.offset = Some(offset);
        error.source = Some(source);
        error
    }

    /// Names the format whose structure is at fault.
    #[must_use]
    pub fn in_format(mut self, format: Format) -> Self {
        self.format = Some(format);
        self
    }

    /// Names the byte offset in the image file at which the fault was found.
    #[must_use]
    pub fn at(mut self, offset: u64) -> Self {
        self.offset = Some(offset);
        self
    }

    /// Adds what the user can do about it: a sentence or a command.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Names the part of the image, or the member of the archive, that the fault lies in.
    #[must_use]
    pub(crate) fn within(mut self, name: &str) -> Self {
        self.message = format!("`{name}`: {}", self.message);
        self
    }

    /// The class of the fault.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The permanent kebab-case name of the failed check.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// The format whose structure is at fault, once one has been recognised.
    pub fn format(&self) -> Option<Format> {
        self.format
    }

    /// The byte offset in the image file, where there is one. For an image in an archive it counts
    /// from the beginning of the member.
    pub fn offset(&self) -> Option<u64> {
        self.offset
    }

    /// The bare sentence, without format and offset.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to do next, where that is known.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(format) = self.format {
            write!(f, "{format}: ")?;
        }
        f.write_str(&self.message)?;
        match self.offset {
            Some(offset) if self.kind != ErrorKind::Io => write!(f, " (at byte offset {offset})"),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|e| e as _)
    }
}
