//! Files are known by content, and what is not read is named.

use abbild_disk::{Disk, ErrorKind, Format, Image, open};

use crate::build::{gpt_disk, put_mbr};

/// A disk of 1 MiB with `magic` at `at`.
fn disk(at: usize, magic: &[u8]) -> Vec<u8> {
    let mut disk = vec![0; 1 << 20];
    disk[at..at + magic.len()].copy_from_slice(magic);
    disk
}

#[test]
fn foreign_formats_are_named() {
    let end = (1 << 20) - 512;
    let cases: &[(&str, usize, &[u8])] = &[
        ("gzip", 0, b"\x1f\x8b\x08"),
        ("bzip2", 0, b"BZh91AY&SY"),
        ("xz", 0, b"\xfd7zXZ\0"),
        ("zstd", 0, b"\x28\xb5\x2f\xfd"),
        ("7z", 0, b"7z\xbc\xaf\x27\x1c"),
        ("zip", 0, b"PK\x03\x04"),
        ("vhd", 0, b"conectix"),
        ("vhd", end, b"conectix"),
        ("dmg", end, b"koly"),
        ("vmdk-cowd", 0, b"COWD"),
        ("vmdk-sesparse", 0, b"\xbe\xba\xfe\xca\0\0\0\0"),
        ("qed", 0, b"QED\0"),
        ("parallels", 0, b"WithoutFreeSpace"),
        ("wim", 0, b"MSWIM\0\0\0"),
        ("iso-9660", 32_769, b"CD001"),
        ("qcow1", 0, b"QFI\xfb\0\0\0\x01"),
        ("bare-filesystem", 1080, b"\x53\xef"),
        ("bare-filesystem", 0, b"XFSB"),
        ("bare-filesystem", 65_600, b"_BHRfS_M"),
        ("bare-filesystem", 0, b"LUKS\xba\xbe"),
        ("bare-filesystem", 512, b"LABELONE"),
        ("bare-filesystem", 4086, b"SWAPSPACE2"),
        ("text", 0, b"<!DOCTYPE html><title>404"),
    ];
    for (code, at, magic) in cases {
        let error = open(disk(*at, magic)).unwrap_err();
        assert_eq!(error.code(), *code, "{error}");
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert!(error.hint().is_some_and(|hint| !hint.is_empty()), "{error}");
    }
}

#[test]
fn a_container_is_not_taken_for_the_raw_disk_it_resembles() {
    for (code, at, magic) in [
        ("vhd", (1 << 20) - 512, &b"conectix"[..]),
        ("iso-9660", 32_769, b"CD001"),
    ] {
        let mut bytes = disk(at, magic);
        put_mbr(&mut bytes, 0, &[(0x80, 0x83, 1, 100)]);
        assert_eq!(open(bytes).unwrap_err().code(), code);
    }
}

#[test]
fn a_boot_sector_of_a_file_system_is_not_a_partition_table() {
    let mut fat = disk(54, b"FAT16   ");
    fat[510..512].copy_from_slice(&[0x55, 0xaa]);
    assert_eq!(open(&fat).unwrap_err().code(), "bare-filesystem");
    // Code and text lie where the entries would be.
    fat[446..510].fill(b'x');
    assert_eq!(open(&fat).unwrap_err().code(), "bare-filesystem");
}

#[test]
fn leftovers_behind_a_partition_table_do_not_matter() {
    let mut bytes = disk(1080, b"\x53\xef");
    put_mbr(&mut bytes, 0, &[(0x80, 0x83, 63, 100)]);
    let image = open(&bytes).unwrap();
    assert!(matches!(image, Image::Raw(_)));
    assert_eq!(image.format(), Format::Raw);
    assert_eq!(image.virtual_size(), 1 << 20);
}

#[test]
fn a_raw_disk_with_a_gpt_is_accepted_and_damage_is_told() {
    let kind = *b"Hah!IdontNeedEFI";
    let good = gpt_disk(512, 256, &[(kind, 40, 50, "boot")]);
    assert!(open(&good).unwrap().warnings().is_empty());
    let mut damaged = good.clone();
    damaged[512 + 60] ^= 1;
    let image = open(&damaged).unwrap();
    assert!(
        image.warnings()[0].contains("primary GPT is damaged"),
        "{:?}",
        image.warnings()
    );
    let last = damaged.len() - 512;
    damaged[last + 60] ^= 1;
    let error = open(&damaged).unwrap_err();
    assert_eq!((error.code(), error.kind()), ("gpt", ErrorKind::Corrupt));
}

#[test]
fn a_raw_disk_that_was_cut_off_is_refused() {
    let kind = *b"Hah!IdontNeedEFI";
    let mut gpt = gpt_disk(512, 256, &[(kind, 40, 200, "boot")]);
    gpt.truncate(512 * 150);
    assert_eq!(open(&gpt).unwrap_err().code(), "truncated");
    let mut mbr = vec![0; 512 * 100];
    put_mbr(&mut mbr, 0, &[(0x80, 0x83, 1, 200)]);
    assert_eq!(open(&mbr).unwrap_err().code(), "truncated");
}

#[test]
fn files_of_a_few_bytes_do_not_disturb() {
    for len in 0..600 {
        let error = open(vec![0x55; len]).unwrap_err();
        let code = if len == 0 {
            "empty-file"
        } else {
            "no-partition-table"
        };
        assert_eq!(error.code(), code);
        assert_eq!(error.kind(), ErrorKind::NotRecognised);
    }
}
