//! VHDX details that no QEMU tool makes on purpose: damage, logs, metadata, and how little is read.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use abbild_disk::{
    Disk, Error, ErrorKind, ExtentKind, Format, Limits, Result, Source, open, open_with,
};
use proptest::prelude::*;

use crate::build::pattern;
use crate::vhdx_build::*;

use Payload::{Data, State};

fn small() -> Vhdx {
    Shape::new(&[Data(1), State(0), Data(2)]).build()
}

fn read_all(bytes: &Vec<u8>) -> Result<Vec<u8>> {
    let disk = open(bytes)?;
    let mut guest = vec![0xff; disk.virtual_size() as usize];
    disk.read_at(0, &mut guest)?;
    Ok(guest)
}

/// Opens, verifies and reads; the first error.
fn fault(bytes: &Vec<u8>) -> Error {
    let outcome = open(bytes).and_then(|disk| disk.verify());
    let error = match outcome {
        Err(error) => error,
        Ok(()) => read_all(bytes).map(|_| ()).unwrap_err(),
    };
    assert_eq!(error.format(), Some(Format::Vhdx), "{error}");
    assert!(error.to_string().len() < 300, "{error}");
    error
}

#[test]
fn every_state_without_bytes_reads_as_zeros() {
    let blocks = [
        State(0),
        State(1),
        Data(3),
        State(2),
        State(3),
        State(5),
        Data(4),
    ];
    let mut shape = Shape::new(&blocks);
    for (sector, in_order) in [(512, true), (4096, false)] {
        shape.sector = sector;
        shape.in_order = in_order;
        shape.cut = 4096;
        let image = shape.build();
        let disk = open(&image.bytes).unwrap();
        disk.verify().unwrap();
        assert_eq!(disk.format(), Format::Vhdx);
        assert!(disk.warnings().is_empty(), "{:?}", disk.warnings());
        assert!(read_all(&image.bytes).unwrap() == image.guest);
    }
}

#[test]
fn unmapped_blocks_may_keep_their_place() {
    let mut image = Shape::new(&[State(3), Data(1)]).build();
    put64(&mut image.bytes, BAT, 0x7fff << 20 | 3);
    open(&image.bytes).unwrap().verify().unwrap();
    assert!(read_all(&image.bytes).unwrap() == image.guest);
}

#[test]
fn one_damaged_copy_is_told_and_two_are_fatal() {
    for (places, code) in [(HEADERS, "header"), (REGIONS, "region-table")] {
        for damaged in places {
            let mut image = small();
            image.bytes[damaged + 9] ^= 1;
            let disk = open(&image.bytes).unwrap();
            assert_eq!(disk.warnings().len(), 1, "{:?}", disk.warnings());
            assert!(disk.warnings()[0].contains("damaged"));
            assert!(read_all(&image.bytes).unwrap() == image.guest);
        }
        let mut image = small();
        for damaged in places {
            image.bytes[damaged] ^= 1;
        }
        let error = fault(&image.bytes);
        assert_eq!((error.code(), error.kind()), (code, ErrorKind::Corrupt));
    }
}

#[test]
fn the_newer_header_counts() {
    // Only the header with the greater number speaks of the log, which is empty.
    for at in HEADERS {
        let mut image = small();
        put_header(&mut image.bytes, at, 9, &LOG_GUID);
        assert_eq!(open(&image.bytes).unwrap().warnings().len(), 1);
        put_header(&mut image.bytes, at, 6, &LOG_GUID);
        assert!(open(&image.bytes).unwrap().warnings().is_empty());
    }
    let mut image = small();
    put_header(&mut image.bytes, HEADERS[1], 7, &[0; 16]);
    assert!(open(&image.bytes).unwrap().warnings().is_empty());
    put_header(&mut image.bytes, HEADERS[1], 7, &LOG_GUID);
    assert_eq!(fault(&image.bytes).code(), "header");
}

#[test]
fn metadata_are_checked_one_by_one() {
    let shape = Shape::new(&[Data(1)]);
    let number = |value: u64, len: usize| value.to_le_bytes()[..len].to_vec();
    let has_parent = number(2 << 32 | MIB as u64, 8);
    for (index, content, code, kind) in [
        (0, number(0, 8), "block-size", ErrorKind::Corrupt),
        (0, number(3 << 20, 8), "block-size", ErrorKind::Corrupt),
        (0, number(512 << 20, 8), "block-size", ErrorKind::Corrupt),
        (0, number(1 << 19, 8), "block-size", ErrorKind::Corrupt),
        (0, number(1 << 20, 7), "metadata-item", ErrorKind::Corrupt),
        (0, has_parent, "parent", ErrorKind::Refused),
        (1, number(0, 8), "empty-disk", ErrorKind::Corrupt),
        (1, number(1000, 8), "virtual-size", ErrorKind::Corrupt),
        (1, number(65 << 40, 8), "virtual-size", ErrorKind::Corrupt),
        (1, number(1 << 40, 8), "virtual-size", ErrorKind::Refused),
        (
            1,
            number(MIB as u64, 4),
            "metadata-item",
            ErrorKind::Corrupt,
        ),
        (3, number(1024, 4), "sector-size", ErrorKind::Corrupt),
        (4, number(0, 4), "sector-size", ErrorKind::Corrupt),
    ] {
        let mut image = shape.build();
        let mut items = shape.items();
        items[index].2 = content;
        put_metadata(&mut image.bytes, &items);
        let error = fault(&image.bytes);
        assert_eq!((error.code(), error.kind()), (code, kind), "{error}");
    }
    for index in [0, 1, 3, 4] {
        let mut image = shape.build();
        let mut items = shape.items();
        let removed = items.remove(index);
        put_metadata(&mut image.bytes, &items);
        assert_eq!(fault(&image.bytes).code(), "metadata-item");
        items.extend([removed.clone(), removed]);
        put_metadata(&mut image.bytes, &items);
        assert_eq!(fault(&image.bytes).code(), "metadata-item", "listed twice");
    }
    let mut image = shape.build();
    put32(&mut image.bytes, METADATA + 32 + 16, MIB as u32 - 4);
    assert_eq!(fault(&image.bytes).code(), "metadata-item");
    image.bytes[METADATA] = b'M';
    assert_eq!(fault(&image.bytes).code(), "metadata-table");
}

#[test]
fn unknown_metadata_and_regions_matter_only_if_required() {
    let shape = Shape::new(&[Data(1)]);
    let mut image = shape.build();
    let other = *b"0123456789abcdef";
    let mut items = shape.items();
    items.push((other, 1, vec![1; 100]));
    put_metadata(&mut image.bytes, &items);
    assert!(read_all(&image.bytes).unwrap() == image.guest);
    items[5].1 = 5;
    put_metadata(&mut image.bytes, &items);
    let error = fault(&image.bytes);
    assert_eq!(error.code(), "unknown-metadata");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(
        error
            .message()
            .ends_with("33323130-3534-3736-3839-616263646566"),
        "{error}"
    );
    items[5] = (PARENT_LOCATOR, 4, vec![0; 20]);
    put_metadata(&mut image.bytes, &items);
    assert_eq!(fault(&image.bytes).code(), "parent");

    let mut image = shape.build();
    let mut regions = vec![
        (BAT_GUID, BAT, MIB, 1),
        (METADATA_GUID, METADATA, MIB, 1),
        (other, 9 * MIB, MIB, 0),
    ];
    put_regions(&mut image.bytes, REGIONS[0], &regions);
    assert!(read_all(&image.bytes).unwrap() == image.guest);
    regions[2].3 = 1;
    put_regions(&mut image.bytes, REGIONS[0], &regions);
    assert_eq!(fault(&image.bytes).code(), "unknown-region");
}

#[test]
fn regions_lie_on_mebibytes_and_apart() {
    let metadata = (METADATA_GUID, METADATA, MIB, 1);
    let far = 1usize << 62;
    for (regions, code) in [
        (
            vec![metadata, (BAT_GUID, BAT + 512, MIB, 1)],
            "region-place",
        ),
        (vec![metadata, (BAT_GUID, 0, MIB, 1)], "region-place"),
        (vec![metadata, (BAT_GUID, BAT, 0, 1)], "region-place"),
        (vec![metadata, (BAT_GUID, BAT, 4096, 1)], "region-place"),
        (
            vec![metadata, (BAT_GUID, METADATA, MIB, 1)],
            "region-overlap",
        ),
        (vec![metadata, (BAT_GUID, LOG, MIB, 1)], "region-overlap"),
        (vec![metadata, (BAT_GUID, far, MIB, 1)], "truncated"),
        (vec![metadata, metadata], "region-table"),
        (vec![metadata], "region-table"),
        (vec![], "region-table"),
    ] {
        let mut image = small();
        put_regions(&mut image.bytes, REGIONS[0], &regions);
        let error = fault(&image.bytes);
        assert_eq!(error.code(), code, "{error}");
        assert_eq!(error.kind(), ErrorKind::Corrupt);
    }
    let mut image = small();
    put32(&mut image.bytes, REGIONS[0] + 8, 2048);
    seal(&mut image.bytes, REGIONS[0], 64 << 10);
    assert_eq!(fault(&image.bytes).code(), "region-table");
}

#[test]
fn bat_entries_are_checked() {
    for (entry, code) in [
        (4, "bat-entry"),
        (7 | 4 << 20, "bat-entry"),
        (6, "bat-entry"),
        (6 | 4 << 20 | 1 << 19, "bat-entry"),
        (6 | 1 << 63, "bat-entry"),
        (6 | 4000 << 20, "truncated"),
        (bat_entry(DATA + MIB), "block-overlap"),
        (bat_entry(BAT), "block-overlap"),
        (bat_entry(METADATA), "block-overlap"),
        (bat_entry(LOG), "block-overlap"),
    ] {
        let mut image = small();
        put64(&mut image.bytes, BAT, entry);
        let error = fault(&image.bytes);
        assert_eq!(error.code(), code, "{entry:#x}: {error}");
        // A fault of one block does not keep the others from being read.
        let disk = open(&image.bytes).unwrap();
        let mut block = vec![0; MIB];
        disk.read_at(2 * MIB as u64, &mut block).unwrap();
        assert!(block == image.guest[2 * MIB..]);
    }
    // The table is too short for the size.
    let shape = Shape::new(&[Data(1)]);
    let mut image = shape.build();
    let mut items = shape.items();
    items[1].2 = (131_072u64 << 20).to_le_bytes().to_vec();
    put_metadata(&mut image.bytes, &items);
    let limits = Limits {
        max_virtual_size: u64::MAX,
    };
    let error = open_with(&image.bytes, &limits).unwrap_err();
    assert_eq!(error.code(), "bat-size", "{error}");
}

#[test]
fn a_file_that_was_cut_off_is_truncated() {
    let image = small();
    for len in [
        8,
        70_000,
        200_000,
        300_000,
        METADATA,
        BAT,
        BAT + 4,
        DATA + 1,
    ] {
        let mut bytes = image.bytes.clone();
        bytes.truncate(len);
        assert_eq!(fault(&bytes).code(), "truncated", "{len}");
    }
    let mut bytes = image.bytes.clone();
    bytes.pop();
    assert_eq!(fault(&bytes).code(), "truncated");
}

/// Counts the reads of a source.
struct Counting {
    bytes: Vec<u8>,
    reads: AtomicUsize,
}

impl Source for Counting {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.bytes.read_at(offset, buf)
    }
}

#[test]
fn neighbours_are_read_at_once_and_the_table_only_once() {
    let image = Shape::new(&[Data(1), Data(2), Data(3), Data(4)]).build();
    let source = Counting {
        bytes: image.bytes,
        reads: AtomicUsize::new(0),
    };
    let disk = open(&source).unwrap();
    source.reads.store(0, Ordering::Relaxed);
    let mut buf = vec![0; image.guest.len()];
    disk.read_at(0, &mut buf).unwrap();
    assert!(buf == image.guest);
    assert_eq!(source.reads.load(Ordering::Relaxed), 1);
    disk.extent_at(0).unwrap();
    assert_eq!(source.reads.load(Ordering::Relaxed), 1);
}

#[test]
fn sector_bitmap_entries_are_skipped() {
    // 4 TiB and a half in blocks of 256 MiB: a bitmap entry after every 16.
    let shape = Shape::new(&[Data(1)]);
    let mut image = shape.build();
    let mut items = shape.items();
    items[0].2 = (256u64 << 20).to_le_bytes().to_vec();
    items[1].2 = (64u64 * (256 << 20)).to_le_bytes().to_vec();
    put_metadata(&mut image.bytes, &items);
    image.bytes[BAT..BAT + 8].fill(0);
    image.bytes.resize(DATA + MIB, 0);
    for index in [16, 33, 50] {
        // What stands there does not matter; QEMU has written nonsense.
        put64(&mut image.bytes, BAT + index * 8, u64::MAX);
    }
    put64(&mut image.bytes, BAT + 34 * 8, bat_entry(DATA));
    let disk = open(&image.bytes).unwrap();
    let at = 32 * (256 << 20);
    let extent = disk.extent_at(0).unwrap();
    assert_eq!((extent.len, extent.kind), (at, ExtentKind::Zero));
    let extent = disk.extent_at(at + 5).unwrap();
    assert_eq!(extent.kind, ExtentKind::Data);
    let mut buf = vec![0; 4096];
    disk.read_at(at + 8192, &mut buf).unwrap();
    assert!(buf == image.bytes[DATA + 8192..][..4096]);
    assert_eq!(disk.verify().unwrap_err().code(), "truncated");
}

#[test]
fn holes_of_a_file_are_zero_extents() {
    use std::os::unix::fs::FileExt;
    let mut image = Shape::new(&[Data(1), Data(2)]).build();
    image.bytes.truncate(DATA);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fixed.vhdx");
    let file = std::fs::File::create(&path).unwrap();
    file.write_all_at(&image.bytes, 0).unwrap();
    file.write_all_at(&[7; 4096], (DATA + MIB + 65_536) as u64)
        .unwrap();
    file.set_len((DATA + 2 * MIB) as u64).unwrap();
    let disk = open(abbild_disk::FileSource::open(&path).unwrap()).unwrap();
    disk.verify().unwrap();
    let extent = disk.extent_at(0).unwrap();
    assert_eq!(extent.kind, ExtentKind::Zero);
    assert!(extent.len <= (MIB + 65_536) as u64);
    assert!(extent.len > MIB as u64, "the hole spans two blocks");
}

fn shape() -> impl Strategy<Value = Shape> {
    let payload = prop_oneof![
        prop::sample::select(vec![0, 1, 2, 3, 5]).prop_map(State),
        any::<u8>().prop_map(Data),
    ];
    (
        prop::collection::vec(payload, 1..7),
        0..200u64,
        any::<bool>(),
    )
        .prop_map(|(blocks, cut, in_order)| Shape {
            sector: 4096,
            blocks,
            cut: cut * 4096,
            in_order,
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn reads_and_extents_agree_with_the_content(
        shape in shape(),
        reads in prop::collection::vec((any::<prop::sample::Index>(), 1..3_000_000usize), 4),
    ) {
        let image = shape.build();
        let disk = open(&image.bytes).unwrap();
        disk.verify().unwrap();
        prop_assert_eq!(disk.virtual_size(), image.guest.len() as u64);
        for (start, len) in reads {
            let start = start.index(image.guest.len());
            let len = len.min(image.guest.len() - start);
            let mut buf = vec![0xff; len];
            disk.read_at(start as u64, &mut buf).unwrap();
            prop_assert!(buf == image.guest[start..start + len]);
        }
        let mut offset = 0;
        while offset < disk.virtual_size() {
            let extent = disk.extent_at(offset).unwrap();
            prop_assert_eq!(extent.offset, offset);
            prop_assert!(extent.len > 0);
            let end = offset + extent.len;
            for block in offset as usize / MIB..(end as usize).div_ceil(MIB) {
                let stored = matches!(shape.blocks[block], Data(_));
                prop_assert_eq!(extent.kind == ExtentKind::Data, stored);
            }
            offset = end;
        }
        prop_assert_eq!(offset, disk.virtual_size());
        prop_assert!(disk.extent_at(offset).is_err());
    }
}

/// The places of a test image where its structures are, and how to make their checksums right.
fn damage() -> impl Strategy<Value = Vec<(usize, u8)>> {
    let place = prop_oneof![
        HEADERS[1]..HEADERS[1] + 80,
        REGIONS[0]..REGIONS[0] + 80,
        METADATA..METADATA + 200,
        METADATA + 65_536..METADATA + 65_536 + 40,
        BAT..BAT + 32,
        LOG..LOG + 256,
        LOG + 4096..LOG + 4096 + 256,
    ];
    prop::collection::vec((place, any::<u8>()), 1..8)
}

#[test]
fn damaged_images_never_panic() {
    let mut image = small();
    image.make_dirty();
    let sector = image.bat_sector(&[(1, 2)]);
    let len = image.bytes.len();
    let changes = [Change::Sector(BAT, sector), Change::Zeros(DATA, 4096)];
    image.put_log(0, &log_entry(1, 0, len, &changes));
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(400));
    let outcome = runner.run(&(damage(), any::<bool>()), |(damage, sealed)| {
        let mut bytes = image.bytes.clone();
        for (at, value) in damage {
            bytes[at] = value;
        }
        if sealed {
            seal(&mut bytes, HEADERS[1], 4096);
            seal(&mut bytes, REGIONS[0], 64 << 10);
            seal(&mut bytes, LOG, 8192);
        }
        let Ok(disk) = open(&bytes) else {
            return Ok(());
        };
        let verified = disk.verify().is_ok();
        let (mut offset, mut extents) = (0, 0);
        while offset < disk.virtual_size() && extents < 100 {
            let Ok(extent) = disk.extent_at(offset) else {
                prop_assert!(!verified, "a verified image has no bad tables");
                break;
            };
            prop_assert!(extent.offset == offset && extent.len > 0);
            prop_assert!(extent.len <= disk.virtual_size() - offset);
            let _ = disk.read_at(offset, &mut vec![0; extent.len.min(1 << 16) as usize]);
            offset += extent.len;
            extents += 1;
        }
        Ok(())
    });
    outcome.unwrap();
}

#[test]
fn threads_read_one_image_at_once() {
    let image = Arc::new(Shape::new(&[Data(1), State(0), Data(2), Data(3)]).build());
    let disk = Arc::new(open(image.bytes.clone()).unwrap());
    let threads: Vec<_> = (0..4u64)
        .map(|thread| {
            let (disk, image) = (Arc::clone(&disk), Arc::clone(&image));
            std::thread::spawn(move || {
                for step in 0..1000u64 {
                    let offset =
                        (step * 7919 + thread * 1777) * 512 % (image.guest.len() as u64 - 9000);
                    let mut buf = [0; 9000];
                    disk.read_at(offset, &mut buf).unwrap();
                    assert!(buf == image.guest[offset as usize..][..9000]);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn a_signature_alone_is_a_damaged_vhdx_and_nothing_else() {
    let mut bytes = b"vhdxfile".to_vec();
    bytes.extend(pattern(1, 2 * MIB));
    assert_eq!(fault(&bytes).code(), "header");
}
