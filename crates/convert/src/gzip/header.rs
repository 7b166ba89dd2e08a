//! What surrounds the deflate data of a gzip file: member headers and trailers (RFC 1952).

use abbild_disk::Source;

use super::bits::BitReader;
use super::inflate::{Fault, Stop};

const MAGIC: [u8; 2] = [0x1f, 0x8b];
const DEFLATE: u8 = 8;

const HEADER_CRC: u8 = 1 << 1;
const EXTRA: u8 = 1 << 2;
const NAME: u8 = 1 << 3;
const COMMENT: u8 = 1 << 4;
const RESERVED: u8 = 0xe0;

/// The longest name or comment that is read over. No file system has longer ones, and a search
/// for their end must not go through a whole file.
const MAX_TEXT: usize = 64 << 10;

/// How a member ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Trailer {
    /// CRC-32 of what the member decodes to.
    pub(super) crc: u32,
    /// Its length, modulo 2^32.
    pub(super) len: u32,
    /// Where in the file the trailer is.
    pub(super) offset: u64,
}

/// What follows a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Another member, whose header has been read.
    Member,
    /// The end of the file, maybe after zeros, which tapes leave there.
    End,
    /// Something else, from this byte on.
    Garbage(u64),
}

/// Reads the trailer at the next byte boundary.
pub(super) fn read_trailer<S: Source + ?Sized>(
    reader: &mut BitReader<'_, S>,
) -> Result<Trailer, Stop> {
    reader.align();
    let offset = reader.position() / 8;
    let trailer = Trailer {
        crc: reader.take(32)?,
        len: reader.take(32)?,
        offset,
    };
    if reader.is_past_end() {
        return Err(Stop::Truncated);
    }
    Ok(trailer)
}

/// Reads the header of the next member, if there is one.
pub(super) fn read_next<S: Source + ?Sized>(reader: &mut BitReader<'_, S>) -> Result<Next, Stop> {
    let start = reader.position() / 8;
    if reader.position() >= reader.end() {
        return Ok(Next::End);
    }
    let first = byte(reader)?;
    if first == 0 {
        while reader.position() < reader.end() {
            if byte(reader)? != 0 {
                return Ok(Next::Garbage(start));
            }
        }
        return Ok(Next::End);
    }
    if first != MAGIC[0] {
        return Ok(Next::Garbage(start));
    }
    // A file that ends within the magic is as truncated as one that ends after it.
    let second = byte(reader)?;
    if second != MAGIC[1] && !reader.is_past_end() {
        return Ok(Next::Garbage(start));
    }
    read_fields(reader)?;
    Ok(Next::Member)
}

/// Reads the rest of a header, after the magic (RFC 1952 section 2.3).
fn read_fields<S: Source + ?Sized>(reader: &mut BitReader<'_, S>) -> Result<(), Stop> {
    let method = byte(reader)?;
    let flags = byte(reader)?;
    // Modification time, extra flags, operating system.
    for _ in 0..6 {
        byte(reader)?;
    }
    if reader.is_past_end() {
        return Err(Stop::Truncated);
    }
    if method != DEFLATE {
        return Err(Fault("the compression method is not deflate").into());
    }
    if flags & RESERVED != 0 {
        return Err(Fault("reserved flags of a member header are set").into());
    }
    if flags & EXTRA != 0 {
        for _ in 0..reader.take(16)? {
            byte(reader)?;
        }
    }
    for text in [NAME, COMMENT] {
        if flags & text != 0 {
            skip_text(reader)?;
        }
    }
    if flags & HEADER_CRC != 0 {
        reader.take(16)?;
    }
    if reader.is_past_end() {
        return Err(Stop::Truncated);
    }
    Ok(())
}

/// Reads over text that a zero byte ends.
fn skip_text<S: Source + ?Sized>(reader: &mut BitReader<'_, S>) -> Result<(), Stop> {
    for _ in 0..MAX_TEXT {
        if byte(reader)? == 0 {
            return Ok(());
        }
    }
    Err(Fault("a name or comment in a member header is too long").into())
}

fn byte<S: Source + ?Sized>(reader: &mut BitReader<'_, S>) -> Result<u8, Stop> {
    Ok(reader.take(8)? as u8)
}
