//! The canonical image: QEMU finds it clean and equal to its source, and its bytes depend on the
//! content alone.

use std::fs::File;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use abbild_convert::{Control, ENCODER_VERSION, Encoded, ErrorKind, Options, encode};
use abbild_disk::{Disk, Extent, FileSource, Format, Source};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

use crate::support::{CLUSTER, Patched, check, compare, create, info, noise, run, text};

const MIB: u64 = 1 << 20;

fn encode_to<D: Disk + Sync>(disk: &D, path: &Path, threads: usize) -> Encoded {
    encode(disk, &create(path), Options { threads }, &Control::none()).unwrap()
}

/// Everything at once: text, noise, holes, a cluster that begins with zeros, an odd tail.
fn mixed() -> Patched {
    let size = 9 * MIB + 1536;
    Patched::new(size)
        .with(0, text(3 * CLUSTER, 1))
        .with(MIB, noise(5 * CLUSTER, 2))
        .with(2 * MIB + 40_000, text(100_000, 3))
        .with(3 * MIB, vec![0; 2 * CLUSTER])
        .with(4 * MIB + 65_535, vec![7])
        .with(5 * MIB, noise(CLUSTER + 1, 4))
        .with(6 * MIB + 17, text(2_000_000, 5))
        .with(size - 700, noise(700, 6))
}

#[test]
fn qemu_finds_it_clean_and_equal() {
    let noisy_blocks = (0..200).fold(Patched::new(26 * MIB), |disk, n| {
        let offset = n * 2 * CLUSTER as u64;
        disk.with(offset, text(CLUSTER, n))
            .with(offset + CLUSTER as u64, noise(CLUSTER, n))
    });
    let cases = [
        ("mixed", mixed()),
        ("one sector", Patched::new(512).with(0, noise(512, 1))),
        ("zeros", Patched::new(700 * MIB)),
        // More than the packer holds back behind an open cluster.
        (
            "noise after text",
            Patched::new(20 * MIB)
                .with(0, text(CLUSTER, 1))
                .with(CLUSTER as u64, noise(9 << 20, 2))
                .with(12 * MIB, text(3 << 20, 3)),
        ),
        ("text and noise by turns", noisy_blocks),
        (
            "several L2 tables",
            Patched::new(5000 * MIB + 512)
                .with(512 * MIB - 30_000, text(60_000, 1))
                .with(1024 * MIB, noise(CLUSTER, 2))
                .with(4096 * MIB - 1, vec![1, 2])
                .with(5000 * MIB, text(512, 3)),
        ),
        (
            "tiny frames",
            Patched::new(64 * MIB).with(0, vec![b'x'; 64 << 20]),
        ),
    ];
    let dir = tempfile::tempdir().unwrap();
    for (name, disk) in cases {
        let raw = dir.path().join("raw");
        let image = dir.path().join("image.qcow2");
        disk.write_raw(&raw);
        let encoded = encode_to(&disk, &image, 2);
        println!("{name}: {encoded:?}");
        check(&image);
        compare("raw", &raw, &image);
        assert_eq!(encoded.file_size, image.metadata().unwrap().len());
        assert_eq!(
            encoded.sha256,
            <[u8; 32]>::from(Sha256::digest(std::fs::read(&image).unwrap())),
            "{name}"
        );
    }
}

#[test]
fn qemu_describes_it_as_promised() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("image.qcow2");
    encode_to(&mixed(), &image, 0);
    let info = info(&image);
    assert_eq!(info["format"], "qcow2");
    assert_eq!(info["virtual-size"], 9 * MIB + 1536);
    assert_eq!(info["cluster-size"], 65536);
    assert_eq!(info["dirty-flag"], false);
    assert!(info.get("backing-filename").is_none());
    let specific = &info["format-specific"]["data"];
    assert_eq!(specific["compat"], "1.1");
    assert_eq!(specific["compression-type"], "zstd");
    assert_eq!(specific["corrupt"], false);
    assert!(specific.get("data-file").is_none());
}

#[test]
fn threads_extents_and_formats_do_not_show() {
    let disk = mixed();
    let dir = tempfile::tempdir().unwrap();
    let raw = dir.path().join("raw");
    disk.write_raw(&raw);
    let expected = encode_to(&disk, &dir.path().join("expected"), 1);
    for threads in [2, 3, 8, 100] {
        let other = encode_to(&disk, &dir.path().join("other"), threads);
        assert_eq!(other, expected, "{threads} threads");
    }
    for all_data_in in [512, 1000, 65_536, 1 << 30] {
        let disk = Patched {
            all_data_in,
            ..disk.clone()
        };
        let other = encode_to(&disk, &dir.path().join("other"), 2);
        assert_eq!(other, expected, "extents of {all_data_in}");
    }
    for options in [
        "compat=0.10",
        "cluster_size=4096",
        "cluster_size=2M",
        "-c",
        "-ccompression_type=zstd",
    ] {
        let input = dir.path().join("input.qcow2");
        let (compress, options) = match options.strip_prefix("-c") {
            Some(rest) => ("-c", rest),
            None => ("-q", options),
        };
        let options = if options.is_empty() {
            "compat=1.1"
        } else {
            options
        };
        let args = [
            "convert", compress, "-f", "raw", "-O", "qcow2", "-o", options,
        ];
        let mut args: Vec<_> = args.iter().map(std::ffi::OsString::from).collect();
        args.extend([raw.clone().into(), input.clone().into()]);
        run("qemu-img", &args);
        let source = FileSource::open(&input).unwrap();
        let other = encode_to(
            &abbild_disk::open(source).unwrap(),
            &dir.path().join("other"),
            2,
        );
        assert_eq!(other, expected, "{compress} {options}");
    }
}

#[test]
fn encoding_the_canonical_image_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let first = dir.path().join("first");
    let encoded = encode_to(&mixed(), &first, 2);
    let disk = abbild_disk::open(FileSource::open(&first).unwrap()).unwrap();
    assert_eq!(encode_to(&disk, &dir.path().join("second"), 2), encoded);
}

/// If this fails although the change was wanted, raise [`ENCODER_VERSION`] and put the new digest
/// here: stored images keep the digest of the version that wrote them.
#[test]
fn the_bytes_of_this_encoder_version_are_fixed() {
    let dir = tempfile::tempdir().unwrap();
    let encoded = encode_to(&mixed(), &dir.path().join("image"), 2);
    assert_eq!(ENCODER_VERSION, 2);
    assert_eq!(
        hex::encode(encoded.sha256),
        "90ccd375a98798df6aab43c6a58ebb792eafc4c8de767aa437d9528c35de76f9"
    );
}

#[test]
fn the_size_is_rounded_up_to_a_sector() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Patched::new(1001).with(1000, vec![5]);
    let image = dir.path().join("image");
    let encoded = encode_to(&disk, &image, 1);
    assert_eq!((encoded.virtual_size, encoded.data_clusters), (1024, 1));
    let disk = abbild_disk::qcow2::Disk::open_with(
        FileSource::open(&image).unwrap(),
        &abbild_disk::Limits::default(),
    )
    .unwrap();
    let mut bytes = vec![1; 1024];
    disk.read_at(0, &mut bytes).unwrap();
    assert_eq!((bytes[1000], bytes[1001], bytes[1023]), (5, 0, 0));
}

#[test]
fn an_older_longer_file_leaves_no_trace() {
    let dir = tempfile::tempdir().unwrap();
    let expected = encode_to(&mixed(), &dir.path().join("fresh"), 2);
    let reused = dir.path().join("reused");
    std::fs::write(&reused, noise(40 << 20, 9)).unwrap();
    assert_eq!(encode_to(&mixed(), &reused, 2), expected);
    assert_eq!(
        std::fs::read(&reused).unwrap(),
        std::fs::read(dir.path().join("fresh")).unwrap()
    );
}

#[test]
fn impossible_sizes_are_refused() {
    for size in [0, u64::MAX, 1 << 60] {
        let disk = Patched::new(size);
        let out = tempfile::tempfile().unwrap();
        let error = encode(&disk, &out, Options::default(), &Control::none()).unwrap_err();
        assert_eq!(error.code(), "virtual-size", "{size}");
        assert_eq!(error.kind(), ErrorKind::Refused);
    }
}

#[test]
fn progress_rises_to_the_whole_disk() {
    let seen = Mutex::new(Vec::new());
    let progress = |p: abbild_convert::Progress| seen.lock().unwrap().push(p);
    let out = tempfile::tempfile().unwrap();
    let disk = mixed();
    let control = Control::none().with_progress(&progress);
    encode(&disk, &out, Options { threads: 3 }, &control).unwrap();
    let seen = seen.into_inner().unwrap();
    assert!(seen.is_sorted_by_key(|p| p.done));
    assert!(seen.iter().all(|p| p.total == Some(disk.size)));
    assert_eq!(seen.last().unwrap().done, disk.size);
    assert!(seen.len() > 5);
}

#[test]
fn it_stops_when_asked() {
    let stop = AtomicBool::new(false);
    let progress = |p: abbild_convert::Progress| {
        if p.done > MIB {
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    };
    let out = tempfile::tempfile().unwrap();
    let control = Control::none().with_progress(&progress).with_cancel(&stop);
    let error = encode(&mixed(), &out, Options::default(), &control).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    // The header comes last, so this is not an image.
    let mut magic = [1; 4];
    let read = std::os::unix::fs::FileExt::read_at(&out, &mut magic, 0).unwrap();
    assert_ne!(&magic[..read], b"QFI\xfb");
}

/// A disk that fails, or panics, when byte `at` is read.
struct Faulty {
    inner: Patched,
    at: u64,
    panics: bool,
}

impl Source for Faulty {
    fn len(&self) -> u64 {
        self.inner.size
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> abbild_disk::Result<()> {
        if (offset..offset + buf.len() as u64).contains(&self.at) {
            assert!(!self.panics, "the disk panicked");
            let cause = std::io::Error::other("bad sector");
            return Err(abbild_disk::Error::io(cause, self.at, 1));
        }
        self.inner.read_at(offset, buf)
    }
}

impl Disk for Faulty {
    fn format(&self) -> Format {
        Format::Raw
    }

    fn extent_at(&self, offset: u64) -> abbild_disk::Result<Extent> {
        self.inner.extent_at(offset)
    }
}

fn faulty(panics: bool) -> Faulty {
    Faulty {
        inner: Patched::new(40 * MIB).with(0, text(40 << 20, 1)),
        at: 20 * MIB,
        panics,
    }
}

#[test]
fn an_unreadable_disk_is_reported_with_its_place() {
    let out = tempfile::tempfile().unwrap();
    let error = encode(&faulty(false), &out, Options::default(), &Control::none()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert_eq!(error.offset(), Some(20 * MIB));
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(source, "bad sector");
}

#[test]
#[should_panic = "the disk panicked"]
fn a_panicking_disk_does_not_hang_the_encoder() {
    let out = tempfile::tempfile().unwrap();
    let _ = encode(
        &faulty(true),
        &out,
        Options { threads: 3 },
        &Control::none(),
    );
}

#[test]
fn a_file_that_cannot_be_written_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("read-only");
    std::fs::write(&path, b"x").unwrap();
    let out = File::open(&path).unwrap();
    let error = encode(&mixed(), &out, Options::default(), &Control::none()).unwrap_err();
    assert_eq!(error.to_string(), "writing the image failed");
    assert_eq!(std::fs::read(&path).unwrap(), b"x");
}

/// Runs of clusters of one kind, and where each run begins within its cluster.
fn runs() -> impl Strategy<Value = Vec<(u8, usize, usize)>> {
    prop::collection::vec((0..4u8, 1..40usize, 0..CLUSTER), 1..14)
}

fn disk_of(runs: &[(u8, usize, usize)]) -> Patched {
    let clusters: usize = runs.iter().map(|run| run.1).sum();
    let mut disk = Patched::new((clusters * CLUSTER) as u64 + 512);
    let mut at = 0;
    for (seed, (kind, len, skip)) in (0..).zip(runs) {
        let bytes = len * CLUSTER - skip;
        let bytes = match kind {
            0 => Vec::new(),
            1 => text(bytes, seed),
            2 => noise(bytes, seed),
            _ => [text(bytes / 2, seed), noise(bytes - bytes / 2, seed)].concat(),
        };
        if !bytes.is_empty() {
            disk = disk.with((at + skip) as u64, bytes);
        }
        at += len * CLUSTER;
    }
    disk
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_clusters_comes_back(runs in runs(), threads in 1..5usize) {
        let disk = disk_of(&runs);
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("image");
        encode_to(&disk, &image, threads);
        check(&image);

        let source = FileSource::open(&image).unwrap();
        let back = abbild_disk::qcow2::Disk::open_with(source, &abbild_disk::Limits::default())
            .unwrap();
        prop_assert_eq!(back.virtual_size(), disk.size);
        let (mut left, mut right) = (vec![0; disk.size as usize], vec![0; disk.size as usize]);
        disk.read_at(0, &mut left).unwrap();
        back.read_at(0, &mut right).unwrap();
        prop_assert!(left == right);
    }
}
