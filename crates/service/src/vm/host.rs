//! Programs and processes of this host, as everything uses them that runs some.

use std::io;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// The absolute path of a program: `name` if that is a path, or else where it is in `PATH` or, after that,
/// in one of the `further` directories.
#[must_use]
pub fn find_program(name: &Path, further: &[&str]) -> Option<PathBuf> {
    let mut places: Vec<PathBuf> = Vec::new();
    if name.components().count() == 1 {
        let paths = std::env::var_os("PATH").unwrap_or_default();
        places.extend(std::env::split_paths(&paths).map(|directory| directory.join(name)));
        places.extend(
            further
                .iter()
                .map(|directory| Path::new(directory).join(name)),
        );
    } else {
        places.extend(std::path::absolute(name));
    }
    places.into_iter().find(|place| place.is_file())
}

/// Sends a signal to the process that `identify` finds, and says whether there was one. The descriptor is
/// opened before the process is identified for good, so that the signal cannot reach another that got the
/// same number in between.
///
/// # Errors
/// The system's answer.
pub fn signal(identify: impl Fn() -> Option<Pid>, signal: Signal) -> io::Result<bool> {
    let Some(pid) = identify() else {
        return Ok(false);
    };
    let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else {
        return Ok(false);
    };
    if identify() != Some(pid) {
        return Ok(false);
    }
    match pidfd_send_signal(&process, signal) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::SRCH) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
