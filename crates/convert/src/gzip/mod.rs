//! gzip (RFC 1952), decoded on all cores whatever program wrote it.
//!
//! A gzip file is one long chain: to decode a place one has to know where a block begins, and the
//! 32 KiB that were decoded before. The calling thread follows that chain. Ahead of it, worker
//! threads look into the middle of the file, guess where a block begins and decode from there, with
//! references to the unknown 32 KiB left open ([`chunk::speculate`]). When the chain arrives
//! exactly at such a beginning the guess was right and the whole chunk is taken over; its open
//! references are then resolved, its checksum is taken and it is written, on a worker thread again
//! ([`finish`]). A wrong guess is dropped, so it costs time and nothing else, and every
//! error is found by the chain itself.
//!
//! ```text
//! file      |  chunk 0  |  chunk 1  |  chunk 2  |  chunk 3  |
//! chain     ============>           ·
//! workers               ·~~=========|~=========>|~~~==...        ~ looking for a block
//! finished  ------------|-----------|                            - written
//! ```
//!
//! The idea is that of Kerbiriou and Chikhi ("Parallel decompression of gzip-compressed files and
//! random access to DNA sequences", 2019) and of Knespel and Brunst ("Rapidgzip", 2023).

mod bits;
mod chunk;
mod find;
mod finish;
mod header;
mod huffman;
mod inflate;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::thread;

use abbild_disk::Source;
use crc32fast::Hasher;

use crate::staging::Output;
use crate::workers::{self, Queue, Results};
use crate::{Compression, Control, Error, Result};
use bits::BitReader;
use chunk::{Buffers, Chunk, Collector, Content, Ended, Piece, Window};
use finish::{Known, Sum, TooFarBack};
use header::{Next, Trailer};
use inflate::{Inflater, Stop, WINDOW};

/// Bytes of the file per chunk.
const CHUNK: u64 = 1 << 20;
/// More threads would take more memory than a decoder may have.
const MAX_THREADS: usize = 8;

/// Work for another thread.
enum Job {
    /// Decode the chunk of this number, between these bits of the file.
    Speculate { number: u64, from: u64, to: u64 },
    /// Write pieces, whose number this is.
    Finish {
        number: u64,
        pieces: Vec<Piece>,
        window: Known,
        /// Where the pieces begin in the decoded data.
        offset: u64,
        /// Where they begin in the file, for errors.
        origin: u64,
    },
}

/// What came of a [`Job`].
enum Done {
    Speculated(u64, Result<Option<Chunk>>),
    Finished(u64, Result<Vec<Sum>>),
}

/// Decodes all members of `input` into `out` and returns the length of the decoded data. Progress
/// counts bytes of the input.
///
/// # Errors
/// See [`crate::decode_to_staging`].
pub(crate) fn decode<S: Source + Sync + ?Sized>(
    input: &S,
    out: &Output<'_>,
    control: &Control<'_>,
) -> Result<u64> {
    let threads = thread::available_parallelism()
        .map_or(1, usize::from)
        .min(MAX_THREADS);
    decode_in_chunks(input, out, control, threads, CHUNK)
}

/// [`decode`] with `threads` workers, who look ahead by chunks of `chunk` bytes.
fn decode_in_chunks<S: Source + Sync + ?Sized>(
    input: &S,
    out: &Output<'_>,
    control: &Control<'_>,
    threads: usize,
    chunk: u64,
) -> Result<u64> {
    let buffers = Buffers::new(inflate::BUFFER, bits::BUFFER + bits::PAD);
    workers::with_workers(
        threads,
        |job| work(input, out, &buffers, job),
        |queue, results| {
            let mut chain = Chain {
                input,
                control,
                threads,
                chunk_bits: chunk * 8,
                buffers: &buffers,
                queue,
                results,
                position: 0,
                inflater: Inflater::new(),
                window: Known {
                    bytes: vec![0; WINDOW],
                    history: 0,
                },
                offset: 0,
                guesses: Guesses::default(),
                writes: Writes::default(),
            };
            chain.run()?;
            chain.wait_for_writes(0)?;
            Ok(chain.offset)
        },
    )
}

/// A worker's part.
fn work<S: Source + ?Sized>(input: &S, out: &Output<'_>, buffers: &Buffers, job: Job) -> Done {
    match job {
        Job::Speculate { number, from, to } => {
            Done::Speculated(number, chunk::speculate(input, buffers, from, to))
        }
        Job::Finish {
            number,
            pieces,
            window,
            offset,
            origin,
        } => {
            let sums = match finish::finish(pieces, &window, offset, out, buffers) {
                Ok(Ok(sums)) => Ok(sums),
                Ok(Err(TooFarBack)) => {
                    Err(corrupt("a distance reaches back before the start", origin))
                }
                Err(error) => Err(error),
            };
            Done::Finished(number, sums)
        }
    }
}

/// Chunks that are or were decoded ahead.
#[derive(Default)]
struct Guesses {
    /// The number of the next one to begin.
    next: u64,
    /// Those that are decoded, by number.
    ready: BTreeMap<u64, Option<Chunk>>,
    /// Those that are under way.
    pending: BTreeSet<u64>,
}

/// Pieces that are being written, in order.
#[derive(Default)]
struct Writes {
    /// The number of the next one to begin.
    next: u64,
    /// The sums of those that are not accounted for yet; the front is number
    /// `next - waiting.len()`.
    waiting: VecDeque<Option<Vec<Sum>>>,
    /// Of the present member.
    hasher: Hasher,
    len: u64,
}

/// The state of the decoding from the start of the file up to some place.
struct Chain<'c, S: ?Sized> {
    input: &'c S,
    control: &'c Control<'c>,
    threads: usize,
    /// Length of a chunk in bits.
    chunk_bits: u64,
    buffers: &'c Buffers,
    queue: &'c Queue<Job>,
    results: &'c Results<Done>,
    /// Bit of the file up to which everything is decoded.
    position: u64,
    /// The state at `position`.
    inflater: Inflater,
    window: Known,
    /// Bytes decoded so far.
    offset: u64,
    guesses: Guesses,
    writes: Writes,
}

impl<'c, S: Source + Sync + ?Sized> Chain<'c, S> {
    fn run(&mut self) -> Result<()> {
        let mut reader = self.reader(0)?;
        match header::read_next(&mut reader) {
            Ok(Next::Member) => {}
            Ok(_) => return Err(corrupt("there is no gzip header", 0)),
            Err(stop) => return Err(self.stopped(stop, &reader)),
        }
        self.position = reader.position();
        loop {
            self.control
                .step(self.position / 8, Some(self.input.len()))?;
            self.look_ahead();
            let ended = match self.take_guess()? {
                Some(chunk) => self.attach(chunk)?,
                None => self.advance()?,
            };
            if ended == Ended::LastBlock && !self.next_member()? {
                return self.control.step(self.input.len(), Some(self.input.len()));
            }
        }
    }

    /// A reader at bit `position` of the file.
    fn reader(&self, position: u64) -> Result<BitReader<'c, S>> {
        BitReader::new(self.input, position, self.buffers.input.take())
    }

    /// The number of the chunk in which the chain stands.
    fn present(&self) -> u64 {
        self.position / self.chunk_bits
    }

    /// Has the next chunks decoded, as many as there are threads and one more.
    fn look_ahead(&mut self) {
        let present = self.present();
        self.guesses.ready.retain(|&number, _| number >= present);
        self.guesses.next = self.guesses.next.max(present + 1);
        while self.guesses.pending.len() + self.guesses.ready.len() <= self.threads
            && self.guesses.next * self.chunk_bits / 8 < self.input.len()
        {
            let number = self.guesses.next;
            let from = number * self.chunk_bits;
            let to = from + self.chunk_bits;
            self.queue.push(Job::Speculate { number, from, to });
            self.guesses.next += 1;
            self.guesses.pending.insert(number);
        }
    }

    /// The chunk that begins exactly where the chain stands, if that was guessed.
    fn take_guess(&mut self) -> Result<Option<Chunk>> {
        if !self.inflater.is_between_blocks() {
            return Ok(None);
        }
        let (position, present) = (self.position, self.present());
        Ok(match self.guess()? {
            Some(chunk) if chunk.start == position => {
                self.guesses.ready.insert(present, None).flatten()
            }
            _ => None,
        })
    }

    /// The chunk in which the chain stands, once it is decoded.
    fn guess(&mut self) -> Result<Option<&Chunk>> {
        let present = self.present();
        while self.guesses.pending.contains(&present) {
            self.receive()?;
        }
        Ok(self.guesses.ready.get(&present).and_then(Option::as_ref))
    }

    /// Takes over a chunk.
    fn attach(&mut self, chunk: Chunk) -> Result<Ended> {
        let len: u64 = chunk.pieces.iter().map(Piece::len).sum();
        let origin = self.position / 8;
        let window = match chunk.window {
            Window::Plain(bytes, history) => Known { bytes, history },
            Window::Marked(symbols, history) => {
                let whole = usize::try_from(len).unwrap_or(WINDOW);
                Known {
                    // A reference that is not valid is reported where it is finished.
                    bytes: symbols
                        .iter()
                        .map(|&symbol| self.window.resolve(symbol).unwrap_or(0))
                        .collect(),
                    history: history
                        .unwrap_or(self.window.history.saturating_add(whole).min(WINDOW)),
                }
            }
        };
        let before = std::mem::replace(&mut self.window, window);
        self.write(chunk.pieces, before, origin)?;
        self.position = chunk.end;
        self.inflater = chunk.inflater;
        Ok(chunk.ended)
    }

    /// Decodes up to the next place at which a chunk may be taken over.
    fn advance(&mut self) -> Result<Ended> {
        let position = self.position;
        let stop_at = match self.guess()? {
            Some(chunk) if chunk.start > position => chunk.start,
            _ => (self.present() + 1) * self.chunk_bits,
        };
        let mut reader = self.reader(position)?;
        let mut inflater = std::mem::replace(&mut self.inflater, Inflater::new());
        let buffers = self.buffers;
        let window = self.window.clone();
        let mut before = window.clone();
        let mut emit = |piece: Piece| {
            let after = after(&before, &piece);
            let before = std::mem::replace(&mut before, after);
            self.write(vec![piece], before, position / 8)
        };
        let mut collector =
            Collector::new(buffers, &window.bytes, window.history, &mut emit, BUDGET);
        let result = chunk::decode(
            &mut inflater,
            &mut reader,
            &mut collector,
            stop_at,
            &mut |_| None,
        );
        let (bytes, history) = collector.into_window();
        match result {
            Ok(ended) => {
                self.window = Known { bytes, history };
                self.inflater = inflater;
                self.position = reader.position();
                self.buffers.input.put(reader.into_buffer());
                Ok(ended)
            }
            Err(stop) => Err(self.stopped(stop, &reader)),
        }
    }

    /// Reads what follows the last block of a member; whether that is another member.
    fn next_member(&mut self) -> Result<bool> {
        let mut reader = self.reader(self.position)?;
        let next = header::read_trailer(&mut reader)
            .and_then(|trailer| Ok((trailer, header::read_next(&mut reader)?)));
        let (trailer, next) = match next {
            Ok(found) => found,
            Err(stop) => return Err(self.stopped(stop, &reader)),
        };
        self.writes.begin(Some(vec![Sum::End(trailer)]));
        self.position = reader.position();
        self.inflater = Inflater::new();
        self.window.history = 0;
        match next {
            Next::Member => Ok(true),
            Next::End => Ok(false),
            Next::Garbage(offset) => {
                // A wrong checksum before it is the more useful thing to know.
                self.wait_for_writes(0)?;
                Err(crate::stream::trailing_garbage(Compression::Gzip, offset))
            }
        }
    }

    /// Has `pieces` written, once few enough are under way.
    fn write(&mut self, pieces: Vec<Piece>, window: Known, origin: u64) -> Result<()> {
        self.wait_for_writes(2 * self.threads)?;
        let len: u64 = pieces.iter().map(Piece::len).sum();
        let number = self.writes.begin(None);
        self.queue.push_first(Job::Finish {
            number,
            pieces,
            window,
            offset: self.offset,
            origin,
        });
        self.offset += len;
        Ok(())
    }

    /// Waits until at most `most` pieces are still to be written.
    fn wait_for_writes(&mut self, most: usize) -> Result<()> {
        self.writes.account()?;
        while self.writes.waiting.len() > most {
            self.receive()?;
            self.writes.account()?;
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<()> {
        match self.results.wait() {
            Done::Speculated(number, chunk) => {
                self.guesses.pending.remove(&number);
                self.guesses.ready.insert(number, chunk?);
            }
            Done::Finished(number, sums) => self.writes.end(number, sums?),
        }
        Ok(())
    }

    /// The error for decoding that stopped where `reader` stands.
    fn stopped(&mut self, stop: Stop, reader: &BitReader<'_, S>) -> Error {
        let offset = (reader.position() / 8).min(self.input.len());
        match stop {
            Stop::Io(error) => error,
            Stop::Truncated => crate::stream::truncated(Compression::Gzip, self.input.len()),
            Stop::Fault(fault) => corrupt(fault.0, offset),
        }
    }
}

/// The window after `piece`, given that before.
fn after(before: &Known, piece: &Piece) -> Known {
    let history = match piece.ends.last() {
        Some(&(place, _)) => piece.len() as usize - place,
        None => usize::try_from(piece.len())
            .unwrap_or(WINDOW)
            .saturating_add(before.history),
    };
    let tail = |len: usize| len.saturating_sub(WINDOW)..len;
    let new: Vec<u8> = match &piece.content {
        Content::Plain(bytes, range) => bytes[range.clone()][tail(range.len())].to_vec(),
        Content::Marked(symbols, range) => symbols[range.clone()][tail(range.len())]
            .iter()
            .map(|&symbol| before.resolve(symbol).unwrap_or(0))
            .collect(),
        Content::Run(symbol, _) => vec![before.resolve(*symbol).unwrap_or(0); WINDOW],
    };
    let mut bytes = before.bytes[new.len()..].to_vec();
    bytes.extend(new);
    Known {
        bytes,
        history: history.min(WINDOW),
    }
}

impl Writes {
    /// Makes room for the sums of the next pieces, which may be known already; their number.
    fn begin(&mut self, sums: Option<Vec<Sum>>) -> u64 {
        self.waiting.push_back(sums);
        self.next += 1;
        self.next - 1
    }

    fn end(&mut self, number: u64, sums: Vec<Sum>) {
        let front = self.next - self.waiting.len() as u64;
        if let Some(slot) = self.waiting.get_mut((number - front) as usize) {
            *slot = Some(sums);
        }
    }

    /// Adds up the sums that are there, in order, and compares them with the trailers.
    fn account(&mut self) -> Result<()> {
        while let Some(Some(_)) = self.waiting.front() {
            for sum in self.waiting.pop_front().flatten().unwrap_or_default() {
                match sum {
                    Sum::Data(hasher, len) => {
                        self.hasher.combine(&hasher);
                        self.len += len;
                    }
                    Sum::End(trailer) => self.check(trailer)?,
                }
            }
        }
        Ok(())
    }

    /// Compares what was decoded of a member with its trailer, and begins the next.
    fn check(&mut self, trailer: Trailer) -> Result<()> {
        let crc = std::mem::take(&mut self.hasher).finalize();
        let len = std::mem::take(&mut self.len);
        if crc != trailer.crc {
            return Err(corrupt("the CRC-32 does not match", trailer.offset));
        }
        // RFC 1952: the length modulo 2^32.
        if len as u32 != trailer.len {
            return Err(corrupt("the length does not match", trailer.offset + 4));
        }
        Ok(())
    }
}

/// Decoded bytes after which the chain looks whether a chunk can be taken over.
const BUDGET: usize = 64 << 20;

fn corrupt(why: &str, offset: u64) -> Error {
    crate::stream::corrupt(Compression::Gzip, why, offset)
}

#[cfg(test)]
mod tests;
