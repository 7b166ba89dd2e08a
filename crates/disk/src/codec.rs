//! Compressed blocks: deflate, which qcow2 and VMDK share, and a cache of what was decompressed.

use std::sync::Arc;

use flate2::{Decompress, FlushDecompress, Status};

use crate::cache::Cache;
use crate::{Error, Result};

/// Decompressed bytes kept for small reads that follow each other.
const CACHE_BYTES: usize = 8 << 20;
/// The cache is not made of more entries than this, however small blocks are.
const MAX_CACHE_ENTRIES: usize = 1024;

/// What surrounds a deflate stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wrapper {
    /// Nothing.
    Raw,
    /// zlib's header and checksum (RFC 1950).
    Zlib,
}

/// Decompresses the stream at the beginning of `input` to the beginning of `out`, and returns its
/// length. What follows the stream is not looked at; what follows its content in `out` is
/// undefined.
///
/// `None` if the stream is damaged, incomplete or longer than `out`.
pub(crate) fn inflate(input: &[u8], out: &mut [u8], wrapper: Wrapper) -> Option<usize> {
    let mut decoder = Decompress::new(wrapper == Wrapper::Zlib);
    match decoder.decompress(input, out, FlushDecompress::Finish) {
        Ok(Status::StreamEnd) => usize::try_from(decoder.total_out()).ok(),
        _ => None,
    }
}

/// The decompressed blocks of one image.
#[derive(Debug)]
pub(crate) struct Blocks(Cache<u8>);

impl Blocks {
    /// For blocks of at most `len` bytes.
    pub(crate) fn new(len: usize) -> Self {
        Self(Cache::new(
            (CACHE_BYTES / len.max(1)).min(MAX_CACHE_ENTRIES),
        ))
    }

    /// Fills `buf` from byte `skip` of the block that lies at `offset` in the file and is `len`
    /// bytes long when `unpack` has decompressed it.
    ///
    /// A whole block is decompressed in place; a part comes from the cache, so that a file
    /// system's small reads do not decompress the same block over and over.
    ///
    /// # Errors
    /// Those of `unpack`.
    pub(crate) fn read(
        &self,
        offset: u64,
        len: usize,
        skip: usize,
        buf: &mut [u8],
        unpack: impl FnOnce(&mut [u8]) -> Result<()>,
    ) -> Result<()> {
        if buf.len() == len {
            return match self.0.get(offset) {
                Some(block) => {
                    buf.copy_from_slice(&block);
                    Ok(())
                }
                None => unpack(buf),
            };
        }
        let block = self.0.get_or_load(offset, || {
            let mut block = vec![0; len];
            unpack(&mut block)?;
            Ok::<_, Error>(Arc::from(block))
        })?;
        // The caller cuts reads at the end of a block.
        buf.copy_from_slice(&block[skip..skip + buf.len()]);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use miniz_oxide::deflate::{compress_to_vec, compress_to_vec_zlib};

    use super::*;

    #[test]
    fn a_stream_ends_where_it_says() {
        let content: Vec<u8> = (0..70_000u32).map(|at| (at / 7) as u8).collect();
        let mut raw = compress_to_vec(&content, 6);
        let mut zlib = compress_to_vec_zlib(&content, 6);
        raw.extend(b"what follows");
        for (input, wrapper) in [(&raw, Wrapper::Raw), (&zlib, Wrapper::Zlib)] {
            for room in [content.len(), content.len() + 99] {
                let mut out = vec![0; room];
                assert_eq!(inflate(input, &mut out, wrapper), Some(content.len()));
                assert!(out.starts_with(&content));
            }
            let mut short = vec![0; content.len() - 1];
            assert_eq!(inflate(input, &mut short, wrapper), None, "too long");
            let half = &input[..input.len() / 2];
            assert_eq!(
                inflate(half, &mut vec![0; 70_000], wrapper),
                None,
                "cut off"
            );
        }
        *zlib.last_mut().unwrap() ^= 1;
        let damaged = inflate(&zlib, &mut vec![0; 70_000], Wrapper::Zlib);
        assert_eq!(damaged, None, "the checksum is wrong");
    }

    #[test]
    fn parts_of_a_block_decompress_it_once() {
        let blocks = Blocks::new(8);
        let calls = Cell::new(0);
        let read = |skip: usize, len: usize| {
            let mut buf = vec![0; len];
            let unpack = |out: &mut [u8]| {
                calls.set(calls.get() + 1);
                out.copy_from_slice(b"decoded!");
                Ok(())
            };
            blocks.read(77, 8, skip, &mut buf, unpack).unwrap();
            buf
        };
        assert_eq!(read(0, 8), b"decoded!");
        assert_eq!(calls.replace(0), 1, "a whole block is not kept");
        assert_eq!(read(2, 3), b"cod");
        assert_eq!(read(7, 1), b"!");
        assert_eq!(read(0, 8), b"decoded!");
        assert_eq!(calls.get(), 1);
    }
}
