//! One bzip2 block: prefix codes, move-to-front, runs of zeros, and the Burrows-Wheeler transform
//! inverted.
//!
//! The format has no specification by its author; this follows "BZIP2: Format Specification" by
//! Joe Tsai (2016).
//!
//! Inverting the transform is a walk through a table of up to 3.6 MB in no order at all, so it waits
//! for memory at every step. Several blocks are therefore walked through at the same time
//! ([`invert`]): while one step waits, so do the others, for the same price.

use super::bits::Bits;
use super::huffman::{Code, MAX_LENGTH, MAX_SYMBOLS};
use super::scan::MAGIC_BITS;

/// Symbols that are decoded by the same code.
const GROUP: usize = 50;
/// Selectors that a block of the largest size can need. Encoders have written more, which are
/// ignored.
const MAX_SELECTORS: usize = 18_002;
/// Bytes of a block of the largest size.
pub(super) const MAX_BLOCK: usize = 900_000;

/// What is wrong with a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fault(pub(super) &'static str);

/// The data ends within the block.
pub(super) const CUT_OFF: Fault = Fault("a block is cut off");

/// A block before the transform is inverted.
pub(super) struct Transformed {
    /// CRC of what the block decodes to.
    pub(super) crc: u32,
    /// Bit behind the block, counted from the start of its data.
    pub(super) end: usize,
    /// By position: the byte there in the low 8 bits, the position after it above.
    table: Vec<u32>,
    /// Where the walk begins.
    start: u32,
}

impl Transformed {
    /// Gives the table back, to be used for another block.
    pub(super) fn into_table(self) -> Vec<u32> {
        self.table
    }
}

/// Decodes the block that begins with its magic number at bit `position` of `data`. `table` is
/// cleared and used.
///
/// # Errors
/// [`CUT_OFF`] if the data ends before the block does.
pub(super) fn decode(data: &[u8], position: usize, table: Vec<u32>) -> Result<Transformed, Fault> {
    let mut bits = Bits::new(data, position);
    let result = decode_bits(&mut bits, table);
    if bits.is_past_end() {
        return Err(CUT_OFF);
    }
    result
}

fn decode_bits(bits: &mut Bits<'_>, table: Vec<u32>) -> Result<Transformed, Fault> {
    bits.take(32);
    bits.take(MAGIC_BITS as u32 - 32);
    let crc = bits.take(32);
    if bits.take(1) == 1 {
        return Err(Fault(
            "a block is randomised, which bzip2 has not written since 1999",
        ));
    }
    let origin = bits.take(24);
    let used = read_used(bits);
    let (selectors, codes) = read_codes(bits, used.len() + 2)?;
    let mut counts = [0; 256];
    let table = read_symbols(bits, &used, &selectors, &codes, table, &mut counts)?;
    if origin as usize >= table.len() {
        return Err(Fault("the origin of a block lies outside it"));
    }
    let mut transformed = Transformed {
        crc,
        end: bits.position(),
        table,
        start: origin,
    };
    link(&mut transformed, &counts);
    Ok(transformed)
}

/// The bytes that occur, in order.
fn read_used(bits: &mut Bits<'_>) -> Vec<u8> {
    let groups = bits.take(16);
    let mut used = Vec::with_capacity(256);
    for group in (0..16_u8).filter(|group| groups >> (15 - group) & 1 == 1) {
        let members = bits.take(16);
        used.extend(
            (0..16)
                .filter(|n| members >> (15 - n) & 1 == 1)
                .map(|n| group * 16 + n),
        );
    }
    used
}

/// The code of each group of symbols, and the codes, which are for `symbols` symbols.
fn read_codes(bits: &mut Bits<'_>, symbols: usize) -> Result<(Vec<u8>, Vec<Code>), Fault> {
    if symbols < 3 {
        return Err(Fault("a block uses no bytes"));
    }
    let count = bits.take(3) as usize;
    if !(2..=6).contains(&count) {
        return Err(Fault("a block does not have 2 to 6 Huffman codes"));
    }
    let selector_count = bits.take(15) as usize;
    if selector_count == 0 {
        return Err(Fault("a block has no selectors"));
    }
    let mut order = [0, 1, 2, 3, 4, 5];
    let mut selectors = Vec::with_capacity(selector_count.min(MAX_SELECTORS));
    for n in 0..selector_count {
        bits.refill();
        let place = bits.ahead().leading_ones() as usize;
        if place >= count {
            return Err(Fault("a selector names no Huffman code"));
        }
        bits.consume(place as u32 + 1);
        order[..=place].rotate_right(1);
        if n < MAX_SELECTORS {
            selectors.push(order[0]);
        }
    }
    let codes = (0..count)
        .map(|_| read_code(bits, symbols))
        .collect::<Result<_, _>>()?;
    Ok((selectors, codes))
}

/// Reads the lengths of a code, each as its difference from the one before.
fn read_code(bits: &mut Bits<'_>, symbols: usize) -> Result<Code, Fault> {
    let mut lengths = [0; MAX_SYMBOLS];
    let mut length = bits.take(5);
    for slot in &mut lengths[..symbols] {
        loop {
            if !(1..=MAX_LENGTH).contains(&length) {
                return Err(Fault(
                    "a Huffman code is shorter than 1 bit or longer than 20",
                ));
            }
            bits.refill();
            let ahead = bits.ahead() >> 62;
            if ahead < 2 {
                bits.consume(1);
                break;
            }
            bits.consume(2);
            length = if ahead == 2 { length + 1 } else { length - 1 };
        }
        *slot = length as u8;
    }
    Code::new(&lengths[..symbols])
}

/// The bytes that occur, the one used last first. The first sixteen, which are nearly all that is
/// ever asked for, move within a register.
struct Recent {
    front: u128,
    rest: [u8; 240],
}

impl Recent {
    fn new(used: &[u8]) -> Self {
        let mut all = [0; 256];
        all[..used.len()].copy_from_slice(used);
        let (front, back) = all.split_at(16);
        let mut rest = [0; 240];
        rest.copy_from_slice(back);
        Self {
            front: u128::from_le_bytes(front.try_into().unwrap_or_default()),
            rest,
        }
    }

    #[inline(always)]
    fn first(&self) -> u8 {
        self.front as u8
    }

    /// Moves the byte at `place` to the front.
    #[inline(always)]
    fn take(&mut self, place: usize) -> u8 {
        if place < 16 {
            let shift = place as u32 * 8;
            let byte = (self.front >> shift) as u8;
            let before = (1_u128 << shift) - 1;
            // Bytes behind `place` stay; shifting by 128 is avoided by doing it in two steps.
            let behind = self.front >> shift >> 8 << shift << 8;
            self.front = behind | (self.front & before) << 8 | u128::from(byte);
            return byte;
        }
        let place = (place - 16).min(self.rest.len() - 1);
        let byte = self.rest[place];
        self.rest.copy_within(..place, 1);
        self.rest[0] = (self.front >> 120) as u8;
        self.front = self.front << 8 | u128::from(byte);
        byte
    }
}

/// Decodes the symbols of a block: its bytes in the low 8 bits of each element, counted in `counts`.
fn read_symbols(
    bits: &mut Bits<'_>,
    used: &[u8],
    selectors: &[u8],
    codes: &[Code],
    mut table: Vec<u32>,
    counts: &mut [u32; 256],
) -> Result<Vec<u32>, Fault> {
    let end_symbol = used.len() as u16 + 1;
    let mut recent = Recent::new(used);
    table.clear();
    // A run is written as a number in bijective base 2, lowest digit first.
    let (mut run, mut digit) = (0_usize, 1_usize);
    for &selector in selectors {
        let code = &codes[usize::from(selector)];
        for _ in 0..GROUP {
            bits.refill();
            let Some((symbol, length)) = code.symbol(bits.ahead()) else {
                return Err(Fault("a symbol has no Huffman code"));
            };
            bits.consume(length);
            if symbol < 2 {
                run += digit << symbol;
                digit <<= 1;
                if run > MAX_BLOCK {
                    return Err(Fault("a block is larger than 900000 bytes"));
                }
                continue;
            }
            if run > 0 {
                if table.len() + run > MAX_BLOCK {
                    return Err(Fault("a block is larger than 900000 bytes"));
                }
                let byte = recent.first();
                counts[usize::from(byte)] += run as u32;
                table.resize(table.len() + run, u32::from(byte));
                (run, digit) = (0, 1);
            }
            if symbol == end_symbol {
                return check_symbols(table);
            }
            let byte = recent.take(usize::from(symbol) - 1);
            counts[usize::from(byte)] += 1;
            table.push(u32::from(byte));
        }
        if table.len() > MAX_BLOCK {
            return Err(Fault("a block is larger than 900000 bytes"));
        }
    }
    Err(Fault("a block has more symbols than selectors"))
}

fn check_symbols(table: Vec<u32>) -> Result<Vec<u32>, Fault> {
    if table.is_empty() || table.len() > MAX_BLOCK {
        return Err(Fault("a block is empty or larger than 900000 bytes"));
    }
    Ok(table)
}

/// Links each position to the next one: the n-th occurrence of a byte in the last column of the
/// sorted rotations is its n-th occurrence in the first.
fn link(block: &mut Transformed, counts: &[u32; 256]) {
    let mut next = [0_u32; 256];
    let mut sum = 0;
    for (slot, count) in next.iter_mut().zip(counts) {
        *slot = sum;
        sum += count;
    }
    let table = block.table.as_mut_slice();
    for position in 0..table.len() {
        let slot = &mut next[(table[position] & 0xff) as usize];
        table[*slot as usize] |= (position as u32) << 8;
        *slot += 1;
    }
    block.start = table[block.start as usize] >> 8;
}

/// Blocks whose transforms are inverted at the same time. More of them need more of the processor's
/// caches than they save of its waiting: four blocks were slower than two.
pub(super) const TOGETHER: usize = 2;

/// The bytes of each of `blocks`, in order, into the buffer of the same number.
pub(super) fn invert(blocks: &[Transformed], outs: &mut [Vec<u8>]) {
    for (block, out) in blocks.iter().zip(outs.iter_mut()) {
        out.clear();
        out.resize(block.table.len(), 0);
    }
    if let ([first, second], [first_out, second_out]) = (blocks, &mut *outs) {
        return walk_two([first, second], first_out, second_out);
    }
    for (block, out) in blocks.iter().zip(outs) {
        walk(&block.table, block.start, out);
    }
}

/// Follows the links of two blocks in turn.
fn walk_two([first, second]: [&Transformed; 2], out: &mut [u8], other_out: &mut [u8]) {
    let (mut at, mut other) = (first.start, second.start);
    for (byte, other_byte) in out.iter_mut().zip(other_out.iter_mut()) {
        let entry = first.table[at as usize];
        let other_entry = second.table[other as usize];
        *byte = entry as u8;
        *other_byte = other_entry as u8;
        at = entry >> 8;
        other = other_entry >> 8;
    }
    let both = out.len().min(other_out.len());
    walk(&first.table, at, &mut out[both..]);
    walk(&second.table, other, &mut other_out[both..]);
}

/// Follows the links from `at` on.
fn walk(table: &[u32], mut at: u32, out: &mut [u8]) {
    for byte in out {
        let entry = table[at as usize];
        *byte = entry as u8;
        at = entry >> 8;
    }
}
