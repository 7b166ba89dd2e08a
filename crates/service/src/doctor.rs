//! What a host needs to run the service, whether it has it, and what to do if not.
//!
//! Everything is looked at as the service would: with its configuration, as its user, and without
//! changing anything. What the service cannot do without is an [`Outcome::Failure`]; without the rest
//! it works, and does something less.

mod network;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use rustix::process::{Resource, getrlimit};
use serde::Serialize;

use crate::config::{Config, RegionConfig};
use crate::db::{Db, migrate};
use crate::store::Store;
use crate::uploads::capacity;
use crate::vm::qemu;

/// QEMU of Debian 12, which the tests run on.
const TESTED_QEMU: (u32, u32) = (7, 2);
/// Open files of a thousand uploads, and of everything beside them.
const WANTED_FILES: u64 = 4096;
/// No clock that is right shows less: 2026-01-01, before the first release.
const EARLIEST: Duration = Duration::from_secs(1_767_225_600);
/// How long a database or a store may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether something is as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It is.
    Ok,
    /// The service works without it, and does something less.
    Warning,
    /// The service does not work without it.
    Failure,
}

/// One thing that was looked at.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// What it is about, for programs: `qemu`, `kvm`, `store.hal1`.
    pub id: String,
    /// Whether it is as it should be.
    pub outcome: Outcome,
    /// What was found.
    pub text: String,
    /// What to do about it.
    pub remedy: Option<String>,
}

impl Finding {
    fn ok(id: impl Into<String>, text: impl Into<String>) -> Self {
        Self::new(id, Outcome::Ok, text, None)
    }

    fn warning(id: impl Into<String>, text: impl Into<String>, remedy: &str) -> Self {
        Self::new(id, Outcome::Warning, text, Some(remedy))
    }

    fn failure(id: impl Into<String>, text: impl Into<String>, remedy: &str) -> Self {
        Self::new(id, Outcome::Failure, text, Some(remedy))
    }

    fn new(
        id: impl Into<String>,
        outcome: Outcome,
        text: impl Into<String>,
        remedy: Option<&str>,
    ) -> Self {
        Self {
            id: id.into(),
            outcome,
            text: text.into(),
            remedy: remedy.map(str::to_owned),
        }
    }
}

/// Looks at everything, in the order in which one would mend it.
pub async fn examine(config: &Config) -> Vec<Finding> {
    let mut findings = vec![
        programs(),
        hypervisor(config),
        acceleration(config).await,
        equipment("uefi", "UEFI firmware", config.vm.equipment().uefi.check()),
        equipment(
            "rescue",
            "rescue system",
            config.vm.equipment().rescue.check(),
        ),
        users(config),
        limits(config),
    ];
    findings.extend(network::examine(&config.vm).await);
    findings.extend([
        space(config),
        open_files(getrlimit(Resource::Nofile).maximum),
        clock(SystemTime::now()),
        database(config).await,
    ]);
    for region in &config.regions {
        findings.push(store(config, region).await);
    }
    findings
}

/// Programs beside QEMU that machines are started with.
fn programs() -> Finding {
    let missing: Vec<_> = ["sh", "setsid", "setpriv", "prlimit"]
        .into_iter()
        .filter(|name| qemu::find_program(Path::new(name)).is_err())
        .collect();
    match missing.as_slice() {
        [] => Finding::ok("programs", "setsid, setpriv and prlimit are there"),
        missing => Finding::failure(
            "programs",
            format!("{} cannot be found, which start QEMU", missing.join(", ")),
            "apt install util-linux",
        ),
    }
}

fn hypervisor(config: &Config) -> Finding {
    let program = match qemu::find_program(&config.vm.qemu) {
        Ok(program) => program,
        Err(error) => return split("qemu", Outcome::Failure, &error.to_string()),
    };
    let said = Command::new(&program).arg("--version").output();
    let said = said.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    match said.ok().as_deref().and_then(version) {
        None => Finding::failure(
            "qemu",
            format!("{} does not say which version it is", program.display()),
            "apt install --reinstall qemu-system-x86",
        ),
        Some(found) if found < TESTED_QEMU => Finding::warning(
            "qemu",
            format!("QEMU {}.{} is older than what was tested", found.0, found.1),
            "install QEMU 7.2 or newer, for example that of Debian 12",
        ),
        Some((major, minor)) => Finding::ok(
            "qemu",
            format!("QEMU {major}.{minor} at {}", program.display()),
        ),
    }
}

/// Whether a machine can take more than it was given.
fn limits(config: &Config) -> Finding {
    match qemu::limits(&config.vm.qemu_config()) {
        Ok(text) => Finding::ok("cgroup", format!("machines are limited: {text}")),
        Err(problem) => Finding::warning(
            "cgroup",
            format!("QEMU is not kept from taking more than its machine has: {problem}"),
            "run the service by its systemd unit with systemd 254 or newer, or name a group in `vm.cgroup`",
        ),
    }
}

/// Whether a guest that breaks out of its QEMU meets the service.
fn users(config: &Config) -> Finding {
    if !config.vm.separate_users {
        return Finding::warning(
            "users",
            "machines run as the user of the service, who can read all images and the database",
            "remove `vm.separate_users = false`",
        );
    }
    match qemu::separates_users(&config.vm.qemu_config()) {
        true => Finding::ok(
            "users",
            format!(
                "each machine runs as one of the users {}",
                config.vm.user_ids
            ),
        ),
        false => Finding::warning(
            "users",
            "machines run as the user of the service, because it may not choose: they could read all \
             images and the database if they broke out of QEMU",
            "run the service as root, or with CAP_SETUID, CAP_SETGID, CAP_CHOWN and CAP_KILL as the \
             systemd unit does, where the users of `vm.user_ids` exist",
        ),
    }
}

/// The numbers in `QEMU emulator version 7.2.22 (…)`.
fn version(said: &str) -> Option<(u32, u32)> {
    let (_, rest) = said.split_once("version ")?;
    let mut numbers = rest.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

async fn acceleration(config: &Config) -> Finding {
    match qemu::acceleration(&config.vm.qemu_config()).await {
        Err(error) => split("kvm", Outcome::Warning, &error.to_string()),
        Ok(found) => match found.fallback_reason {
            None => Finding::ok("kvm", "a trial guest ran with KVM"),
            Some(reason) => Finding::warning(
                "kvm",
                reason,
                "run the service on hardware with VT-x or AMD-V switched on in its firmware, as a user \
                 of the group `kvm`, with `vm.kvm = true`",
            ),
        },
    }
}

fn equipment(id: &str, what: &str, found: Result<(), crate::vm::VmError>) -> Finding {
    match found {
        Ok(()) => Finding::ok(id, format!("the {what} is there")),
        Err(error) => split(id, Outcome::Warning, &error.to_string()),
    }
}

/// Errors of the driver say what is wrong in their first line, and what to do in the next.
fn split(id: &str, outcome: Outcome, error: &str) -> Finding {
    match error.split_once('\n') {
        Some((text, remedy)) => Finding::new(id, outcome, text, Some(remedy)),
        None => Finding::new(id, outcome, error, None),
    }
}

fn space(config: &Config) -> Finding {
    let directory = existing(&config.data);
    let reserve = config.limits.staging_reserve;
    let gib = |bytes: u64| format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30));
    match capacity::free(&directory) {
        Err(error) => Finding::failure(
            "space",
            format!("{} cannot be asked: {error}", directory.display()),
            "see whether the filesystem of `data` is mounted",
        ),
        Ok(free) if free < reserve => Finding::failure(
            "space",
            format!(
                "{} is free at {}, less than `limits.staging_reserve`, so uploads are refused",
                gib(free),
                directory.display()
            ),
            "make room, or put `data` on a larger filesystem",
        ),
        // An image of the largest size must fit, beside what it is made into.
        Ok(free) if free < config.limits.max_upload_size => Finding::warning(
            "space",
            format!(
                "{} is free at {}, and the largest upload may have {}",
                gib(free),
                directory.display(),
                gib(config.limits.max_upload_size)
            ),
            "make room, or lower `limits.max_upload_size`",
        ),
        Ok(free) => Finding::ok(
            "space",
            format!("{} is free at {}", gib(free), directory.display()),
        ),
    }
}

/// The directory, or the nearest above that is there already.
fn existing(directory: &Path) -> PathBuf {
    let found = directory.ancestors().find(|path| path.is_dir());
    found.unwrap_or(Path::new("/")).to_owned()
}

fn open_files(limit: Option<u64>) -> Finding {
    match limit {
        Some(limit) if limit < WANTED_FILES => Finding::warning(
            "open-files",
            format!("a process may have {limit} files open, and a thousand uploads need more"),
            "set `LimitNOFILE=` in the unit, or `ulimit -n`, to 65536",
        ),
        Some(limit) => Finding::ok(
            "open-files",
            format!("a process may have {limit} files open"),
        ),
        None => Finding::ok("open-files", "a process may have any number of files open"),
    }
}

fn clock(now: SystemTime) -> Finding {
    let since = now
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    if since < EARLIEST {
        return Finding::failure(
            "clock",
            "the clock shows a time before this program was made, so certificates and tokens fail",
            "set the time: `timedatectl set-ntp true`",
        );
    }
    let said = Command::new("timedatectl")
        .args(["show", "--property=NTPSynchronized", "--value"])
        .output();
    match said.ok().map(|output| output.stdout) {
        Some(said) if said.starts_with(b"no") => Finding::warning(
            "clock",
            "the clock is not kept right by a time server",
            "`timedatectl set-ntp true`, or a service such as chrony",
        ),
        Some(said) if said.starts_with(b"yes") => {
            Finding::ok("clock", "the clock is kept right by a time server")
        }
        _ => Finding::ok(
            "clock",
            "the clock is not far off; whether a time server keeps it right is not known",
        ),
    }
}

async fn database(config: &Config) -> Finding {
    if config.expect_database().is_err() {
        return Finding::ok(
            "database",
            "there is none yet; the service makes it when it starts",
        );
    }
    let asked = async {
        let db = Db::connect(&config.database_url()).await?;
        migrate::applied(db.read()).await
    };
    let newest = migrate::known().last().copied().unwrap_or(0);
    let remedy = "see whether it runs, and whether `database` is right: `abbild config show`";
    match tokio::time::timeout(PATIENCE, asked).await {
        Err(_) => Finding::failure("database", "it does not answer", remedy),
        Ok(Err(error)) => {
            // The driver's errors say what is below them, too.
            let cause = error.root_cause();
            Finding::failure("database", format!("it cannot be used: {cause}"), remedy)
        }
        Ok(Ok(applied)) => match applied.last().copied().unwrap_or(0) {
            version if version > newest => Finding::failure(
                "database",
                format!("its schema {version} is of a newer version of Abbild"),
                "run that version, or have it go back first: `abbild admin schema`",
            ),
            version if version < newest => Finding::ok(
                "database",
                format!(
                    "it answers; its schema {version} becomes {newest} when the service starts"
                ),
            ),
            version => Finding::ok("database", format!("it answers, with schema {version}")),
        },
    }
}

async fn store(config: &Config, region: &RegionConfig) -> Finding {
    let id = format!("store.{}", region.slug);
    let directory = config.region_directory(region);
    if !directory.is_dir() {
        let text = format!(
            "{} does not exist yet; the service makes it when it starts",
            directory.display()
        );
        return Finding::ok(id, text);
    }
    let asked = async { Store::attach(&directory, region.s3.as_ref())?.probe().await };
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(())) => Finding::ok(id, "it can be used"),
        Ok(Err(error)) => Finding::failure(
            id,
            format!("{error:#}"),
            "see whether this user may write there, or what `[regions.s3]` says",
        ),
        Err(_) => Finding::failure(
            id,
            "it does not answer",
            "see whether the S3 service runs, and what `[regions.s3]` says",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_qemu_prints_them() {
        let debian = "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)\nCopyright (c) 2003";
        assert_eq!(version(debian), Some((7, 2)));
        assert_eq!(version("QEMU emulator version 10.0.0"), Some((10, 0)));
        assert_eq!(version("bochs 2.7"), None);
    }

    #[test]
    fn what_is_too_little_is_said_with_the_remedy() {
        assert_eq!(open_files(Some(1024)).outcome, Outcome::Warning);
        assert_eq!(open_files(Some(65536)).outcome, Outcome::Ok);
        let past = clock(SystemTime::UNIX_EPOCH);
        assert_eq!(past.outcome, Outcome::Failure);
        assert!(past.remedy.unwrap().contains("timedatectl"));
        let config = Config {
            data: "/proc/no/such/place".into(),
            ..Config::default()
        };
        assert_ne!(space(&config).outcome, Outcome::Ok, "/proc has no room");
    }

    #[tokio::test]
    async fn a_host_with_nothing_on_it_is_told_everything() {
        let directory = tempfile::tempdir().unwrap();
        let mut config = Config {
            data: directory.path().join("data"),
            ..Config::default()
        };
        config.vm.qemu = "qemu-system-pdp11".into();
        config.vm.uefi_code = "/nowhere".into();
        config.vm.rescue = "/nowhere".into();
        let findings = examine(&config).await;
        let of = |id: &str| findings.iter().find(|finding| finding.id == id).unwrap();
        assert_eq!(of("qemu").outcome, Outcome::Failure);
        for (id, remedy) in [
            ("qemu", "apt install qemu-system-x86"),
            ("uefi", "apt install ovmf"),
            ("rescue", "make rescue"),
        ] {
            let said = of(id).remedy.as_deref().unwrap();
            assert!(said.contains(remedy), "{said}");
        }
        assert_eq!(of("database").outcome, Outcome::Ok);
        assert_eq!(of("store.hal1").outcome, Outcome::Ok);
        assert!(!config.data.exists(), "nothing is made");
    }
}
