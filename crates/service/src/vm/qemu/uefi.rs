//! UEFI firmware for guests: OVMF, and a file of variables for each machine.
//!
//! The firmware itself is shared and only read. What it remembers, the boot order for example, is in
//! a flash memory of its own, which every machine has a copy of in its directory, and which only that
//! machine ever writes.

use std::fs;
use std::path::{Path, PathBuf};

use super::files::doing;
use crate::vm::VmError;

/// Where the firmware is; it need not be installed.
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
        // QEMU is started in another directory.
        let path = std::path::absolute(&self.code).map_err(doing("resolving `vm.uefi_code`"))?;
        let path = path.to_str().ok_or_else(|| missing(&self.code))?;
        Ok(path.to_owned())
    }

    /// Whether both files are there.
    ///
    /// # Errors
    /// Names the one that is not, and the remedy.
    pub fn check(&self) -> Result<(), VmError> {
        for path in [&self.code, &self.variables] {
            if !path.is_file() {
                return Err(missing(path));
            }
        }
        Ok(())
    }

    /// Gives a new machine variables of its own.
    pub(super) fn copy_variables(&self, to: &Path) -> Result<(), VmError> {
        self.check()?;
        fs::copy(&self.variables, to)
            .map(drop)
            .map_err(doing("copying the variables of the UEFI firmware"))
    }
}

fn missing(path: &Path) -> VmError {
    VmError::Hypervisor(format!(
        "the image starts with UEFI only, and the firmware {} is not on this host\nits operator can \
         install it with `apt install ovmf`, or name it with `vm.uefi_code` and `vm.uefi_vars`",
        path.display()
    ))
}
