//! bzip2, decoded on all cores.
//!
//! Blocks of up to 900 000 bytes are independent of each other and begin with a magic number, at any
//! bit. The calling thread finds those ([`scan`]) and has the blocks decoded by workers, a few
//! at a time ([`block`]); then it follows the file from block to block, which proves that every block
//! begins where the one before ends, and has each written where it belongs ([`runs`]). What looked
//! like a magic number by chance is never arrived at.

mod bits;
mod block;
mod huffman;
mod runs;
mod scan;

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::thread;

use abbild_disk::Source;
use crc::{CRC_32_BZIP2, Crc, Table};

use crate::shelf::Spare;
use crate::staging::Output;
use crate::workers::{self, Queue, Results};
use crate::{Compression, Control, Error, Result, stream};
use block::{TOGETHER, Transformed};
use scan::{BLOCK, MAGIC_BITS, Scanner};

/// More threads would take more memory than a decoder may have.
const MAX_THREADS: usize = 8;
/// How the end of a stream is marked: the digits of the square root of pi.
const END: u64 = 0x1772_4538_5090;
/// Bytes that a compressed block has at most: 900 000 symbols of 20 bits, and its codes; rounded.
const MAX_PACKED: u64 = 2_500_000;
/// Bytes of a stream header: `BZh` and the size of its blocks.
const HEADER: u64 = 4;

static CRC: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_BZIP2);

/// Work for another thread.
enum Job {
    /// Decode the blocks that seem to begin at these bits; the last bits are where they seem to end.
    Decode { starts: Vec<u64>, end: u64 },
    /// Write a block at this place of the decoded data.
    Write { bytes: Vec<u8>, offset: u64 },
}

/// What came of a [`Job`].
enum Done {
    Decoded(Vec<(u64, Outcome<Block>)>),
    Written(Result<()>),
}

/// Why a block could not be decoded.
enum Failure {
    Fault(&'static str),
    Truncated,
    Io(Error),
}

type Outcome<T> = std::result::Result<T, Failure>;

/// A block before its runs are expanded.
struct Block {
    bytes: Vec<u8>,
    /// CRC that the block says it has, which is also the one that it has.
    crc: u32,
    /// Bytes after expansion.
    len: u64,
    /// Bit of the file behind the block.
    end: u64,
}

/// Memory that is used again: tables of blocks, and bytes of blocks.
#[derive(Default)]
struct Memory {
    tables: Spare<Vec<u32>>,
    bytes: Spare<Vec<u8>>,
}

/// Decodes all streams of `input` into `out` and returns the length of the decoded data. Progress
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
    let memory = Memory::default();
    workers::with_workers(
        threads,
        |job| work(input, out, &memory, job),
        |queue, results| {
            let mut chain = Chain {
                input,
                control,
                threads,
                queue,
                results,
                scanner: Scanner::new(input),
                upcoming: None,
                ready: BTreeMap::new(),
                pending: BTreeSet::new(),
                writing: 0,
                offset: 0,
            };
            chain.run()?;
            chain.wait_for_writes(0)?;
            Ok(chain.offset)
        },
    )
}

/// Up to `limit` bytes of what the first block of the file that begins with `head` decodes to;
/// nothing if the block is cut off or damaged.
pub(crate) fn first_block(head: &[u8], limit: usize) -> Vec<u8> {
    let end = head.len().min((HEADER + MAX_PACKED) as usize);
    let mut output = Vec::new();
    let data = head.get(HEADER as usize..end).unwrap_or_default();
    let is_block = data.starts_with(&BLOCK.to_be_bytes()[2..]);
    let Some(block) = is_block
        .then(|| block::decode(data, 0, Vec::new()).ok())
        .flatten()
    else {
        return output;
    };
    let mut bytes = vec![Vec::new()];
    block::invert(&[block], &mut bytes);
    // Stops, as if by an error, where there is enough.
    let _ = runs::expand(&bytes[0], &mut Vec::new(), |piece| {
        let wanted = limit - output.len();
        output.extend_from_slice(&piece[..piece.len().min(wanted)]);
        if output.len() < limit {
            Ok(())
        } else {
            Err(())
        }
    });
    output
}

/// A worker's part.
fn work<S: Source + ?Sized>(input: &S, out: &Output<'_>, memory: &Memory, job: Job) -> Done {
    match job {
        Job::Decode { starts, end } => Done::Decoded(decode_blocks(input, memory, &starts, end)),
        Job::Write { bytes, offset } => {
            let mut place = offset;
            let mut buffer = memory.bytes.take();
            let result = runs::expand(&bytes, &mut buffer, |piece| {
                out.write_at(place, piece)?;
                place += piece.len() as u64;
                Ok(())
            });
            memory.bytes.put(bytes);
            memory.bytes.put(buffer);
            Done::Written(result)
        }
    }
}

/// Decodes blocks, and inverts their transforms at the same time.
fn decode_blocks<S: Source + ?Sized>(
    input: &S,
    memory: &Memory,
    starts: &[u64],
    end: u64,
) -> Vec<(u64, Outcome<Block>)> {
    let (mut results, mut blocks, mut good) = (Vec::new(), Vec::new(), Vec::new());
    let ends = starts.iter().skip(1).copied().chain([end]);
    for (&start, end) in starts.iter().zip(ends) {
        match transformed(input, memory, start, end) {
            Ok(block) => {
                good.push(start);
                blocks.push(block);
            }
            Err(failure) => results.push((start, Err(failure))),
        }
    }
    let mut outs: Vec<_> = blocks.iter().map(|_| memory.bytes.take()).collect();
    block::invert(&blocks, &mut outs);
    for ((start, block), bytes) in good.into_iter().zip(blocks).zip(outs) {
        results.push((start, finished(start, block, bytes, memory)));
    }
    results
}

/// Reads and decodes the block that begins at bit `start` of the file and may end at bit `end`.
fn transformed<S: Source + ?Sized>(
    input: &S,
    memory: &Memory,
    start: u64,
    end: u64,
) -> Outcome<Transformed> {
    let first = start / 8;
    let most = first.saturating_add(MAX_PACKED).min(input.len());
    // What looks like the next block may be a part of this one.
    for last in [end.div_ceil(8).min(most), most] {
        let mut data = memory.bytes.take();
        data.clear();
        data.resize((last - first) as usize, 0);
        input
            .read_at(first, &mut data)
            .map_err(|e| Failure::Io(e.into()))?;
        let table = memory.tables.take();
        let result = block::decode(&data, (start % 8) as usize, table);
        memory.bytes.put(data);
        match result {
            Ok(block) => return Ok(block),
            Err(fault) if last == most => {
                return Err(match fault {
                    block::CUT_OFF if most == input.len() => Failure::Truncated,
                    fault => Failure::Fault(fault.0),
                });
            }
            Err(_) => {}
        }
    }
    unreachable!("the second round returns")
}

/// Checks the CRC of a block whose `bytes` are decoded but for their runs.
fn finished(start: u64, block: Transformed, bytes: Vec<u8>, memory: &Memory) -> Outcome<Block> {
    let mut digest = CRC.digest();
    let mut len = 0;
    let mut buffer = memory.bytes.take();
    let Ok(()) = runs::expand::<Infallible>(&bytes, &mut buffer, |piece| {
        digest.update(piece);
        len += piece.len() as u64;
        Ok(())
    });
    memory.bytes.put(buffer);
    let (crc, end) = (block.crc, start / 8 * 8 + block.end as u64);
    memory.tables.put(block.into_table());
    if digest.finalize() != crc {
        return Err(Failure::Fault("the CRC of a block does not match"));
    }
    Ok(Block {
        bytes,
        crc,
        len,
        end,
    })
}

/// The state of the decoding from the start of the file up to some place.
struct Chain<'c, S: ?Sized> {
    input: &'c S,
    control: &'c Control<'c>,
    threads: usize,
    queue: &'c Queue<Job>,
    results: &'c Results<Done>,
    scanner: Scanner<'c, S>,
    /// The first block that is found but not yet being decoded.
    upcoming: Option<u64>,
    /// Blocks that are decoded, by their first bit.
    ready: BTreeMap<u64, Outcome<Block>>,
    /// Blocks that are being decoded.
    pending: BTreeSet<u64>,
    /// Blocks that are being written.
    writing: usize,
    /// Bytes decoded so far.
    offset: u64,
}

impl<S: Source + Sync + ?Sized> Chain<'_, S> {
    /// One stream after another.
    fn run(&mut self) -> Result<()> {
        let len = self.input.len();
        self.upcoming = self.scanner.next()?;
        let mut position = 0;
        while position < len {
            let mut header = [0; HEADER as usize];
            let present = (len - position).min(HEADER);
            self.input
                .read_at(position, &mut header[..present as usize])?;
            if !b"BZh".starts_with(&header[..present.min(3) as usize]) {
                return Err(stream::trailing_garbage(Compression::Bzip2, position));
            }
            if present < HEADER {
                return Err(self.truncated());
            }
            if !(b'1'..=b'9').contains(&header[3]) {
                return Err(corrupt(
                    "the size of its blocks is not 1 to 9",
                    position + 3,
                ));
            }
            let block_len = usize::from(header[3] - b'0') * 100_000;
            position = self.stream((position + HEADER) * 8, block_len)?;
        }
        self.control.step(len, Some(len))
    }

    /// The blocks of a stream, from bit `position` on; the byte of the file behind the stream.
    fn stream(&mut self, mut position: u64, block_len: usize) -> Result<u64> {
        let mut combined: u32 = 0;
        loop {
            self.control.step(position / 8, Some(self.input.len()))?;
            self.look_ahead(position)?;
            match self.bits(position, MAGIC_BITS as u32)? {
                BLOCK => {
                    let block = self.block(position)?;
                    if block.bytes.len() > block_len {
                        let why = "a block is larger than the stream says";
                        return Err(corrupt(why, position / 8));
                    }
                    combined = combined.rotate_left(1) ^ block.crc;
                    position = block.end;
                    self.write(block)?;
                }
                END => break,
                _ => return Err(corrupt("no block begins where one should", position / 8)),
            }
        }
        let at = position + MAGIC_BITS;
        if self.bits(at, 32)? != u64::from(combined) {
            return Err(corrupt("the CRC of the stream does not match", at / 8));
        }
        Ok((at + 32).div_ceil(8))
    }

    /// The `count` bits of the file at bit `position`.
    fn bits(&self, position: u64, count: u32) -> Result<u64> {
        let first = position / 8;
        let mut word = [0; 8];
        let present = self.input.len().saturating_sub(first).min(8);
        self.input.read_at(first, &mut word[..present as usize])?;
        if position + u64::from(count) > self.input.len() * 8 {
            return Err(self.truncated());
        }
        Ok(u64::from_be_bytes(word) << (position % 8) >> (64 - count))
    }

    /// Has blocks decoded ahead of bit `position`, for each thread as many as it does together, and
    /// as many again.
    fn look_ahead(&mut self, position: u64) -> Result<()> {
        self.ready = self.ready.split_off(&position);
        while self.pending.len() + self.ready.len() <= TOGETHER * self.threads {
            let mut starts = Vec::new();
            while let Some(start) = self.upcoming
                && starts.len() < TOGETHER
            {
                self.upcoming = self.scanner.next()?;
                if start >= position {
                    starts.push(start);
                }
            }
            if starts.is_empty() {
                break;
            }
            self.pending.extend(&starts);
            let end = self.upcoming.unwrap_or(self.input.len() * 8);
            self.queue.push(Job::Decode { starts, end });
        }
        Ok(())
    }

    /// The block at bit `position`, which begins with the magic number and so was found.
    fn block(&mut self, position: u64) -> Result<Block> {
        while self.pending.contains(&position) {
            self.receive()?;
        }
        match self.ready.remove(&position) {
            Some(Ok(block)) => Ok(block),
            Some(Err(Failure::Io(error))) => Err(error),
            Some(Err(Failure::Truncated)) | None => Err(self.truncated()),
            Some(Err(Failure::Fault(why))) => Err(corrupt(why, position / 8)),
        }
    }

    /// Has a block written, once few enough are being written.
    fn write(&mut self, block: Block) -> Result<()> {
        self.wait_for_writes(2 * self.threads)?;
        let (bytes, offset) = (block.bytes, self.offset);
        self.queue.push_first(Job::Write { bytes, offset });
        self.writing += 1;
        self.offset += block.len;
        Ok(())
    }

    fn wait_for_writes(&mut self, most: usize) -> Result<()> {
        while self.writing > most {
            self.receive()?;
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<()> {
        match self.results.wait() {
            Done::Decoded(blocks) => {
                for (start, block) in blocks {
                    self.pending.remove(&start);
                    self.ready.insert(start, block);
                }
            }
            Done::Written(result) => {
                self.writing -= 1;
                result?;
            }
        }
        Ok(())
    }

    fn truncated(&self) -> Error {
        stream::truncated(Compression::Bzip2, self.input.len())
    }
}

fn corrupt(why: &str, offset: u64) -> Error {
    stream::corrupt(Compression::Bzip2, why, offset)
}
