//! What is special about xz and zstd: what the tools write, every cut, every kind of damage, and
//! files that are made to cost more than they are worth.

use std::cell::Cell;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use abbild_convert::{Control, Error, ErrorKind, Progress, StagingOptions, decode_to_staging};
use abbild_disk::Source;

use crate::support::{decode, noise, run, text};

const LIMIT: u64 = 64 << 20;

/// What `program` makes of `bytes`.
fn packed(program: &str, options: &[&str], bytes: &[u8]) -> Vec<u8> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    let path = file.path().to_str().unwrap();
    run(program, &[options, &["-c", path]].concat())
}

fn failure(input: &[u8]) -> Error {
    decode(input).unwrap_err()
}

/// Small files of every kind of check and of several blocks or frames, and what is in them.
fn small() -> (Vec<u8>, Vec<Vec<u8>>) {
    let content = [text(1500, 1), noise(300, 2), vec![0; 1000]].concat();
    let files = [
        ("xz", &["--check=none"][..]),
        ("xz", &["--check=crc32"]),
        ("xz", &["--check=crc64", "--block-size=700"]),
        ("xz", &["--check=sha256", "-T2", "--block-size=700"]),
        ("zstd", &["--check"]),
        ("zstd", &["--no-check"]),
        ("pzstd", &["-q", "-p", "2"]),
    ];
    let files = files.map(|(program, options)| packed(program, options, &content));
    (content, files.to_vec())
}

#[test]
fn every_option_of_the_tools_is_read() {
    let content = [text(300_000, 3), vec![0; 1 << 20], noise(200_000, 4)].concat();
    for (program, options) in [
        ("xz", &["-9e"][..]),
        ("xz", &["-T2", "--block-size=100000"]),
        ("xz", &["--x86", "--lzma2=preset=1"]),
        ("xz", &["--delta=dist=4", "--lzma2=preset=1"]),
        ("xz", &["--arm64", "--lzma2=preset=1"]),
        ("xz", &["--lzma2=preset=1,lc=0,lp=4,pb=0"]),
        ("zstd", &["-T0", "--long=27"]),
        ("zstd", &["--fast=9"]),
        ("zstd", &["-19", "--no-content-size"]),
        ("pzstd", &["-q", "-p", "2"]),
    ] {
        let one = packed(program, options, &content);
        let twice = [one.clone(), one].concat();
        let bytes = decode(&twice).unwrap().0;
        assert!(
            bytes == [&content[..], &content].concat(),
            "{program} {options:?}"
        );
    }
}

/// Below 10 bytes it may not yet be recognisable, hence no compressed file at all. A cut between
/// two frames is no damage, but the beginning of the content.
#[test]
fn every_cut_is_found_and_placed() {
    let (content, files) = small();
    for file in files {
        assert!(decode(&file).unwrap().0 == content);
        for cut in 10..file.len() {
            match decode(&file[..cut]) {
                Ok((bytes, _)) => {
                    assert!(content.starts_with(&bytes) && !file.starts_with(b"\xfd7z"))
                }
                Err(error) => {
                    assert_eq!(error.code(), "truncated", "cut at {cut}: {error}");
                    assert_eq!(error.offset(), Some(cut as u64));
                }
            }
        }
    }
}

/// Damage is found, or does not change the content: the last bits of compressed data may have no
/// meaning. Content is only covered where there is a checksum.
#[test]
fn every_byte_matters() {
    let (content, files) = small();
    for (number, file) in files.iter().enumerate() {
        let is_checked = match file[..] {
            [0xfd, ..] => file[7] != 0,
            [0x28, _, _, _, descriptor, ..] => descriptor & 4 != 0,
            _ => false,
        };
        for at in 6..file.len() {
            for mask in [1, 0x80] {
                let mut input = file.clone();
                input[at] ^= mask;
                match decode(&input) {
                    Ok((bytes, _)) => assert!(
                        !is_checked || bytes == content,
                        "file {number}, byte {at} ^ {mask:#x} was accepted"
                    ),
                    Err(error) => {
                        let offset = error.offset().unwrap_or_default();
                        assert!(offset <= input.len() as u64, "{error}");
                        assert_ne!(error.kind(), ErrorKind::Io, "{error}");
                    }
                }
            }
        }
    }
}

/// An xz stream of `blocks`, without checks; `records` is what its index lists.
fn xz_of(blocks: &[u8], records: &[(u64, u64)], count: u64) -> Vec<u8> {
    let crc = |bytes: &[u8]| crc32fast::hash(bytes).to_le_bytes();
    let number = |out: &mut Vec<u8>, mut value: u64| {
        while value >= 0x80 {
            out.push(value as u8 | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
    };
    let mut index = vec![0];
    number(&mut index, count);
    for &(unpadded, uncompressed) in records {
        number(&mut index, unpadded);
        number(&mut index, uncompressed);
    }
    index.resize(index.len().next_multiple_of(4), 0);
    index.extend(crc(&index));
    let mut end = (index.len() as u32 / 4 - 1).to_le_bytes().to_vec();
    end.extend([0, 0]);
    let flags = [0, 0];
    [
        b"\xfd7zXZ\0",
        &flags[..],
        &crc(&flags),
        blocks,
        &index,
        &crc(&end),
        &end,
        b"YZ",
    ]
    .concat()
}

/// A block of one byte, with a dictionary of the size that `code` says.
fn block(flags: u8, fields: &[u8], code: u8) -> Vec<u8> {
    let mut header = [&[0, flags], fields, &[0x21, 1, code]].concat();
    header.resize(header.len().next_multiple_of(4), 0);
    header[0] = (header.len() / 4) as u8;
    header.extend(crc32fast::hash(&header).to_le_bytes());
    // One chunk as it is, with a new dictionary; the end; padding.
    [&header[..], b"\x01\0\0x\0\0\0\0"].concat()
}

#[test]
fn an_index_must_be_that_of_the_blocks() {
    let blocks = block(0, &[], 0).repeat(2);
    let good = (17, 1);
    assert_eq!(decode(&xz_of(&blocks, &[good; 2], 2)).unwrap().0, b"xx");
    for (records, count, why) in [
        (&[good][..], 1, "number of blocks"),
        (&[good; 3], 3, "number of blocks"),
        (&[good, (17, 2)], 2, "sizes"),
        (&[good, (18, 1)], 2, "sizes"),
        (&[(1, 17), good], 2, "sizes"),
        (&[good, (1 << 62, 1 << 62)], 2, "sizes"),
        (&[good; 2], u64::MAX >> 1, "number of blocks"),
        (&[good; 2], u64::MAX, "number in the xz data"),
        (&[good, good, (0, 1)], 2, "padded"),
    ] {
        let error = failure(&xz_of(&blocks, records, count));
        assert_eq!(error.code(), "corrupt-stream");
        assert!(error.to_string().contains(why), "{records:?}: {error}");
    }
}

#[test]
fn a_block_header_must_be_valid() {
    for (block, code, why) in [
        (block(0x40, &[5], 0), None, ""),
        (block(0xc0, &[5, 1], 0), None, ""),
        (block(0x80, &[2], 0), Some("corrupt-stream"), "size"),
        (block(0x40, &[6], 0), Some("corrupt-stream"), "size"),
        (block(0x40, &[0x85, 0], 0), Some("corrupt-stream"), "number"),
        (block(4, &[], 0), Some("unsupported-stream"), "flags"),
        (block(0, &[], 28), None, ""),
        (block(0, &[], 29), Some("decoder-memory"), "64 MiB"),
        (block(0, &[], 40), Some("decoder-memory"), "64 MiB"),
        (block(0, &[], 41), Some("corrupt-stream"), "dictionary"),
        (block(1, &[3, 1, 0], 0), None, ""),
        (block(1, &[3, 0], 0), Some("corrupt-stream"), "delta"),
        (
            block(1, &[4, 4, 1, 0, 0, 0], 0),
            Some("unsupported-stream"),
            "properties",
        ),
        (
            block(1, &[0x30, 0], 0),
            Some("unsupported-stream"),
            "unknown",
        ),
        (block(1, &[0x21, 1, 0], 0), Some("corrupt-stream"), "LZMA2"),
        (block(1, &[4, 90], 0), Some("corrupt-stream"), "short"),
        (
            block(2, &[4, 0, 4, 0], 0),
            Some("unsupported-stream"),
            "two filters",
        ),
    ] {
        let unpadded = block.len() as u64 - 3;
        match (decode(&xz_of(&block, &[(unpadded, 1)], 1)), code) {
            (Ok((bytes, _)), None) => assert_eq!(bytes, b"x"),
            (Err(error), Some(code)) => {
                assert_eq!(error.code(), code, "{error}");
                assert!(error.to_string().contains(why), "{error}");
                assert!(error.hint().is_some());
            }
            (decoded, _) => panic!("{block:x?}: {decoded:?}"),
        }
    }
}

#[test]
fn unknown_checks_are_named() {
    let mut input = xz_of(&[], &[], 0);
    assert_eq!(decode(&input).unwrap().0, b"");
    input[7] = 2;
    let crc = crc32fast::hash(&input[6..8]).to_le_bytes();
    input[8..12].copy_from_slice(&crc);
    let error = failure(&input);
    assert_eq!(error.code(), "unsupported-stream");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

/// This process's memory in use at most so far, in bytes.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    let kib = line.split_whitespace().nth(1).unwrap();
    kib.parse::<u64>().unwrap() << 10
}

/// The header of an xz stream without checks, and one-byte blocks up to the end of the file.
struct Blocks {
    header: Vec<u8>,
    block: Vec<u8>,
    count: u64,
}

impl Source for Blocks {
    fn len(&self) -> u64 {
        self.header.len() as u64 + self.count * self.block.len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> abbild_disk::Result<()> {
        let header = self.header.len();
        for (byte, at) in buf.iter_mut().zip(offset as usize..) {
            *byte = match at.checked_sub(header) {
                None => self.header[at],
                Some(at) => self.block[at % self.block.len()],
            };
        }
        Ok(())
    }
}

/// Blocks must not be remembered, nor each be given the large dictionary that it asks for.
#[test]
fn many_small_blocks_take_no_memory() {
    let grown = |count| {
        let input = Blocks {
            header: xz_of(&[], &[], 0)[..12].to_vec(),
            block: block(0, &[], 28),
            count,
        };
        let out = tempfile::tempfile().unwrap();
        let options = StagingOptions { limit: LIMIT };
        let before = peak_memory();
        let error = decode_to_staging(&input, &out, options, &Control::none()).unwrap_err();
        assert_eq!(error.code(), "truncated");
        assert_eq!(error.offset(), Some(input.len()));
        peak_memory() - before
    };
    // Buffers are made and filled.
    grown(1000);
    let bytes = grown(500_000);
    assert!(bytes < 4 << 20, "{bytes} bytes");
}

/// Runs with a control that is asked to stop once `done` bytes of the input were taken.
fn stopped_at(input: &[u8], done: u64) -> (Error, u64) {
    let stop = AtomicBool::new(false);
    let last = Cell::new(0);
    let progress = |p: Progress| {
        last.set(p.done);
        stop.store(p.done >= done, Ordering::Relaxed);
    };
    let control = Control::none().with_progress(&progress).with_cancel(&stop);
    let out = tempfile::tempfile().unwrap();
    let options = StagingOptions { limit: LIMIT };
    let error = decode_to_staging(input, &out, options, &control).unwrap_err();
    (error, last.get())
}

#[test]
fn a_wish_to_stop_is_heard() {
    let small_blocks = xz_of(&block(0, &[], 0).repeat(200_000), &[], 0);
    let empty_frames = b"\x50\x2a\x4d\x18\0\0\0\0".repeat(500_000);
    let content = noise(4_000_000, 5);
    let range: Range<u64> = 1_000_000..3_500_000;
    for input in [
        small_blocks,
        empty_frames,
        packed("xz", &["-0"], &content),
        packed("zstd", &["-1"], &content),
    ] {
        let (error, at) = stopped_at(&input, range.start);
        assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
        assert!(range.contains(&at), "stopped at {at}");
    }
}

#[test]
fn progress_only_grows_and_ends_at_the_end() {
    let content = [noise(3_000_000, 6), vec![0; 20 << 20]].concat();
    for (program, options) in [("xz", ["-0", "-T2"]), ("zstd", ["-1", "-T2"])] {
        let input = packed(program, &options, &content);
        let last = Cell::new(0);
        let progress = |p: Progress| {
            assert!(p.done >= last.get());
            assert_eq!(p.total, Some(input.len() as u64));
            last.set(p.done);
        };
        let control = Control::none().with_progress(&progress);
        let out = tempfile::tempfile().unwrap();
        let options = StagingOptions { limit: LIMIT };
        decode_to_staging(input.as_slice(), &out, options, &control).unwrap();
        assert_eq!(last.get(), input.len() as u64, "{program}");
    }
}
