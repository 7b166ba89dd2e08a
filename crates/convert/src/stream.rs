//! From an upload as it arrived to a plain disk image in a sparse staging file.
//!
//! [`decode_to_staging`] looks at the first bytes, decodes what they are the beginning of and copies
//! anything else. A file may consist of several compressed streams one after another, as parallel
//! compressors write it. gzip and bzip2 have decoders of our own that keep all cores busy;
//! xz and zstd run on the calling thread while a second thread finds zeros and writes ([`pipe`]).
//! Memory is a few megabytes per thread, and the window of the stream.
//!
//! The output stops at the caller's limit, so a small file that decodes to terabytes costs no more
//! than an honest one. A container inside the container is refused: nobody needs it, and each layer
//! multiplies what a hostile file can ask for.

use std::fs::File;

use abbild_disk::{ExtentKind, Source};

use crate::pipe::{self, CHUNK, Sink};
use crate::staging::Output;
use crate::{Compression, Control, DETECT_LEN, Error, ErrorKind, Result, bzip2, gzip, xz, zstd};

const INPUT_BUFFER: usize = 256 * 1024;
/// Input bytes after which progress is reported even if they made no chunk of output.
const REPORT_EVERY: u64 = 1 << 20;

/// What [`decode_to_staging`] has to know.
#[derive(Debug, Clone, Copy)]
pub struct StagingOptions {
    /// The most bytes that the decoded image may have.
    pub limit: u64,
}

/// What [`decode_to_staging`] wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// Length of the staging file in bytes.
    pub bytes: u64,
    /// The containers that were removed, outermost first; empty if the input was not compressed.
    pub layers: Vec<Compression>,
}

/// Decodes all of `input` into the emptied file `out`, in which blocks of zeros become holes.
/// Progress counts bytes of input.
///
/// # Errors
/// - [`ErrorKind::Refused`] with code `virtual-size` as soon as the output passes the limit,
///   `nested-compression` for a container within a container, or `decoder-memory` for an xz or zstd
///   file that was packed with a larger window than is accepted;
/// - [`ErrorKind::Unsupported`] with code `unsupported-stream` for an xz file with filters or checks
///   that are not known;
/// - [`ErrorKind::Corrupt`] with code `truncated`, `corrupt-stream` or `trailing-garbage`, each
///   with the byte offset in the input;
/// - those of reading and writing, and [`ErrorKind::Cancelled`].
pub fn decode_to_staging<S: Source + Sync + ?Sized>(
    input: &S,
    out: &File,
    options: StagingOptions,
    control: &Control<'_>,
) -> Result<Decoded> {
    let mut head = [0; DETECT_LEN];
    let head = &mut head[..usize::try_from(input.len()).map_or(DETECT_LEN, |l| l.min(DETECT_LEN))];
    input.read_at(0, head)?;
    let compression = Compression::detect(head);
    let output = Output::new(out, options.limit, compression)?;
    let bytes = match compression {
        None => copy(input, &output, control)?,
        Some(Compression::Gzip) => gzip::decode(input, &output, control)?,
        Some(Compression::Bzip2) => bzip2::decode(input, &output, control)?,
        Some(Compression::Xz) => sequential::<xz::Stream, S>(input, &output, control)?,
        Some(Compression::Zstd) => sequential::<zstd::Frame, S>(input, &output, control)?,
    };
    output.finish(bytes)?;
    Ok(Decoded {
        bytes,
        layers: compression.into_iter().collect(),
    })
}

/// Copies what is not compressed, without its holes; its length.
fn copy<S: Source + ?Sized>(input: &S, out: &Output<'_>, control: &Control<'_>) -> Result<u64> {
    let len = input.len();
    let mut buffer = vec![0; CHUNK];
    let mut offset = 0;
    while offset < len {
        control.step(offset, Some(len))?;
        let extent = input.data_at(offset)?;
        if extent.kind == ExtentKind::Zero {
            out.zeros(offset, extent.len)?;
            offset += extent.len;
            continue;
        }
        let part = usize::try_from(extent.len).map_or(CHUNK, |len| len.min(CHUNK));
        input.read_at(offset, &mut buffer[..part])?;
        out.write_at(offset, &buffer[..part])?;
        offset += part as u64;
    }
    control.step(offset, Some(len))?;
    Ok(offset)
}

/// Decodes one stream after another on this thread; the length of what they decode to.
fn sequential<C: Codec, S: Source + Sync + ?Sized>(
    input: &S,
    out: &Output<'_>,
    control: &Control<'_>,
) -> Result<u64> {
    let mut written = 0;
    pipe::overlapped(
        |bytes| {
            out.write_at(written, bytes)?;
            written += bytes.len() as u64;
            Ok(())
        },
        |sink| Streams::<S, C>::new(input).fill(sink, control),
    )
}

/// The error for `compression` that is not valid at byte `offset`.
pub(crate) fn corrupt(compression: Compression, why: &str, offset: u64) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        "corrupt-stream",
        format!("the {compression} data is damaged: {why}"),
    )
    .at(offset)
    .with_hint("the file may have been damaged in transit: compare its checksum")
}

/// The error for a file that ends, with byte `offset`, before its `compression` does.
pub(crate) fn truncated(compression: Compression, offset: u64) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        "truncated",
        format!("the file ends in the middle of its {compression} data"),
    )
    .at(offset)
    .with_hint("the file may not have been copied completely: compare its size")
}

/// The error for something else, at byte `offset`, after the end of `compression`.
pub(crate) fn trailing_garbage(compression: Compression, offset: u64) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        "trailing-garbage",
        format!("the {compression} data ends but the file goes on with something else"),
    )
    .at(offset)
    .with_hint("the file may have been joined or damaged in transit: create it again")
}

/// What one call of a [`Codec`] did.
pub(crate) struct Step {
    pub(crate) consumed: usize,
    pub(crate) produced: usize,
    /// The stream is complete; what follows in the input is not part of it.
    pub(crate) end: bool,
}

/// Why a [`Codec`] cannot go on.
pub(crate) enum Fault {
    /// The stream is not valid, as was seen after so many bytes of the input.
    Damaged { consumed: usize, why: String },
    /// Decoding would take more memory than is given; and what to do.
    Memory { why: String, hint: &'static str },
    /// The stream may be valid, but nobody writes such; and what to do.
    Unsupported { why: String, hint: &'static str },
}

impl Step {
    /// Some input was taken and nothing came of it yet.
    pub(crate) fn taken(consumed: usize) -> Self {
        Self {
            consumed,
            produced: 0,
            end: false,
        }
    }
}

impl Fault {
    /// The fault, seen in input that comes after `before` bytes.
    pub(crate) fn after(mut self, before: usize) -> Self {
        if let Self::Damaged { consumed, .. } = &mut self {
            *consumed += before;
        }
        self
    }
}

/// The decoder of a single compressed stream.
pub(crate) trait Codec {
    /// What the stream is of.
    const COMPRESSION: Compression;
    /// Zeros may follow a stream, in multiples of so many bytes; 0 if none may.
    const PADDING: u64;

    fn new() -> Self;

    /// Whether a stream begins with `head`, which has [`DETECT_LEN`] bytes or all that are left.
    fn begins(head: &[u8]) -> bool;

    /// Decodes some of `input` into `output`.
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> std::result::Result<Step, Fault>;
}

/// One or more streams of the same kind, one after another.
struct Streams<'s, S: ?Sized, C> {
    input: Input<'s, S>,
    /// Absent between two streams and after the last.
    codec: Option<C>,
}

impl<'s, S: Source + ?Sized, C: Codec> Streams<'s, S, C> {
    fn new(source: &'s S) -> Self {
        Self {
            input: Input::new(source),
            codec: None,
        }
    }

    /// Pushes all that is decoded into `sink`; its length.
    fn fill(&mut self, sink: &Sink, control: &Control<'_>) -> Result<u64> {
        let total = Some(self.input.source.len());
        let mut bytes: u64 = 0;
        let mut reported = 0;
        let mut more = true;
        while more {
            let mut buffer = sink.buffer();
            let mut len = 0;
            while more && len < CHUNK {
                match self.decode(&mut buffer[len..])? {
                    Some(produced) => len += produced,
                    None => more = false,
                }
                // Input that yields little or nothing must not postpone a wish to stop.
                if self.input.position - reported >= REPORT_EVERY {
                    reported = self.input.position;
                    control.step(reported, total)?;
                }
            }
            bytes += len as u64;
            sink.push(buffer, len)?;
            control.step(self.input.position, total)?;
        }
        Ok(bytes)
    }

    /// Puts decoded bytes, maybe none yet, at the start of `output` and counts them. `None` is the
    /// end.
    fn decode(&mut self, output: &mut [u8]) -> Result<Option<usize>> {
        if self.codec.is_none() && !self.next_stream()? {
            return Ok(None);
        }
        let codec = self.codec.get_or_insert_with(C::new);
        let input = self.input.peek(1)?;
        let at_end = input.is_empty();
        let step = match codec.step(input, output) {
            Ok(step) => step,
            Err(fault) => return Err(self.stopped(fault)),
        };
        self.input.consume(step.consumed);
        if step.end {
            self.codec = None;
        } else if at_end && step.produced == 0 {
            return Err(truncated(C::COMPRESSION, self.input.position));
        }
        Ok(Some(step.produced))
    }

    /// Whether another stream follows.
    fn next_stream(&mut self) -> Result<bool> {
        let start = self.input.position;
        if C::PADDING > 0 {
            self.input.skip_zeros()?;
        }
        let padding = self.input.position - start;
        let head = self.input.peek(DETECT_LEN)?;
        let head = &head[..head.len().min(DETECT_LEN)];
        if !padding.is_multiple_of(C::PADDING) || !head.is_empty() && !C::begins(head) {
            return Err(trailing_garbage(C::COMPRESSION, start));
        }
        Ok(!head.is_empty())
    }

    fn stopped(&self, fault: Fault) -> Error {
        match fault {
            Fault::Damaged { consumed, why } => {
                corrupt(C::COMPRESSION, &why, self.input.position + consumed as u64)
            }
            Fault::Memory { why, hint } => {
                Error::new(ErrorKind::Refused, "decoder-memory", why).with_hint(hint)
            }
            Fault::Unsupported { why, hint } => {
                Error::new(ErrorKind::Unsupported, "unsupported-stream", why).with_hint(hint)
            }
        }
    }
}

/// A source that is read from start to end, with a buffer.
struct Input<'s, S: ?Sized> {
    source: &'s S,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Bytes consumed so far.
    position: u64,
}

impl<'s, S: Source + ?Sized> Input<'s, S> {
    fn new(source: &'s S) -> Self {
        Self {
            source,
            buffer: vec![0; INPUT_BUFFER],
            start: 0,
            end: 0,
            position: 0,
        }
    }

    /// The buffered bytes: at least `wanted` unless the input ends before, which [`INPUT_BUFFER`]
    /// must exceed.
    fn peek(&mut self, wanted: usize) -> Result<&[u8]> {
        if self.end - self.start < wanted {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            let offset = self.position + self.end as u64;
            let room = &mut self.buffer[self.end..];
            let left = self.source.len() - offset;
            let len = usize::try_from(left).map_or(room.len(), |left| left.min(room.len()));
            self.source.read_at(offset, &mut room[..len])?;
            self.end += len;
        }
        Ok(&self.buffer[self.start..self.end])
    }

    fn consume(&mut self, len: usize) {
        self.start += len;
        self.position += len as u64;
    }
    fn skip_zeros(&mut self) -> Result<()> {
        loop {
            let bytes = self.peek(1)?;
            let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
            let all = zeros == bytes.len();
            self.consume(zeros);
            if zeros == 0 || !all {
                return Ok(());
            }
        }
    }
}
