//! Bits of a file, in deflate's order: the least significant bit of each byte first (RFC 1951
//! section 3.1.1).
//!
//! The reader holds a sliding piece of the file, so memory does not depend on how long a block is.
//! Behind the last byte of the file it supplies zeros, and whoever used some of them finds its
//! [`BitReader::position`] past [`BitReader::end`]. The inner loop works on a [`Cursor`], a copy of
//! the reader's state that the compiler can keep in registers.

use abbild_disk::Source;

use crate::Result;

/// A good length for a buffer.
pub(super) const BUFFER: usize = 256 << 10;
/// Zeros behind the piece: what the inner loop may read past it in one round.
pub(super) const PAD: usize = 64;
/// Bytes that one round of the inner loop may take.
const ROUND: usize = 24;

/// A place in a file, and the bytes around it.
pub(super) struct BitReader<'s, S: ?Sized> {
    source: &'s S,
    /// The piece and [`PAD`] bytes more.
    buffer: Vec<u8>,
    /// Offset of the piece in the file.
    base: u64,
    /// Length of the piece.
    filled: usize,
    cursor: Cursor,
}

/// The bits at hand.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cursor {
    /// The next bits, from bit 0 on. Above `count` they may be anything that follows in the file.
    pub(super) bits: u64,
    /// How many of them are accounted for.
    count: u32,
    /// Index in the buffer of the byte after those.
    pub(super) next: usize,
}

impl Cursor {
    /// Tops up to at least 56 bits. `data` must have 8 bytes at `next`.
    #[inline(always)]
    pub(super) fn refill(&mut self, data: &[u8]) {
        let word = match data.get(self.next..self.next + 8) {
            Some(bytes) => u64::from_le_bytes(bytes.try_into().unwrap_or_default()),
            None => 0,
        };
        self.bits |= word << self.count;
        self.next += ((63 - self.count) >> 3) as usize;
        self.count |= 56;
    }

    /// Drops the next `count` bits, which must be there.
    #[inline(always)]
    pub(super) fn consume(&mut self, count: u32) {
        self.bits >>= count;
        self.count = self.count.wrapping_sub(count);
    }
}

impl<'s, S: Source + ?Sized> BitReader<'s, S> {
    /// A reader that stands at bit `position` of `source` and uses `buffer`, which is longer than
    /// [`PAD`], for pieces of it.
    pub(super) fn new(source: &'s S, position: u64, buffer: Vec<u8>) -> Result<Self> {
        let mut reader = Self {
            source,
            buffer,
            base: 0,
            filled: 0,
            cursor: Cursor::default(),
        };
        reader.seek(position)?;
        Ok(reader)
    }

    /// Gives the buffer back.
    pub(super) fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }

    /// Goes to bit `position`.
    pub(super) fn seek(&mut self, position: u64) -> Result<()> {
        self.base = position / 8;
        self.load()?;
        // Fewer than 8 bits, and 56 are there.
        self.take((position % 8) as u32)?;
        Ok(())
    }

    /// Bits before the next one. Past [`BitReader::end`] if more were taken than there are.
    pub(super) fn position(&self) -> u64 {
        let loaded = (self.base + self.cursor.next as u64) * 8;
        loaded - u64::from(self.cursor.count)
    }

    /// Bits in the file.
    pub(super) fn end(&self) -> u64 {
        self.source.len().saturating_mul(8)
    }

    /// Whether bits were taken that the file does not have.
    pub(super) fn is_past_end(&self) -> bool {
        self.position() > self.end()
    }

    /// The next `count` bits, at most 32.
    pub(super) fn take(&mut self, count: u32) -> Result<u32> {
        self.ready()?;
        let value = self.cursor.bits & ((1 << count) - 1);
        self.cursor.consume(count);
        Ok(value as u32)
    }

    /// At least 56 of the next bits, without taking them.
    pub(super) fn peek(&mut self) -> Result<u64> {
        self.ready()?;
        Ok(self.cursor.bits)
    }

    /// Drops `count` bits of those that [`BitReader::peek`] showed.
    pub(super) fn consume(&mut self, count: u32) {
        self.cursor.consume(count);
    }

    /// Skips to the next byte boundary.
    pub(super) fn align(&mut self) {
        self.cursor.consume(self.cursor.count % 8);
    }

    /// Copies whole bytes to `out`, from a byte boundary; how many, 0 only at the end of the file.
    pub(super) fn copy(&mut self, out: &mut [u8]) -> Result<usize> {
        let offset = self.position() / 8;
        let left = self.source.len().saturating_sub(offset);
        let len = usize::try_from(left).map_or(out.len(), |left| left.min(out.len()));
        if len == 0 {
            return Ok(0);
        }
        let piece_end = self.base + self.filled as u64;
        if offset + len as u64 <= piece_end {
            // Not before `base`, since fewer than 8 bytes are loaded ahead and those are kept.
            let start = (offset - self.base) as usize;
            out[..len].copy_from_slice(&self.buffer[start..start + len]);
            self.seek_within(start + len);
        } else {
            self.source.read_at(offset, &mut out[..len])?;
            self.base = offset + len as u64;
            self.load()?;
        }
        Ok(len)
    }

    /// The bytes at hand, for [`Cursor::refill`].
    pub(super) fn data(&self) -> &[u8] {
        &self.buffer
    }

    pub(super) fn cursor(&self) -> Cursor {
        self.cursor
    }

    pub(super) fn set_cursor(&mut self, cursor: Cursor) {
        self.cursor = cursor;
    }

    /// The inner loop may begin a round while its cursor's `next` is below this. Loads more of the
    /// file if none could begin; 0 if the file is used up.
    pub(super) fn rounds_until(&mut self) -> Result<usize> {
        if self.at_last_piece() {
            let limit = self.filled + 8;
            return Ok(if self.cursor.next < limit { limit } else { 0 });
        }
        if self.cursor.next + ROUND > self.filled {
            self.slide()?;
            return self.rounds_until();
        }
        Ok(self.filled - ROUND + 1)
    }

    fn at_last_piece(&self) -> bool {
        self.base + self.filled as u64 >= self.source.len()
    }

    /// Makes at least 56 bits ready, or zeros at the end of the file.
    fn ready(&mut self) -> Result<()> {
        if self.cursor.next + 8 > self.filled && !self.at_last_piece() {
            self.slide()?;
        }
        self.cursor.refill(&self.buffer);
        Ok(())
    }

    /// Loads the piece that begins at the next byte.
    fn slide(&mut self) -> Result<()> {
        self.seek(self.position())
    }

    /// Reads the piece at `base`; the cursor then stands at its start.
    fn load(&mut self) -> Result<()> {
        let left = self.source.len().saturating_sub(self.base);
        let piece = self.buffer.len() - PAD;
        self.filled = usize::try_from(left).map_or(piece, |left| left.min(piece));
        if self.filled > 0 {
            self.source
                .read_at(self.base, &mut self.buffer[..self.filled])?;
        }
        self.buffer[self.filled..].fill(0);
        self.cursor = Cursor::default();
        Ok(())
    }

    fn seek_within(&mut self, next: usize) {
        self.cursor = Cursor {
            next,
            ..Cursor::default()
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_come_in_order_and_end_with_zeros() {
        let data = vec![0b1010_0110_u8, 0xff];
        let mut reader = BitReader::new(&data, 0, vec![0; BUFFER]).unwrap();
        assert_eq!(reader.take(3).unwrap(), 0b110);
        assert_eq!(reader.take(5).unwrap(), 0b10100);
        assert_eq!(reader.position(), 8);
        assert_eq!(reader.take(12).unwrap(), 0xff);
        assert!(reader.is_past_end());
    }

    #[test]
    fn pieces_join_at_any_bit() {
        let data: Vec<u8> = (0..BUFFER * 2 + 100).map(|n| (n * 7 % 251) as u8).collect();
        let mut reader = BitReader::new(&data, 0, vec![0; BUFFER]).unwrap();
        let mut bit = 0;
        while bit + 13 <= data.len() * 8 {
            let expected = (0..13).fold(0, |value, i| {
                let at = bit + i;
                value | u32::from(data[at / 8] >> (at % 8) & 1) << i
            });
            assert_eq!(reader.take(13).unwrap(), expected, "bit {bit}");
            bit += 13;
        }
        assert_eq!(reader.position(), bit as u64);
    }

    #[test]
    fn bytes_are_copied_from_within_and_from_beyond_a_piece() {
        let data: Vec<u8> = (0..BUFFER * 3).map(|n| (n % 253) as u8).collect();
        let mut reader = BitReader::new(&data, 24, vec![0; BUFFER]).unwrap();
        assert_eq!(reader.take(3).unwrap(), 3);
        reader.align();
        let mut out = vec![0; 1000];
        assert_eq!(reader.copy(&mut out).unwrap(), 1000);
        assert_eq!(out, data[4..1004]);
        assert_eq!(reader.take(8).unwrap(), u32::from(data[1004]));
        let mut out = vec![0; BUFFER * 3];
        let len = reader.copy(&mut out).unwrap();
        assert_eq!(len, data.len() - 1005);
        assert_eq!(out[..len], data[1005..]);
        assert_eq!(reader.copy(&mut out).unwrap(), 0);
    }
}
