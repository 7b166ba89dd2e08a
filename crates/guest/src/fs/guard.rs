//! The bytes that the ext4 reader sees: cached, counted, and with traps taken out.
//!
//! `ext4-view` is safe Rust and checks what it reads, but a filesystem made to hurt can still keep
//! it busy or make it allocate: an extent tree whose nodes share children is visited
//! exponentially often, a superblock may promise four billion block groups, a journal may consist
//! of nothing but revocation lists. [`check`] refuses such a superblock before the reader is made,
//! and [`Guard`] spoils the magic number of extent nodes that no small file needs, so that the
//! reader calls them corrupt.

use std::collections::HashMap;
use std::error::Error;

use abbild_disk::Source;
use ext4_view::Ext4Read;

use super::features;
use super::superblock::Superblock;

/// Where the superblock lies, in 1024 bytes.
const SUPERBLOCK: u64 = 1024;
/// Reads go to the source in aligned pieces of this size, which is what `ext4-view` asks for.
const PIECE: u64 = 32 * 1024;
/// Pieces kept: 4 MiB.
const MAX_PIECES: usize = 128;
/// Bytes taken from the source in all. Only a large journal comes near it.
const MAX_TOTAL: u64 = 512 << 20;
/// 65 536 groups of 128 MiB make 8 TiB.
const MAX_GROUPS: u64 = 65_536;
/// Default journals have up to 256 MiB on a 128 GiB filesystem.
const MAX_JOURNAL: u64 = 256 << 20;
/// Revocation lists read from a journal. Each may hold a thousand block numbers in memory.
const MAX_REVOCATIONS: u32 = 1024;

const EXTENT_MAGIC: [u8; 2] = [0x0a, 0xf3];
const REVOCATION: [u8; 8] = [0xc0, 0x3b, 0x39, 0x98, 0, 0, 0, 5];

/// Why a filesystem is not opened.
pub(crate) struct Refusal {
    /// Permanent kebab-case name.
    pub(crate) code: &'static str,
    /// One sentence.
    pub(crate) detail: String,
}

/// Checks what the superblock promises against the size of the partition and our bounds.
pub(crate) fn check(superblock: &Superblock, source: &impl Source) -> Result<(), Refusal> {
    let refuse = |code, detail: String| Err(Refusal { code, detail });
    let size = superblock.blocks.saturating_mul(superblock.block_size);
    if size > source.len() {
        return refuse(
            "filesystem-truncated",
            format!(
                "the filesystem has {size} bytes but its partition only {}",
                source.len()
            ),
        );
    }
    let blocks = superblock
        .blocks
        .saturating_sub(u64::from(superblock.first_data_block));
    let groups = match superblock.blocks_per_group {
        0 => 0,
        count => blocks.div_ceil(u64::from(count)),
    };
    // Linux refuses to mount what fails this, too (ext4_fill_super).
    let inodes = groups.checked_mul(u64::from(superblock.inodes_per_group));
    if inodes != Some(u64::from(superblock.inodes)) || inodes == Some(0) {
        let detail = "its superblock contradicts itself: groups and inodes do not match";
        return refuse("filesystem-corrupt", detail.to_owned());
    }
    if groups > MAX_GROUPS {
        return refuse(
            "filesystem-unsupported",
            format!("it has {groups} block groups, more than {MAX_GROUPS}"),
        );
    }
    if superblock.needs_recovery() && !journal_is_plain(superblock, source) {
        return refuse(
            "filesystem-dirty",
            "it was not unmounted cleanly, and its journal is not one that can be replayed here"
                .to_owned(),
        );
    }
    Ok(())
}

/// Whether the journal is as mke2fs makes it: at most 256 MiB in at most four extents that the
/// inode itself lists. Then no block of it is visited more than four times.
fn journal_is_plain(superblock: &Superblock, source: &impl Source) -> bool {
    let inode = || -> Option<[u8; 128]> {
        let index = u64::from(superblock.journal_inode.checked_sub(1)?);
        // The journal inode is 8 of the first group; another number would have to be looked up.
        if index != 7 {
            return None;
        }
        let table_start = u64::from(superblock.first_data_block) + 1;
        let mut descriptor = [0; 64];
        let wanted = usize::from(superblock.descriptor_size.min(64));
        source
            .read_at(
                table_start.checked_mul(superblock.block_size)?,
                descriptor.get_mut(..wanted)?,
            )
            .ok()?;
        let low = u32::from_le_bytes(*descriptor.get(8..)?.first_chunk()?);
        let high = u32::from_le_bytes(*descriptor.get(0x28..)?.first_chunk()?);
        let table = (u64::from(high) << 32 | u64::from(low)).checked_mul(superblock.block_size)?;
        let place = table.checked_add(index.checked_mul(u64::from(superblock.inode_size))?)?;
        let mut inode = [0; 128];
        source.read_at(place, &mut inode).ok()?;
        Some(inode)
    };
    let Some(inode) = inode() else { return false };
    let u32_at = |at: usize| {
        inode
            .get(at..)
            .and_then(|rest| rest.first_chunk())
            .map_or(u32::MAX, |bytes| u32::from_le_bytes(*bytes))
    };
    let size = u64::from(u32_at(0x6c)) << 32 | u64::from(u32_at(0x4));
    let extent_root = inode.get(0x28..0x30).unwrap_or(&[]);
    size <= MAX_JOURNAL
        && extent_root.starts_with(&EXTENT_MAGIC)
        && extent_root.get(6..8) == Some(&[0, 0])
}

/// A [`Source`] as `ext4-view` reads it.
pub(crate) struct Guard<S> {
    source: S,
    block_size: usize,
    pieces: HashMap<u64, Piece>,
    clock: u64,
    total: u64,
    revocations: u32,
}

struct Piece {
    bytes: Box<[u8]>,
    used: u64,
}

impl<S: Source> Guard<S> {
    pub(crate) fn new(source: S, block_size: usize) -> Self {
        Self {
            source,
            block_size,
            pieces: HashMap::new(),
            clock: 0,
            total: 0,
            revocations: 0,
        }
    }

    /// The piece that starts at `start`, read if need be; the least recently used one makes room.
    fn piece(&mut self, start: u64) -> Result<&[u8], Box<dyn Error + Send + Sync>> {
        self.clock += 1;
        if !self.pieces.contains_key(&start) {
            let len = PIECE.min(self.source.len().saturating_sub(start));
            self.total += len;
            if self.total > MAX_TOTAL {
                return Err("the filesystem needs more reads than an inspection may make".into());
            }
            if self.pieces.len() >= MAX_PIECES {
                let oldest = self.pieces.iter().min_by_key(|(_, piece)| piece.used);
                if let Some(oldest) = oldest.map(|(&start, _)| start) {
                    self.pieces.remove(&oldest);
                }
            }
            let mut bytes = vec![0; usize::try_from(len)?].into_boxed_slice();
            self.source.read_at(start, &mut bytes)?;
            self.pieces.insert(start, Piece { bytes, used: 0 });
        }
        let piece = self
            .pieces
            .get_mut(&start)
            .ok_or("the cache lost a piece")?;
        piece.used = self.clock;
        Ok(&piece.bytes)
    }

    /// Spoils the blocks in `bytes` that would make the reader loop or hoard.
    fn disarm(&mut self, bytes: &mut [u8]) {
        for block in bytes.chunks_exact_mut(self.block_size) {
            if block.starts_with(&EXTENT_MAGIC) && !is_harmless_leaf(block) {
                block[..2].fill(0);
            } else if block.starts_with(&REVOCATION) {
                self.revocations += 1;
                if self.revocations > MAX_REVOCATIONS {
                    block[..4].fill(0);
                }
            }
        }
    }
}

/// Whether an extent node in a block of its own is a leaf with extents that all have a length.
///
/// Index nodes outside an inode exist only in trees with more than some 700 extents (at 4 KiB
/// blocks), which none of the files and directories has that an inspection reads. Without them
/// and without empty extents, walking a tree takes time in proportion to the file.
fn is_harmless_leaf(block: &[u8]) -> bool {
    let u16_at = |at: usize| {
        block
            .get(at..)
            .and_then(|rest| rest.first_chunk())
            .map_or(0, |bytes| u16::from_le_bytes(*bytes))
    };
    let (entries, depth) = (u16_at(2), u16_at(6));
    let extents = block
        .get(12..)
        .unwrap_or(&[])
        .chunks_exact(12)
        .take(usize::from(entries));
    depth == 0
        && entries > 0
        && extents.len() == usize::from(entries)
        && extents
            .into_iter()
            .all(|extent| extent.get(4..6) != Some(&[0, 0]))
}

impl<S: Source> Ext4Read for Guard<S> {
    fn read(&mut self, start: u64, dst: &mut [u8]) -> Result<(), Box<dyn Error + Send + Sync>> {
        abbild_disk::check_range(start, dst.len(), self.source.len())?;
        let mut filled = 0;
        while filled < dst.len() {
            let at = start + u64::try_from(filled)?;
            let piece_start = at - at % PIECE;
            let piece = self.piece(piece_start)?;
            let from = usize::try_from(at - piece_start)?;
            let available = piece.get(from..).unwrap_or(&[]);
            let count = available.len().min(dst.len() - filled);
            if count == 0 {
                return Err("the partition ended early".into());
            }
            dst[filled..filled + count].copy_from_slice(&available[..count]);
            filled += count;
        }
        if let (SUPERBLOCK, Ok(superblock)) = (start, <&mut [u8; 1024]>::try_from(&mut *dst)) {
            features::overlook(superblock);
        }
        // Whole blocks only: the superblock and the group descriptors are read otherwise.
        let block = u64::try_from(self.block_size)?;
        if start.is_multiple_of(block) && dst.len() >= self.block_size && start != SUPERBLOCK {
            self.disarm(dst);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(depth: u16, lengths: &[u16]) -> Vec<u8> {
        let mut block = vec![0; 1024];
        block[..2].copy_from_slice(&EXTENT_MAGIC);
        block[2..4].copy_from_slice(&u16::try_from(lengths.len()).unwrap().to_le_bytes());
        block[6..8].copy_from_slice(&depth.to_le_bytes());
        for (i, length) in lengths.iter().enumerate() {
            block[12 + i * 12 + 4..][..2].copy_from_slice(&length.to_le_bytes());
        }
        block
    }

    fn through(block: Vec<u8>) -> Vec<u8> {
        let mut disk = vec![0; 4096];
        disk.extend(&block);
        let mut out = vec![0; block.len()];
        Guard::new(disk, 1024).read(4096, &mut out).unwrap();
        out
    }

    #[test]
    fn plain_leaves_pass_unchanged() {
        let leaf = node(0, &[1, 32768, 7]);
        assert_eq!(through(leaf.clone()), leaf);
    }

    #[test]
    fn index_nodes_empty_nodes_and_empty_extents_are_spoiled() {
        for trap in [node(1, &[1]), node(0, &[]), node(0, &[1, 0, 1])] {
            assert_eq!(through(trap)[..2], [0, 0]);
        }
    }

    #[test]
    fn reads_cross_pieces_and_stop_at_the_end() {
        let disk: Vec<u8> = (0..200_000_u32).map(|i| (i % 251) as u8).collect();
        let mut guard = Guard::new(disk.clone(), 4096);
        let mut out = vec![0; 100_000];
        guard.read(65_000, &mut out).unwrap();
        assert_eq!(out, disk[65_000..165_000]);
        assert!(guard.read(199_990, &mut out[..11]).is_err());
        assert!(guard.read(u64::MAX, &mut out[..2]).is_err());
    }

    #[test]
    fn the_cache_is_bounded() {
        let disk = vec![7; (MAX_PIECES + 20) * 32_768];
        let mut guard = Guard::new(disk, 4096);
        let mut out = [0; 8];
        for piece in 0..MAX_PIECES + 20 {
            guard.read(piece as u64 * PIECE + 3, &mut out).unwrap();
        }
        assert_eq!(guard.pieces.len(), MAX_PIECES);
    }
}
