//! One Zstandard frame (RFC 8878) decompressed to a length known beforehand.
//!
//! libzstd does it, several times as fast as what is written in Rust alone; a browser has to do
//! with the latter. Both take the frame at the beginning of their input and leave what follows it
//! alone, both verify its checksum where there is one, and the tests hold them against each other.

#[cfg(not(target_family = "wasm"))]
pub(super) use native::Decoder;
#[cfg(target_family = "wasm")]
pub(super) use pure::Decoder;

#[cfg(not(target_family = "wasm"))]
mod native {
    use zstd::bulk::Decompressor;
    use zstd::zstd_safe::find_frame_compressed_size;

    /// The state that decompressing a frame needs, to be used again for the next one.
    pub(in super::super) struct Decoder(Decompressor<'static>);

    impl Decoder {
        /// `None` if there is no memory for it.
        pub(in super::super) fn new() -> Option<Self> {
            Decompressor::new().ok().map(Self)
        }

        /// `None` if the frame is damaged or its content is not exactly as long as `out`.
        pub(in super::super) fn decode(&mut self, input: &[u8], out: &mut [u8]) -> Option<()> {
            // It would take what follows the frame for another one.
            let len = find_frame_compressed_size(input).ok()?;
            let frame = input.get(..len)?;
            // The content lies in one piece, so no window is kept, whatever the frame asks for.
            let filled = self.0.decompress_to_buffer(frame, out).ok()?;
            (filled == out.len()).then_some(())
        }
    }
}

#[cfg(any(test, target_family = "wasm"))]
mod pure {
    use std::io::Read;

    use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

    /// The largest window that is accepted. QEMU writes at most 2 MiB, the size of the largest
    /// cluster; a larger window could not be of use.
    const MAX_WINDOW: u64 = 8 << 20;

    /// The state that decompressing a frame needs, to be used again for the next one.
    pub(in super::super) struct Decoder(FrameDecoder);

    impl Decoder {
        /// Never `None`, unlike libzstd's.
        pub(in super::super) fn new() -> Option<Self> {
            let mut decoder = FrameDecoder::new();
            decoder.set_max_window_size(MAX_WINDOW);
            Some(Self(decoder))
        }

        /// `None` if the frame is damaged or its content is not exactly as long as `out`.
        pub(in super::super) fn decode(&mut self, mut input: &[u8], out: &mut [u8]) -> Option<()> {
            let decoder = &mut self.0;
            decoder.reset(&mut input).ok()?;
            let mut filled = 0;
            while !decoder.is_finished() {
                // Block by block: a block is at most 128 KiB, so a bomb is seen before it unfolds.
                decoder
                    .decode_blocks(&mut input, BlockDecodingStrategy::UptoBlocks(1))
                    .ok()?;
                filled += drain(decoder, &mut out[filled..])?;
            }
            filled += drain(decoder, &mut out[filled..])?;
            if filled != out.len() || decoder.can_collect() > 0 {
                return None;
            }
            match decoder.get_checksum_from_data() {
                Some(sum) if decoder.get_calculated_checksum() != Some(sum) => None,
                _ => Some(()),
            }
        }
    }

    /// Moves what the decoder has finished to `out`; `None` if it is more than fits.
    fn drain(decoder: &mut FrameDecoder, out: &mut [u8]) -> Option<usize> {
        let ready = decoder.can_collect();
        let part = out.get_mut(..ready)?;
        decoder.read_exact(part).ok()?;
        Some(ready)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use zstd::bulk::Compressor;
    use zstd::zstd_safe::CParameter;

    /// What each decoder makes of `input` when `len` bytes are expected: libzstd's first.
    fn both(input: &[u8], len: usize) -> [Option<Vec<u8>>; 2] {
        let (mut native, mut pure) = (vec![0; len], vec![0; len]);
        let done = [
            super::native::Decoder::new()
                .unwrap()
                .decode(input, &mut native),
            super::pure::Decoder::new()
                .unwrap()
                .decode(input, &mut pure),
        ];
        [done[0].map(|()| native), done[1].map(|()| pure)]
    }

    proptest! {
        #[test]
        fn the_decoders_agree(
            seed in prop::collection::vec(any::<u8>(), 1..400),
            repeat in 1usize..300,
            level in -5i32..19,
            checksum: bool,
            sized: bool,
            after in prop::collection::vec(any::<u8>(), 0..600),
        ) {
            let content = seed.repeat(repeat);
            let mut compressor = Compressor::new(level).unwrap();
            compressor.set_parameter(CParameter::ChecksumFlag(checksum)).unwrap();
            compressor.set_parameter(CParameter::ContentSizeFlag(sized)).unwrap();
            let frame = compressor.compress(&content).unwrap();
            let input = [frame.as_slice(), &after].concat();
            let [native, pure] = both(&input, content.len());
            prop_assert_eq!(native.as_deref(), Some(content.as_slice()));
            prop_assert_eq!(pure.as_deref(), Some(content.as_slice()));
            for wrong in [content.len() - 1, content.len() + 1] {
                prop_assert_eq!(both(&input, wrong), [None, None]);
            }
            prop_assert_eq!(both(&frame[..frame.len() - 1], content.len()), [None, None]);
        }

        #[test]
        fn damage_is_no_panic(mut frame in frame(), at: prop::sample::Index, by in 1u8..) {
            let at = at.index(frame.len());
            frame[at] ^= by;
            both(&frame, 5000);
        }
    }

    fn frame() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(any::<u8>(), 1..100).prop_map(|seed| {
            let content: Vec<u8> = seed.iter().copied().cycle().take(5000).collect();
            zstd::bulk::compress(&content, 3).unwrap()
        })
    }
}
