//! Virtual-disk images as read-only arrays of guest-visible bytes.
//!
//! Start with [`open`]: it takes any [`Source`], finds the format by content and returns an
//! [`Image`], which is a [`Disk`]: a virtual size, positioned reads and the list of [`Extent`]s
//! that hold data. A `Disk` is itself a `Source`, so partition tables ([`partition`]) and file
//! systems never know which format they lie in.
//!
//! The bytes are hostile. Nothing named inside an image is ever opened, every size in a header is
//! checked before it is used, and memory and time are bounded whatever the header says.

mod bytes;
mod cache;
mod codec;
mod detect;
mod error;
mod extent;
mod format;
pub mod lvm;
pub mod partition;
pub mod qcow2;
mod range;
pub mod raw;
mod source;
mod table;
mod tar;
mod used;
pub mod vdi;
pub mod vhdx;
pub mod vmdk;

use detect::Found;
pub use error::{Error, ErrorKind, Result};
pub use extent::{Extent, ExtentKind};
pub use format::Format;
pub use range::Range;
#[cfg(unix)]
pub use source::FileSource;
pub use source::{Source, check_range, past_end};

/// What an image may ask for at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest accepted virtual size, in bytes.
    pub max_virtual_size: u64,
}

impl Default for Limits {
    /// 100 GiB.
    fn default() -> Self {
        Self {
            max_virtual_size: 107_374_182_400,
        }
    }
}

impl Limits {
    /// Refuses a virtual size above the limit.
    fn check(&self, size: u64) -> Result<()> {
        if size <= self.max_virtual_size {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Refused,
            "virtual-size",
            format!(
                "the virtual disk has {size} bytes; at most {} are accepted",
                self.max_virtual_size
            ),
        )
        .with_hint(
            "shrink the file system, its partition and the image: `virt-resize --shrink`, for \
             example",
        ))
    }
}

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
    /// of the same kind. The same as [`Source::data_at`].
    ///
    /// # Errors
    /// Those of reading the mapping tables.
    fn extent_at(&self, offset: u64) -> Result<Extent> {
        self.data_at(offset)
    }

    /// Oddities that did not prevent opening, each a full sentence: a damaged primary GPT, a
    /// dirty bit, internal snapshots that are ignored.
    fn warnings(&self) -> &[String] {
        &[]
    }

    /// Checks that every stored byte the mapping tables speak of exists, by reading all tables
    /// and no data: finds a truncated file in milliseconds.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`], code `truncated` for bytes past the end of the file, or the fault
    /// of a table entry.
    fn verify(&self) -> Result<()> {
        Ok(())
    }
}

/// An opened image of any supported format.
///
/// It lies in a [`Range`] of the source: all of it, or the member of a tar archive.
#[derive(Debug)]
#[non_exhaustive]
pub enum Image<S> {
    /// Bytes as they are, with a partition table.
    Raw(raw::Disk<Range<S>>),
    /// QEMU copy-on-write.
    Qcow2(qcow2::Disk<Range<S>>),
    /// Hyper-V's second virtual hard disk format.
    Vhdx(vhdx::Disk<Range<S>>),
    /// VirtualBox' disk image.
    Vdi(vdi::Disk<Range<S>>),
    /// VMware's virtual disk, of one file or of the members of an archive.
    Vmdk(vmdk::Disk<Range<S>>),
}

/// Runs `$body` on the disk inside an [`Image`].
macro_rules! each_format {
    ($image:expr, $disk:ident => $body:expr) => {
        match $image {
            Image::Raw($disk) => $body,
            Image::Qcow2($disk) => $body,
            Image::Vhdx($disk) => $body,
            Image::Vdi($disk) => $body,
            Image::Vmdk($disk) => $body,
        }
    };
}

impl<S: Source> Source for Image<S> {
    fn len(&self) -> u64 {
        each_format!(self, disk => disk.len())
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        each_format!(self, disk => disk.read_at(offset, buf))
    }

    fn data_at(&self, offset: u64) -> Result<Extent> {
        each_format!(self, disk => disk.data_at(offset))
    }
}

impl<S: Source> Disk for Image<S> {
    fn format(&self) -> Format {
        each_format!(self, disk => disk.format())
    }

    fn warnings(&self) -> &[String] {
        each_format!(self, disk => disk.warnings())
    }

    fn verify(&self) -> Result<()> {
        each_format!(self, disk => disk.verify())
    }
}

/// Opens the image in `source`, of whatever supported format, within the default [`Limits`].
///
/// # Errors
/// As [`open_with`].
pub fn open<S: Source>(source: S) -> Result<Image<S>> {
    open_with(source, &Limits::default())
}

/// Opens the image in `source`, of whatever supported format.
///
/// The format is found by content, never by name, and a format whose magic matches is never
/// taken for another one. A tar archive, which an OVA is, is looked into: it must hold exactly one
/// disk image.
///
/// # Errors
/// [`ErrorKind::Unsupported`] for what is recognised but not read (its hint names the command that
/// turns it into something that is), [`ErrorKind::NotRecognised`] for the rest, and the faults of
/// the format itself.
pub fn open_with<S: Source>(source: S, limits: &Limits) -> Result<Image<S>> {
    let whole = Range::whole(source);
    match detect::detect(&whole)? {
        Found::Disk(format) => Image::open_as(format, whole, limits),
        Found::Tar => tar::open(whole, limits),
        Found::VmdkDescriptor => Err(vmdk::lone_descriptor(&whole)),
    }
}

impl<S: Source> Image<S> {
    /// Opens the image of `format` in `source`.
    fn open_as(format: Format, source: Range<S>, limits: &Limits) -> Result<Self> {
        match format {
            Format::Raw => raw::Disk::open_with(source, limits).map(Self::Raw),
            Format::Qcow2 => qcow2::Disk::open_with(source, limits).map(Self::Qcow2),
            Format::Vhdx => vhdx::Disk::open_with(source, limits).map(Self::Vhdx),
            Format::Vdi => vdi::Disk::open_with(source, limits).map(Self::Vdi),
            Format::Vmdk => vmdk::Disk::open_with(source, limits).map(Self::Vmdk),
        }
    }
}
