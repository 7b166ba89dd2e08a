//! Archives: what is found in them, in every dialect of tar, and what is refused.

use abbild_disk::{Disk, ErrorKind, Format, Limits, Source, open, open_with};
use proptest::prelude::*;

use crate::build::{Cluster, gpt_disk, pattern};
use crate::tar_build::{archive, entry, file, header, seal};
use crate::vmdk_build::{Grain, Layout, Shape, descriptor};

fn qcow2() -> (Vec<u8>, Vec<u8>) {
    let image = crate::build::Shape::new(12, &[Cluster::Data(7), Cluster::Packed(8)]).build();
    (image.bytes, image.guest)
}

/// Opens the archive, and checks format and content.
fn check(archive: &Vec<u8>, format: Format, guest: &[u8]) {
    let disk = open(archive).unwrap();
    assert_eq!(disk.format(), format);
    disk.verify().unwrap();
    let mut found = vec![0xff; disk.virtual_size() as usize];
    disk.read_at(0, &mut found).unwrap();
    assert!(found == guest);
}

fn code(archive: &Vec<u8>) -> &'static str {
    open(archive).unwrap_err().code()
}

#[test]
fn the_only_disk_is_found_by_content_among_other_files() {
    let (image, guest) = qcow2();
    let members = [
        entry(b"vm/", b'5', b""),
        file("vm/machine.ovf", b"<?xml version=\"1.0\"?><Envelope/>"),
        file("vm/machine.mf", b"SHA256(machine.ovf)= 00"),
        file(
            "vm/._disk",
            &[&b"\x00\x05\x16\x07\x00\x02\0\0Mac OS X"[..], &[0; 99]].concat(),
        ),
        file("vm/README.vmdk", b"not what the name says"),
        file("vm/version.ini", b"version=1\nname=machine\n"),
        file("vm/empty", b""),
        entry(b"vm/link", b'2', b""),
        file("vm/disk", &image),
        file("vm/machine.cert", b"-----BEGIN CERTIFICATE-----"),
    ];
    check(&archive(&members), Format::Qcow2, &guest);
    let raw = gpt_disk(512, 256, &[(*b"Hah!IdontNeedEFI", 40, 50, "boot")]);
    check(&archive(&[file("disk.raw", &raw)]), Format::Raw, &raw);
    let stream = Shape::new(Layout::Stream, &[Grain::Data(1), Grain::Data(2)]).build();
    let ova = archive(&[
        file("a.ovf", b"<Envelope/>"),
        file("a-disk1.vmdk", &stream.bytes),
    ]);
    check(&ova, Format::Vmdk, &stream.guest);
}

#[test]
fn every_dialect_of_names_and_sizes_is_read() {
    let (image, guest) = qcow2();
    let octal = format!("{:011o}", image.len());
    let mut number = vec![0x80, 0, 0, 0];
    number.extend((image.len() as u64).to_be_bytes());
    let body = |mut header: Vec<u8>| {
        header.extend(&image);
        header
    };
    let mut gnu = header(b"disk", octal.as_bytes(), b'0', b"");
    gnu[257..265].copy_from_slice(b"ustar  \0");
    seal(&mut gnu);
    let mut old = header(b"disk", octal.as_bytes(), 0, b"");
    old[257..265].fill(0);
    seal(&mut old);
    let mut signed = header(b"di\xffsk", octal.as_bytes(), b'0', b"");
    let sum: i32 = signed.iter().map(|&byte| i32::from(byte as i8)).sum();
    let field: i32 = signed[148..156].iter().map(|&byte| i32::from(byte)).sum();
    let sum = sum - field + 8 * 32;
    signed[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let long = "d/".repeat(300) + "disk";
    let pax = format!(
        "{} size={}\n",
        9 + image.len().to_string().len(),
        image.len()
    );
    let pax = format!("{}{pax}", "30 mtime=1350244992.023960108\n");
    let plain = body(header(b"disk", octal.as_bytes(), b'0', b""));
    for members in [
        body(header(b"disk", &number, b'0', b"")),
        body(header(
            b"disk",
            format!("{:>11o} ", image.len()).as_bytes(),
            b'7',
            b"prefix",
        )),
        body(gnu),
        [file("first", b"x"), body(old)].concat(),
        body(signed),
        [
            entry(b"././@LongLink", b'L', long.as_bytes()),
            plain.clone(),
        ]
        .concat(),
        [
            entry(b"././@LongLink", b'K', long.as_bytes()),
            plain.clone(),
        ]
        .concat(),
        [
            entry(b"pax", b'x', pax.as_bytes()),
            body(header(b"disk", b"0", b'0', b"")),
        ]
        .concat(),
        [
            entry(b"pax_global_header", b'g', b"19 comment=abcdefg\n"),
            plain,
        ]
        .concat(),
    ] {
        check(&archive(&[members]), Format::Qcow2, &guest);
    }
}

#[test]
fn an_archive_ends_with_zeros_or_with_the_file() {
    let (image, guest) = qcow2();
    let member = file("disk", &image);
    let second = file("other", &image);
    for bytes in [
        member.clone(),
        [member.clone(), vec![0; 512]].concat(),
        [member.clone(), vec![0; 512], second.clone()].concat(),
        [member.clone(), vec![0; 1024], vec![0xee; 100_000]].concat(),
    ] {
        check(&bytes, Format::Qcow2, &guest);
    }
    let text = file("a", b"short");
    let unpadded = [
        text.clone(),
        header(b"b", b"5", b'0', b""),
        b"short".to_vec(),
    ]
    .concat();
    assert_eq!(code(&unpadded), "no-image", "the padding may be missing");
    let cut = [text, header(b"b", b"6", b'0', b""), b"short".to_vec()].concat();
    let error = open(&cut).unwrap_err();
    assert_eq!(
        (error.code(), error.kind()),
        ("truncated", ErrorKind::Corrupt)
    );
    assert!(error.message().contains("before `b` of 6 bytes"), "{error}");
    assert_eq!(
        code(&[member, vec![1; 100]].concat()),
        "truncated",
        "half a header"
    );
}

#[test]
fn several_images_are_listed_by_name() {
    let (image, _) = qcow2();
    let mut vhd = vec![0; 1 << 16];
    vhd[(1 << 16) - 512..][..8].copy_from_slice(b"conectix");
    let bytes = archive(&[
        file("a.qcow2", &image),
        file("x", b"text"),
        file("b/\x1bb.vhd", &vhd),
    ]);
    let error = open(&bytes).unwrap_err();
    assert_eq!(
        (error.code(), error.kind()),
        ("several-images", ErrorKind::Refused)
    );
    assert_eq!(
        error.message(),
        "the archive holds several disk images: `a.qcow2` and `b/?b.vhd`"
    );
    let many: Vec<_> = (0..40)
        .map(|number| file(&number.to_string(), &image))
        .collect();
    assert!(open(archive(&many)).unwrap_err().to_string().len() < 200);
}

#[test]
fn an_image_that_is_not_read_is_named_with_its_member() {
    let mut vhd = vec![0; 1 << 16];
    vhd[(1 << 16) - 512..][..8].copy_from_slice(b"conectix");
    let error = open(archive(&[file("disk.vhd", &vhd)])).unwrap_err();
    assert_eq!(
        (error.code(), error.kind()),
        ("vhd", ErrorKind::Unsupported)
    );
    assert!(
        error.message().starts_with("`disk.vhd`: the file is a VHD"),
        "{error}"
    );
    let error = open(archive(&[file("disk.raw", &[0; 4096])])).unwrap_err();
    assert_eq!(
        (error.code(), error.kind()),
        ("no-image", ErrorKind::NotRecognised)
    );
    assert!(
        error
            .message()
            .contains("`disk.raw`: the file (4096 bytes) begins with zeros")
    );
    let mut ext4 = vec![0; 4096];
    ext4[1080..1082].copy_from_slice(b"\x53\xef");
    let error = open(archive(&[
        file("rootfs.img", &ext4),
        file("vmlinuz", b"MZ"),
    ]))
    .unwrap_err();
    assert_eq!(
        (error.code(), error.kind()),
        ("no-image", ErrorKind::Unsupported)
    );
    assert!(error.message().contains("`rootfs.img`"), "{error}");
    assert!(error.hint().unwrap().contains("partition table"));
}

#[test]
fn compressed_members_are_refused_even_beside_an_image() {
    let (image, _) = qcow2();
    for magic in [
        &b"\x1f\x8b\x08"[..],
        b"BZh9",
        b"\xfd7zXZ\0",
        b"\x28\xb5\x2f\xfd",
    ] {
        let packed = file("disk.vmdk", &[magic, &[7; 600]].concat());
        for members in [vec![packed.clone()], vec![file("a", &image), packed]] {
            let error = open(archive(&members)).unwrap_err();
            assert_eq!(error.code(), "compressed-member");
            assert!(
                error
                    .message()
                    .starts_with("`disk.vmdk` in the archive is compressed")
            );
        }
    }
}

/// The parts of a disk of all kinds of extents, and its content.
fn split() -> (Vec<(&'static str, Vec<u8>)>, Vec<u8>) {
    let mut sparse = Shape::new(
        Layout::Sparse,
        &[Grain::Data(1), Grain::Absent, Grain::Data(2)],
    );
    sparse.descriptor = None;
    let sparse = sparse.build();
    let flat = pattern(3, 10 * 512);
    let text = descriptor(
        "twoGbMaxExtentSparse",
        "RW 24 SPARSE \"d-s001.vmdk\"\nRW 5 ZERO\nRDONLY 4 FLAT \"d f.vmdk\" 6\n\
         RW 6 FLAT \"d f.vmdk\" 0\nRW 3 VMFS \"d-flat.vmdk\"",
    );
    let guest = [
        &sparse.guest[..],
        &[0; 5 * 512],
        &flat[6 * 512..],
        &flat[..6 * 512],
        &flat[..3 * 512],
    ]
    .concat();
    let parts = vec![
        ("d.vmdk", text.into_bytes()),
        ("d-s001.vmdk", sparse.bytes),
        ("d f.vmdk", flat.clone()),
        ("d-flat.vmdk", flat),
    ];
    (parts, guest)
}

fn pack(parts: &[(&str, Vec<u8>)], directory: &str) -> Vec<u8> {
    let members = parts
        .iter()
        .map(|(name, content)| file(&format!("{directory}{name}"), content));
    archive(&members.collect::<Vec<_>>())
}

#[test]
fn a_descriptor_and_its_members_are_one_disk() {
    let (mut parts, guest) = split();
    for directory in ["", "./", "vm/", "./a/b/"] {
        check(&pack(&parts, directory), Format::Vmdk, &guest);
        parts.rotate_left(1);
    }
    let disk = open(pack(&parts, "")).unwrap();
    let mut buf = vec![0; 3000];
    for start in 0..guest.len() - 3000 {
        if start % 257 == 0 {
            disk.read_at(start as u64, &mut buf).unwrap();
            assert!(buf == guest[start..start + 3000], "at {start}");
        }
    }
}

#[test]
fn missing_parts_are_listed_and_looked_for_nowhere_else() {
    let (mut parts, _) = split();
    parts.remove(1);
    parts[1].0 = "D f.vmdk";
    let error = open(pack(&parts, "vm/")).unwrap_err();
    assert_eq!(
        (error.code(), error.kind()),
        ("missing-parts", ErrorKind::Corrupt)
    );
    assert!(
        error
            .message()
            .ends_with(": `d-s001.vmdk`, `d f.vmdk` and `d f.vmdk`"),
        "{error}"
    );
}

#[test]
fn a_fault_in_a_part_names_the_part() {
    let (mut parts, _) = split();
    parts[1].1[4] = 9;
    let error = open(pack(&parts, "")).unwrap_err();
    assert_eq!(error.code(), "version");
    assert!(
        error
            .to_string()
            .starts_with("vmdk: `d.vmdk`: `d-s001.vmdk`: version 9"),
        "{error}"
    );
    let (mut parts, _) = split();
    parts[1].1.truncate(6 * 512);
    let error = open(pack(&parts, "")).unwrap_err();
    assert_eq!(
        (error.code(), error.format()),
        ("truncated", Some(Format::Vmdk))
    );
    let (mut parts, _) = split();
    parts[3].1.truncate(3 * 512 - 1);
    assert_eq!(code(&pack(&parts, "")), "truncated");
    let (parts, guest) = split();
    let max_virtual_size = guest.len() as u64 - 1;
    let error = open_with(pack(&parts, ""), &Limits { max_virtual_size }).unwrap_err();
    assert_eq!(
        (error.code(), error.kind()),
        ("virtual-size", ErrorKind::Refused)
    );
}

#[test]
fn of_two_members_of_one_name_the_last_counts() {
    let (mut parts, guest) = split();
    parts.insert(0, ("d-flat.vmdk", pattern(99, 5120)));
    check(&pack(&parts, ""), Format::Vmdk, &guest);
}

#[test]
fn two_disks_of_several_files_are_two() {
    let (parts, _) = split();
    let both = [pack(&parts, "a/"), pack(&parts, "b/")].concat();
    // The first archive's end hides the second, as tar has it.
    assert!(open(&both).is_ok());
    let members = ["a/", "b/"].map(|directory| {
        let mut bytes = pack(&parts, directory);
        bytes.truncate(bytes.len() - 1024);
        bytes
    });
    assert_eq!(code(&archive(&members)), "several-images");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn damaged_archives_never_panic(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        sealed in any::<bool>(),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let (parts, _) = split();
        let mut bytes = pack(&parts, "");
        // Mostly headers: the first three members begin here.
        let second = 512 + parts[0].1.len().next_multiple_of(512);
        let third = second + 512 + parts[1].1.len().next_multiple_of(512);
        for (at, value) in damage {
            let at = at.index(4 * 512);
            let place = [0, second, third, 512][at / 512] + at % 512;
            bytes[place] = value;
        }
        if sealed {
            for place in [0, second, third] {
                seal(&mut bytes[place..place + 512]);
            }
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(disk) = open(&bytes) {
            crate::properties::exercise(&disk, &bytes);
        }
    }
}
