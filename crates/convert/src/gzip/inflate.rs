//! Deflate (RFC 1951), stopping wherever it has to and going on from there.
//!
//! [`Inflater`] is the state between two symbols of a stream, [`Out`] is where the symbols go. A
//! symbol is a byte or, where the 32 KiB before the start are not known yet, 16 bits of which the
//! values from 256 on mean "what stands at this place of the window" ([`Symbol`]).
//!
//! Long runs of one symbol, which is what the unused part of a disk is, are counted and not
//! written out.

use abbild_disk::Source;

use super::bits::BitReader;
use super::huffman::{
    DISTANCE_BITS, END, EXCEPTION, LITERAL, LITERAL_BITS, Lengths, Precode, SECOND, Tables, bits,
    check, extra, value,
};
use crate::Result;

/// Bytes that a match can reach back.
pub(super) const WINDOW: usize = 32 << 10;
/// The longest match.
const MAX_MATCH: usize = 258;
/// Symbols that are copied at once.
const STRIDE: usize = 16;
/// A run at least this long is counted; in symbols.
const MIN_RUN: u64 = 64 << 10;
/// A run is reported in parts no longer than this, so that whoever counts can stop it.
const MAX_RUN: u64 = 256 << 20;
/// Room behind the limit of a buffer: a run that is too short to be counted, three literals and
/// the last stride of a copy.
const SLACK: usize = MIN_RUN as usize + MAX_MATCH + STRIDE + 3;

/// Symbols that a buffer takes before it is full.
const CAPACITY: usize = 1 << 20;
/// Length of a buffer: the window, and what is decoded.
pub(super) const BUFFER: usize = WINDOW + CAPACITY + SLACK;

/// What is wrong with a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fault(pub(super) &'static str);

/// Why decoding cannot go on.
#[derive(Debug)]
pub(super) enum Stop {
    /// The file could not be read.
    Io(crate::Error),
    /// The file ends too early.
    Truncated,
    /// The stream is not valid.
    Fault(Fault),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<crate::Error> for Stop {
    fn from(error: crate::Error) -> Self {
        Self::Io(error)
    }
}

/// One position of the output.
pub(super) trait Symbol: Copy + PartialEq + Default {
    fn literal(byte: u8) -> Self;
}

impl Symbol for u8 {
    #[inline(always)]
    fn literal(byte: u8) -> Self {
        byte
    }
}

/// Below 256 a byte, from 256 on a place of the unknown window.
impl Symbol for u16 {
    #[inline(always)]
    fn literal(byte: u8) -> Self {
        u16::from(byte)
    }
}

/// A buffer of symbols that begins with the window.
pub(super) struct Out<T> {
    symbols: Vec<T>,
    /// Where the next symbol goes.
    end: usize,
    /// Matches do not reach further back than this.
    history: usize,
    /// Decoding stops here, or within [`SLACK`] behind.
    limit: usize,
}

impl<T: Symbol> Out<T> {
    /// Takes `symbols`, a buffer of [`BUFFER`] symbols, for what follows `window`, whose [`WINDOW`]
    /// symbols are copied and whose last `history` may be referred to.
    pub(super) fn new(mut symbols: Vec<T>, window: &[T], history: usize) -> Self {
        symbols[..WINDOW].copy_from_slice(window);
        Self {
            symbols,
            end: WINDOW,
            history: WINDOW - history.min(WINDOW),
            limit: WINDOW + CAPACITY,
        }
    }

    /// Symbols after the window.
    pub(super) fn len(&self) -> usize {
        self.end - WINDOW
    }

    /// The last [`WINDOW`] symbols.
    pub(super) fn window(&self) -> &[T] {
        &self.symbols[self.end - WINDOW..self.end]
    }

    /// How many of [`Out::window`] may be referred to.
    pub(super) fn history(&self) -> usize {
        (self.end - self.history).min(WINDOW)
    }

    /// Nothing that was written so far may be referred to any more.
    pub(super) fn forget(&mut self) {
        self.history = self.end;
    }

    /// The symbols after the window, with what lies around them: the buffer, and where they begin
    /// and end in it.
    pub(super) fn into_parts(self) -> (Vec<T>, std::ops::Range<usize>) {
        (self.symbols, WINDOW..self.end)
    }
}

/// What a step ended with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event<T> {
    /// The buffer is full.
    Full,
    /// A block ended and another one follows.
    Block,
    /// The last block ended.
    End,
    /// So many of this symbol come next, which were not written.
    Run(T, u64),
}

enum Mode {
    /// Before the header of a block.
    Header,
    /// In a stored block with so many bytes left.
    Stored(usize),
    /// In a block with codes.
    Coded,
}

/// The state of a deflate stream between two symbols.
pub(super) struct Inflater {
    mode: Mode,
    /// The present block is the last.
    last: bool,
    tables: Tables,
}

impl Inflater {
    /// At the start of a stream, or of any of its blocks.
    pub(super) fn new() -> Self {
        Self {
            mode: Mode::Header,
            last: false,
            tables: Tables::new(),
        }
    }

    /// Whether the next thing in the stream is the header of a block.
    pub(super) fn is_between_blocks(&self) -> bool {
        matches!(self.mode, Mode::Header)
    }

    /// Decodes until something happens.
    pub(super) fn step<T: Symbol, S: Source + ?Sized>(
        &mut self,
        reader: &mut BitReader<'_, S>,
        out: &mut Out<T>,
    ) -> std::result::Result<Event<T>, Stop> {
        let event = match self.mode {
            Mode::Header => {
                self.header(reader)?;
                return self.step(reader, out);
            }
            Mode::Stored(left) => self.stored(reader, out, left)?,
            Mode::Coded => self.coded(reader, out)?,
        };
        if reader.is_past_end() {
            return Err(Stop::Truncated);
        }
        let Event::Block = event else {
            return Ok(event);
        };
        self.mode = Mode::Header;
        Ok(if self.last { Event::End } else { Event::Block })
    }

    fn header<S: Source + ?Sized>(
        &mut self,
        reader: &mut BitReader<'_, S>,
    ) -> std::result::Result<(), Stop> {
        self.last = reader.take(1)? == 1;
        self.mode = match reader.take(2)? {
            0 => {
                reader.align();
                let (len, complement) = (reader.take(16)?, reader.take(16)?);
                if reader.is_past_end() {
                    return Err(Stop::Truncated);
                }
                if len ^ complement != 0xffff {
                    return Err(Fault("the length of a stored block is not valid").into());
                }
                Mode::Stored(len as usize)
            }
            1 => {
                self.tables.set_fixed();
                Mode::Coded
            }
            2 => {
                self.tables.set(&read_lengths(reader)?);
                Mode::Coded
            }
            _ => return Err(Fault("a block is of the reserved type 3").into()),
        };
        Ok(())
    }

    fn stored<T: Symbol, S: Source + ?Sized>(
        &mut self,
        reader: &mut BitReader<'_, S>,
        out: &mut Out<T>,
        left: usize,
    ) -> Result<Event<T>> {
        let mut left = left;
        let mut bytes = [0; 4096];
        while left > 0 && out.end < out.limit {
            let want = left.min(out.limit - out.end).min(bytes.len());
            let got = reader.copy(&mut bytes[..want])?;
            if got == 0 {
                // The caller sees that the file is at its end.
                reader.take(8)?;
                return Ok(Event::Full);
            }
            for (symbol, byte) in out.symbols[out.end..out.end + got].iter_mut().zip(&bytes) {
                *symbol = T::literal(*byte);
            }
            out.end += got;
            left -= got;
        }
        self.mode = Mode::Stored(left);
        Ok(if left == 0 { Event::Block } else { Event::Full })
    }

    fn coded<T: Symbol, S: Source + ?Sized>(
        &mut self,
        reader: &mut BitReader<'_, S>,
        out: &mut Out<T>,
    ) -> std::result::Result<Event<T>, Stop> {
        while out.end < out.limit {
            let rounds = reader.rounds_until()?;
            if rounds == 0 {
                return Err(Stop::Truncated);
            }
            match self.rounds(reader, out, rounds)? {
                Round::More => {}
                Round::Block => return Ok(Event::Block),
                Round::Run => {
                    if let Some((symbol, len)) = self.run(reader, out)? {
                        return Ok(Event::Run(symbol, len));
                    }
                }
            }
        }
        Ok(Event::Full)
    }

    /// The inner loop: a few literals and a match per round.
    fn rounds<T: Symbol, S: Source + ?Sized>(
        &self,
        reader: &mut BitReader<'_, S>,
        out: &mut Out<T>,
        rounds_until: usize,
    ) -> std::result::Result<Round, Fault> {
        let (literals, distances) = (&*self.tables.literals, &*self.tables.distances);
        let mut cursor = reader.cursor();
        let data = reader.data();
        let symbols = out.symbols.as_mut_slice();
        let (mut end, limit, history) = (out.end, out.limit, out.history);
        let mut result = Round::More;
        while cursor.next < rounds_until && end < limit {
            cursor.refill(data);
            // Of 56 bits, three literals take at most 33.
            let mut entry = literals[(cursor.bits & LITERAL_MASK) as usize];
            let mut literal_count = 0;
            while entry & LITERAL != 0 {
                cursor.consume(bits(entry));
                symbols[end] = T::literal(value(entry) as u8);
                end += 1;
                entry = literals[(cursor.bits & LITERAL_MASK) as usize];
                literal_count += 1;
                if literal_count == 3 {
                    break;
                }
            }
            if literal_count == 3 {
                continue;
            }
            // Two literals took 22 bits, so that 34 are left: a length takes up to 20.
            let before = cursor;
            cursor.consume(bits(entry));
            if entry & EXCEPTION != 0 {
                if entry & SECOND != 0 {
                    let index = (cursor.bits & mask(extra(entry))) as usize;
                    entry = literals[(value(entry) + index) % literals.len()];
                    cursor.consume(bits(entry));
                    if entry & LITERAL != 0 {
                        symbols[end] = T::literal(value(entry) as u8);
                        end += 1;
                        continue;
                    }
                }
                if entry & END != 0 {
                    result = Round::Block;
                    break;
                }
                if entry & EXCEPTION != 0 {
                    return Err(Fault("a literal or length has no code"));
                }
            }
            let len = value(entry) + (cursor.bits & mask(extra(entry))) as usize;
            cursor.consume(extra(entry));

            cursor.refill(data);
            let mut entry = distances[(cursor.bits & DISTANCE_MASK) as usize];
            cursor.consume(bits(entry));
            if entry & EXCEPTION != 0 {
                if entry & SECOND != 0 {
                    let index = (cursor.bits & mask(extra(entry))) as usize;
                    entry = distances[(value(entry) + index) % distances.len()];
                    cursor.consume(bits(entry));
                }
                if entry & EXCEPTION != 0 {
                    return Err(Fault("a distance has no code"));
                }
            }
            let distance = value(entry) + (cursor.bits & mask(extra(entry))) as usize;
            cursor.consume(extra(entry));
            if distance > end - history {
                return Err(Fault("a distance reaches back before the start"));
            }
            if distance == 1 && len == MAX_MATCH {
                cursor = before;
                result = Round::Run;
                break;
            }
            copy(symbols, end, distance, len);
            end += len;
        }
        out.end = end;
        reader.set_cursor(cursor);
        Ok(result)
    }

    /// Counts matches of full length and distance 1, of which one follows. Writes them if they are
    /// few.
    fn run<T: Symbol, S: Source + ?Sized>(
        &self,
        reader: &mut BitReader<'_, S>,
        out: &mut Out<T>,
    ) -> Result<Option<(T, u64)>> {
        let symbol = out.symbols[out.end - 1];
        let ahead = reader.peek()?;
        // The bits of one such match, which the caller has just decoded: whatever code they are,
        // equal bits mean the same again.
        let (length_bits, distance_bits) = self.run_bits(ahead);
        let total = length_bits + distance_bits;
        let pattern = ahead & mask(total);
        let mut len = 0;
        while len < MAX_RUN && reader.peek()? & mask(total) == pattern && !reader.is_past_end() {
            reader.consume(total);
            len += MAX_MATCH as u64;
        }
        if len >= MIN_RUN {
            return Ok(Some((symbol, len)));
        }
        let end = out.end + len as usize;
        out.symbols[out.end..end].fill(symbol);
        out.end = end;
        Ok(None)
    }

    /// The lengths in bits of the length and of the distance at the start of `ahead`, of which at
    /// most 20 and 15 are used.
    fn run_bits(&self, ahead: u64) -> (u32, u32) {
        let literals = &*self.tables.literals;
        let length_bits = whole(literals, LITERAL_MASK, ahead);
        let distances = &*self.tables.distances;
        let distance_bits = whole(distances, DISTANCE_MASK, ahead >> length_bits);
        (length_bits, distance_bits)
    }
}

/// Bits of the code at the start of `ahead` and of its extra bits.
fn whole(table: &[u32], index_mask: u64, ahead: u64) -> u32 {
    let first = table[(ahead & index_mask) as usize];
    if first & SECOND == 0 {
        return bits(first) + extra(first);
    }
    let rest = ahead >> bits(first);
    let second = table[(value(first) + (rest & mask(extra(first))) as usize) % table.len()];
    bits(first) + bits(second) + extra(second)
}

/// How the inner loop ended.
enum Round {
    /// For want of input or room.
    More,
    /// At the end of a block.
    Block,
    /// Before a match that looks like a run.
    Run,
}

const LITERAL_MASK: u64 = (1 << LITERAL_BITS) - 1;
const DISTANCE_MASK: u64 = (1 << DISTANCE_BITS) - 1;

#[inline(always)]
fn mask(bits: u32) -> u64 {
    (1 << bits) - 1
}

/// Repeats `len` symbols from `distance` before `end`. What lies behind may be overwritten, up to
/// [`STRIDE`] symbols.
#[inline(always)]
fn copy<T: Symbol>(symbols: &mut [T], end: usize, distance: usize, len: usize) {
    let start = end - distance;
    if distance >= STRIDE {
        let mut done = 0;
        while done < len {
            let mut stride = [T::default(); STRIDE];
            stride.copy_from_slice(&symbols[start + done..start + done + STRIDE]);
            symbols[end + done..end + done + STRIDE].copy_from_slice(&stride);
            done += STRIDE;
        }
    } else if distance == 1 {
        let symbol = symbols[start];
        symbols[end..end + len].fill(symbol);
    } else {
        for at in 0..len {
            symbols[end + at] = symbols[start + at];
        }
    }
}

/// Reads and checks the code lengths of a block (RFC 1951 section 3.2.7).
pub(super) fn read_lengths<S: Source + ?Sized>(
    reader: &mut BitReader<'_, S>,
) -> std::result::Result<Lengths, Stop> {
    /// The order in which the lengths of the precode are stored.
    const ORDER: [usize; 19] = [
        16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15,
    ];
    let literals = reader.take(5)? as usize + 257;
    let distances = reader.take(5)? as usize + 1;
    let precodes = reader.take(4)? as usize + 4;
    if literals > 286 || distances > 30 {
        return Err(Fault("a block has too many codes").into());
    }
    let mut precode = [0; 19];
    for &symbol in &ORDER[..precodes] {
        precode[symbol] = reader.take(3)? as u8;
    }
    let precode = Precode::new(&precode)?;

    let mut lengths = [0; 320];
    let mut filled = 0;
    while filled < literals + distances {
        let ahead = reader.peek()?;
        let (symbol, used) = precode.symbol(ahead);
        let rest = ahead >> used;
        let (length, repeat, extra) = match symbol {
            0..16 => (symbol as u8, 1, 0),
            16 if filled == 0 => return Err(Fault("a repeated code length has none before").into()),
            16 => (lengths[filled - 1], 3 + (rest & 3), 2),
            17 => (0, 3 + (rest & 7), 3),
            _ => (0, 11 + (rest & 127), 7),
        };
        reader.consume(used + extra);
        let end = filled + repeat as usize;
        if end > literals + distances {
            return Err(Fault("a block has more code lengths than codes").into());
        }
        lengths[filled..end].fill(length);
        filled = end;
    }
    if reader.is_past_end() {
        return Err(Stop::Truncated);
    }
    if lengths[256] == 0 {
        return Err(Fault("a block has no code for its end").into());
    }
    check(&lengths[..literals])?;
    check(&lengths[literals..filled])?;
    Ok(Lengths {
        lengths,
        literals,
        distances,
    })
}
