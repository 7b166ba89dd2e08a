//! One Zstandard frame (RFC 8878), or a skippable one, decoded by libzstd, which also verifies the
//! checksum where there is one.

use zstd::stream::raw::{DParameter, Decoder, Operation};

use crate::Compression;
use crate::stream::{Codec, Fault, Step};

/// log2 of the largest window: what `zstd -d` takes without being told otherwise, and
/// `zstd --long` writes.
const MAX_WINDOW_LOG: u32 = 27;

pub(crate) struct Frame {
    /// Absent if libzstd could not be set up.
    decoder: Option<Decoder<'static>>,
}

impl Codec for Frame {
    const COMPRESSION: Compression = Compression::Zstd;
    const PADDING: u64 = 0;

    fn new() -> Self {
        let decoder = Decoder::new().and_then(|mut decoder| {
            decoder.set_parameter(DParameter::WindowLogMax(MAX_WINDOW_LOG))?;
            Ok(decoder)
        });
        Self {
            decoder: decoder.ok(),
        }
    }

    fn begins(head: &[u8]) -> bool {
        // A file that ends within the magic is as truncated as one that ends after it.
        let mut word = [0x28, 0xb5, 0x2f, 0xfd];
        let len = head.len().min(4);
        word[..len].copy_from_slice(&head[..len]);
        Compression::detect(&word) == Some(Compression::Zstd)
    }

    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, Fault> {
        let Some(decoder) = &mut self.decoder else {
            return Err(Fault::Memory {
                why: "there is not enough memory to unpack the zstd data".to_owned(),
                hint: "try again later",
            });
        };
        match decoder.run_on_buffers(input, output) {
            Ok(status) => Ok(Step {
                consumed: status.bytes_read,
                produced: status.bytes_written,
                end: status.remaining == 0,
            }),
            // libzstd's name for `ZSTD_error_frameParameter_windowTooLarge`.
            Err(error) if error.to_string().contains("too much memory") => Err(Fault::Memory {
                why: "the zstd data needs a window of more than 128 MiB to be unpacked".to_owned(),
                hint: "pack it again with less: `zstd -dc --long=31 IMAGE.zst | zstd > NEW.zst`",
            }),
            Err(error) => Err(Fault::Damaged {
                consumed: 0,
                why: error.to_string(),
            }),
        }
    }
}
