//! Native-speed work on whole images: decompressing an upload, encoding the canonical image,
//! making overlays for virtual machines, and hashing and copying files.
//!
//! An import uses it in this order. [`decode_to_staging`] turns a compressed upload into a
//! sparse file and stops at the size limit. The service opens that file with `abbild-disk` and
//! checks it. [`encode`] rewrites what the guest would see as *our* qcow2, whose bytes depend on
//! the content alone, so that its SHA-256 can be its name. [`copy_verified`] carries that file to
//! another region's store, and [`create_overlay`] gives each virtual machine a writable layer on
//! top of it. [`export`] writes a disk in the format that somebody wants to have.
//!
//! Every function is synchronous, uses a few threads and a bounded amount of memory, and takes a
//! [`Control`] through which it reports progress and can be cancelled. Output files are passed
//! open, are emptied first, and are left incomplete when a function fails: the caller removes
//! them.

mod bzip2;
mod canonical;
mod compression;
mod control;
mod durable;
mod error;
mod estimate;
mod export;
mod gzip;
mod hash;
mod head;
mod output;
mod overlay;
mod pipe;
mod pool;
mod qcow2;
mod ranges;
mod recipe;
mod shelf;
mod staging;
mod stream;
mod workers;
mod xz;
mod zero;
mod zstd;

pub use canonical::{ENCODER_VERSION, Encoded, Options, encode};
pub use compression::{Compression, DETECT_LEN};
pub use control::{Control, Progress};
pub use durable::start_writeback;
pub use error::{Error, ErrorKind, Result};
pub use estimate::estimate_compressed;
pub use export::{ExportOptions, Exported, Target, export};
pub use hash::{copy_verified, digest_file, sha256_file};
pub use head::decode_head;
pub use overlay::{Backing, create_overlay};
pub use recipe::{RECIPE_VERSION, Recipe, compose, stream};
pub use stream::{Decoded, StagingOptions, decode_to_staging};
