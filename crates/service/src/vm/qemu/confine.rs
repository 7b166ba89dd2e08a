//! What keeps a QEMU to its own machine.
//!
//! A guest that breaks out of QEMU has what QEMU has. Where the service may choose, each QEMU therefore
//! runs as a user whom nothing else on the host belongs to, with no group but that of `/dev/kvm`, and no
//! privilege but that of listening on low ports. Of the filesystem such a user can change what the
//! [directory of the machine](super::files) gives it, and no file there can grow beyond the size of the
//! machine's disk.
//!
//! That directory is then shared with somebody who may be hostile. What the service reads there is
//! either a file whose name QEMU cannot change, or a socket that is opened by [`open_socket`], which
//! follows no link.

use std::fmt;
use std::fs::{self, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::str::FromStr;

use rustix::fs::{Mode, OFlags};
use rustix::process::{Resource, getegid, geteuid, getrlimit};
use rustix::thread::{CapabilitySet, capabilities};
use serde::{Deserialize, Serialize};
use tokio::process::Command;

use crate::vm::VmId;

/// What the service must be allowed to do to run QEMU as another user, and to end it (capabilities(7)).
const NEEDED: CapabilitySet = CapabilitySet::SETUID
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::CHOWN)
    .union(CapabilitySet::KILL);
/// What a shell does before it becomes the program in its arguments: it writes down the process id that
/// is going to be QEMU's, which QEMU as another user could not, lets the service connect to the sockets
/// that QEMU makes (nobody else gets into their directory), and makes a file that reaches its limit an
/// error to QEMU, not its end.
const PREPARE: &str = "echo $$ >qemu.pid && umask 0000 && trap '' XFSZ && exec \"$@\"";

/// Numbers of users, both ends included; written `1900000000-1900065535`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UserIds {
    first: u32,
    last: u32,
}

/// Beyond what systems give to users, containers and subordinate users (systemd's *Users, Groups, UIDs
/// and GIDs*).
impl Default for UserIds {
    fn default() -> Self {
        Self {
            first: 1_900_000_000,
            last: 1_900_065_535,
        }
    }
}

impl UserIds {
    /// The user of a machine. Two machines have the same one when their ids differ by a multiple of how
    /// many there are.
    fn of(self, id: VmId) -> u32 {
        let count = i64::from(self.last - self.first) + 1;
        let offset = u32::try_from(id.rem_euclid(count)).unwrap_or(0);
        self.first + offset
    }

    /// Whether every one of them exists in the user namespace of this process.
    fn are_mapped(self) -> bool {
        let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
        map.lines().any(|line| self.are_within(line))
    }

    /// `line`: the first inside, the first outside, how many (user_namespaces(7)).
    fn are_within(self, line: &str) -> bool {
        let mut numbers = line.split_whitespace().map(str::parse::<u64>);
        let (Some(Ok(first)), _, Some(Ok(count))) =
            (numbers.next(), numbers.next(), numbers.next())
        else {
            return false;
        };
        first <= self.first.into() && u64::from(self.last) < first + count
    }
}

impl FromStr for UserIds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let ends = text.split_once('-').and_then(|(first, last)| {
            Some(Self {
                first: first.trim().parse().ok()?,
                last: last.trim().parse().ok()?,
            })
        });
        // The highest number means "nobody in particular" to the system.
        ends.filter(|ids| 0 < ids.first && ids.first <= ids.last && ids.last < u32::MAX)
            .ok_or_else(|| {
                format!("`{text}` is no range of user numbers such as \"1900000000-1900065535\"")
            })
    }
}

impl TryFrom<String> for UserIds {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<UserIds> for String {
    fn from(ids: UserIds) -> Self {
        ids.to_string()
    }
}

impl fmt::Display for UserIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

/// How the QEMUs of this host are confined.
#[derive(Debug, Clone, Copy)]
pub struct Confinement {
    users: Option<UserIds>,
    kvm_group: Option<u32>,
    /// What is left to them of the privileges of this process, as setpriv(1) writes it.
    kept: &'static str,
}

/// Whom the files of a machine belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// The user of its QEMU; the service's own if it may not choose.
    pub user: u32,
    /// Whether that is another user than the service's.
    pub is_other: bool,
}

impl Confinement {
    /// What this process may do, of what its operator wants.
    pub fn find(wanted: Option<UserIds>) -> Self {
        let ours = capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
        Self {
            users: wanted.filter(|ids| ours.contains(NEEDED) && ids.are_mapped()),
            kvm_group: kvm_group(),
            // A machine listens where SSH clients expect it.
            kept: match ours.contains(CapabilitySet::NET_BIND_SERVICE) {
                true => "-all,+net_bind_service",
                false => "-all",
            },
        }
    }

    /// Whether QEMU runs as users of their own.
    pub fn separates_users(&self) -> bool {
        self.users.is_some()
    }

    /// Whom the files of machine `id` belong to.
    pub fn owner(&self, id: VmId) -> Owner {
        Owner {
            user: match self.users {
                Some(users) => users.of(id),
                None => geteuid().as_raw(),
            },
            is_other: self.users.is_some(),
        }
    }

    /// A command that becomes `program`, in a session of its own, as the user of machine `id`. None of
    /// its files may grow beyond `file_bytes`, and it leaves no dump of a guest's memory.
    pub fn command(&self, id: VmId, file_bytes: u64, program: &Path) -> Command {
        // A lower limit of our own cannot be raised by everybody.
        let own = getrlimit(Resource::Fsize).maximum.unwrap_or(u64::MAX);
        let limit = file_bytes.min(own);
        let mut command = Command::new("sh");
        command.args(["-c", PREPARE, "sh", "prlimit", "--core=0"]);
        command.arg(format!("--fsize={limit}"));
        command.args(["setsid", "setpriv", "--no-new-privs"]);
        if let Owner {
            user,
            is_other: true,
        } = self.owner(id)
        {
            command.args([format!("--reuid={user}"), format!("--regid={user}")]);
            match self.kvm_group {
                Some(group) => command.arg(format!("--groups={group}")),
                None => command.arg("--clear-groups"),
            };
        }
        command.args(["--inh-caps", self.kept, "--ambient-caps", self.kept]);
        command.arg(program);
        command
    }
}

/// The group that may use KVM, unless everybody may.
fn kvm_group() -> Option<u32> {
    let device = fs::metadata("/dev/kvm").ok()?;
    (device.mode() & 0o006 != 0o006).then(|| device.gid())
}

impl Owner {
    /// Gives the owner a file of the machine, for itself and the service. The service's directory has it
    /// under a name that only the service can change.
    ///
    /// # Errors
    /// Those of chmod(2) and chown(2).
    pub fn hand_over(self, file: &Path) -> io::Result<()> {
        self.give(file, 0o660)
    }

    /// The same for a directory.
    ///
    /// # Errors
    /// Those of chmod(2) and chown(2).
    pub fn hand_over_directory(self, directory: &Path) -> io::Result<()> {
        self.give(directory, 0o770)
    }

    /// Only its owner may change the mode of a file, so the service is that in between.
    fn give(self, path: &Path, mode: u32) -> io::Result<()> {
        if fs::symlink_metadata(path)?.uid() == self.user {
            return Ok(());
        }
        let group = Some(getegid().as_raw());
        chown(path, Some(geteuid().as_raw()), group)?;
        fs::set_permissions(path, Permissions::from_mode(mode))?;
        chown(path, Some(self.user), group)
    }
}

/// Names a socket, and nothing else, for connecting to it: what is opened is what is looked at.
///
/// # Errors
/// Those of open(2), and `InvalidData` for anything else.
pub fn open_socket(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let socket = rustix::fs::open(path, flags, Mode::empty())?;
    let kind = rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(&socket)?.st_mode);
    match kind {
        rustix::fs::FileType::Socket => Ok(socket),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{} is no socket", path.display()),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_what_its_text_says() {
        let ids: UserIds = "5000-5009".parse().unwrap();
        assert_eq!(
            [1, 10, 13, -1].map(|id| ids.of(id)),
            [5001, 5000, 5003, 5009]
        );
        assert_eq!(ids.to_string(), "5000-5009");
        for wrong in ["", "5000", "9-5", "0-10", "1-4294967295", "a-b", "-5-9"] {
            let error = wrong.parse::<UserIds>().unwrap_err();
            assert!(error.contains("1900000000-1900065535"), "{error}");
        }
        assert!(ids.are_within("         0          0 4294967295"));
        assert!(ids.are_within("5000 100000 10"));
        for line in ["5001 100000 10", "0 1000 1", "5000 1 9", "", "0 0"] {
            assert!(!ids.are_within(line), "{line}");
        }
    }

    #[test]
    fn only_a_socket_is_connected_to() {
        let scratch = tempfile::tempdir().unwrap();
        let path = |name| scratch.path().join(name);
        fs::write(path("file"), "text").unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
        std::os::unix::fs::symlink(path("socket"), path("link")).unwrap();
        assert!(open_socket(&path("socket")).is_ok());
        for name in ["file", "link", "absent"] {
            assert!(open_socket(&path(name)).is_err(), "{name}");
        }
    }
}
