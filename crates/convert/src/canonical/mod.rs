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
//! takes the results in order and writes them one after another ([`packer`]). The uncompressed
//! qcow2 that [`crate::export`] writes is made in the same way, with every cluster stored as it is.

mod packer;
mod tables;
mod worker;

use std::fs::File;
use std::thread;

use abbild_disk::Disk;

use crate::durable::{flush, sectors_size};
use crate::output::Output;
use crate::qcow2::{CLUSTER, CLUSTER_U64, CompressionType, Header};
use crate::ranges::Ranges;
use crate::{Control, Result, hash, pool};
use packer::Packer;
use tables::Tables;
use worker::{BATCH_U64, Batch, Cluster, Packing};

/// Changes whenever the same content would be encoded to other bytes than before: a new layout,
/// another compression level, or a version of the zstd library that compresses differently.
///
/// A digest names a content only together with this number.
pub const ENCODER_VERSION: u32 = 2;

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

/// What was written, before it is hashed.
pub(crate) struct Written {
    pub(crate) file_size: u64,
    pub(crate) virtual_size: u64,
    data_clusters: u64,
}

/// Writes the content of `disk` into the emptied file `out` as its canonical image and makes that
/// durable. Progress counts bytes of the virtual disk.
///
/// # Errors
/// Those of reading the disk and of writing; [`ErrorKind::Refused`](crate::ErrorKind::Refused) with
/// code `virtual-size` for a disk that is empty or too large for a qcow2;
/// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled).
pub fn encode<D: Disk + Sync + ?Sized>(
    disk: &D,
    out: &File,
    options: Options,
    control: &Control<'_>,
) -> Result<Encoded> {
    sectors_size(disk)?;
    let output = Output::file(out, true)?;
    let written = write(
        disk,
        &output,
        CompressionType::Zstd,
        options.threads,
        control,
    )?;
    Ok(Encoded {
        sha256: hash_and_flush(out, control)?,
        file_size: written.file_size,
        virtual_size: written.virtual_size,
        data_clusters: written.data_clusters,
    })
}

/// Writes the content of `disk` to `out`: canonically with zstd, and otherwise
/// in the same order without compressing anything.
///
/// # Errors
/// As [`encode`].
pub(crate) fn write<D: Disk + Sync + ?Sized>(
    disk: &D,
    out: &Output<'_>,
    compression: CompressionType,
    threads: usize,
    control: &Control<'_>,
) -> Result<Written> {
    let virtual_size = sectors_size(disk)?;
    let mut tables = Tables::new(virtual_size)?;
    let mut packer = Packer::new(out);
    let packing = Packing {
        disk,
        compress: compression == CompressionType::Zstd,
    };
    match out.is_recipe() {
        None => write_clusters(&packing, threads, control, &mut tables, &mut packer)?,
        Some(_) => refer_to_clusters(disk, &mut tables, &mut packer)?,
    }

    let data_clusters = tables.data_clusters();
    let l1 = tables.finish(&mut packer)?;
    let counts = packer.finish()?;
    let header = Header {
        virtual_size,
        l1_entries: l1.entries,
        l1_offset: l1.offset,
        refcount_table_offset: counts.table_offset,
        refcount_table_clusters: counts.table_clusters,
        compression,
        backing: None,
    };
    // Last, so that an unfinished file is not an image.
    out.write(0, &header.to_bytes()?)?;
    Ok(Written {
        file_size: counts.file_size,
        virtual_size,
        data_clusters,
    })
}

/// Appends every cluster that is not all zeros.
fn write_clusters<D: Disk + Sync + ?Sized>(
    packing: &Packing<'_, D>,
    threads: usize,
    control: &Control<'_>,
    tables: &mut Tables,
    packer: &mut Packer<'_>,
) -> Result<()> {
    let size = packing.disk.virtual_size();
    let mut ranges = Ranges::new(packing.disk, CLUSTER_U64, BATCH_U64);
    pool::in_order(
        threads,
        |batch: &mut Batch| {
            let next = ranges.next()?;
            batch.range = next.unwrap_or_default();
            Ok(next.is_some())
        },
        packing,
        |batch| {
            control.step(batch.range.offset, Some(size))?;
            append(batch, tables, packer)
        },
    )?;
    control.step(size, Some(size))
}

/// Maps every cluster that may have data to where it lies on the disk, without reading it.
fn refer_to_clusters<D: Disk + ?Sized>(
    disk: &D,
    tables: &mut Tables,
    packer: &mut Packer<'_>,
) -> Result<()> {
    let mut ranges = Ranges::new(disk, CLUSTER_U64, BATCH_U64);
    while let Some(range) = ranges.next()? {
        for start in (range.offset..range.offset + range.len).step_by(CLUSTER) {
            let index = start / CLUSTER_U64;
            tables.open(index, packer)?;
            tables.set(index, packer.refer_to_cluster(start)?);
        }
    }
    Ok(())
}

/// Stores the clusters of `batch` and maps them.
fn append(batch: &Batch, tables: &mut Tables, packer: &mut Packer<'_>) -> Result<()> {
    let mut rest = batch.bytes.as_slice();
    for (index, cluster) in (batch.range.offset / CLUSTER_U64..).zip(&batch.clusters) {
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
        let flushed = scope.spawn(|| flush(out));
        let silent = control.without_progress();
        let sha256 = hash::sha256_file(out, &silent)?;
        match flushed.join() {
            Ok(result) => result.map(|()| sha256),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}
