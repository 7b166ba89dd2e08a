//! What a boot of the image proves of the rules.
//!
//! A boot says nothing of most rules. Of those below it says that they are met, or that they are not;
//! where it was not seen to come far enough, it says nothing, and what the files say stands. A rule that
//! only looks for a cause of trouble, such as a firewall, is met if the trouble is not there.

use super::{Judgement, agents, boot, remedy};
use crate::boot_probe::{BootRecord, End, Milestone, Step};
use crate::facts::{Evidence, Facts};
use crate::report::{Finding, Message, Outcome, Remedy, RuleId};

/// The judgement of `rule`, if `record` proves one. `before` is what the files say.
pub(super) fn judge(
    rule: RuleId,
    record: &BootRecord,
    facts: &Facts,
    before: Option<&Finding>,
) -> Option<Judgement> {
    match rule {
        RuleId::BootLoader => boot_loader(record, facts),
        RuleId::Kernel => kernel(record, facts, before),
        RuleId::RootDevice => root_device(record, before),
        RuleId::Fstab => fstab(record, before),
        RuleId::SerialConsole => serial_console(record, facts),
        RuleId::CloudInit => cloud_init(record, facts, before),
        RuleId::CloudConfig => cloud_config(record),
        RuleId::DatasourceOrder => datasource(record, before),
        RuleId::CloudUser => cloud_user(record, before),
        RuleId::DiskGrowth => disk_growth(record, before),
        RuleId::Sshd => sshd(record, before),
        RuleId::SshdPort | RuleId::SshdFirewall | RuleId::NetworkRenderer => {
            let answer = record.milestone(Step::Sshd)?;
            in_doubt(before, &answer.evidence, "proven-by-sshd")
        }
        _ => None,
    }
}

/// A rule that looks for a cause of trouble is met if it had found one and there is no trouble.
fn in_doubt(before: Option<&Finding>, evidence: &Evidence, id: &str) -> Option<Judgement> {
    let doubt = before.is_some_and(|finding| finding.outcome != Outcome::Pass);
    doubt.then(|| Judgement::met(Message::new(id)).seen([evidence.clone()]))
}

/// The remedies that the files led to, or else `others`.
fn remedies(before: Option<&Finding>, others: impl FnOnce() -> Vec<Remedy>) -> Vec<Remedy> {
    match before {
        Some(finding) if !finding.remedies.is_empty() => finding.remedies.clone(),
        _ => others(),
    }
}

fn seconds(milliseconds: u64) -> String {
    milliseconds.div_ceil(1000).to_string()
}

/// The trouble at which the boot stopped, if it is this one.
fn stopped_at(record: &BootRecord, step: Step) -> Option<&Milestone> {
    record.trouble().filter(|milestone| milestone.step == step)
}

fn boot_loader(record: &BootRecord, facts: &Facts) -> Option<Judgement> {
    let not_met = |id: &str, at: &Milestone| {
        Judgement::not_met(Message::new(id))
            .seen([at.evidence.clone()])
            .cure(boot::install_loader(facts))
    };
    if let Some(at) = stopped_at(record, Step::NoBootableDevice) {
        return Some(not_met("boot-loader-not-found", at));
    }
    if let Some(at) = stopped_at(record, Step::BootLoaderStopped) {
        return Some(not_met("boot-loader-stopped", at));
    }
    let evidence = record.reached(Step::BootLoader)?;
    Some(Judgement::met(Message::new("boot-loader-proven")).seen([evidence]))
}

fn kernel(record: &BootRecord, facts: &Facts, before: Option<&Finding>) -> Option<Judgement> {
    let cure = || remedies(before, || boot::rebuild_boot(facts, "kernel-remedy"));
    if let Some(at) = stopped_at(record, Step::KernelPanic) {
        let message = Message::new("kernel-panicked");
        return Some(
            Judgement::not_met(message)
                .seen([at.evidence.clone()])
                .cure(cure()),
        );
    }
    if let Some(evidence) = record.reached(Step::Kernel) {
        return Some(Judgement::met(Message::new("kernel-proven")).seen([evidence]));
    }
    if record.trouble().is_some() {
        return None;
    }
    let id = match record.end {
        Some(End::PoweredOff) => "kernel-powered-off",
        _ => "kernel-not-seen",
    };
    let message = Message::new(id).with("seconds", seconds(record.milliseconds));
    let evidence = record.reached(Step::Firmware);
    Some(Judgement::not_met(message).seen(evidence).cure(cure()))
}

fn root_device(record: &BootRecord, before: Option<&Finding>) -> Option<Judgement> {
    if let Some(at) = stopped_at(record, Step::InitramfsShell) {
        let cure = remedies(before, || {
            vec![remedy::guest(
                "root-device-remedy-initrd",
                Vec::<String>::new(),
            )]
        });
        return Some(
            Judgement::not_met(Message::new("root-device-not-mounted"))
                .seen([at.evidence.clone()])
                .cure(cure),
        );
    }
    in_doubt(before, &record.reached(Step::Init)?, "proven-by-init")
}

fn fstab(record: &BootRecord, before: Option<&Finding>) -> Option<Judgement> {
    if let Some(at) = stopped_at(record, Step::EmergencyMode) {
        let cure = remedies(before, || {
            vec![remedy::guest(
                "fstab-remedy-emergency",
                ["systemctl --failed"],
            )]
        });
        return Some(
            Judgement::not_met(Message::new("fstab-emergency"))
                .seen([at.evidence.clone()])
                .cure(cure),
        );
    }
    let answer = record.milestone(Step::Sshd)?;
    in_doubt(before, &answer.evidence, "proven-by-sshd")
}

/// The kernel prints first of all that it is there.
fn serial_console(record: &BootRecord, facts: &Facts) -> Option<Judgement> {
    if let Some(kernel) = record.milestone(Step::Kernel) {
        let login = record.milestone(Step::Login);
        let id = match login {
            Some(_) => "serial-console-login",
            None => "serial-console-proven",
        };
        let evidence = [Some(kernel), login].into_iter().flatten();
        let evidence = evidence.map(|milestone| milestone.evidence.clone());
        return Some(Judgement::met(Message::new(id)).seen(evidence));
    }
    let evidence = record.reached(Step::Init)?;
    Some(
        Judgement::not_met(Message::new("serial-console-silent"))
            .seen([evidence])
            .cure(boot::use_serial_console(facts)),
    )
}

fn cloud_init(record: &BootRecord, facts: &Facts, before: Option<&Finding>) -> Option<Judgement> {
    let traces = record.traces.as_ref();
    let finished = record
        .milestone(Step::CloudInitFinished)
        .map(|milestone| milestone.evidence.clone());
    let evidence: Vec<_> = finished
        .into_iter()
        .chain(traces.and_then(|traces| traces.finished.clone()))
        .collect();
    if !evidence.is_empty() {
        return Some(Judgement::met(Message::new("cloud-init-proven")).seen(evidence));
    }
    // Another program does its work and leaves other traces, or there is none to judge.
    agents::cloud_init(facts)?;
    // Init did not run, the disk says nothing, or the boot was cut short by other trouble.
    record.reached(Step::Init)?;
    traces?;
    if record.end == Some(End::Trouble) {
        return None;
    }
    let (id, evidence) = match record.reached(Step::CloudInit) {
        Some(evidence) if traces?.cloud_init.is_some() => ("cloud-init-unfinished", Some(evidence)),
        _ => ("cloud-init-not-run", None),
    };
    let message = Message::new(id).with("seconds", seconds(record.milliseconds));
    let cure = remedies(before, || {
        vec![remedy::guest(
            "cloud-init-remedy-look",
            ["cloud-init status --long"],
        )]
    });
    Some(Judgement::not_met(message).seen(evidence).cure(cure))
}

fn cloud_config(record: &BootRecord) -> Option<Judgement> {
    let errors = &record.traces.as_ref()?.errors;
    let first = errors.first()?.text.clone()?;
    Some(
        Judgement::not_met(Message::new("cloud-config-errors").with("error", first))
            .seen(errors.iter().cloned())
            .cure([remedy::guest(
                "cloud-init-remedy-look",
                ["cloud-init status --long"],
            )]),
    )
}

fn datasource(record: &BootRecord, before: Option<&Finding>) -> Option<Judgement> {
    let used = record.traces.as_ref()?.datasource.as_ref()?;
    let on_line = record.milestone(Step::CloudInitFinished);
    let evidence = on_line
        .map(|milestone| milestone.evidence.clone())
        .into_iter()
        .chain(used.evidence.clone());
    let judgement = match used.value.starts_with("DataSourceConfigDrive") {
        true => Judgement::met(Message::new("datasource-order-proven")),
        false => {
            let message = Message::new("datasource-order-other").with("source", &used.value);
            Judgement::not_met(message).cure(remedies(before, Vec::new))
        }
    };
    Some(judgement.seen(evidence))
}

fn cloud_user(record: &BootRecord, before: Option<&Finding>) -> Option<Judgement> {
    let traces = record.traces.as_ref()?;
    if let (Some(user), Some(key)) = (&traces.user, &traces.key) {
        return Some(
            Judgement::met(Message::new("cloud-user-proven").with("user", &user.value))
                .seen([key.clone()])
                .seen(user.evidence.clone()),
        );
    }
    // Keys are installed before the end, so nothing is certain until then.
    let finished = traces.finished.clone()?;
    let message = match &traces.user {
        Some(user) => Message::new("cloud-user-no-key").with("user", &user.value),
        None => Message::new("cloud-user-no-account"),
    };
    Some(
        Judgement::not_met(message)
            .seen([finished])
            .cure(remedies(before, Vec::new)),
    )
}

fn disk_growth(record: &BootRecord, before: Option<&Finding>) -> Option<Judgement> {
    let traces = record.traces.as_ref()?;
    let growth = traces.growth.as_ref()?;
    let about = |id: &str| {
        Message::new(id)
            .with("before_bytes", growth.before.to_string())
            .with("after_bytes", growth.after.to_string())
    };
    if growth.after > growth.before {
        let judgement = Judgement::met(about("disk-growth-proven"));
        return Some(judgement.seen([growth.evidence.clone()]));
    }
    // Who grows it may come late, but not after cloud-init.
    traces.finished.as_ref()?;
    Some(
        Judgement::not_met(about("disk-growth-missing"))
            .seen([growth.evidence.clone()])
            .cure(remedies(before, Vec::new)),
    )
}

fn sshd(record: &BootRecord, before: Option<&Finding>) -> Option<Judgement> {
    if let Some(answer) = record.milestone(Step::Sshd) {
        let message = Message::new("sshd-proven").with("seconds", seconds(answer.milliseconds));
        return Some(Judgement::met(message).seen([answer.evidence.clone()]));
    }
    // A system that did not come up has other trouble than this.
    let evidence = record.reached(Step::Init)?;
    if record.end == Some(End::Trouble) {
        return None;
    }
    let message = Message::new("sshd-silent").with("seconds", seconds(record.milliseconds));
    let cure = remedies(before, || {
        vec![remedy::guest(
            "sshd-remedy-look",
            ["systemctl status ssh sshd", "ss -tlnp"],
        )]
    });
    Some(Judgement::not_met(message).seen([evidence]).cure(cure))
}
