//! Compressed clusters: found by an L2 entry, read, decompressed to exactly one cluster.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use super::frame::Decoder;
use super::header::Compression;
use crate::codec::{Blocks, Wrapper, inflate};
use crate::{Error, ErrorKind, Format, Result, Source, past_end};

/// Zstandard decoders kept for the next cluster, one per reading thread at best.
const MAX_IDLE_DECODERS: usize = 16;

/// Where a compressed cluster lies in the file (QEMU's `qcow2.rst`, "Compressed Clusters
/// Descriptor").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Packed {
    /// First byte in the file.
    pub offset: u64,
    /// Bytes up to the end of the last 512-byte sector in use: an upper bound of the length.
    pub len: usize,
}

impl Packed {
    /// Takes the descriptor out of an L2 entry.
    pub(super) fn from_entry(entry: u64, cluster_bits: u32) -> Self {
        let offset_bits = 62 - (cluster_bits - 8);
        let offset = entry & ((1 << offset_bits) - 1);
        let sectors = (entry & ((1 << 62) - 1)) >> offset_bits;
        // At most 2^13 sectors, so 4 MiB: this fits any usize.
        let len = (sectors + 1) * 512 - (offset & 511);
        Self {
            offset,
            len: usize::try_from(len).unwrap_or(0),
        }
    }
}

/// Decompresses clusters of one image.
pub(super) struct Unpacker {
    compression: Compression,
    cluster_size: usize,
    blocks: Blocks,
    idle: Mutex<Vec<Decoder>>,
}

impl fmt::Debug for Unpacker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unpacker")
            .field("compression", &self.compression)
            .field("cluster_size", &self.cluster_size)
            .finish_non_exhaustive()
    }
}

impl Unpacker {
    pub(super) fn new(compression: Compression, cluster_size: usize) -> Self {
        Self {
            compression,
            cluster_size,
            blocks: Blocks::new(cluster_size),
            idle: Mutex::new(Vec::new()),
        }
    }

    /// Fills `buf` from byte `skip` of the cluster at `packed`.
    pub(super) fn read<S: Source>(
        &self,
        source: &S,
        packed: Packed,
        skip: usize,
        buf: &mut [u8],
    ) -> Result<()> {
        self.blocks
            .read(packed.offset, self.cluster_size, skip, buf, |out| {
                self.unpack(source, packed, out)
            })
    }

    /// Decompresses the cluster at `packed` into `out`, which is one cluster long.
    fn unpack<S: Source>(&self, source: &S, packed: Packed, out: &mut [u8]) -> Result<()> {
        // The length counts whole sectors, and the last one need not exist in full.
        let left = source.len().saturating_sub(packed.offset);
        let present = usize::try_from(left).unwrap_or(usize::MAX).min(packed.len);
        let mut input = vec![0; present];
        source.read_at(packed.offset, &mut input)?;
        let done = match self.compression {
            // Bytes after the end of the stream belong to the next cluster.
            Compression::Deflate => {
                inflate(&input, out, Wrapper::Raw).and_then(|len| (len == out.len()).then_some(()))
            }
            Compression::Zstd => self.unpack_zstd(&input, out),
        };
        match done {
            Some(()) => Ok(()),
            None if present < packed.len => {
                Err(past_end(packed.offset, packed.len, source.len()).in_format(Format::Qcow2))
            }
            None => Err(Error::new(
                ErrorKind::Corrupt,
                "compressed-cluster",
                format!(
                    "a compressed cluster does not decompress to {} bytes",
                    out.len()
                ),
            )
            .in_format(Format::Qcow2)
            .at(packed.offset)),
        }
    }

    /// `None` if the frame is damaged or its content is not exactly as long as `out`.
    fn unpack_zstd(&self, input: &[u8], out: &mut [u8]) -> Option<()> {
        let idle = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let mut decoder = idle.or_else(Decoder::new)?;
        let done = decoder.decode(input, out);
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MAX_IDLE_DECODERS {
            idle.push(decoder);
        }
        done
    }
}
