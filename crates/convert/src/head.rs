//! The first bytes of what a compressed file decodes to, while most of the file is still on its
//! way.
//!
//! [`decode_head`] is for a look ahead: it reads what there is, takes one thread and little memory,
//! and makes no judgement. Damage, a missing end and unsupported features just end its output; they
//! are for [`crate::decode_to_staging`] to find, which sees the whole file.

use std::io::Read as _;

use crate::stream::Codec;
use crate::{Compression, bzip2, xz, zstd};

/// Decodes the beginning of a `compression` file, whose first bytes are `input`, up to `limit`
/// bytes of output. Fewer come out if the input ends, or is damaged, before.
pub fn decode_head(compression: Compression, input: &[u8], limit: usize) -> Vec<u8> {
    match compression {
        Compression::Gzip => gzip(input, limit),
        Compression::Bzip2 => bzip2::first_block(input, limit),
        Compression::Xz => one_stream::<xz::Stream>(input, limit),
        Compression::Zstd => one_stream::<zstd::Frame>(input, limit),
    }
}

fn gzip(input: &[u8], limit: usize) -> Vec<u8> {
    let mut output = Vec::new();
    // An error leaves in `output` what came before it.
    let _ = flate2::read::MultiGzDecoder::new(input)
        .take(limit as u64)
        .read_to_end(&mut output);
    output
}

/// One stream, or several if the first ones decode to nothing, as `pzstd` writes them.
fn one_stream<C: Codec>(mut input: &[u8], limit: usize) -> Vec<u8> {
    let mut output = vec![0; limit];
    let mut filled = 0;
    let mut codec = C::new();
    while filled < limit {
        let Ok(step) = codec.step(input, &mut output[filled..]) else {
            break;
        };
        filled += step.produced;
        input = &input[step.consumed.min(input.len())..];
        if step.end {
            if filled > 0 || input.is_empty() {
                break;
            }
            codec = C::new();
        } else if step.produced == 0 && (step.consumed == 0 || input.is_empty()) {
            break;
        }
    }
    output.truncate(filled);
    output
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    /// Text that compresses, but not to nothing.
    fn content() -> Vec<u8> {
        (0_u32..300_000)
            .flat_map(|n| n.wrapping_mul(n).to_le_bytes())
            .collect()
    }

    fn packed(compression: Compression, content: &[u8]) -> Vec<u8> {
        match compression {
            Compression::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Default::default());
                encoder.write_all(content).unwrap();
                encoder.finish().unwrap()
            }
            Compression::Bzip2 => {
                let mut encoder =
                    ::bzip2::write::BzEncoder::new(Vec::new(), ::bzip2::Compression::best());
                encoder.write_all(content).unwrap();
                encoder.finish().unwrap()
            }
            Compression::Xz => {
                let options = lzma_rust2::XzOptions::with_preset(1);
                let mut writer = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
                writer.write_all(content).unwrap();
                writer.finish().unwrap()
            }
            Compression::Zstd => {
                // A frame to be skipped first, as `pzstd` writes it.
                let mut bytes = b"\x50\x2a\x4d\x18\x04\0\0\0abcd".to_vec();
                bytes.extend(::zstd::encode_all(content, 3).unwrap());
                bytes
            }
        }
    }

    const ALL: [Compression; 4] = [
        Compression::Gzip,
        Compression::Bzip2,
        Compression::Xz,
        Compression::Zstd,
    ];

    #[test]
    fn the_head_is_what_the_whole_begins_with() {
        let content = content();
        for compression in ALL {
            let packed = packed(compression, &content);
            let head = decode_head(compression, &packed, 70_000);
            assert!(head == content[..70_000], "{compression}");
            let most = &packed[..packed.len() * 9 / 10];
            let head = decode_head(compression, most, 4 << 20);
            assert!(!head.is_empty(), "{compression}: {} bytes in", most.len());
            assert!(content.starts_with(&head), "{compression}");
        }
    }

    #[test]
    fn little_input_gives_little_output_and_never_a_panic() {
        let content = content();
        for compression in ALL {
            let packed = packed(compression, &content);
            for len in [0, 1, 5, 12, 100, 5000] {
                let head = decode_head(compression, &packed[..len], 1 << 20);
                assert!(content.starts_with(&head), "{compression}: {len}");
            }
            let mut damaged = packed;
            for byte in damaged.iter_mut().skip(200).step_by(97) {
                *byte ^= 0x55;
            }
            decode_head(compression, &damaged, 1 << 20);
        }
    }

    #[test]
    fn a_bomb_gives_no_more_than_was_asked_for() {
        let zeros = vec![0; 40 << 20];
        for compression in ALL {
            let packed = packed(compression, &zeros);
            let head = decode_head(compression, &packed, 1 << 20);
            assert_eq!(head.len(), 1 << 20, "{compression}");
        }
    }
}
