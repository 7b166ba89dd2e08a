//! qcow2 details that no QEMU tool makes on purpose, and how little is read.

use std::sync::atomic::{AtomicUsize, Ordering};

use abbild_disk::{Disk, ErrorKind, Limits, Result, Source, open, open_with};

use crate::build::{Cluster, Shape, put32, put64};

#[test]
fn a_dirty_image_is_read_with_a_warning() {
    let mut image = Shape::new(12, &[Cluster::Data(7)]).build();
    put64(&mut image.bytes, 72, 1);
    let disk = open(&image.bytes).unwrap();
    assert!(
        disk.warnings()[0].contains("dirty bit"),
        "{:?}",
        disk.warnings()
    );
    let mut buf = vec![0; 4096];
    disk.read_at(0, &mut buf).unwrap();
    assert!(buf == image.guest);
}

#[test]
fn compatible_and_autoclear_features_do_not_matter() {
    let mut image = Shape::new(12, &[Cluster::Data(7)]).build();
    put64(&mut image.bytes, 80, u64::MAX);
    put64(&mut image.bytes, 88, u64::MAX);
    assert!(open(&image.bytes).unwrap().warnings().is_empty());
}

#[test]
fn unknown_features_are_named_by_the_image_but_harmlessly() {
    let mut bytes = Shape::new(12, &[Cluster::Data(7)]).build().bytes;
    put64(&mut bytes, 72, 1 << 40 | 1 << 41);
    put32(&mut bytes, 104, 0x6803_f857);
    put32(&mut bytes, 108, 48);
    bytes[113] = 40;
    bytes[114..122].copy_from_slice(b"red\x1b[31m");
    let error = open(&bytes).unwrap_err();
    assert_eq!(error.code(), "unknown-feature");
    assert!(
        error.message().ends_with(": bit 40 (red?[31m), bit 41"),
        "{error}"
    );
}

#[test]
fn version_2_has_no_feature_bits() {
    let mut shape = Shape::new(12, &[Cluster::Data(7), Cluster::Packed(8)]);
    shape.version = 2;
    let mut image = shape.build();
    // Where version 3 has its features, version 2 has extensions; this one is unknown.
    put32(&mut image.bytes, 72, 0x1234_5678);
    put32(&mut image.bytes, 76, 3);
    let disk = open(&image.bytes).unwrap();
    let mut buf = vec![0; 8192];
    disk.read_at(0, &mut buf).unwrap();
    assert!(buf == image.guest);
}

#[test]
fn the_limit_is_the_callers_and_exact() {
    let image = Shape::new(12, &[Cluster::Data(7); 4]).build();
    let limit = |max_virtual_size| Limits { max_virtual_size };
    assert!(open_with(&image.bytes, &limit(4 * 4096)).is_ok());
    let error = open_with(&image.bytes, &limit(4 * 4096 - 1)).unwrap_err();
    assert_eq!(
        (error.code(), error.kind()),
        ("virtual-size", ErrorKind::Refused)
    );
    assert!(error.message().contains("16384 bytes"), "{error}");
}

#[test]
fn contradicting_subcluster_bits_are_corrupt() {
    let mut bytes = Shape::new(14, &[Cluster::Data(7)]).build().bytes;
    put64(&mut bytes, 72, 1 << 4);
    let table = 2 << 14;
    // Subcluster 0 stored, 1 zero, 2 both at once.
    put64(&mut bytes, table + 8, 0b101 | 0b110 << 32);
    let disk = open(&bytes).unwrap();
    let mut buf = [0xff; 1024];
    disk.read_at(0, &mut buf).unwrap();
    assert_eq!(buf[..5], [7; 5]);
    assert_eq!(buf[512..], [0; 512]);
    assert_eq!(disk.read_at(1024, &mut buf).unwrap_err().code(), "l2-entry");
    assert_eq!(disk.extent_at(0).unwrap().len, 512);
    assert_eq!(disk.extent_at(1024).unwrap_err().code(), "l2-entry");
    assert_eq!(disk.verify().unwrap_err().code(), "l2-entry");
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
fn neighbours_are_read_at_once_and_tables_only_once() {
    let image = Shape::new(12, &[Cluster::Data(7); 200]).build();
    let source = Counting {
        bytes: image.bytes,
        reads: AtomicUsize::new(0),
    };
    let disk = open(&source).unwrap();
    let reads = || source.reads.swap(0, Ordering::Relaxed);
    assert!(reads() < 8, "opening reads header and L1 table");
    let mut buf = vec![0; image.guest.len()];
    disk.read_at(0, &mut buf).unwrap();
    assert!(buf == image.guest);
    assert_eq!(reads(), 2, "one L2 table and all 200 clusters");
    disk.read_at(5000, &mut buf[..10_000]).unwrap();
    assert_eq!(reads(), 1);
    disk.extent_at(0).unwrap();
    assert_eq!(reads(), 0);
}

#[test]
fn small_reads_decompress_a_cluster_once() {
    let image = Shape::new(16, &[Cluster::Packed(7)]).build();
    let source = Counting {
        bytes: image.bytes,
        reads: AtomicUsize::new(0),
    };
    let disk = open(&source).unwrap();
    let mut buf = [0; 4096];
    disk.read_at(0, &mut buf).unwrap();
    source.reads.store(0, Ordering::Relaxed);
    for block in 0..16 {
        disk.read_at(block * 4096, &mut buf).unwrap();
        assert!(buf == image.guest[block as usize * 4096..][..4096]);
    }
    assert_eq!(source.reads.load(Ordering::Relaxed), 0);
}

#[test]
fn tables_that_all_point_to_one_do_not_take_long() {
    // 2 GiB in 512-byte clusters: 65 536 L1 entries, here of one and the same L2 table.
    let size = 2u64 << 30;
    let entries = (size >> 15) as usize;
    let mut bytes = Shape::new(9, &[Cluster::Absent]).build().bytes;
    let table = 512 + entries * 8;
    bytes.resize(table + 512, 0);
    put64(&mut bytes, 24, size);
    put32(&mut bytes, 36, entries as u32);
    for index in 0..entries {
        put64(&mut bytes, 512 + index * 8, table as u64);
    }
    let disk = open(&bytes).unwrap();
    let started = std::time::Instant::now();
    disk.verify().unwrap();
    let mut offset = 0;
    let mut calls = 0;
    while offset < size {
        offset += disk.extent_at(offset).unwrap().len;
        calls += 1;
    }
    assert!(calls <= entries / 256 + 1, "{calls} extents");
    // A second without optimisation; a walk that is not linear takes hours.
    assert!(started.elapsed().as_secs() < 60, "{:?}", started.elapsed());
}
