//! How firmware can start the image: by a BIOS from the first sector, by UEFI from an EFI system
//! partition.
//!
//! A machine made from the image comes with empty UEFI variables, so its firmware knows of no boot
//! entry and starts the program under the fallback name of the UEFI specification ("Removable Media
//! Boot Behavior", 3.5.1.1) or nothing. A partition without that program does not start.

use std::sync::Arc;

use abbild_disk::{Disk, partition};

use crate::facts::{Boot, Evidence, Fact};
use crate::fs::fat::{Entry, Fat};
use crate::text::clean;

/// The directory of the fallback, and how its programs are called: `BOOTX64.EFI` and the like.
const FALLBACK: &str = "EFI/BOOT";
/// Directories of loaders looked into.
const MAX_VENDORS: usize = 16;
/// Loaders reported.
const MAX_LOADERS: usize = 16;
/// What GRUB's first sector says.
const GRUB_MARK: &[u8] = b"GRUB";

/// What boot sector, partition types and the EFI system partition tell.
pub(crate) fn probe<D: Disk>(disk: &Arc<D>, table: &partition::Table) -> Boot {
    let mut boot = Boot::default();
    bios(disk, table, &mut boot);
    for partition in table
        .partitions
        .iter()
        .filter(|partition| partition.is_efi_system())
    {
        let evidence = Evidence::offset(partition.start).saying(partition.kind.name());
        boot.evidence.push(evidence);
        boot.efi_partition = true;
        if let Ok(source) = partition.open(Arc::clone(disk))
            && let Some(fat) = Fat::open(source)
        {
            efi(&fat, &mut boot);
        }
    }
    boot
}

fn bios<D: Disk>(disk: &Arc<D>, table: &partition::Table, boot: &mut Boot) {
    if !table.boot_code {
        return;
    }
    boot.evidence.push(Evidence::offset(0).saying("boot code"));
    boot.bios = true;
    // With a GPT, GRUB's first sector needs its BIOS boot partition; other loaders need the flag.
    if table.scheme == partition::Scheme::Gpt {
        let stage = table
            .partitions
            .iter()
            .find(|partition| partition.is_bios_boot() || partition.bootable);
        boot.bios = stage.is_some();
        boot.evidence
            .extend(stage.map(|stage| Evidence::offset(stage.start).saying(stage.kind.name())));
    }
    let mut sector = [0; 440];
    if disk.read_at(0, &mut sector).is_ok()
        && sector.windows(GRUB_MARK.len()).any(|at| at == GRUB_MARK)
    {
        boot.loader = Some(Fact::new("grub".to_owned(), Evidence::offset(0)));
    }
}

fn efi<S: abbild_disk::Source>(fat: &Fat<S>, boot: &mut Boot) {
    let vendors = fat.list("EFI");
    for vendor in vendors
        .iter()
        .filter(|entry| entry.is_directory)
        .take(MAX_VENDORS)
    {
        let directory = format!("EFI/{}", vendor.name);
        let fallback = directory.eq_ignore_ascii_case(FALLBACK);
        for entry in fat
            .list(&directory)
            .iter()
            .filter(|entry| is_program(entry))
        {
            let path = clean(format!("{directory}/{}", entry.name));
            if fallback && starts_with(&entry.name, "boot") {
                boot.uefi = true;
                boot.evidence.push(Evidence::text(&path));
            }
            if let Some(loader) = loader(&entry.name) {
                let found = Fact::new(loader.to_owned(), Evidence::text(&path));
                boot.loader.get_or_insert(found);
            }
            if boot.efi_programs.len() < MAX_LOADERS {
                boot.efi_programs.push(path);
            }
        }
    }
}

/// The boot loader whose program is called so.
fn loader(name: &str) -> Option<&'static str> {
    [
        ("grub", "grub"),
        ("systemd-boot", "systemd-boot"),
        ("loader", "freebsd"),
    ]
    .iter()
    .find(|(prefix, _)| starts_with(name, prefix))
    .map(|(_, loader)| *loader)
}

fn is_program(entry: &Entry) -> bool {
    let efi = |suffix: &str| suffix.eq_ignore_ascii_case(".efi");
    let suffix = entry
        .name
        .len()
        .checked_sub(4)
        .and_then(|at| entry.name.get(at..));
    !entry.is_directory && entry.len > 0 && suffix.is_some_and(efi)
}

fn starts_with(name: &str, prefix: &str) -> bool {
    name.get(..prefix.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}
