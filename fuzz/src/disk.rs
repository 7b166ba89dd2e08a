//! Targets that read disk images.

use abbild_disk::{Disk, Error, Image, Limits, Result, Source, open_with};

use crate::sealed::Sealed;
use crate::sectors::Sectors;

/// Large enough for several tables of every format.
const LIMITS: Limits = Limits {
    max_virtual_size: 1 << 33,
};
/// Extents that are read; more of the same kind teach nothing.
const MAX_EXTENTS: usize = 128;
/// Bytes read of each extent: two clusters of 64 KiB.
const MAX_READ: u64 = 1 << 17;

/// Opens the file if it is what `wanted` says, checks its tables and reads through it.
fn image<S: Source>(file: S, wanted: fn(&Image<S>) -> bool) {
    match open_with(file, &LIMITS) {
        Ok(image) if wanted(&image) => walk(&image),
        Ok(_) => {}
        Err(error) => explain(&error),
    }
}

/// An error says something.
fn explain(error: &Error) {
    assert!(!error.code().is_empty());
    assert!(!error.to_string().is_empty());
}

/// Extents cover the disk in order; where they say zeros, zeros are read.
fn walk(disk: &impl Disk) {
    let verified = disk.verify().is_ok();
    let mut offset = 0;
    for _ in 0..MAX_EXTENTS {
        if offset >= disk.virtual_size() {
            break;
        }
        let extent = match disk.extent_at(offset) {
            Ok(extent) => extent,
            Err(error) => {
                assert!(!verified, "a verified image has no bad tables: {error}");
                break;
            }
        };
        assert!(extent.offset == offset && extent.len > 0);
        assert!(extent.len <= disk.virtual_size() - offset);
        let mut bytes = vec![1; extent.len.min(MAX_READ) as usize];
        let read: Result<()> = disk.read_at(offset, &mut bytes);
        if extent.kind == abbild_disk::ExtentKind::Zero {
            assert!(read.is_ok() && bytes.iter().all(|&byte| byte == 0));
        }
        offset += extent.len;
    }
    // A read across whatever comes, and one past the end.
    let _ = disk.read_at(511, &mut [0; 1026]);
    assert!(disk.read_at(disk.virtual_size(), &mut [0]).is_err());
}

/// A qcow2 image.
pub fn qcow2(input: &[u8]) {
    image(Sectors::parse(input), |image| {
        matches!(image, Image::Qcow2(_))
    });
}

/// A VHDX image, as it is and with right checksums.
pub fn vhdx(input: &[u8]) {
    let file = Sectors::parse(input);
    image(&file, |image| matches!(image, Image::Vhdx(_)));
    image(Sealed::new(&file), |image| matches!(image, Image::Vhdx(_)));
}

/// A VDI image.
pub fn vdi(input: &[u8]) {
    image(Sectors::parse(input), |image| {
        matches!(image, Image::Vdi(_))
    });
}

/// A VMDK image in one file.
pub fn vmdk(input: &[u8]) {
    image(Sectors::parse(input), |image| {
        matches!(image, Image::Vmdk(_))
    });
}

/// A tar archive with an image of any format in it, or the parts of a VMDK image.
pub fn tar(input: &[u8]) {
    let file = Sectors::parse(input);
    let mut magic = [0; 5];
    if file.read_at(257, &mut magic).is_ok() && &magic == b"ustar" {
        image(file, |_| true);
    }
}

/// A raw disk: every partition that is reported lies on it.
pub fn partition(input: &[u8]) {
    let disk = Sectors::parse(input);
    if let Err(error) = open_with(&disk, &LIMITS) {
        explain(&error);
    }
    let Ok(table) = abbild_disk::partition::read(&disk) else {
        return;
    };
    for partition in &table.partitions {
        assert!(partition.len > 0);
        assert!(table.required_len > disk.len() || partition.open(&disk).is_ok());
    }
    let mut numbers: Vec<u32> = table.partitions.iter().map(|p| p.number).collect();
    numbers.dedup();
    assert!(numbers.is_sorted() && numbers.len() == table.partitions.len());
}
