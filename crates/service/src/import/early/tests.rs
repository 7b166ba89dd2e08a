use std::io::Write as _;

use super::*;

const TOTAL: u64 = 10 << 30;

/// The codes or rules for which the report refuses.
fn look(bytes: &[u8], total: Option<u64>) -> Option<String> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    let context = Context {
        today: None,
        ..Context::default()
    };
    let report = refusal(&file, bytes.len() as u64, total, context).unwrap()?;
    Some(crate::import::refusal(&report))
}

#[track_caller]
fn refused(bytes: &[u8], total: Option<u64>, word: &str) {
    let text = look(bytes, total).unwrap_or_else(|| panic!("not refused: {word}"));
    assert!(text.contains(word), "{text}");
}

fn head(patches: &[(usize, &[u8])]) -> Vec<u8> {
    let mut head = vec![0; 256 << 10];
    for &(at, bytes) in patches {
        head[at..][..bytes.len()].copy_from_slice(bytes);
    }
    head
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// An archive whose one small member is here; what follows is still to come.
fn tar() -> Vec<u8> {
    let mut header = vec![0; 512];
    header[..5].copy_from_slice(b"a.ovf");
    header[124..135].copy_from_slice(b"00001000000");
    header[148..156].fill(b' ');
    header[156] = b'0';
    header[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    head(&[(0, &header)])
}

/// One partition of `sectors` sectors from the 2048th on.
fn mbr(sectors: u32) -> Vec<u8> {
    let mut entry = [0; 16];
    entry[4] = 0x83;
    entry[8..12].copy_from_slice(&2048_u32.to_le_bytes());
    entry[12..].copy_from_slice(&sectors.to_le_bytes());
    head(&[(446, &entry), (510, b"\x55\xaa")])
}

fn qcow2(size: u64, backing: u64) -> Vec<u8> {
    let mut header = b"QFI\xfb\0\0\0\x03".to_vec();
    header.extend(backing.to_be_bytes());
    header.extend((if backing == 0 { 0_u32 } else { 9 }).to_be_bytes());
    header.extend(16_u32.to_be_bytes());
    header.extend(size.to_be_bytes());
    header.extend(0_u32.to_be_bytes());
    let l1_entries = u32::try_from(size.div_ceil(512 << 20)).unwrap();
    header.extend(l1_entries.to_be_bytes());
    header.extend(0x30000_u64.to_be_bytes());
    header.extend(0x10000_u64.to_be_bytes());
    header.extend([0, 0, 0, 1, 0, 0, 0, 0]);
    header.extend([0; 8 + 24]);
    header.extend([0, 0, 0, 4, 0, 0, 0, 104]);
    head(&[(0, &header), (0x200, b"base.img\0")])
}

#[test]
fn what_is_recognised_and_not_supported_is_refused_by_its_head() {
    for total in [Some(TOTAL), None] {
        refused(&head(&[(32_769, b"CD001")]), total, "ISO 9660");
        refused(&head(&[(0, b"conectix")]), total, "VHD");
        refused(&head(&[(0, b"MSWIM\0\0\0")]), total, "WIM");
        refused(
            &head(&[(1080, b"\x53\xef")]),
            total,
            "without a partition table",
        );
        refused(&head(&[(0, b"<html>")]), total, "error page");
        refused(&head(&[(0, b"garbage")]), total, "no partition table was");
        refused(&head(&[]), total, "no partition table was");
        refused(&qcow2(1 << 30, 0x200), total, "backing file");
        refused(&qcow2(200 << 30, 0), total, "virtual-size");
        refused(&gzip(&head(&[(32_769, b"CD001")])), total, "ISO 9660");
        refused(&gzip(&qcow2(1 << 30, 0x200)), total, "backing file");
    }
}

#[test]
fn what_may_still_be_good_goes_on() {
    for total in [Some(TOTAL), None] {
        for (name, bytes) in [
            ("a raw disk", mbr(1 << 21)),
            ("a qcow2 image", qcow2(1 << 30, 0)),
            ("a compressed raw disk", gzip(&mbr(1 << 21))),
            ("hardly anything", b"QFI".to_vec()),
            ("nothing", Vec::new()),
            ("too little of zeros", vec![0; 4096]),
            (
                "the start of a gzip file",
                gzip(&mbr(1 << 21))[..12].to_vec(),
            ),
            ("a tar archive", tar()),
        ] {
            assert_eq!(look(&bytes, total), None, "{name}, {total:?}");
        }
    }
}

#[test]
fn a_raw_disk_is_measured_by_the_length_that_was_announced() {
    refused(&mbr(1 << 21), Some(200 << 30), "virtual-size");
    refused(
        &mbr(1 << 23),
        Some(1 << 30),
        "the partition table describes",
    );
    assert_eq!(look(&mbr(1 << 21), None), None);
}

#[test]
fn a_size_that_the_operator_lets_pass_goes_on() {
    let mut file = tempfile::tempfile().unwrap();
    let bytes = qcow2(200 << 30, 0);
    file.write_all(&bytes).unwrap();
    let mut context = Context::default();
    context
        .severities
        .0
        .insert(RuleId::VirtualSize, Severity::Warning);
    let report = refusal(&file, bytes.len() as u64, Some(TOTAL), context).unwrap();
    assert!(report.is_none());
}

#[test]
fn looks_become_rarer_and_end() {
    let mut looks = vec![0];
    while let Some(next) = next_look(*looks.last().unwrap()) {
        looks.push(next);
    }
    assert_eq!(looks, [0, 128 << 10, 4 << 20, 64 << 20]);
}
