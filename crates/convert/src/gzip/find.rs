//! Finding the start of a deflate block in the middle of a stream.
//!
//! Nothing marks it, so every bit is tried. Only blocks with codes of their own are looked for:
//! their headers describe three prefix codes that have to be complete, which random bits almost
//! never do. Two cheap tests on 64 bits leave few places for the whole header to be read.

use abbild_disk::Source;

use super::bits::BitReader;
use super::inflate::{Stop, read_lengths};
use crate::Result;

/// Bytes that the header of a block and its three codes take at most: 74 bits, and 316 codes of up
/// to 7 + 7 bits; rounded up.
const PIECE: usize = 1 << 10;

/// The first bit in `from..to` of `source` at which a block seems to begin.
pub(super) fn find_block<S: Source + ?Sized>(
    source: &S,
    from: u64,
    to: u64,
) -> Result<Option<u64>> {
    let first_byte = from / 8;
    let len = (to.min(source.len().saturating_mul(8)).div_ceil(8)).saturating_sub(first_byte);
    let ahead = (len + PIECE as u64).min(source.len().saturating_sub(first_byte));
    // Callers look through a chunk at most.
    let mut data = vec![0; ahead as usize];
    if data.is_empty() {
        return Ok(None);
    }
    source.read_at(first_byte, &mut data)?;
    let last = data.len().saturating_sub(16);
    let mut look = vec![0; PIECE];
    for at in 0..last.min(len as usize) {
        let word = u128::from_le_bytes(data[at..at + 16].try_into().unwrap_or_default());
        for bit in 0..8 {
            let position = (first_byte + at as u64) * 8 + bit;
            if !is_plausible(word >> bit) || position < from {
                continue;
            }
            let mut reader = BitReader::new(data.as_slice(), position + 3 - first_byte * 8, look)?;
            match read_lengths(&mut reader) {
                Ok(_) => return Ok(Some(position)),
                Err(Stop::Io(error)) => return Err(error),
                Err(_) => look = reader.into_buffer(),
            }
        }
    }
    Ok(None)
}

/// Whether the next bits may be a header: not of the last block, of type 2, with counts in range
/// and a complete precode.
#[inline(always)]
fn is_plausible(bits: u128) -> bool {
    let word = bits as u64;
    if word & 7 != 0b100 || word >> 3 & 31 > 29 || word >> 8 & 31 > 29 {
        return false;
    }
    let count = (word >> 13 & 15) + 4;
    let mut lengths = (bits >> 17) as u64 & ((1 << (3 * count)) - 1);
    // A code of n bits takes 2^(7 - n) of 128 places.
    let mut taken = 0_u32;
    while lengths != 0 {
        taken += 128 >> (lengths & 7) & 127;
        lengths >>= 3;
    }
    taken == 128
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::write::DeflateEncoder;

    use super::*;

    #[test]
    fn the_second_block_of_a_stream_is_found() {
        let text: Vec<u8> = (0..400_000_u32)
            .flat_map(|n| {
                (n.wrapping_mul(2_654_435_761) >> 20)
                    .to_string()
                    .into_bytes()
            })
            .collect();
        let mut encoder = DeflateEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(&text).unwrap();
        let stream = encoder.finish().unwrap();
        assert_eq!(find_block(&stream, 0, 8).unwrap(), Some(0));
        let second = find_block(&stream, 1, stream.len() as u64 * 8).unwrap();
        assert!(second.is_some_and(|bit| bit > 8 * 1000), "{second:?}");
    }

    #[test]
    fn nothing_is_found_in_zeros_or_past_the_end() {
        let zeros = vec![0; 4096];
        assert_eq!(find_block(&zeros, 0, 4096 * 8).unwrap(), None);
        assert_eq!(find_block(&zeros, 4096 * 8, 5000 * 8).unwrap(), None);
        assert_eq!(find_block(&vec![1; 3], 0, 24).unwrap(), None);
    }
}
