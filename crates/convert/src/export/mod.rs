//! Writing the content of a disk in any of the five formats.
//!
//! [`export`] makes what another program asked for, where [`crate::encode`] makes what the stores
//! keep. All writers go once over the extents of the disk, read on several threads, and place what
//! they find in order, so the bytes of the file depend on the content of the disk alone: not on the
//! format it came in, its allocation, or the number of threads. Identifiers that others draw at
//! random come from a digest of the content ([`identity`]), and there are no dates.
//!
//! | target | allocated in units of      | with `compress`                               |
//! |--------|----------------------------|-----------------------------------------------|
//! | raw    | 4 KiB, the rest is a hole  | refused                                       |
//! | qcow2  | clusters of 64 KiB         | the canonical image, see [`crate::canonical`] |
//! | vhdx   | blocks of 1 MiB            | refused                                       |
//! | vdi    | blocks of 1 MiB            | refused                                       |
//! | vmdk   | grains of 64 KiB           | streamOptimized, see [`vmdk`]                 |
//!
//! A unit of zeros is not stored in any of them, and within a block of 1 MiB the file has holes
//! where 64 KiB are zeros.

mod blocks;
mod identity;
mod raw;
mod table;
mod vdi;
mod vhdx;
mod vmdk;

use std::fmt;
use std::fs::File;

use abbild_disk::{Disk, Format};

use crate::durable::{flush, sectors_size};
use crate::output::Output;
use crate::qcow2::CompressionType;
use crate::{Control, Error, ErrorKind, Result, canonical};
pub(crate) use identity::Identity;

/// A format that can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    /// The bytes of the disk as they are, zeros as holes.
    Raw,
    /// QEMU copy-on-write, version 3.
    Qcow2,
    /// Hyper-V virtual hard disk, dynamic.
    Vhdx,
    /// VirtualBox disk image, dynamic.
    Vdi,
    /// VMware virtual disk: monolithicSparse, or streamOptimized when compressed.
    Vmdk,
}

impl Target {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Raw, Self::Qcow2, Self::Vhdx, Self::Vdi, Self::Vmdk];

    /// The format that `abbild-disk` finds in such a file.
    pub fn format(self) -> Format {
        match self {
            Self::Raw => Format::Raw,
            Self::Qcow2 => Format::Qcow2,
            Self::Vhdx => Format::Vhdx,
            Self::Vdi => Format::Vdi,
            Self::Vmdk => Format::Vmdk,
        }
    }

    /// The name that `qemu-img` gives the format.
    pub fn name(self) -> &'static str {
        self.format().name()
    }

    /// The format of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|target| target.name() == name)
    }

    /// The format that a file name's suffix, without the dot, promises.
    pub fn from_suffix(suffix: &str) -> Option<Self> {
        let suffix = suffix.to_ascii_lowercase();
        match suffix.as_str() {
            "img" => Some(Self::Raw),
            name => Self::from_name(name),
        }
    }

    /// Whether the format can be written compressed.
    pub fn compresses(self) -> bool {
        matches!(self, Self::Qcow2 | Self::Vmdk)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How to [`export`].
#[derive(Debug, Clone, Copy)]
pub struct ExportOptions {
    /// The format of the file.
    pub target: Target,
    /// Whether to compress it, if the format can be.
    pub compress: bool,
    /// Number of threads that read and compress; 0 for one per processor. At most 16 are used. The
    /// result does not depend on it.
    pub threads: usize,
    /// Whether to wait at the end until the file is on the disk.
    pub durable: bool,
}

impl ExportOptions {
    /// Whether there is such a file.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] with code `not-compressible` if `compress` is set for a target
    /// that has no compression.
    pub fn check(&self) -> Result<()> {
        if self.compress && !self.target.compresses() {
            return Err(not_compressible(self.target));
        }
        Ok(())
    }
}

/// What [`export`] wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exported {
    /// Length of the file in bytes, holes included.
    pub file_size: u64,
    /// Size of the disk in bytes: that of the source, rounded up to a sector of 512 bytes.
    pub virtual_size: u64,
}

/// Writes the content of `disk` into the emptied file `out`. Progress counts bytes of the virtual
/// disk.
///
/// # Errors
/// - those of [`ExportOptions::check`];
/// - [`ErrorKind::Refused`] with code `virtual-size` for a disk that is empty, or larger than the
///   format can describe;
/// - those of reading the disk and of writing, and [`ErrorKind::Cancelled`].
pub fn export<D: Disk + Sync + ?Sized>(
    disk: &D,
    out: &File,
    options: ExportOptions,
    control: &Control<'_>,
) -> Result<Exported> {
    options.check()?;
    // Before the file is emptied.
    sectors_size(disk)?;
    let output = Output::file(out, options.durable)?;
    let exported = write(disk, &output, options, control)?;
    if options.durable {
        flush(out)?;
    }
    Ok(exported)
}

/// Writes the content of `disk` to `out`.
pub(crate) fn write<D: Disk + Sync + ?Sized>(
    disk: &D,
    out: &Output<'_>,
    options: ExportOptions,
    control: &Control<'_>,
) -> Result<Exported> {
    let virtual_size = sectors_size(disk)?;
    let job = Job {
        disk,
        virtual_size,
        out,
        threads: options.threads,
        control,
    };
    let file_size = match (options.target, options.compress) {
        (Target::Raw, _) => raw::write(&job)?,
        (Target::Qcow2, compress) => {
            let compression = match compress {
                true => CompressionType::Zstd,
                false => CompressionType::Zlib,
            };
            canonical::write(disk, out, compression, options.threads, control)?.file_size
        }
        (Target::Vhdx, _) => vhdx::write(&job)?,
        (Target::Vdi, _) => vdi::write(&job)?,
        (Target::Vmdk, false) => vmdk::sparse::write(&job)?,
        (Target::Vmdk, true) => vmdk::stream::write(&job)?,
    };
    Ok(Exported {
        file_size,
        virtual_size,
    })
}

/// What every writer is given.
struct Job<'a, D: ?Sized> {
    disk: &'a D,
    /// Whole sectors, see [`sectors_size`].
    virtual_size: u64,
    out: &'a Output<'a>,
    threads: usize,
    control: &'a Control<'a>,
}

impl<D: Disk + ?Sized> Job<'_, D> {
    /// Reports that everything before `done` is dealt with, and fails if the work is to stop.
    fn step(&self, done: u64) -> Result<()> {
        self.control.step(done, Some(self.disk.virtual_size()))
    }

    /// The last step: everything is dealt with.
    fn done(&self) -> Result<()> {
        self.step(self.disk.virtual_size())
    }

    /// Refuses a disk of more than `most` bytes.
    fn check_size(&self, most: u64, target: Target) -> Result<()> {
        if self.virtual_size <= most {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Refused,
            "virtual-size",
            format!(
                "the virtual disk has {} bytes; a {target} can have at most {most}",
                self.virtual_size
            ),
        )
        .with_hint("write a raw or qcow2 image instead"))
    }
}

fn not_compressible(target: Target) -> Error {
    let can: Vec<_> = Target::ALL
        .into_iter()
        .filter(|target| target.compresses())
        .map(Target::name)
        .collect();
    Error::new(
        ErrorKind::Unsupported,
        "not-compressible",
        format!(
            "a {target} image cannot be compressed, only {} can",
            can.join(" and ")
        ),
    )
    .with_hint(format!(
        "write a compressed qcow2, or the {target} without compression and pack it, for example \
         with `zstd`"
    ))
}
