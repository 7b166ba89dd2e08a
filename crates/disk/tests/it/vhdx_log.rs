//! VHDX images whose log has to be replayed: by us in memory, by QEMU in a copy of the file.

use abbild_disk::{Disk, ErrorKind, Result, Source, open};

use crate::qemu::{have_qemu, run};
use crate::vhdx_build::*;

use Payload::{Data, State};

fn read_all(bytes: &Vec<u8>) -> Result<Vec<u8>> {
    let disk = open(bytes)?;
    disk.verify()?;
    let mut guest = vec![0xff; disk.virtual_size() as usize];
    disk.read_at(0, &mut guest)?;
    Ok(guest)
}

/// An image of three blocks; the bytes of the second lie in the file, but no BAT entry tells.
fn unfinished() -> Vhdx {
    let mut image = Shape::new(&[Data(1), Data(2), Data(3)]).build();
    put64(&mut image.bytes, BAT + 8, 0);
    image.make_dirty();
    image
}

/// A change of the BAT by which the second block appears.
fn appear(image: &Vhdx) -> Change {
    Change::Sector(BAT, image.bat_sector(&[(1, bat_entry(DATA + MIB))]))
}

/// A change of the BAT by which all blocks vanish.
fn vanish(image: &Vhdx) -> Change {
    Change::Sector(BAT, image.bat_sector(&[(0, 0), (1, 0), (2, 0)]))
}

/// Reads the image as we do, and as QEMU does after it has written the log back.
fn check(image: &Vhdx, what: &str) {
    let disk = open(&image.bytes).unwrap();
    assert!(
        disk.warnings()[0].contains("not closed properly"),
        "{what}: {:?}",
        disk.warnings()
    );
    assert!(read_all(&image.bytes).unwrap() == image.guest, "{what}");
    if !have_qemu() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dirty.vhdx");
    let raw = dir.path().join("disk.raw");
    std::fs::write(&path, &image.bytes).unwrap();
    let (file, out) = (path.to_str().unwrap(), raw.to_str().unwrap());
    run(
        "qemu-img",
        &["check", "-q", "-r", "all", "-f", "vhdx", file],
    );
    run(
        "qemu-img",
        &["convert", "-f", "vhdx", "-O", "raw", file, out],
    );
    assert!(std::fs::read(&raw).unwrap() == image.guest, "{what}: QEMU");
    // What QEMU has written back holds the same.
    let bytes = std::fs::read(&path).unwrap();
    assert!(read_all(&bytes).unwrap() == image.guest, "{what}");
}

#[test]
fn a_change_of_the_bat_is_applied() {
    let mut image = unfinished();
    let len = image.bytes.len();
    image.put_log(0, &log_entry(5, 0, len, &[appear(&image)]));
    check(&image, "one entry at the beginning");
    let mut image = unfinished();
    let tail = 40 * 4096;
    image.put_log(tail, &log_entry(5, tail, len, &[appear(&image)]));
    check(&image, "one entry in the middle");
}

#[test]
fn later_entries_undo_earlier_ones() {
    let mut image = unfinished();
    let len = image.bytes.len();
    let next = image.put_log(0, &log_entry(1 << 40, 0, len, &[vanish(&image)]));
    image.put_log(next, &log_entry((1 << 40) + 1, 0, len, &[appear(&image)]));
    check(&image, "two entries");
}

#[test]
fn an_entry_over_the_end_of_the_ring_is_read_round() {
    let mut image = unfinished();
    let len = image.bytes.len();
    // The first entry takes two sectors, the second begins in the last sector of the ring.
    let tail = MIB - 3 * 4096;
    let next = image.put_log(tail, &log_entry(8, tail, len, &[vanish(&image)]));
    assert_eq!(next, MIB - 4096);
    let next = image.put_log(next, &log_entry(9, tail, len, &[appear(&image)]));
    assert_eq!(next, 4096);
    check(&image, "a sequence that wraps");
    // QEMU takes a newer entry at the beginning for a sequence of its own, whatever its tail says.
    let zeros = Change::Zeros(DATA + 8192, 12_288);
    image.put_log(next, &log_entry(10, tail, len, &[zeros]));
    image.guest[8192..20_480].fill(0);
    assert!(read_all(&image.bytes).unwrap() == image.guest);
}

#[test]
fn zeros_and_sectors_lie_over_each_other_in_order() {
    let mut image = unfinished();
    let len = image.bytes.len();
    let bytes: Vec<u8> = (0..4096u32).map(|at| (at * 7 % 251) as u8).collect();
    let changes = [
        appear(&image),
        Change::Sector(DATA + 4096, bytes.clone()),
        Change::Sector(DATA + 16_384, bytes.clone()),
        Change::Zeros(DATA + 8192, 3 * 4096),
        Change::Sector(DATA + 12_288, bytes.clone()),
    ];
    image.put_log(0, &log_entry(1, 0, len, &changes));
    image.guest[4096..8192].copy_from_slice(&bytes);
    image.guest[8192..20_480].fill(0);
    image.guest[12_288..16_384].copy_from_slice(&bytes);
    check(&image, "several changes");
    // Whatever is read, it is the same.
    let disk = open(&image.bytes).unwrap();
    for (start, len) in [(4000, 200), (8190, 4), (12_000, 5000), (1, 60_000)] {
        let mut buf = vec![0xff; len];
        disk.read_at(start as u64, &mut buf).unwrap();
        assert!(buf == image.guest[start..start + len], "{start}");
    }
}

#[test]
fn many_descriptors_take_several_sectors() {
    let mut image = unfinished();
    let len = image.bytes.len();
    let mut changes: Vec<_> = (0..140)
        .map(|index| Change::Zeros(DATA + index * 8192, 4096))
        .collect();
    changes.push(appear(&image));
    image.put_log(0, &log_entry(1, 0, len, &changes));
    for index in 0..140 {
        let from = index * 8192;
        image.guest[from..from + 4096].fill(0);
    }
    // QEMU reads all sectors of descriptors into the place of the first, and finds none valid.
    assert!(read_all(&image.bytes).unwrap() == image.guest);
}

#[test]
fn the_file_grows_as_the_log_says() {
    let mut image = unfinished();
    let len = image.bytes.len();
    let entry = Change::Sector(BAT, image.bat_sector(&[(1, bat_entry(len))]));
    let mut log = log_entry(1, 0, len, &[entry]);
    put64(&mut log, 56, (len + MIB) as u64);
    let log_len = log.len();
    seal(&mut log, 0, log_len);
    image.put_log(0, &log);
    image.guest[MIB..2 * MIB].fill(0);
    assert!(read_all(&image.bytes).unwrap() == image.guest);
}

#[test]
fn entries_before_the_tail_and_of_other_logs_do_not_count() {
    let mut image = unfinished();
    let len = image.bytes.len();
    let next = image.put_log(0, &log_entry(3, 0, len, &[vanish(&image)]));
    let tail = next;
    let next = image.put_log(next, &log_entry(4, tail, len, &[appear(&image)]));
    // A greater number, but of a log that was given up.
    let mut foreign = log_entry(5, tail, len, &[vanish(&image)]);
    foreign[40] ^= 1;
    let foreign_len = foreign.len();
    seal(&mut foreign, 0, foreign_len);
    image.put_log(next, &foreign);
    assert!(read_all(&image.bytes).unwrap() == image.guest);
    // The sequence with the greatest number counts, wherever it lies.
    let at = 200 * 4096;
    image.put_log(at, &log_entry(90, at, len, &[vanish(&image)]));
    assert!(
        read_all(&image.bytes)
            .unwrap()
            .iter()
            .all(|&byte| byte == 0)
    );
    // Its tail must be one of its own entries.
    image.put_log(at, &log_entry(90, tail, len, &[vanish(&image)]));
    assert!(read_all(&image.bytes).unwrap() == image.guest);
}

#[test]
fn an_empty_log_is_told_and_a_damaged_one_is_fatal() {
    let mut image = Shape::new(&[Data(1), State(0)]).build();
    image.make_dirty();
    check(&image, "an empty log");
    let len = image.bytes.len();
    let entry = log_entry(4, 0, len, &[appear(&image)]);
    for at in [5, 9, 13, 17, 25, 65, 72, 80, 90, 4096, 4103, 5000, 8191] {
        let mut damaged = entry.clone();
        damaged[at] ^= 0x40;
        image.put_log(0, &damaged);
        let error = open(&image.bytes).unwrap_err();
        assert_eq!(
            (error.code(), error.kind()),
            ("log", ErrorKind::Corrupt),
            "{at}: {error}"
        );
        assert!(error.hint().is_some());
        // A right checksum does not make wrong marks of descriptors and data sectors right.
        if matches!(at, 65 | 80 | 90 | 4096 | 4103 | 8191) {
            let damaged_len = damaged.len();
            seal(&mut damaged, 0, damaged_len);
            image.put_log(0, &damaged);
            assert_eq!(open(&image.bytes).unwrap_err().code(), "log", "{at}");
        }
    }
}

#[test]
fn a_file_shorter_than_the_log_says_is_truncated() {
    let mut image = unfinished();
    let len = image.bytes.len();
    image.put_log(0, &log_entry(1, 0, len + 1, &[appear(&image)]));
    assert_eq!(open(&image.bytes).unwrap_err().code(), "truncated");
}

#[test]
fn place_and_size_of_a_log_matter_when_it_is_dirty() {
    for (field, value, code) in [
        (64, 1 | 1 << 16, "log-version"),
        (68, 0, "log-place"),
        (68, 4096, "log-place"),
        (68, 64 << 20, "log-size"),
        (72, 512, "log-place"),
        (72, 0, "log-place"),
        (72, 100 << 20, "truncated"),
    ] {
        for dirty in [true, false] {
            let mut image = Shape::new(&[Data(1)]).build();
            if dirty {
                image.make_dirty();
            }
            put32(&mut image.bytes, HEADERS[1] + field, value);
            seal(&mut image.bytes, HEADERS[1], 4096);
            match open(&image.bytes) {
                Err(error) if dirty => assert_eq!(error.code(), code, "{error}"),
                Ok(_) if !dirty => assert!(read_all(&image.bytes).unwrap() == image.guest),
                // A clean log may be of any size and version, but lies over nothing else.
                Err(error) => assert_eq!(error.code(), "region-overlap"),
                Ok(_) => panic!("{field}: a dirty log was accepted"),
            }
        }
    }
}

#[test]
fn entries_that_overlap_do_not_take_long() {
    // Every sector claims to begin an entry as long as the log, so that each is checksummed.
    let mut image = Shape::new(&[Data(1)]).build();
    put_header(&mut image.bytes, HEADERS[1], 9, &LOG_GUID);
    put32(&mut image.bytes, HEADERS[1] + 68, 32 << 20);
    put64(&mut image.bytes, HEADERS[1] + 72, 16 << 20);
    seal(&mut image.bytes, HEADERS[1], 4096);
    image.bytes.resize(48 << 20, 0);
    let mut head = log_entry(1, 0, 0, &[]);
    put32(&mut head, 8, 32 << 20);
    for at in (16 << 20..48 << 20).step_by(4096) {
        image.bytes[at..at + 4096].copy_from_slice(&head);
    }
    let started = std::time::Instant::now();
    assert_eq!(open(&image.bytes).unwrap_err().code(), "log");
    assert!(started.elapsed().as_secs() < 5, "{:?}", started.elapsed());
}
