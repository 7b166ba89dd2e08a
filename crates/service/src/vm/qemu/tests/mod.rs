//! The driver with a real QEMU and a guest of a few bytes. Without QEMU these tests say so and pass.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use abbild_api::{Devices, Hardware};
use abbild_convert::{Backing, create_overlay};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::vm::network::{Network, UserNetwork};
use crate::vm::{config_drive, platform};

mod confined;
mod isolated;
mod recovery;

const GREETING: &str = "tiny guest is up\r\n";

/// Boot sector that prints [`GREETING`] on the serial port, then echoes what it reads there and
/// switches the machine off on an exclamation mark. Assembled by `nasm -f bin` from the comments,
/// after `bits 16` and `org 0x7c00`; `text` is the greeting.
#[rustfmt::skip]
const GUEST: [u8; 72] = [
    // start:
    0xfa, // cli
    0x31, 0xc0, // xor ax,ax
    0x8e, 0xd8, // mov ds,ax
    0x8e, 0xd0, // mov ss,ax
    0xbc, 0x00, 0x7c, // mov sp,0x7c00
    0xbe, 0x48, 0x7c, // mov si,text
    0xfc, // cld
    // .next:
    0xac, // lodsb
    0x84, 0xc0, // test al,al
    0x74, 0x05, // jz .echo
    0xe8, 0x17, 0x00, // call put
    0xeb, 0xf6, // jmp .next
    // .echo:
    0xba, 0xfd, 0x03, // mov dx,0x3fd
    0xec, // in al,dx
    0xa8, 0x01, // test al,1
    0x74, 0xf8, // jz .echo
    0xba, 0xf8, 0x03, // mov dx,0x3f8
    0xec, // in al,dx
    0x3c, 0x21, // cmp al,'!'
    0x74, 0x16, // je off
    0xe8, 0x02, 0x00, // call put
    0xeb, 0xeb, // jmp .echo
    // put:
    0x88, 0xc4, // mov ah,al
    0xba, 0xfd, 0x03, // mov dx,0x3fd
    // .wait:
    0xec, // in al,dx
    0xa8, 0x20, // test al,0x20
    0x74, 0xfb, // jz .wait
    0x88, 0xe0, // mov al,ah
    0xba, 0xf8, 0x03, // mov dx,0x3f8
    0xee, // out dx,al
    0xc3, // ret
    // off:
    0xba, 0x04, 0x06, // mov dx,0x604
    0xb8, 0x00, 0x20, // mov ax,0x2000
    0xef, // out dx,ax
    // .halt:
    0xf4, // hlt
    0xeb, 0xfd, // jmp .halt
];

/// A data directory of its own, where needed with a long name, and a base image in it.
struct Host {
    scratch: tempfile::TempDir,
    network: [u8; 2],
}

impl Host {
    /// `None`, with a note, where QEMU is missing. Each test has a loopback network of its own, also
    /// beside other runs of the tests: `number` tells those of one process apart.
    fn new(number: u8) -> Option<Self> {
        if let Err(error) = find_program("qemu-system-x86_64".as_ref()) {
            eprintln!("skipped: {error}");
            return None;
        }
        let host = Self {
            scratch: tempfile::tempdir().unwrap(),
            network: network(number),
        };
        std::fs::create_dir(host.data()).unwrap();
        let mut sector = GUEST.to_vec();
        sector.extend(GREETING.as_bytes());
        sector.resize(510, 0);
        sector.extend([0x55, 0xaa]);
        write_qcow2(&host.image(), &sector);
        Some(host)
    }

    /// Longer than a socket address, and full of what option parsers stumble over.
    fn data(&self) -> PathBuf {
        self.scratch
            .path()
            .join(format!("data,with=\"odd' name {}", "x".repeat(150)))
    }

    fn image(&self) -> PathBuf {
        self.data().join("base,image.qcow2")
    }

    fn machine_path(&self, id: VmId) -> PathBuf {
        self.data().join("vms").join(id.to_string())
    }

    async fn driver(&self) -> Qemu {
        let config = QemuConfig {
            allow_kvm: false,
            ..QemuConfig::default()
        };
        Qemu::new(self.data(), config).await.unwrap()
    }

    fn spec(&self, id: VmId) -> VmSpec {
        VmSpec {
            id,
            name: format!("vm-{id}"),
            vcpus: 1,
            memory_mib: 64,
            disk_bytes: 64 << 20,
            image: self.image(),
            network: Network::User(UserNetwork {
                address: [127, self.network[0], self.network[1], id as u8].into(),
                ssh_port: 2222,
                forwards: Vec::new(),
                ipv6: false,
            }),
            ssh_keys: Vec::new(),
            user_data: Some(b"#cloud-config\n".to_vec()),
            vendor: config_drive::Vendor::default(),
            hardware: platform::choose(None),
            rescue: None,
            region: "hal1".into(),
        }
    }

    /// Processes that work in the directory of machine `id`.
    fn processes(&self, id: VmId) -> Vec<i32> {
        let path = self.machine_path(id);
        let entries = std::fs::read_dir("/proc").unwrap().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(|pid| {
            let cwd = std::fs::read_link(format!("/proc/{pid}/cwd"));
            cwd.is_ok_and(|cwd| cwd == path)
        })
        .collect()
    }
}

/// Of the process, of which there is one for each test of each run (`cargo nextest`), or one for all.
fn network(number: u8) -> [u8; 2] {
    let process = std::process::id().wrapping_add(u32::from(number) << 12);
    [100 + (process >> 8) as u8 % 128, process as u8]
}

impl Drop for Host {
    /// A failed test must not leave machines behind.
    fn drop(&mut self) {
        for id in 1..10 {
            for pid in self.processes(id) {
                let _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
            }
        }
    }
}

/// A qcow2 of 1 MiB whose guest sees `sector` first: an overlay on nothing with one cluster filled
/// in by hand.
fn write_qcow2(path: &Path, sector: &[u8]) {
    use std::os::unix::fs::FileExt;
    let file = std::fs::File::create_new(path).unwrap();
    let backing = Backing {
        file_name: "none",
        virtual_size: 1 << 20,
    };
    create_overlay(&file, &backing, 1 << 20).unwrap();
    let field = |at: u64| {
        let mut bytes = [0; 8];
        file.read_exact_at(&mut bytes, at).unwrap();
        u64::from_be_bytes(bytes)
    };
    let (cluster, l1, refcount_table) = (1 << 16, field(40), field(48));
    let refcount_block = field(refcount_table);
    let end = file.metadata().unwrap().len();
    let copied = 1 << 63;
    let put = |at: u64, bytes: &[u8]| file.write_all_at(bytes, at).unwrap();
    put(l1, &u64::to_be_bytes(end | copied));
    put(end, &u64::to_be_bytes((end + cluster) | copied));
    file.set_len(end + 2 * cluster).unwrap();
    put(end + cluster, sector);
    put(refcount_block + end / cluster * 2, &[0, 1, 0, 1]);
    // No backing file: its offset and length in the header are zero.
    put(8, &[0; 12]);
}

/// Waits for `check` to give something.
async fn eventually<T>(what: &str, check: impl AsyncFn() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = check().await {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} did not happen");
        sleep(Duration::from_millis(20)).await;
    }
}

async fn greeted(qemu: &Qemu, id: VmId, times: usize) {
    eventually("the greeting", async || {
        let log = qemu.console_log(id, 1 << 20).await.unwrap();
        let count = String::from_utf8_lossy(&log).matches(GREETING).count();
        (count >= times).then_some(())
    })
    .await;
}

async fn stopped(qemu: &Qemu, id: VmId) -> Option<String> {
    eventually("the end", async || match qemu.status(id).await.unwrap() {
        VmStatus::Stopped { reason } => Some(reason),
        _ => None,
    })
    .await
}

#[tokio::test]
async fn a_machine_lives_through_everything_and_leaves_nothing() {
    let Some(host) = Host::new(1) else { return };
    let qemu = host.driver().await;
    assert_eq!(qemu.status(1).await.unwrap(), VmStatus::Absent);
    assert!(matches!(
        qemu.start(&host.spec(1)).await,
        Err(VmError::Absent(1))
    ));
    qemu.delete(1).await.unwrap();

    qemu.acceleration().await;
    let began = Instant::now();
    qemu.create(&host.spec(1)).await.unwrap();
    eprintln!("create: {:?}", began.elapsed());
    assert_eq!(qemu.status(1).await.unwrap(), VmStatus::Running);
    greeted(&qemu, 1, 1).await;
    assert_eq!(qemu.console_log(1, 4).await.unwrap(), b"up\r\n");

    // Again is no error, and no second machine.
    let processes = host.processes(1);
    qemu.create(&host.spec(1)).await.unwrap();
    qemu.start(&host.spec(1)).await.unwrap();
    assert_eq!(host.processes(1), processes);

    // A new driver finds it, as after a restart of the service.
    drop(qemu);
    let qemu = host.driver().await;
    assert_eq!(qemu.status(1).await.unwrap(), VmStatus::Running);
    assert_eq!(host.processes(1), processes);

    qemu.stop(1).await.unwrap();
    qemu.stop(1).await.unwrap();
    assert_eq!(
        qemu.status(1).await.unwrap(),
        VmStatus::Stopped { reason: None }
    );
    assert_eq!(host.processes(1), Vec::<i32>::new());
    assert!(matches!(qemu.console(1).await, Err(VmError::NotRunning(1))));
    qemu.start(&host.spec(1)).await.unwrap();
    greeted(&qemu, 1, 2).await;

    qemu.delete(1).await.unwrap();
    qemu.delete(1).await.unwrap();
    assert_eq!(qemu.status(1).await.unwrap(), VmStatus::Absent);
    assert_eq!(host.processes(1), Vec::<i32>::new());
    assert_eq!(
        std::fs::read_dir(host.data().join("vms")).unwrap().count(),
        0
    );
}

#[tokio::test]
async fn the_end_of_a_machine_is_explained() {
    let Some(host) = Host::new(2) else { return };
    let qemu = host.driver().await;
    qemu.create(&host.spec(1)).await.unwrap();
    let pid = host.processes(1)[0].to_string();
    assert!(
        Command::new("kill")
            .args(["-9", &pid])
            .status()
            .unwrap()
            .success()
    );
    let reason = stopped(&qemu, 1).await.unwrap();
    assert!(reason.contains("killed"), "{reason}");

    qemu.start(&host.spec(1)).await.unwrap();
    let pid = host.processes(1)[0].to_string();
    assert!(Command::new("kill").arg(&pid).status().unwrap().success());
    let reason = stopped(&qemu, 1).await.unwrap();
    assert!(reason.contains("terminating on signal 15"), "{reason}");

    qemu.start(&host.spec(1)).await.unwrap();
    greeted(&qemu, 1, 1).await;
    qemu.console(1)
        .await
        .unwrap()
        .write_all(b"!")
        .await
        .unwrap();
    assert_eq!(
        stopped(&qemu, 1).await.as_deref(),
        Some("the guest powered itself off")
    );

    // The image has a name with the machine as well.
    std::fs::remove_file(host.image()).unwrap();
    qemu.start(&host.spec(1)).await.unwrap();
    qemu.stop(1).await.unwrap();
    std::fs::remove_file(host.machine_path(1).join(files::DISK)).unwrap();
    let error = qemu.start(&host.spec(1)).await.unwrap_err().to_string();
    assert!(error.contains("No such file"), "{error}");
    qemu.delete(1).await.unwrap();
}

#[tokio::test]
async fn machines_share_an_image_but_not_their_disks_or_ports() {
    let Some(host) = Host::new(3) else { return };
    let qemu = host.driver().await;
    let before = std::fs::read(host.image()).unwrap();
    let first = host.spec(1);
    // Nor need they be made of the same.
    let second = VmSpec {
        hardware: Hardware {
            devices: Devices::Emulated,
            ..platform::choose(None)
        },
        ..host.spec(2)
    };
    let (one, two) = tokio::join!(qemu.create(&first), qemu.create(&second));
    one.and(two).unwrap();
    greeted(&qemu, 1, 1).await;
    greeted(&qemu, 2, 1).await;

    let third = VmSpec {
        network: host.spec(1).network,
        ..host.spec(3)
    };
    let error = qemu.create(&third).await.unwrap_err();
    assert!(
        matches!(error, VmError::Port { port: 2222, .. }),
        "{error:?}"
    );
    // The same machine with a port of its own is what a repeated job would try.
    qemu.create(&host.spec(3)).await.unwrap();
    for id in 1..=3 {
        qemu.delete(id).await.unwrap();
    }
    assert_eq!(std::fs::read(host.image()).unwrap(), before);
}

#[tokio::test]
async fn the_console_has_one_reader_at_a_time() {
    let Some(host) = Host::new(4) else { return };
    let qemu = host.driver().await;
    qemu.create(&host.spec(1)).await.unwrap();
    greeted(&qemu, 1, 1).await;
    let mut console = qemu.console(1).await.unwrap();
    console.write_all(b"hello").await.unwrap();
    let mut echo = [0; 5];
    console.read_exact(&mut echo).await.unwrap();
    assert_eq!(&echo, b"hello");
    assert!(matches!(
        qemu.console(1).await,
        Err(VmError::ConsoleBusy(1))
    ));
    drop(console);
    qemu.console(1).await.unwrap();
    let log = qemu.console_log(1, 5).await.unwrap();
    assert_eq!(log, b"hello");

    // Whoever else talks to QEMU keeps the driver waiting, and does not make it think wrong.
    let machine = qemu.directory(1);
    let _operator = machine.connect(files::QMP_SOCKET).await.unwrap();
    assert_eq!(qemu.status(1).await.unwrap(), VmStatus::Running);
    qemu.delete(1).await.unwrap();
}

#[tokio::test]
async fn a_missing_qemu_is_named_with_the_remedy() {
    let config = QemuConfig {
        program: "qemu-system-pdp11".into(),
        ..QemuConfig::default()
    };
    let directory = tempfile::tempdir().unwrap();
    let error = Qemu::new(directory.path().into(), config)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("`qemu-system-pdp11` was not found\ninstall it with"),
        "{error}"
    );
}

#[test]
fn long_logs_give_their_space_back() {
    use std::os::unix::fs::MetadataExt;
    let directory = tempfile::tempdir().unwrap();
    let machine = MachineDir::new(directory.path(), 1, Confinement::find(None).owner(1));
    std::fs::create_dir(machine.path()).unwrap();
    let paths = [files::SERIAL_LOG, files::QEMU_LOG].map(|name| machine.path().join(name));
    let text: Vec<u8> = (0..20u32 << 20)
        .map(|number| (number / 4096) as u8)
        .collect();
    for path in &paths {
        std::fs::write(path, &text).unwrap();
    }
    machine.trim_logs().unwrap();
    for path in paths {
        let metadata = std::fs::metadata(&path).unwrap();
        assert_eq!(metadata.len(), text.len() as u64);
        let blocks = metadata.blocks();
        assert!(blocks * 512 < 5 << 20, "{blocks} blocks");
    }
    assert_eq!(machine.console_log(1 << 20).unwrap(), text[19 << 20..]);
}
