//! How far the content of a file could be compressed, from a look at a small part of it.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

/// Blocks that are looked at, and their length: 8 MiB of any file, in a few hundredths of a second.
const BLOCKS: u64 = 128;
const BLOCK: u64 = 64 << 10;

/// About how many bytes the content of `file` would take if it were compressed by zstd and without
/// empty space. Blocks at even distances stand for the rest.
///
/// # Errors
/// Those of reading.
pub fn estimate_compressed(file: &File) -> std::io::Result<u64> {
    let len = file.metadata()?.len();
    let blocks = len.div_ceil(BLOCK);
    let looked_at = blocks.min(BLOCKS);
    let mut block = vec![0; BLOCK as usize];
    let (mut plain, mut compressed) = (0_u64, 0_u64);
    for n in 0..looked_at {
        // The widening keeps the product of two large numbers.
        let index = (u128::from(n) * u128::from(blocks) / u128::from(looked_at)) as u64;
        let offset = index * BLOCK;
        let part = &mut block[..BLOCK.min(len - offset) as usize];
        file.read_exact_at(part, offset)?;
        plain += part.len() as u64;
        if part.iter().any(|&byte| byte != 0) {
            // More than it was would be kept as it is.
            compressed += zstd::bulk::compress(part, 1)?.len().min(part.len()) as u64;
        }
    }
    let estimate = u128::from(len) * u128::from(compressed) / u128::from(plain.max(1));
    Ok(u64::try_from(estimate).unwrap_or(len))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn estimate(bytes: &[u8]) -> u64 {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        estimate_compressed(&file).unwrap()
    }

    #[test]
    fn noise_stays_and_emptiness_vanishes() {
        let mut state = 1_u64;
        let noise: Vec<u8> = (0..32 << 20)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                (state >> 56) as u8
            })
            .collect();
        assert_eq!(estimate(&noise), 32 << 20);
        assert_eq!(estimate(&vec![0; 32 << 20]), 0);
        let mut half = noise[..16 << 20].to_vec();
        half.resize(32 << 20, 0);
        assert_eq!(estimate(&half), 16 << 20);
        assert!(estimate(&b"text, again and again ".repeat(100_000)) < 100_000);
        assert_eq!(estimate(b""), 0);
        assert_eq!(estimate(b"x"), 1);
    }

    #[test]
    fn a_huge_sparse_file_is_looked_at_as_fast() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(1 << 42).unwrap();
        assert_eq!(estimate_compressed(&file).unwrap(), 0);
    }
}
