//! Whether the hardware really runs guests.
//!
//! KVM is used only after a [trial guest](super::trial) has run through under it, with the same
//! processor model that machines get. The outcome is remembered in `acceleration.json` in the data
//! directory for as long as the host stays up and QEMU is the same program, so that a restart of
//! the service costs nothing; the file may be deleted at any time to try again.
//!
//! A trial must not outlive its service, however that ends: on a broken host its guest may spin for
//! ever. So `setpriv` has the kernel kill it with its parent, and `prlimit` when it has used
//! more processor time than any trial may; both are of util-linux, and run on as QEMU itself.

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep};

use super::command::{Processor, SANDBOX};
use super::files::boot_id;
use super::trial;
use crate::vm::Acceleration;

const DEVICE: &str = "/dev/kvm";
const MEMORY: &str = "acceleration.json";
/// Ten times what the trial takes on a working host. Processor time, not time on the clock: a host
/// that is busy with other things, as after its start, must not be taken for a broken one.
const TRIAL_LIMIT: Duration = Duration::from_secs(2);
/// For a guest that hangs without using the processor.
const TRIAL_TIMEOUT: Duration = Duration::from_secs(20);
/// The limit that the kernel keeps, in seconds (setrlimit(2), `RLIMIT_CPU`): for a trial that nobody
/// watches, because the service ended before the kernel knew that it belongs to it.
const TRIAL_HARD_LIMIT: u64 = 2 * TRIAL_LIMIT.as_secs();
/// Between two looks at the processor time.
const PAUSE: Duration = Duration::from_millis(50);
/// The unit of times in `/proc`, on every architecture that we run on (proc(5), `USER_HZ`).
const TICKS_PER_SECOND: u64 = 100;
/// How much is kept of what QEMU says when the trial fails.
const MAX_WORDS: u64 = 4000;
/// What every reason for emulation ends with.
const CONSEQUENCE: &str = "so guests are emulated, which is about ten times slower";

/// Finds out once, and then knows.
#[derive(Debug)]
pub struct Accelerator {
    program: PathBuf,
    directory: PathBuf,
    allow_kvm: bool,
    found: OnceCell<Acceleration>,
}

/// The outcome of a trial, and under which circumstances it holds.
#[derive(Debug, Serialize, Deserialize)]
struct Memory {
    circumstances: String,
    /// Why the trial failed, if it did.
    failure: Option<String>,
}

impl Accelerator {
    /// `directory` must exist.
    pub fn new(program: PathBuf, directory: PathBuf, allow_kvm: bool) -> Self {
        Self {
            program,
            directory,
            allow_kvm,
            found: OnceCell::new(),
        }
    }

    pub async fn get(&self) -> Acceleration {
        let found = self.found.get_or_init(|| async {
            match self.obstacle().await {
                None => Acceleration {
                    name: "kvm",
                    fallback_reason: None,
                },
                Some(obstacle) => {
                    let reason = Some(format!("{obstacle}, {CONSEQUENCE}"));
                    Acceleration {
                        name: "tcg",
                        fallback_reason: reason,
                    }
                }
            }
        });
        found.await.clone()
    }

    pub async fn processor(&self) -> Processor {
        if self.get().await.name == "kvm" {
            Processor::Kvm
        } else {
            Processor::Tcg
        }
    }

    /// Why KVM cannot be used; `None` when it can.
    async fn obstacle(&self) -> Option<String> {
        if !self.allow_kvm {
            return Some("KVM is switched off in the configuration".into());
        }
        if let Err(error) = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(DEVICE)
        {
            return Some(match error.kind() {
                io::ErrorKind::NotFound => format!(
                    "{DEVICE} does not exist (virtualisation may be off in the firmware, or this \
                     may be a virtual machine without nested virtualisation)"
                ),
                io::ErrorKind::PermissionDenied => format!(
                    "this user may not use {DEVICE} (`sudo usermod -aG kvm $USER` and a new login \
                     change that)"
                ),
                _ => format!("{DEVICE} cannot be opened ({error})"),
            });
        }
        let circumstances = self.circumstances();
        let path = self.directory.join(MEMORY);
        let memory = std::fs::read(&path).ok();
        let memory = memory.and_then(|bytes| serde_json::from_slice::<Memory>(&bytes).ok());
        if let Some(memory) = memory
            && memory.circumstances == circumstances
        {
            return memory.failure;
        }
        let failure = self.try_out(Processor::Kvm).await.err();
        let memory = Memory {
            circumstances,
            failure,
        };
        let written = serde_json::to_vec_pretty(&memory).map_err(io::Error::from);
        if let Err(error) = written.and_then(|bytes| std::fs::write(&path, bytes)) {
            tracing::warn!(path = %path.display(), %error, "the KVM trial will be repeated");
        }
        memory.failure
    }

    /// A new boot of the host, another QEMU or another user ask for a new trial.
    fn circumstances(&self) -> String {
        let boot = boot_id();
        let program = std::fs::metadata(&self.program);
        let program = program
            .map(|data| (data.ino(), data.size(), data.mtime()))
            .ok();
        let user = rustix::process::geteuid().as_raw();
        format!("boot {boot}, QEMU {program:?}, user {user}")
    }

    /// Runs the trial guest; an error says how it failed.
    async fn try_out(&self, processor: Processor) -> Result<(), String> {
        let run = self.run_trial(processor).await;
        let (letters, words, status) =
            run.map_err(|error| format!("the KVM trial could not be made ({error})"))?;
        if letters == trial::LETTERS && status.and_then(|s| s.code()) == Some(trial::EXIT_STATUS) {
            return Ok(());
        }
        let steps = trial::LETTERS.len();
        let reached = format!("{} of {steps} steps", letters.len().min(steps));
        Err(match (status, words.trim().lines().next()) {
            (None, _) => format!(
                "{DEVICE} is there but too slow to be real: a trial guest got through {reached} \
                 before its time was over"
            ),
            (Some(_), Some(line)) => format!(
                "{DEVICE} is there but does not work: a trial guest got through {reached}, and \
                 QEMU said \"{line}\""
            ),
            (Some(status), None) => format!(
                "{DEVICE} is there but does not work: a trial guest got through {reached}, then \
                 QEMU ended with {status}"
            ),
        })
    }

    /// What the guest printed, what QEMU said, and how it ended, `None` if it had to be ended.
    async fn run_trial(
        &self,
        processor: Processor,
    ) -> io::Result<(String, String, Option<ExitStatus>)> {
        let scratch = tempfile::tempdir_in(&self.directory)?;
        std::fs::write(scratch.path().join("trial.img"), trial::disk())?;
        let mut child = leashed(&self.program)
            .args(trial_arguments(processor))
            .current_dir(scratch.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(without_setpriv)?;
        let (mut letters, mut words) = (Vec::new(), Vec::new());
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let pid = child.id();
        let ended = async {
            let (read_letters, read_words) =
                tokio::join!(read(stdout, &mut letters), read(stderr, &mut words));
            read_letters.and(read_words)?;
            child.wait().await
        };
        let status = tokio::select! {
            status = ended => Some(status?),
            () = exhausted(pid) => None,
        };
        if status.is_none() {
            child.kill().await?;
        }
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok((text(letters), text(words), status))
    }
}

/// `program`, which ends with this process, and by itself when it has used too much time.
fn leashed(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "prlimit"])
        .arg(format!("--cpu={TRIAL_HARD_LIMIT}"))
        .arg(program);
    command
}

fn without_setpriv(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::NotFound => io::Error::new(
            error.kind(),
            "`setpriv` was not found; install it with `apt install util-linux`",
        ),
        _ => error,
    }
}

/// Returns when the process has used up its time.
async fn exhausted(pid: Option<u32>) {
    let deadline = Instant::now() + TRIAL_TIMEOUT;
    while Instant::now() < deadline && pid.and_then(processor_time) < Some(TRIAL_LIMIT) {
        sleep(PAUSE).await;
    }
}

/// What all threads of a process have used so far: the fields `utime` and `stime` of proc(5),
/// counted after the name, which is in parentheses and may contain anything.
fn processor_time(pid: u32) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(str::parse::<u64>);
    let ticks = ticks.sum::<Result<u64, _>>().ok()?;
    Some(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}

async fn read(
    pipe: Option<impl tokio::io::AsyncRead + Unpin>,
    into: &mut Vec<u8>,
) -> io::Result<()> {
    if let Some(pipe) = pipe {
        pipe.take(MAX_WORDS).read_to_end(into).await?;
    }
    Ok(())
}

/// The same processor as customers get. The chipset is the older one, of which the guest knows the
/// interrupt controller and the disk; KVM runs both alike.
fn trial_arguments(processor: Processor) -> Vec<OsString> {
    let fixed = [
        "-nodefaults -no-user-config -display none -no-reboot -machine pc -m 64M",
        "-blockdev driver=file,node-name=file,filename=trial.img",
        "-blockdev driver=raw,node-name=trial,file=file -device ide-hd,drive=trial,bootindex=0",
        "-device isa-debug-exit,iobase=0xf4,iosize=1",
        "-chardev stdio,id=letters -device isa-debugcon,iobase=0xe9,chardev=letters",
    ];
    let fixed = fixed
        .iter()
        .flat_map(|line| line.split(' '))
        .map(OsString::from);
    let chosen = SANDBOX.map(OsString::from).into_iter();
    fixed
        .chain(chosen)
        .chain(processor.options().map(OsString::from))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accelerator(program: &Path, directory: &Path) -> Accelerator {
        Accelerator::new(program.into(), directory.into(), true)
    }

    fn fake(directory: &Path, script: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let program = directory.join("qemu");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        program
    }

    /// Tells [`a_trial_ends_with_a_service_that_is_killed`] that it is the service to be killed, and
    /// where to make its trial.
    const VICTIM: &str = "ABBILD_TEST_TRIAL_IN";

    #[tokio::test]
    async fn a_trial_ends_with_a_service_that_is_killed() {
        if let Some(directory) = std::env::var_os(VICTIM) {
            let directory = PathBuf::from(directory);
            let program = directory.join("qemu");
            let _ = accelerator(&program, &directory)
                .try_out(Processor::Kvm)
                .await;
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let pid = directory.path().join("pid");
        let script = format!(
            "echo $$ > {0}.new; mv {0}.new {0}; exec sleep 60",
            pid.display()
        );
        fake(directory.path(), &script);
        let test = "vm::qemu::accel::tests::a_trial_ends_with_a_service_that_is_killed";
        let mut service = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test])
            .env(VICTIM, directory.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let pid = eventually(|| std::fs::read_to_string(&pid).ok()).await;
        let process = PathBuf::from("/proc").join(pid.trim());
        let limits = std::fs::read_to_string(process.join("limits")).unwrap();
        let limit = limits
            .lines()
            .find(|line| line.starts_with("Max cpu time"))
            .unwrap();
        let words: Vec<_> = limit.split_whitespace().collect();
        assert_eq!(words[3..5], ["4", "4"], "{limit}");

        service.kill().unwrap();
        service.wait().unwrap();
        // It may still wait for a parent that asks how it ended.
        eventually(|| match std::fs::read_to_string(process.join("stat")) {
            Ok(stat) => stat.contains(") Z ").then_some(()),
            Err(_) => Some(()),
        })
        .await;
    }

    async fn eventually<T>(mut condition: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(value) = condition() {
                return value;
            }
            assert!(Instant::now() < deadline, "waited in vain");
            sleep(PAUSE).await;
        }
    }

    /// Translation always works, so it shows that the guest itself is right.
    #[tokio::test]
    async fn the_trial_guest_gets_through_when_translated() {
        let Ok(program) = crate::vm::qemu::find_program("qemu-system-x86_64".as_ref()) else {
            eprintln!("skipped: QEMU is not installed");
            return;
        };
        let directory = tempfile::tempdir().unwrap();
        let accelerator = accelerator(&program, directory.path());
        let started = std::time::Instant::now();
        let result = accelerator.try_out(Processor::Tcg).await;
        eprintln!("trial under tcg: {:?}", started.elapsed());
        assert_eq!(result, Ok(()));
        assert_eq!(
            std::fs::read_dir(directory.path()).unwrap().count(),
            0,
            "nothing is left"
        );
    }

    #[tokio::test]
    async fn a_qemu_that_dies_or_hangs_is_a_failure_with_its_words() {
        let directory = tempfile::tempdir().unwrap();
        for (script, expected) in [
            (
                "echo 'failed to set MSR 0x10a' >&2; exit 134",
                "QEMU said \"failed to set MSR 0x10a\"",
            ),
            (
                "printf RLF; while :; do :; done",
                "3 of 5 steps before its time",
            ),
            ("printf RLFTW", "ended with exit status: 0"),
        ] {
            let program = fake(directory.path(), script);
            let result = accelerator(&program, directory.path())
                .try_out(Processor::Kvm)
                .await;
            let failure = result.unwrap_err();
            assert!(failure.contains(expected), "{failure}");
        }
    }

    #[tokio::test]
    async fn an_outcome_is_remembered_while_the_circumstances_are_the_same() {
        let directory = tempfile::tempdir().unwrap();
        // Nothing that could run, so any answer but an error comes from memory.
        let program = directory.path().join("absent");
        let accelerator = accelerator(&program, directory.path());
        let memory = Memory {
            circumstances: accelerator.circumstances(),
            failure: Some("it was slow".into()),
        };
        let path = directory.path().join(MEMORY);
        std::fs::write(&path, serde_json::to_vec(&memory).unwrap()).unwrap();
        let device = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(DEVICE);
        let found = accelerator.get().await;
        assert_eq!(found.name, "tcg");
        let reason = found.fallback_reason.unwrap();
        assert_eq!(
            reason.starts_with("it was slow, so guests are emulated"),
            device.is_ok(),
            "{reason}"
        );
    }
}
