//! Bits in bzip2's order: the most significant bit of each byte first.

/// A place in the bytes of a block. Behind their end it supplies zeros, and whoever took some of
/// them finds [`Bits::is_past_end`].
pub(super) struct Bits<'d> {
    data: &'d [u8],
    /// The next bits, from the highest on. Below the `count` highest they may be anything that
    /// follows in the data.
    bits: u64,
    /// How many of them are accounted for.
    count: u32,
    /// Index of the byte after those.
    next: usize,
}

impl<'d> Bits<'d> {
    /// Starts at bit `position` of `data`.
    pub(super) fn new(data: &'d [u8], position: usize) -> Self {
        let mut bits = Self {
            data,
            bits: 0,
            count: 0,
            next: position / 8,
        };
        bits.refill();
        bits.consume((position % 8) as u32);
        bits
    }

    /// Bits before the next one.
    pub(super) fn position(&self) -> usize {
        self.next * 8 - self.count as usize
    }

    /// Whether bits were taken that the data does not have.
    pub(super) fn is_past_end(&self) -> bool {
        self.position() > self.data.len() * 8
    }

    /// Tops up to at least 56 bits.
    #[inline(always)]
    pub(super) fn refill(&mut self) {
        let word = match self.data.get(self.next..self.next + 8) {
            Some(bytes) => u64::from_be_bytes(bytes.try_into().unwrap_or_default()),
            None => self.last_word(),
        };
        self.bits |= word >> self.count;
        self.next += ((63 - self.count) >> 3) as usize;
        self.count |= 56;
    }

    /// The bytes at the end of the data, and zeros.
    #[cold]
    fn last_word(&self) -> u64 {
        let tail = self.data.get(self.next..).unwrap_or_default();
        let mut word = [0; 8];
        word[..tail.len()].copy_from_slice(tail);
        u64::from_be_bytes(word)
    }

    /// The next bits, the first one highest.
    #[inline(always)]
    pub(super) fn ahead(&self) -> u64 {
        self.bits
    }

    /// Drops `count` bits of those that [`Bits::refill`] made ready.
    #[inline(always)]
    pub(super) fn consume(&mut self, count: u32) {
        self.bits <<= count;
        self.count = self.count.wrapping_sub(count);
    }

    /// Takes the next `count` bits, 1 to 32.
    pub(super) fn take(&mut self, count: u32) -> u32 {
        self.refill();
        let value = self.bits >> (64 - count);
        self.consume(count);
        value as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_come_in_order_and_end_with_zeros() {
        let data: Vec<u8> = (0..40_u8).map(|n| n.wrapping_mul(37)).collect();
        let mut bits = Bits::new(&data, 3);
        let mut at = 3;
        while at + 11 <= data.len() * 8 {
            let expected = (at..at + 11).fold(0, |value, i| {
                value << 1 | u32::from(data[i / 8] >> (7 - i % 8) & 1)
            });
            assert_eq!(bits.take(11), expected);
            at += 11;
            assert_eq!(bits.position(), at);
        }
        assert!(!bits.is_past_end());
        bits.take(32);
        assert!(bits.is_past_end());
        assert_eq!(bits.take(32), 0);
    }
}
