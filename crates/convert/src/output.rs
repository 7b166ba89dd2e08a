//! Where the writers put an image: into a file, into a stream, or into a [`Recipe`] that only says
//! where each byte comes from.
//!
//! Writers place headers and tables anywhere and the content of the disk in order. A file takes
//! both as they come. A recipe keeps headers and tables, which are small, and of the content only
//! where it lies on the disk. A stream takes what comes in order alone.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::durable::{empty, start_writeback};
use crate::export::Identity;
use crate::recipe::{Content, Part};
use crate::{Error, ErrorKind, Result};

/// What is written to; whatever is not written reads as zeros.
pub(crate) enum Output<'a> {
    /// A file that was emptied.
    File {
        /// The file.
        file: &'a File,
        /// Whether it will be flushed in the end.
        durable: bool,
    },
    /// The parts of a recipe, of a disk whose identity is known.
    Recipe {
        /// Who the disk is.
        identity: Identity,
        /// In the order in which they were placed.
        parts: Mutex<Vec<Part>>,
    },
    /// Somebody who takes the bytes one after another, of a disk whose identity is known.
    Stream {
        /// Who the disk is.
        identity: Identity,
        /// Who takes the bytes, and how many came already.
        sink: Mutex<(Box<Sink>, u64)>,
    },
}

/// Takes the next bytes of a stream.
pub(crate) type Sink = dyn FnMut(&[u8]) -> Result<()> + Send;

impl<'a> Output<'a> {
    /// Empties `file`; `durable` says that it will be flushed in the end.
    pub(crate) fn file(file: &'a File, durable: bool) -> Result<Self> {
        empty(file).map_err(doing)?;
        Ok(Self::File { file, durable })
    }

    /// The parts of a recipe.
    pub(crate) fn recipe(identity: Identity) -> Self {
        let parts = Mutex::default();
        Self::Recipe { identity, parts }
    }

    /// A stream into `sink`.
    pub(crate) fn stream(identity: Identity, sink: Box<Sink>) -> Self {
        let sink = Mutex::new((sink, 0));
        Self::Stream { identity, sink }
    }

    /// Who the disk is, if that need not be found out by reading it.
    pub(crate) fn identity(&self) -> Option<Identity> {
        match self {
            Self::File { .. } => None,
            Self::Recipe { identity, .. } | Self::Stream { identity, .. } => Some(*identity),
        }
    }

    /// The identity, if this is a recipe, which takes [`Output::refer`] instead of content.
    pub(crate) fn is_recipe(&self) -> Option<Identity> {
        match self {
            Self::Recipe { identity, .. } => Some(*identity),
            _ => None,
        }
    }

    /// Writes `bytes` at `offset`.
    pub(crate) fn write(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        match self {
            Self::File { file, .. } => file.write_all_at(bytes, offset).map_err(doing),
            Self::Recipe { parts, .. } => {
                locked(parts).push(Part {
                    offset,
                    len: bytes.len() as u64,
                    content: Content::Bytes(bytes.to_vec()),
                });
                Ok(())
            }
            Self::Stream { sink, .. } => {
                let (sink, position) = &mut *locked(sink);
                pad(sink, position, offset)?;
                *position += bytes.len() as u64;
                sink(bytes)
            }
        }
    }

    /// Says that `len` bytes at `offset` are those of the disk at `source`.
    pub(crate) fn refer(&self, offset: u64, len: u64, source: u64) {
        let Self::Recipe { parts, .. } = self else {
            return;
        };
        let mut parts = locked(parts);
        if let Some(Part {
            offset: before,
            len: length,
            content: Content::Disk(from),
        }) = parts.last_mut()
            && *before + *length == offset
            && *from + *length == source
        {
            *length += len;
            return;
        }
        parts.push(Part {
            offset,
            len,
            content: Content::Disk(source),
        });
    }

    /// Says that a range of a few megabytes is complete, so that it may go to the disk now and the
    /// flush at the end is short.
    pub(crate) fn complete(&self, offset: u64, len: u64) {
        if let Self::File {
            file,
            durable: true,
        } = self
        {
            start_writeback(file, offset, len);
        }
    }

    /// Gives the image its length, which matters if it ends in a hole, and returns that.
    pub(crate) fn finish(&self, len: u64) -> Result<u64> {
        match self {
            Self::File { file, .. } => file.set_len(len).map_err(doing)?,
            Self::Recipe { .. } => {}
            Self::Stream { sink, .. } => {
                let (sink, position) = &mut *locked(sink);
                pad(sink, position, len)?;
            }
        }
        Ok(len)
    }

    /// The parts of a recipe; empty for anything else.
    pub(crate) fn into_parts(self) -> Vec<Part> {
        match self {
            Self::Recipe { parts, .. } => {
                parts.into_inner().unwrap_or_else(PoisonError::into_inner)
            }
            _ => Vec::new(),
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sends zeros up to `offset`.
fn pad(sink: &mut Sink, position: &mut u64, offset: u64) -> Result<()> {
    const ZEROS: [u8; 4096] = [0; 4096];
    if offset < *position {
        let why = format!("byte {offset} comes after byte {position}");
        return Err(Error::new(ErrorKind::Unsupported, "not-a-stream", why));
    }
    while *position < offset {
        let len = (offset - *position).min(ZEROS.len() as u64);
        sink(&ZEROS[..len as usize])?;
        *position += len;
    }
    Ok(())
}

/// Bytes after which the kernel is asked to write.
const COMPLETE: u64 = 4 << 20;

/// How far an image that is written from front to back is complete.
#[derive(Debug, Default)]
pub(crate) struct Completion {
    reached: Option<u64>,
}

impl Completion {
    /// Writes `bytes` at `offset`, behind everything that was written before through this.
    pub(crate) fn write(&mut self, out: &Output<'_>, offset: u64, bytes: &[u8]) -> Result<()> {
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
