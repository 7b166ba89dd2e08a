//! Superblocks as the real tools write them, compared with what `blkid` reads in them.
//!
//! Of the tools, those of e2fsprogs, xfsprogs, dosfstools and util-linux are installed by
//! `scripts/setup`; what another one would make is left out, with a notice, where it is missing.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Output};

use abbild_guest::Filesystem;

use crate::disk::{Disk, Part};
use crate::tree::report;

/// The beginning of the filesystem is enough.
const KEPT: usize = 4 << 20;

/// Size of the filesystem in MiB, the program, and its arguments before the file.
type Tool = (u64, &'static str, &'static [&'static str]);

const TOOLS: &[Tool] = &[
    (8, "mke2fs", &["-q", "-F", "-t", "ext2", "-L", "two"]),
    (8, "mke2fs", &["-q", "-F", "-t", "ext3", "-L", "three"]),
    (8, "mke2fs", &["-q", "-F", "-t", "ext4", "-L", "four"]),
    (320, "mkfs.xfs", &["-q", "-L", "data"]),
    (8, "mkfs.vfat", &["-F", "12", "-n", "TWELVE"]),
    (32, "mkfs.vfat", &["-F", "16", "-n", "SIXTEEN"]),
    (64, "mkfs.vfat", &["-F", "32", "-n", "EFI"]),
    (64, "mkfs.vfat", &["-F", "32"]),
    (8, "mkswap", &["-q", "-L", "paging"]),
    (8, "mkswap", &["-q", "-p", "65536"]),
    (128, "mkfs.btrfs", &["-q", "-L", "pool"]),
    (64, "mkfs.f2fs", &["-q", "-l", "flash"]),
    (
        8,
        "mkntfs",
        &[
            "-q", "-F", "-Q", "-s", "512", "-p", "0", "-H", "16", "-S", "63",
        ],
    ),
    (8, "mkfs.exfat", &[]),
    (16, "cryptsetup", LUKS1),
    (32, "cryptsetup", LUKS2),
];

const LUKS1: &[&str] = &[
    "luksFormat",
    "-q",
    "--type=luks1",
    "--pbkdf-force-iterations=1000",
    "--key-file=/etc/passwd",
];
const LUKS2: &[&str] = &[
    "luksFormat",
    "-q",
    "--type=luks2",
    "--label=safe",
    "--pbkdf=pbkdf2",
    "--pbkdf-force-iterations=1000",
    "--key-file=/etc/passwd",
];

/// Runs a program; `None` if it is not installed.
fn run(program: &str, args: &[&str], path: &Path) -> Option<Output> {
    let directories = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap());
    let mut command = Command::new(program);
    command.args(args).arg(path).env("PATH", directories);
    command.output().ok()
}

/// What `blkid` says.
fn blkid(path: &Path) -> BTreeMap<String, String> {
    let output = run("blkid", &["-p", "-o", "export"], path).expect("util-linux is everywhere");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs
        .map(|(key, value)| (key.to_owned(), value.replace("\\ ", " ")))
        .collect()
}

fn read(path: &Path) -> Option<Filesystem> {
    let mut bytes = fs::read(path).unwrap();
    bytes.truncate(KEPT);
    let report = report(Disk::mbr([Part::new(bytes)]).bytes());
    report.facts.partition_table.unwrap().partitions[0]
        .filesystem
        .clone()
}

#[test]
fn real_filesystems_are_told_as_blkid_does() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("filesystem");
    for &(mib, program, args) in TOOLS {
        // Nothing of the one before is left.
        File::create(&path).unwrap().set_len(mib << 20).unwrap();
        let Some(made) = run(program, args, &path) else {
            eprintln!("\n*** NOT TESTED: {program} is not installed ***\n");
            continue;
        };
        assert!(made.status.success(), "{program} {args:?}: {made:?}");
        let wanted = blkid(&path);
        let found = read(&path).unwrap_or_else(|| panic!("{program} {args:?}: {wanted:?}"));
        let kind = match wanted["TYPE"].as_str() {
            "crypto_LUKS" => "luks",
            kind => kind,
        };
        assert_eq!(found.kind, kind, "{program} {args:?}");
        assert_eq!(
            found.uuid.as_ref(),
            wanted.get("UUID"),
            "{program} {args:?}"
        );
        assert_eq!(
            found.label.as_ref(),
            wanted.get("LABEL"),
            "{program} {args:?}"
        );
        if let Some(version) = &found.version {
            assert_eq!(Some(version), wanted.get("VERSION"), "{program} {args:?}");
        }
    }
}

#[test]
fn images_made_of_a_directory_are_told_as_blkid_does() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("filesystem");
    let source = directory.path().join("source");
    fs::create_dir(&source).unwrap();
    // Something to pack, or the image is shorter than its superblock is far.
    fs::write(source.join("file"), vec![b'x'; 100_000]).unwrap();
    let (from, to) = (source.to_str().unwrap(), path.to_str().unwrap());
    for (program, args) in [
        (
            "mksquashfs",
            vec![
                from,
                to,
                "-quiet",
                "-no-progress",
                "-noappend",
                "-no-xattrs",
            ],
        ),
        ("mkfs.erofs", vec!["--quiet", to, from]),
        (
            "xorrisofs",
            vec!["-quiet", "-V", "INSTALLER", "-o", to, from],
        ),
    ] {
        let _ = fs::remove_file(&path);
        let (last, first) = args.split_last().unwrap();
        let Some(made) = run(program, first, Path::new(last)) else {
            eprintln!("\n*** NOT TESTED: {program} is not installed ***\n");
            continue;
        };
        assert!(made.status.success(), "{program}: {made:?}");
        let wanted = blkid(&path);
        let found = read(&path).unwrap_or_else(|| panic!("{program}: {wanted:?}"));
        assert_eq!(found.kind, wanted["TYPE"]);
        assert_eq!(found.label.as_ref(), wanted.get("LABEL"), "{program}");
        if found.kind == "erofs" {
            assert_eq!(found.uuid.as_ref(), wanted.get("UUID"));
        }
    }
}

fn put(disk: &mut [u8], at: usize, bytes: &[u8]) {
    disk[at..][..bytes.len()].copy_from_slice(bytes);
}

fn found(bytes: Vec<u8>) -> Filesystem {
    let report = report(Disk::mbr([Part::new(bytes)]).bytes());
    let partitions = report.facts.partition_table.unwrap().partitions;
    partitions[0].filesystem.clone().unwrap()
}

#[test]
fn members_of_a_raid_are_told_wherever_their_superblock_is() {
    const LEN: usize = 2 << 20;
    let uuid: Vec<u8> = (1..=16).collect();
    for (version, offset) in [("1.0", LEN - 8192), ("1.1", 0), ("1.2", 4096)] {
        // A mirrored filesystem shows through where the superblock leaves it room.
        let mut disk = vec![0; LEN];
        put(&mut disk, 1024 + 0x38, &0xef53_u16.to_le_bytes());
        put(&mut disk, offset, &0xa92b_4efc_u32.to_le_bytes());
        put(&mut disk, offset + 4, &1_u32.to_le_bytes());
        put(&mut disk, offset + 16, &uuid);
        put(&mut disk, offset + 32, b"host:0");
        let found = found(disk);
        assert_eq!(found.kind, "mdraid", "{version}");
        assert_eq!(found.version.as_deref(), Some(version));
        assert_eq!(found.label.as_deref(), Some("host:0"));
        assert_eq!(
            found.uuid.as_deref(),
            Some("01020304-0506-0708-090a-0b0c0d0e0f10")
        );
        assert_eq!(found.evidence.offset, Some(((1 << 20) + offset) as u64));
    }
    for magic in [0xa92b_4efc_u32.to_le_bytes(), 0xa92b_4efc_u32.to_be_bytes()] {
        let mut disk = vec![0; LEN];
        put(&mut disk, LEN - (64 << 10), &magic);
        put(&mut disk, LEN - (64 << 10) + 20, &uuid[..4]);
        put(&mut disk, LEN - (64 << 10) + 52, &uuid[4..]);
        let found = found(disk);
        assert_eq!(
            (found.kind.as_str(), found.version.as_deref()),
            ("mdraid", Some("0.90"))
        );
        assert_eq!(
            found.uuid.as_deref(),
            Some("01020304-0506-0708-090a-0b0c0d0e0f10")
        );
    }
}

#[test]
fn both_versions_of_ufs_are_read_in_both_byte_orders() {
    for (magic, at, version, label) in [
        (0x0001_1954_u32, 8 << 10, "1", None),
        (0x1954_0119, 64 << 10, "2", Some("rootfs")),
    ] {
        for little in [true, false] {
            let bytes = |number: u32| match little {
                true => number.to_le_bytes(),
                false => number.to_be_bytes(),
            };
            let mut disk = vec![0; 1 << 20];
            put(&mut disk, at + 1372, &bytes(magic));
            put(&mut disk, at + 144, &bytes(0x65a1_b2c3));
            put(&mut disk, at + 148, &bytes(0x0102_0304));
            put(&mut disk, at + 680, b"rootfs");
            let found = found(disk);
            assert_eq!(
                (found.kind.as_str(), found.version.as_deref()),
                ("ufs", Some(version))
            );
            assert_eq!(found.uuid.as_deref(), Some("65a1b2c301020304"));
            assert_eq!(found.label.as_deref(), label);
        }
    }
}

#[test]
fn a_fat_without_its_name_is_one_all_the_same() {
    let mut disk = vec![0; 1440 << 10];
    put(&mut disk, 0, &[0xeb, 0x3c, 0x90]);
    put(
        &mut disk,
        11,
        &[0, 2, 1, 1, 0, 2, 224, 0, 0x40, 0x0b, 0xf0, 9, 0],
    );
    put(&mut disk, 510, &[0x55, 0xaa]);
    assert_eq!(found(disk.clone()).kind, "vfat");
    // Boot code alone is none.
    put(&mut disk, 11, &[0; 13]);
    let report = report(Disk::mbr([Part::new(disk)]).bytes());
    assert_eq!(
        report.facts.partition_table.unwrap().partitions[0].filesystem,
        None
    );
}
