//! What machines may be started with that comes from outside: UEFI firmware, and the rescue system.
//!
//! The firmware itself is shared and only read. What it remembers, the boot order for example, is in
//! a flash memory of its own, which every machine has a copy of in its directory, and which only that
//! machine ever writes. The rescue system is a kernel and an initramfs, which QEMU loads into the
//! memory of a guest.

use std::fs;
use std::path::{Path, PathBuf};

use super::files::{absolute, doing};
use crate::vm::VmError;

/// Where it is; none of it need be installed.
#[derive(Debug, Clone, Default)]
pub struct Equipment {
    /// Firmware.
    pub uefi: Uefi,
    /// The rescue system.
    pub rescue: RescueSystem,
}

/// OVMF.
#[derive(Debug, Clone)]
pub struct Uefi {
    /// The program, `OVMF_CODE`.
    pub code: PathBuf,
    /// Its variables as they are delivered, `OVMF_VARS`; of the same build.
    pub variables: PathBuf,
}

/// Where Debian's package `ovmf` has them: the build with 4 MiB of flash and without Secure Boot,
/// which would refuse loaders that nobody signed.
impl Default for Uefi {
    fn default() -> Self {
        Self {
            code: "/usr/share/OVMF/OVMF_CODE_4M.fd".into(),
            variables: "/usr/share/OVMF/OVMF_VARS_4M.fd".into(),
        }
    }
}

impl Uefi {
    /// The path of the program for QEMU.
    ///
    /// # Errors
    /// When it is not installed.
    pub fn code(&self) -> Result<String, VmError> {
        self.check()?;
        absolute(&self.code)
    }

    /// Whether both files are there.
    ///
    /// # Errors
    /// Names the one that is not, and the remedy.
    pub fn check(&self) -> Result<(), VmError> {
        for path in [&self.code, &self.variables] {
            if !path.is_file() {
                return Err(VmError::Hypervisor(format!(
                    "the image starts with UEFI only, and the firmware {} is not on this host\nits \
                     operator can install it with `apt install ovmf`, or name it with \
                     `vm.uefi_code` and `vm.uefi_vars`",
                    path.display()
                )));
            }
        }
        Ok(())
    }

    /// Gives a machine variables of its own.
    pub(super) fn copy_variables(&self, to: &Path) -> Result<(), VmError> {
        self.check()?;
        fs::copy(&self.variables, to)
            .map(drop)
            .map_err(doing("copying the variables of the UEFI firmware"))
    }
}

/// What `rescue/build` makes.
#[derive(Debug, Clone, Default)]
pub struct RescueSystem {
    /// The directory of `vmlinuz` and `initrd`.
    pub directory: PathBuf,
}

/// The rescue system writes to both consoles, and reads from them.
pub(super) const RESCUE_COMMAND_LINE: &str = "console=tty0 console=ttyS0,115200 quiet panic=10";

impl RescueSystem {
    /// The paths of kernel and initramfs.
    ///
    /// # Errors
    /// When it was not built.
    pub fn files(&self) -> Result<[PathBuf; 2], VmError> {
        self.check()?;
        Ok(self.paths())
    }

    /// Whether both files are there.
    ///
    /// # Errors
    /// Names the one that is not, and the remedy.
    pub fn check(&self) -> Result<(), VmError> {
        for path in self.paths() {
            if !path.is_file() {
                return Err(VmError::Hypervisor(format!(
                    "there is no rescue system on this host: {} does not exist\nits operator can \
                     build it with `make rescue`, or name its directory with `vm.rescue`",
                    path.display()
                )));
            }
        }
        Ok(())
    }

    fn paths(&self) -> [PathBuf; 2] {
        ["vmlinuz", "initrd"].map(|name| self.directory.join(name))
    }
}
