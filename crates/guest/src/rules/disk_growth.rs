//! `disk-growth`: the root filesystem grows to the size of the machine's disk.

use super::remedy::{self, Packages};
use super::{Judgement, agents};
use crate::facts::{Fact, Facts, Growth};
use crate::report::{Context, Message, Remedy};

pub(super) fn check(facts: &Facts, _: &Context) -> Option<Judgement> {
    let growth = &agents::cloud_init(facts)?.growth;
    if let Some(setting) = switched_off(growth) {
        let message = Message::new("disk-growth-off").with("setting", setting.value);
        return Some(Judgement::not_met(message).seen(setting.evidence));
    }
    let missing = |module: &str| {
        let modules = growth.modules.as_ref()?;
        let runs = modules.value.iter().any(|found| found == module);
        (!runs).then(|| modules.evidence.first().cloned().into_iter())
    };
    let no_module = |module: &str, evidence| {
        let message = Message::new("disk-growth-no-module").with("module", module);
        Some(Judgement::not_met(message).seen(evidence))
    };
    if growth.early.is_none() {
        if let Some(evidence) = missing("growpart") {
            return no_module("growpart", evidence);
        }
        if growth.tool.is_none() {
            let message = Message::new("disk-growth-no-tool").with("program", "growpart");
            return Some(Judgement::not_met(message).cure(growpart(facts)));
        }
    }
    if let Some(evidence) = missing("resizefs") {
        return no_module("resizefs", evidence);
    }
    if growth.resize.is_none() {
        let message = Message::new("disk-growth-no-tool").with("program", "resize2fs");
        return Some(Judgement::not_met(message).cure(resize2fs(facts)));
    }
    None
}

/// `growpart: {mode: off}` or `resize_rootfs: false`.
fn switched_off(growth: &Growth) -> Option<Fact<String>> {
    let off = |name: &str, setting: &Option<Fact<String>>| {
        let setting = setting.as_ref()?;
        let no = ["false", "0", "off", "no"]
            .iter()
            .any(|word| setting.value.eq_ignore_ascii_case(word));
        no.then(|| Fact {
            value: format!("{name}: {}", setting.value),
            evidence: setting.evidence.clone(),
        })
    };
    // An initramfs does not ask cloud-init.
    off("growpart.mode", &growth.mode)
        .filter(|_| growth.early.is_none())
        .or_else(|| off("resize_rootfs", &growth.resize_rootfs))
}

/// The package with growpart has three names.
fn growpart(facts: &Facts) -> Vec<Remedy> {
    let package = match Packages::of(facts) {
        Some(Packages::Dnf | Packages::Apk) => "cloud-utils-growpart",
        Some(Packages::Zypper) => "growpart",
        _ => "cloud-guest-utils",
    };
    remedy::install(facts, package, "cloud-guest-utils")
}

/// Alpine splits the package.
fn resize2fs(facts: &Facts) -> Vec<Remedy> {
    let package = match Packages::of(facts) {
        Some(Packages::Apk) => "e2fsprogs-extra",
        _ => "e2fsprogs",
    };
    remedy::install(facts, package, "e2fsprogs")
}
