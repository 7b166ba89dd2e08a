//! Whether a machine made from the image gets as far as its init: boot loader, kernel, drivers,
//! root device, and the console on which one can watch and help it.

use super::{Judgement, remedy};
use crate::facts::{BootFile, Device, Evidence, Facts};
use crate::report::{Context, Message, Remedy};

/// Processors of the machines.
const ARCHITECTURES: [&str; 2] = ["x86_64", "i686"];

/// `architecture`: the processors are those that machines have here.
pub(super) fn architecture(facts: &Facts, _: &Context) -> Option<Judgement> {
    let architecture = facts.architecture.as_ref()?;
    if ARCHITECTURES.contains(&architecture.value.as_str()) {
        return None;
    }
    let message = Message::new("architecture-other").with("architecture", &architecture.value);
    Some(
        Judgement::not_met(message)
            .seen(architecture.evidence.clone())
            .cure([remedy::host("architecture-remedy", Vec::<String>::new())]),
    )
}

/// `boot-loader`: some firmware finds a boot loader.
pub(super) fn boot_loader(facts: &Facts, _: &Context) -> Option<Judgement> {
    let boot = &facts.boot;
    if boot.bios || boot.uefi {
        return None;
    }
    let program = boot.efi_programs.first();
    let (message, cure) = match program {
        Some(program) => (
            Message::new("boot-loader-no-fallback").with("program", program),
            fallback(program),
        ),
        None => (Message::new("boot-loader-none"), install_loader(facts)),
    };
    Some(
        Judgement::not_met(message)
            .seen(boot.evidence.clone())
            .cure(cure),
    )
}

/// Gives a loader that is there the name under which any firmware finds it.
fn fallback(program: &str) -> Vec<Remedy> {
    let commands = [
        "mkdir -p /boot/efi/EFI/BOOT".to_owned(),
        format!(
            "cp {} /boot/efi/EFI/BOOT/BOOTX64.EFI",
            remedy::quote(&format!("/boot/efi/{program}"))
        ),
    ];
    vec![remedy::guest("boot-loader-remedy-fallback", commands)]
}

/// Installs one for a BIOS.
pub(super) fn install_loader(facts: &Facts) -> Vec<Remedy> {
    let commands = match remedy::has_update_grub(facts) {
        true => [
            "apt-get install -y grub-pc",
            "grub-install /dev/vda",
            "update-grub",
        ],
        false => [
            "dnf install -y grub2-pc",
            "grub2-install /dev/vda",
            "grub2-mkconfig -o /boot/grub2/grub.cfg",
        ],
    };
    vec![remedy::guest("boot-loader-remedy-install", commands)]
}

/// `kernel`: the kernel and initrd of the default entry exist.
pub(super) fn kernel(facts: &Facts, _: &Context) -> Option<Judgement> {
    if facts.os.as_ref().is_none_or(|os| os.family != "linux") {
        return None;
    }
    let about = |id: &str, file: &BootFile| Message::new(id).with("path", &file.path);
    let absent = |file: &&BootFile| !file.present;
    let (message, evidence) = match &facts.boot_entry {
        Some(entry) => {
            let kernel = entry.kernel.iter().find(absent);
            let message = match (kernel, entry.initrds.iter().find(absent)) {
                (Some(kernel), _) => about("kernel-absent", kernel),
                (None, Some(initrd)) => about("kernel-initrd-absent", initrd),
                (None, None) => return None,
            };
            (message, entry.evidence.clone())
        }
        // Unified kernel images lie in the EFI system partition, and need no entry.
        None if facts.kernels.is_empty() && !facts.boot.uefi => {
            (Message::new("kernel-none"), vec![Evidence::path("/boot")])
        }
        None => return None,
    };
    Some(
        Judgement::not_met(message)
            .seen(evidence)
            .cure(rebuild_boot(facts, "kernel-remedy")),
    )
}

/// Writes initrd and boot menu anew.
pub(super) fn rebuild_boot(facts: &Facts, text: &str) -> Vec<Remedy> {
    let commands = match remedy::has_update_grub(facts) {
        true => [
            "update-initramfs -u -k all".to_owned(),
            "update-grub".to_owned(),
        ],
        false => [
            "dracut --force --regenerate-all".to_owned(),
            "grub2-mkconfig -o /boot/grub2/grub.cfg".to_owned(),
        ],
    };
    remedy::both(text, &commands)
}

/// `virtio-drivers`: the kernel has drivers for virtio disks and network cards.
pub(super) fn virtio_drivers(facts: &Facts, _: &Context) -> Option<Judgement> {
    let drivers = facts.drivers.as_ref()?;
    if drivers.missing.is_empty() {
        return None;
    }
    let message = Message::new("virtio-drivers-missing")
        .with("kernel", &drivers.kernel)
        .with("drivers", drivers.missing.join(", "));
    let found = drivers
        .found
        .iter()
        .flat_map(|driver| driver.evidence.clone());
    Some(
        Judgement::not_met(message)
            .seen(found)
            .cure(kernel_package(facts)),
    )
}

fn kernel_package(facts: &Facts) -> Vec<Remedy> {
    match remedy::has_update_grub(facts) {
        true => remedy::both(
            "virtio-drivers-remedy",
            &["apt-get install -y linux-image-amd64".to_owned()],
        ),
        false => vec![remedy::guest("virtio-drivers-remedy", Vec::<String>::new())],
    }
}

/// `initrd-drivers`: the initrd was made for any machine.
pub(super) fn initrd_drivers(facts: &Facts, _: &Context) -> Option<Judgement> {
    let setting = facts.drivers.as_ref()?.initrd_of_one_machine.clone()?;
    let dracut = setting
        .path
        .as_deref()
        .is_some_and(|path| path.contains("dracut"));
    let commands = match dracut {
        true => [
            "echo 'hostonly=\"no\"' > /etc/dracut.conf.d/zz-generic.conf".to_owned(),
            "dracut --force --regenerate-all".to_owned(),
        ],
        false => [
            "echo virtio_blk >> /etc/initramfs-tools/modules".to_owned(),
            "update-initramfs -u -k all".to_owned(),
        ],
    };
    Some(
        Judgement::not_met(Message::new("initrd-drivers-one-machine"))
            .seen([setting])
            .cure(remedy::both("initrd-drivers-remedy", &commands)),
    )
}

/// `root-device`: `root=` names a filesystem of this image.
pub(super) fn root_device(facts: &Facts, _: &Context) -> Option<Judgement> {
    let entry = facts.boot_entry.as_ref()?;
    let id = match entry.root_device() {
        Device::Absent => "root-device-absent",
        Device::OtherName => "root-device-other-name",
        Device::Present | Device::Unknown => return None,
    };
    let value = entry.root.as_ref().map_or("", |root| root.value.as_str());
    let commands = match remedy::has_update_grub(facts) {
        true => vec!["update-grub".to_owned()],
        false => {
            vec!["grubby --update-kernel=ALL --args=\"root=UUID=$(findmnt -no UUID /)\"".to_owned()]
        }
    };
    Some(
        Judgement::not_met(Message::new(id).with("root", value))
            .seen(entry.evidence.clone())
            .cure([remedy::guest("root-device-remedy", commands)]),
    )
}

/// `serial-console`: the kernel writes to the serial console.
pub(super) fn serial_console(facts: &Facts, _: &Context) -> Option<Judgement> {
    let entry = facts.boot_entry.as_ref()?;
    if facts.serial_console.is_some() {
        return None;
    }
    Some(
        Judgement::not_met(Message::new("serial-console-none"))
            .seen(entry.evidence.clone())
            .cure(use_serial_console(facts)),
    )
}

/// Has the kernel and a login use the serial console.
pub(super) fn use_serial_console(facts: &Facts) -> Vec<Remedy> {
    let commands = match remedy::has_update_grub(facts) {
        true => [
            "sed -i 's/^GRUB_CMDLINE_LINUX=\"/&console=tty0 console=ttyS0,115200 /' /etc/default/grub"
                .to_owned(),
            "update-grub".to_owned(),
        ],
        false => [
            "grubby --update-kernel=ALL --args='console=tty0 console=ttyS0,115200'".to_owned(),
            "systemctl enable serial-getty@ttyS0.service".to_owned(),
        ],
    };
    remedy::both("serial-console-remedy", &commands)
}
