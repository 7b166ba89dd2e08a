//! Limits on what a machine's QEMU takes of the host, by control groups (cgroups, version 2).
//!
//! Memory beyond that of the guest, threads, and time of processors beyond the guest's own are what a
//! QEMU can take that was broken out of, or that has a leak. Each machine gets a group of its own below
//! one that the service may divide: one that systemd has delegated to it, with the service itself in the
//! subgroup `service`, or one that the operator names.
//!
//! A group that has processes of its own cannot give its controllers to subgroups, and systemd before
//! version 254 puts a service into the very group that it delegates. Dividing that one would keep the
//! service from being started again while machines run, so it is left alone.
//!
//! Reference: <https://docs.kernel.org/admin-guide/cgroup-v2.html>, and systemd's *Control Group APIs and
//! Delegation*.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::files::doing;
use crate::vm::{VmError, VmId, VmSpec};

const ROOT: &str = "/sys/fs/cgroup";
/// Where `DelegateSubgroup=` of the systemd unit has the service.
const SUBGROUP: &str = "service";
/// What QEMU needs beside the memory of the guest: code that was translated (up to 256 MiB), the screen,
/// caches of the disk's tables.
const OWN_MEMORY: u64 = 768 << 20;
/// Threads that QEMU has beside the processors of the guest; 64 of them for its disks.
const OWN_THREADS: u32 = 192;
/// Microseconds in which a share of the processors is counted.
const PERIOD: u32 = 100_000;

/// A group that is divided among machines.
#[derive(Debug, Clone)]
pub struct Groups {
    directory: PathBuf,
    /// Those that there are.
    controllers: Vec<Controller>,
    /// What the groups of machines begin with.
    prefix: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Controller {
    Memory,
    Cpu,
    Pids,
}

impl Controller {
    const ALL: [Self; 3] = [Self::Memory, Self::Cpu, Self::Pids];

    fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Cpu => "cpu",
            Self::Pids => "pids",
        }
    }

    /// The file and what is written to it for a machine with so many processors and MiB.
    fn limit(self, vcpus: u32, memory_mib: u32) -> (&'static str, String) {
        match self {
            Self::Memory => {
                let guest = u64::from(memory_mib) << 20;
                ("memory.max", (guest + guest / 8 + OWN_MEMORY).to_string())
            }
            // One more than the guest has, for its disks and its network.
            Self::Cpu => {
                let quota = u64::from(vcpus + 1) * u64::from(PERIOD);
                ("cpu.max", format!("{quota} {PERIOD}"))
            }
            Self::Pids => ("pids.max", (vcpus + OWN_THREADS).to_string()),
        }
    }
}

impl Groups {
    /// The group that the operator named, or that was delegated to this process. Nothing is changed.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub fn find(named: Option<&Path>) -> Result<Self, String> {
        match named {
            Some(directory) => Self::named(directory),
            None => Self::delegated(Path::new(ROOT), &own_group()?),
        }
    }

    /// `own` is a line of /proc/self/cgroup without its `0::`.
    fn delegated(root: &Path, own: &str) -> Result<Self, String> {
        let own = Path::new(own.trim_start_matches('/'));
        match own.parent() {
            Some(parent) if own.ends_with(SUBGROUP) => {
                let directory = root.join(parent);
                Self::with(available(&directory), directory)
            }
            _ => Err(format!(
                "this process is in the control group /{}, which was not delegated to it",
                own.display()
            )),
        }
    }

    /// It need not exist if the group above it has what it needs.
    fn named(directory: &Path) -> Result<Self, String> {
        let mut controllers = available(directory);
        if let Some(parent) = directory.parent().filter(|_| controllers.is_empty()) {
            controllers = available(parent);
        }
        Self::with(controllers, directory.to_owned())
    }

    fn with(controllers: Vec<Controller>, directory: PathBuf) -> Result<Self, String> {
        match controllers.is_empty() {
            true => Err(format!(
                "the control group {} has none of the controllers memory, cpu and pids",
                directory.display()
            )),
            false => Ok(Self {
                directory,
                controllers,
                prefix: "machine".to_owned(),
            }),
        }
    }

    /// Makes it ready to be divided.
    ///
    /// # Errors
    /// In words, for example because machines of a service that was started in another way are in it.
    pub fn prepare(&self) -> Result<(), String> {
        let prepare = || {
            fs::create_dir_all(&self.directory)?;
            if let Some(parent) = self.directory.parent() {
                // What it gives already need not be asked for, and may not be ours to ask for.
                let _ = enable(parent, &self.controllers);
            }
            enable(&self.directory, &self.controllers)
        };
        let directory = self.directory.display();
        prepare()
            .map_err(|error| format!("the control group {directory} cannot be divided: {error}"))
    }

    /// The same for machines whose ids are counted by themselves.
    pub fn beside(&self, prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
            ..self.clone()
        }
    }

    /// What is limited, and where, in words.
    pub fn describe(&self) -> String {
        let names: Vec<_> = self.controllers.iter().map(|c| c.name()).collect();
        format!("{} below {}", names.join(", "), self.directory.display())
    }

    /// Puts the process of a machine, which has only just begun, into a group of its own.
    ///
    /// # Errors
    /// Those of the files of a group.
    pub fn admit(&self, pid: u32, spec: &VmSpec) -> Result<(), VmError> {
        let group = self.group(spec.id);
        self.limit(spec.id, pid, spec.vcpus, spec.memory_mib)
            .map_err(doing(format!(
                "limiting the machine by {}",
                group.display()
            )))
    }

    fn limit(&self, id: VmId, pid: u32, vcpus: u32, memory_mib: u32) -> io::Result<()> {
        let group = self.group(id);
        fs::create_dir_all(&group)?;
        for controller in &self.controllers {
            let (file, limit) = controller.limit(vcpus, memory_mib);
            fs::write(group.join(file), limit)?;
        }
        fs::write(group.join("cgroup.procs"), pid.to_string())
    }

    /// Removes the group of a machine that has ended.
    pub fn remove(&self, id: VmId) {
        let group = self.group(id);
        match fs::remove_dir(&group) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(group = %group.display(), %error, "a control group is left behind");
            }
            _ => {}
        }
    }

    fn group(&self, id: VmId) -> PathBuf {
        self.directory.join(format!("{}-{id}", self.prefix))
    }
}

/// Where this process is in the hierarchy of version 2.
fn own_group() -> Result<String, String> {
    let text = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("0::"));
    let line = line.filter(|_| Path::new(ROOT).join("cgroup.controllers").exists());
    line.map(str::to_owned)
        .ok_or_else(|| format!("there are no control groups of version 2 at {ROOT}"))
}

fn available(group: &Path) -> Vec<Controller> {
    let text = fs::read_to_string(group.join("cgroup.controllers")).unwrap_or_default();
    let names: Vec<_> = text.split_whitespace().collect();
    let mut found = Controller::ALL.to_vec();
    found.retain(|controller| names.contains(&controller.name()));
    found
}

/// Gives controllers to the subgroups.
fn enable(group: &Path, controllers: &[Controller]) -> io::Result<()> {
    let words: Vec<_> = controllers
        .iter()
        .map(|c| format!("+{}", c.name()))
        .collect();
    fs::write(group.join("cgroup.subtree_control"), words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files in the place of those of the kernel.
    fn group(at: &Path, controllers: &str) {
        fs::create_dir_all(at).unwrap();
        fs::write(at.join("cgroup.controllers"), controllers).unwrap();
    }

    #[test]
    fn a_machine_is_limited_to_what_it_has_and_qemu_needs() {
        let root = tempfile::tempdir().unwrap();
        let unit = root.path().join("system.slice/abbild.service");
        group(&unit, "cpuset cpu io memory pids\n");
        let groups = Groups::delegated(root.path(), "/system.slice/abbild.service/service");
        let groups = groups.unwrap();
        groups.prepare().unwrap();
        let read = |name: &str| fs::read_to_string(unit.join(name)).unwrap();
        assert_eq!(read("cgroup.subtree_control"), "+memory +cpu +pids");
        let limits = Controller::ALL.map(|controller| controller.limit(2, 2048));
        assert_eq!(limits[0], ("memory.max", (3072_u64 << 20).to_string()));
        assert_eq!(limits[1], ("cpu.max", "300000 100000".to_owned()));
        assert_eq!(limits[2], ("pids.max", "194".to_owned()));
        assert!(groups.describe().starts_with("memory, cpu, pids below "));
    }

    #[test]
    fn a_group_that_is_not_the_services_to_divide_is_left_alone() {
        let root = tempfile::tempdir().unwrap();
        group(&root.path().join("user.slice/session-1.scope"), "memory");
        for own in [
            "/user.slice/session-1.scope",
            "/",
            "/system.slice/abbild.service",
        ] {
            let error = Groups::delegated(root.path(), own).unwrap_err();
            assert!(error.contains(own), "{error}");
        }
        let session = root.path().join("user.slice/session-1.scope");
        assert!(!session.join("cgroup.subtree_control").exists());
        let bare = root.path().join("bare");
        group(&bare, "cpuset io");
        let error = Groups::find(Some(&bare)).unwrap_err();
        assert!(error.contains("memory, cpu and pids"), "{error}");
    }

    /// On a host whose control groups of version 2 have the controllers, as root.
    #[test]
    fn the_kernel_takes_the_limits_and_the_process() {
        let name = format!("abbild-groups-{}", std::process::id());
        let directory = Path::new(ROOT).join(name);
        let groups = match Groups::find(Some(&directory)).map(|g| g.prepare().map(|()| g)) {
            Ok(Ok(groups)) => groups,
            problem => {
                eprintln!("skipped: {problem:?}");
                return;
            }
        };
        let mut process = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let group = groups.group(7);
        let admitted = groups.limit(7, process.id(), 2, 2048);
        let inside = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
        let limits = groups.controllers.iter().map(|controller| {
            let (file, limit) = controller.limit(2, 2048);
            (
                limit,
                fs::read_to_string(group.join(file)).unwrap_or_default(),
            )
        });
        let limits: Vec<_> = limits.collect();
        process.kill().unwrap();
        process.wait().unwrap();
        groups.remove(7);
        assert!(!group.exists());
        fs::remove_dir(directory).unwrap();
        admitted.unwrap();
        assert_eq!(inside.trim(), process.id().to_string());
        for (wanted, found) in limits {
            assert_eq!(found.trim(), wanted);
        }
    }
}
