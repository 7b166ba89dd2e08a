//! One gzip member (RFC 1952), decoded by zlib-rs, which also verifies its CRC-32 and length.

use flate2::{Decompress, FlushDecompress, Status};

use crate::stream::{Codec, Fault, Step};

/// The largest window that deflate can have.
const WINDOW_BITS: u8 = 15;

pub(crate) struct Member(Decompress);

impl Codec for Member {
    /// ID1 and ID2 of RFC 1952 section 2.3.1.
    const MAGIC: &'static [u8] = &[0x1f, 0x8b];
    /// As gzip itself does: archives padded to a tape or disk block are whole.
    const ZERO_PADDING: bool = true;

    fn new() -> Self {
        Self(Decompress::new_gzip(WINDOW_BITS))
    }

    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, Fault> {
        let (read, written) = (self.0.total_in(), self.0.total_out());
        let result = self.0.decompress(input, output, FlushDecompress::None);
        let consumed = usize::try_from(self.0.total_in() - read).unwrap_or(input.len());
        match result {
            Ok(status) => Ok(Step {
                consumed,
                produced: usize::try_from(self.0.total_out() - written).unwrap_or(output.len()),
                end: status == Status::StreamEnd,
            }),
            Err(error) => Err(Fault {
                consumed,
                why: match error.message() {
                    Some("incorrect data check") => "the CRC-32 does not match".to_owned(),
                    Some("incorrect length check") => "the length does not match".to_owned(),
                    Some(message) => message.to_owned(),
                    None => "the deflate data is invalid".to_owned(),
                },
            }),
        }
    }
}
