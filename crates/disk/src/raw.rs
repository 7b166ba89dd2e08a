//! Raw images: the bytes of the disk as they are.
//!
//! Nothing marks a raw image, so any file could be one. It is accepted only with a valid partition
//! table, which a bootable disk has; see [`partition`]. Extents are those of the
//! source: a sparse file is walked along its holes.

use crate::{Error, ErrorKind, Extent, Format, Limits, Result, Source, partition};

/// A raw disk: the source itself.
#[derive(Debug)]
pub struct Disk<S> {
    source: S,
    warnings: Vec<String>,
}

impl<S: Source> Disk<S> {
    /// Accepts `source` as a raw disk if it carries a valid MBR or GPT.
    ///
    /// # Errors
    /// Those of [`partition::read`]; [`ErrorKind::Refused`], code `virtual-size`, above the limit;
    /// [`ErrorKind::Corrupt`], code `truncated`, if a partition ends past the end of the file,
    /// which is what a partly transferred image looks like.
    pub fn open_with(source: S, limits: &Limits) -> Result<Self> {
        limits
            .check(source.len())
            .map_err(|error| error.in_format(Format::Raw))?;
        let table = partition::read(&source)?;
        if table.required_len > source.len() {
            return Err(Error::new(
                ErrorKind::Corrupt,
                "truncated",
                format!(
                    "the partition table describes {} bytes but the file has {}",
                    table.required_len,
                    source.len()
                ),
            )
            .in_format(Format::Raw)
            .with_hint("the file is incomplete: compare its size and checksum with the original"));
        }
        Ok(Self {
            source,
            warnings: table.warnings,
        })
    }
}

impl<S: Source> Source for Disk<S> {
    fn len(&self) -> u64 {
        self.source.len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.source.read_at(offset, buf)
    }

    fn data_at(&self, offset: u64) -> Result<Extent> {
        self.source.data_at(offset)
    }
}

impl<S: Source> crate::Disk for Disk<S> {
    fn format(&self) -> Format {
        Format::Raw
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }
}
