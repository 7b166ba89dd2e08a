//! Virtual-disk images as read-only arrays of guest-visible bytes.
//!
//! Start with [`open`]: it takes any [`Source`], finds the format by content and returns an
//! [`Image`], which is a [`Disk`]: a virtual size, positioned reads and the list of [`Extent`]s
//! that hold data. A `Disk` is itself a `Source`, so partition tables ([`partition`]) and file
//! systems never know which format they lie in.
//!
//! The bytes are hostile. Nothing named inside an image is ever opened, every size in a header is
//! checked before it is used, and memory and time are bounded whatever the header says.

mod error;
mod extent;
mod format;
mod source;

pub use error::{Error, ErrorKind, Result};
pub use extent::{Extent, ExtentKind};
pub use format::Format;
#[cfg(unix)]
pub use source::FileSource;
pub use source::{Source, check_range, past_end};

/// A virtual disk: guest-visible bytes, whatever container they are stored in.
///
/// As a [`Source`], its `len` is the virtual size.
pub trait Disk: Source {
    /// The container format.
    fn format(&self) -> Format;

    /// Size of the disk that a guest sees, in bytes.
    fn virtual_size(&self) -> u64 {
        self.len()
    }

    /// The extent that contains byte `offset` of the virtual disk, cut to begin at `offset`.
    ///
    /// Walking from 0 by adding `len` covers the disk exactly once. Neighbouring extents may be
    /// of the same kind.
    ///
    /// # Errors
    /// Those of reading the mapping tables.
    fn extent_at(&self, offset: u64) -> Result<Extent>;

    /// Oddities that did not prevent opening, each a full sentence: a damaged primary GPT, a
    /// dirty bit, internal snapshots that are ignored.
    fn warnings(&self) -> &[String] {
        &[]
    }
}

/// An opened image of any supported format.
#[derive(Debug)]
#[non_exhaustive]
pub enum Image<S> {
    /// Bytes as they are, with a partition table.
    Raw(raw::Disk<S>),
    /// QEMU copy-on-write.
    Qcow2(qcow2::Disk<S>),
}
