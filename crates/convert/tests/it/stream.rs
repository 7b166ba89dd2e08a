//! Uploads as they arrive: whole, in several streams, cut off, padded, nested, or far too large.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use abbild_convert::{
    Compression, Control, Decoded, Error, ErrorKind, StagingOptions, decode_to_staging,
};
use abbild_disk::Source;
use flate2::write::GzEncoder;
use proptest::prelude::*;

use crate::support::{decode, noise, run, text};

const LIMIT: u64 = 64 << 20;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn bzip2(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let options = lzma_rust2::XzOptions::with_preset(0);
    let mut encoder = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn compress(compression: Compression, bytes: &[u8]) -> Vec<u8> {
    match compression {
        Compression::Gzip => gzip(bytes),
        Compression::Bzip2 => bzip2(bytes),
        Compression::Xz => xz(bytes),
        Compression::Zstd => zstd(bytes),
        other => panic!("{other} is new"),
    }
}

const ALL: [Compression; 4] = [
    Compression::Gzip,
    Compression::Bzip2,
    Compression::Xz,
    Compression::Zstd,
];

fn options(limit: u64) -> StagingOptions {
    StagingOptions { limit }
}

fn decode_into(out: &File, input: &[u8], limit: u64) -> Result<Decoded, Error> {
    decode_to_staging(input, out, options(limit), &Control::none())
}

/// Text, three megabytes of zeros, noise, and an odd tail.
fn sample() -> Vec<u8> {
    let mut bytes = text(300_001, 1);
    bytes.resize(bytes.len() + (3 << 20), 0);
    bytes.extend(noise(200_000, 2));
    bytes.extend([0; 99]);
    bytes
}

#[test]
fn several_streams_are_one_image() {
    let sample = sample();
    for compression in ALL {
        let whole = compress(compression, &sample);
        let (bytes, decoded) = decode(&whole).unwrap();
        assert!(bytes == sample);
        assert_eq!(decoded.layers, [compression]);

        let pieces: Vec<u8> = sample
            .chunks(123_456)
            .chain([[].as_slice()])
            .flat_map(|piece| compress(compression, piece))
            .collect();
        assert!(decode(&pieces).unwrap().0 == sample, "{compression}");
    }
}

/// The tools' own output has header fields and block sizes that our encoders do not write.
#[test]
fn what_the_tools_write_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk image.raw");
    std::fs::write(&path, sample()).unwrap();
    for (program, options) in [
        ("gzip", ["-9", "-k"]),
        ("gzip", ["-1", "-k"]),
        ("pigz", ["-6", "-k"]),
        ("bzip2", ["-9", "-k"]),
        ("bzip2", ["-1", "-k"]),
        ("lbzip2", ["-1", "-k"]),
        ("xz", ["-0", "-T1"]),
        ("xz", ["--check=sha256", "--block-size=300000"]),
        ("xz", ["-0", "-T2"]),
        ("zstd", ["-19", "--no-check"]),
        ("zstd", ["--long=27", "-T2"]),
    ] {
        let [first, second] = options;
        let input = run(program, &[first, second, "-c", path.to_str().unwrap()]);
        assert!(
            decode(&input).unwrap().0 == sample(),
            "{program} {options:?}"
        );
    }
}

#[test]
fn an_uncompressed_upload_is_copied() {
    for sample in [sample(), Vec::new(), vec![0x1f, 0x8b]] {
        let (bytes, decoded) = decode(&sample).unwrap();
        assert!(bytes == sample);
        assert_eq!(decoded.layers, []);
    }
}

#[test]
fn zeros_become_holes() {
    let mut disk = vec![0; 40 << 20];
    disk[20 << 20] = 1;
    for input in ALL
        .map(|c| compress(c, &disk))
        .into_iter()
        .chain([disk.clone()])
    {
        let out = tempfile::tempfile().unwrap();
        decode_into(&out, &input, LIMIT).unwrap();
        let metadata = out.metadata().unwrap();
        assert_eq!(metadata.len(), 40 << 20);
        assert!(
            metadata.blocks() * 512 <= 128 << 10,
            "{}",
            metadata.blocks()
        );
    }
}

#[test]
fn a_cut_anywhere_is_found_and_placed() {
    let sample = text(50_000, 3);
    for compression in ALL {
        let first = compress(compression, &sample);
        let whole = [first.clone(), first.clone()].concat();
        // Below 10 bytes it is not yet recognisable, hence no compressed file at all.
        for cut in (10..whole.len()).step_by(7).chain([whole.len() - 1]) {
            if cut == first.len() {
                continue;
            }
            let error = decode(&whole[..cut]).unwrap_err();
            assert_eq!(
                error.code(),
                "truncated",
                "{compression} cut at {cut}: {error}"
            );
            assert_eq!(error.offset(), Some(cut as u64), "{compression}");
            assert_eq!(error.kind(), ErrorKind::Corrupt);
            assert!(error.hint().is_some());
        }
        assert!(decode(&whole[..first.len()]).unwrap().0 == sample);
    }
}

#[test]
fn trailing_garbage_is_placed() {
    let sample = text(50_000, 4);
    for compression in ALL {
        let whole = compress(compression, &sample);
        for garbage in [
            b"x".as_slice(),
            b"\x1e\x8b",
            b"garbage after the end",
            &[0, 0, 1],
        ] {
            let error = decode(&[&whole, garbage].concat()).unwrap_err();
            assert_eq!(
                error.code(),
                "trailing-garbage",
                "{compression} {garbage:?}"
            );
            assert_eq!(error.offset(), Some(whole.len() as u64));
        }
    }
}

#[test]
fn gzip_and_xz_may_be_padded_with_zeros() {
    let sample = text(50_000, 5);
    let padding = vec![0; 600_000];
    let padded = [gzip(&sample), padding.clone()].concat();
    assert!(decode(&padded).unwrap().0 == sample);
    let padded = [xz(&sample), vec![0; 8], xz(&sample), vec![0; 4]].concat();
    assert_eq!(decode(&padded).unwrap().0.len(), 2 * sample.len());
    for input in [
        [xz(&sample), vec![0; 6]],
        [bzip2(&sample), padding.clone()],
        [zstd(&sample), padding],
    ] {
        let error = decode(&input.concat()).unwrap_err();
        assert_eq!(error.code(), "trailing-garbage");
    }
}

#[test]
fn frames_to_be_skipped_are_skipped() {
    // RFC 8878 section 3.1.2: magic, length, content.
    let skip = b"\x5a\x2a\x4d\x18\x05\0\0\0abcde".to_vec();
    let sample = text(50_000, 5);
    let input = [skip.clone(), zstd(&sample), skip].concat();
    assert!(decode(&input).unwrap().0 == sample);
}

#[test]
fn too_large_windows_are_refused_by_name() {
    let path = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(path.path(), sample()).unwrap();
    let name = path.path().to_str().unwrap();
    let dictionary = run("xz", &["--lzma2=dict=256MiB", "-c", name]);
    // A window descriptor of 2^28 bytes, in a frame without its content size.
    let mut window = b"\x28\xb5\x2f\xfd\x04\x90".to_vec();
    window.extend([1, 0, 0, 0, 0, 0, 0]);
    for (input, size) in [(dictionary, "64 MiB"), (window, "128 MiB")] {
        let error = decode(&input).unwrap_err();
        assert_eq!(error.code(), "decoder-memory", "{error}");
        assert!(error.to_string().contains(size), "{error}");
        assert!(error.hint().is_some());
    }
}

#[test]
fn a_wrong_checksum_is_named() {
    let sample = noise(50_000, 6);
    let mut input = gzip(&sample);
    // RFC 1952 section 2.3.1: the last eight bytes are CRC32 and ISIZE.
    let crc = input.len() - 8;
    input[crc] ^= 1;
    let error = decode(&input).unwrap_err();
    assert_eq!(error.code(), "corrupt-stream");
    assert!(
        error.to_string().contains("the CRC-32 does not match"),
        "{error}"
    );
    input[crc] ^= 1;
    input[crc + 4] ^= 1;
    let error = decode(&input).unwrap_err();
    assert!(
        error.to_string().contains("the length does not match"),
        "{error}"
    );

    let mut input = bzip2(&sample);
    // Ten bytes of magic are followed by the block's CRC.
    input[10] ^= 1;
    let error = decode(&input).unwrap_err();
    assert_eq!(error.code(), "corrupt-stream");
    assert!(error.to_string().contains("CRC"), "{error}");
}

#[test]
fn the_limit_is_inclusive() {
    let sample = noise(3_000_000, 7);
    let len = sample.len() as u64;
    let out = tempfile::tempfile().unwrap();
    for input in ALL
        .map(|c| compress(c, &sample))
        .into_iter()
        .chain([sample.clone()])
    {
        assert_eq!(decode_into(&out, &input, len).unwrap().bytes, len);
        let error = decode_into(&out, &input, len - 1).unwrap_err();
        assert_eq!(error.code(), "virtual-size");
        assert_eq!(error.kind(), ErrorKind::Refused);
        assert!(error.to_string().contains("2999999 bytes"), "{error}");
    }
}

/// The same bytes over and over for a terabyte, with a count of how far they were read.
struct Endless {
    unit: Vec<u8>,
    read: AtomicU64,
}

impl Endless {
    fn new(unit: Vec<u8>) -> Self {
        let read = AtomicU64::new(0);
        Self { unit, read }
    }
}

impl Source for Endless {
    fn len(&self) -> u64 {
        1 << 40
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> abbild_disk::Result<()> {
        let at = (offset % self.unit.len() as u64) as usize;
        for (byte, from) in buf
            .iter_mut()
            .zip(self.unit[at..].iter().chain(self.unit.iter().cycle()))
        {
            *byte = *from;
        }
        let end = offset + buf.len() as u64;
        self.read.fetch_max(end, Ordering::Relaxed);
        Ok(())
    }
}

#[test]
fn a_bomb_costs_no_more_than_the_limit() {
    for compression in ALL {
        let bomb = Endless::new(compress(compression, &vec![0; 10 << 20]));
        let out = tempfile::tempfile().unwrap();
        let error = decode_to_staging(&bomb, &out, options(LIMIT), &Control::none()).unwrap_err();
        assert_eq!(error.code(), "virtual-size", "{compression}");
        // Decoders look ahead a little.
        let read = bomb.read.into_inner();
        assert!(read < 8 * bomb.unit.len() as u64 + (32 << 20), "{read}");
        assert!(out.metadata().unwrap().blocks() * 512 <= LIMIT);
    }
}

/// Empty members make no output, so only the caller's flag can stop them.
#[test]
fn endless_empty_members_can_be_stopped() {
    let stop = AtomicBool::new(false);
    let input = Endless::new(gzip(b""));
    let progress = |p: abbild_convert::Progress| stop.store(p.done > 1000, Ordering::Relaxed);
    let control = Control::none().with_progress(&progress).with_cancel(&stop);
    let out = tempfile::tempfile().unwrap();
    let error = decode_to_staging(&input, &out, options(LIMIT), &control).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
}

#[test]
fn a_container_in_a_container_is_refused() {
    let sample = text(50_000, 8);
    let xz = b"\xfd7zXZ\0and so on".to_vec();
    let cases = [
        (gzip(&gzip(&sample)), "gzip file contains a gzip", "gunzip"),
        (
            gzip(&bzip2(&sample)),
            "gzip file contains a bzip2",
            "gunzip",
        ),
        (
            bzip2(&gzip(&sample)),
            "bzip2 file contains a gzip",
            "bunzip2",
        ),
        (gzip(&xz), "gzip file contains a xz", "gunzip"),
    ];
    for (input, names, command) in cases {
        let error = decode(&input).unwrap_err();
        assert_eq!(error.code(), "nested-compression");
        assert!(error.to_string().contains(names), "{error}");
        assert!(error.hint().unwrap().contains(command));
    }
}

#[test]
fn what_was_in_the_file_is_gone() {
    let out = tempfile::tempfile().unwrap();
    out.write_all_at(&[0xff; 500_000], 0).unwrap();
    decode_into(&out, &gzip(&[0; 400_000]), LIMIT).unwrap();
    let mut bytes = vec![1; 400_000];
    out.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(out.metadata().unwrap().len(), 400_000);
    assert!(bytes.iter().all(|byte| *byte == 0));
}

#[test]
fn progress_counts_the_input() {
    let input = gzip(&noise(4_000_000, 9));
    let last = std::cell::Cell::new(0);
    let progress = |p: abbild_convert::Progress| {
        assert!(p.done >= last.get());
        assert_eq!(p.total, Some(input.len() as u64));
        last.set(p.done);
    };
    let control = Control::none().with_progress(&progress);
    let out = tempfile::tempfile().unwrap();
    decode_to_staging(input.as_slice(), &out, options(LIMIT), &control).unwrap();
    assert_eq!(last.get(), input.len() as u64);
}

#[test]
fn a_failing_source_is_reported() {
    struct Broken(Vec<u8>);
    impl Source for Broken {
        fn len(&self) -> u64 {
            self.0.len() as u64
        }

        fn read_at(&self, offset: u64, buf: &mut [u8]) -> abbild_disk::Result<()> {
            if offset + buf.len() as u64 > 500_000 {
                let cause = io::Error::other("connection reset");
                return Err(abbild_disk::Error::io(cause, offset, buf.len()));
            }
            self.0.as_slice().read_at(offset, buf)
        }
    }
    for compression in ALL {
        let input = Broken(compress(compression, &noise(1_000_000, 1)));
        let out = tempfile::tempfile().unwrap();
        let error = decode_to_staging(&input, &out, options(LIMIT), &Control::none()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io);
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert_eq!(source, "connection reset");
    }
}

/// Content of a few runs, each zeros, text or noise.
fn content() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec((0..3u8, 0..400_000usize, any::<u64>()), 0..6).prop_map(|runs| {
        let mut bytes = b"disk".to_vec();
        for (kind, len, seed) in runs {
            bytes.extend(match kind {
                0 => vec![0; len],
                1 => text(len, seed % 1000),
                _ => noise(len, seed),
            });
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn round_trip(content in content(), piece in 1..900_000usize, which in 0..4usize) {
        let pieces = content.chunks(piece.max(content.len() / 20 + 1));
        let input: Vec<u8> = pieces.flat_map(|piece| compress(ALL[which], piece)).collect();
        prop_assert!(decode(&input).unwrap().0 == content);
    }

    /// Damage is found, or was in a part that carries no data; it never panics or runs away.
    #[test]
    fn damage_is_survived(at in any::<prop::sample::Index>(), bit in 0..8u8, which in 0..4usize) {
        let sample = text(60_000, 1);
        let mut input = compress(ALL[which], &sample);
        let at = at.index(input.len());
        input[at] ^= 1 << bit;
        if let Ok((bytes, decoded)) = decode(&input) {
            // Either the damage made it an unknown file, or it did not touch the content.
            prop_assert!(decoded.layers.is_empty() || bytes == sample);
        }
    }
}
