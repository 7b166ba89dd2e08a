//! Finding where blocks begin: at any bit, marked by 48 bits that hardly ever occur by chance.

use std::collections::VecDeque;

use abbild_disk::Source;

use crate::Result;

/// How a block begins: the digits of pi.
pub(super) const BLOCK: u64 = 0x3141_5926_5359;
/// Bits of a magic number.
pub(super) const MAGIC_BITS: u64 = 48;
/// Bytes looked through at a time.
const PIECE: usize = 256 << 10;
/// A magic number that begins at any bit of a byte ends in the seventh byte from there at the latest.
const SPAN: usize = 7;

/// Looks through a file from start to end.
pub(super) struct Scanner<'s, S: ?Sized> {
    source: &'s S,
    /// Pairs of bytes that occur within a magic number, one bit each.
    pairs: Box<[u64; 1024]>,
    /// Where the next piece begins.
    offset: u64,
    buffer: Vec<u8>,
    found: VecDeque<u64>,
}

impl<'s, S: Source + ?Sized> Scanner<'s, S> {
    pub(super) fn new(source: &'s S) -> Self {
        let mut pairs = Box::new([0; 1024]);
        for shift in 0..8 {
            // The bytes of a magic number that begins at bit `shift`, of which the second to fifth
            // are whole. One of two neighbouring pairs begins at an even place.
            let bytes = (BLOCK << (64 - MAGIC_BITS) >> shift).to_be_bytes();
            for at in 1..3 {
                let pair = usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]));
                pairs[pair / 64] |= 1 << (pair % 64);
            }
        }
        Self {
            source,
            pairs,
            offset: 0,
            buffer: vec![0; PIECE + SPAN],
            found: VecDeque::new(),
        }
    }

    /// The next bit of the file at which a block seems to begin.
    pub(super) fn next(&mut self) -> Result<Option<u64>> {
        while self.found.is_empty() {
            if self.offset >= self.source.len() {
                return Ok(None);
            }
            self.look()?;
        }
        Ok(self.found.pop_front())
    }

    /// Looks through the next piece.
    fn look(&mut self) -> Result<()> {
        let left = self.source.len() - self.offset;
        let len = usize::try_from(left).map_or(self.buffer.len(), |l| l.min(self.buffer.len()));
        self.source.read_at(self.offset, &mut self.buffer[..len])?;
        self.buffer[len..].fill(0);
        for at in (0..PIECE + SPAN - 1).step_by(2) {
            let pair = usize::from(u16::from_be_bytes([self.buffer[at], self.buffer[at + 1]]));
            if self.pairs[pair / 64] >> (pair % 64) & 1 == 1 {
                self.test(at);
            }
        }
        self.offset += PIECE as u64;
        Ok(())
    }

    /// Whether a magic number lies around byte `at` of the piece, of which it begins one or two
    /// bytes before.
    #[cold]
    fn test(&mut self, at: usize) {
        for start in at.saturating_sub(2)..at {
            let Some(bytes) = self.buffer.get(start..start + SPAN) else {
                continue;
            };
            let mut word = [0; 8];
            word[..SPAN].copy_from_slice(bytes);
            let word = u64::from_be_bytes(word);
            for shift in 0..8 {
                let position = (self.offset + start as u64) * 8 + shift;
                if start < PIECE
                    && word << shift >> (64 - MAGIC_BITS) == BLOCK
                    && self.found.back() != Some(&position)
                {
                    self.found.push_back(position);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_found_once() {
        let mut bits = Vec::new();
        let mut expected = Vec::new();
        for gap in [0, 1, 2, 7, 9, 16, 500, 2_097_151, 2_097_100, 13, 90_001] {
            bits.resize(bits.len() + gap, false);
            expected.push(bits.len() as u64);
            bits.extend((0..48).rev().map(|bit| BLOCK >> bit & 1 == 1));
        }
        bits.resize(bits.len().next_multiple_of(8), false);
        let data: Vec<u8> = bits
            .chunks(8)
            .map(|byte| {
                byte.iter()
                    .fold(0, |value, &bit| value << 1 | u8::from(bit))
            })
            .collect();
        let mut scanner = Scanner::new(&data);
        let mut found = Vec::new();
        while let Some(position) = scanner.next().unwrap() {
            found.push(position);
        }
        assert_eq!(found, expected);
    }
}
