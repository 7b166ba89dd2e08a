//! The header of a block (section 3.1): its length, its sizes if they were known, and the filters
//! that its content went through.

use lzma_rust2::{FilterConfig, FilterType, Lzma2Stream};

use super::index::number;
use super::{crc32, damaged};
use crate::stream::Fault;

/// That of `xz -9`, in bytes.
const MAX_DICTIONARY: u32 = 64 << 20;

/// Section 5.3.1.
const LZMA2: u64 = 0x21;
/// Section 5.3.3.
const DELTA: u64 = 3;

/// What a block's header says.
pub(super) struct Header {
    /// Length of the header itself in bytes.
    pub(super) len: u64,
    compressed: Option<u64>,
    uncompressed: Option<u64>,
    /// What comes before LZMA2 when packing.
    filter: Option<FilterConfig>,
    /// Bytes that LZMA2 may refer back to.
    dictionary: u32,
}

/// Length in bytes of a header that begins with `first`, which is not 0.
pub(super) fn header_len(first: u8) -> usize {
    (usize::from(first) + 1) * 4
}

impl Header {
    /// Reads a header of the length that its first byte says.
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, Fault> {
        let (content, crc) = bytes.split_at(bytes.len() - 4);
        if crc != crc32(content) {
            return Err(damaged("the CRC32 of a block header does not match"));
        }
        let mut rest = &content[1..];
        let flags = take(&mut rest, 1)?[0];
        if flags & 0x3c != 0 {
            return Err(unsupported("uses flags that have no meaning yet"));
        }
        let mut size = |flag: u8| (flags & flag != 0).then(|| number(&mut rest)).transpose();
        let (compressed, uncompressed) = (size(0x40)?, size(0x80)?);
        let mut filter = None;
        for _ in 0..flags & 3 {
            let (id, properties) = filter_flags(&mut rest)?;
            if filter.replace(before_lzma2(id, properties)?).is_some() {
                return Err(unsupported("went through more than two filters"));
            }
        }
        let (id, properties) = filter_flags(&mut rest)?;
        if id != LZMA2 {
            return Err(damaged("the last filter of a block is not LZMA2"));
        }
        let dictionary = dictionary(properties)?;
        if rest.iter().any(|byte| *byte != 0) {
            return Err(unsupported("has more in a block header than is known"));
        }
        Ok(Self {
            len: bytes.len() as u64,
            compressed,
            uncompressed,
            filter,
            dictionary,
        })
    }

    /// A decoder for the block's content.
    pub(super) fn decoder(&self) -> Result<Lzma2Stream, Fault> {
        let mut decoder = Lzma2Stream::new(self.dictionary);
        decoder
            .set_filters(self.filter.as_slice())
            .map_err(|error| damaged(&error.to_string()))?;
        Ok(decoder)
    }

    /// Whether these are the sizes that it has.
    pub(super) fn agrees(&self, compressed: u64, uncompressed: u64) -> bool {
        self.compressed.is_none_or(|size| size == compressed)
            && self.uncompressed.is_none_or(|size| size == uncompressed)
    }
}

/// A filter and its properties (section 3.1.5).
fn filter_flags<'b>(rest: &mut &'b [u8]) -> Result<(u64, &'b [u8]), Fault> {
    let id = number(rest)?;
    let len = number(rest)?;
    Ok((id, take(rest, len)?))
}

/// Section 5.3.1: the size of the dictionary, by a mantissa of two bits.
fn dictionary(properties: &[u8]) -> Result<u32, Fault> {
    let &[code @ 0..=40] = properties else {
        return Err(damaged(
            "a block has no size of the dictionary that is valid",
        ));
    };
    let size = (2 | u64::from(code) & 1) << (code / 2 + 11);
    match u32::try_from(size) {
        Ok(size) if size <= MAX_DICTIONARY => Ok(size),
        _ => Err(Fault::Memory {
            why: "the xz data needs a dictionary of more than 64 MiB to be unpacked".to_owned(),
            hint: "pack it again with less: `xz -dc IMAGE.xz | xz -6 > NEW.xz`",
        }),
    }
}

/// A filter that came before LZMA2: differences of bytes, or of addresses in programs.
fn before_lzma2(id: u64, properties: &[u8]) -> Result<FilterConfig, Fault> {
    let property = match (id, properties) {
        (DELTA, [distance]) => u32::from(*distance) + 1,
        (DELTA, _) => return Err(damaged("a delta filter has no distance")),
        (LZMA2, _) => return Err(damaged("LZMA2 is not the last filter of a block")),
        (_, [] | [0, 0, 0, 0]) => 0,
        _ => return Err(unsupported("went through a filter with properties")),
    };
    let filter_type =
        FilterType::try_from(id).map_err(|()| unsupported("went through an unknown filter"))?;
    Ok(FilterConfig {
        filter_type,
        property,
    })
}

/// The first `len` bytes of `rest`, which then begins behind them.
fn take<'b>(rest: &mut &'b [u8], len: impl TryInto<usize>) -> Result<&'b [u8], Fault> {
    len.try_into()
        .ok()
        .and_then(|len| rest.split_off(..len))
        .ok_or_else(|| damaged("a block header is too short for what it has"))
}

fn unsupported(what: &str) -> Fault {
    Fault::Unsupported {
        why: format!("the xz data {what}"),
        hint: "pack it again: `xz -dc IMAGE.xz | xz > NEW.xz`",
    }
}
