//! Several systems on one disk, and disks with none of ours.

use abbild_guest::{Content, Lang, Outcome, Reason, Report, RuleId};

use crate::disk::{Disk, Part};
use crate::lvm::physical_volume;
use crate::tree::{ELF_X86_64, Guest, report, says};

const ROOT_X86_64: &str = "4f68bce3-e8cd-4db1-96e7-fbcaf984b709";
const MICROSOFT_RESERVED: &str = "e3c9e316-0b5c-4db8-817d-f92df00215ae";

/// A second system, on a filesystem labelled `old`, whose own boot loader starts it.
fn old_debian() -> Guest {
    let guest = Guest::debian();
    guest
        .file(
            "usr/lib/os-release",
            "ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 11 (bullseye)\"\nVERSION_ID=11\n",
        )
        .file("etc/fstab", "LABEL=old / ext4\n")
        .file("boot/grub/grub.cfg", "linux /boot/vmlinuz root=LABEL=old\n");
    guest
}

fn old(options: &[&str]) -> Vec<u8> {
    old_debian().filesystem(&[&["-t", "ext4", "-L", "old"], options].concat())
}

fn new() -> Vec<u8> {
    Guest::debian().filesystem(&["-t", "ext4"])
}

/// Names of all systems, that of the one that boots, and why.
fn chosen(report: &Report) -> (Vec<&str>, &str, Option<Reason>) {
    let systems = &report.facts.systems;
    let name = |system: &abbild_guest::System| system.name.is_some();
    assert!(systems.iter().all(name), "{systems:#?}");
    let names = systems.iter().filter_map(|system| system.name.as_deref());
    let mut boots = systems.iter().filter(|system| system.boots);
    let boots = boots.next().unwrap().name.as_deref().unwrap();
    let reason = report.facts.root.as_ref().unwrap().reason.as_ref();
    (names.collect(), boots, reason.map(|reason| reason.value))
}

const OLD: &str = "Debian GNU/Linux 11 (bullseye)";
const NEW: &str = "Debian GNU/Linux 12 (bookworm)";

#[test]
fn one_system_needs_no_choice() {
    let report = Guest::debian().report();
    assert_eq!(chosen(&report), (vec![NEW], NEW, None));
    assert!(report.finding(RuleId::SeveralSystems).is_none());
}

#[test]
fn the_boot_loader_decides_between_systems() {
    let guest = old_debian();
    guest.file(
        "boot/grub/grub.cfg",
        "linux /boot/vmlinuz root=LABEL=root\nlinux /boot/vmlinuz root=LABEL=old\n",
    );
    let old = guest.filesystem(&["-t", "ext4", "-L", "old"]);
    let report = report(Disk::mbr([Part::new(old), Part::new(new())]).bytes());
    assert_eq!(
        chosen(&report),
        (vec![OLD, NEW], NEW, Some(Reason::BootLoader))
    );
    assert_eq!(report.facts.root.as_ref().unwrap().partition, 2);
    assert_eq!(
        says(&report, RuleId::SeveralSystems),
        (
            Outcome::Note,
            format!(
                "machines start {NEW} (vda2), which the boot loader's default entry names; the disk \
                 also holds {OLD} (vda1)"
            )
        )
    );
    let german = report
        .finding(RuleId::SeveralSystems)
        .unwrap()
        .text(Lang::De);
    assert!(
        german.contains("(vda2), das der Standardeintrag"),
        "{german}"
    );
    let root = report.facts.root.as_ref().unwrap();
    let evidence = &root.reason.as_ref().unwrap().evidence[0];
    assert_eq!(evidence.path.as_deref(), Some("/boot/grub/grub.cfg"));
    assert_eq!(evidence.line, Some(1));
}

#[test]
fn a_boot_partition_of_nobody_decides_too() {
    let boot = Guest::empty();
    boot.file("grub2/grub.cfg", "linux /vmlinuz root=LABEL=old\n");
    let silent = Guest::debian();
    silent.remove("boot/grub/grub.cfg");
    let group = physical_volume("vg", &[("new", silent.filesystem(&["-t", "ext4"]))]);
    let parts = [
        Part::new(boot.filesystem(&["-t", "ext2", "-L", "boot"])),
        Part::new(group),
        Part::new(old(&[])),
    ];
    let report = report(Disk::mbr(parts).bytes());
    // The volumes come after all partitions.
    assert_eq!(
        chosen(&report),
        (vec![OLD, NEW], OLD, Some(Reason::BootLoader))
    );
    let (_, text) = says(&report, RuleId::SeveralSystems);
    assert!(
        text.ends_with(&format!("also holds {NEW} (vg/new)")),
        "{text}"
    );
}

#[test]
fn flag_type_and_files_decide_where_boot_loaders_do_not() {
    let parts = || [Part::new(old(&[])), Part::new(new())];
    let [first, second] = parts();
    let flagged = report(Disk::mbr([first, second.active()]).bytes());
    assert_eq!(
        chosen(&flagged),
        (vec![OLD, NEW], NEW, Some(Reason::BootFlag))
    );

    let [first, second] = parts();
    let typed = report(Disk::gpt([first, second.of_type(ROOT_X86_64)]).bytes());
    assert_eq!(
        chosen(&typed),
        (vec![OLD, NEW], NEW, Some(Reason::PartitionType))
    );

    let [_, second] = parts();
    let guest = old_debian();
    guest.remove("etc/fstab").remove("etc/os-release");
    let bare = Part::new(guest.filesystem(&["-t", "ext4", "-L", "old"]));
    let fuller = report(Disk::gpt([bare, second]).bytes());
    assert_eq!(chosen(&fuller), (vec![OLD, NEW], NEW, Some(Reason::Files)));

    let even = report(Disk::gpt(parts()).bytes());
    assert_eq!(chosen(&even), (vec![OLD, NEW], OLD, Some(Reason::Order)));
}

#[test]
fn a_separate_usr_is_no_second_system() {
    let whole = Guest::debian();
    whole
        .file("etc/fstab", "LABEL=root / ext4\nLABEL=usr /usr ext4\n")
        .file("usr/etc/passwd", "");
    let usr = Part::new(whole.split("usr").filesystem(&["-t", "ext4", "-L", "usr"]));
    let root = Part::new(whole.filesystem(&["-t", "ext4"]));
    let report = report(Disk::mbr([usr, root]).bytes());
    assert_eq!(chosen(&report), (vec![NEW], NEW, None));
}

fn ntfs() -> Vec<u8> {
    let mut bytes = vec![0; 4 << 20];
    bytes[3..11].copy_from_slice(b"NTFS    ");
    bytes
}

#[test]
fn windows_is_told_by_its_partitions() {
    let reserved = || Part::new(vec![0; 1 << 20]).of_type(MICROSOFT_RESERVED);
    let alone = report(Disk::gpt([reserved(), Part::new(ntfs())]).bytes());
    let (outcome, text) = says(&alone, RuleId::OperatingSystem);
    assert_eq!(outcome, Outcome::Failure);
    assert!(text.starts_with("the disk holds Windows"), "{text}");
    assert_eq!(chosen(&alone), (vec!["Windows"], "Windows", None));

    let parts = [reserved(), Part::new(ntfs()), Part::new(new())];
    let both = report(Disk::gpt(parts).bytes());
    assert_eq!(says(&both, RuleId::OperatingSystem).0, Outcome::Pass);
    assert_eq!(chosen(&both), (vec![NEW, "Windows"], NEW, None));
    let (_, text) = says(&both, RuleId::SeveralSystems);
    assert_eq!(
        text,
        format!("machines start {NEW} (vda3); the disk also holds Windows (vda2)")
    );

    // A stick with data.
    let data = report(Disk::gpt([Part::new(ntfs()), Part::new(new())]).bytes());
    assert!(data.finding(RuleId::SeveralSystems).is_none());
}

/// What the disk holds, and the sentence about it.
fn content(report: &Report) -> (Option<Content>, String) {
    let (outcome, text) = says(report, RuleId::OperatingSystem);
    assert_eq!(outcome, Outcome::Failure, "{text}");
    let content = report.facts.content.as_ref();
    (content.map(|content| content.value), text)
}

#[test]
fn empty_disks_are_called_empty() {
    let parts = [Part::new(vec![0; 4 << 20]), Part::new(vec![0; 4 << 20])];
    let (found, text) = content(&report(Disk::gpt(parts).bytes()));
    assert_eq!(found, Some(Content::Empty));
    assert!(text.starts_with("the disk is empty"), "{text}");
    // Something unknown is not nothing.
    let mut unknown = vec![0; 4 << 20];
    unknown[5000] = 1;
    let (found, _) = content(&report(Disk::gpt([Part::new(unknown)]).bytes()));
    assert_eq!(found, None);
}

#[test]
fn an_installation_medium_is_called_one() {
    let mut disk = Disk::mbr([Part::new(vec![0; 4 << 20])]).bytes();
    disk[0x8000..0x8006].copy_from_slice(b"\x01CD001");
    disk[0x8028..0x8048].copy_from_slice(b"Debian 12.5.0 amd64 n           ");
    let container = crate::disk::vdi(disk);
    let found = report(container);
    assert_eq!(content(&found).0, Some(Content::Installer));
    let evidence = &found.finding(RuleId::OperatingSystem).unwrap().evidence[0];
    assert_eq!(evidence.text.as_deref(), Some("Debian 12.5.0 amd64 n"));
}

#[test]
fn dos_is_told_by_its_kernel() {
    let mut fat = vec![0; 1440 << 10];
    // FAT12 of a floppy's size: one sector per cluster, two tables of 9 sectors, 224 root entries.
    fat[11..13].copy_from_slice(&512_u16.to_le_bytes());
    fat[13] = 1;
    fat[14] = 1;
    fat[16] = 2;
    fat[17..19].copy_from_slice(&224_u16.to_le_bytes());
    fat[19..21].copy_from_slice(&2880_u16.to_le_bytes());
    fat[22] = 9;
    fat[54..62].copy_from_slice(b"FAT12   ");
    let data = report(Disk::mbr([Part::new(fat.clone())]).bytes());
    assert_eq!(content(&data).0, None);
    fat[19 * 512..][..11].copy_from_slice(b"IO      SYS");
    let (found, text) = content(&report(Disk::mbr([Part::new(fat)]).bytes()));
    assert_eq!(found, Some(Content::Dos));
    assert!(text.starts_with("the disk holds DOS"), "{text}");
}

#[test]
fn the_end_of_support_is_a_fact() {
    for (line, found) in [
        ("SUPPORT_END=2026-05-13", Some("2026-05-13")),
        ("SUPPORT_END=soon", None),
    ] {
        let guest = Guest::debian();
        let release = format!("ID=fedora\nPRETTY_NAME=\"Fedora Linux 42\"\n{line}\n");
        guest
            .file("usr/lib/os-release", release)
            .file("usr/lib/systemd/systemd", ELF_X86_64);
        let os = guest.report().facts.os.unwrap();
        let end = os.support_end.as_ref();
        assert_eq!(end.map(|end| end.value.as_str()), found);
        assert_eq!(end.and_then(|end| end.evidence[0].line), found.map(|_| 3));
    }
}
