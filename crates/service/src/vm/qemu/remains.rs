//! Making directories last, and making them go.
//!
//! A power cut keeps of a new file what was synced, and may leave an empty one of the rest. And what QEMU made
//! may be anything once a guest has broken out of it: directories that nobody may enter, one in another without
//! end. The service may then lack the privilege to read them, but may take them over (capabilities(7), CHOWN).

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, lchown};
use std::path::Path;

use rustix::process::{getegid, geteuid};

use super::files::{RUN, gone_or};

/// Brings a file, or the names in a directory, to the disk.
///
/// # Errors
/// Those of open(2) and fsync(2).
pub fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Brings a directory and the files in it to the disk.
///
/// # Errors
/// Those of open(2) and fsync(2).
pub fn sync_all(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        sync(&entry?.path())?;
    }
    sync(directory)
}

/// Removes the directory of a machine, with what QEMU made in it. Succeeds when there is nothing.
///
/// # Errors
/// Those of the system calls.
pub fn remove(machine: &Path) -> io::Result<()> {
    remove_hostile(&machine.join(RUN))?;
    gone_or(fs::remove_dir_all(machine))
}

/// Removes a directory of which nothing can be relied on, but that nobody changes any more. Succeeds when
/// there is nothing.
///
/// Directories are moved up before they are gone through, so that their depth needs no stack. Each pass
/// takes one level, so that everything is listed once.
///
/// # Errors
/// Those of the system calls.
pub fn remove_hostile(directory: &Path) -> io::Result<()> {
    let present = fs::symlink_metadata(directory);
    if present.is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        return Ok(());
    }
    take_over(directory)?;
    // No name that is there already.
    let unique = uuid::Uuid::new_v4();
    let mut moved = 0_u64;
    loop {
        let mut is_empty = true;
        for entry in fs::read_dir(directory)? {
            is_empty = false;
            let entry = entry?;
            if !entry.file_type()?.is_dir() {
                fs::remove_file(entry.path())?;
                continue;
            }
            take_over(&entry.path())?;
            for inner in fs::read_dir(entry.path())? {
                let inner = inner?;
                if !inner.file_type()?.is_dir() {
                    fs::remove_file(inner.path())?;
                    continue;
                }
                // A directory that is not one's own cannot be moved into another.
                take_over(&inner.path())?;
                fs::rename(inner.path(), directory.join(format!("{unique}-{moved}")))?;
                moved += 1;
            }
            fs::remove_dir(entry.path())?;
        }
        if is_empty {
            return fs::remove_dir(directory);
        }
    }
}

/// Makes a directory the service's own.
fn take_over(directory: &Path) -> io::Result<()> {
    lchown(
        directory,
        Some(geteuid().as_raw()),
        Some(getegid().as_raw()),
    )?;
    fs::set_permissions(directory, Permissions::from_mode(0o700))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn whatever_is_in_it_goes() {
        let scratch = tempfile::tempdir().unwrap();
        let (machine, bystander) = (
            scratch.path().join("1.new"),
            scratch.path().join("bystander"),
        );
        remove(&machine).unwrap();
        fs::create_dir_all(machine.join("run/closed/deeper")).unwrap();
        fs::create_dir(&bystander).unwrap();
        fs::write(bystander.join("file"), "").unwrap();
        fs::write(machine.join("run/closed/file"), "").unwrap();
        fs::write(machine.join("run/closed/deeper/file"), "").unwrap();
        symlink(&bystander, machine.join("run/closed/link")).unwrap();
        symlink(&bystander, machine.join("run/link")).unwrap();
        for closed in ["run/closed/deeper", "run/closed", "run"] {
            let path = machine.join(closed);
            fs::set_permissions(path, Permissions::from_mode(0o0)).unwrap();
        }
        remove(&machine).unwrap();
        assert!(!machine.exists());
        assert!(bystander.join("file").exists());
    }

    #[test]
    fn no_depth_is_too_deep() {
        let scratch = tempfile::tempdir().unwrap();
        let top = scratch.path().join("run");
        // A path has 4096 bytes at most, so it is put together from its end.
        fs::create_dir(&top).unwrap();
        let (next, below) = (scratch.path().join("next"), scratch.path().join("below"));
        for _ in 0..3000 {
            fs::create_dir(&next).unwrap();
            if below.exists() {
                fs::rename(&below, next.join("d")).unwrap();
            }
            fs::rename(&next, &below).unwrap();
        }
        fs::rename(&below, top.join("d")).unwrap();
        remove_hostile(&top).unwrap();
        assert!(!top.exists());
    }
}
