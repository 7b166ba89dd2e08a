//! The command line of a machine.
//!
//! QEMU is started inside the machine's directory, so every file and socket of the machine has a
//! fixed, short name without a character that QEMU's option syntax treats specially, and socket
//! paths stay below their limit of 108 bytes however deep the data directory lies. The one name
//! from outside, that of the UEFI firmware, is passed in a JSON object.
//!
//! Nothing is left to QEMU's guessing: formats and backing files are stated node by node, so no
//! byte that a guest or a customer wrote decides how a file is read.

use abbild_api::{Chipset, Devices, Firmware, Hardware};
use serde_json::json;

use super::equipment::{Equipment, RESCUE_COMMAND_LINE, Uefi};
use super::files::{self, Launch};
use super::netdev;
use crate::vm::{RESCUED_DISK, Rescue, VmError, platform};

/// How the guest's processors are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Processor {
    /// By the hardware.
    Kvm,
    /// By translation.
    Tcg,
}

impl Processor {
    /// The options that choose it; the trial guest is run with the same ones.
    pub fn options(self) -> [String; 4] {
        let (accelerator, model) = match self {
            Self::Kvm => ("kvm", "host"),
            // The translation cache may grow to its limit, 1 GiB unless stated, for every machine.
            Self::Tcg => ("tcg,thread=multi,tb-size=256", "max"),
        };
        ["-accel", accelerator, "-cpu", model].map(str::to_owned)
    }
}

/// The name by which QEMU knows the canonical image.
pub const BASE_NODE: &str = "base";
/// The name by which QEMU knows the machine's disk.
pub const DISK_NODE: &str = "disk";

/// What no QEMU of ours may do, whatever its guest makes of it: start programs, change users,
/// rearrange the scheduler, or use system calls from the last century. This also rules out
/// `-daemonize`, which forks.
pub const SANDBOX: [&str; 2] = [
    "-sandbox",
    "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
];

/// All arguments for a machine. It starts paused, and `cont` through QMP sets it going.
///
/// # Errors
/// When the machine needs firmware that is not installed.
pub fn arguments(
    launch: &Launch,
    rescue: Option<&Rescue>,
    processor: Processor,
    equipment: &Equipment,
) -> Result<Vec<String>, VmError> {
    let hardware = match rescue {
        None => &launch.hardware,
        Some(Rescue::System) => &platform::for_rescue(),
        Some(Rescue::Image { hardware, .. }) => hardware,
    };
    let mut line = CommandLine::default();
    let id = launch.id;
    line.add("-name", format!("guest=abbild-{id}"));
    line.add("-uuid", launch.uuid.clone());
    line.mainboard(launch, hardware, rescue.is_some(), &equipment.uefi)?;
    line.disks(launch, hardware, rescue);
    if let Some(Rescue::System) = rescue {
        line.add("-kernel", files::RESCUE_KERNEL);
        line.add("-initrd", files::RESCUE_INITRD);
        line.add("-append", RESCUE_COMMAND_LINE);
    }
    line.add("-netdev", netdev::backend(&launch.network));
    line.add(
        "-device",
        netdev::card(launch.network.mac(launch.id), hardware),
    );
    line.add("-device", "virtio-rng-pci,addr=6");
    line.consoles();
    line.flag("-nodefaults");
    line.flag("-no-user-config");
    line.flag("-S");
    line.0.extend(SANDBOX.map(str::to_owned));
    line.0.extend(processor.options());
    Ok(line.0)
}

/// A command line as it grows.
#[derive(Debug, Default)]
struct CommandLine(Vec<String>);

impl CommandLine {
    fn add(&mut self, option: &str, value: impl Into<String>) {
        self.0.extend([option.to_owned(), value.into()]);
    }

    fn flag(&mut self, flag: &str) {
        self.0.push(flag.to_owned());
    }

    fn mainboard(
        &mut self,
        launch: &Launch,
        hardware: &Hardware,
        is_rescue: bool,
        uefi: &Uefi,
    ) -> Result<(), VmError> {
        let chipset = match hardware.chipset {
            Chipset::Q35 => "q35",
            Chipset::I440fx => "pc",
        };
        let firmware = match hardware.firmware {
            Firmware::Bios => "",
            Firmware::Uefi => {
                self.add("-blockdev", uefi_code_node(&uefi.code()?));
                let variables = match is_rescue {
                    true => files::RESCUE_VARS,
                    false => files::UEFI_VARS,
                };
                self.add("-blockdev", uefi_variables_node(variables));
                ",pflash0=uefi-code,pflash1=uefi-vars"
            }
        };
        // `graphics=off` has the BIOS talk to the serial port as well as to the screen, and boot
        // loaders with it.
        self.add(
            "-machine",
            format!("{chipset},graphics=off,usb=off,vmport=off{firmware}"),
        );
        self.add("-smp", launch.vcpus.to_string());
        self.add("-m", format!("{}M", launch.memory_mib));
        self.add("-boot", "strict=on");
        self.add(
            "-smbios",
            "type=1,manufacturer=Abbild,product=Virtual machine",
        );
        Ok(())
    }

    /// The disk to start from, the config drive, and in a rescue by an image the machine's own disk
    /// behind them. Whatever else it is called, that one can be known by its serial number.
    fn disks(&mut self, launch: &Launch, hardware: &Hardware, rescue: Option<&Rescue>) {
        self.add("-blockdev", base_node(BASE_NODE, files::BASE));
        self.add("-blockdev", overlay_node(DISK_NODE, files::DISK, BASE_NODE));
        self.add("-blockdev", config_node());
        let sectors = sector_options(&launch.hardware);
        let [first, config, last] = match hardware.devices {
            Devices::Virtio => [3, 4, 7].map(|slot| format!("virtio-blk-pci,addr={slot}")),
            Devices::Emulated => {
                ["ide-hd,bus=ide.0", "ide-cd,bus=ide.1", "ide-hd,bus=ide.2"].map(str::to_owned)
            }
        };
        let rescued = format!("drive={DISK_NODE},serial={RESCUED_DISK}{sectors}");
        match rescue {
            None => self.add(
                "-device",
                format!("{first},drive={DISK_NODE},bootindex=0{sectors}"),
            ),
            Some(Rescue::System) => self.add("-device", format!("{first},{rescued}")),
            Some(Rescue::Image { .. }) => {
                let sectors = sector_options(hardware);
                self.add("-blockdev", base_node("rescue-base", files::RESCUE_BASE));
                let overlay = overlay_node("rescue", files::RESCUE_DISK, "rescue-base");
                self.add("-blockdev", overlay);
                self.add(
                    "-device",
                    format!("{first},drive=rescue,bootindex=0{sectors}"),
                );
                self.add("-device", format!("{last},{rescued}"));
            }
        }
        self.add("-device", format!("{config},drive=config"));
    }

    /// The serial line, the screen, the guest agent, and the monitor: all of them sockets in the machine's directory,
    /// so that nobody but the service reaches them.
    fn consoles(&mut self) {
        let (socket, log) = (files::SERIAL_SOCKET, files::SERIAL_LOG);
        let serial = format!("socket,id=serial,path={socket},server=on,wait=off");
        self.add("-chardev", format!("{serial},logfile={log},logappend=on"));
        self.add("-serial", "chardev:serial");
        self.add("-device", "VGA,addr=2");
        self.add("-display", "none");
        // By its name QEMU's guest agent finds it, if the guest has one.
        self.add("-device", "virtio-serial-pci,addr=8");
        let socket = files::AGENT_SOCKET;
        self.add(
            "-chardev",
            format!("socket,id=agent,path={socket},server=on,wait=off"),
        );
        self.add(
            "-device",
            "virtserialport,chardev=agent,name=org.qemu.guest_agent.0",
        );
        // No viewer can send the others away.
        self.add("-vnc", format!("unix:{},share=ignore", files::VNC_SOCKET));
        let socket = files::QMP_SOCKET;
        self.add(
            "-chardev",
            format!("socket,id=qmp,path={socket},server=on,wait=off"),
        );
        self.add("-mon", "chardev=qmp,mode=control");
    }
}

fn uefi_code_node(path: &str) -> String {
    json!({
        "node-name": "uefi-code",
        "driver": "raw",
        "read-only": true,
        "file": { "driver": "file", "filename": path, "read-only": true },
    })
    .to_string()
}

fn uefi_variables_node(file: &str) -> String {
    json!({
        "node-name": "uefi-vars",
        "driver": "raw",
        "file": { "driver": "file", "filename": file },
    })
    .to_string()
}

/// Disks have the sectors that their partition tables count in.
fn sector_options(hardware: &Hardware) -> String {
    match hardware.sector_size {
        512 => String::new(),
        bytes => format!(",logical_block_size={bytes},physical_block_size={bytes}"),
    }
}

/// The canonical image, shared by machines and therefore only ever read. `"backing": null` keeps
/// QEMU from following a backing file even if the image had one.
fn base_node(name: &str, image: &str) -> String {
    json!({
        "node-name": name,
        "driver": "qcow2",
        "read-only": true,
        "backing": null,
        "file": { "driver": "file", "filename": image, "read-only": true },
    })
    .to_string()
}

/// A writable disk over a canonical image.
fn overlay_node(name: &str, file: &str, base: &str) -> String {
    json!({
        "node-name": name,
        "driver": "qcow2",
        "discard": "unmap",
        "detect-zeroes": "unmap",
        "backing": base,
        "file": { "driver": "file", "filename": file, "discard": "unmap" },
    })
    .to_string()
}

fn config_node() -> String {
    json!({
        "node-name": "config",
        "driver": "raw",
        "read-only": true,
        "file": { "driver": "file", "filename": files::CONFIG_DRIVE, "read-only": true },
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use abbild_api::{Forward, Protocol};

    use super::*;
    use crate::vm::network::{Network, UserNetwork};

    fn user_network(forwards: Vec<Forward>) -> Network {
        Network::User(UserNetwork {
            address: "127.1.2.3".parse().unwrap(),
            ssh_port: 22,
            forwards,
            ipv6: false,
        })
    }

    fn launch(hardware: Hardware) -> Launch {
        Launch {
            id: 42,
            uuid: "6e3a9c0e-0000-4000-8000-00000000002a".into(),
            vcpus: 2,
            memory_mib: 1024,
            disk_bytes: 1 << 30,
            image: IMAGE.into(),
            network: user_network(vec![Forward::new(5353, Some(53), Protocol::Udp)]),
            hardware,
        }
    }

    const IMAGE: &str = "/a,b=c\",\"driver\":\"nbd/ %s 'é.qcow2";

    #[test]
    fn no_name_of_an_image_is_an_argument() {
        let launch = launch(platform::choose(None));
        let arguments = arguments(&launch, None, Processor::Tcg, &Equipment::default()).unwrap();
        assert!(!arguments.iter().any(|argument| argument.contains("nbd")));
        let line = arguments.join(" ");
        for expected in [
            "-machine q35,",
            "-smp 2 -m 1024M ",
            "virtio-blk-pci,",
            "-netdev user,id=net0,ipv4=on,ipv6=off,hostfwd=udp:127.1.2.3:5353-:53,hostfwd=tcp:127.1.2.3:22-:22 ",
            "mac=52:54:00:00:00:2a,",
            "spawn=deny",
            "-vnc unix:run/vnc.sock,share=ignore ",
            "-accel tcg,thread=multi",
        ] {
            assert!(line.contains(expected), "{expected} in {line}");
        }
    }

    #[test]
    fn each_guest_gets_its_hardware() {
        let directory = tempfile::tempdir().unwrap();
        let uefi = Uefi {
            code: directory.path().join("code,1.fd"),
            variables: directory.path().join("vars.fd"),
        };
        let equipment = Equipment {
            uefi: uefi.clone(),
            ..Equipment::default()
        };
        let line = |hardware| {
            let launch = launch(hardware);
            Ok(arguments(&launch, None, Processor::Kvm, &equipment)?.join(" "))
        };
        let hardware = Hardware {
            firmware: Firmware::Uefi,
            devices: Devices::Emulated,
            sector_size: 4096,
            ..platform::choose(None)
        };
        let error: VmError = line(hardware.clone()).unwrap_err();
        assert!(error.to_string().contains("apt install ovmf"), "{error}");
        for path in [&uefi.code, &uefi.variables] {
            std::fs::write(path, "").unwrap();
        }
        let line = |hardware| -> Result<String, VmError> { line(hardware) };
        let other = line(hardware).unwrap();
        for expected in [
            "code,1.fd\"",
            "pflash0=uefi-code,pflash1=uefi-vars",
            "ide-hd,bus=ide.0,drive=disk,bootindex=0,logical_block_size=4096",
            "e1000,",
            "-cpu host",
        ] {
            assert!(other.contains(expected), "{expected} in {other}");
        }
        let old = line(platform::before_choice()).unwrap();
        assert!(old.contains("-machine pc,"), "{old}");
        assert!(!old.contains("pflash"), "{old}");
    }

    #[test]
    fn a_rescue_has_the_disk_of_the_machine_as_a_further_one() {
        let equipment = Equipment::default();
        let launch = launch(Hardware {
            firmware: Firmware::Uefi,
            sector_size: 4096,
            ..platform::choose(None)
        });
        let line = |rescue: &Rescue| -> Result<String, VmError> {
            Ok(arguments(&launch, Some(rescue), Processor::Tcg, &equipment)?.join(" "))
        };
        let own = "drive=disk,serial=machine,logical_block_size=4096";
        let system = line(&Rescue::System).unwrap();
        assert!(system.contains(own), "{system}");
        assert!(
            system.contains("-kernel rescue-vmlinuz -initrd "),
            "{system}"
        );
        assert!(!system.contains("bootindex"), "{system}");
        assert!(!system.contains("pflash"), "{system}");

        let image = line(&Rescue::Image {
            file: "/other".into(),
            hardware: platform::choose(None),
        });
        let image = image.unwrap();
        assert!(image.contains("drive=rescue,bootindex=0"), "{image}");
        assert!(image.contains(own), "{image}");
        assert!(
            image.contains("\"filename\":\"rescue-base.qcow2\""),
            "{image}"
        );
        assert!(!image.contains("-kernel"), "{image}");
    }

    #[test]
    fn the_files_of_earlier_versions_can_be_read() {
        let text = r#"{"id": 7, "uuid": "6e3a9c0e-0000-4000-8000-00000000002a", "vcpus": 1,
            "memory_mib": 512, "image": "/i", "address": "127.1.2.3", "ssh_port": 22}"#;
        let launch: Launch = serde_json::from_str(text).unwrap();
        assert_eq!(launch.hardware, platform::before_choice());
        assert_eq!(launch.network, user_network(Vec::new()));
        let written = serde_json::to_string(&launch).unwrap();
        let read: Launch = serde_json::from_str(&written).unwrap();
        assert_eq!(read.network, launch.network);
    }
}
