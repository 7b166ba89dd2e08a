//! `cloud-user`: an account gets the machine's keys, and can be logged in to.

use super::{Judgement, agents, remedy};
use crate::facts::{CloudInit, Facts};
use crate::report::{Context, Message};

const USERS: &str = "users: [default]";

pub(super) fn check(facts: &Facts, _: &Context) -> Option<Judgement> {
    let found = agents::cloud_init(facts)?;
    no_keys(found)
        .or_else(|| no_account(found))
        .or_else(|| no_shell(found))
}

/// The module that installs keys does not run.
fn no_keys(found: &CloudInit) -> Option<Judgement> {
    let modules = found.growth.modules.as_ref()?;
    let runs = modules.value.iter().any(|module| module == "ssh");
    (!runs).then(|| {
        Judgement::not_met(Message::new("cloud-user-no-module")).seen(modules.evidence.clone())
    })
}

/// No default user, and root's keys are useless.
fn no_account(found: &CloudInit) -> Option<Judgement> {
    let users = &found.users;
    let named = users
        .users
        .as_ref()
        .is_some_and(|list| list.value.iter().any(|name| name == "default"));
    let default = found.default_user.is_some();
    if users.old_user.is_some() || (named && default) {
        return None;
    }
    if let Some(root) = &users.disable_root
        && !root.value
    {
        return None;
    }
    let evidence = users
        .users
        .as_ref()
        .map(|list| list.evidence.iter().take(1).cloned());
    let (id, cure) = if named {
        ("cloud-user-unnamed", Vec::new())
    } else {
        let file = "/etc/cloud/cloud.cfg.d/99-users.cfg";
        let text = "cloud-user-remedy";
        let guest = remedy::guest(text, [format!("echo '{USERS}' > {file}")]);
        let write = format!("virt-customize -a IMAGE --write '{file}:{USERS}'");
        ("cloud-user-none", vec![guest, remedy::host(text, [write])])
    };
    let judgement = Judgement::not_met(Message::new(id)).cure(cure);
    Some(match evidence {
        Some(evidence) => judgement.seen(evidence),
        None => judgement,
    })
}

/// The account's shell is not there, or lets nobody in.
fn no_shell(found: &CloudInit) -> Option<Judgement> {
    let shell = found.users.shell.as_ref()?;
    let refuses = ["/nologin", "/false"]
        .iter()
        .any(|end| shell.value.ends_with(end));
    if !found.users.shell_missing && !refuses {
        return None;
    }
    let user = found.default_user.as_ref().map_or("", |user| &user.value);
    let message = Message::new("cloud-user-shell")
        .with("user", user)
        .with("shell", &shell.value);
    Some(Judgement::not_met(message).seen(shell.evidence.clone()))
}
