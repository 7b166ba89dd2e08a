//! A part of a source, seen as a source of its own: a partition, or a member of an archive.

use crate::{Error, Extent, Result, Source, check_range};

/// The bytes `offset .. offset + len` of `source`, renumbered from 0.
#[derive(Debug, Clone, Copy)]
pub struct Range<S> {
    source: S,
    offset: u64,
    len: u64,
}

impl<S: Source> Range<S> {
    /// The part of `source` that begins at byte `offset` and is `len` bytes long.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt), code `truncated`, if the part is not
    /// wholly within the source.
    pub fn new(source: S, offset: u64, len: u64) -> Result<Self> {
        match offset.checked_add(len) {
            Some(end) if end <= source.len() => Ok(Self {
                source,
                offset,
                len,
            }),
            _ => Err(Error::new(
                crate::ErrorKind::Corrupt,
                "truncated",
                format!(
                    "a part of {len} bytes is needed but the disk ends at byte {}",
                    source.len()
                ),
            )
            .at(offset)),
        }
    }

    /// All of `source`.
    pub(crate) fn whole(source: S) -> Self {
        let len = source.len();
        Self {
            source,
            offset: 0,
            len,
        }
    }

    /// The part of this part that begins at its byte `offset` and is `len` bytes long.
    ///
    /// # Errors
    /// As [`Range::new`].
    pub(crate) fn part(self, offset: u64, len: u64) -> Result<Self> {
        Range::new(&self, offset, len)?;
        Ok(Self {
            // Within this range, whose end is within the source.
            offset: self.offset + offset,
            len,
            source: self.source,
        })
    }

    /// Where the part begins in the source, in bytes.
    pub fn offset(&self) -> u64 {
        self.offset
    }
}

impl<S: Source> Source for Range<S> {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        check_range(offset, buf.len(), self.len)?;
        // Cannot overflow: `new` checked the end of the range, and `offset` is within it.
        self.source.read_at(self.offset + offset, buf)
    }

    fn data_at(&self, offset: u64) -> Result<Extent> {
        check_range(offset, 1, self.len)?;
        let extent = self.source.data_at(self.offset + offset)?;
        Ok(Extent {
            offset,
            len: extent.len.min(self.len - offset),
            kind: extent.kind,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_renumbered_and_bounded() {
        let bytes: Vec<u8> = (0..100).collect();
        let range = Range::new(&bytes, 10, 20).unwrap();
        let mut buf = [0; 4];
        range.read_at(16, &mut buf).unwrap();
        assert_eq!(buf, [26, 27, 28, 29]);
        assert_eq!(range.read_at(17, &mut buf).unwrap_err().code(), "truncated");
        let extent = range.data_at(5).unwrap();
        assert_eq!((extent.offset, extent.len), (5, 15));
        assert!(range.data_at(20).is_err());
    }

    #[test]
    fn a_part_of_a_range_counts_from_its_beginning() {
        let bytes: Vec<u8> = (0..100).collect();
        let whole = Range::whole(&bytes);
        let inner = whole.part(10, 50).unwrap().part(20, 30).unwrap();
        let mut buf = [0; 2];
        inner.read_at(28, &mut buf).unwrap();
        assert_eq!((buf, inner.offset()), ([58, 59], 30));
        assert_eq!(inner.part(20, 11).unwrap_err().code(), "truncated");
        assert!(whole.part(u64::MAX, 2).is_err());
    }

    #[test]
    fn a_range_past_the_end_is_refused() {
        let bytes = vec![0; 100];
        assert!(Range::new(&bytes, 90, 10).is_ok());
        assert!(Range::new(&bytes, 90, 11).is_err());
        assert!(Range::new(&bytes, u64::MAX, 2).is_err());
    }
}
