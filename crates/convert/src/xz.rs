//! One xz stream ("The .xz File Format" 1.2.1), decoded by lzma-rust2, which also verifies its
//! checks (CRC32, CRC64 or SHA-256) and its index.

use std::io::ErrorKind;

use lzma_rust2::{Action, Status, XzStream};

use crate::stream::{Codec, Fault, Step};
use crate::{Compression, DETECT_LEN};

/// Memory for a dictionary of 64 MiB, which is that of `xz -9`, and the decoder; in KiB.
const MEMORY_KIB: u32 = 65 << 10;

const MAGIC: &[u8] = b"\xfd7zXZ\0";

pub(crate) struct Stream(XzStream);

impl Codec for Stream {
    const COMPRESSION: Compression = Compression::Xz;
    // Section 2.2, "Stream Padding".
    const PADDING: u64 = 4;

    fn new() -> Self {
        Self(XzStream::new_mem_limit(false, MEMORY_KIB))
    }

    fn begins(head: &[u8]) -> bool {
        // A file that ends within the magic is as truncated as one that ends after it.
        MAGIC.starts_with(&head[..head.len().min(MAGIC.len())])
    }

    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, Fault> {
        let before = self.0.total_in();
        match self.0.process(input, output, Action::Run) {
            Ok(result) => Ok(Step {
                consumed: result.bytes_consumed,
                produced: result.bytes_produced,
                end: result.status == Status::StreamEnd,
            }),
            Err(error) if error.kind() == ErrorKind::OutOfMemory => Err(Fault::Memory {
                why: "the xz data needs a dictionary of more than 64 MiB to be unpacked".to_owned(),
                hint: "pack it again with less: `xz -dc IMAGE.xz | xz -6 > NEW.xz`",
            }),
            Err(error) => Err(Fault::Damaged {
                consumed: usize::try_from(self.0.total_in() - before).unwrap_or(input.len()),
                why: error.to_string(),
            }),
        }
    }
}

const _: () = assert!(MAGIC.len() <= DETECT_LEN);
