//! Huffman codes as lookup tables (RFC 1951 section 3.2).
//!
//! A table is indexed by the next bits of the stream. Codes longer than the index go through a
//! second table behind the first. An entry says at once what to do: a literal, or a base value and
//! the number of extra bits to add, and how many bits all of it takes.

use super::inflate::Fault;

/// Index bits of the table for literals and lengths.
pub(super) const LITERAL_BITS: u32 = 11;
/// Index bits of the table for distances.
pub(super) const DISTANCE_BITS: u32 = 9;
/// Index bits of the table for code lengths, whose codes are never longer.
const PRECODE_BITS: u32 = 7;

/// Entries for 288 symbols with an index of 11 bits and codes of up to 15 (computed by
/// `enough 288 11 15` of the zlib distribution: 2342), rounded up.
const LITERAL_ENTRIES: usize = 2400;
/// The same for 32 symbols and an index of 9 bits: 594.
const DISTANCE_ENTRIES: usize = 640;

/// The entry is a literal.
pub(super) const LITERAL: u32 = 1 << 31;
/// The entry is neither a literal nor a base value.
pub(super) const EXCEPTION: u32 = 1 << 30;
/// With [`EXCEPTION`]: a second table, whose offset is the value and whose index bits the extra.
pub(super) const SECOND: u32 = 1 << 29;
/// With [`EXCEPTION`]: the end of the block.
pub(super) const END: u32 = 1 << 28;

/// Where an entry's value begins.
const VALUE_SHIFT: u32 = 13;
/// Where an entry's number of extra bits begins.
const EXTRA_SHIFT: u32 = 8;

/// The literal, base value or offset of `entry`.
#[inline(always)]
pub(super) fn value(entry: u32) -> usize {
    (entry >> VALUE_SHIFT & 0x7fff) as usize
}

/// The number of extra bits of `entry`.
#[inline(always)]
pub(super) fn extra(entry: u32) -> u32 {
    entry >> EXTRA_SHIFT & 15
}

/// The length in bits of the code of `entry`, without its extra bits.
#[inline(always)]
pub(super) fn bits(entry: u32) -> u32 {
    entry & 31
}

/// The codes of one block.
pub(super) struct Tables {
    pub(super) literals: Box<[u32; LITERAL_ENTRIES]>,
    pub(super) distances: Box<[u32; DISTANCE_ENTRIES]>,
}

/// The code lengths of a block, literals and lengths first.
pub(super) struct Lengths {
    pub(super) lengths: [u8; 320],
    pub(super) literals: usize,
    pub(super) distances: usize,
}

/// Base and extra bits of the length symbols 257 to 285 (RFC 1951 section 3.2.5).
const LENGTH_SYMBOLS: [(u16, u8); 29] = [
    (3, 0),
    (4, 0),
    (5, 0),
    (6, 0),
    (7, 0),
    (8, 0),
    (9, 0),
    (10, 0),
    (11, 1),
    (13, 1),
    (15, 1),
    (17, 1),
    (19, 2),
    (23, 2),
    (27, 2),
    (31, 2),
    (35, 3),
    (43, 3),
    (51, 3),
    (59, 3),
    (67, 4),
    (83, 4),
    (99, 4),
    (115, 4),
    (131, 5),
    (163, 5),
    (195, 5),
    (227, 5),
    (258, 0),
];

fn literal_entry(symbol: usize) -> u32 {
    match symbol {
        0..256 => LITERAL | (symbol as u32) << VALUE_SHIFT,
        256 => EXCEPTION | END,
        _ => match LENGTH_SYMBOLS.get(symbol - 257) {
            Some(&(base, extra)) => {
                u32::from(base) << VALUE_SHIFT | u32::from(extra) << EXTRA_SHIFT
            }
            None => EXCEPTION,
        },
    }
}

fn distance_entry(symbol: usize) -> u32 {
    match symbol as u32 {
        symbol @ 0..4 => (symbol + 1) << VALUE_SHIFT,
        symbol @ 4..30 => {
            let extra = symbol / 2 - 1;
            let base = ((2 + symbol % 2) << extra) + 1;
            base << VALUE_SHIFT | extra << EXTRA_SHIFT
        }
        _ => EXCEPTION,
    }
}

impl Tables {
    /// Tables in which every code is invalid.
    pub(super) fn new() -> Self {
        Self {
            literals: Box::new([EXCEPTION; LITERAL_ENTRIES]),
            distances: Box::new([EXCEPTION; DISTANCE_ENTRIES]),
        }
    }

    /// Takes on the codes of a block with its own codes, which were checked.
    pub(super) fn set(&mut self, codes: &Lengths) {
        let (literals, rest) = codes.lengths.split_at(codes.literals);
        let distances = &rest[..codes.distances];
        build(
            literals,
            LITERAL_BITS,
            literal_entry,
            self.literals.as_mut_slice(),
        );
        build(
            distances,
            DISTANCE_BITS,
            distance_entry,
            self.distances.as_mut_slice(),
        );
    }

    /// Takes on the fixed codes (RFC 1951 section 3.2.6).
    pub(super) fn set_fixed(&mut self) {
        let mut lengths = [8; 320];
        lengths[144..256].fill(9);
        lengths[256..280].fill(7);
        lengths[288..].fill(5);
        self.set(&Lengths {
            lengths,
            literals: 288,
            distances: 32,
        });
    }
}

/// How a set of code lengths fills the space of codes.
fn kraft(lengths: &[u8]) -> (i32, u8) {
    let left = lengths
        .iter()
        .filter(|&&length| length > 0)
        .fold(1 << 15, |left: i32, &length| left - (1 << (15 - length)));
    (left, lengths.iter().copied().max().unwrap_or(0))
}

/// Checks that `lengths` describe a prefix code: complete, or a single code of one bit, or none.
/// That is what zlib accepts.
pub(super) fn check(lengths: &[u8]) -> Result<(), Fault> {
    match kraft(lengths) {
        (0, _) | (_, 0) => Ok(()),
        (left, 1) if left > 0 => Ok(()),
        _ => Err(Fault("a Huffman code is not a prefix code")),
    }
}

/// Fills `table` with the canonical code of checked `lengths`.
fn build(lengths: &[u8], index_bits: u32, entry_of: impl Fn(usize) -> u32, table: &mut [u32]) {
    let mut counts = [0_u16; 16];
    for &length in lengths {
        counts[usize::from(length)] += 1;
    }
    counts[0] = 0;
    // Symbols by length, then by value: in the order of their codes.
    let mut place = [0_u16; 17];
    for length in 1..16 {
        place[length + 1] = place[length] + counts[length];
    }
    let coded = usize::from(place[16]);
    let mut sorted = [0_u16; 320];
    for (symbol, &length) in lengths.iter().enumerate() {
        if length > 0 {
            let slot = &mut place[usize::from(length)];
            sorted[usize::from(*slot)] = symbol as u16;
            *slot += 1;
        }
    }

    let index_len = 1_usize << index_bits;
    table[..index_len].fill(EXCEPTION);
    let mut code: u32 = 0;
    let mut previous = 0;
    let mut second = Second {
        prefix: u32::MAX,
        start: 0,
        end: index_len,
        bits: 0,
    };
    for &symbol in &sorted[..coded] {
        let symbol = usize::from(symbol);
        let length = u32::from(lengths[symbol]);
        code <<= length - previous;
        previous = length;
        let reversed = code.reverse_bits() >> (32 - length);
        if length <= index_bits {
            let entry = entry_of(symbol) | length;
            for slot in table[..index_len]
                .iter_mut()
                .skip(reversed as usize)
                .step_by(1 << length)
            {
                *slot = entry;
            }
        } else {
            let prefix = reversed & (index_len as u32 - 1);
            if second.prefix != prefix {
                second.open(prefix, length, index_bits, &counts, table);
            }
            let entry = entry_of(symbol) | (length - index_bits);
            for slot in table[second.start..second.end]
                .iter_mut()
                .skip((reversed >> index_bits) as usize)
                .step_by(1 << (length - index_bits))
            {
                *slot = entry;
            }
        }
        code += 1;
        // Codes that are given away are not available to longer ones.
        counts[length as usize] -= 1;
    }
}

/// The second table that is being filled.
struct Second {
    /// Index in the first table.
    prefix: u32,
    start: usize,
    end: usize,
    bits: u32,
}

impl Second {
    /// Begins the table for codes that start with `prefix`, the first of which has `length` bits.
    /// `counts` are the codes that are left, by length.
    fn open(
        &mut self,
        prefix: u32,
        length: u32,
        index_bits: u32,
        counts: &[u16; 16],
        table: &mut [u32],
    ) {
        // As many bits as the codes that fit under this prefix need: longer ones only while there
        // is room left by the shorter.
        self.bits = length - index_bits;
        let mut room = 1_i32 << self.bits;
        while self.bits + index_bits < 15 {
            room -= i32::from(counts[(self.bits + index_bits) as usize]);
            if room <= 0 {
                break;
            }
            self.bits += 1;
            room <<= 1;
        }
        self.prefix = prefix;
        self.start = self.end;
        self.end = self.start + (1 << self.bits);
        table[self.start..self.end].fill(EXCEPTION);
        table[prefix as usize] = EXCEPTION
            | SECOND
            | (self.start as u32) << VALUE_SHIFT
            | self.bits << EXTRA_SHIFT
            | index_bits;
    }
}

/// The code that describes the lengths of the other two.
pub(super) struct Precode {
    table: [u32; 1 << PRECODE_BITS],
}

impl Precode {
    /// The code whose lengths, by symbol, are `lengths`. It has to be complete.
    pub(super) fn new(lengths: &[u8; 19]) -> Result<Self, Fault> {
        if kraft(lengths).0 != 0 {
            return Err(Fault("the code of the code lengths is not complete"));
        }
        let mut table = [0; 1 << PRECODE_BITS];
        build(
            lengths,
            PRECODE_BITS,
            |symbol| (symbol as u32) << VALUE_SHIFT,
            &mut table,
        );
        Ok(Self { table })
    }

    /// The symbol at the start of `bits` and the length of its code.
    pub(super) fn symbol(&self, bits_ahead: u64) -> (usize, u32) {
        let entry = self.table[(bits_ahead & ((1 << PRECODE_BITS) - 1)) as usize];
        (value(entry), bits(entry))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes by comparing with every code, one after another.
    fn slow(lengths: &[u8], stream: u32) -> Option<(usize, u32)> {
        let mut code = 0_u32;
        for length in 1..16 {
            code <<= 1;
            for (symbol, _) in lengths.iter().enumerate().filter(|(_, l)| **l == length) {
                let length = u32::from(length);
                if stream & ((1 << length) - 1) == code.reverse_bits() >> (32 - length) {
                    return Some((symbol, length));
                }
                code += 1;
            }
        }
        None
    }

    #[test]
    fn tables_agree_with_the_definition() {
        // A skewed code, deep enough for second tables, with unused symbols in between.
        let mut lengths = [0; 288];
        let deep: [u8; 17] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 15, 0];
        for (place, length) in deep.iter().enumerate() {
            lengths[place * 17] = *length;
        }
        check(&lengths).unwrap();
        let mut table = vec![0; LITERAL_ENTRIES];
        build(
            &lengths,
            LITERAL_BITS,
            |s| (s as u32) << VALUE_SHIFT,
            &mut table,
        );
        for stream in 0..1_u32 << 15 {
            let mut entry = table[(stream & 2047) as usize];
            let mut used = bits(entry);
            if entry & SECOND != 0 {
                let index = (stream >> used) & ((1 << extra(entry)) - 1);
                entry = table[value(entry) + index as usize];
                used += bits(entry);
            }
            assert_eq!(
                Some((value(entry), used)),
                slow(&lengths, stream),
                "{stream:b}"
            );
        }
    }

    #[test]
    fn only_prefix_codes_are_accepted() {
        assert!(check(&[1, 1]).is_ok());
        assert!(check(&[0, 1]).is_ok(), "one code of one bit");
        assert!(check(&[0, 0]).is_ok(), "no distances at all");
        assert!(check(&[1, 1, 1]).is_err(), "over-subscribed");
        assert!(check(&[2, 2]).is_err(), "incomplete");
    }

    #[test]
    fn the_worst_codes_fit_the_tables() {
        // The sets that `enough` reports as needing the most entries have many long codes; all
        // lengths at their deepest come close for either alphabet.
        for (symbols, index, entries) in [
            (286, LITERAL_BITS, LITERAL_ENTRIES),
            (30, DISTANCE_BITS, DISTANCE_ENTRIES),
        ] {
            let mut lengths = vec![0_u8; symbols];
            let mut left = symbols;
            // One code of each short length, and the rest as deep as completeness allows.
            let mut room = 1_u32 << 15;
            for length in 1..15 {
                let share = 1 << (15 - length);
                if left > 1 && room - share >= (left - 1) as u32 {
                    lengths[symbols - left] = length;
                    room -= share;
                    left -= 1;
                }
            }
            let tail = symbols - left;
            lengths[tail..].fill(15);
            let mut table = vec![0; entries];
            build(&lengths, index, |s| (s as u32) << VALUE_SHIFT, &mut table);
        }
    }
}
