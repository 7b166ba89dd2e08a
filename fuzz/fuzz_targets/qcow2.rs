//! Any bytes that claim to be a qcow2 image: they are opened, verified, walked and read, and must
//! neither panic nor take long.

#![no_main]

use abbild_disk::{Disk, Limits, Source, qcow2};
use libfuzzer_sys::fuzz_target;

/// Large enough for several L1 entries of every cluster size but the largest.
const LIMITS: Limits = Limits {
    max_virtual_size: 1 << 32,
};
/// Extents that are read; more of the same kind teach nothing.
const MAX_EXTENTS: usize = 256;
/// Bytes read of each extent: two clusters of 64 KiB.
const MAX_READ: u64 = 1 << 17;

fuzz_target!(|data: &[u8]| {
    let Ok(disk) = qcow2::Disk::open_with(data, &LIMITS) else {
        return;
    };
    let verified = disk.verify().is_ok();
    let mut offset = 0;
    for _ in 0..MAX_EXTENTS {
        if offset >= disk.virtual_size() {
            break;
        }
        let Ok(extent) = disk.extent_at(offset) else {
            assert!(!verified, "a verified image has no bad tables");
            break;
        };
        assert!(extent.offset == offset && extent.len > 0);
        assert!(extent.len <= disk.virtual_size() - offset);
        let _ = disk.read_at(offset, &mut vec![0; extent.len.min(MAX_READ) as usize]);
        offset += extent.len;
    }
});
