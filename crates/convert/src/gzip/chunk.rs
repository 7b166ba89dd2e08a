//! Decoding a part of a file, with or without knowing what came before.
//!
//! [`decode`] goes from a block to the next block boundary behind a given place and cuts what it
//! decodes into [`Piece`]s. [`speculate`] does so in the middle of the file: it looks for a block,
//! decodes symbols of which some refer to the unknown window, and continues with plain bytes as
//! soon as no such reference is left within reach.

use std::ops::Range;

use abbild_disk::Source;

use super::bits::BitReader;
use super::find::find_block;
use super::header::{Next, Trailer, read_next, read_trailer};
use super::inflate::{Event, Inflater, Out, Stop, Symbol, WINDOW};
use crate::Result;
use crate::shelf::Shelf;

/// Bytes of decoded data that one chunk may hold.
const BUDGET: usize = 8 << 20;
/// A piece of fewer symbols is copied out of its buffer, which is used again at once: between two
/// runs there may be little, and a whole buffer for each little would be too much.
const SMALL: usize = 128 << 10;
/// What a piece costs of the budget at least.
const SMALLEST: usize = 1 << 10;
/// How far behind its start a chunk is searched for a block, in bits.
const SEARCH: u64 = (256 << 10) * 8;
/// How far behind the end of its chunk a block is followed, in bits.
const OVERRUN: u64 = (1 << 20) * 8;
/// Places that are tried before a chunk is given up.
const MAX_TRIES: usize = 4;
/// What [`Out::new`] needs of the window before a chunk: place `n` of it is the symbol `256 + n`.
const FIRST_MARKER: u16 = 256;

/// All buffers of a decoder.
pub(super) struct Buffers {
    /// For known bytes.
    pub(super) plain: Shelf<u8>,
    /// For bytes and references.
    pub(super) marked: Shelf<u16>,
    /// For pieces of the input.
    pub(super) input: Shelf<u8>,
}

impl Buffers {
    /// For output buffers of `output` symbols and pieces of `input` bytes.
    pub(super) fn new(output: usize, input: usize) -> Self {
        Self {
            plain: Shelf::new(output),
            marked: Shelf::new(output),
            input: Shelf::new(input),
        }
    }
}

/// Decoded data.
pub(super) struct Piece {
    pub(super) content: Content,
    /// Where in it members end: after how many symbols.
    pub(super) ends: Vec<(usize, Trailer)>,
}

/// The symbols of a piece.
pub(super) enum Content {
    /// Some may refer to the window before the chunk.
    Marked(Vec<u16>, Range<usize>),
    Plain(Vec<u8>, Range<usize>),
    /// So many of the same symbol.
    Run(u16, u64),
}

impl Piece {
    /// Symbols in it.
    pub(super) fn len(&self) -> u64 {
        match &self.content {
            Content::Marked(_, range) | Content::Plain(_, range) => range.len() as u64,
            Content::Run(_, len) => *len,
        }
    }
}

/// A symbol that can be in a piece.
pub(super) trait Stored: Symbol {
    fn content(symbols: Vec<Self>, range: Range<usize>) -> Content;
    fn shelf(buffers: &Buffers) -> &Shelf<Self>;
    fn widen(self) -> u16;
}

impl Stored for u8 {
    fn content(symbols: Vec<Self>, range: Range<usize>) -> Content {
        Content::Plain(symbols, range)
    }

    fn shelf(buffers: &Buffers) -> &Shelf<Self> {
        &buffers.plain
    }

    fn widen(self) -> u16 {
        u16::from(self)
    }
}

impl Stored for u16 {
    fn content(symbols: Vec<Self>, range: Range<usize>) -> Content {
        Content::Marked(symbols, range)
    }

    fn shelf(buffers: &Buffers) -> &Shelf<Self> {
        &buffers.marked
    }

    fn widen(self) -> u16 {
        self
    }
}

/// The window at some place.
pub(super) enum Window {
    /// The last 32 KiB, of which so many bytes belong to the present member.
    Plain(Vec<u8>, usize),
    /// The same in symbols; `None` if no member began since the start of the chunk, so that all
    /// the window belongs to the present member as far as it did at the start.
    Marked(Vec<u16>, Option<usize>),
}

/// Where [`decode`] stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// Between two blocks at or behind the wanted place.
    Boundary,
    /// Wherever it was when it had decoded enough for now.
    Midway,
    /// All of the window is known now. Only in symbols of 16 bits.
    Clean,
    /// Behind the last block of a member, whose trailer and what follows are still to be read.
    LastBlock,
}

/// A part of the file, decoded.
pub(super) struct Chunk {
    /// Bit of the file at which it begins.
    pub(super) start: u64,
    /// Bit of the file at which it ends.
    pub(super) end: u64,
    pub(super) ended: Ended,
    /// To go on with.
    pub(super) inflater: Inflater,
    pub(super) pieces: Vec<Piece>,
    pub(super) window: Window,
}

/// Collects what is decoded.
pub(super) struct Collector<'c, T> {
    pub(super) out: Out<T>,
    ends: Vec<(usize, Trailer)>,
    buffers: &'c Buffers,
    emit: &'c mut dyn FnMut(Piece) -> Result<()>,
    /// Symbols that may still be emitted before decoding pauses.
    pub(super) budget: usize,
    /// Whether a member has begun since the start.
    began: bool,
}

impl<'c, T: Stored> Collector<'c, T> {
    /// Hands each piece to `emit`. See [`Out::new`] for `window` and `history`.
    pub(super) fn new(
        buffers: &'c Buffers,
        window: &[T],
        history: usize,
        emit: &'c mut dyn FnMut(Piece) -> Result<()>,
        budget: usize,
    ) -> Self {
        Self {
            out: Out::new(T::shelf(buffers).take(), window, history),
            ends: Vec::new(),
            buffers,
            emit,
            budget,
            began: false,
        }
    }

    /// Emits what has gathered and makes room.
    fn flush(&mut self) -> Result<()> {
        if self.out.len() == 0 && self.ends.is_empty() {
            return Ok(());
        }
        let buffer = T::shelf(self.buffers).take();
        let next = Out::new(buffer, self.out.window(), self.out.history());
        self.replace(next)
    }

    /// Emits what has gathered and goes on with `next`.
    fn replace(&mut self, next: Out<T>) -> Result<()> {
        let out = std::mem::replace(&mut self.out, next);
        let ends = std::mem::take(&mut self.ends);
        let (symbols, range) = out.into_parts();
        if range.is_empty() && ends.is_empty() {
            T::shelf(self.buffers).put(symbols);
            return Ok(());
        }
        let (symbols, range) = if range.len() < SMALL {
            let copy = symbols[range].to_vec();
            T::shelf(self.buffers).put(symbols);
            let all = 0..copy.len();
            (copy, all)
        } else {
            (symbols, range)
        };
        self.budget = self.budget.saturating_sub(range.len().max(SMALLEST));
        (self.emit)(Piece {
            content: T::content(symbols, range),
            ends,
        })
    }

    fn run(&mut self, symbol: T, len: u64) -> Result<()> {
        // A run is longer than the window, so the window is full of it.
        let buffer = T::shelf(self.buffers).take();
        let next = Out::new(buffer, &[symbol; WINDOW], WINDOW);
        self.replace(next)?;
        (self.emit)(Piece {
            content: Content::Run(symbol.widen(), len),
            ends: Vec::new(),
        })
    }

    /// Gives the buffer back; the window and its history.
    pub(super) fn into_window(self) -> (Vec<T>, usize) {
        let window = self.out.window().to_vec();
        let history = self.out.history();
        T::shelf(self.buffers).put(self.out.into_parts().0);
        (window, history)
    }

    fn end_member(&mut self, trailer: Trailer) {
        self.ends.push((self.out.len(), trailer));
        self.out.forget();
        self.began = true;
    }
}

/// Whether every symbol that a match could reach is a byte.
fn is_clean(out: &Out<u16>) -> bool {
    let window = out.window();
    window[WINDOW - out.history()..]
        .iter()
        .fold(0, |all, &symbol| all | symbol)
        < FIRST_MARKER
}

/// Decodes from where `reader` stands until a block ends at bit `stop_at` or behind it.
///
/// `pause` is asked at the end of each block and whenever a piece is full.
pub(super) fn decode<T: Stored, S: Source + ?Sized>(
    inflater: &mut Inflater,
    reader: &mut BitReader<'_, S>,
    collector: &mut Collector<'_, T>,
    stop_at: u64,
    pause: &mut dyn FnMut(&Out<T>) -> Option<Ended>,
) -> std::result::Result<Ended, Stop> {
    loop {
        match inflater.step(reader, &mut collector.out)? {
            event @ (Event::Full | Event::Run(..)) => {
                match event {
                    Event::Run(symbol, len) => collector.run(symbol, len)?,
                    _ => collector.flush()?,
                }
                if collector.budget == 0 || reader.position() > stop_at.saturating_add(OVERRUN) {
                    return Ok(Ended::Midway);
                }
            }
            Event::Block => {
                if reader.position() >= stop_at {
                    collector.flush()?;
                    return Ok(Ended::Boundary);
                }
                if let Some(ended) = pause(&collector.out) {
                    collector.flush()?;
                    return Ok(ended);
                }
            }
            Event::End => {
                let end = reader.position();
                if !next_member(reader, collector)? {
                    collector.flush()?;
                    reader.seek(end)?;
                    return Ok(Ended::LastBlock);
                }
                *inflater = Inflater::new();
                if reader.position() >= stop_at {
                    collector.flush()?;
                    return Ok(Ended::Boundary);
                }
            }
        }
    }
}

/// Goes on into another member if one follows without any doubt.
fn next_member<T: Stored, S: Source + ?Sized>(
    reader: &mut BitReader<'_, S>,
    collector: &mut Collector<'_, T>,
) -> Result<bool> {
    let next = read_trailer(reader).and_then(|trailer| Ok((trailer, read_next(reader)?)));
    match next {
        Ok((trailer, Next::Member)) => {
            collector.end_member(trailer);
            Ok(true)
        }
        Err(Stop::Io(error)) => Err(error),
        Ok(_) | Err(_) => Ok(false),
    }
}

/// Finds a block between the bits `from` and `to`, and decodes from there to the first block
/// boundary at `to` or behind. `None` if there is nothing that looks right.
pub(super) fn speculate<S: Source + ?Sized>(
    source: &S,
    buffers: &Buffers,
    from: u64,
    to: u64,
) -> Result<Option<Chunk>> {
    let mut from = from;
    let search_end = to.min(from.saturating_add(SEARCH));
    for _ in 0..MAX_TRIES {
        let Some(start) = find_block(source, from, search_end)? else {
            return Ok(None);
        };
        match decode_from(source, buffers, start, to) {
            Ok(chunk) => return Ok(Some(chunk)),
            Err(Stop::Io(error)) => return Err(error),
            // No block began there, or the file is damaged: whoever comes from before will see.
            Err(_) => from = start + 1,
        }
    }
    Ok(None)
}

fn decode_from<S: Source + ?Sized>(
    source: &S,
    buffers: &Buffers,
    start: u64,
    to: u64,
) -> std::result::Result<Chunk, Stop> {
    let mut pieces = Vec::new();
    let mut reader = BitReader::new(source, start, buffers.input.take())?;
    let mut inflater = Inflater::new();
    let markers: Vec<u16> = (FIRST_MARKER..).take(WINDOW).collect();

    let mut emit = |piece| {
        pieces.push(piece);
        Ok(())
    };
    let mut marked = Collector::new(buffers, &markers, WINDOW, &mut emit, BUDGET / 2);
    let ended = decode(&mut inflater, &mut reader, &mut marked, to, &mut |out| {
        is_clean(out).then_some(Ended::Clean)
    })?;
    let (began, budget) = (marked.began, marked.budget * 2);
    let (window, history) = marked.into_window();
    let (window, ended) = if ended == Ended::Clean {
        let window: Vec<u8> = window.iter().map(|&symbol| symbol as u8).collect();
        let mut plain = Collector::new(buffers, &window, history, &mut emit, budget);
        let ended = decode(&mut inflater, &mut reader, &mut plain, to, &mut |_| None)?;
        let (window, history) = plain.into_window();
        (Window::Plain(window, history), ended)
    } else {
        (Window::Marked(window, began.then_some(history)), ended)
    };
    let end = reader.position();
    buffers.input.put(reader.into_buffer());
    Ok(Chunk {
        start,
        end,
        ended,
        inflater,
        pieces,
        window,
    })
}
