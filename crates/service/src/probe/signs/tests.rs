//! Excerpts of real serial logs, and of what guests print that do not get far.

use super::*;

/// The steps that are seen in `log`, with the lines that show them, however the bytes come.
fn seen(log: &[u8]) -> Vec<(Step, u32, String)> {
    let steps = |chunk: usize| {
        let mut follower = Follower::default();
        for (number, part) in (0..).zip(log.chunks(chunk)) {
            follower.feed(part, Duration::from_millis(number));
        }
        let seen = follower.milestones().iter().map(|milestone| {
            let evidence = &milestone.evidence;
            assert_eq!(evidence.from, Some(Origin::SerialLog));
            let text = evidence.text.clone().unwrap();
            (milestone.step, evidence.line.unwrap(), text)
        });
        seen.collect::<Vec<_>>()
    };
    steps(log.len().max(1))
}

fn names(log: &str) -> Vec<Step> {
    seen(log.as_bytes())
        .into_iter()
        .map(|seen| seen.0)
        .collect()
}

/// Debian 12 with cloud-init 22.4.2, on a BIOS.
const DEBIAN: &[u8] = b"\x1bc\x1b[?7l\x1b[2J\x1b[0mSeaBIOS (version 1.16.2-debian-1.16.2-1)\r\n\
    Booting from Hard Disk...\r\nGRUB loading.\r\n\x1b[0;30;47mWelcome to GRUB!\r\n\r\n\
    \x1b[H\x1b[J\x1b[1;1H\x1b[01;01H\x1b[0m\x1b[2J   Booting `Debian GNU/Linux'\n\r\n\r\
    Loading Linux 6.1.0-56-cloud-amd64 ...\n\rLoading initial ramdisk ...\n\r\
    [    0.000000] Linux version 6.1.0-56-cloud-amd64 (debian-kernel@lists.debian.org)\r\n\
    [    0.000000] Command line: root=UUID=4abb ro console=tty0 console=ttyS0,115200\r\n\
    Loading, please wait...\r\n\
    [   10.461242] systemd[1]: systemd 252.39-1~deb12u2 running in system mode\r\n\r\n\
    Welcome to \x1b[1mDebian GNU/Linux 12 (bookworm)\x1b[0m!\r\n\r\n\
    [   10.479874] systemd[1]: Hostname set to <localhost>.\r\n\
    \x20        Starting \x1b[0;1;39mcloud-init-local.\xe2\x80\xa6cloud-init job (pre-networking)...\r\r\n\
    [   48.366518] cloud-init[228]: Cloud-init v. 22.4.2 running 'init-local' at Fri, 27 Nov 2026.\r\n\
    [\x1b[0;32m  OK  \x1b[0m] Started \x1b[0;1;39msystemd-logind.service\x1b[0m - User Login Management.\r\r\n\
    \r\n\r\nDebian GNU/Linux 12 probe ttyS0\r\n\r\nprobe login: \
    [   83.507251] cloud-init[327]: Cloud-init v. 22.4.2 running 'modules:config' at Fri.\r\n\
    [   95.783442] cloud-init[350]: Cloud-init v. 22.4.2 finished at Fri, 27 Nov 2026 10:58:40 +0000. \
    Datasource DataSourceConfigDrive [net,ver=2][source=/dev/vdb].  Up 95.66 seconds\r\n";

#[test]
fn a_boot_is_followed_from_the_firmware_to_the_end_of_cloud_init() {
    let seen = seen(DEBIAN);
    let steps: Vec<_> = seen.iter().map(|seen| seen.0).collect();
    assert_eq!(
        steps,
        [
            Step::Firmware,
            Step::BootLoader,
            Step::Kernel,
            Step::Init,
            Step::CloudInit,
            Step::Login,
            Step::CloudInitFinished,
        ]
    );
    let line = |step| {
        let (_, number, text) = seen.iter().find(|seen| seen.0 == step).unwrap();
        (*number, text.as_str())
    };
    assert_eq!(
        line(Step::Firmware),
        (1, "SeaBIOS (version 1.16.2-debian-1.16.2-1)")
    );
    let (number, text) = line(Step::Init);
    assert_eq!(text, "Welcome to Debian GNU/Linux 12 (bookworm)!");
    assert!(line(Step::Kernel).0 < number);
    assert!(
        line(Step::CloudInitFinished)
            .1
            .contains("DataSourceConfigDrive")
    );
}

#[test]
fn it_does_not_matter_how_the_bytes_come() {
    let whole = names(&String::from_utf8_lossy(DEBIAN));
    for chunk in [1, 2, 3, 7, 50] {
        let mut follower = Follower::default();
        for part in DEBIAN.chunks(chunk) {
            follower.feed(part, Duration::ZERO);
        }
        let steps: Vec<_> = follower.milestones().iter().map(|seen| seen.step).collect();
        assert_eq!(steps, whole, "{chunk} bytes at once");
    }
}

#[test]
fn a_login_is_seen_while_it_waits() {
    let seen = seen(b"\r\nDebian GNU/Linux 12 web-1 ttyS0\r\n\r\nweb-1 login: ");
    assert_eq!(seen, [(Step::Login, 4, "web-1 login:".to_owned())]);
    assert_eq!(names("\nlast failed login: Fri\n"), []);
    // A program that ends, and no kernel.
    assert_eq!(names("panic: runtime error: index out of range\n"), []);
}

#[test]
fn other_systems_are_known() {
    let uefi =
        "BdsDxe: loading Boot0001 \"UEFI Misc Device\"\nBdsDxe: starting Boot0001 \"UEFI\"\n";
    assert_eq!(names(uefi), [Step::Firmware, Step::BootLoader]);
    let alpine = "\n   OpenRC 0.45.2 is starting up Linux 6.1 (x86_64)\n";
    assert_eq!(names(alpine), [Step::Init]);
    let freebsd = "BTX loader 1.00  BTX version is 1.02\nCopyright (c) 1979 - 1994\n\
        Copyright (c) 1992-2023 The FreeBSD Project.\nFreeBSD is a registered trademark of\n\
        Setting hostuuid: 1234.\n";
    assert_eq!(names(freebsd), [Step::BootLoader, Step::Kernel, Step::Init]);
    // Its initramfs has a systemd as well.
    let fedora = "[    1.5] systemd[1]: Running in initrd.\r\n\
        Welcome to Fedora Linux 39 dracut-059-16.fc39 (Initramfs)!\r\n";
    assert_eq!(names(fedora), []);
}

#[test]
fn trouble_is_known_by_its_last_words() {
    for (step, words) in [
        (
            Step::NoBootableDevice,
            "Booting from Hard Disk...\r\nBoot failed: not a bootable disk\r\n",
        ),
        (Step::NoBootableDevice, "No bootable device.\r\n"),
        (
            Step::NoBootableDevice,
            "BdsDxe: No bootable option or device was found.\r\n",
        ),
        (
            Step::BootLoaderStopped,
            "error: no such partition.\r\nEntering rescue mode...\r\ngrub rescue> ",
        ),
        (
            Step::BootLoaderStopped,
            "\r\n   Minimal BASH-like line editing is supported.\r\n\r\ngrub> ",
        ),
        (
            Step::KernelPanic,
            "[    2.1] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)\r\n",
        ),
        (
            Step::KernelPanic,
            "panic: mountroot: unable to (re-)mount root.\ncpuid = 0\nUptime: 1s\n\
             Automatic reboot in 15 seconds - press a key on the console to abort\n",
        ),
        (
            Step::InitramfsShell,
            "ALERT!  UUID=4abb does not exist.  Dropping to a shell!\r\n\r\n(initramfs) ",
        ),
        (
            Step::InitramfsShell,
            "Generating \"/run/initramfs/rdsosreport.txt\"\r\nEntering emergency mode.\r\n",
        ),
        (
            Step::EmergencyMode,
            "You are in emergency mode. After logging in, type \"journalctl -xb\"\r\n\
             Press Enter for maintenance\r\n(or press Control-D to continue): ",
        ),
    ] {
        let steps = names(words);
        assert!(steps.contains(&step), "{words}: {steps:?}");
        let others = steps
            .iter()
            .filter(|seen| seen.is_trouble() && **seen != step);
        assert_eq!(others.count(), 0, "{words}: {steps:?}");
    }
}

#[test]
fn the_first_sign_of_a_step_counts() {
    let mut follower = Follower::default();
    follower.feed(b"SeaBIOS (version 1)\r\n", Duration::from_millis(300));
    follower.feed(b"SeaBIOS (version 2)\r\n", Duration::from_secs(9));
    follower.note(b"Kernel panic - not syncing: later\r\nand");
    assert_eq!(follower.milestones().len(), 1);
    assert_eq!(follower.milestones()[0].milliseconds, 300);
    let log = "SeaBIOS (version 1)\nSeaBIOS (version 2)\nKernel panic - not syncing: later\nand";
    assert_eq!(follower.log(), log);
}

#[test]
fn noise_is_survived() {
    let mut follower = Follower::default();
    let mut byte = 1_u32;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        byte = byte.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        byte.to_be_bytes()[0]
    })
    .take(1 << 18)
    .collect();
    follower.feed(&noise, Duration::ZERO);
    assert!(follower.log().len() < 300 << 10);
}
