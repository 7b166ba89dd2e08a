//! Overlays: QEMU finds them clean, reads the image below through them, and can write to them.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use abbild_convert::{Backing, Control, Options, create_overlay, encode};

use crate::support::{Patched, check, compare, create, info, run, text};

const GIB: u64 = 1 << 30;
const BASE_SIZE: u64 = 3 << 20;

fn base(dir: &Path) -> PathBuf {
    let path = dir.join("base.qcow2");
    let disk = Patched::new(BASE_SIZE).with(70_000, text(1_500_000, 1));
    encode(&disk, &create(&path), Options::default(), &Control::none()).unwrap();
    path
}

fn overlay(dir: &Path, backing: &str, virtual_size: u64) -> PathBuf {
    let path = dir.join("overlay.qcow2");
    let backing = Backing {
        file_name: backing,
        virtual_size: BASE_SIZE,
    };
    create_overlay(&create(&path), &backing, virtual_size).unwrap();
    path
}

#[test]
fn qemu_accepts_every_size() {
    let dir = tempfile::tempdir().unwrap();
    let base = base(dir.path());
    let name = base.to_str().unwrap();
    // The last has an L1 table of more than one cluster.
    for size in [BASE_SIZE, BASE_SIZE + 512, 25 * GIB, 9000 * GIB] {
        let path = overlay(dir.path(), name, size);
        check(&path);
        let info = info(&path);
        assert_eq!(info["virtual-size"], size);
        assert_eq!(info["backing-filename"], name);
        assert_eq!(info["backing-filename-format"], "qcow2");
        assert_eq!(info["format-specific"]["data"]["compat"], "1.1");
        let stored = path.metadata().unwrap().blocks() * 512;
        assert!(stored <= 16 << 10, "{stored} bytes are stored");
    }
}

#[test]
fn the_image_below_shows_through() {
    let dir = tempfile::tempdir().unwrap();
    let base = base(dir.path());
    let path = overlay(dir.path(), base.to_str().unwrap(), BASE_SIZE);
    compare("qcow2", &base, &path);
}

#[test]
fn a_relative_name_is_beside_the_overlay() {
    let dir = tempfile::tempdir().unwrap();
    let base = base(dir.path());
    let path = overlay(dir.path(), "base.qcow2", BASE_SIZE);
    compare("qcow2", &base, &path);
}

#[test]
fn a_guest_can_write_beyond_the_image() {
    let dir = tempfile::tempdir().unwrap();
    let base = base(dir.path());
    let before = std::fs::read(&base).unwrap();
    let path = overlay(dir.path(), base.to_str().unwrap(), 25 * GIB);
    let path_text = path.to_str().unwrap();
    let commands = [
        "write -P 9 100000 5000",
        "write -P 8 20G 1M",
        "read -P 9 100000 5000",
        "read -P 8 20G 1M",
        "read -P 0 24G 1M",
    ];
    for command in commands {
        let output = run("qemu-io", &["-f", "qcow2", "-c", command, path_text]);
        let output = String::from_utf8(output).unwrap();
        assert!(!output.contains("failed"), "{command}: {output}");
    }
    check(&path);
    assert!(std::fs::read(&base).unwrap() == before);
}

#[test]
fn an_older_longer_file_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let base = base(dir.path());
    let path = dir.path().join("overlay.qcow2");
    std::fs::write(&path, vec![0xff; 1 << 20]).unwrap();
    overlay(dir.path(), base.to_str().unwrap(), BASE_SIZE);
    check(&path);
    compare("qcow2", &base, &path);
}
