//! Partition tables: numbers, names and identifiers as Linux gives them.

use abbild_disk::Source;
use abbild_disk::partition::{Guid, PartitionType, Role, Scheme, read};

use crate::build::{gpt_disk, put_mbr};

/// `Guid::LINUX_DATA` as it lies on disk.
const LINUX: [u8; 16] = [
    0xaf, 0x3d, 0xc6, 0x0f, 0x83, 0x84, 0x72, 0x47, 0x8e, 0x79, 0x3d, 0x69, 0xd8, 0x47, 0x7d, 0xe4,
];

#[test]
fn gpt_with_both_sector_sizes() {
    for sector in [512usize, 4096] {
        let boot = *b"Hah!IdontNeedEFI";
        let mut disk = gpt_disk(
            sector,
            256,
            &[
                (LINUX, 64, 99, "root ü\u{7}"),
                ([0; 16], 0, 0, ""),
                (boot, 48, 63, ""),
            ],
        );
        disk[5] = 0xeb;
        let table = read(&disk).unwrap();
        assert_eq!(table.scheme, Scheme::Gpt);
        assert_eq!(table.sector_size as usize, sector);
        assert!(table.boot_code);
        assert!(table.warnings.is_empty(), "{:?}", table.warnings);
        assert_eq!(table.disk_id, "d1d1d1d1-d1d1-d1d1-d1d1-d1d1d1d1d1d1");
        let [root, boot] = &table.partitions[..] else {
            panic!("{:?}", table.partitions);
        };
        assert_eq!(root.number, 1);
        assert_eq!(root.start, 64 * sector as u64);
        assert_eq!(root.len, 36 * sector as u64);
        assert_eq!(root.kind, PartitionType::Gpt(Guid::LINUX_DATA));
        assert_eq!(root.kind.name(), "Linux file system");
        assert_eq!(root.name, "root ü");
        assert_eq!(root.part_uuid, "10101010-1010-1010-1010-101010101010");
        assert_eq!(boot.number, 3, "numbers are places in the table");
        assert!(boot.is_bios_boot());
        assert_eq!(root.open(&disk).unwrap().len(), root.len);
    }
}

#[test]
fn gpt_without_its_backup_or_protective_mbr_is_read_with_a_warning() {
    let good = gpt_disk(512, 256, &[(LINUX, 64, 99, "root")]);
    let mut grown = good.clone();
    grown.truncate(512 * 200);
    let table = read(&grown).unwrap();
    assert_eq!(table.partitions.len(), 1);
    assert!(
        table.warnings[0].contains("backup GPT"),
        "{:?}",
        table.warnings
    );

    let mut bare = good;
    bare[510] = 0;
    let table = read(&bare).unwrap();
    assert_eq!(table.partitions.len(), 1);
    assert!(
        table.warnings[0].contains("protective MBR"),
        "{:?}",
        table.warnings
    );
}

#[test]
fn a_gpt_left_over_behind_an_mbr_is_ignored() {
    let mut disk = gpt_disk(512, 256, &[(LINUX, 64, 99, "old")]);
    put_mbr(&mut disk, 0, &[(0x80, 0x83, 64, 100)]);
    let table = read(&disk).unwrap();
    assert_eq!(table.scheme, Scheme::Mbr);
    assert_eq!(table.partitions.len(), 1);
}

#[test]
fn a_gpt_partition_past_the_end_is_left_out() {
    let disk = gpt_disk(512, 256, &[(LINUX, 64, 1000, ""), (LINUX, 90, 80, "")]);
    let table = read(&disk).unwrap();
    assert!(table.partitions.is_empty());
    assert_eq!(table.warnings.len(), 2);
    assert_eq!(table.required_len, 1001 * 512);
}

#[test]
fn mbr_with_logical_partitions() {
    let mut disk = vec![0; 512 * 2000];
    disk[440..444].copy_from_slice(&0x1a2b_3c4du32.to_le_bytes());
    put_mbr(
        &mut disk,
        0,
        &[(0x80, 0x83, 63, 100), (0, 0, 0, 0), (0, 0x05, 200, 1000)],
    );
    put_mbr(&mut disk, 200, &[(0, 0x82, 2, 50), (0, 0x05, 100, 400)]);
    put_mbr(&mut disk, 300, &[(0, 0x8e, 2, 60)]);
    let table = read(&disk).unwrap();
    assert_eq!(table.scheme, Scheme::Mbr);
    assert_eq!(table.disk_id, "1a2b3c4d");
    assert!(!table.boot_code);
    assert!(table.warnings.is_empty(), "{:?}", table.warnings);
    let seen: Vec<_> = table
        .partitions
        .iter()
        .map(|p| {
            (
                p.number,
                p.start / 512,
                p.len / 512,
                p.role,
                p.kind.to_string(),
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            (1, 63, 100, Role::Primary, "0x83".to_owned()),
            (3, 200, 1000, Role::Extended, "0x05".to_owned()),
            (5, 202, 50, Role::Logical, "0x82".to_owned()),
            (6, 302, 60, Role::Logical, "0x8e".to_owned()),
        ]
    );
    assert!(table.partitions[0].bootable);
    assert_eq!(table.partitions[2].part_uuid, "1a2b3c4d-05");
    assert_eq!(table.partitions[3].kind.name(), "Linux LVM");
}

#[test]
fn a_chain_that_loops_or_never_ends_is_cut() {
    let mut disk = vec![0; 512 * 4000];
    put_mbr(&mut disk, 0, &[(0, 0x0f, 10, 3900)]);
    put_mbr(&mut disk, 10, &[(0, 0x83, 1, 1), (0, 0x05, 20, 10)]);
    put_mbr(&mut disk, 30, &[(0, 0x83, 1, 1), (0, 0x05, 20, 10)]);
    let table = read(&disk).unwrap();
    assert_eq!(table.partitions.len(), 3);
    assert!(
        table.warnings[0].contains("returns to sector 30"),
        "{:?}",
        table.warnings
    );

    for link in 0..1000u32 {
        let next = (link + 1) * 3;
        put_mbr(
            &mut disk,
            10 + link as usize * 3,
            &[(0, 0x83, 1, 1), (0, 0x05, next, 3)],
        );
    }
    let table = read(&disk).unwrap();
    assert_eq!(
        table.partitions.len(),
        129,
        "the container and 128 logical ones"
    );
    assert!(
        table.warnings[0].contains("too long"),
        "{:?}",
        table.warnings
    );
}

#[test]
fn a_chain_that_leaves_the_disk_ends_with_a_warning() {
    let mut disk = vec![0; 512 * 400];
    put_mbr(&mut disk, 0, &[(0, 0x05, 10, 300)]);
    put_mbr(&mut disk, 10, &[(0, 0x83, 1, 1), (0, 0x05, u32::MAX, 10)]);
    let table = read(&disk).unwrap();
    assert_eq!(table.partitions.len(), 2);
    assert!(
        table.warnings[0].contains("not a boot record"),
        "{:?}",
        table.warnings
    );
}

/// Makes a table with sfdisk and compares what it then prints: device numbers, sectors, PARTUUIDs.
fn compare_with_sfdisk(script: &str) {
    use std::io::Write;
    use std::process::{Command, Stdio};

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk");
    std::fs::File::create(&path)
        .unwrap()
        .set_len(64 << 20)
        .unwrap();
    let made = Command::new("sfdisk")
        .args(["-q", "--no-reread", "--no-tell-kernel"])
        .arg(&path)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn();
    let Ok(mut child) = made else {
        eprintln!("SKIPPED: sfdisk (package fdisk) is not installed");
        return;
    };
    child
        .stdin
        .take()
        .unwrap()
        .write_all(script.as_bytes())
        .unwrap();
    assert!(child.wait().unwrap().success());
    let output = Command::new("sfdisk")
        .arg("-J")
        .arg(&path)
        .output()
        .unwrap();
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let expected = json["partitiontable"]["partitions"].as_array().unwrap();

    let disk = std::fs::read(&path).unwrap();
    let table = read(&disk).unwrap();
    assert!(table.warnings.is_empty(), "{:?}", table.warnings);
    assert_eq!(table.partitions.len(), expected.len());
    for (ours, theirs) in table.partitions.iter().zip(expected) {
        let node = format!("{}{}", path.display(), ours.number);
        assert_eq!(node, theirs["node"].as_str().unwrap());
        assert_eq!(ours.start / 512, theirs["start"].as_u64().unwrap());
        assert_eq!(ours.len / 512, theirs["size"].as_u64().unwrap());
        if table.scheme == Scheme::Gpt {
            let text = |key: &str| theirs[key].as_str().unwrap_or_default().to_lowercase();
            assert_eq!(ours.part_uuid, text("uuid"));
            assert_eq!(ours.kind.to_string(), text("type"));
            assert_eq!(ours.name, theirs["name"].as_str().unwrap_or_default());
        }
    }
}

#[test]
fn tables_made_by_sfdisk_read_as_sfdisk_reads_them() {
    compare_with_sfdisk("label: dos\n,8M,L,*\n,4M,S\n,,E\n,8M,L\n,4M,V\n,,L\n");
    compare_with_sfdisk(
        "label: gpt\nsize=1M, type=21686148-6449-6E6F-744E-656564454649\n\
         size=8M, type=U, name=\"x\"\ntype=L\n",
    );
}
