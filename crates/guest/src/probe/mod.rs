//! Facts from the guest's files, one module per subject.
//!
//! Each probe asks a [`Tree`](crate::fs::Tree) and returns facts with evidence. None of them walks
//! directories: they know where a distribution keeps what they look for.

pub(crate) mod agents;
pub(crate) mod boot_entry;
pub(crate) mod cloud_config;
pub(crate) mod cloud_growth;
pub(crate) mod cloud_init;
pub(crate) mod cloud_problems;
pub(crate) mod cloud_user;
pub(crate) mod cloud_version;
pub(crate) mod cmdline;
pub(crate) mod datasources;
pub(crate) mod firewall;
pub(crate) mod firmware;
pub(crate) mod fstab;
pub(crate) mod identity;
pub(crate) mod machine;
pub(crate) mod modules;
pub(crate) mod network;
pub(crate) mod os;
pub(crate) mod renderers;
pub(crate) mod sshd;
pub(crate) mod units;

/// Largest configuration file read, in bytes.
pub(crate) const MAX_CONFIG: u64 = 1 << 20;
