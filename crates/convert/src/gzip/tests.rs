//! Small chunks make every way through the chain short: streams of a few hundred kilobytes are
//! decoded here with dozens of guesses, right and wrong ones.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;

use flate2::Compression as Level;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use proptest::prelude::*;

use super::decode_in_chunks;
use crate::staging::Output;
use crate::{Control, Result};

/// Text-like, random, repeated and zero stretches, as on a disk.
fn content(seed: u64, stretches: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut bytes = Vec::new();
    for _ in 0..stretches {
        let len = (next() % 60_000) as usize;
        match next() % 6 {
            0 => bytes.extend((0..len).map(|_| next() as u8)),
            1 => bytes.resize(bytes.len() + len * 8, 0),
            2 => bytes.resize(bytes.len() + len * 4, next() as u8),
            3 => {
                let unit: Vec<u8> = (0..next() % 40 + 2).map(|_| next() as u8).collect();
                bytes.extend(unit.iter().cycle().take(len));
            }
            4 if !bytes.is_empty() => {
                let back = (next() as usize % 40_000).clamp(1, bytes.len());
                let copied = bytes[bytes.len() - back..].to_vec();
                bytes.extend(copied.iter().cycle().take(len));
            }
            _ => {
                while bytes.len() % 70_000 < len {
                    write!(bytes, "{} {:x},", next() % 1000, next() % 77).unwrap();
                }
            }
        }
    }
    bytes
}

fn gzip(bytes: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Level::new(level));
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// As pigz writes: a byte boundary every so often, the window kept.
fn gzip_with_flushes(bytes: &[u8], every: usize) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Level::new(6));
    for part in bytes.chunks(every) {
        encoder.write_all(part).unwrap();
        encoder.flush().unwrap();
    }
    encoder.finish().unwrap()
}

fn decode(stream: &[u8], threads: usize, chunk: u64) -> Result<Vec<u8>> {
    let file = tempfile::tempfile().unwrap();
    let len = decode_into(stream, &file, threads, chunk)?;
    let mut bytes = vec![0; len as usize];
    file.set_len(len).unwrap();
    file.read_exact_at(&mut bytes, 0).unwrap();
    Ok(bytes)
}

fn decode_into(stream: &[u8], file: &File, threads: usize, chunk: u64) -> Result<u64> {
    let out = Output::new(file, u64::MAX, None)?;
    decode_in_chunks(stream, &out, &Control::none(), threads, chunk)
}

fn assert_same(stream: &[u8], expected: &[u8]) {
    for (threads, chunk) in [(1, 1 << 20), (2, 4 << 10), (3, 32 << 10)] {
        let found = decode(stream, threads, chunk).unwrap();
        assert_eq!(found.len(), expected.len(), "chunks of {chunk}");
        let differs = found.iter().zip(expected).position(|(a, b)| a != b);
        assert_eq!(differs, None, "chunks of {chunk}");
    }
}

#[test]
fn every_level_comes_back() {
    let bytes = content(42, 60);
    for level in [0, 1, 3, 6, 9] {
        assert_same(&gzip(&bytes, level), &bytes);
    }
    assert_same(&gzip_with_flushes(&bytes, 10_000), &bytes);
    assert_same(&gzip(&[], 6), &[]);
}

#[test]
fn members_follow_each_other() {
    let bytes = content(7, 60);
    for size in [500, 20_000, 150_000] {
        let mut stream = Vec::new();
        for (n, part) in bytes.chunks(size).enumerate() {
            stream.extend(gzip(part, [1, 6, 9][n % 3]));
        }
        assert_same(&stream, &bytes);
        stream.extend([0; 1000]);
        assert_same(&stream, &bytes);
        let end = stream.len() - 1000;
        stream[end + 999] = 1;
        let error = decode(&stream, 2, 4096).unwrap_err();
        assert_eq!(
            (error.code(), error.offset()),
            ("trailing-garbage", Some(end as u64))
        );
    }
}

#[test]
fn a_header_may_have_all_its_fields() {
    let mut stream = flate2::GzBuilder::new()
        .filename("disk.img")
        .comment("a disk")
        .extra(vec![1, 2, 3, 4])
        .write(Vec::new(), Level::fast());
    stream.write_all(b"content").unwrap();
    assert_same(&stream.finish().unwrap(), b"content");
}

#[test]
fn a_stream_that_ends_too_early_is_truncated() {
    let bytes = content(3, 8);
    let stream = gzip(&bytes, 6);
    let step = stream.len() / 97 + 1;
    for len in (2..40)
        .chain((40..stream.len()).step_by(step))
        .chain([stream.len() - 1])
    {
        let error = decode(&stream[..len], 2, 8192).unwrap_err();
        assert_eq!(
            (error.code(), error.offset()),
            ("truncated", Some(len as u64)),
            "{len}"
        );
    }
}

#[test]
fn a_reference_before_the_start_of_a_member_is_refused() {
    // The second member, alone, refers to nothing. With its first block's data removed it would
    // refer to the first member, which deflate does not allow.
    let bytes = content(11, 40);
    let whole = gzip_with_flushes(&bytes, 30_000);
    let mut reader = &whole[..];
    let mut expected = Vec::new();
    MultiGzDecoder::new(&mut reader)
        .read_to_end(&mut expected)
        .unwrap();
    // The empty stored block of a flush marks where a block ends.
    let marker = [0, 0, 0xff, 0xff];
    let cut = (whole.len() / 2..)
        .find(|&at| whole[at..].starts_with(&marker))
        .unwrap()
        + 4;
    let mut stream = whole[..10].to_vec();
    stream.extend(&whole[cut..]);
    for chunk in [2 << 10, 1 << 20] {
        assert_eq!(
            decode(&stream, 2, chunk).unwrap_err().code(),
            "corrupt-stream"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Damage is found, or was none; and it is found alike however the work is divided.
    #[test]
    fn damage_never_passes(seed in any::<u64>(), at in any::<prop::sample::Index>(), flip in 1_u8..) {
        let bytes = content(seed, 6);
        let mut stream = gzip(&bytes, (seed % 10) as u32);
        let at = at.index(stream.len());
        stream[at] ^= flip;
        let results = [(1, 1 << 20), (2, 4 << 10)].map(|(threads, chunk)| decode(&stream, threads, chunk));
        let mut peer = Vec::new();
        let accepted = MultiGzDecoder::new(&stream[..]).read_to_end(&mut peer).is_ok();
        for result in &results {
            match result {
                Ok(found) => prop_assert!(*found == bytes),
                Err(error) => prop_assert!(!accepted || error.code() == "trailing-garbage", "{error}"),
            }
        }
        prop_assert_eq!(results[0].is_ok(), results[1].is_ok());
    }
}
