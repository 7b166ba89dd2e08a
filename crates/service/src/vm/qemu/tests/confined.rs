//! What a QEMU may do, and what a hostile one cannot. As another user than root QEMU runs as that user;
//! then these tests say so and pass.

use super::*;

impl Host {
    /// `None`, with a note, where the service may not choose whom machines run as.
    async fn separating(number: u8) -> Option<(Self, Qemu)> {
        let host = Self::new(number)?;
        let qemu = host.driver().await;
        if !qemu.confinement.separates_users() {
            eprintln!("skipped: QEMU cannot run as another user here");
            return None;
        }
        Some((host, qemu))
    }

    /// What a shell in the directory of machine `id` could do as its user.
    fn as_machine(&self, qemu: &Qemu, id: VmId, script: &str) -> bool {
        let user = qemu.confinement.owner(id).user;
        Command::new("setpriv")
            .args([format!("--reuid={user}"), format!("--regid={user}")])
            .args(["--clear-groups", "--inh-caps=-all", "--ambient-caps=-all"])
            .args(["sh", "-c", script])
            .current_dir(self.machine_path(id))
            .stderr(std::process::Stdio::null())
            .status()
            .unwrap()
            .success()
    }
}

/// The words behind `name:` in /proc/PID/status.
fn status_of(pid: i32, name: &str) -> Vec<String> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let words = line.unwrap().trim_start_matches(':').split_whitespace();
    words.map(str::to_owned).collect()
}

#[tokio::test]
async fn qemu_has_a_user_of_its_own_and_no_more_rights_than_it_needs() {
    let Some((host, qemu)) = Host::separating(8).await else {
        return;
    };
    for id in [1, 2] {
        qemu.create(&host.spec(id)).await.unwrap();
        greeted(&qemu, id, 1).await;
    }
    let [pid] = host.processes(1)[..] else {
        panic!("one process")
    };
    let user = qemu.confinement.owner(1).user.to_string();
    assert_eq!(status_of(pid, "Uid"), vec![user.clone(); 4]);
    assert_eq!(status_of(pid, "Gid"), vec![user; 4]);
    assert_eq!(status_of(pid, "NoNewPrivs"), ["1"]);
    assert_eq!(status_of(pid, "Seccomp"), ["2"]);
    let bind_low_ports = 1 << 10;
    for set in ["CapPrm", "CapEff", "CapAmb"] {
        let bits = u64::from_str_radix(&status_of(pid, set)[0], 16).unwrap();
        assert_eq!(bits & !bind_low_ports, 0, "{set}");
    }
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let limit = |name| {
        let line = limits
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap();
        line.split_whitespace().next().map(str::to_owned).unwrap()
    };
    assert_eq!(limit("Max core file size"), "0");
    let most: u64 = limit("Max file size").parse().unwrap();
    assert!((64 << 20..256 << 20).contains(&most), "{most}");

    for works in [
        "cat base.qcow2 config.iso",
        "echo >>disk.qcow2",
        "touch run/x",
    ] {
        assert!(host.as_machine(&qemu, 1, works), "{works}");
    }
    for fails in [
        "ls",
        "ls ..",
        "cat ../2/disk.qcow2",
        "cat lock",
        "touch x",
        "rm disk.qcow2",
        "mv run/x disk.qcow2",
        "echo >>base.qcow2",
        "echo >>config.iso",
        "echo >>launch.json",
        "chmod 600 base.qcow2",
    ] {
        assert!(!host.as_machine(&qemu, 1, fails), "{fails}");
    }
    assert!(!host.as_machine(&qemu, 2, &format!("kill -9 {pid}")));
    for id in [1, 2] {
        qemu.delete(id).await.unwrap();
        assert!(!host.machine_path(id).exists());
    }
}

#[tokio::test]
async fn what_a_hostile_qemu_puts_in_its_place_is_neither_followed_nor_waited_for() {
    let Some((host, qemu)) = Host::separating(9).await else {
        return;
    };
    qemu.create(&host.spec(1)).await.unwrap();
    greeted(&qemu, 1, 1).await;
    let elsewhere = host.scratch.path().join("elsewhere.sock");
    let listener = std::os::unix::net::UnixListener::bind(&elsewhere).unwrap();
    let script = format!(
        "rm run/* && mkfifo run/qmp.sock && ln -s {} run/serial.sock",
        elsewhere.display()
    );
    assert!(host.as_machine(&qemu, 1, &script));
    assert_eq!(qemu.status(1).await.unwrap(), VmStatus::Running);
    assert!(qemu.console(1).await.is_err());
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err());
    // It does not have to agree to its end.
    qemu.stop(1).await.unwrap();
    assert!(host.processes(1).is_empty());
}

#[tokio::test]
async fn a_machine_may_change_its_user_between_two_starts() {
    let Some((host, qemu)) = Host::separating(10).await else {
        return;
    };
    qemu.create(&host.spec(1)).await.unwrap();
    greeted(&qemu, 1, 1).await;
    qemu.stop(1).await.unwrap();
    for user_ids in [None, Some("1900070000-1900070999".parse().unwrap())] {
        let config = QemuConfig {
            allow_kvm: false,
            user_ids,
            ..QemuConfig::default()
        };
        let qemu = Qemu::new(host.data(), config).await.unwrap();
        qemu.start(&host.spec(1)).await.unwrap();
        let [pid] = host.processes(1)[..] else {
            panic!("one process")
        };
        let user = qemu.confinement.owner(1).user;
        assert_eq!(status_of(pid, "Uid")[0], user.to_string());
        let progress = |_, _| true;
        let copy = qemu.snapshot(1, &progress).await.unwrap();
        assert_eq!(copy.file_name().unwrap(), files::SNAPSHOT);
        qemu.forget_snapshot(1).await.unwrap();
        qemu.stop(1).await.unwrap();
    }
}

#[tokio::test]
async fn who_takes_the_last_room_is_paused_and_can_go_on() {
    let Some(host) = Host::new(11) else { return };
    let driver = async |disk_reserve| {
        let config = QemuConfig {
            allow_kvm: false,
            disk_reserve,
            ..QemuConfig::default()
        };
        Qemu::new(host.data(), config).await.unwrap()
    };
    let roomy = driver(0).await;
    for id in [1, 2] {
        roomy.create(&host.spec(id)).await.unwrap();
        greeted(&roomy, id, 1).await;
    }
    let qemu = driver(u64::MAX).await;
    qemu.keep_room().await.unwrap();
    let grow = |name: &str| {
        let file = host.machine_path(1).join(name);
        let mut file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(file)
            .unwrap();
        std::io::Write::write_all(&mut file, &[1; 3 << 20]).unwrap();
    };
    // Whatever it is that grows.
    for name in ["run/anything", files::QEMU_LOG, files::DISK] {
        grow(name);
        qemu.keep_room().await.unwrap();
        let VmStatus::Stopped { reason } = qemu.status(1).await.unwrap() else {
            panic!("it is paused")
        };
        assert!(reason.unwrap().contains("disk is nearly full"));
        assert_eq!(qemu.status(2).await.unwrap(), VmStatus::Running);
        if name != files::DISK {
            roomy.start(&host.spec(1)).await.unwrap();
            qemu.keep_room().await.unwrap();
        }
    }
    for id in [1, 3] {
        let error = match id {
            1 => qemu.start(&host.spec(id)).await.unwrap_err(),
            _ => qemu.create(&host.spec(id)).await.unwrap_err(),
        };
        assert!(matches!(error, VmError::NoRoom { .. }), "{error}");
    }
    roomy.start(&host.spec(1)).await.unwrap();
    assert_eq!(roomy.status(1).await.unwrap(), VmStatus::Running);
    for id in [1, 2, 3] {
        roomy.delete(id).await.unwrap();
    }
}

/// With control groups of version 2 whose controllers nobody else has taken, as root.
#[tokio::test]
async fn a_machine_has_a_control_group_of_its_own() {
    let Some(host) = Host::new(12) else { return };
    let roots = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(Path::new);
    let name = format!("abbild-test-{}", std::process::id());
    let found = roots
        .map(|root| root.join(&name))
        .into_iter()
        .find(|directory| {
            Groups::find(Some(directory)).is_ok_and(|groups| groups.prepare().is_ok())
        });
    let Some(cgroup) = found else {
        eprintln!("skipped: there is no control group that could be divided");
        return;
    };
    let config = QemuConfig {
        allow_kvm: false,
        cgroup: Some(cgroup.clone()),
        ..QemuConfig::default()
    };
    let qemu = Qemu::new(host.data(), config).await.unwrap();
    qemu.create(&host.spec(1)).await.unwrap();
    greeted(&qemu, 1, 1).await;
    let group = cgroup.join("machine-1");
    let read = |name| std::fs::read_to_string(group.join(name)).unwrap_or_default();
    assert_eq!(
        read("cgroup.procs").trim(),
        host.processes(1)[0].to_string()
    );
    let limits = ["memory.max", "cpu.max", "pids.max"].map(read);
    assert!(limits.iter().any(|limit| !limit.is_empty()));
    assert!(
        limits.iter().all(|limit| !limit.starts_with("max")),
        "{limits:?}"
    );
    qemu.delete(1).await.unwrap();
    assert!(!group.exists());
    std::fs::remove_dir(&cgroup).unwrap();
}
