//! Which hardware a machine is given, by what the check of its image found.
//!
//! Whoever looks at a machine can see what was chosen, and why. The choice is made when the machine
//! gets its disk, and kept with it: a guest must find the same hardware at every start.

use abbild_api::{Chipset, Devices, Firmware, Hardware};
use abbild_guest::Facts;

/// The hardware for an image of which the check found `facts`; without any, what suits most guests.
#[must_use]
pub fn choose(facts: Option<&Facts>) -> Hardware {
    let (firmware, firmware_note) = firmware(facts);
    let (devices, devices_note) = devices(facts);
    Hardware {
        chipset: Chipset::Q35,
        firmware,
        firmware_note: firmware_note.to_owned(),
        devices,
        devices_note,
        sector_size: facts
            .and_then(|facts| facts.partition_table.as_ref())
            .map_or(512, |table| table.sector_size),
    }
}

/// What machines have that were made before there was a choice.
#[must_use]
pub fn before_choice() -> Hardware {
    let note = "an earlier version made this machine, and gave all machines the same";
    Hardware {
        chipset: Chipset::I440fx,
        firmware: Firmware::Bios,
        firmware_note: note.to_owned(),
        devices: Devices::Virtio,
        devices_note: note.to_owned(),
        sector_size: 512,
    }
}

/// What the built-in rescue system is made for; its kernel is loaded by the BIOS.
#[must_use]
pub fn for_rescue() -> Hardware {
    choose(None)
}

fn firmware(facts: Option<&Facts>) -> (Firmware, &'static str) {
    let Some(boot) = facts.map(|facts| &facts.boot) else {
        return (Firmware::Bios, "the image was not looked into");
    };
    match (boot.bios, boot.uefi) {
        (true, true) => (
            Firmware::Bios,
            "the image starts with either, and a BIOS is ready sooner",
        ),
        (true, false) => (Firmware::Bios, "the image has boot code for a BIOS only"),
        (false, true) => (
            Firmware::Uefi,
            "the image has a boot loader for UEFI only, under the fallback name",
        ),
        // Programs under other names than the fallback can be started from the firmware's menu.
        (false, false) if !boot.efi_programs.is_empty() => (
            Firmware::Uefi,
            "the image has programs for UEFI, though none under the fallback name",
        ),
        (false, false) => (Firmware::Bios, "no boot loader was found"),
    }
}

fn devices(facts: Option<&Facts>) -> (Devices, String) {
    match facts.and_then(|facts| facts.drivers.as_ref()) {
        None => (
            Devices::Virtio,
            "which drivers the image has is not known, and virtio is the fastest".to_owned(),
        ),
        Some(drivers) if drivers.missing.is_empty() => (
            Devices::Virtio,
            format!("kernel {} has the drivers", drivers.kernel),
        ),
        Some(drivers) => (
            Devices::Emulated,
            format!(
                "kernel {} lacks {}; a SATA disk and an e1000 network card work nearly everywhere, \
                 and are slower",
                drivers.kernel,
                drivers.missing.join(", ")
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use abbild_guest::Drivers;

    use super::*;

    fn booting(bios: bool, uefi: bool) -> Facts {
        let mut facts = Facts::default();
        (facts.boot.bios, facts.boot.uefi) = (bios, uefi);
        facts
    }

    #[test]
    fn the_firmware_is_one_that_finds_the_boot_loader() {
        for (bios, uefi, expected) in [
            (true, false, Firmware::Bios),
            (true, true, Firmware::Bios),
            (false, true, Firmware::Uefi),
            (false, false, Firmware::Bios),
        ] {
            assert_eq!(choose(Some(&booting(bios, uefi))).firmware, expected);
        }
        let mut facts = booting(false, false);
        facts.boot.efi_programs = vec!["EFI/debian/grubx64.efi".to_owned()];
        assert_eq!(choose(Some(&facts)).firmware, Firmware::Uefi);
        assert_eq!(choose(None).firmware, Firmware::Bios);
    }

    #[test]
    fn a_guest_without_virtio_gets_what_every_kernel_knows() {
        let mut facts = booting(true, false);
        assert_eq!(choose(Some(&facts)).devices, Devices::Virtio);
        let missing = vec!["virtio_blk".to_owned(), "virtio_net".to_owned()];
        facts.drivers = Some(Drivers {
            kernel: "2.6.18".to_owned(),
            found: Vec::new(),
            missing,
            initrd_of_one_machine: None,
        });
        let chosen = choose(Some(&facts));
        assert_eq!(chosen.devices, Devices::Emulated);
        let note = chosen.devices_note;
        assert!(
            note.contains("2.6.18 lacks virtio_blk, virtio_net"),
            "{note}"
        );
    }
}
