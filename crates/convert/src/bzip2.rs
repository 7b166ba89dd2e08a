//! One bzip2 stream, decoded by libbz2-rs, which also verifies the CRC of each block.

use bzip2::{Decompress, Error, Status};

use crate::Compression;
use crate::stream::{Codec, Fault, Step};

pub(crate) struct Stream(Decompress);

impl Codec for Stream {
    const COMPRESSION: Compression = Compression::Bzip2;
    const MAGIC: &'static [u8] = b"BZh";

    fn new() -> Self {
        Self(Decompress::new(false))
    }

    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, Fault> {
        let (read, written) = (self.0.total_in(), self.0.total_out());
        let result = self.0.decompress(input, output);
        let consumed = usize::try_from(self.0.total_in() - read).unwrap_or(input.len());
        let fault = |why: &str| Fault {
            consumed,
            why: why.to_owned(),
        };
        match result {
            Ok(Status::MemNeeded) => Err(fault("there is not enough memory")),
            Ok(status) => Ok(Step {
                consumed,
                produced: usize::try_from(self.0.total_out() - written).unwrap_or(output.len()),
                end: status == Status::StreamEnd,
            }),
            Err(Error::DataMagic) => Err(fault("the stream header is invalid")),
            Err(_) => Err(fault("a block is invalid or its CRC does not match")),
        }
    }
}
