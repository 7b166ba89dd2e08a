//! What must hold for every image, and for every file that claims to be one.

use std::sync::Arc;

use abbild_disk::{Disk, ExtentKind, Limits, Source, open, open_with, partition};
use proptest::prelude::*;

use crate::build::{Cluster, Shape, gpt_disk, pattern, put_mbr};

fn cluster() -> impl Strategy<Value = Cluster> {
    prop_oneof![
        Just(Cluster::Absent),
        Just(Cluster::Zero),
        any::<u8>().prop_map(Cluster::Data),
        any::<u8>().prop_map(Cluster::Packed),
    ]
}

fn shape() -> impl Strategy<Value = Shape> {
    (
        prop::sample::select(vec![9, 10, 12, 16]),
        any::<bool>(),
        prop::collection::vec(cluster(), 1..150),
        0..512u64,
    )
        .prop_map(|(cluster_bits, zstd, mut clusters, cut)| {
            if cluster_bits == 16 {
                clusters.truncate(12);
            }
            Shape {
                version: 3,
                cluster_bits,
                zstd,
                clusters,
                cut,
            }
        })
}

/// Reads everything there is; errors are fine, panics and endless loops are not.
pub fn exercise<S: Source>(disk: &impl Disk, source: &S) {
    let _ = disk.verify();
    let mut offset = 0;
    let mut extents = 0;
    while offset < disk.virtual_size() && extents < 300 {
        let Ok(extent) = disk.extent_at(offset) else {
            break;
        };
        assert!(extent.offset == offset && extent.len > 0);
        assert!(extent.len <= disk.virtual_size() - offset);
        let len = extent.len.min(1 << 17) as usize;
        let _ = disk.read_at(offset, &mut vec![0; len]);
        offset += extent.len;
        extents += 1;
    }
    let _ = partition::read(disk);
    let _ = partition::read(source);
}

fn limits() -> Limits {
    Limits {
        max_virtual_size: 1 << 28,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn reads_agree_with_the_content(
        shape in shape(),
        reads in prop::collection::vec((any::<prop::sample::Index>(), 1..200_000usize), 8),
    ) {
        let image = shape.build();
        let disk = open(&image.bytes).unwrap();
        disk.verify().unwrap();
        prop_assert_eq!(disk.virtual_size(), image.guest.len() as u64);
        let mut whole = vec![0xff; image.guest.len()];
        disk.read_at(0, &mut whole).unwrap();
        prop_assert!(whole == image.guest);
        for (start, len) in reads {
            let start = start.index(image.guest.len());
            let len = len.min(image.guest.len() - start);
            let mut buf = vec![0xff; len];
            disk.read_at(start as u64, &mut buf).unwrap();
            prop_assert!(buf == image.guest[start..start + len]);
        }
        let end = disk.virtual_size();
        prop_assert_eq!(disk.read_at(end, &mut [0]).unwrap_err().code(), "truncated");
        prop_assert!(disk.read_at(end, &mut []).is_ok());
    }

    #[test]
    fn extents_cover_the_disk_once_and_tell_the_truth(shape in shape()) {
        let image = shape.build();
        let disk = open(&image.bytes).unwrap();
        let cluster = 1u64 << shape.cluster_bits;
        let mut offset = 0;
        while offset < disk.virtual_size() {
            let extent = disk.extent_at(offset).unwrap();
            prop_assert_eq!(extent.offset, offset);
            prop_assert!(extent.len > 0);
            let end = offset + extent.len;
            for at in (offset / cluster)..end.div_ceil(cluster) {
                let stored = matches!(
                    shape.clusters[at as usize],
                    Cluster::Data(_) | Cluster::Packed(_)
                );
                prop_assert_eq!(extent.kind == ExtentKind::Data, stored);
            }
            offset = end;
        }
        prop_assert_eq!(offset, disk.virtual_size());
        prop_assert!(disk.extent_at(offset).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn damaged_images_never_panic(
        shape in shape(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        in_tables in any::<bool>(),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = shape.build().bytes;
        let reach = if in_tables { bytes.len() } else { 112 };
        for (at, value) in damage {
            let at = at.index(reach);
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Some(magic) = bytes.get_mut(..4) {
            magic.copy_from_slice(b"QFI\xfb");
        }
        if let Ok(disk) = open_with(&bytes, &limits()) {
            exercise(&disk, &bytes);
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..4096)) {
        if let Ok(disk) = open_with(&bytes, &limits()) {
            exercise(&disk, &bytes);
        }
        let mut qcow2 = b"QFI\xfb\0\0\0\x03".to_vec();
        qcow2.extend(&bytes);
        prop_assert_eq!(
            open(&qcow2).err().and_then(|error| error.format()),
            Some(abbild_disk::Format::Qcow2),
            "once the magic matches, nothing else is tried"
        );
    }

    #[test]
    fn damaged_partition_tables_never_panic(
        gpt in any::<bool>(),
        damage in prop::collection::vec((0..2048usize, any::<u8>()), 0..12),
    ) {
        let mut disk = if gpt {
            gpt_disk(512, 128, &[(*b"Hah!IdontNeedEFI", 40, 50, "boot")])
        } else {
            let mut disk = vec![0; 512 * 128];
            put_mbr(&mut disk, 0, &[(0x80, 0x83, 1, 2), (0, 0x05, 3, 100)]);
            put_mbr(&mut disk, 3, &[(0, 0x83, 1, 1), (0, 0x05, 0, 100)]);
            disk
        };
        for (at, value) in damage {
            disk[at] = value;
        }
        if let Ok(table) = partition::read(&disk) {
            prop_assert!(table.partitions.len() <= 1024);
            for partition in table.partitions {
                prop_assert!(partition.len > 0);
                prop_assert!(partition.start + partition.len <= disk.len() as u64);
                prop_assert!(partition.open(&disk).is_ok());
            }
        }
    }
}

#[test]
fn threads_read_one_image_at_once() {
    let clusters: Vec<_> = (0..64)
        .map(|index| match index % 3 {
            0 => Cluster::Packed(index),
            1 => Cluster::Data(index),
            _ => Cluster::Zero,
        })
        .collect();
    let mut shape = Shape::new(12, &clusters);
    shape.zstd = true;
    let image = Arc::new(shape.build());
    let disk = Arc::new(open(image.bytes.clone()).unwrap());
    let threads: Vec<_> = (0..4u64)
        .map(|thread| {
            let (disk, image) = (Arc::clone(&disk), Arc::clone(&image));
            std::thread::spawn(move || {
                for step in 0..2000u64 {
                    let offset =
                        (step * 7919 + thread * 1777) * 512 % (image.guest.len() as u64 - 3000);
                    let mut buf = [0; 3000];
                    disk.read_at(offset, &mut buf).unwrap();
                    assert!(buf == image.guest[offset as usize..][..3000]);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn a_compressed_cluster_that_is_too_long_or_too_short_is_refused() {
    for zstd in [false, true] {
        for len in [4095, 4097, 1 << 20] {
            let mut shape = Shape::new(12, &[Cluster::Packed(1)]);
            shape.zstd = zstd;
            let mut bytes = shape.build().bytes;
            // The packed cluster is the last thing in the file; put another one there.
            bytes.truncate(3 << 12);
            let content = pattern(1, len);
            let packed = if zstd {
                let level = ruzstd::encoding::CompressionLevel::Fastest;
                ruzstd::encoding::compress_to_vec(content.as_slice(), level)
            } else {
                miniz_oxide::deflate::compress_to_vec(&content, 6)
            };
            bytes.extend(&packed);
            bytes.resize(bytes.len().next_multiple_of(512), 0);
            let sectors = (packed.len() as u64).div_ceil(512).min(16) - 1;
            let entry = 1 << 62 | sectors << 58 | 3 << 12;
            crate::build::put64(&mut bytes, 2 << 12, entry);
            let disk = open(&bytes).unwrap();
            let error = disk.read_at(0, &mut [0; 100]).unwrap_err();
            assert_eq!(
                error.code(),
                "compressed-cluster",
                "zstd {zstd}, {len} bytes"
            );
            assert_eq!(error.offset(), Some(3 << 12));
        }
    }
}
