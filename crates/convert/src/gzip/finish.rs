//! From decoded pieces to bytes in the file: once the window before a chunk is known, its
//! references to it are resolved, checksums are taken and the bytes are written where they belong.

use crc32fast::Hasher;

use super::chunk::{Buffers, Content, Piece};
use super::header::Trailer;
use super::inflate::WINDOW;
use crate::Result;
use crate::staging::Output;

/// Bytes of a run that are written at a time.
const RUN_PIECE: usize = 256 << 10;

/// A window that is wholly known: 32 KiB, of which the last `history` belong to the member.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) bytes: Vec<u8>,
    pub(super) history: usize,
}

impl Known {
    /// The byte that `symbol` stands for, `None` if it refers to what was before the member.
    pub(super) fn resolve(&self, symbol: u16) -> Option<u8> {
        match usize::from(symbol).checked_sub(256) {
            None => u8::try_from(symbol).ok(),
            Some(place) if place >= WINDOW - self.history => self.bytes.get(place).copied(),
            Some(_) => None,
        }
    }

    /// What every symbol stands for; for those that refer too far back, anything.
    fn table(&self) -> Box<[u8; 1 << 16]> {
        let mut table = Box::new([0; 1 << 16]);
        for (byte, slot) in (0..=u8::MAX).zip(table.iter_mut()) {
            *slot = byte;
        }
        table[256..256 + WINDOW].copy_from_slice(&self.bytes);
        table
    }

    /// The first symbol that is a valid reference.
    fn first_reference(&self) -> u16 {
        (256 + WINDOW - self.history) as u16
    }
}

/// What [`finish`] found, in the order of the data.
pub(super) enum Sum {
    Data(Hasher, u64),
    End(Trailer),
}

/// The pieces refer to data before the start of their member.
#[derive(Debug)]
pub(super) struct TooFarBack;

/// Resolves `pieces` with the window before them, and writes them at `offset`.
pub(super) fn finish(
    pieces: Vec<Piece>,
    window: &Known,
    mut offset: u64,
    out: &Output<'_>,
    buffers: &Buffers,
) -> Result<std::result::Result<Vec<Sum>, TooFarBack>> {
    let mut sums = Vec::new();
    let mut table = None;
    for piece in pieces {
        let len = piece.len();
        match piece.content {
            Content::Plain(buffer, range) => {
                let bytes = &buffer[range];
                out.write_at(offset, bytes)?;
                sum(bytes, &piece.ends, &mut sums);
                buffers.plain.put(buffer);
            }
            Content::Marked(buffer, range) => {
                let table = table.get_or_insert_with(|| window.table());
                let symbols = &buffer[range];
                let first = window.first_reference();
                if symbols.iter().any(|&s| s >= 256 && s < first) {
                    return Ok(Err(TooFarBack));
                }
                let mut resolved = buffers.plain.take();
                let bytes = &mut resolved[..symbols.len()];
                for (byte, &symbol) in bytes.iter_mut().zip(symbols) {
                    *byte = table[usize::from(symbol)];
                }
                out.write_at(offset, bytes)?;
                sum(bytes, &piece.ends, &mut sums);
                buffers.plain.put(resolved);
                buffers.marked.put(buffer);
            }
            Content::Run(symbol, len) => {
                let Some(byte) = window.resolve(symbol) else {
                    return Ok(Err(TooFarBack));
                };
                write_run(byte, len, offset, out)?;
                sums.push(Sum::Data(hash_run(byte, len), len));
            }
        }
        offset += len;
    }
    Ok(Ok(sums))
}

/// Takes the checksums of `bytes`, member by member.
fn sum(bytes: &[u8], ends: &[(usize, Trailer)], sums: &mut Vec<Sum>) {
    let mut from = 0;
    for &(to, trailer) in ends {
        push(&bytes[from..to], sums);
        sums.push(Sum::End(trailer));
        from = to;
    }
    push(&bytes[from..], sums);
}

fn push(bytes: &[u8], sums: &mut Vec<Sum>) {
    if !bytes.is_empty() {
        let mut hasher = Hasher::new();
        hasher.update(bytes);
        sums.push(Sum::Data(hasher, bytes.len() as u64));
    }
}

fn write_run(byte: u8, len: u64, offset: u64, out: &Output<'_>) -> Result<()> {
    if byte == 0 {
        return out.zeros(offset, len);
    }
    let bytes = vec![byte; RUN_PIECE];
    let mut done = 0;
    while done < len {
        let part = (len - done).min(RUN_PIECE as u64);
        out.write_at(offset + done, &bytes[..part as usize])?;
        done += part;
    }
    Ok(())
}

/// The checksum of `len` times `byte`, by doubling.
fn hash_run(byte: u8, len: u64) -> Hasher {
    let mut result = Hasher::new();
    let mut power = Hasher::new();
    power.update(&[byte]);
    let mut left = len;
    while left > 0 {
        if left & 1 == 1 {
            result.combine(&power);
        }
        let same = power.clone();
        power.combine(&same);
        left >>= 1;
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_the_checksum_of_its_bytes() {
        for (byte, len) in [(0, 1), (0, 65_537), (7, 3), (255, 100_000)] {
            let expected = crc32fast::hash(&vec![byte; len]);
            assert_eq!(hash_run(byte, len as u64).finalize(), expected);
        }
    }

    #[test]
    fn references_before_the_member_are_told() {
        let window = Known {
            bytes: (0..WINDOW).map(|n| n as u8).collect(),
            history: 10,
        };
        assert_eq!(window.resolve(65), Some(65));
        let last = (256 + WINDOW - 1) as u16;
        assert_eq!(window.resolve(last), Some(255));
        assert_eq!(window.resolve(last - 9), Some(246));
        assert_eq!(window.resolve(last - 10), None);
        assert_eq!(window.first_reference(), last - 9);
    }
}
