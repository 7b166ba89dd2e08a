//! What was found of cloud-init and of the programs that do its work.
//!
//! A part of [`crate::facts`], under the same rules.

use serde::{Deserialize, Serialize};

use crate::facts::{Enablement, Evidence, Fact, Fault};

/// cloud-init.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloudInit {
    /// The program or its Python package.
    pub installed: Option<Evidence>,
    /// Version, as the package gives it.
    pub version: Option<Fact<String>>,
    /// Whether it runs on boot. The evidence says why.
    pub enablement: Option<Fact<Enablement>>,
    /// The effective `datasource_list`, with the file and line that set it, and the lines of its
    /// entries if those are others.
    pub datasource_list: Option<Fact<Vec<String>>>,
    /// Whether that is cloud-init's own list, because nothing sets one.
    #[serde(default)]
    pub datasource_built_in: bool,
    /// Lists that it overrides, the weakest first.
    #[serde(default)]
    pub datasource_overridden: Vec<Fact<Vec<String>>>,
    /// Whether it blocks the way to the metadata service.
    #[serde(default)]
    pub disable_ec2_metadata: Option<Fact<bool>>,
    /// The account that keys are installed for.
    pub default_user: Option<Fact<String>>,
    /// Whether the root partition can grow on first boot, by the module or program found.
    pub growpart: Option<Evidence>,
    /// Accounts that it sets up.
    #[serde(default)]
    pub users: CloudUsers,
    /// What makes the root filesystem grow.
    #[serde(default)]
    pub growth: Growth,
    /// What sets up the network.
    #[serde(default)]
    pub renderers: Renderers,
    /// What is wrong with its configuration or state, the worst first.
    #[serde(default)]
    pub problems: Vec<Fault>,
}

/// Accounts that cloud-init sets up.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloudUsers {
    /// The list `users`; `default` in it is the default user.
    pub users: Option<Fact<Vec<String>>>,
    /// The old key `user`, which makes its account the default one.
    pub old_user: Option<Evidence>,
    /// What the default user may do as root.
    pub sudo: Option<Fact<String>>,
    /// Whether the default user's password is locked.
    pub lock_password: Option<Fact<bool>>,
    /// The default user's shell.
    pub shell: Option<Fact<String>>,
    /// Whether that shell is no file of the image.
    #[serde(default)]
    pub shell_missing: bool,
    /// Whether root's keys are made useless.
    pub disable_root: Option<Fact<bool>>,
    /// `ssh_pwauth`: whether sshd is told to accept passwords.
    pub password_login: Option<Fact<String>>,
}

/// What makes the root filesystem grow to the size of the machine's disk.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Growth {
    /// The program with which cloud-init grows the partition.
    pub tool: Option<Evidence>,
    /// What grows the partition without cloud-init.
    pub early: Option<Evidence>,
    /// The program that grows the filesystem.
    pub resize: Option<Evidence>,
    /// `cloud_init_modules`.
    pub modules: Option<Fact<Vec<String>>>,
    /// `growpart.mode`.
    pub mode: Option<Fact<String>>,
    /// `resize_rootfs`.
    pub resize_rootfs: Option<Fact<String>>,
}

/// Ways in which cloud-init can set up the network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renderers {
    /// Those that the configuration admits, the first that is there being used.
    pub wanted: Option<Fact<Vec<String>>>,
    /// Those that are there, in cloud-init's own order.
    #[serde(default)]
    pub available: Vec<Fact<String>>,
    /// The setting by which cloud-init leaves the network alone.
    pub disabled: Option<Evidence>,
}

/// A program other than cloud-init that sets up a machine on its first boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agent {
    /// `ignition`, `coreos-cloudinit`, `bsd-cloudinit`, `cloudbase-init`, `nuageinit` or
    /// `tiny-cloud`.
    pub name: String,
    /// Its program.
    pub installed: Evidence,
    /// Version, if a file says it.
    pub version: Option<Fact<String>>,
    /// Whether it runs on the first boot. The evidence says why.
    pub enablement: Fact<Enablement>,
    /// Where it looks for its data, in its own words: Ignition's platform, a metadata service.
    pub data_source: Option<Fact<String>>,
    /// Whether that is an OpenStack config drive; absent if it cannot be told.
    pub reads_config_drive: Option<bool>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_of_earlier_versions_can_be_read() {
        let stored = r#"{"installed": null, "version": null, "enablement": null,
            "datasource_list": {"value": ["NoCloud"], "evidence": []},
            "default_user": null, "growpart": null}"#;
        let read: CloudInit = serde_json::from_str(stored).unwrap();
        assert_eq!(read.datasource_list.unwrap().value, ["NoCloud"]);
        assert_eq!(read.users, CloudUsers::default());
    }
}
