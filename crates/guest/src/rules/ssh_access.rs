//! Settings of the SSH server that keep its owner out, or let others in.

use super::{Judgement, remedy};
use crate::facts::{Enablement, Fact, Facts};
use crate::report::{Context, Message};

/// Whether a server starts: settings of one that does not are of no consequence.
fn starts(facts: &Facts) -> bool {
    let enablement = facts.sshd.enablement.as_ref();
    enablement.is_some_and(|state| state.value != Enablement::Disabled)
}

/// `sshd-port`: the SSH server listens on port 22.
pub(super) fn port(facts: &Facts, _: &Context) -> Option<Judgement> {
    let port = facts.sshd.port.as_ref()?;
    if port.value == "22" || !starts(facts) {
        return None;
    }
    let path = port.evidence.first()?.path.as_deref()?;
    let command = format!("sed -i '/^[[:space:]]*Port/Id' {}", remedy::quote(path));
    Some(
        Judgement::not_met(Message::new("sshd-port-other").with("port", &port.value))
            .seen(port.evidence.clone())
            .cure(remedy::both("sshd-port-remedy", &[command])),
    )
}

/// `sshd-firewall`: no firewall inside the guest is in the way of SSH.
pub(super) fn firewall(facts: &Facts, _: &Context) -> Option<Judgement> {
    let evidence = facts.sshd.firewall.clone().filter(|_| starts(facts))?;
    let path = evidence.path.as_deref().unwrap_or("");
    let port = facts.sshd.port.as_ref().map_or("22", |port| &port.value);
    let port = remedy::quote(port);
    let command = if path.contains("/ufw") {
        format!("ufw allow {port}/tcp")
    } else if path.contains("/firewalld/") {
        format!("firewall-offline-cmd --add-port={port}/tcp")
    } else if path.contains("nftables") {
        format!(
            "sed -i '/hook input/a tcp dport {port} accept' {}",
            remedy::quote(path)
        )
    } else {
        format!(
            "sed -i '0,/^COMMIT/s//-A INPUT -p tcp --dport {port} -j ACCEPT\\nCOMMIT/' {}",
            remedy::quote(path)
        )
    };
    let cure = remedy::both("sshd-firewall-remedy", &[command]);
    Some(
        Judgement::not_met(Message::new("sshd-firewall-blocks").with("port", &port))
            .seen([evidence])
            .cure(cure),
    )
}

/// `sshd-root-login`: nobody can log in as root with a password.
pub(super) fn root_login(facts: &Facts, _: &Context) -> Option<Judgement> {
    let sshd = &facts.sshd;
    let says = |fact: &Option<Fact<String>>, word: &str| {
        fact.as_ref()
            .is_some_and(|fact| fact.value.eq_ignore_ascii_case(word))
    };
    let password = facts.identity.root_password.as_ref()?;
    let open = says(&sshd.permit_root_login, "yes")
        && !says(&sshd.password_authentication, "no")
        && password.value
        && starts(facts);
    if !open {
        return None;
    }
    let setting = sshd.permit_root_login.as_ref()?;
    let path = setting.evidence.first()?.path.as_deref()?;
    let command = format!(
        "sed -i 's/^[[:space:]]*PermitRootLogin.*/PermitRootLogin prohibit-password/I' {}",
        remedy::quote(path)
    );
    Some(
        Judgement::not_met(Message::new("sshd-root-login-password"))
            .seen(setting.evidence.clone())
            .seen(password.evidence.clone())
            .cure(remedy::both("sshd-root-login-remedy", &[command])),
    )
}
