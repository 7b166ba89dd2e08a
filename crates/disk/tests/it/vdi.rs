//! VDI details that QEMU does not write: other versions, block sizes and additional bytes.

use abbild_disk::{Disk, ErrorKind, ExtentKind, Format, Limits, Source, open, open_with};
use proptest::prelude::*;

use crate::build::pattern;

/// What a test image holds in one block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Block {
    Free,
    Zero,
    /// Stored bytes made from a seed.
    Data(u8),
}

/// Shape of a test image.
#[derive(Debug, Clone)]
struct Shape {
    /// 0 or 1.
    version: u32,
    block: usize,
    /// Bytes before each block, version 1 only.
    extra: usize,
    blocks: Vec<Block>,
    /// Bytes by which the virtual size falls short of the last block's end.
    cut: usize,
    /// Whether blocks lie in the file in the order of the disk, or the other way round.
    in_order: bool,
}

struct Vdi {
    bytes: Vec<u8>,
    guest: Vec<u8>,
    /// Where the block map is.
    map: usize,
}

fn put32(bytes: &mut [u8], at: usize, value: usize) {
    bytes[at..at + 4].copy_from_slice(&(value as u32).to_le_bytes());
}

impl Shape {
    fn new(blocks: &[Block]) -> Self {
        Self {
            version: 1,
            block: 4096,
            extra: 0,
            blocks: blocks.to_vec(),
            cut: 0,
            in_order: true,
        }
    }

    fn build(&self) -> Vdi {
        let count = self.blocks.len();
        let size = count * self.block - self.cut;
        let (map, fields) = match self.version {
            0 => (420, [352, 360, 364]),
            _ => (512, [368, 376, 384]),
        };
        let data = match self.version {
            0 => map + count * 4,
            _ => (map + count * 4).next_multiple_of(512),
        };
        let mut bytes = vec![0; data];
        put32(&mut bytes, 64, 0xbeda_107f);
        put32(&mut bytes, 68, if self.version == 0 { 2 } else { 0x10001 });
        if self.version == 0 {
            put32(&mut bytes, 72, 1);
        } else {
            put32(&mut bytes, 72, 384);
            put32(&mut bytes, 76, 1);
            put32(&mut bytes, 340, map);
            put32(&mut bytes, 344, data);
            put32(&mut bytes, 380, self.extra);
        }
        bytes[fields[0]..][..8].copy_from_slice(&(size as u64).to_le_bytes());
        put32(&mut bytes, fields[1], self.block);
        put32(&mut bytes, fields[2], count);
        let mut guest = vec![0; count * self.block];
        let mut order: Vec<_> = (0..count).collect();
        if !self.in_order {
            order.reverse();
        }
        let mut stored = 0;
        for index in order {
            let entry = match self.blocks[index] {
                Block::Free => 0xffff_ffff,
                Block::Zero => 0xffff_fffe,
                Block::Data(seed) => {
                    bytes.extend(vec![0xee; self.extra]);
                    bytes.extend(pattern(seed, self.block));
                    guest[index * self.block..][..self.block]
                        .copy_from_slice(&pattern(seed, self.block));
                    stored += 1;
                    stored - 1
                }
            };
            put32(&mut bytes, map + index * 4, entry);
        }
        guest.truncate(size.next_multiple_of(512));
        Vdi { bytes, guest, map }
    }
}

fn read_all(bytes: &Vec<u8>) -> Vec<u8> {
    let disk = open(bytes).unwrap();
    assert_eq!(disk.format(), Format::Vdi);
    disk.verify().unwrap();
    let mut guest = vec![0xff; disk.virtual_size() as usize];
    disk.read_at(0, &mut guest).unwrap();
    guest
}

#[test]
fn both_versions_are_read() {
    let blocks = [Block::Data(1), Block::Free, Block::Data(2), Block::Zero];
    for version in [0, 1] {
        for in_order in [true, false] {
            let mut shape = Shape::new(&blocks);
            (shape.version, shape.in_order) = (version, in_order);
            let image = shape.build();
            assert!(read_all(&image.bytes) == image.guest, "version {version}");
        }
    }
}

#[test]
fn a_size_that_is_no_number_of_sectors_is_rounded_up() {
    let mut shape = Shape::new(&[Block::Data(1), Block::Data(2)]);
    shape.cut = 100;
    let image = shape.build();
    assert_eq!(image.guest.len(), 8192);
    assert!(read_all(&image.bytes) == image.guest);
}

#[test]
fn parents_are_refused_in_both_versions() {
    for (version, at) in [(0, 404), (0, 419), (1, 424), (1, 439), (1, 440), (1, 455)] {
        let mut shape = Shape::new(&[Block::Data(1)]);
        shape.version = version;
        let mut bytes = shape.build().bytes;
        bytes[at] = 1;
        let error = open(&bytes).unwrap_err();
        assert_eq!((error.code(), error.kind()), ("parent", ErrorKind::Refused));
        assert!(error.hint().unwrap().contains("VBoxManage clonemedium"));
    }
    // The UUIDs of the image itself are its own business.
    for (version, places) in [(0, 372..404), (1, 392..424)] {
        let mut shape = Shape::new(&[Block::Data(1)]);
        shape.version = version;
        let mut image = shape.build();
        image.bytes[places].fill(7);
        assert!(read_all(&image.bytes) == image.guest);
    }
}

#[test]
fn a_fault_of_one_block_does_not_hide_the_others() {
    let mut image = Shape::new(&[Block::Data(1), Block::Data(2), Block::Data(3)]).build();
    let at = image.map + 4;
    put32(&mut image.bytes, at, 3);
    let disk = open(&image.bytes).unwrap();
    let mut buf = vec![0; 4096];
    disk.read_at(8192, &mut buf).unwrap();
    assert!(buf == image.guest[8192..]);
    assert_eq!(disk.extent_at(0).unwrap().len, 4096);
    for error in [
        disk.read_at(4096, &mut buf).unwrap_err(),
        disk.extent_at(4096).unwrap_err(),
        disk.verify().unwrap_err(),
    ] {
        assert_eq!(
            (error.code(), error.offset()),
            ("block-entry", Some(at as u64))
        );
    }
}

#[test]
fn the_map_may_have_more_entries_than_the_disk_needs() {
    let mut image = Shape::new(&[Block::Data(1), Block::Data(2)]).build();
    put32(&mut image.bytes, 368, 4096);
    assert!(read_all(&image.bytes) == image.guest[..4096]);
    put32(&mut image.bytes, 368, 8193);
    let error = open(&image.bytes).unwrap_err();
    assert_eq!((error.code(), error.offset()), ("block-count", Some(384)));
}

fn shape() -> impl Strategy<Value = Shape> {
    let block = prop_oneof![
        Just(Block::Free),
        Just(Block::Zero),
        any::<u8>().prop_map(Block::Data),
    ];
    (
        0..2u32,
        prop::sample::select(vec![512, 1024, 4096]),
        prop::sample::select(vec![0, 16, 512]),
        prop::collection::vec(block, 1..80),
        0..512usize,
        any::<bool>(),
    )
        .prop_map(|(version, block, extra, blocks, cut, in_order)| Shape {
            version,
            block,
            extra: if version == 0 { 0 } else { extra },
            blocks,
            cut,
            in_order,
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn reads_and_extents_agree_with_the_content(
        shape in shape(),
        reads in prop::collection::vec((any::<prop::sample::Index>(), 1..9000usize), 8),
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
        let mut offset = 0;
        while offset < disk.virtual_size() {
            let extent = disk.extent_at(offset).unwrap();
            prop_assert!(extent.offset == offset && extent.len > 0);
            let blocks = offset as usize / shape.block
                ..(offset + extent.len).div_ceil(shape.block as u64) as usize;
            for block in &shape.blocks[blocks] {
                let stored = matches!(block, Block::Data(_));
                prop_assert_eq!(extent.kind == ExtentKind::Data, stored);
            }
            offset += extent.len;
        }
        prop_assert_eq!(offset, disk.virtual_size());
    }

    #[test]
    fn damaged_images_never_panic(
        shape in shape(),
        damage in prop::collection::vec((68..600usize, any::<u8>()), 1..8),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = shape.build().bytes;
        for (at, value) in damage {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let limits = Limits { max_virtual_size: 1 << 28 };
        if let Ok(disk) = open_with(&bytes, &limits) {
            crate::properties::exercise(&disk, &bytes);
        }
    }
}
