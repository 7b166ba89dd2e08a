//! The index of a stream (section 4), which must repeat the sizes of the blocks.
//!
//! Neither the blocks' sizes nor the index are kept: both sides are counted and summed up, and the
//! sums compared. The sum is a CRC32, since nobody gains by an index that only looks right.

use super::damaged;
use crate::stream::Fault;

/// The longest number has nine bytes of seven bits (section 1.2).
const MAX_NUMBER: usize = 9;

/// Blocks, by their number and a sum of their sizes.
#[derive(Clone, Default)]
pub(super) struct Records {
    count: u64,
    sum: crc32fast::Hasher,
}

impl Records {
    /// Adds a block's unpadded and uncompressed size.
    pub(super) fn add(&mut self, sizes: [u64; 2]) {
        self.count += 1;
        for size in sizes {
            self.sum.update(&size.to_le_bytes());
        }
    }
}

/// An index as far as it was read.
pub(super) struct Index {
    blocks: Records,
    listed: Records,
    part: Part,
    /// Bytes so far, the check not included.
    len: u64,
    crc: crc32fast::Hasher,
    /// The number or check being read.
    bytes: Vec<u8>,
}

#[derive(Clone, Copy)]
enum Part {
    Count,
    Unpadded,
    /// With the other size of the same block.
    Uncompressed(u64),
    Padding,
    Crc,
}

impl Index {
    /// An index that is to list `blocks`, and whose first byte was read: zero.
    pub(super) fn new(blocks: Records) -> Self {
        let mut crc = crc32fast::Hasher::new();
        crc.update(&[0]);
        Self {
            blocks,
            listed: Records::default(),
            part: Part::Count,
            len: 1,
            crc,
            bytes: Vec::with_capacity(MAX_NUMBER),
        }
    }

    /// Reads on; how many bytes of `input` it took, and the whole length of the index if that was
    /// the end of it.
    pub(super) fn read(&mut self, input: &[u8]) -> Result<(usize, Option<u64>), Fault> {
        for (at, &byte) in input.iter().enumerate() {
            // What comes after the last number begins with this byte, if there is no padding.
            if matches!(self.part, Part::Padding) && self.len.is_multiple_of(4) {
                self.part = Part::Crc;
            }
            if !matches!(self.part, Part::Crc) {
                self.len += 1;
                self.crc.update(&[byte]);
            }
            if self.take(byte).map_err(|f| f.after(at + 1))? {
                return Ok((at + 1, Some(self.len + 4)));
            }
        }
        Ok((input.len(), None))
    }

    /// Takes one byte; whether it was the last.
    fn take(&mut self, byte: u8) -> Result<bool, Fault> {
        match self.part {
            Part::Padding if byte == 0 => Ok(false),
            Part::Padding => Err(damaged("the index is not padded with zeros")),
            Part::Crc => {
                self.bytes.push(byte);
                let end = self.bytes.len() == 4;
                if end && self.bytes != self.crc.clone().finalize().to_le_bytes() {
                    return Err(damaged("the CRC32 of the index does not match"));
                }
                Ok(end)
            }
            Part::Count | Part::Unpadded | Part::Uncompressed(_) => {
                self.bytes.push(byte);
                if byte & 0x80 == 0 || self.bytes.len() == MAX_NUMBER {
                    let number = number(&mut self.bytes.as_slice())?;
                    self.bytes.clear();
                    self.next(number)?;
                }
                Ok(false)
            }
        }
    }

    /// Goes on behind `number`.
    fn next(&mut self, number: u64) -> Result<(), Fault> {
        match self.part {
            Part::Count if number != self.blocks.count => {
                return Err(damaged("the index lists another number of blocks"));
            }
            Part::Unpadded => {
                self.part = Part::Uncompressed(number);
                return Ok(());
            }
            Part::Uncompressed(unpadded) => self.listed.add([unpadded, number]),
            Part::Count | Part::Padding | Part::Crc => {}
        }
        self.part = Part::Unpadded;
        if self.listed.count == self.blocks.count {
            let sum = |records: &Records| records.sum.clone().finalize();
            if sum(&self.listed) != sum(&self.blocks) {
                return Err(damaged("the index has other sizes than the blocks"));
            }
            self.part = Part::Padding;
        }
        Ok(())
    }
}

/// The number at the start of `rest`, which then begins behind it (section 1.2).
pub(super) fn number(rest: &mut &[u8]) -> Result<u64, Fault> {
    let mut value = 0;
    for (place, byte) in rest.iter().take(MAX_NUMBER).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            // The shortest form is the only one.
            if *byte == 0 && place > 0 {
                break;
            }
            *rest = &rest[place + 1..];
            return Ok(value);
        }
    }
    Err(damaged("a number in the xz data is not valid"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_one_form() {
        let read = |bytes: &[u8]| {
            let mut rest = bytes;
            number(&mut rest).ok().map(|value| (value, rest.len()))
        };
        assert_eq!(read(&[0, 7]), Some((0, 1)));
        assert_eq!(read(&[0x7f]), Some((127, 0)));
        assert_eq!(read(&[0x80, 1]), Some((128, 0)));
        let most = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
        assert_eq!(read(&most), Some((u64::MAX >> 1, 0)));
        assert_eq!(read(&[0x80, 0]), None);
        assert_eq!(read(&[0x80]), None);
        assert_eq!(read(&[0xff; 12]), None);
        assert_eq!(read(&[]), None);
    }
}
