//! Guests and images made to hurt: they end in findings, quickly.

use std::sync::Arc;
use std::time::{Duration, Instant};

use abbild_disk::{Error, ErrorKind};
use abbild_guest::{Context, Lang, Outcome, RuleId, Verdict, inspect, report_unreadable};
use proptest::prelude::*;

use crate::tree::{Guest, START, assert_rendered, finding, report, says};

fn faults(report: &abbild_guest::Report) -> Vec<&str> {
    report
        .facts
        .faults
        .iter()
        .map(|fault| fault.code.as_str())
        .collect()
}

#[test]
fn links_stay_inside_and_loops_end() {
    let guest = Guest::debian();
    guest.remove("etc/os-release");
    guest.link("etc/os-release", "../../../../../../usr/lib/os-release");
    assert_eq!(
        finding(&guest.report(), RuleId::OperatingSystem).outcome,
        Outcome::Pass
    );

    guest.remove("etc/os-release").remove("usr/lib/os-release");
    guest.link("etc/os-release", "/usr/lib/os-release");
    guest.link("usr/lib/os-release", "/etc/os-release");
    let report = guest.report();
    assert!(
        faults(&report).contains(&"symlink-loop"),
        "{:?}",
        report.facts.faults
    );
    assert_eq!(
        finding(&report, RuleId::OperatingSystem).outcome,
        Outcome::Failure
    );
}

#[test]
fn terminal_escapes_do_not_reach_the_report() {
    let guest = Guest::debian();
    guest.file(
        "usr/lib/os-release",
        b"ID=debian\nPRETTY_NAME=\"\x1b]0;owned\x07De\xffbian\"\n",
    );
    let report = guest.report();
    let text = report.to_json(Lang::En).to_string();
    assert!(text.contains("owned"));
    assert!(!text.contains("\\u001b") && !text.contains('\u{1b}') && !text.contains("\\u0007"));
    assert!(
        says(&report, RuleId::OperatingSystem)
            .1
            .contains("\\u{1b}]0;owned\\u{7}De\u{fffd}bian")
    );
}

#[test]
fn large_files_and_yaml_bombs_are_left_alone() {
    let guest = Guest::debian();
    guest.file("etc/cloud/cloud.cfg.d/95_big.cfg", vec![b'#'; 1 << 21]);
    guest.file("etc/cloud/cloud.cfg.d/96_deep.cfg", "[".repeat(200_000));
    let start = Instant::now();
    let report = guest.report();
    assert!(start.elapsed() < Duration::from_secs(20));
    assert!(
        faults(&report).contains(&"file-too-large"),
        "{:?}",
        report.facts.faults
    );
    let problems = &report.facts.cloud_init.problems;
    assert_eq!(problems[0].code, "not-yaml", "{problems:?}");
    // What came before still counts.
    assert_eq!(
        finding(&report, RuleId::DatasourceOrder).outcome,
        Outcome::Pass
    );
}

#[test]
fn a_filesystem_larger_than_its_partition_is_cut_off() {
    let mut disk = Guest::debian().disk();
    let sectors = u32::try_from((4 << 20) / 512).unwrap();
    disk[446 + 12..446 + 16].copy_from_slice(&sectors.to_le_bytes());
    let report = report(disk);
    assert_eq!(
        finding(&report, RuleId::RootFilesystem).message.id,
        "root-filesystem-truncated"
    );
    assert_eq!(report.verdict, Verdict::Refused);
}

#[test]
fn absurd_superblocks_are_refused_before_they_cost_anything() {
    let disk = Guest::debian().disk_as(&["-t", "ext3"]);
    // Blocks per group, inode size, inodes per group.
    for (offset, value) in [(0x20, 0_u32), (0x20, 1), (0x58, 0xffff_ffff), (0x28, 0)] {
        let mut disk = disk.clone();
        disk[START + 1024 + offset..][..4].copy_from_slice(&value.to_le_bytes());
        let report = report(disk);
        assert_eq!(report.verdict, Verdict::Refused, "{offset:#x}");
        let root = finding(&report, RuleId::RootFilesystem);
        assert_eq!(root.outcome, Outcome::Failure, "{offset:#x}");
    }
}

#[test]
fn a_journal_that_cannot_be_replayed_asks_for_a_check() {
    let mut disk = Guest::debian().disk_as(&["-t", "ext3"]);
    disk[START + 1024 + 0x60] |= 0x4; // needs recovery
    let report = report(disk);
    let root = finding(&report, RuleId::RootFilesystem);
    assert_eq!(root.message.id, "root-filesystem-dirty");
    assert!(root.remedies[0].commands[0].contains("e2fsck /dev/sda1"));
    assert_eq!(finding(&report, RuleId::Sshd).outcome, Outcome::Unknown);
}

#[test]
fn a_damaged_file_tree_is_a_finding() {
    let mut disk = Guest::debian().disk();
    // The first inode table: root directory and everything below it.
    let block = |disk: &[u8], at: usize| {
        usize::try_from(u32::from_le_bytes(*disk[at..].first_chunk().unwrap())).unwrap()
    };
    let block_size = 1024 << disk[START + 1024 + 0x18];
    let descriptors = START + if block_size == 1024 { 2048 } else { block_size };
    let table = START + block(&disk, descriptors + 8) * block_size;
    disk[table..table + 4096].fill(0xff);
    let report = report(disk);
    let root = finding(&report, RuleId::RootFilesystem);
    assert_eq!(root.message.id, "root-filesystem-corrupt", "{root:?}");
    assert_eq!(
        root.remedies[0].commands,
        ["guestfish --rw -a IMAGE run : e2fsck /dev/sda1 forceall:true"]
    );
}

#[test]
fn an_unreadable_image_still_has_seven_findings() {
    let error = Error::new(ErrorKind::Refused, "backing-file", "it has a backing file").at(8);
    let report = report_unreadable(&error, &Context::default());
    assert_rendered(&report);
    assert!(report.findings.len() >= 7);
    assert_eq!(report.verdict, Verdict::Refused);
    let format = finding(&report, RuleId::ImageFormat);
    assert_eq!(format.outcome, Outcome::Failure);
    assert_eq!(format.evidence[0].offset, Some(8));
    assert_eq!(
        format.remedies[0].commands,
        ["qemu-img convert -O qcow2 IMAGE NEW.qcow2"]
    );
    assert!(format.text(Lang::De).contains("Basisdatei"));

    let error = Error::new(
        ErrorKind::Refused,
        "virtual-size",
        "the virtual disk has 2^60 bytes",
    );
    let report = report_unreadable(&error, &Context::default());
    assert_eq!(
        finding(&report, RuleId::VirtualSize).outcome,
        Outcome::Failure
    );
    assert_eq!(
        finding(&report, RuleId::ImageFormat).outcome,
        Outcome::Unknown
    );

    let error = Error::new(ErrorKind::Unsupported, "qed", "the file is a QED image")
        .with_hint("convert it: `qemu-img convert -O qcow2 IMAGE NEW.qcow2`");
    let report = report_unreadable(&error, &Context::default());
    let remedy = &finding(&report, RuleId::ImageFormat).remedies[0];
    assert_eq!(
        remedy.commands,
        ["qemu-img convert -O qcow2 IMAGE NEW.qcow2"]
    );
    assert_eq!(
        remedy.text(Lang::De),
        "in ein unterstütztes Format umwandeln"
    );
}

#[test]
fn an_operator_may_change_severities() {
    let guest = Guest::debian();
    guest.remove("usr/sbin/sshd");
    let disk = Arc::new(abbild_disk::open(guest.disk()).unwrap());
    let mut context = Context::default();
    let verdict = |context: &Context| inspect(&disk, context).verdict;
    assert_eq!(verdict(&context), Verdict::AcceptedWithWarnings);
    context.severities.0 = serde_json::from_str(r#"{"sshd": "failure"}"#).unwrap();
    assert_eq!(verdict(&context), Verdict::Refused);
    context.severities.0 = serde_json::from_str(r#"{"sshd": "note"}"#).unwrap();
    assert_eq!(verdict(&context), Verdict::Accepted);
    context.limits.max_virtual_size = 1 << 20;
    assert_eq!(verdict(&context), Verdict::Refused);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Bytes flipped anywhere in the filesystem's metadata end in a report.
    #[test]
    fn damage_never_panics(
        checksums in any::<bool>(),
        damage in prop::collection::vec((0..(512_usize << 10), any::<u8>()), 1..40),
    ) {
        static DISKS: std::sync::OnceLock<[Vec<u8>; 2]> = std::sync::OnceLock::new();
        let disks = DISKS.get_or_init(|| {
            let guest = Guest::debian();
            [guest.disk_as(&["-t", "ext4", "-O", "^metadata_csum"]), guest.disk()]
        });
        let mut disk = disks[usize::from(checksums)].clone();
        for (offset, byte) in damage {
            disk[START + 1024 + offset] = byte;
        }
        let start = Instant::now();
        let report = report(disk);
        prop_assert!(report.findings.len() >= 7);
        prop_assert!(start.elapsed() < Duration::from_secs(20));
    }
}
