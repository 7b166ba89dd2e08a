//! LVM: volume groups that LVM's own tools have made, damage, and groups no tool would make.
//!
//! The files in `fixtures/lvm` are the heads of physical volumes; see the generator beside them.

use abbild_disk::lvm::{Group, LogicalVolume, divide, is_physical_volume, open};
use abbild_disk::{Error, ErrorKind, ExtentKind, Result, Source};
use proptest::prelude::*;

use crate::build::pattern;

/// Bytes per extent of all groups here, and where the first extent of most begins.
const EXTENT: usize = 64 << 10;
const START: usize = 1 << 20;

/// A physical volume of 4 MiB whose extents hold a pattern that differs from byte to byte.
fn physical(head: &[u8], start: usize, seed: u8) -> Vec<u8> {
    let mut bytes = head.to_vec();
    bytes.resize(start, 0);
    bytes.extend(pattern(seed, (4 << 20) - start));
    bytes
}

fn fixture(name: &str) -> Vec<u8> {
    let path = format!(
        "{}/../../fixtures/lvm/{name}.pv",
        env!("CARGO_MANIFEST_DIR")
    );
    std::fs::read(path).unwrap()
}

fn find<'a, S: Source>(group: &'a Group<S>, name: &str) -> &'a LogicalVolume<S> {
    let mut volumes = group.volumes().iter();
    volumes.find(|volume| volume.name() == name).unwrap()
}

fn read<S: Source>(group: &Group<S>, name: &str) -> Vec<u8> {
    let volume = find(group, name);
    let source = volume.open().unwrap();
    assert_eq!(source.len(), volume.size());
    let mut bytes = vec![0; volume.size() as usize];
    source.read_at(0, &mut bytes).unwrap();
    bytes
}

fn extents(of: &[u8], first: usize, count: usize) -> &[u8] {
    &of[START + first * EXTENT..][..count * EXTENT]
}

#[test]
fn physical_volumes_are_told_apart_by_their_group() {
    let head = |name| physical(&fixture(name), START, 1);
    let damaged = {
        let mut bytes = head("linear");
        bytes[512 + 40] ^= 1;
        bytes
    };
    let disks = [
        head("pair-2"),
        head("linear"),
        damaged,
        head("pair-1"),
        Vec::new(),
    ];
    assert_eq!(divide(&disks), [vec![0, 3], vec![1], vec![2], vec![4]]);
    assert_eq!(divide::<Vec<u8>>(&[]), Vec::<Vec<usize>>::new());
}

#[test]
fn what_an_installer_makes_is_read() {
    let disk = physical(&fixture("linear"), START, 1);
    assert!(is_physical_volume(&disk).unwrap());
    let group = open(vec![&disk]).unwrap();
    assert_eq!(group.name(), "debian-vg");
    assert!(group.warnings().is_empty());
    let names: Vec<_> = group.volumes().iter().map(LogicalVolume::name).collect();
    assert_eq!(names, ["root", "swap_1"]);
    assert_eq!(group.volumes()[0].uuid().len(), 38);
    let root = [extents(&disk, 0, 10), extents(&disk, 14, 6)].concat();
    assert!(read(&group, "root") == root);
    assert!(read(&group, "swap_1") == extents(&disk, 10, 4));
    // Over the seam of the two segments.
    let volume = find(&group, "root").open().unwrap();
    let mut buf = vec![0; 9000];
    volume.read_at(10 * EXTENT as u64 - 4000, &mut buf).unwrap();
    assert!(buf == root[10 * EXTENT - 4000..][..9000]);
    assert!(volume.read_at(root.len() as u64, &mut [0]).is_err());
    assert!(volume.data_at(root.len() as u64).is_err());
}

#[test]
fn stripes_and_several_physical_volumes_are_read() {
    let (first, second) = (
        physical(&fixture("pair-1"), START, 1),
        physical(&fixture("pair-2"), START, 2),
    );
    for order in [vec![&first, &second], vec![&second, &first]] {
        let group = open(order).unwrap();
        assert_eq!(group.name(), "pair");
        let expected = [extents(&first, 0, 3), extents(&second, 6, 3)].concat();
        assert!(read(&group, "first") == expected);
        assert!(read(&group, "second") == extents(&second, 4, 2));
        let (left, right) = (extents(&first, 3, 4), extents(&second, 0, 4));
        let mut striped = Vec::new();
        for (left, right) in left.chunks(16 << 10).zip(right.chunks(16 << 10)) {
            striped.extend_from_slice(left);
            striped.extend_from_slice(right);
        }
        assert!(read(&group, "striped") == striped);
        let volume = find(&group, "striped").open().unwrap();
        for (start, len) in [(0, 1), (16_383, 2), (40_000, 100_000), (500_000, 24_288)] {
            let mut buf = vec![0; len];
            volume.read_at(start as u64, &mut buf).unwrap();
            assert!(buf == striped[start..start + len], "{start}");
        }
    }
}

#[test]
fn a_missing_physical_volume_is_told_by_each_volume_that_needs_it() {
    let second = physical(&fixture("pair-2"), START, 2);
    let group = open(vec![&second]).unwrap();
    assert!(read(&group, "second") == extents(&second, 4, 2));
    for name in ["first", "striped"] {
        let error = find(&group, name).open().unwrap_err();
        assert_eq!(error.code(), "lvm-missing");
        assert!(error.message().contains(name), "{error}");
    }
}

#[test]
fn a_text_over_the_end_of_its_ring_is_read_round() {
    let disk = physical(&fixture("ring"), EXTENT, 3);
    let group = open(vec![&disk]).unwrap();
    assert_eq!(group.name(), "ring");
    let name = group.volumes()[0].name();
    assert!(name.starts_with("renamed"), "{name}");
    assert!(read(&group, name) == disk[EXTENT..3 * EXTENT]);
    assert!(read(&group, "other3") == disk[5 * EXTENT..6 * EXTENT]);
}

#[test]
fn other_kinds_of_volumes_are_refused_by_name() {
    let disks = [
        physical(&fixture("kinds-1"), START, 1),
        physical(&fixture("kinds-2"), START, 2),
    ];
    let group = open(disks.iter().collect()).unwrap();
    let mut kinds = Vec::new();
    for volume in group.volumes() {
        if matches!(volume.name(), "plain" | "origin") {
            assert_eq!(read(&group, volume.name()).len(), 2 * EXTENT);
            continue;
        }
        let error = volume.open().unwrap_err();
        assert_eq!(error.code(), "lvm-segment");
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.hint().is_some() && volume.size() > 0);
        let message = error.message().to_owned();
        let (_, kind) = message.split_once("of the kind ").unwrap();
        kinds.push(format!(
            "{} {}",
            volume.name(),
            kind.split(';').next().unwrap()
        ));
    }
    kinds.sort();
    let expected = [
        "copy snapshot",
        "pool thin-pool",
        "raid raid1",
        "thin thin",
        "zero zero",
    ];
    assert_eq!(kinds, expected);
}

#[test]
fn damage_of_label_header_or_text_is_seen() {
    let disk = physical(&fixture("linear"), START, 1);
    let head = fixture("linear").len();
    let code = |disk: &Vec<u8>| open(vec![disk]).unwrap_err().code();
    for at in [512 + 16, 512 + 21, 512 + 40, 1000] {
        let mut damaged = disk.clone();
        damaged[at] ^= 1;
        assert_eq!(code(&damaged), "lvm-label", "{at}");
        assert!(is_physical_volume(&damaged).unwrap());
    }
    for at in [4096, 4100, 4096 + 40, 4096 + 56, 4607, head - 200] {
        let mut damaged = disk.clone();
        let at = if at == head - 200 { newest(&disk) } else { at };
        damaged[at] ^= 1;
        assert_eq!(code(&damaged), "lvm-metadata", "{at}");
    }
    for len in [4096, 4600, newest(&disk)] {
        let mut cut = disk.clone();
        cut.truncate(len);
        assert_eq!(code(&cut), "truncated", "{len}");
    }
    let mut cut = disk.clone();
    cut.truncate(START + 15 * EXTENT);
    let group = open(vec![&cut]).unwrap();
    assert!(read(&group, "swap_1") == extents(&disk, 10, 4));
    assert_eq!(find(&group, "root").open().unwrap_err().code(), "truncated");
    for len in [0, 511, 512, 1000] {
        assert!(!is_physical_volume(&disk[..len]).unwrap());
        assert_eq!(
            open(vec![&disk[..len]]).unwrap_err().kind(),
            ErrorKind::NotRecognised
        );
    }
}

/// Where the valid text of a physical volume begins.
fn newest(disk: &[u8]) -> usize {
    4096 + u64::from_le_bytes(disk[4136..4144].try_into().unwrap()) as usize
}

#[test]
fn sources_that_do_not_belong_together_are_refused() {
    let disk = |name: &str| physical(&fixture(name), START, 1);
    let code = |disks: Vec<Vec<u8>>| open(disks).unwrap_err().code();
    assert_eq!(code(vec![]), "lvm-groups");
    assert_eq!(code(vec![disk("linear"), disk("pair-1")]), "lvm-groups");
    assert_eq!(code(vec![disk("linear"), disk("linear")]), "lvm-duplicate");
    assert_eq!(code(vec![disk("linear"), vec![0; 4096]]), "lvm-label");
}

/// LVM's checksum, one bit at a time.
fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0xf597_a6cf, |sum, &byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| {
            (sum >> 1) ^ (0xedb8_8320 * (sum & 1))
        })
    })
}

const AREA_LEN: usize = 500 << 10;
/// Where a second metadata area can be; the first is at 4 KiB.
const SECOND: usize = 512 << 10;

/// A physical volume with metadata areas at these offsets, which hold these texts.
fn made(areas: &[(usize, &str)]) -> Vec<u8> {
    let mut disk = vec![0; 4 << 20];
    disk[512..520].copy_from_slice(b"LABELONE");
    disk[520] = 1;
    disk[532] = 32;
    disk[536..544].copy_from_slice(b"LVM2 001");
    disk[544..576].fill(b'A');
    let mut list = 544 + 40;
    for pair in [(START, 0usize), (0, 0)]
        .into_iter()
        .chain(areas.iter().map(|(at, _)| (*at, AREA_LEN)))
    {
        disk[list..list + 8].copy_from_slice(&pair.0.to_le_bytes());
        disk[list + 8..list + 16].copy_from_slice(&pair.1.to_le_bytes());
        list += 16;
    }
    let sum = checksum(&disk[532..1024]);
    disk[528..532].copy_from_slice(&sum.to_le_bytes());
    for (at, text) in areas {
        let header = &mut disk[*at..*at + 512];
        header[4..20].copy_from_slice(b" LVM2 x[5A%r0N*>");
        header[20] = 1;
        for (field, value) in [(24, *at), (32, AREA_LEN), (40, 512), (48, text.len())] {
            header[field..field + 8].copy_from_slice(&value.to_le_bytes());
        }
        header[56..60].copy_from_slice(&checksum(text.as_bytes()).to_le_bytes());
        let sum = checksum(&header[4..]);
        header[..4].copy_from_slice(&sum.to_le_bytes());
        disk[at + 512..at + 512 + text.len()].copy_from_slice(text.as_bytes());
    }
    disk
}

const PV_ID: &str = "AAAAAA-AAAA-AAAA-AAAA-AAAA-AAAA-AAAAAA";
const LV_ID: &str = "BBBBBB-BBBB-BBBB-BBBB-BBBB-BBBB-BBBBBB";

/// The text of a group with one volume `lv`, which has these segments.
fn text(seqno: u32, segments: &[&str]) -> String {
    let mut body = String::new();
    for (index, segment) in segments.iter().enumerate() {
        body += &format!("segment{} {{ {segment} }}\n", index + 1);
    }
    format!(
        "vg {{ id = \"{LV_ID}\" seqno = {seqno} extent_size = 128\n\
         physical_volumes {{ pv0 {{ id = \"{PV_ID}\" pe_start = 2048 pe_count = 48 }} }}\n\
         logical_volumes {{ lv {{ id = \"{LV_ID}\" status = [\"VISIBLE\"] segment_count = {}\n\
         {body} }} }} }}\n",
        segments.len()
    )
}

const LINEAR: &str =
    "start_extent = 0 extent_count = 2 type = \"striped\" stripe_count = 1 stripes = [\"pv0\", 5]";

fn volume_error(segments: &[&str]) -> Error {
    let disk = made(&[(4096, &text(1, segments))]);
    open(vec![disk]).unwrap().volumes()[0].open().unwrap_err()
}

#[test]
fn the_newer_of_two_areas_counts_and_a_damaged_one_is_told() {
    let (old, new) = (text(7, &[]), text(8, &[LINEAR]));
    for areas in [
        [(4096, old.as_str()), (SECOND, new.as_str())],
        [(4096, new.as_str()), (SECOND, old.as_str())],
    ] {
        let group = open(vec![made(&areas)]).unwrap();
        assert_eq!(group.volumes()[0].size(), 2 * EXTENT as u64);
        assert!(group.warnings().is_empty());
    }
    let mut disk = made(&[(4096, &new), (SECOND, &new)]);
    disk[5000] ^= 1;
    let group = open(vec![&disk]).unwrap();
    assert_eq!(group.warnings().len(), 1);
    assert!(group.volumes()[0].open().is_ok());
    disk[SECOND + 9] ^= 1;
    assert_eq!(open(vec![&disk]).unwrap_err().code(), "lvm-metadata");
    let none = open(vec![made(&[])]).unwrap_err();
    assert_eq!(none.code(), "lvm-groups", "an area may lie elsewhere");
}

#[test]
fn segments_are_checked() {
    let striped = |rest: &str| format!("type = \"striped\" {rest}");
    for (segments, code) in [
        (vec![], "lvm-volume"),
        (vec![striped("")], "lvm-volume"),
        (
            vec![LINEAR.replace("start_extent = 0", "start_extent = 1")],
            "lvm-volume",
        ),
        (vec![LINEAR.to_owned(), LINEAR.to_owned()], "lvm-volume"),
        (
            vec![LINEAR.replace("extent_count = 2", "extent_count = 0")],
            "lvm-volume",
        ),
        (vec![LINEAR.replace("count = 1", "count = 2")], "lvm-volume"),
        (
            vec![LINEAR.replace("[\"pv0\", 5]", "[5, \"pv0\"]")],
            "lvm-volume",
        ),
        (vec![LINEAR.replace(", 5]", ", 47]")], "lvm-volume"),
        (
            vec![LINEAR.replace(", 5]", ", 18446744073709551615]")],
            "lvm-volume",
        ),
        (
            vec![LINEAR.replace("extent_count = 2", "extent_count = 18446744073709551615")],
            "lvm-volume",
        ),
        (vec![LINEAR.replace("pv0", "pvmove0")], "lvm-segment"),
        (vec![LINEAR.replace("striped", "cache+\\x")], "lvm-segment"),
    ] {
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let error = volume_error(&segments);
        assert_eq!(error.code(), code, "{segments:?}: {error}");
        assert!(error.to_string().len() < 200);
    }
    let two = "start_extent = 0 extent_count = 2 type = \"striped\" stripe_count = 2 stripe_size = 32 \
               stripes = [\"pv0\", 5, \"pv0\", 9]";
    for wrong in [
        "stripe_size = 0",
        "stripe_size = 33",
        "extent_count = 3",
        "x = 1",
    ] {
        let (key, _) = wrong.split_once(" =").unwrap();
        let key = if key == "x" { "stripe_size" } else { key };
        let old = two.split(key).nth(1).unwrap().split(' ').nth(2).unwrap();
        let segment = two.replace(&format!("{key} = {old}"), wrong);
        assert_eq!(volume_error(&[&segment]).code(), "lvm-volume", "{wrong}");
    }
    let disk = made(&[(4096, &text(1, &[two]))]);
    assert!(open(vec![disk]).unwrap().volumes()[0].open().is_ok());
}

#[test]
fn groups_are_checked() {
    let good = text(1, &[LINEAR]);
    for (from, to) in [
        ("extent_size = 128", "extent_size = 0"),
        ("extent_size = 128", "extent_size = 18446744073709551615"),
        ("seqno = 1", "seqno = \"1\""),
        ("pe_start = 2048", "pe_start = 18446744073709551615"),
        ("pe_count", "pe_number"),
        ("lv {", "l/v {"),
        ("vg {", "v\u{1b} {"),
        (PV_ID, "AAAAAA"),
        ("}\n", ""),
    ] {
        let wrong = good.replace(from, to);
        assert_ne!(wrong, good);
        let error = open(vec![made(&[(4096, &wrong)])]).unwrap_err();
        assert_eq!(error.code(), "lvm-metadata", "{to}: {error}");
    }
    // Names need not differ, and volumes that are not visible do not count.
    let volume = |status: &str| format!("v {{ id = \"{LV_ID}\" status = [{status}] }}\n");
    for (status, code) in [("\"VISIBLE\"", Some("lvm-limits")), ("", None)] {
        let many = format!("logical_volumes {{ {}", volume(status).repeat(5000));
        let crowd = good.replace("logical_volumes {", &many);
        let outcome = open(vec![made(&[(4096, &crowd)])]);
        assert_eq!(outcome.err().map(|error| error.code()), code);
    }
}

#[test]
fn holes_of_a_physical_volume_are_holes_of_its_volumes() {
    /// All zeros from byte 1 MiB + 5 extents + 4096 on.
    struct Sparse(Vec<u8>);
    impl Source for Sparse {
        fn len(&self) -> u64 {
            self.0.len() as u64
        }
        fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
            self.0.read_at(offset, buf)
        }
        fn data_at(&self, offset: u64) -> Result<abbild_disk::Extent> {
            let hole = (START + 5 * EXTENT + 4096) as u64;
            let (end, kind) = match offset < hole {
                true => (hole, ExtentKind::Data),
                false => (self.len(), ExtentKind::Zero),
            };
            Ok(abbild_disk::Extent {
                offset,
                len: end - offset,
                kind,
            })
        }
    }
    let group = open(vec![Sparse(made(&[(4096, &text(1, &[LINEAR]))]))]).unwrap();
    let volume = group.volumes()[0].open().unwrap();
    let extent = volume.data_at(100).unwrap();
    assert_eq!((extent.len, extent.kind), (3996, ExtentKind::Data));
    let extent = volume.data_at(4096).unwrap();
    assert_eq!(
        (extent.len, extent.kind),
        (2 * EXTENT as u64 - 4096, ExtentKind::Zero)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn damaged_texts_never_panic(
        damage in prop::collection::vec((any::<prop::sample::Index>(), 32..127u8), 1..6),
        numbers in any::<bool>(),
    ) {
        let mut text = text(1, &[LINEAR]).into_bytes();
        for (at, value) in damage {
            let at = at.index(text.len());
            if !numbers {
                text[at] = value;
            } else if text[at].is_ascii_digit() {
                text[at] = b'0' + value % 10;
            }
        }
        let disk = made(&[(4096, std::str::from_utf8(&text).unwrap())]);
        let Ok(group) = open(vec![&disk]) else {
            return Ok(());
        };
        for volume in group.volumes() {
            let Ok(source) = volume.open() else {
                continue;
            };
            prop_assert_eq!(source.len(), volume.size());
            let mut buf = vec![0; source.len().min(1 << 18) as usize];
            prop_assert!(source.read_at(0, &mut buf).is_ok());
            prop_assert!(source.data_at(source.len() - 1).is_ok());
        }
    }

    #[test]
    fn damaged_physical_volumes_never_panic(
        damage in prop::collection::vec((512..6000usize, any::<u8>()), 1..6),
    ) {
        let mut disk = made(&[(4096, &text(1, &[LINEAR]))]);
        for (at, value) in damage {
            disk[at] = value;
        }
        let label = checksum(&disk[532..1024]);
        disk[528..532].copy_from_slice(&label.to_le_bytes());
        let header = checksum(&disk[4100..4608]);
        disk[4096..4100].copy_from_slice(&header.to_le_bytes());
        if let Ok(group) = open(vec![&disk]) {
            for volume in group.volumes() {
                let _ = volume.open();
            }
        }
    }
}
