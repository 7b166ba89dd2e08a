//! The prefix codes of a block: canonical, most significant bit first, up to 20 bits long.

use super::block::Fault;

/// The longest code.
pub(super) const MAX_LENGTH: u32 = 20;
/// Most symbols that a code has: two for runs, 255 for places, one for the end.
pub(super) const MAX_SYMBOLS: usize = 258;
/// Index bits of the table.
const INDEX_BITS: u32 = 11;
/// Bits of an entry that hold the length; the symbol lies above.
const LENGTH_BITS: u32 = 5;

/// A code, ready to decode.
pub(super) struct Code {
    /// By the next [`INDEX_BITS`] bits: the symbol and its length, 0 for longer codes.
    table: [u16; 1 << INDEX_BITS],
    /// By length: the first value of 20 bits that is not of a code of this length or a shorter one.
    limit: [u32; MAX_LENGTH as usize + 1],
    /// By length: what to add to a code to get its place in `symbols`.
    base: [i32; MAX_LENGTH as usize + 1],
    /// In the order of their codes.
    symbols: [u16; MAX_SYMBOLS],
}

impl Code {
    /// The canonical code in which symbol `n` has `lengths[n]` bits, 1 to 20.
    pub(super) fn new(lengths: &[u8]) -> Result<Self, Fault> {
        let mut code = Self {
            table: [0; 1 << INDEX_BITS],
            limit: [0; MAX_LENGTH as usize + 1],
            base: [0; MAX_LENGTH as usize + 1],
            symbols: [0; MAX_SYMBOLS],
        };
        let mut next: u32 = 0;
        let mut place = 0;
        for length in 1..=MAX_LENGTH {
            code.base[length as usize] = place as i32 - next as i32;
            for (symbol, _) in lengths
                .iter()
                .enumerate()
                .filter(|&(_, &l)| u32::from(l) == length)
            {
                if next >> length != 0 {
                    return Err(Fault("a Huffman code is not a prefix code"));
                }
                code.symbols[place] = symbol as u16;
                code.enter(next, length, symbol as u16);
                place += 1;
                next += 1;
            }
            code.limit[length as usize] = next << (MAX_LENGTH - length);
            next <<= 1;
        }
        Ok(code)
    }

    /// Enters a short code into the table.
    fn enter(&mut self, code: u32, length: u32, symbol: u16) {
        if length <= INDEX_BITS {
            let first = (code << (INDEX_BITS - length)) as usize;
            let count = 1 << (INDEX_BITS - length);
            self.table[first..first + count].fill(symbol << LENGTH_BITS | length as u16);
        }
    }

    /// The symbol at the start of `ahead`, whose highest bit is the next one, and its length;
    /// `None` if no code is like that.
    #[inline(always)]
    pub(super) fn symbol(&self, ahead: u64) -> Option<(u16, u32)> {
        let entry = self.table[(ahead >> (64 - INDEX_BITS)) as usize];
        if entry != 0 {
            return Some((
                entry >> LENGTH_BITS,
                u32::from(entry & ((1 << LENGTH_BITS) - 1)),
            ));
        }
        self.long_symbol(ahead)
    }

    #[cold]
    fn long_symbol(&self, ahead: u64) -> Option<(u16, u32)> {
        let value = (ahead >> (64 - MAX_LENGTH)) as u32;
        let length = (INDEX_BITS + 1..=MAX_LENGTH).find(|&l| value < self.limit[l as usize])?;
        let place = (value >> (MAX_LENGTH - length)) as i32 + self.base[length as usize];
        let symbol = self.symbols.get(usize::try_from(place).ok()?)?;
        Some((*symbol, length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_codes_are_decoded() {
        let mut lengths: Vec<u8> = (1..=19).collect();
        lengths.extend([20, 20]);
        let code = Code::new(&lengths).unwrap();
        for (symbol, &length) in lengths.iter().enumerate() {
            // Code n of this set is n ones and a zero, the last one all ones.
            let ahead = !(u64::MAX >> symbol.min(20));
            let expected = Some((symbol as u16, u32::from(length)));
            assert_eq!(code.symbol(ahead), expected, "symbol {symbol}");
        }
    }

    #[test]
    fn what_is_not_a_code_is_told() {
        assert!(Code::new(&[1, 1, 1]).is_err());
        let sparse = Code::new(&[2, 2, 2]).unwrap();
        assert_eq!(sparse.symbol(u64::MAX), None);
        assert_eq!(sparse.symbol(0b10 << 62), Some((2, 2)));
    }
}
