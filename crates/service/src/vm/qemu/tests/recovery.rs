//! What a service that was killed leaves to the next one.

use super::*;

#[tokio::test]
async fn what_a_crash_leaves_is_taken_up_or_cleared_away() {
    let Some(host) = Host::new(5) else { return };
    let qemu = host.driver().await;
    let path = host.machine_path(1);
    // Killed while the directory was being made.
    std::fs::create_dir(path.with_extension("new")).unwrap();
    assert_eq!(qemu.status(1).await.unwrap(), VmStatus::Absent);
    // Killed, by a power cut, before QEMU was started: the files are there but may be empty.
    std::fs::create_dir(&path).unwrap();
    for name in [files::DISK, files::CONFIG_DRIVE, "launch.json"] {
        std::fs::write(path.join(name), "").unwrap();
    }
    qemu.create(&host.spec(1)).await.unwrap();
    assert!(!path.with_extension("new").exists());
    qemu.stop(1).await.unwrap();

    // Killed between starting QEMU and setting the guest going.
    let machine = qemu.directory(1);
    let larger = VmSpec {
        disk_bytes: 128 << 20,
        ..host.spec(1)
    };
    let lock = machine.take_lock().unwrap().unwrap();
    let launch = machine.refresh(&larger, &Equipment::default()).unwrap();
    let arguments = command::arguments(
        &launch,
        None,
        command::Processor::Tcg,
        &Equipment::default(),
    )
    .unwrap();
    machine.prepare_start().unwrap();
    let mut child = qemu
        .confinement
        .command(1, 1 << 30, &qemu.program)
        .args(arguments)
        .current_dir(&path)
        .stdin(lock)
        .spawn()
        .unwrap();
    let reason = eventually("the pause", async || match qemu.status(1).await.unwrap() {
        VmStatus::Stopped { reason } => reason,
        _ => None,
    });
    assert!(reason.await.contains("interrupted"));
    qemu.create(&larger).await.unwrap();
    assert_eq!(qemu.status(1).await.unwrap(), VmStatus::Running);
    assert_eq!(machine.disk_bytes().unwrap(), larger.disk_bytes);
    assert!(child.try_wait().unwrap().is_none(), "it is the same one");
    qemu.delete(1).await.unwrap();
    child.wait().await.unwrap();

    // Killed while it was being deleted.
    std::fs::create_dir(path.with_extension("new")).unwrap();
    qemu.delete(1).await.unwrap();
    assert_eq!(
        std::fs::read_dir(host.data().join("vms")).unwrap().count(),
        0
    );
}

#[tokio::test]
async fn a_machine_that_was_paused_goes_on_unless_it_has_another_size() {
    let Some(host) = Host::new(14) else { return };
    let qemu = host.driver().await;
    qemu.create(&host.spec(1)).await.unwrap();
    let machine = qemu.directory(1);
    let paused = async || {
        let mut qmp = process::monitor(&machine).await.unwrap();
        qmp.execute("stop").await.unwrap();
        machine.pid().unwrap()
    };
    let first = paused().await;
    qemu.start(&host.spec(1)).await.unwrap();
    assert_eq!(paused().await, first);
    let larger = VmSpec {
        vcpus: 2,
        ..host.spec(1)
    };
    qemu.start(&larger).await.unwrap();
    assert_eq!(qemu.status(1).await.unwrap(), VmStatus::Running);
    assert_ne!(machine.pid().unwrap(), first);
    assert_eq!(machine.launch().unwrap().vcpus, 2);
    qemu.delete(1).await.unwrap();
}

#[tokio::test]
async fn what_is_left_of_a_rescue_that_failed_is_not_taken_for_another() {
    let Some(host) = Host::new(15) else { return };
    let qemu = host.driver().await;
    let spec = host.spec(1);
    let machine = qemu.directory(1);
    machine.build(&spec, &Uefi::default()).unwrap();
    let [one, other] = ["one.qcow2", "other.qcow2"].map(|name| host.data().join(name));
    for image in [&one, &other] {
        write_qcow2(image, &[7; 512]);
    }
    let disk = machine.file(files::RESCUE_DISK);
    let refreshed = |file: &PathBuf| {
        let rescue = Some(crate::vm::Rescue::Image {
            file: file.clone(),
            hardware: platform::choose(None),
        });
        let spec = VmSpec {
            rescue,
            ..spec.clone()
        };
        machine.refresh(&spec, &Equipment::default()).unwrap();
        let backing = parts::backing_file(&disk).unwrap();
        assert_eq!(backing, file.to_str().unwrap().as_bytes());
        std::fs::metadata(&disk).unwrap().len()
    };
    let new = refreshed(&one);
    let written = std::fs::OpenOptions::new().append(true).open(&disk);
    std::io::Write::write_all(&mut written.unwrap(), b"written").unwrap();
    assert_eq!(refreshed(&one), new + 7, "a rescue lasts over a restart");
    assert_eq!(refreshed(&other), new);
}

#[tokio::test]
async fn why_a_machine_is_off_is_not_what_its_hypervisor_grumbled_about() {
    let Some(host) = Host::new(16) else { return };
    let qemu = host.driver().await;
    let machine = qemu.directory(1);
    machine.build(&host.spec(1), &Uefi::default()).unwrap();
    assert_eq!(machine.reason().unwrap(), "it was never started");
    let says = |words: &str| std::fs::write(machine.file(files::QEMU_LOG), words).unwrap();
    says("qemu: Slirp: external icmpv6 not supported yet\n");
    std::fs::create_dir(machine.file(files::RUN)).unwrap();
    assert_eq!(machine.reason().unwrap(), POWERED_OFF);
    std::fs::write(machine.file(files::QMP_SOCKET), "").unwrap();
    let reason = machine.reason().unwrap();
    assert!(
        reason.contains("was killed") && reason.contains("icmpv6"),
        "{reason}"
    );
    says("first\0\x1b[2J\nqemu: terminating on signal 15 from pid 1\n");
    std::fs::remove_file(machine.file(files::QMP_SOCKET)).unwrap();
    let reason = machine.reason().unwrap();
    assert_eq!(
        reason,
        "first\\u{0}\\u{1b}[2J\nqemu: terminating on signal 15 from pid 1"
    );
}

#[tokio::test]
async fn a_copy_that_was_given_up_is_cleared_away_and_made_anew() {
    let Some(host) = Host::new(7) else { return };
    let qemu = host.driver().await;
    qemu.create(&host.spec(1)).await.unwrap();
    let machine = qemu.directory(1);
    let names = async || {
        let mut qmp = process::monitor(&machine).await.unwrap();
        let nodes = qmp.execute("query-named-block-nodes").await.unwrap();
        let jobs = qmp.execute("query-jobs").await.unwrap();
        format!("{nodes} {jobs}")
    };
    // Killed while QEMU copied.
    snapshot::begin(&machine).await.unwrap();
    assert!(names().await.contains("snapshot"));
    let again = host.driver().await;
    let seen = std::sync::atomic::AtomicBool::new(false);
    let progress = |_, _| {
        seen.store(true, std::sync::atomic::Ordering::Relaxed);
        true
    };
    let copy = again.snapshot(1, &progress).await.unwrap();
    assert!(seen.load(std::sync::atomic::Ordering::Relaxed));
    assert_eq!(parts::virtual_size(&copy).unwrap(), 64 << 20);
    assert!(!names().await.contains("snapshot"), "it is closed");
    again.forget_snapshot(1).await.unwrap();
    assert!(!copy.exists());

    snapshot::begin(&machine).await.unwrap();
    again.forget_snapshot(1).await.unwrap();
    assert!(!names().await.contains("snapshot") && !copy.exists());
    // Of a machine that is off it is the disk itself, which nobody may remove.
    again.stop(1).await.unwrap();
    let disk = again.snapshot(1, &progress).await.unwrap();
    again.forget_snapshot(1).await.unwrap();
    assert!(disk.exists());
    qemu.delete(1).await.unwrap();
}

#[tokio::test]
async fn a_process_that_only_has_the_right_number_is_not_killed() {
    let Some(host) = Host::new(6) else { return };
    let qemu = host.driver().await;
    qemu.create(&host.spec(1)).await.unwrap();
    qemu.stop(1).await.unwrap();
    let mut bystander = Command::new("sleep").arg("60").spawn().unwrap();
    let machine = qemu.directory(1);
    std::fs::write(machine.path().join(files::PID), bystander.id().to_string()).unwrap();
    assert_eq!(machine.pid(), None);
    // As if a QEMU were alive, so that the driver would look for something to kill.
    let lock = machine.take_lock().unwrap().unwrap();
    let deleting = qemu.delete(1);
    assert!(timeout(Duration::from_secs(1), deleting).await.is_err());
    assert!(
        bystander.try_wait().unwrap().is_none(),
        "the bystander was killed"
    );
    drop(lock);
    qemu.delete(1).await.unwrap();
    bystander.kill().unwrap();
    bystander.wait().unwrap();
}
