//! From an upload as it arrived to a plain disk image in a sparse staging file.
//!
//! [`decode_to_staging`] looks at the first bytes, decodes gzip or bzip2 if that is what they are
//! and copies anything else. A file may consist of several compressed streams one after another,
//! as parallel compressors write it. Decoding runs on the calling thread while a second thread
//! finds zeros and writes ([`crate::pipe`]); memory is a few megabytes whatever the input.
//!
//! The output stops at the caller's limit, so a small file that decodes to terabytes costs no more
//! than an honest one. A container inside the container is refused: nobody needs it, and each layer
//! multiplies what a hostile file can ask for.

use std::fs::File;
use std::io::Read;

use crate::pipe::{self, CHUNK, Sink};
use crate::staging::SparseWriter;
use crate::{Compression, Control, DETECT_LEN, Error, ErrorKind, Result, bzip2, gzip};

const INPUT_BUFFER: usize = 256 * 1024;
/// Input bytes after which progress is reported even if they made no chunk of output.
const REPORT_EVERY: u64 = 1 << 20;

/// What [`decode_to_staging`] has to know.
#[derive(Debug, Clone, Copy)]
pub struct StagingOptions {
    /// The most bytes that the decoded image may have.
    pub limit: u64,
    /// Length of the input in bytes if it is known, for progress reports.
    pub input_len: Option<u64>,
}

/// What [`decode_to_staging`] wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// Length of the staging file in bytes.
    pub bytes: u64,
    /// The containers that were removed, outermost first; empty if the input was not compressed.
    pub layers: Vec<Compression>,
}

/// Decodes `reader` from its current position to its end into the emptied file `out`, in which
/// blocks of zeros become holes. Progress counts bytes of input.
///
/// # Errors
/// - [`ErrorKind::Refused`] with code `decompressed-size` as soon as the output passes the limit,
///   or `nested-compression` for a container within a container;
/// - [`ErrorKind::Unsupported`] with code `compression` for xz and zstd;
/// - [`ErrorKind::Corrupt`] with code `truncated`, `corrupt-stream` or `trailing-garbage`, each
///   with the byte offset in the input;
/// - those of reading and writing, and [`ErrorKind::Cancelled`].
pub fn decode_to_staging(
    reader: impl Read,
    out: &File,
    options: StagingOptions,
    control: &Control<'_>,
) -> Result<Decoded> {
    let mut input = Input::new(reader);
    let compression = Compression::detect(input.peek(DETECT_LEN)?);
    let mut writer = SparseWriter::new(out)?;
    pipe::overlapped(
        |bytes| writer.write(bytes),
        |sink| match compression {
            None => fill(&mut Plain(input), None, sink, options, control),
            Some(Compression::Gzip) => {
                let mut streams = Streams::<_, gzip::Member>::new(input, Compression::Gzip);
                fill(&mut streams, compression, sink, options, control)
            }
            Some(Compression::Bzip2) => {
                let mut streams = Streams::<_, bzip2::Stream>::new(input, Compression::Bzip2);
                fill(&mut streams, compression, sink, options, control)
            }
            Some(other) => Err(unsupported(other)),
        },
    )?;
    Ok(Decoded {
        bytes: writer.finish()?,
        layers: compression.into_iter().collect(),
    })
}

/// Pulls everything out of `decoder` and pushes it into `sink`.
fn fill(
    decoder: &mut impl Decoder,
    outer: Option<Compression>,
    sink: &Sink,
    options: StagingOptions,
    control: &Control<'_>,
) -> Result<()> {
    let mut bytes: u64 = 0;
    let mut reported = 0;
    let mut more = true;
    while more {
        let mut buffer = sink.buffer();
        let mut len = 0;
        while more && len < CHUNK {
            match decoder.decode(&mut buffer[len..])? {
                Some(produced) => len += produced,
                None => more = false,
            }
            // Input that yields little or nothing must not postpone a wish to stop.
            if decoder.position() - reported >= REPORT_EVERY {
                reported = decoder.position();
                control.step(reported, options.input_len)?;
            }
        }
        if let (0, Some(outer)) = (bytes, outer)
            && let Some(inner) = Compression::detect(&buffer[..len.min(DETECT_LEN)])
        {
            return Err(nested(outer, inner));
        }
        bytes += len as u64;
        if bytes > options.limit {
            return Err(too_large(outer, options.limit));
        }
        sink.push(buffer, len)?;
        control.step(decoder.position(), options.input_len)?;
    }
    Ok(())
}

fn unsupported(found: Compression) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        "compression",
        format!("{found} compression is not supported, only gzip and bzip2"),
    )
    .with_hint(format!(
        "unpack the file with `{}` and upload the result, or its gzip",
        found.unpack_command()
    ))
}

fn nested(outer: Compression, inner: Compression) -> Error {
    Error::new(
        ErrorKind::Refused,
        "nested-compression",
        format!("the {outer} file contains a {inner} file instead of a disk image"),
    )
    .with_hint(format!(
        "unpack the file once with `{}` and upload the result",
        outer.unpack_command()
    ))
}

fn too_large(outer: Option<Compression>, limit: u64) -> Error {
    let what = match outer {
        Some(outer) => format!("the {outer} file decompresses to more than"),
        None => "the file is larger than".to_owned(),
    };
    Error::new(
        ErrorKind::Refused,
        "decompressed-size",
        format!("{what} the limit of {limit} bytes"),
    )
}

/// What one call of a [`Codec`] did.
pub(crate) struct Step {
    pub(crate) consumed: usize,
    pub(crate) produced: usize,
    /// The stream is complete; what follows in the input is not part of it.
    pub(crate) end: bool,
}

/// Why a [`Codec`] cannot go on, and how much of its input it had taken by then.
pub(crate) struct Fault {
    pub(crate) consumed: usize,
    pub(crate) why: String,
}

/// The decoder of a single compressed stream.
pub(crate) trait Codec {
    /// How each stream begins.
    const MAGIC: &'static [u8];
    /// Whether zeros after the last stream are customary and meaningless.
    const ZERO_PADDING: bool;

    fn new() -> Self;

    /// Decodes some of `input` into `output`.
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> std::result::Result<Step, Fault>;
}

/// A source of decoded bytes.
trait Decoder {
    /// Puts decoded bytes, maybe none yet, at the start of `output` and counts them. `None` is the
    /// end.
    fn decode(&mut self, output: &mut [u8]) -> Result<Option<usize>>;

    /// Bytes of input taken so far.
    fn position(&self) -> u64;
}

/// Input that is not compressed.
struct Plain<R>(Input<R>);

impl<R: Read> Decoder for Plain<R> {
    fn decode(&mut self, output: &mut [u8]) -> Result<Option<usize>> {
        let bytes = self.0.peek(1)?;
        let len = bytes.len().min(output.len());
        output[..len].copy_from_slice(&bytes[..len]);
        self.0.consume(len);
        Ok((len > 0).then_some(len))
    }

    fn position(&self) -> u64 {
        self.0.position
    }
}

/// One or more streams of the same kind, one after another.
struct Streams<R, C> {
    input: Input<R>,
    compression: Compression,
    /// Absent between two streams and after the last.
    codec: Option<C>,
}

impl<R: Read, C: Codec> Streams<R, C> {
    fn new(input: Input<R>, compression: Compression) -> Self {
        Self {
            input,
            compression,
            codec: None,
        }
    }

    /// Whether another stream follows.
    fn next_stream(&mut self) -> Result<bool> {
        let head = self.input.peek(C::MAGIC.len())?;
        if head.is_empty() {
            return Ok(false);
        }
        if C::MAGIC.starts_with(&head[..head.len().min(C::MAGIC.len())]) {
            return Ok(true);
        }
        let start = self.input.position;
        if C::ZERO_PADDING {
            self.input.skip_zeros()?;
            if self.input.peek(1)?.is_empty() {
                return Ok(false);
            }
        }
        Err(Error::new(
            ErrorKind::Corrupt,
            "trailing-garbage",
            format!(
                "the {} data ends but the file goes on with something else",
                self.compression
            ),
        )
        .at(start)
        .with_hint("the file may have been joined or damaged in transit: create it again"))
    }

    fn corrupt(&self, fault: &Fault) -> Error {
        Error::new(
            ErrorKind::Corrupt,
            "corrupt-stream",
            format!("the {} data is damaged: {}", self.compression, fault.why),
        )
        .at(self.input.position + fault.consumed as u64)
        .with_hint("the file may have been damaged in transit: compare its checksum")
    }

    fn truncated(&self) -> Error {
        Error::new(
            ErrorKind::Corrupt,
            "truncated",
            format!(
                "the file ends in the middle of its {} data",
                self.compression
            ),
        )
        .at(self.input.position)
        .with_hint("the file may not have been copied completely: compare its size")
    }
}

impl<R: Read, C: Codec> Decoder for Streams<R, C> {
    fn decode(&mut self, output: &mut [u8]) -> Result<Option<usize>> {
        if self.codec.is_none() && !self.next_stream()? {
            return Ok(None);
        }
        let codec = self.codec.get_or_insert_with(C::new);
        let input = self.input.peek(1)?;
        let at_end = input.is_empty();
        let step = match codec.step(input, output) {
            Ok(step) => step,
            Err(fault) => return Err(self.corrupt(&fault)),
        };
        self.input.consume(step.consumed);
        if step.end {
            self.codec = None;
        } else if at_end && step.produced == 0 {
            return Err(self.truncated());
        }
        Ok(Some(step.produced))
    }

    fn position(&self) -> u64 {
        self.input.position
    }
}

/// A reader with a buffer and a position.
struct Input<R> {
    reader: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Bytes consumed so far.
    position: u64,
}

impl<R: Read> Input<R> {
    fn new(reader: R) -> Self {
        Self {
            reader,
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
            while self.end < wanted {
                match self.reader.read(&mut self.buffer[self.end..]) {
                    Ok(0) => break,
                    Ok(read) => self.end += read,
                    Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                    Err(e) => return Err(Error::io("reading the uploaded file", e)),
                }
            }
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
            let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
            let all = zeros == bytes.len();
            self.consume(zeros);
            if zeros == 0 || !all {
                return Ok(());
            }
        }
    }
}
