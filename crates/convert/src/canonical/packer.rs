//! Where clusters go in the file, and how often each host cluster is referred to.
//!
//! Compressed clusters are packed back to back, at any byte, as QEMU does; all others begin at a
//! cluster boundary. A compressed cluster may run into the next host cluster only if that directly
//! follows, so one host cluster, the *open* one, is being packed at any time: what lies behind it
//! in the file is either nothing yet, and it may grow, or a stored cluster, and it can only be
//! filled up. The order of clusters alone decides all of this, so the layout is reproducible.

use crate::output::Output;
use crate::qcow2::{
    CLUSTER, CLUSTER_BITS, COMPRESSED, COPIED, REFCOUNTS_PER_BLOCK, push_u64, refcount_clusters,
};
use crate::{Error, ErrorKind, Result};

/// The unit in which a descriptor counts the length of a compressed cluster.
const SECTOR: u64 = 512;
/// Bit of a compressed cluster descriptor at which the number of additional sectors begins; the
/// offset lies below it (specification, "Compressed Clusters Descriptor").
const SECTORS_SHIFT: u32 = 62 - (CLUSTER_BITS - 8);
/// Bytes gathered before they are written.
const WRITE_BEHIND: usize = 4 << 20;

/// Where the reference counts are.
pub(super) struct Refcounts {
    pub(super) table_offset: u64,
    pub(super) table_clusters: u64,
    pub(super) file_size: u64,
}

/// Appends clusters to the file.
pub(super) struct Packer<'a> {
    out: &'a Output<'a>,
    /// What is not written yet.
    buffer: Vec<u8>,
    /// Offset of `buffer` in the image; a multiple of the cluster size.
    base: u64,
    /// Where in `buffer` the open cluster is free.
    open: Option<usize>,
    /// Reference counts of the host clusters so far.
    counts: Vec<u16>,
}

impl<'a> Packer<'a> {
    /// Starts an empty image, leaving room for the header.
    pub(super) fn new(out: &'a Output<'a>) -> Self {
        Self {
            out,
            buffer: Vec::new(),
            base: CLUSTER as u64,
            open: None,
            counts: vec![1],
        }
    }

    /// Appends a compressed cluster and returns its L2 entry.
    pub(super) fn put_compressed(&mut self, bytes: &[u8]) -> Result<u64> {
        let start = self.place(bytes.len());
        let end = start + bytes.len();
        if self.buffer.len() < end {
            self.buffer.resize(end, 0);
        }
        self.buffer[start..end].copy_from_slice(bytes);
        self.open = Some(end);

        let first = self.base + start as u64;
        let last = self.base + end as u64 - 1;
        for cluster in first >> CLUSTER_BITS..=last >> CLUSTER_BITS {
            self.refer(cluster)?;
        }
        if last >> SECTORS_SHIFT != 0 {
            return Err(too_large());
        }
        let more_sectors = last / SECTOR - first / SECTOR;
        self.write_behind()?;
        Ok(COMPRESSED | more_sectors << SECTORS_SHIFT | first)
    }

    /// Appends a cluster as it is and returns its L1 or L2 entry.
    pub(super) fn put_cluster(&mut self, bytes: &[u8]) -> Result<u64> {
        let offset = self.append_aligned(bytes)?;
        self.refer(offset >> CLUSTER_BITS)?;
        Ok(COPIED | offset)
    }

    /// Appends the cluster at `source` of the disk to a recipe and returns its L2 entry.
    pub(super) fn refer_to_cluster(&mut self, source: u64) -> Result<u64> {
        self.write(self.buffer.len())?;
        let offset = self.base;
        self.out.refer(offset, CLUSTER as u64, source);
        self.base += CLUSTER as u64;
        self.refer(offset >> CLUSTER_BITS)?;
        Ok(COPIED | offset)
    }

    /// Appends `bytes` as whole clusters and returns their offset.
    pub(super) fn put_table(&mut self, bytes: &[u8]) -> Result<u64> {
        let offset = self.append_aligned(bytes)?;
        let clusters = bytes.len().div_ceil(CLUSTER) as u64;
        for cluster in 0..clusters {
            self.refer((offset >> CLUSTER_BITS) + cluster)?;
        }
        Ok(offset)
    }

    /// Appends the reference counts and writes all that is left.
    pub(super) fn finish(mut self) -> Result<Refcounts> {
        self.open = None;
        let before = self.counts.len() as u64;
        let (blocks, table_clusters) = refcount_clusters(before);
        let mut counts = std::mem::take(&mut self.counts);
        counts.resize(to_usize(before + blocks + table_clusters)?, 1);

        let mut table = Vec::new();
        let mut block = Vec::with_capacity(CLUSTER);
        for chunk in counts.chunks(to_usize(REFCOUNTS_PER_BLOCK)?) {
            block.clear();
            block.extend(chunk.iter().flat_map(|count| count.to_be_bytes()));
            push_u64(&mut table, self.append_aligned(&block)?);
        }
        let table_offset = self.append_aligned(&table)?;
        self.write(self.buffer.len())?;
        Ok(Refcounts {
            table_offset,
            table_clusters,
            file_size: self.base,
        })
    }

    /// Appends `bytes` as whole clusters, not counting them, and returns their offset.
    fn append_aligned(&mut self, bytes: &[u8]) -> Result<u64> {
        let start = self.buffer.len().next_multiple_of(CLUSTER);
        self.buffer.resize(start, 0);
        self.buffer.extend_from_slice(bytes);
        self.buffer
            .resize(self.buffer.len().next_multiple_of(CLUSTER), 0);
        let offset = self.base + start as u64;
        self.write_behind()?;
        Ok(offset)
    }

    /// Where in the buffer the next `len` compressed bytes go.
    fn place(&self, len: usize) -> usize {
        let fresh = self.buffer.len().next_multiple_of(CLUSTER);
        match self.open {
            // Nothing lies behind the open cluster: it may grow.
            Some(open) if open == self.buffer.len() => open,
            // Something does: the space up to the boundary is all there is.
            Some(open) if open + len <= open.next_multiple_of(CLUSTER) => open,
            _ => fresh,
        }
    }

    /// Counts one more reference to host cluster `cluster`.
    fn refer(&mut self, cluster: u64) -> Result<()> {
        let index = to_usize(cluster)?;
        if self.counts.len() <= index {
            self.counts.resize(index + 1, 0);
        }
        // Cannot overflow: the smallest zstd frame has 9 bytes, so 7282 of them touch a cluster.
        self.counts[index] = self.counts[index].checked_add(1).ok_or_else(too_large)?;
        Ok(())
    }

    /// Writes once enough has gathered, all except the cluster that may still change.
    fn write_behind(&mut self) -> Result<()> {
        if self.buffer.len() < WRITE_BEHIND {
            return Ok(());
        }
        match self.open {
            Some(open) if open == self.buffer.len() => self.write(open / CLUSTER * CLUSTER),
            _ => {
                // Stored clusters have piled up behind the open one: give up its free space.
                self.open = None;
                self.write(self.buffer.len())
            }
        }
    }

    /// Writes the first `len` bytes of the buffer, whole clusters.
    fn write(&mut self, len: usize) -> Result<()> {
        if len == 0 {
            return Ok(());
        }
        let bytes = &self.buffer[..len];
        self.out.write(self.base, bytes)?;
        self.out.complete(self.base, len as u64);
        self.buffer.drain(..len);
        self.open = self.open.map(|open| open - len);
        self.base += len as u64;
        Ok(())
    }
}

fn to_usize(value: u64) -> Result<usize> {
    usize::try_from(value).map_err(|_| too_large())
}

fn too_large() -> Error {
    let message = "the image would be larger than a qcow2 can be";
    Error::new(ErrorKind::Refused, "too-large", message)
}
