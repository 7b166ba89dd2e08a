//! Recipes and streams: images that nobody wrote are as good as those that are files.

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::mpsc;

use abbild_convert::{
    Control, ErrorKind, ExportOptions, Options, Recipe, Target, compose, encode, export, stream,
};
use abbild_disk::{Disk, FileSource};
use proptest::prelude::*;

use crate::export::{mixed, patterns};
use crate::support::{Patched, check, compare_formats, create};

const DIGEST: [u8; 32] = [7; 32];

/// Reads the whole file, in pieces that fit nothing.
fn bytes(recipe: &Recipe, disk: &impl Disk) -> Vec<u8> {
    let mut all = vec![0xee; recipe.len() as usize];
    for (index, piece) in all.chunks_mut(1_000_003).enumerate() {
        recipe
            .read_at(disk, index as u64 * 1_000_003, piece)
            .unwrap();
    }
    all
}

fn streamed(disk: &(impl Disk + Sync)) -> Vec<u8> {
    let (sender, receiver) = mpsc::channel();
    let sink = move |bytes: &[u8]| {
        sender.send(bytes.to_vec()).unwrap();
        Ok(())
    };
    let len = stream(disk, DIGEST, 3, sink, &Control::none()).unwrap();
    let all: Vec<u8> = receiver.iter().flatten().collect();
    assert_eq!(all.len() as u64, len);
    all
}

/// QEMU finds `content` clean, and equal to the raw image at `raw`.
fn proved(content: &[u8], target: Target, raw: &Path, image: &Path) {
    let file = create(image);
    file.set_len(0).unwrap();
    file.write_all_at(content, 0).unwrap();
    if target != Target::Raw {
        check(image);
    }
    compare_formats((target.name(), image), ("raw", raw));
}

#[test]
fn qemu_finds_them_clean_and_equal() {
    let dir = tempfile::tempdir().unwrap();
    let (raw, image) = (dir.path().join("raw"), dir.path().join("image"));
    for (name, disk) in patterns() {
        if disk.size > 64 << 20 {
            continue;
        }
        disk.write_raw(&raw);
        create(&raw)
            .set_len(disk.size.next_multiple_of(512))
            .unwrap();
        for target in Target::ALL {
            println!("{name}: {target}");
            let recipe = compose(&disk, target, DIGEST).unwrap();
            proved(&bytes(&recipe, &disk), target, &raw, &image);
        }
        proved(&streamed(&disk), Target::Vmdk, &raw, &image);
    }
}

/// A canonical image has extents as exact as can be, so nothing is stored that a file would leave
/// out.
#[test]
fn of_a_canonical_image_they_are_as_small_as_files() {
    let out = tempfile::tempfile().unwrap();
    encode(&mixed(), &out, Options::default(), &Control::none()).unwrap();
    let disk = abbild_disk::open(FileSource::new(out).unwrap()).unwrap();
    for target in Target::ALL {
        let options = ExportOptions {
            target,
            compress: false,
            threads: 2,
            durable: false,
        };
        let file = tempfile::tempfile().unwrap();
        let exported = export(&disk, &file, options, &Control::none()).unwrap();
        let recipe = compose(&disk, target, DIGEST).unwrap();
        assert_eq!(recipe.len(), exported.file_size, "{target}");
    }
}

#[test]
fn the_digest_is_the_identity() {
    let disk = mixed();
    let image = |digest| bytes(&compose(&disk, Target::Vdi, digest).unwrap(), &disk);
    assert_eq!(image(DIGEST), image(DIGEST));
    assert_ne!(image(DIGEST), image([8; 32]));
}

#[test]
fn there_is_nothing_behind_the_end() {
    let disk = mixed();
    let recipe = compose(&disk, Target::Vhdx, DIGEST).unwrap();
    let mut buf = [0; 2];
    for offset in [recipe.len() - 1, recipe.len(), u64::MAX] {
        let error = recipe.read_at(&disk, offset, &mut buf).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused);
        assert_eq!(error.code(), "range");
    }
}

#[test]
fn what_a_sink_says_ends_a_stream() {
    let sink = |_: &[u8]| Err(std::io::Error::other("nobody listens"));
    let error = stream(&mixed(), DIGEST, 2, sink, &Control::none()).unwrap_err();
    let source = std::error::Error::source(&error).unwrap();
    assert_eq!(source.to_string(), "nobody listens");
    let empty = Patched::new(0);
    let error = compose(&empty, Target::Raw, DIGEST).unwrap_err();
    assert_eq!(error.code(), "virtual-size");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_range_is_a_part_of_the_whole(
        target in proptest::sample::select(&Target::ALL[..]),
        start in 0.0..1.0,
        len in 0_usize..200_000,
    ) {
        let disk = mixed();
        let recipe = compose(&disk, target, DIGEST).unwrap();
        let whole = bytes(&recipe, &disk);
        let start = (whole.len() as f64 * start) as usize;
        let end = (start + len).min(whole.len());
        let mut part = vec![0xee; end - start];
        recipe.read_at(&disk, start as u64, &mut part).unwrap();
        prop_assert!(part == whole[start..end]);
    }
}
