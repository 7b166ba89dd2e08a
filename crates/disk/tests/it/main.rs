//! Tests of the crate as its users see it: against QEMU, against hostile files, by properties.

// Helpers of tests fail by panicking, too.
#![allow(clippy::unwrap_used)]

mod build;
mod detect;
mod hostile;
mod lvm;
mod overlay;
mod partition;
mod properties;
mod qcow2;
mod qemu;
mod sparse;
mod tar;
mod tar_build;
mod vdi;
mod vhdx;
mod vhdx_build;
mod vhdx_log;
mod vmdk;
mod vmdk_build;
mod vmdk_qemu;
