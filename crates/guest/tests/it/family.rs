//! The real Debian images of `fixtures/guest`: what each is made to show is what the report says.
//!
//! They are built by `fixtures/guest/build` and lie in `$ABBILD_FIXTURES` or the user's cache.
//! Without them these tests say so and do nothing, unless `ABBILD_REQUIRE_FIXTURES` is 1, or `all`
//! for the slow ones, too.

use std::path::PathBuf;
use std::sync::Arc;

use abbild_disk::FileSource;
use abbild_guest::{Context, Outcome, Report, RuleId, Verdict, inspect};
use serde_json::Value;

use crate::tree::{assert_rendered, finding, place};

const INDEX: &str = include_str!("../../../../fixtures/guest/index.json");

fn directory() -> PathBuf {
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    variable("ABBILD_FIXTURES").unwrap_or_else(|| {
        variable("XDG_CACHE_HOME")
            .or_else(|| Some(variable("HOME")?.join(".cache")))
            .unwrap_or_default()
            .join("abbild/fixtures")
    })
}

/// Whether an image must be there.
fn required(slow: bool) -> bool {
    std::env::var_os("ABBILD_REQUIRE_FIXTURES")
        .is_some_and(|value| value == "all" || value == "1" && !slow)
}

fn index() -> Vec<Value> {
    let index: Value = serde_json::from_str(INDEX).unwrap();
    index["images"].as_array().unwrap().clone()
}

fn is_slow(file: &str) -> bool {
    index()
        .iter()
        .any(|image| image["file"] == file && image["slow"] == true)
}

/// The report on an image of the family; `None` if it has not been built.
fn inspected(file: &str) -> Option<Report> {
    let path = directory().join(file);
    if !path.exists() {
        let message = format!("{} is absent: run fixtures/guest/build", path.display());
        assert!(!required(is_slow(file)), "{message}");
        eprintln!("\n*** NOT TESTED: {message} ***\n");
        return None;
    }
    let disk = abbild_disk::open(FileSource::open(&path).unwrap()).unwrap();
    let report = inspect(&Arc::new(disk), &Context::default());
    assert_rendered(&report);
    Some(report)
}

#[test]
fn every_variant_has_the_verdict_of_the_index() {
    for image in index() {
        let file = image["file"].as_str().unwrap();
        if !file.ends_with(".qcow2") {
            continue;
        }
        let Some(report) = inspected(file) else {
            continue;
        };
        assert_eq!(
            report.verdict.as_str(),
            image["verdict"].as_str().unwrap(),
            "{file}: {:#?}",
            report.findings
        );
        for finding in &report.findings {
            let wanted = image["findings"]
                .get(finding.rule.as_str())
                .and_then(Value::as_str);
            let is_wrong = !matches!(finding.outcome, Outcome::Pass | Outcome::Unknown);
            let outcome = serde_json::to_value(finding.outcome).unwrap();
            match wanted {
                Some(wanted) => assert_eq!(outcome, wanted, "{file}: {finding:#?}"),
                None => assert!(!is_wrong, "{file}: {finding:#?}"),
            }
        }
    }
}

#[test]
fn the_good_image_shows_where_everything_is() {
    let Some(report) = inspected("debian-12.qcow2") else {
        return;
    };
    assert_eq!(report.verdict, Verdict::Accepted);
    assert_eq!(
        place(&report, RuleId::OperatingSystem),
        ("/usr/lib/os-release".into(), Some(1))
    );
    assert_eq!(
        place(&report, RuleId::DatasourceOrder).0,
        "/etc/cloud/cloud.cfg.d/90_dpkg.cfg"
    );
    let facts = &report.facts;
    assert_eq!(facts.architecture.as_ref().unwrap().value, "x86_64");
    assert_eq!(facts.partition_table.as_ref().unwrap().kind, "gpt");
    assert_eq!(
        facts.cloud_init.default_user.as_ref().unwrap().value,
        "debian"
    );
    assert!(facts.boot.bios);
    assert!(facts.kernels[0].value.contains("cloud-amd64"));
    assert!(
        facts
            .serial_console
            .as_ref()
            .unwrap()
            .value
            .starts_with("ttyS0")
    );
    assert!(facts.cloud_init.growpart.is_some());
    assert!(facts.faults.is_empty(), "{:?}", facts.faults);
}

#[test]
fn variants_show_the_decisive_place() {
    for (file, rule, path) in [
        (
            "debian-12-cloud-init-disabled.qcow2",
            RuleId::CloudInit,
            "/etc/cloud/cloud-init.disabled",
        ),
        (
            "debian-12-sshd-disabled.qcow2",
            RuleId::Sshd,
            "/usr/lib/systemd/system/ssh.service",
        ),
    ] {
        if let Some(report) = inspected(file) {
            assert_eq!(
                place(&report, rule).0,
                path,
                "{:#?}",
                finding(&report, rule)
            );
        }
    }
    if let Some(report) = inspected("debian-12-nocloud-first.qcow2") {
        let evidence = &finding(&report, RuleId::DatasourceOrder).evidence[0];
        assert!(
            evidence.text.as_ref().unwrap().contains("NoCloud"),
            "{evidence:?}"
        );
        assert!(evidence.line.is_some());
    }
    if let Some(report) = inspected("debian-12-xfs.qcow2") {
        assert_eq!(report.facts.root.as_ref().unwrap().filesystem, "xfs");
    }
    if let Some(report) = inspected("debian-12-ext3.qcow2") {
        assert_eq!(report.facts.root.as_ref().unwrap().filesystem, "ext3");
    }
    if let Some(report) = inspected("debian-12-mbr.qcow2") {
        assert_eq!(report.facts.partition_table.as_ref().unwrap().kind, "mbr");
        assert!(report.facts.boot.bios);
    }
}

#[test]
fn layouts_show_in_the_facts() {
    let facts = |name: &str| inspected(&format!("debian-12-{name}.qcow2")).map(|it| it.facts);
    if let Some(facts) = facts("lvm") {
        let root = facts.root.unwrap();
        assert_eq!((root.partition, root.filesystem.as_str()), (5, "ext4"));
    }
    if let Some(facts) = facts("split") {
        let mounts: Vec<_> = facts
            .mounts
            .iter()
            .map(|mount| mount.path.as_str())
            .collect();
        assert_eq!(mounts, ["/boot", "/usr"]);
        assert!(facts.mounts.iter().all(|mount| mount.readable));
        // One lies on /usr, the other on /boot.
        assert!(facts.cloud_init.version.is_some());
        assert!(facts.serial_console.is_some());
    }
    for (name, firmware) in [
        ("bios-uefi", (true, true)),
        ("uefi", (false, true)),
        ("sectors-4k", (false, true)),
    ] {
        if let Some(facts) = facts(name) {
            assert_eq!((facts.boot.bios, facts.boot.uefi), firmware, "{name}");
        }
    }
    if let Some(facts) = facts("dirty") {
        let enablement = serde_json::to_value(facts.cloud_init.enablement).unwrap();
        assert_eq!(enablement["value"], "enabled", "{enablement}");
    }
    if let Some(facts) = facts("os-release-loop") {
        let codes: Vec<_> = facts
            .faults
            .iter()
            .map(|fault| fault.code.as_str())
            .collect();
        assert_eq!(codes, ["symlink-loop", "symlink-loop"]);
    }
}
