//! QEMU's own tools decide what an image holds: the same bytes must come out here.

use std::path::{Path, PathBuf};
use std::process::Command;

use abbild_disk::{Disk, ExtentKind, FileSource, Format, Source, open};

use crate::build::pattern;

/// Whether `qemu-img` and `qemu-io` can be run; says so loudly if not.
pub fn have_qemu() -> bool {
    let found = ["qemu-img", "qemu-io"]
        .iter()
        .all(|tool| Command::new(tool).arg("--version").output().is_ok());
    if !found {
        eprintln!("SKIPPED: qemu-img and qemu-io (package qemu-utils) are not installed");
    }
    found
}

pub fn run(tool: &str, args: &[&str]) {
    let output = Command::new(tool).args(args).output().unwrap();
    assert!(
        output.status.success(),
        "{tool} {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Text, noise, long zeros, short zeros and a last sector that ends no cluster.
pub fn guest_content() -> Vec<u8> {
    let mut disk = vec![0; 6 << 20];
    for (at, seed) in [(0, 1), (300_000, 2), (1 << 20, 3), (4 << 20, 4)] {
        disk[at..at + 200_000].copy_from_slice(&pattern(seed, 200_000));
    }
    let mut state = 1u32;
    for byte in &mut disk[3 << 20..(3 << 20) + 150_000] {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *byte = (state >> 24) as u8;
    }
    disk.extend(pattern(9, 3 * 512));
    disk
}

/// Opens `image` and compares whole reads, small reads and extents with `expected`.
pub fn compare(image: &Path, format: Format, expected: &[u8], what: &str) {
    let disk = open(FileSource::open(image).unwrap()).unwrap();
    assert_eq!(disk.format(), format, "{what}");
    compare_disk(&disk, expected, what);
}

/// The same of a disk that is open.
pub fn compare_disk(disk: &impl Disk, expected: &[u8], what: &str) {
    assert_eq!(disk.virtual_size(), expected.len() as u64, "{what}");
    disk.verify().unwrap();

    let mut whole = vec![0xff; expected.len()];
    disk.read_at(0, &mut whole).unwrap();
    assert!(whole == expected, "{what}: one read of everything differs");

    for (at, part) in expected.chunks(5000).enumerate() {
        let mut buf = vec![0xff; part.len()];
        disk.read_at(at as u64 * 5000, &mut buf).unwrap();
        assert!(
            buf == part,
            "{what}: read of 5000 bytes number {at} differs"
        );
    }

    let mut offset = 0;
    while offset < disk.virtual_size() {
        let extent = disk.extent_at(offset).unwrap();
        assert_eq!(extent.offset, offset);
        assert!(extent.len > 0);
        let range = offset as usize..(offset + extent.len) as usize;
        if extent.kind == ExtentKind::Zero {
            assert!(expected[range].iter().all(|&byte| byte == 0), "{what}");
        }
        offset += extent.len;
    }
    assert_eq!(offset, disk.virtual_size(), "{what}");
}

/// Bytes in zero extents.
pub fn zero_bytes(image: &Path) -> u64 {
    let disk = open(FileSource::open(image).unwrap()).unwrap();
    let (mut offset, mut zeros) = (0, 0);
    while offset < disk.virtual_size() {
        let extent = disk.extent_at(offset).unwrap();
        if extent.kind == ExtentKind::Zero {
            zeros += extent.len;
        }
        offset += extent.len;
    }
    zeros
}

#[test]
fn every_version_cluster_size_and_compression_reads_like_qemu() {
    if !have_qemu() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let raw = dir.path().join("disk.raw");
    let content = guest_content();
    std::fs::write(&raw, &content).unwrap();
    let image = dir.path().join("disk.qcow2");
    for compat in ["0.10", "1.1"] {
        for cluster in ["512", "4k", "64k", "2M"] {
            for compression in ["none", "zlib", "zstd"] {
                if compat == "0.10" && compression == "zstd" {
                    continue;
                }
                let mut options = format!("compat={compat},cluster_size={cluster}");
                let mut args = vec!["convert", "-f", "raw", "-O", "qcow2"];
                if compression != "none" {
                    args.push("-c");
                }
                if compression == "zstd" {
                    options += ",compression_type=zstd";
                }
                args.extend(["-o", &options]);
                args.extend([raw.to_str().unwrap(), image.to_str().unwrap()]);
                run("qemu-img", &args);
                let what = format!("{options} {compression}");
                compare(&image, Format::Qcow2, &content, &what);
                // Every cluster of 2 MiB holds some data.
                assert!(
                    cluster == "2M" || zero_bytes(&image) > 2 << 20,
                    "{options}: zeros count as data"
                );
            }
        }
    }
}

fn create(dir: &Path, format: Format, options: &str) -> PathBuf {
    let image = dir.join("made.image");
    let path = image.to_str().unwrap();
    run(
        "qemu-img",
        &[
            "create",
            "-q",
            "-f",
            format.name(),
            "-o",
            options,
            path,
            "8M",
        ],
    );
    image
}

/// Makes an image by writes, zero writes and discards, and compares it with QEMU's reading of it.
pub fn compare_after_io(format: Format, options: &str) {
    let dir = tempfile::tempdir().unwrap();
    let image = create(dir.path(), format, options);
    let path = image.to_str().unwrap();
    let mut args = vec!["-f", format.name()];
    // QEMU compresses only what is not allocated yet, and not in every format.
    let packed = if format != Format::Qcow2 || options.contains("preallocation") {
        "write -P 5 6M 2M"
    } else {
        "write -c -P 5 6M 2M"
    };
    let mut commands = vec!["write -P 1 0 64k", "write -P 2 100k 3k", "write -P 3 1M 2M"];
    if format == Format::Qcow2 || options.contains("zeroed_grain") {
        commands.extend(["write -z 1200k 64k", "write -z -u 1536k 128k"]);
    }
    if format == Format::Qcow2 {
        commands.push("discard 2M 256k");
    }
    commands.extend(["write -P 4 5000k 512", packed]);
    commands.extend(["write -P 6 6272k 1k", "write -P 7 8191k 1k"]);
    for command in commands {
        args.extend(["-c", command]);
    }
    args.push(path);
    run("qemu-io", &args);
    let raw = dir.path().join("made.raw");
    run(
        "qemu-img",
        &["convert", "-O", "raw", path, raw.to_str().unwrap()],
    );
    compare(&image, format, &std::fs::read(&raw).unwrap(), options);
}

#[test]
fn zero_clusters_and_discards_read_like_qemu() {
    if have_qemu() {
        compare_after_io(Format::Qcow2, "compat=1.1,cluster_size=64k");
        compare_after_io(Format::Qcow2, "compat=0.10,cluster_size=64k");
        compare_after_io(Format::Qcow2, "compat=1.1,cluster_size=512");
    }
}

#[test]
fn subclusters_read_like_qemu() {
    if have_qemu() {
        compare_after_io(Format::Qcow2, "compat=1.1,cluster_size=128k,extended_l2=on");
        compare_after_io(Format::Qcow2, "compat=1.1,cluster_size=16k,extended_l2=on");
        compare_after_io(
            Format::Qcow2,
            "compat=1.1,cluster_size=2M,extended_l2=on,compression_type=zstd",
        );
    }
}

#[test]
fn preallocated_images_read_like_qemu() {
    if have_qemu() {
        compare_after_io(
            Format::Qcow2,
            "compat=1.1,cluster_size=64k,preallocation=metadata",
        );
        compare_after_io(
            Format::Qcow2,
            "compat=0.10,cluster_size=4k,preallocation=metadata",
        );
    }
}

#[test]
fn snapshots_are_ignored_with_a_warning() {
    if !have_qemu() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let image = create(dir.path(), Format::Qcow2, "compat=1.1");
    let path = image.to_str().unwrap();
    run("qemu-io", &["-f", "qcow2", "-c", "write -P 1 0 64k", path]);
    run("qemu-img", &["snapshot", "-c", "before", path]);
    run("qemu-io", &["-f", "qcow2", "-c", "write -P 2 0 64k", path]);
    let disk = open(FileSource::open(&image).unwrap()).unwrap();
    let mut buf = [0; 512];
    disk.read_at(4096, &mut buf).unwrap();
    assert_eq!(buf, [2; 512]);
    assert!(
        disk.warnings()[0].contains("1 internal snapshots"),
        "{:?}",
        disk.warnings()
    );
}

#[test]
fn every_vhdx_reads_like_qemu() {
    if !have_qemu() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let raw = dir.path().join("disk.raw");
    let content = guest_content();
    std::fs::write(&raw, &content).unwrap();
    let image = dir.path().join("disk.vhdx");
    for kind in ["dynamic", "fixed"] {
        for block in ["1M", "2M", "4M", "8M", "16M", "32M", "64M", "128M", "256M"] {
            let options = format!("subformat={kind},block_size={block},log_size=2M");
            let (from, to) = (raw.to_str().unwrap(), image.to_str().unwrap());
            let args = [
                "convert", "-f", "raw", "-O", "vhdx", "-o", &options, from, to,
            ];
            run("qemu-img", &args);
            compare(&image, Format::Vhdx, &content, &options);
        }
    }
    // The block at 5 MiB is empty, and what a fixed disk does not hold is a hole.
    assert!(zero_bytes(&image) >= 1 << 20, "zeros count as data");
}

#[test]
fn vhdx_after_writes_reads_like_qemu() {
    if have_qemu() {
        for block in ["1M", "2M", "32M"] {
            for state in ["on", "off"] {
                let options = format!("block_size={block},block_state_zero={state}");
                compare_after_io(Format::Vhdx, &options);
            }
        }
        compare_after_io(Format::Vhdx, "subformat=fixed");
    }
}

#[test]
fn every_vdi_reads_like_qemu() {
    if !have_qemu() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let raw = dir.path().join("disk.raw");
    let content = guest_content();
    std::fs::write(&raw, &content).unwrap();
    let image = dir.path().join("disk.vdi");
    for options in ["static=off", "static=on"] {
        let (from, to) = (raw.to_str().unwrap(), image.to_str().unwrap());
        let args = ["convert", "-f", "raw", "-O", "vdi", "-o", options, from, to];
        run("qemu-img", &args);
        compare(&image, Format::Vdi, &content, options);
        // The block at 5 MiB is empty, and what a static disk does not hold is a hole.
        assert!(
            zero_bytes(&image) >= 1 << 20,
            "{options}: zeros count as data"
        );
    }
}

#[test]
fn vdi_after_writes_reads_like_qemu() {
    if have_qemu() {
        compare_after_io(Format::Vdi, "static=off");
        compare_after_io(Format::Vdi, "static=on");
    }
}
