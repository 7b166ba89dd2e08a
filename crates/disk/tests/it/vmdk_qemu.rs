//! VMDK images of all the forms that QEMU can write, alone and packed into archives by tar.

use std::path::Path;
use std::process::Command;

use abbild_disk::{FileSource, Format, open};

use crate::qemu::{compare, compare_after_io, guest_content, have_qemu, run, zero_bytes};

/// Writes the test content as a VMDK at `image`.
fn convert(dir: &Path, image: &Path, options: &str) -> Vec<u8> {
    let content = guest_content();
    let raw = dir.join("disk.raw");
    std::fs::write(&raw, &content).unwrap();
    let (from, to) = (raw.to_str().unwrap(), image.to_str().unwrap());
    let args = [
        "convert", "-f", "raw", "-O", "vmdk", "-o", options, from, to,
    ];
    run("qemu-img", &args);
    content
}

#[test]
fn every_single_file_reads_like_qemu() {
    if !have_qemu() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("disk.vmdk");
    for options in [
        "subformat=monolithicSparse",
        "subformat=monolithicSparse,adapter_type=lsilogic",
        "subformat=monolithicSparse,adapter_type=buslogic,compat6=on",
        "subformat=monolithicSparse,zeroed_grain=on",
        "subformat=monolithicSparse,adapter_type=legacyESX,hwversion=7,toolsversion=9",
        "subformat=streamOptimized",
        "subformat=streamOptimized,adapter_type=lsilogic",
    ] {
        let content = convert(dir.path(), &image, options);
        compare(&image, Format::Vmdk, &content, options);
        assert!(
            zero_bytes(&image) > 2 << 20,
            "{options}: zeros count as data"
        );
    }
}

#[test]
fn grains_after_writes_read_like_qemu() {
    if have_qemu() {
        compare_after_io(Format::Vmdk, "subformat=monolithicSparse");
        compare_after_io(Format::Vmdk, "subformat=monolithicSparse,zeroed_grain=on");
        compare_after_io(Format::Vmdk, "subformat=monolithicSparse,compat6=on");
    }
}

/// Packs all of `dir` that is named `disk*.vmdk` by tar itself.
fn pack(dir: &Path, archive: &Path, options: &[&str]) {
    let mut names: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".vmdk"))
        .collect();
    names.sort();
    let status = Command::new("tar")
        .arg("-C")
        .arg(dir)
        .args(options)
        .arg("-cf")
        .arg(archive)
        .args(names)
        .status();
    assert!(status.unwrap().success());
}

#[test]
fn disks_of_several_files_are_read_out_of_an_archive() {
    if !have_qemu() {
        return;
    }
    for (subformat, dialect) in [
        ("monolithicFlat", "--format=ustar"),
        ("twoGbMaxExtentFlat", "--format=gnu"),
        ("twoGbMaxExtentSparse", "--format=posix"),
        ("monolithicSparse", "--format=ustar"),
        ("streamOptimized", "--format=oldgnu"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("disk.vmdk");
        let content = convert(dir.path(), &image, &format!("subformat={subformat}"));
        let archive = dir.path().join("disk.tar");
        pack(dir.path(), &archive, &[dialect]);
        compare(&archive, Format::Vmdk, &content, subformat);
        if subformat.ends_with("Flat") || subformat.starts_with("two") {
            let error = open(FileSource::open(&image).unwrap()).unwrap_err();
            assert_eq!(error.code(), "vmdk-descriptor");
            let command = "`qemu-img convert -O qcow2 disk.vmdk NEW.qcow2`";
            assert!(error.hint().unwrap().contains(command), "{error}");
            // The command does what the message promises.
            let new = dir.path().join("NEW.qcow2");
            let (from, to) = (image.to_str().unwrap(), new.to_str().unwrap());
            run("qemu-img", &["convert", "-O", "qcow2", from, to]);
            compare(&new, Format::Qcow2, &content, subformat);
        }
    }
}

#[test]
fn a_disk_beyond_two_gigabytes_is_read_across_its_parts() {
    if !have_qemu() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("disk.vmdk");
    let path = image.to_str().unwrap();
    let option = "subformat=twoGbMaxExtentSparse";
    run(
        "qemu-img",
        &["create", "-q", "-f", "vmdk", "-o", option, path, "5G"],
    );
    let writes = [
        "write -P 1 2047M 2M",
        "write -P 2 4095M 1M",
        "write -P 3 5119M 1M",
    ];
    let mut args = vec!["-f", "vmdk"];
    args.extend(writes.iter().flat_map(|write| ["-c", write]));
    args.push(path);
    run("qemu-io", &args);
    let archive = dir.path().join("disk.tar");
    pack(dir.path(), &archive, &["--format=gnu"]);

    use abbild_disk::{Disk, ExtentKind, Source};
    let disk = open(FileSource::open(&archive).unwrap()).unwrap();
    disk.verify().unwrap();
    assert_eq!(disk.virtual_size(), 5 << 30);
    let mut buf = vec![0; 4 << 20];
    disk.read_at(2046 << 20, &mut buf).unwrap();
    let expected = [vec![0; 1 << 20], vec![1; 2 << 20], vec![0; 1 << 20]].concat();
    assert!(buf == expected);
    disk.read_at(5119 << 20, &mut buf[..1 << 20]).unwrap();
    assert!(buf[..1 << 20] == vec![3; 1 << 20]);
    let (mut offset, mut data) = (0, Vec::new());
    while offset < disk.virtual_size() {
        let extent = disk.extent_at(offset).unwrap();
        if extent.kind == ExtentKind::Data {
            data.push((extent.offset >> 20, extent.len >> 20));
        }
        offset += extent.len;
    }
    assert_eq!(data, [(2047, 2), (4095, 1), (5119, 1)]);
}
