//! VMDK details that QEMU does not write: streams with footers, damage, and how little is read.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use abbild_disk::{Disk, ErrorKind, ExtentKind, Format, Limits, Result, Source, open, open_with};
use miniz_oxide::deflate::compress_to_vec_zlib;
use proptest::prelude::*;

use crate::vmdk_build::*;

use Grain::{Absent, Data, Zeroed};

const LAYOUTS: [Layout; 3] = [Layout::Sparse, Layout::Stream, Layout::Complete];
const GRAINS: [Grain; 11] = [
    Data(1),
    Absent,
    Zeroed,
    Data(2),
    Data(3),
    Data(4),
    Absent,
    Absent,
    Absent,
    Absent,
    Data(5),
];

fn read_all(bytes: &Vec<u8>) -> Vec<u8> {
    let disk = open(bytes).unwrap();
    assert_eq!(disk.format(), Format::Vmdk);
    disk.verify().unwrap();
    let mut guest = vec![0xff; disk.virtual_size() as usize];
    disk.read_at(0, &mut guest).unwrap();
    guest
}

#[test]
fn every_layout_is_read() {
    for layout in LAYOUTS {
        let mut shape = Shape::new(layout, &GRAINS);
        for cut in [0, 3] {
            shape.cut = cut;
            shape.describe();
            let image = shape.build();
            assert!(read_all(&image.bytes) == image.guest, "{layout:?}");
            assert!(open(&image.bytes).unwrap().warnings().is_empty());
        }
    }
}

#[test]
fn the_descriptor_may_be_written_in_any_way() {
    let image = |text: &str| {
        let mut shape = Shape::new(Layout::Stream, &GRAINS);
        shape.descriptor = Some(text.to_owned());
        shape.build()
    };
    for text in [
        // Of VMware, VirtualBox, and a converter that is used for Red Hat's images.
        "# Disk DescriptorFile\nversion=1\nencoding=\"UTF-8\"\nCID=01234567\nparentCID=FFFFFFFF\n\
         isNativeSnapshot=\"no\"\ncreateType=\"streamOptimized\"\nRDONLY 88 SPARSE \"a b-s001.vmdk\"\n",
        "# Disk DescriptorFile\r\nversion=1\r\nparentCID=ffffffff\r\ncreateType=\"streamOptimized\"\
         \r\nRDONLY 88 SPARSE \"x.vmdk\" 0\r\nddb.uuid.parent=\"00000000\"\r\n",
        "# Description file created by VMDK stream converter\nversion=1\n# Believe this is random\n\
         parentCID=ffffffff\n  createType = streamOptimized\nRW   85\tSPARSE \"call-me-stream.vmdk\"",
    ] {
        let image = image(text);
        assert!(read_all(&image.bytes) == image.guest, "{text}");
    }
}

#[test]
fn the_copy_of_a_damaged_directory_is_used() {
    let mut image = Shape::new(Layout::Sparse, &GRAINS).build();
    put32(&mut image.bytes, image.directory + 4, 0xffff_fff0);
    let disk = open(&image.bytes).unwrap();
    assert!(disk.warnings()[0].contains("directory is damaged"));
    let mut guest = vec![0xff; image.guest.len()];
    disk.read_at(0, &mut guest).unwrap();
    assert!(guest == image.guest);
    // The flag says whether there is a copy.
    image.bytes[8] &= !2;
    assert_eq!(open(&image.bytes).unwrap_err().code(), "truncated");
    image.bytes[8] |= 2;
    put64(&mut image.bytes, 48, 1 << 60);
    assert_eq!(open(&image.bytes).unwrap_err().code(), "truncated");
}

#[test]
fn an_image_that_was_not_closed_is_read_with_a_warning() {
    let mut image = Shape::new(Layout::Sparse, &GRAINS).build();
    image.bytes[72] = 1;
    assert!(open(&image.bytes).unwrap().warnings()[0].contains("not closed properly"));
    assert!(read_all(&image.bytes) == image.guest);
}

#[test]
fn entry_one_means_zeros_only_where_a_flag_says_so() {
    let mut image = Shape::new(Layout::Sparse, &[Data(1), Zeroed]).build();
    image.bytes[8] &= !4;
    let error = open(&image.bytes).unwrap().verify().unwrap_err();
    assert_eq!(error.code(), "grain-overlap", "sector 1 is the descriptor");
}

/// A stream whose last grain holds `content`.
fn stream_ending_in(content: &[u8], cut: usize) -> Vmdk {
    let mut shape = Shape::new(Layout::Complete, &[Data(1), Absent]);
    shape.cut = cut;
    shape.describe();
    let mut image = shape.build();
    let place = image.bytes.len() / SECTOR;
    let packed = compress_to_vec_zlib(content, 6);
    image.bytes.extend(8u64.to_le_bytes());
    image.bytes.extend((packed.len() as u32).to_le_bytes());
    image.bytes.extend(packed);
    put32(&mut image.bytes, image.tables + 4, place);
    let len = content.len().min(image.guest.len() - 4096);
    image.guest[4096..4096 + len].copy_from_slice(&content[..len]);
    image
}

#[test]
fn the_last_grain_may_end_with_the_disk() {
    let content = crate::build::pattern(9, 4096);
    // A whole grain, what is on the disk, and what is left of a file of 2460 bytes.
    for (len, cut) in [(4096, 0), (4096, 3), (2560, 3), (2460, 3), (4000, 0)] {
        let image = stream_ending_in(&content[..len], cut);
        assert!(read_all(&image.bytes) == image.guest, "{len} bytes");
    }
    for (len, cut) in [(2048, 3), (4097, 0), (5000, 3), (3584, 0)] {
        let content = crate::build::pattern(9, len);
        let image = stream_ending_in(&content, cut);
        let error = open(&image.bytes).unwrap().read_at(4096, &mut [0; 9]);
        assert_eq!(error.unwrap_err().code(), "compressed-grain", "{len} bytes");
    }
}

#[test]
fn messages_say_what_to_do_next() {
    let mut shape = Shape::new(Layout::Sparse, &GRAINS);
    let mut bytes = shape.build().bytes;
    bytes[73..77].copy_from_slice(b"\r\n \r");
    let error = open(&bytes).unwrap_err();
    assert_eq!((error.code(), error.offset()), ("newline-damage", Some(73)));
    assert!(error.hint().unwrap().contains("binary"));

    shape.descriptor = None;
    let error = open(shape.build().bytes).unwrap_err();
    assert_eq!(error.code(), "no-descriptor");
    assert!(error.hint().unwrap().contains("qemu-img convert"));

    let text = descriptor(
        "twoGbMaxExtentSparse",
        "RW 9 SPARSE \"web-s001.vmdk\"\nRW 9 SPARSE \"web-s002.vmdk\"",
    );
    let error = open(text.into_bytes()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "vmdk: the file only describes a disk; the disk itself is in `web-s001.vmdk` and \
         `web-s002.vmdk`"
    );
    let hint = error.hint().unwrap();
    assert!(
        hint.contains("`qemu-img convert -O qcow2 web.vmdk NEW.qcow2`"),
        "{hint}"
    );
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
fn each_grain_of_a_large_read_is_read_once() {
    let grains: Vec<_> = (0..16).map(Data).collect();
    for (layout, expected) in [(Layout::Sparse, 2), (Layout::Stream, 18)] {
        let mut shape = Shape::new(layout, &grains);
        shape.table = 512;
        let image = shape.build();
        let source = Counting {
            bytes: image.bytes,
            reads: AtomicUsize::new(0),
        };
        let disk = open(&source).unwrap();
        source.reads.store(0, Ordering::Relaxed);
        let mut buf = vec![0; image.guest.len()];
        disk.read_at(0, &mut buf).unwrap();
        assert!(buf == image.guest);
        // The table, and the grains: all at once, or one by one and the last in two steps.
        assert_eq!(
            source.reads.swap(0, Ordering::Relaxed),
            expected,
            "{layout:?}"
        );
        disk.extent_at(0).unwrap();
        assert_eq!(source.reads.load(Ordering::Relaxed), 0);
    }
}

#[test]
fn small_reads_decompress_a_grain_once() {
    let image = Shape::new(Layout::Stream, &[Data(1), Data(2)]).build();
    let source = Counting {
        bytes: image.bytes,
        reads: AtomicUsize::new(0),
    };
    let disk = open(&source).unwrap();
    let mut buf = [0; 512];
    disk.read_at(0, &mut buf).unwrap();
    source.reads.store(0, Ordering::Relaxed);
    for sector in 0..8 {
        disk.read_at(sector * 512, &mut buf).unwrap();
        assert!(buf == image.guest[sector as usize * 512..][..512]);
    }
    assert_eq!(source.reads.load(Ordering::Relaxed), 0);
}

#[test]
fn directories_and_tables_are_bounded_whatever_the_header_says() {
    let mut image = Shape::new(Layout::Sparse, &GRAINS).build();
    let sectors = 1u64 << 54;
    put64(&mut image.bytes, 12, sectors);
    let text = descriptor("monolithicSparse", &format!("RW {sectors} SPARSE \"a\""));
    image.bytes[512..512 + text.len()].copy_from_slice(text.as_bytes());
    let unlimited = Limits {
        max_virtual_size: u64::MAX,
    };
    let error = open_with(&image.bytes, &unlimited).unwrap_err();
    assert_eq!(error.code(), "directory-size");
}

#[test]
fn threads_read_one_image_at_once() {
    let grain = |seed| if seed % 3 == 0 { Absent } else { Data(seed) };
    let grains: Vec<_> = (0..40).map(grain).collect();
    let image = Arc::new(Shape::new(Layout::Stream, &grains).build());
    let disk = Arc::new(open(image.bytes.clone()).unwrap());
    let threads: Vec<_> = (0..3usize)
        .map(|thread| {
            let (disk, image) = (Arc::clone(&disk), Arc::clone(&image));
            std::thread::spawn(move || {
                for step in 0..500usize {
                    let offset = (step * 7919 + thread * 1777) * 512 % (image.guest.len() - 9000);
                    let mut buf = vec![0; 9000];
                    disk.read_at(offset as u64, &mut buf).unwrap();
                    assert!(buf == image.guest[offset..offset + 9000]);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

fn shape() -> impl Strategy<Value = Shape> {
    let grain = prop_oneof![Just(Absent), Just(Zeroed), any::<u8>().prop_map(Data)];
    (
        prop::sample::select(LAYOUTS.to_vec()),
        prop::sample::select(vec![1, 2, 8, 32]),
        prop::sample::select(vec![1, 3, 128, 512]),
        prop::collection::vec(grain, 1..60),
        any::<prop::sample::Index>(),
    )
        .prop_map(|(layout, grain, table, grains, cut)| {
            let mut shape = Shape::new(layout, &grains);
            (shape.grain, shape.table, shape.cut) = (grain, table, cut.index(grain));
            shape.describe();
            shape
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn reads_and_extents_agree_with_the_content(
        shape in shape(),
        reads in prop::collection::vec((any::<prop::sample::Index>(), 1..40_000usize), 8),
    ) {
        let image = shape.build();
        prop_assert!(read_all(&image.bytes) == image.guest);
        let disk = open(&image.bytes).unwrap();
        for (start, len) in reads {
            let start = start.index(image.guest.len());
            let len = len.min(image.guest.len() - start);
            let mut buf = vec![0xff; len];
            disk.read_at(start as u64, &mut buf).unwrap();
            prop_assert!(buf == image.guest[start..start + len]);
        }
        let grain = (shape.grain * SECTOR) as u64;
        let mut offset = 0;
        while offset < disk.virtual_size() {
            let extent = disk.extent_at(offset).unwrap();
            prop_assert!(extent.offset == offset && extent.len > 0);
            let end = offset + extent.len;
            for at in &shape.grains[(offset / grain) as usize..end.div_ceil(grain) as usize] {
                prop_assert_eq!(extent.kind == ExtentKind::Data, matches!(at, Data(_)));
            }
            offset = end;
        }
        prop_assert_eq!(offset, disk.virtual_size());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn damaged_images_never_panic(
        shape in shape(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        in_header in any::<bool>(),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = shape.build().bytes;
        let reach = if in_header { 80 } else { bytes.len() };
        for (at, value) in damage {
            bytes[at.index(reach)] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let limits = Limits { max_virtual_size: 1 << 28 };
        if let Ok(disk) = open_with(&bytes, &limits) {
            crate::properties::exercise(&disk, &bytes);
        }
    }

    #[test]
    fn damaged_descriptors_never_panic(
        damage in prop::collection::vec((0..400usize, any::<u8>()), 1..9),
    ) {
        let mut image = Shape::new(Layout::Sparse, &GRAINS).build();
        for (at, value) in damage {
            image.bytes[512 + at] = value;
        }
        if let Err(error) = open(&image.bytes) {
            prop_assert!(error.to_string().chars().all(|c| !c.is_control()));
            prop_assert!(matches!(
                error.kind(),
                ErrorKind::Corrupt | ErrorKind::Refused | ErrorKind::Unsupported
            ));
        }
    }
}
