//! The target that reads LVM volume groups.

use abbild_disk::lvm;
use abbild_disk::{Error, Source};

/// Bytes of the physical volume, of which the first MiB is for the metadata.
const LEN: usize = 2 << 20;
const AREA: usize = 4096;
const AREA_LEN: u64 = (1 << 20) - 4096;

/// The text of a group, in a physical volume that is otherwise sound.
pub fn lvm(text: &[u8]) {
    let text = &text[..text.len().min(1 << 16)];
    let disk = physical(text);
    let Ok(group) = lvm::open(vec![&disk]).map_err(|error| explain(&error)) else {
        return;
    };
    for volume in group.volumes() {
        let Ok(source) = volume.open().map_err(|error| explain(&error)) else {
            continue;
        };
        assert!(source.len() == volume.size() && volume.size() > 0);
        let mut bytes = vec![0; source.len().min(1 << 16) as usize];
        source.read_at(0, &mut bytes).expect("all parts were found");
        source
            .read_at(source.len() - 1, &mut bytes[..1])
            .expect("so was the last");
        assert!(source.read_at(source.len(), &mut [0]).is_err());
        let extent = source.data_at(source.len() / 2).expect("within the volume");
        assert!(extent.len > 0 && extent.len <= source.len() - extent.offset);
    }
}

fn explain(error: &Error) {
    assert!(error.code().starts_with("lvm-") || error.code() == "truncated");
    assert!(error.to_string().chars().all(|c| !c.is_control()));
}

/// A physical volume with the UUID that the seeds have, and one metadata area.
fn physical(text: &[u8]) -> Vec<u8> {
    let mut disk = vec![0; LEN];
    let mut put = |at: usize, bytes: &[u8]| disk[at..at + bytes.len()].copy_from_slice(bytes);
    put(512, b"LABELONE\x01");
    put(532, &[32]);
    put(536, b"LVM2 001");
    put(544, &[b'A'; 32]);
    put(584, &(1u64 << 20).to_le_bytes());
    put(616, &(AREA as u64).to_le_bytes());
    put(624, &AREA_LEN.to_le_bytes());
    put(AREA + 4, b" LVM2 x[5A%r0N*>\x01");
    put(AREA + 24, &(AREA as u64).to_le_bytes());
    put(AREA + 32, &AREA_LEN.to_le_bytes());
    put(AREA + 40, &512u64.to_le_bytes());
    put(AREA + 48, &(text.len() as u64).to_le_bytes());
    put(AREA + 56, &checksum(text).to_le_bytes());
    put(AREA + 512, text);
    for (at, range) in [(528, 532..1024), (AREA, AREA + 4..AREA + 512)] {
        let sum = checksum(&disk[range]);
        disk[at..at + 4].copy_from_slice(&sum.to_le_bytes());
    }
    disk
}

/// LVM's checksum: CRC-32 with a start value of its own and no final inversion.
fn checksum(bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(!0xf597_a6cf);
    hasher.update(bytes);
    !hasher.finalize()
}
