//! What the driver would find on this host, for those who only want to know.

use std::path::{Path, PathBuf};

use super::QemuConfig;
use super::accel::Accelerator;
use super::cgroup::Groups;
use super::confine::Confinement;
use super::files::{self, doing};
use crate::vm::{Acceleration, VmError, host};

/// How guests would be executed here; nothing is remembered, and nothing left.
///
/// # Errors
/// QEMU is not installed, or there is no room for a trial.
pub async fn acceleration(config: &QemuConfig) -> Result<Acceleration, VmError> {
    let program = find_program(&config.program)?;
    let scratch = tempfile::tempdir().map_err(doing("making room for the trial of KVM"))?;
    let accelerator = Accelerator::new(program, scratch.path().into(), config.allow_kvm);
    Ok(accelerator.get().await)
}

/// By what machines are limited here, or why they are not.
///
/// # Errors
/// The reason, in words.
pub fn limits(config: &QemuConfig) -> Result<String, String> {
    Groups::find(config.cgroup.as_deref()).map(|groups| groups.describe())
}

/// Whether machines run as users of their own here.
#[must_use]
pub fn separates_users(config: &QemuConfig) -> bool {
    Confinement::find(config.user_ids).separates_users()
}

/// The id of a user as whom QEMU runs here.
#[must_use]
pub fn user(config: &QemuConfig) -> u32 {
    Confinement::find(config.user_ids).owner(0).user
}

/// Whether QEMU runs on the directory of a machine, whoever started it.
///
/// # Errors
/// When it cannot be found out.
pub fn is_alive(machine: &Path) -> Result<bool, VmError> {
    files::is_locked(machine)
}

/// The absolute path of QEMU, since it is started in another directory.
pub(crate) fn find_program(name: &Path) -> Result<PathBuf, VmError> {
    host::find_program(name, &[]).ok_or_else(|| {
        VmError::Hypervisor(format!(
            "`{}` was not found\ninstall it with `apt install qemu-system-x86`",
            name.display()
        ))
    })
}
