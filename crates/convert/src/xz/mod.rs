//! One xz stream ("The .xz File Format" 1.2.1, <https://tukaani.org/xz/xz-file-format.txt>).
//!
//! A stream is a header, any number of blocks that can be decoded without each other, an index that
//! repeats their sizes, and a footer. lzma-rust2 decodes what is in a block. What is around it is
//! read here, for one reason: a block may have as few as 16 bytes, and a decoder that remembers
//! each of them until the index comes takes as much memory as a hostile file is long.
//!
//! | Part | Length | Content |
//! |---|---:|---|
//! | header (2.1.1) | 12 | magic number, kind of check, CRC32 |
//! | block header (3.1) | 8 to 1024 | its length, sizes, filters, CRC32 |
//! | block | | LZMA2 data, zeros up to a multiple of 4, check |
//! | index (4) | | zero, number of blocks, two sizes for each, zeros, CRC32 |
//! | footer (2.1.2) | 12 | CRC32, length of the index, kind of check, magic number |
//!
//! All checks are verified. Dictionaries of more than 64 MiB, which is that of `xz -9`, chains of
//! more filters than LZMA2 and one before it, and kinds of checks that nobody writes are refused.

mod block;
mod check;
mod index;

use std::io;

use lzma_rust2::{Action, Lzma2Stream, Status};

use self::block::Header;
use self::check::{Check, Kind};
use self::index::{Index, Records};
use crate::stream::{Codec, Fault, Step};
use crate::{Compression, DETECT_LEN};

const MAGIC: &[u8] = b"\xfd7zXZ\0";
const FOOTER_MAGIC: &[u8] = b"YZ";
/// Length of a stream's header, and of its footer.
const FRAME: usize = 12;

const _: () = assert!(MAGIC.len() <= DETECT_LEN);

/// What is decoded next. All but `Data` and `Index` is first collected.
enum Part {
    StreamHeader,
    /// The first byte of a block's header, or of the index.
    Begin,
    BlockHeader,
    Data(Box<Block>),
    /// Zeros and the check.
    BlockEnd(Box<Block>),
    Index(Index),
    Footer {
        /// Length of the index in bytes.
        index: u64,
    },
}

/// The block being decoded.
struct Block {
    header: Header,
    data: Lzma2Stream,
    check: Check,
    compressed: u64,
    uncompressed: u64,
}

pub(crate) struct Stream {
    part: Part,
    /// As much as is there of the `wanted` bytes of this part.
    collected: Vec<u8>,
    wanted: usize,
    kind: Kind,
    records: Records,
}

impl Codec for Stream {
    const COMPRESSION: Compression = Compression::Xz;
    // Section 2.2, "Stream Padding".
    const PADDING: u64 = 4;

    fn new() -> Self {
        Self {
            part: Part::StreamHeader,
            collected: Vec::new(),
            wanted: FRAME,
            kind: Kind::None,
            records: Records::default(),
        }
    }

    fn begins(head: &[u8]) -> bool {
        // A file that ends within the magic is as truncated as one that ends after it.
        MAGIC.starts_with(&head[..head.len().min(MAGIC.len())])
    }

    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, Fault> {
        let mut at = 0;
        loop {
            match &mut self.part {
                Part::Data(block) => {
                    let step = block
                        .decode(&input[at..], output)
                        .map_err(|f| f.after(at))?;
                    at += step.consumed;
                    if step.end {
                        self.end_data();
                    }
                    // Also after a block without content, so that the caller can stop.
                    return Ok(Step {
                        consumed: at,
                        end: false,
                        ..step
                    });
                }
                Part::Index(index) => {
                    let (consumed, len) = index.read(&input[at..]).map_err(|f| f.after(at))?;
                    at += consumed;
                    match len {
                        Some(index) => self.collect(Part::Footer { index }, FRAME),
                        None => return Ok(Step::taken(at)),
                    }
                }
                _ => {
                    let missing = self.wanted - self.collected.len();
                    let taken = missing.min(input.len() - at);
                    self.collected.extend_from_slice(&input[at..at + taken]);
                    at += taken;
                    if taken < missing {
                        return Ok(Step::taken(at));
                    }
                    if self.interpret().map_err(|f| f.after(at))? {
                        return Ok(Step {
                            end: true,
                            ..Step::taken(at)
                        });
                    }
                }
            }
        }
    }
}

impl Stream {
    /// Goes on to `part`, for which `wanted` bytes are to be collected.
    fn collect(&mut self, part: Part, wanted: usize) {
        self.collected.clear();
        (self.part, self.wanted) = (part, wanted);
    }

    /// Makes of the collected bytes what they are; whether they end the stream.
    fn interpret(&mut self) -> Result<bool, Fault> {
        let bytes = std::mem::take(&mut self.collected);
        match std::mem::replace(&mut self.part, Part::Begin) {
            Part::StreamHeader => {
                self.kind = stream_header(&bytes)?;
                self.collect(Part::Begin, 1);
            }
            Part::Begin if bytes[0] == 0 => {
                self.part = Part::Index(Index::new(std::mem::take(&mut self.records)));
            }
            Part::Begin => {
                // The header's length counts the byte that says it.
                self.collect(Part::BlockHeader, block::header_len(bytes[0]));
                self.collected.extend(bytes);
            }
            Part::BlockHeader => {
                let header = Header::from_bytes(&bytes)?;
                let data = header.decoder()?;
                self.part = Part::Data(Box::new(Block {
                    header,
                    data,
                    check: Check::new(self.kind),
                    compressed: 0,
                    uncompressed: 0,
                }));
            }
            Part::BlockEnd(block) => {
                let padding = bytes.len() - self.kind.len();
                self.records.add(block.end(&bytes, padding)?);
                self.collect(Part::Begin, 1);
            }
            Part::Footer { index } => return stream_footer(&bytes, self.kind, index),
            // Neither is collected.
            part @ (Part::Data(_) | Part::Index(_)) => self.part = part,
        }
        Ok(false)
    }

    fn end_data(&mut self) {
        if let Part::Data(block) = std::mem::replace(&mut self.part, Part::Begin) {
            let padding = (block.compressed.wrapping_neg() % 4) as usize;
            self.collect(Part::BlockEnd(block), padding + self.kind.len());
        }
    }
}

impl Block {
    fn decode(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, Fault> {
        let before = self.data.total_in();
        match self.data.process(input, output, Action::Run) {
            Ok(result) => {
                let decoded = &output[..result.bytes_produced];
                self.check.update(decoded);
                self.compressed += result.bytes_consumed as u64;
                self.uncompressed += decoded.len() as u64;
                Ok(Step {
                    consumed: result.bytes_consumed,
                    produced: decoded.len(),
                    end: result.status == Status::StreamEnd,
                })
            }
            Err(error) if error.kind() == io::ErrorKind::OutOfMemory => Err(Fault::Memory {
                why: "there is not enough memory to unpack the xz data".to_owned(),
                hint: "try again later",
            }),
            Err(error) => Err(Fault::Damaged {
                consumed: usize::try_from(self.data.total_in() - before).unwrap_or(input.len()),
                why: error.to_string(),
            }),
        }
    }

    /// Verifies the block by the bytes after its data, `padding` zeros and the check; its record in
    /// the index (section 4.3).
    fn end(self, bytes: &[u8], padding: usize) -> Result<[u64; 2], Fault> {
        let (zeros, check) = bytes.split_at(padding);
        if zeros.iter().any(|byte| *byte != 0) {
            return Err(damaged("a block is not padded with zeros"));
        }
        if !self.header.agrees(self.compressed, self.uncompressed) {
            return Err(damaged("a block has not the size that its header says"));
        }
        if !self.check.verify(check) {
            return Err(damaged("the check of a block does not match"));
        }
        let unpadded = self.header.len + self.compressed + check.len() as u64;
        Ok([unpadded, self.uncompressed])
    }
}

/// Section 2.1.1.
fn stream_header(bytes: &[u8]) -> Result<Kind, Fault> {
    let (flags, crc) = (&bytes[6..8], &bytes[8..]);
    if !bytes.starts_with(MAGIC) || crc != crc32(flags) {
        return Err(damaged("the CRC32 of the stream header does not match"));
    }
    Kind::from_flags(flags)
}

/// Section 2.1.2; always the end.
fn stream_footer(bytes: &[u8], kind: Kind, index: u64) -> Result<bool, Fault> {
    let (crc, rest) = bytes.split_at(4);
    if crc != crc32(&rest[..6]) || &rest[6..] != FOOTER_MAGIC {
        return Err(damaged("the CRC32 of the stream footer does not match"));
    }
    let backward = u32::from_le_bytes([rest[0], rest[1], rest[2], rest[3]]);
    if (u64::from(backward) + 1) * 4 != index {
        return Err(damaged("the stream footer has another length of the index"));
    }
    if rest[4..6] != kind.flags() {
        return Err(damaged("the stream footer is not that of the header"));
    }
    Ok(true)
}

fn crc32(bytes: &[u8]) -> [u8; 4] {
    crc32fast::hash(bytes).to_le_bytes()
}

/// The fault of data that is not valid, as was seen after what was read.
fn damaged(why: &str) -> Fault {
    Fault::Damaged {
        consumed: 0,
        why: why.to_owned(),
    }
}
