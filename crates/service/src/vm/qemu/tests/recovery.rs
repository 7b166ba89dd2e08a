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
    let lock = machine.take_lock().unwrap().unwrap();
    let launch = machine.launch().unwrap();
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
    qemu.create(&host.spec(1)).await.unwrap();
    assert_eq!(qemu.status(1).await.unwrap(), VmStatus::Running);
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
