//! `abbild vm console` with a real machine: several who look, the screen for a viewer of VNC, and keys.
//! The machine has no system; its BIOS and its QEMU are enough.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::Home;
use crate::process::Process;

/// What an image must be is not what is tried here.
const REQUIREMENTS: [(&str, &str); 3] = [
    ("ABBILD__REQUIREMENTS__OPERATING_SYSTEM", "warning"),
    ("ABBILD__REQUIREMENTS__ROOT_FILESYSTEM", "warning"),
    ("ABBILD__REQUIREMENTS__CLOUD_INIT", "warning"),
];

/// A service with a machine called `web`.
struct Machine {
    _service: Process,
    vms: PathBuf,
}

impl Drop for Machine {
    /// Machines outlive their service, also that of a failed test.
    fn drop(&mut self) {
        for vm in std::fs::read_dir(&self.vms).into_iter().flatten().flatten() {
            let pid = std::fs::read_to_string(vm.path().join("qemu.pid")).unwrap_or_default();
            if let Some(pid) = pid.trim().parse().ok().and_then(Pid::from_raw) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}

fn machine(home: &Home) -> Machine {
    let process = Process::start(home, &home.0.path().join("data"), &[], &REQUIREMENTS);
    home.run(&["login", &process.url, "--token", &process.token])
        .expect(0);
    // A disk with one partition that begins after 1 MiB.
    let mut disk = vec![0; 2 << 20];
    disk[450..462].copy_from_slice(b"\x83\0\0\0\x00\x08\0\0\x00\x08\0\0");
    disk[510..512].copy_from_slice(b"\x55\xaa");
    let head = format!(
        "PUT /v2/uploads/one?region=hal1 HTTP/1.1\r\nconnection: close\r\ncontent-length: {}",
        disk.len()
    );
    let mut answer = String::new();
    let mut sent = process.open_request(&head, &disk);
    sent.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");
    wait_until(|| {
        let image = home.run(&["image", "show", "one", "--json"]).expect(0);
        image.json()["status"] == "available"
    });
    let data = home.0.path().join("user-data");
    std::fs::write(&data, "#cloud-config\n").unwrap();
    let mut create = vec!["vm", "create", "--image", "one", "--region", "hal1"];
    create.extend(["--size", "s-1vcpu-512mb-10gb", "--name", "web"]);
    create.extend(["--user-data", data.to_str().unwrap()]);
    home.run(&create).expect(0);
    Machine {
        _service: process,
        vms: home.0.path().join("data/regions/hal1/vms"),
    }
}

#[test]
fn the_screen_is_offered_and_keys_are_pressed() {
    let home = Home::new();
    let machine = machine(&home);

    let mut offer = home
        .abbild(&["vm", "console", "web", "--vnc"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut address = String::new();
    let mut out = BufReader::new(offer.stdout.take().unwrap());
    out.read_line(&mut address).unwrap();
    // Two viewers, and each has its own connection.
    for _ in 0..2 {
        let mut viewer = TcpStream::connect(address.trim()).unwrap();
        let mut version = [0; 12];
        viewer.read_exact(&mut version).unwrap();
        assert_eq!(&version, b"RFB 003.008\n");
    }
    kill_process(Pid::from_child(&offer), Signal::INT).unwrap();
    assert_eq!(offer.wait().unwrap().code(), Some(0));

    let send = |keys: &str| home.run(&["vm", "console", "web", "--send", keys]);
    send("ctrl-alt-delete").expect(0);
    send("alt-sysrq-b").expect(0);
    let unknown = send("ctrl-alt-entf").expect(1);
    assert!(unknown.err.contains("no key `entf`"), "{}", unknown.err);

    // Whoever comes takes the keyboard, and who had it is told.
    let mut first = home
        .abbild(&["vm", "console", "web"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let input = first.stdin.take();
    let (tell, told) = mpsc::channel();
    let err = BufReader::new(first.stderr.take().unwrap());
    let lines = err.lines().map_while(Result::ok);
    std::thread::spawn(move || {
        lines
            .filter(|line| !line.trim().is_empty())
            .try_for_each(|line| tell.send(line))
    });
    // One that comes before the first is attached takes nothing from it.
    let mut line = String::new();
    wait_until(|| {
        let second = ["vm", "console", "web", "--linger", "0.2"];
        home.run_with(&second, "").expect(0);
        let heard = told.recv_timeout(Duration::from_millis(200));
        heard.is_ok_and(|heard| {
            line = heard;
            true
        })
    });
    assert!(line.contains("has the keyboard now"), "{line}");
    drop(input);
    assert_eq!(first.wait().unwrap().code(), Some(0));
    home.run(&["vm", "delete", "web"]).expect(0);
    wait_until(|| std::fs::read_dir(&machine.vms).unwrap().count() == 0);
}

fn wait_until(mut happened: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !happened() {
        assert!(Instant::now() < deadline, "waited in vain");
        std::thread::sleep(Duration::from_millis(50));
    }
}
