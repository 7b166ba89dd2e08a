//! The canonical image: one qcow2 for one guest-visible content, byte for byte.
//!
//! It is what every store keeps and what every hypervisor opens, and its SHA-256 is its name. So
//! its bytes depend on the content of the disk alone: not on the format it came in, nor on that
//! format's idea of what is allocated, nor on the number of threads. It is also the security
//! boundary, because QEMU then only ever parses metadata that was written here.
//!
//! ```text
//! cluster 0     header
//! then          compressed clusters, packed; clusters that do not compress, aligned;
//!               after every 512 MiB of the disk that has data, the L2 table that maps them
//! at the end    L1 table, refcount blocks, refcount table
//! ```
//!
//! The calling thread finds the ranges that may hold data and hands out batches; worker threads
//! read a batch, drop clusters of zeros and compress the rest ([`worker`]); the calling thread
//! takes the results in order and writes them one after another ([`packer`]).

mod packer;
mod pool;
mod tables;
mod worker;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::thread;

use abbild_disk::{Disk, ExtentKind};

use crate::qcow2::{CLUSTER_U64, CompressionType, Header};
use crate::{Control, Error, ErrorKind, Result, hash};
use packer::Packer;
use tables::Tables;
use worker::{BATCH_U64, Batch, Cluster};

/// Changes whenever the same content would be encoded to other bytes than before: a new layout,
/// another compression level, or a version of the zstd library that compresses differently.
///
/// A digest names a content only together with this number.
pub const ENCODER_VERSION: u32 = 1;

/// More threads than this would need more memory than an import may use.
const MAX_THREADS: usize = 16;

/// How to encode; none of it changes the result.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Number of compressing threads; 0 for one per processor. At most 16 are used.
    pub threads: usize,
}

/// What [`encode`] wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoded {
    /// Digest of the whole file.
    pub sha256: [u8; 32],
    /// Length of the file in bytes.
    pub file_size: u64,
    /// Size of the disk in bytes: that of the source, rounded up to a sector of 512 bytes.
    pub virtual_size: u64,
    /// Clusters of 64 KiB that are not all zeros.
    pub data_clusters: u64,
}

/// Writes the content of `disk` into the emptied file `out` as its canonical image and makes that
/// durable. Progress counts bytes of the virtual disk.
///
/// # Errors
/// Those of reading the disk and of writing; [`ErrorKind::Refused`] with code `virtual-size` for a
/// disk that is empty or too large for a qcow2; [`ErrorKind::Cancelled`].
pub fn encode<D: Disk + Sync + ?Sized>(
    disk: &D,
    out: &File,
    options: Options,
    control: &Control<'_>,
) -> Result<Encoded> {
    let virtual_size = disk
        .virtual_size()
        .checked_next_multiple_of(512)
        .unwrap_or(u64::MAX);
    if virtual_size == 0 {
        let message = "the disk is empty: its virtual size is 0 bytes";
        return Err(Error::new(ErrorKind::Refused, "virtual-size", message));
    }
    let mut tables = Tables::new(virtual_size)?;
    out.set_len(0).map_err(doing)?;
    let mut packer = Packer::new(out);
    write_clusters(disk, options, control, &mut tables, &mut packer)?;

    let data_clusters = tables.data_clusters();
    let l1 = tables.finish(&mut packer)?;
    let counts = packer.finish()?;
    let header = Header {
        virtual_size,
        l1_entries: l1.entries,
        l1_offset: l1.offset,
        refcount_table_offset: counts.table_offset,
        refcount_table_clusters: counts.table_clusters,
        compression: CompressionType::Zstd,
        backing: None,
    };
    // Last, so that an unfinished file is not an image.
    out.write_all_at(&header.to_bytes()?, 0).map_err(doing)?;
    Ok(Encoded {
        sha256: hash_and_flush(out, control)?,
        file_size: counts.file_size,
        virtual_size,
        data_clusters,
    })
}

/// Compresses every cluster that is not all zeros and appends it.
fn write_clusters<D: Disk + Sync + ?Sized>(
    disk: &D,
    options: Options,
    control: &Control<'_>,
    tables: &mut Tables,
    packer: &mut Packer<'_>,
) -> Result<()> {
    let size = disk.virtual_size();
    let threads = match options.threads {
        0 => thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    let mut cursor = 0;
    pool::in_order(
        threads.min(MAX_THREADS),
        || next_batch(disk, &mut cursor),
        |worker, batch| worker.run(disk, batch),
        |batch| {
            control.step(batch.offset, Some(size))?;
            append(&batch, tables, packer)?;
            Ok(batch)
        },
    )?;
    control.step(size, Some(size))
}

/// The next range that may hold data, as its first byte; moves `cursor` behind it.
fn next_batch<D: Disk + ?Sized>(disk: &D, cursor: &mut u64) -> Result<Option<u64>> {
    let size = disk.virtual_size();
    while *cursor < size {
        let extent = disk.extent_at(*cursor)?;
        if extent.kind == ExtentKind::Data {
            let start = *cursor / CLUSTER_U64 * CLUSTER_U64;
            *cursor = start.saturating_add(BATCH_U64).min(size);
            return Ok(Some(start));
        }
        // A cluster of which only the start was zeros is looked at again from its data on.
        *cursor = extent.offset.saturating_add(extent.len).max(*cursor + 1);
    }
    Ok(None)
}

/// Stores the clusters of `batch` and maps them.
fn append(batch: &Batch, tables: &mut Tables, packer: &mut Packer<'_>) -> Result<()> {
    let mut rest = batch.bytes.as_slice();
    for (index, cluster) in (batch.offset / CLUSTER_U64..).zip(&batch.clusters) {
        let (Cluster::Compressed(len) | Cluster::Stored(len)) = *cluster else {
            continue;
        };
        let bytes;
        (bytes, rest) = rest.split_at(len);
        // May append a finished L2 table, which then lies before this cluster.
        tables.open(index, packer)?;
        tables.set(
            index,
            match cluster {
                Cluster::Compressed(_) => packer.put_compressed(bytes)?,
                _ => packer.put_cluster(bytes)?,
            },
        );
    }
    Ok(())
}

/// Waits for the disk on a second thread while this one hashes what is still in memory.
fn hash_and_flush(out: &File, control: &Control<'_>) -> Result<[u8; 32]> {
    thread::scope(|scope| {
        let flushed = scope.spawn(|| out.sync_all());
        let silent = control.without_progress();
        let sha256 = hash::sha256_file(out, &silent)?;
        match flushed.join() {
            Ok(result) => result
                .map(|()| sha256)
                .map_err(|e| Error::io("flushing the canonical image to disk", e)),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

fn doing(cause: std::io::Error) -> Error {
    Error::io("writing the canonical image", cause)
}
