//! The command line of a machine.
//!
//! QEMU is started inside the machine's directory, so every file and socket of the machine has a
//! fixed, short name without a character that QEMU's option syntax treats specially, and socket
//! paths stay below their limit of 108 bytes however deep the data directory lies. The one name
//! from outside, that of the canonical image, is passed in a JSON object.
//!
//! Nothing is left to QEMU's guessing: formats and backing files are stated node by node, so no
//! byte that a guest or a customer wrote decides how a file is read.

use serde_json::json;

use super::files::{self, Launch};
use crate::vm::network::mac_address;

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
pub fn arguments(launch: &Launch, processor: Processor) -> Vec<String> {
    let id = launch.id;
    let mut arguments: Vec<String> = Vec::new();
    let mut add = |option: &str, value: String| arguments.extend([option.to_owned(), value]);
    add("-name", format!("guest=abbild-{id}"));
    add("-uuid", launch.uuid.clone());
    // No display adapter: the BIOS and boot loaders that use it talk to the serial port instead.
    add("-machine", "pc,graphics=off,usb=off,vmport=off".into());
    add("-smp", launch.vcpus.to_string());
    add("-m", format!("{}M", launch.memory_mib));
    add("-boot", "strict=on".into());
    add(
        "-smbios",
        "type=1,manufacturer=Abbild,product=Virtual machine".into(),
    );

    add("-blockdev", base_node(launch));
    add("-blockdev", disk_node());
    add("-blockdev", config_node());
    add(
        "-device",
        "virtio-blk-pci,addr=3,drive=disk,bootindex=0".into(),
    );
    add("-device", "virtio-blk-pci,addr=4,drive=config".into());

    let (address, port) = (launch.address, launch.ssh_port);
    // IPv6 would be offered to the guest even where the host has none.
    add(
        "-netdev",
        format!("user,id=net0,ipv6=off,hostfwd=tcp:{address}:{port}-:22"),
    );
    let mac = mac_address(id);
    // An empty ROM file saves loading the network boot code.
    add(
        "-device",
        format!("virtio-net-pci,addr=5,netdev=net0,mac={mac},romfile="),
    );
    add("-device", "virtio-rng-pci,addr=6".into());

    let (socket, log) = (files::SERIAL_SOCKET, files::SERIAL_LOG);
    let serial = format!("socket,id=serial,path={socket},server=on,wait=off");
    add("-chardev", format!("{serial},logfile={log},logappend=on"));
    add("-serial", "chardev:serial".into());
    add(
        "-chardev",
        format!(
            "socket,id=qmp,path={},server=on,wait=off",
            files::QMP_SOCKET
        ),
    );
    add("-mon", "chardev=qmp,mode=control".into());
    add("-pidfile", files::PID.into());
    arguments.extend(["-nodefaults", "-no-user-config", "-S"].map(str::to_owned));
    arguments.extend(["-display", "none"].map(str::to_owned));
    arguments.extend(SANDBOX.map(str::to_owned));
    arguments.extend(processor.options());
    arguments
}

/// The canonical image, shared by machines and therefore only ever read. `"backing": null` keeps
/// QEMU from following a backing file even if the image had one.
fn base_node(launch: &Launch) -> String {
    json!({
        "node-name": "base",
        "driver": "qcow2",
        "read-only": true,
        "backing": null,
        "file": { "driver": "file", "filename": launch.image, "read-only": true },
    })
    .to_string()
}

fn disk_node() -> String {
    json!({
        "node-name": DISK_NODE,
        "driver": "qcow2",
        "discard": "unmap",
        "detect-zeroes": "unmap",
        "backing": "base",
        "file": { "driver": "file", "filename": files::DISK, "discard": "unmap" },
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
    use super::*;

    #[test]
    fn an_image_name_cannot_inject_options() {
        let image = "/a,b=c\",\"driver\":\"nbd/ %s 'é.qcow2";
        let launch = Launch {
            id: 42,
            uuid: "6e3a9c0e-0000-4000-8000-00000000002a".into(),
            vcpus: 2,
            memory_mib: 1024,
            image: image.into(),
            address: "127.1.2.3".parse().unwrap(),
            ssh_port: 22,
        };
        let arguments = arguments(&launch, Processor::Tcg);
        let base = arguments
            .iter()
            .find(|argument| argument.contains("\"base\""))
            .unwrap();
        let base: serde_json::Value = serde_json::from_str(base).unwrap();
        assert_eq!(base["file"]["filename"], image);
        assert_eq!(base["file"]["driver"], "file");
        let naming = arguments
            .iter()
            .filter(|argument| argument.contains("nbd"))
            .count();
        assert_eq!(naming, 1);
        let line = arguments.join(" ");
        for expected in [
            "-smp 2 -m 1024M ",
            "hostfwd=tcp:127.1.2.3:22-:22 ",
            "mac=52:54:00:00:00:2a,",
            "spawn=deny",
            "-accel tcg,thread=multi",
        ] {
            assert!(line.contains(expected), "{expected} in {line}");
        }
    }
}
