//! Features of ext4 that `ext4-view` refuses although they do not concern what is read here.
//!
//! An incompatible feature is one that a reader must know. Some of these protect a mounted
//! filesystem or change what only a few files and directories look like, so a reader that meets
//! them only where they are used can leave them out of account. [`overlook`] takes their bits out
//! of the superblock before the reader sees it. Bits as in
//! <https://docs.kernel.org/filesystems/ext4/super.html>.

/// Incompatible features that are overlooked.
const OVERLOOKED: u32 = MMP | EA_INODE | LARGE_DIR | CASEFOLD;
/// A block that tells whether the filesystem is mounted elsewhere; nothing is mounted here.
const MMP: u32 = 0x100;
/// Extended attributes with inodes of their own; none is read here.
const EA_INODE: u32 = 0x400;
/// Indexes of directories may have three levels, which takes millions of names.
const LARGE_DIR: u32 = 0x4000;
/// Single directories may be marked to ignore case; they are read as if they were not.
const CASEFOLD: u32 = 0x2_0000;

const INCOMPAT: usize = 0x60;
const RO_COMPAT: usize = 0x64;
const METADATA_CSUM: u32 = 0x400;
const CHECKSUM: usize = 0x3fc;

/// Takes the bits of overlooked features out of a superblock, and makes its checksum fit again if
/// it did.
pub(super) fn overlook(superblock: &mut [u8; 1024]) {
    let Some(incompat) = field(superblock, INCOMPAT) else {
        return;
    };
    if incompat & OVERLOOKED == 0 {
        return;
    }
    let has_checksum = field(superblock, RO_COMPAT).is_some_and(|bits| bits & METADATA_CSUM != 0);
    let was_right = field(superblock, CHECKSUM) == Some(checksum(superblock));
    set_field(superblock, INCOMPAT, incompat & !OVERLOOKED);
    if has_checksum && was_right {
        let sum = checksum(superblock);
        set_field(superblock, CHECKSUM, sum);
    }
}

/// CRC-32C from all ones, without the final inversion.
fn checksum(superblock: &[u8; 1024]) -> u32 {
    !crc32c::crc32c(superblock.get(..CHECKSUM).unwrap_or(&[]))
}

fn field(superblock: &[u8; 1024], at: usize) -> Option<u32> {
    let bytes = superblock.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*bytes))
}

fn set_field(superblock: &mut [u8; 1024], at: usize, value: u32) {
    if let Some(place) = superblock.get_mut(at..at + 4) {
        place.copy_from_slice(&value.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A superblock with these incompatible features and a checksum that fits.
    fn superblock(incompat: u32) -> [u8; 1024] {
        let mut superblock = [7; 1024];
        set_field(&mut superblock, INCOMPAT, incompat);
        set_field(&mut superblock, RO_COMPAT, METADATA_CSUM);
        let sum = checksum(&superblock);
        set_field(&mut superblock, CHECKSUM, sum);
        superblock
    }

    #[test]
    fn what_remains_is_what_a_filesystem_without_them_has() {
        let mut changed = superblock(0x42 | OVERLOOKED);
        overlook(&mut changed);
        assert_eq!(changed, superblock(0x42));
    }

    #[test]
    fn features_that_move_data_stay() {
        for incompat in [0x42, 0x10, 0x8000, 0x8, 0x1] {
            let mut unchanged = superblock(incompat);
            overlook(&mut unchanged);
            assert_eq!(unchanged, superblock(incompat));
        }
    }

    #[test]
    fn a_wrong_checksum_stays_wrong() {
        let mut damaged = superblock(CASEFOLD);
        damaged[CHECKSUM] ^= 1;
        overlook(&mut damaged);
        assert_ne!(field(&damaged, CHECKSUM), Some(checksum(&damaged)));
    }
}
