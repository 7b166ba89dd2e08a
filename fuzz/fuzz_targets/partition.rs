//! Any bytes as the beginning of a raw disk: every partition that is reported must lie on it.

#![no_main]

use abbild_disk::{open, partition};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let disk = data.to_vec();
    let _ = open(&disk);
    let Ok(table) = partition::read(&disk) else {
        return;
    };
    for partition in &table.partitions {
        assert!(partition.len > 0);
        assert!(partition.open(&disk).is_ok());
    }
    let mut numbers: Vec<u32> = table.partitions.iter().map(|p| p.number).collect();
    numbers.dedup();
    assert!(numbers.is_sorted() && numbers.len() == table.partitions.len());
});
