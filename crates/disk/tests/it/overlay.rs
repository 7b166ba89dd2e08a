//! Differences to another disk, which the caller names.

use std::path::Path;

use abbild_disk::qcow2::Overlay;
use abbild_disk::{FileSource, Limits, open};

use crate::qemu::{compare_disk, guest_content, have_qemu, run};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Makes a base, writes over it in an overlay of `options`, and compares with QEMU's reading of both.
fn compare_over(base_format: &str, options: &str) {
    let dir = tempfile::tempdir().unwrap();
    let [raw, base, top, joined] =
        ["base.raw", "base", "top", "joined.raw"].map(|name| dir.path().join(name));
    let mut content = guest_content();
    // Sector 0 marks a raw disk as one.
    content[510..512].copy_from_slice(&[0x55, 0xaa]);
    content[446..510].fill(0);
    content[450] = 0x83;
    content[454..462].copy_from_slice(&[1, 0, 0, 0, 1, 0, 0, 0]);
    std::fs::write(&raw, content).unwrap();
    let convert = ["convert", "-f", "raw", "-O", base_format];
    run(
        "qemu-img",
        &[&convert[..], &[text(&raw), text(&base)]].concat(),
    );
    let create = [
        "create",
        "-q",
        "-f",
        "qcow2",
        "-F",
        base_format,
        "-o",
        options,
        "-b",
    ];
    run(
        "qemu-img",
        &[&create[..], &[text(&base), text(&top), "9M"]].concat(),
    );
    let mut io = vec!["-f", "qcow2"];
    for command in [
        "write -P 1 70k 3k",
        "write -P 2 1M 300k",
        "write -z 300k 64k",
        "write -z -u 3M 128k",
        "discard 4M 64k",
        "write -P 3 6290k 20k",
        "write -P 4 8M 1k",
    ] {
        io.extend(["-c", command]);
    }
    io.push(text(&top));
    run("qemu-io", &io);
    run(
        "qemu-img",
        &["convert", "-O", "raw", text(&top), text(&joined)],
    );

    let below = open(FileSource::open(&base).unwrap()).unwrap();
    let source = FileSource::open(&top).unwrap();
    let disk = Overlay::open_with(source, below, &Limits::default()).unwrap();
    compare_disk(&disk, &std::fs::read(&joined).unwrap(), options);

    // Alone it stays refused.
    let error = open(FileSource::open(&top).unwrap()).unwrap_err();
    assert_eq!(error.code(), "backing-file");
}

#[test]
fn an_overlay_reads_like_qemu_does() {
    if have_qemu() {
        compare_over("qcow2", "cluster_size=64k");
        compare_over("raw", "cluster_size=512");
        compare_over("qcow2", "cluster_size=128k,extended_l2=on");
    }
}

#[test]
fn the_named_backing_file_is_never_looked_at() {
    if !have_qemu() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let top = dir.path().join("top");
    let create = ["create", "-q", "-u", "-f", "qcow2", "-F", "raw", "-b"];
    run(
        "qemu-img",
        &[&create[..], &["/etc/shadow", text(&top), "1M"]].concat(),
    );
    let base = vec![7_u8; 1 << 19];
    let source = FileSource::open(&top).unwrap();
    let disk = Overlay::open_with(source, Bytes(base.clone()), &Limits::default()).unwrap();
    let mut expected = base;
    expected.resize(1 << 20, 0);
    compare_disk(&disk, &expected, "over bytes");
    let other = dir.path().join("other");
    std::fs::write(&other, "QED, and nothing else").unwrap();
    let source = FileSource::open(&other).unwrap();
    let error = Overlay::open_with(source, Bytes(expected), &Limits::default()).unwrap_err();
    assert_eq!(error.code(), "format");
}

#[derive(Debug)]
struct Bytes(Vec<u8>);

impl abbild_disk::Source for Bytes {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> abbild_disk::Result<()> {
        self.0.as_slice().read_at(offset, buf)
    }
}
