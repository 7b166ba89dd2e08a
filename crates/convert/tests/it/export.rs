//! Export: QEMU finds every format clean and equal to the source, and the bytes depend on the
//! content alone.

use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use abbild_convert::{
    Control, ErrorKind, ExportOptions, Exported, Options, Target, encode, export,
};
use abbild_disk::{Disk, FileSource, Source};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

use crate::support::{CLUSTER, Patched, check, compare_formats, create, info, noise, run, text};

const MIB: u64 = 1 << 20;

/// Every file that can be written.
const KINDS: [(Target, bool); 7] = [
    (Target::Raw, false),
    (Target::Qcow2, false),
    (Target::Qcow2, true),
    (Target::Vhdx, false),
    (Target::Vdi, false),
    (Target::Vmdk, false),
    (Target::Vmdk, true),
];

fn options((target, compress): (Target, bool), threads: usize) -> ExportOptions {
    ExportOptions {
        target,
        compress,
        threads,
        durable: false,
    }
}

fn export_to<D: Disk + Sync>(
    disk: &D,
    path: &Path,
    kind: (Target, bool),
    threads: usize,
) -> Exported {
    let exported = export(
        disk,
        &create(path),
        options(kind, threads),
        &Control::none(),
    );
    exported.unwrap_or_else(|e| panic!("{kind:?}: {e}"))
}

fn digest(path: &Path) -> [u8; 32] {
    Sha256::digest(std::fs::read(path).unwrap()).into()
}

/// Text, noise and holes across the boundaries of every unit, and an odd tail.
pub fn mixed() -> Patched {
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

/// Content patterns by name.
pub fn patterns() -> Vec<(&'static str, Patched)> {
    let byte = |at| Patched::new(3 * MIB).with(at, vec![0x5a]);
    vec![
        ("one sector", Patched::new(512).with(0, noise(512, 1))),
        ("one zero sector", Patched::new(512)),
        ("zeros", Patched::new(3 * MIB)),
        (
            "zeros that are data",
            Patched {
                all_data_in: MIB,
                ..Patched::new(3 * MIB)
            },
        ),
        ("first byte", byte(0)),
        ("middle byte", byte(3 * MIB / 2)),
        ("last byte", byte(3 * MIB - 1)),
        ("noise", Patched::new(5 * MIB).with(0, noise(5 << 20, 7))),
        (
            "holes at the boundaries of blocks",
            (0..8).fold(Patched::new(8 * MIB), |disk, n| match n % 2 {
                0 => disk.with(n * MIB, text(1 << 20, n)),
                _ => disk,
            }),
        ),
        (
            "holes at the boundaries of clusters",
            (0..64).fold(Patched::new(4 * MIB), |disk, n| match n % 3 {
                0 => disk,
                _ => disk.with(n * CLUSTER as u64, noise(CLUSTER, n)),
            }),
        ),
        (
            "not a multiple of a block",
            Patched::new(2 * MIB + 3 * 65_536).with(2 * MIB, text(100, 1)),
        ),
        (
            "not a multiple of a cluster",
            Patched::new(MIB + 4096 + 512).with(MIB + 4096, noise(512, 2)),
        ),
        (
            "not a multiple of a sector",
            Patched::new(MIB + 77).with(MIB + 70, vec![1; 7]),
        ),
        ("mixed", mixed()),
        // More than one table of every kind. QEMU reads all zeros of a VHDX, so not more.
        (
            "large and sparse",
            Patched::new(1100 * MIB + 512)
                .with(31 * MIB, text(2 << 20, 1))
                .with(1023 * MIB + 100, noise(CLUSTER, 2))
                .with(1024 * MIB, noise(700, 3))
                .with(1056 * MIB - 3, vec![1; 6])
                .with(1100 * MIB, text(512, 4)),
        ),
    ]
}

#[test]
fn qemu_finds_every_format_clean_and_equal() {
    let dir = tempfile::tempdir().unwrap();
    let (raw, image) = (dir.path().join("raw"), dir.path().join("image"));
    for (name, disk) in patterns() {
        disk.write_raw(&raw);
        let size = disk.size.next_multiple_of(512);
        create(&raw).set_len(size).unwrap();
        for kind in KINDS {
            println!("{name}: {kind:?}");
            let exported = export_to(&disk, &image, kind, 2);
            assert_eq!(exported.virtual_size, size);
            assert_eq!(exported.file_size, image.metadata().unwrap().len());
            let format = kind.0.name();
            if kind.0 != Target::Raw {
                check(&image);
                let info = info(&image);
                assert_eq!(info["format"], format);
                assert_eq!(info["virtual-size"], size);
            }
            compare_formats((format, &image), ("raw", &raw));
        }
    }
}

#[test]
fn qemu_describes_them_as_promised() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("image");
    let of = |kind| {
        export_to(&mixed(), &image, kind, 0);
        info(&image)
    };
    assert_eq!(of((Target::Vhdx, false))["cluster-size"], MIB);
    assert_eq!(of((Target::Vdi, false))["cluster-size"], MIB);
    let plain = of((Target::Qcow2, false));
    let specific = &plain["format-specific"]["data"];
    assert_eq!(specific["compression-type"], "zlib");
    assert_eq!(specific["compat"], "1.1");
    for (compress, create_type) in [(false, "monolithicSparse"), (true, "streamOptimized")] {
        let info = of((Target::Vmdk, compress));
        let specific = &info["format-specific"]["data"];
        assert_eq!(specific["create-type"], create_type);
        assert_eq!(specific["parent-cid"], u32::MAX);
        assert_eq!(
            specific["extents"][0]["compressed"]
                .as_bool()
                .unwrap_or(false),
            compress
        );
        assert_eq!(specific["extents"][0]["cluster-size"], 65_536);
    }
}

#[test]
fn what_is_zero_is_not_stored() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("image");
    // In a block of 1 MiB each, 100 bytes; as zeros that a source stores, as far as can be.
    let disk = (0..10).fold(Patched::new(100 * MIB), |disk, n| {
        disk.with(n * 10 * MIB + 123_456, vec![1; 100])
    });
    let disk = Patched {
        all_data_in: 77_777,
        ..disk
    };
    for kind in KINDS {
        export_to(&disk, &image, kind, 2);
        let stored = image.metadata().unwrap().blocks() * 512;
        // Tables, and ten times one unit of at most 64 KiB.
        assert!(
            stored <= 10 * 65_536 + (512 << 10),
            "{kind:?}: {stored} bytes are stored"
        );
    }
}

#[test]
fn the_compressed_qcow2_is_the_canonical_image() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("image");
    export_to(&mixed(), &image, (Target::Qcow2, true), 2);
    let out = tempfile::tempfile().unwrap();
    let encoded = encode(&mixed(), &out, Options::default(), &Control::none()).unwrap();
    assert_eq!(digest(&image), encoded.sha256);
}

#[test]
fn threads_and_extents_do_not_show() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("image");
    for kind in KINDS {
        export_to(&mixed(), &image, kind, 1);
        let expected = digest(&image);
        for threads in [2, 3, 7] {
            export_to(&mixed(), &image, kind, threads);
            assert_eq!(digest(&image), expected, "{kind:?}, {threads} threads");
        }
        for all_data_in in [512, 1000, 65_536, 1 << 30] {
            let disk = Patched {
                all_data_in,
                ..mixed()
            };
            export_to(&disk, &image, kind, 2);
            assert_eq!(
                digest(&image),
                expected,
                "{kind:?}, extents of {all_data_in}"
            );
        }
    }
}

#[test]
fn the_format_of_the_source_does_not_show() {
    let dir = tempfile::tempdir().unwrap();
    let (raw, image) = (dir.path().join("raw"), dir.path().join("image"));
    mixed().write_raw(&raw);
    let mut expected = Vec::new();
    for kind in KINDS {
        export_to(&mixed(), &image, kind, 2);
        expected.push(digest(&image));
    }
    for arguments in [
        ["-O", "qcow2", "-q"],
        ["-O", "qcow2", "-c"],
        ["-S", "0", "-Oqcow2"],
    ] {
        let input = dir.path().join("input");
        let paths = [raw.to_str().unwrap(), input.to_str().unwrap()];
        run(
            "qemu-img",
            &[&["convert", "-f", "raw"][..], &arguments, &paths].concat(),
        );
        let source = abbild_disk::open(FileSource::open(&input).unwrap()).unwrap();
        for (kind, expected) in KINDS.into_iter().zip(&expected) {
            export_to(&source, &image, kind, 2);
            assert_eq!(digest(&image), *expected, "{kind:?} from {arguments:?}");
        }
    }
}

/// A disk with a partition table, without which raw would not be recognised.
fn partitioned() -> Patched {
    let mut sector = vec![0; 512];
    sector[450] = 0x83;
    sector[454..458].copy_from_slice(&2048_u32.to_le_bytes());
    sector[458..462].copy_from_slice(&8192_u32.to_le_bytes());
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    let mut disk = mixed();
    disk.patches.insert(0, sector);
    disk
}

#[test]
fn our_readers_agree_and_any_format_becomes_any_other() {
    let dir = tempfile::tempdir().unwrap();
    let (image, again) = (dir.path().join("image"), dir.path().join("again"));
    let disk = partitioned();
    let expected = KINDS.map(|kind| {
        export_to(&disk, &again, kind, 2);
        digest(&again)
    });
    let mut content = vec![0; disk.size as usize];
    disk.read_at(0, &mut content).unwrap();
    for from in KINDS {
        export_to(&disk, &image, from, 2);
        let opened = abbild_disk::open(FileSource::open(&image).unwrap()).unwrap();
        assert_eq!(opened.format(), from.0.format());
        assert_eq!(opened.warnings(), &[] as &[String], "{from:?}");
        opened.verify().unwrap();
        let mut back = vec![1; content.len()];
        opened.read_at(0, &mut back).unwrap();
        assert!(back == content, "{from:?}");
        for (to, expected) in KINDS.into_iter().zip(&expected) {
            export_to(&opened, &again, to, 2);
            assert_eq!(digest(&again), *expected, "{from:?} to {to:?}");
        }
    }
}

#[test]
fn identifiers_differ_with_the_content() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("image");
    let read = |disk: &Patched, kind, at: u64, len: usize| {
        export_to(disk, &image, kind, 2);
        let mut bytes = vec![0; len];
        create(&image).read_exact_at(&mut bytes, at).unwrap();
        bytes
    };
    let other = mixed().with(8 * MIB + 5, vec![1]);
    // The UUID of a VDI, the data write GUID of a VHDX, the text with the CID of VMDKs.
    for (kind, at, len) in [
        ((Target::Vdi, false), 392, 16),
        ((Target::Vhdx, false), (128 << 10) + 32, 16),
        ((Target::Vmdk, false), 512, 50),
        ((Target::Vmdk, true), 512, 50),
    ] {
        let one = read(&mixed(), kind, at, len);
        assert_eq!(one, read(&mixed(), kind, at, len), "{kind:?}");
        assert_ne!(one, read(&other, kind, at, len), "{kind:?}");
        assert!(one.iter().any(|byte| *byte != 0), "{kind:?}");
    }
}

#[test]
fn an_older_longer_file_leaves_no_trace() {
    let dir = tempfile::tempdir().unwrap();
    let (fresh, reused) = (dir.path().join("fresh"), dir.path().join("reused"));
    for kind in KINDS {
        export_to(&mixed(), &fresh, kind, 2);
        std::fs::write(&reused, noise(20 << 20, 9)).unwrap();
        export_to(&mixed(), &reused, kind, 2);
        assert_eq!(digest(&reused), digest(&fresh), "{kind:?}");
    }
}

#[test]
fn what_cannot_be_compressed_is_said_with_what_can() {
    for target in [Target::Raw, Target::Vhdx, Target::Vdi] {
        let out = tempfile::tempfile().unwrap();
        let error =
            export(&mixed(), &out, options((target, true), 1), &Control::none()).unwrap_err();
        assert_eq!(
            (error.code(), error.kind()),
            ("not-compressible", ErrorKind::Unsupported)
        );
        assert!(
            error.to_string().contains("only qcow2 and vmdk can"),
            "{error}"
        );
        assert!(error.hint().is_some());
        assert_eq!(out.metadata().unwrap().len(), 0);
    }
}

#[test]
fn sizes_that_a_format_cannot_have_are_refused() {
    let refused = |size, kind| {
        let out = tempfile::tempfile().unwrap();
        let error = export(
            &Patched::new(size),
            &out,
            options(kind, 1),
            &Control::none(),
        );
        let error = error.unwrap_err();
        assert_eq!(
            (error.code(), error.kind()),
            ("virtual-size", ErrorKind::Refused),
            "{kind:?}"
        );
    };
    for kind in KINDS {
        refused(0, kind);
        refused(u64::MAX, kind);
    }
    refused((2 << 40) + 1, (Target::Vmdk, false));
    refused((2 << 40) + 1, (Target::Vmdk, true));
    refused((64 << 40) + 1, (Target::Vhdx, false));
    refused((1 << 49) + 1, (Target::Vdi, false));
    refused(1 << 60, (Target::Qcow2, false));
}

/// The largest disks, of which almost nothing is stored.
#[test]
fn the_largest_disks_come_out() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("image");
    for (size, kind) in [
        (64 << 40, (Target::Vhdx, false)),
        (2 << 40, (Target::Vmdk, false)),
        (2 << 40, (Target::Vmdk, true)),
        (2 << 40, (Target::Vdi, false)),
    ] {
        let disk = Patched::new(size)
            .with(0, vec![1])
            .with(size - 512, text(512, 1));
        export_to(&disk, &image, kind, 2);
        assert_eq!(info(&image)["virtual-size"], size, "{kind:?}");
        let args = [
            "-f",
            kind.0.name(),
            "-r",
            "-c",
            "read -P 1 0 1",
            "-c",
            &format!("read -P 0 {} 65536", size / 2),
            "-c",
            &format!("read -v {} 512", size - 512),
            image.to_str().unwrap(),
        ];
        let read = String::from_utf8(run("qemu-io", &args)).unwrap();
        assert!(
            !read.contains("Pattern verification failed"),
            "{kind:?}: {read}"
        );
        assert!(read.contains("kernel..eth"), "{kind:?}: {read}");
    }
}

#[test]
fn progress_rises_to_the_whole_disk_and_stops_when_asked() {
    for kind in KINDS {
        let seen = Mutex::new(Vec::new());
        let progress = |p: abbild_convert::Progress| seen.lock().unwrap().push(p);
        let out = tempfile::tempfile().unwrap();
        let disk = mixed();
        let control = Control::none().with_progress(&progress);
        export(&disk, &out, options(kind, 3), &control).unwrap();
        let seen = seen.into_inner().unwrap();
        assert!(seen.is_sorted_by_key(|p| p.done), "{kind:?}");
        assert!(seen.iter().all(|p| p.total == Some(disk.size)));
        assert_eq!(seen.last().unwrap().done, disk.size);

        let stop = AtomicBool::new(false);
        let progress = |p: abbild_convert::Progress| stop.store(p.done > MIB, Ordering::Relaxed);
        let control = Control::none().with_progress(&progress).with_cancel(&stop);
        let error = export(&disk, &out, options(kind, 2), &control).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled, "{kind:?}");
    }
}

#[test]
fn a_file_that_cannot_be_written_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("image");
    drop(create(&path));
    for kind in KINDS {
        let read_only = std::fs::File::open(&path).unwrap();
        let error = export(&mixed(), &read_only, options(kind, 2), &Control::none()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io, "{kind:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn any_content_comes_back(
        size in 1..6 * MIB,
        patches in proptest::collection::vec((0..48_u64, 1..150_000_usize, any::<bool>()), 0..8),
        threads in 1..4_usize,
    ) {
        let mut disk = Patched::new(size);
        for (seed, (slot, len, compressible)) in (0..).zip(patches) {
            // Slots are 128 KiB apart, so patches do not overlap if they are cut to that.
            let offset = slot * 131_072 + 1000 * (slot % 7);
            let len = len.min(120_000).min(size.saturating_sub(offset) as usize);
            if len > 0 {
                let bytes = if compressible { text(len, seed) } else { noise(len, seed) };
                disk = disk.with(offset, bytes);
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let (raw, image) = (dir.path().join("raw"), dir.path().join("image"));
        disk.write_raw(&raw);
        create(&raw).set_len(size.next_multiple_of(512)).unwrap();
        for kind in KINDS {
            export_to(&disk, &image, kind, threads);
            compare_formats((kind.0.name(), &image), ("raw", &raw));
        }
    }
}
