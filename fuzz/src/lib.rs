//! What the fuzz targets do with their input, apart from libFuzzer, so that the seeds can also be
//! run by an ordinary test.
//!
//! Every function takes any bytes and must neither panic nor take long. Disk images are mostly
//! empty and some formats begin with megabytes of room, so their inputs are written as
//! [`sectors::Sectors`]: small for the fuzzer, full-sized for the reader.

mod disk;
mod lvm;
mod sealed;
pub mod sectors;
mod stream;

pub use disk::{partition, qcow2, tar, vdi, vhdx, vmdk};
pub use lvm::lvm;
pub use stream::{bzip2, gzip, xz, zstd};

/// A target: its name, which is that of its directory of seeds, and what it does.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: &[Target] = &[
    ("qcow2", qcow2),
    ("vhdx", vhdx),
    ("vdi", vdi),
    ("vmdk", vmdk),
    ("tar", tar),
    ("partition", partition),
    ("lvm", lvm),
    ("gzip", gzip),
    ("bzip2", bzip2),
    ("xz", xz),
    ("zstd", zstd),
];
