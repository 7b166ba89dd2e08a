//! Whom cloud-init makes able to log in: the default user, or root.
//!
//! The keys of a machine go to the default user and to root. Which user is the default one is said
//! by `default` in the list `users` (or by the old key `user`), and what it is like by
//! `system_info.default_user`. Root's keys are made useless if `disable_root` is on, which it is
//! unless it is switched off (`normalize_users_groups` in cloudinit/distros/ug_util.py,
//! `apply_credentials` in cloudinit/config/cc_ssh.py).

use crate::facts::{CloudUsers, Fact};
use crate::fs::Tree;

use super::cloud_config::Configuration;

/// What the configuration says of accounts.
pub(crate) fn probe(tree: &Tree, configuration: &Configuration) -> CloudUsers {
    let shell = configuration.text("system_info.default_user.shell");
    let shell_missing = shell.as_ref().is_some_and(|shell| {
        let path = shell.value.as_str();
        path.starts_with('/') && !tree.exists(path)
    });
    // Written as a mapping, `default` has to be true.
    let mapped = || {
        let default = configuration.flag("users.default")?;
        Some(Fact {
            value: vec!["default".to_owned()],
            evidence: default.value.then_some(default.evidence)?,
        })
    };
    let no_name = configuration
        .text("user")
        .is_some_and(|user| user.value.is_empty());
    CloudUsers {
        users: configuration.list("users").or_else(mapped),
        old_user: configuration.place("user").filter(|_| !no_name),
        sudo: configuration
            .text("system_info.default_user.sudo")
            .or_else(|| configuration.text("system_info.default_user.doas")),
        lock_password: configuration.flag("system_info.default_user.lock_passwd"),
        shell,
        shell_missing,
        disable_root: configuration.flag("disable_root"),
        password_login: configuration.text("ssh_pwauth"),
    }
}
