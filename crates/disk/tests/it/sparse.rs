//! Holes of a sparse raw file become zero extents.

use std::os::unix::fs::FileExt;

use abbild_disk::{Disk, ExtentKind, FileSource, open};

use crate::build::put_mbr;

#[test]
fn holes_of_a_file_are_zero_extents() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk.raw");
    let file = std::fs::File::options()
        .create_new(true)
        .write(true)
        .open(&path)
        .unwrap();
    file.set_len(64 << 20).unwrap();
    let mut sector = vec![0; 512];
    put_mbr(&mut sector, 0, &[(0x80, 0x83, 2048, 100_000)]);
    file.write_all_at(&sector, 0).unwrap();
    file.write_all_at(&[7; 100_000], 32 << 20).unwrap();

    let disk = open(FileSource::open(&path).unwrap()).unwrap();
    let (mut offset, mut data) = (0, 0);
    while offset < disk.virtual_size() {
        let extent = disk.extent_at(offset).unwrap();
        assert_eq!(extent.offset, offset);
        if extent.kind == ExtentKind::Data {
            data += extent.len;
        }
        offset += extent.len;
    }
    assert_eq!(offset, 64 << 20);
    assert!(data >= 100_512);
    assert!(data < 1 << 20, "{data} bytes of data: holes were not seen");
    let inside = disk.extent_at((32 << 20) + 5).unwrap();
    assert_eq!(
        (inside.offset, inside.kind),
        ((32 << 20) + 5, ExtentKind::Data)
    );
}
