//! What a boot proves: the traces it leaves on a disk, and the report after it.

use std::sync::Arc;

use abbild_guest::{
    Basis, BootRecord, End, Evidence, Lang, Milestone, Origin, Outcome, Report, RuleId, Severities,
    Step, Traces, Verdict, traces,
};

use crate::tree::{Guest, assert_rendered, commands, finding, says};

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDxx probe";
const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\n\
    daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n\
    debian:x:1000:1000:Debian:/home/debian:/bin/bash\n";
const STATUS: &str = "var/lib/cloud/data/status.json";
const RESULT: &str = "var/lib/cloud/data/result.json";
const SOURCE: &str = "DataSourceConfigDrive [net,ver=2][source=/dev/vdb]";

fn seen(step: Step, seconds: u64, text: &str) -> Milestone {
    Milestone {
        step,
        milliseconds: seconds * 1000,
        evidence: Evidence {
            from: Some(Origin::SerialLog),
            ..Evidence::text(text).at_line(7)
        },
    }
}

fn record(end: End, milestones: &[(Step, u64)], traces: Option<Traces>) -> BootRecord {
    BootRecord {
        end: Some(end),
        milliseconds: 90_000,
        milestones: milestones
            .iter()
            .map(|(step, seconds)| seen(*step, *seconds, step.as_str()))
            .collect(),
        traces,
    }
}

/// What a boot left on the disk of `after`, a machine made from `before`.
fn left(before: &Guest, after: &Guest) -> Traces {
    let open = |guest: &Guest| Arc::new(abbild_disk::open(guest.disk()).unwrap());
    traces(&open(after), &open(before), Some("debian"), KEY).unwrap()
}

/// A Debian that was booted, with all that it leaves.
fn booted() -> Guest {
    let guest = Guest::debian();
    guest
        .file("etc/passwd", PASSWD)
        .file(
            "root/.ssh/authorized_keys",
            format!("no-pty,command=\"echo 'Please login as debian'\" {KEY}\n"),
        )
        .file(
            "home/debian/.ssh/authorized_keys",
            format!("# mine\n{KEY}\n"),
        )
        .file(
            STATUS,
            format!(r#"{{"v1": {{"datasource": "{SOURCE}", "init": {{"errors": []}}}}}}"#),
        )
        .file(
            RESULT,
            format!(r#"{{"v1": {{"datasource": "{SOURCE}", "errors": []}}}}"#),
        );
    guest
}

fn proven(mut report: Report, record: &BootRecord) -> Report {
    report.prove(record, &Severities::default());
    assert_rendered(&report);
    report
}

#[test]
fn a_boot_leaves_its_data_source_and_the_key() {
    let traces = left(&Guest::debian(), &booted());
    assert_eq!(traces.datasource.unwrap().value, SOURCE);
    let finished = traces.finished.unwrap();
    assert_eq!(
        finished.path.as_deref(),
        Some("/var/lib/cloud/data/result.json")
    );
    assert_eq!(finished.from, Some(Origin::BootedDisk));
    assert_eq!(traces.errors, []);
    assert_eq!(traces.user.unwrap().value, "debian");
    let key = traces.key.unwrap();
    assert_eq!(
        (key.path.as_deref(), key.line),
        (Some("/home/debian/.ssh/authorized_keys"), Some(2))
    );
}

#[test]
fn a_root_filesystem_that_grows_is_seen_and_one_that_does_not() {
    let image = Guest::debian().disk();
    let mut same = booted().disk();
    same.resize(image.len() + (4 << 20), 0);
    let grown = booted().grown_disk(4 << 20);
    let open = |disk: Vec<u8>| Arc::new(abbild_disk::open(disk).unwrap());
    let image = open(image);
    for (disk, outcome, words) in [
        (same, Outcome::Warning, "did not grow"),
        (grown, Outcome::Pass, "grew from 8 MiB to 12 MiB"),
    ] {
        let traces = traces(&open(disk), &image, Some("debian"), KEY).unwrap();
        let record = record(End::Complete, &[], Some(traces));
        let report = proven(Guest::debian().report(), &record);
        let (found, text) = says(&report, RuleId::DiskGrowth);
        assert_eq!(found, outcome, "{text}");
        assert!(text.contains(words), "{text}");
    }
    // It had nowhere to grow to.
    assert_eq!(left(&Guest::debian(), &booted()).growth, None);
}

#[test]
fn what_the_image_brought_along_is_no_trace() {
    let traces = left(&booted(), &booted());
    assert_eq!((traces.cloud_init, traces.finished), (None, None));
    assert_eq!(traces.datasource, None);
}

#[test]
fn errors_and_a_key_that_is_missing_are_seen() {
    let guest = booted();
    guest.remove("home/debian/.ssh/authorized_keys").file(
        RESULT,
        format!(r#"{{"v1": {{"datasource": "{SOURCE}", "errors": ["no \u001b[31mdisk", 3]}}}}"#),
    );
    let traces = left(&Guest::debian(), &guest);
    let errors: Vec<_> = traces.errors.iter().map(|e| e.text.as_deref()).collect();
    assert_eq!(errors, [Some("no \\u{1b}[31mdisk"), Some("3")]);
    assert_eq!(traces.user.as_ref().unwrap().value, "debian");
    // root's line forces a command.
    assert_eq!(traces.key, None);

    let report = proven(
        Guest::debian().report(),
        &record(End::TimeLimit, &[], Some(traces)),
    );
    let (outcome, text) = says(&report, RuleId::CloudUser);
    assert_eq!(outcome, Outcome::Warning);
    assert!(text.contains("`debian` did not get"), "{text}");
    let (_, text) = says(&report, RuleId::CloudConfig);
    assert!(text.contains("no \\u{1b}[31mdisk"), "{text}");
}

#[test]
fn files_that_a_guest_made_up_are_survived() {
    let guest = booted();
    for (status, passwd) in [
        ("", ""),
        ("[1, {", ":::::\n/:\nx:x:0:0::\n"),
        (
            r#"{"v1": {"datasource": {}, "errors": {"a": 1}, "x": {"errors": 4}}}"#,
            PASSWD,
        ),
        (
            &"[".repeat(100_000),
            &format!("a:x:1:1::{}:/bin/sh\n", "/..".repeat(5000)),
        ),
    ] {
        guest
            .file(STATUS, status)
            .file(RESULT, status)
            .file("etc/passwd", passwd)
            .file("home/debian/.ssh/authorized_keys", [0xff; 5000]);
        let traces = left(&Guest::debian(), &guest);
        assert_eq!((traces.datasource, traces.key), (None, None));
    }
}

#[test]
fn a_boot_that_succeeds_proves_every_step() {
    let before = Guest::debian().report();
    let traces = left(&Guest::debian(), &booted());
    let steps = [
        (Step::BootLoader, 1),
        (Step::Kernel, 2),
        (Step::Init, 9),
        (Step::CloudInit, 30),
        (Step::Login, 40),
        (Step::CloudInitFinished, 61),
        (Step::Sshd, 60),
    ];
    let report = proven(before.clone(), &record(End::Complete, &steps, Some(traces)));
    assert_eq!(report.verdict, Verdict::Accepted);
    for rule in [
        RuleId::BootLoader,
        RuleId::Kernel,
        RuleId::SerialConsole,
        RuleId::CloudInit,
        RuleId::DatasourceOrder,
        RuleId::CloudUser,
        RuleId::Sshd,
    ] {
        let finding = finding(&report, rule);
        assert_eq!(
            (finding.basis, finding.outcome),
            (Basis::Proven, Outcome::Pass),
            "{rule}"
        );
        let inferred = before.finding(rule);
        assert_eq!(
            finding.inferred,
            inferred.map(|finding| finding.outcome),
            "{rule}"
        );
        assert!(
            finding.evidence[0].from.is_some(),
            "{rule}: {:?}",
            finding.evidence
        );
        // What the files said stays beside it.
        let beside = inferred.map_or(&[][..], |finding| &finding.evidence);
        assert!(finding.evidence.ends_with(beside), "{rule}");
    }
    let rules: Vec<_> = report.findings.iter().map(|finding| finding.rule).collect();
    assert!(rules.is_sorted(), "{rules:?}");
    let untouched = finding(&report, RuleId::RootFilesystem);
    assert_eq!(
        (untouched.basis, untouched.inferred),
        (Basis::Inferred, None)
    );
    let json = report.to_json(Lang::De);
    let sshd = json["findings"]
        .as_array()
        .unwrap()
        .iter()
        .find(|f| f["rule"] == "sshd");
    let sshd = sshd.unwrap();
    assert_eq!(sshd["basis"], "proven");
    assert_eq!(sshd["inferred"], "pass");
    assert_eq!(sshd["evidence"][0]["from"], "serial-log");
    assert!(
        sshd["message"].as_str().unwrap().contains("60 Sekunden"),
        "{sshd}"
    );
}

#[test]
fn silence_of_a_server_that_should_run_is_a_warning() {
    let steps = [(Step::Kernel, 2), (Step::Init, 9)];
    let report = proven(
        Guest::debian().report(),
        &record(End::TimeLimit, &steps, Some(Traces::default())),
    );
    let finding = finding(&report, RuleId::Sshd);
    assert_eq!(finding.outcome, Outcome::Warning);
    assert_eq!(finding.inferred, Some(Outcome::Pass));
    assert!(commands(&report, RuleId::Sshd)[0].contains("systemctl status"));
    // A failure by its files would have refused the image; nothing does that afterwards.
    assert_eq!(says(&report, RuleId::CloudInit).0, Outcome::Warning);
    assert_eq!(report.verdict, Verdict::AcceptedWithWarnings);
}

#[test]
fn a_server_that_answers_was_only_thought_to_be_missing() {
    let guest = Guest::debian();
    guest
        .remove("usr/sbin/sshd")
        .file("etc/ssh/sshd_config", "Port 2222\n");
    let report = proven(
        guest.report(),
        &record(End::Complete, &[(Step::Sshd, 60)], None),
    );
    let finding = finding(&report, RuleId::Sshd);
    assert_eq!(
        (finding.outcome, finding.inferred),
        (Outcome::Pass, Some(Outcome::Warning))
    );
    assert_eq!(finding.remedies, []);
    // It came this far, and its kernel printed nothing.
    assert_eq!(says(&report, RuleId::SerialConsole).0, Outcome::Note);
    assert_eq!(says(&report, RuleId::BootLoader).0, Outcome::Pass);
}

#[test]
fn where_a_boot_stops_is_said_of_the_rule_that_it_is_about() {
    for (trouble, rule, words) in [
        (
            Step::NoBootableDevice,
            RuleId::BootLoader,
            "found nothing to start",
        ),
        (
            Step::BootLoaderStopped,
            RuleId::BootLoader,
            "waited for input",
        ),
        (Step::KernelPanic, RuleId::Kernel, "gave up"),
        (
            Step::InitramfsShell,
            RuleId::RootDevice,
            "did not find the root",
        ),
        (Step::EmergencyMode, RuleId::Fstab, "emergency mode"),
    ] {
        let report = proven(
            Guest::debian().report(),
            &record(End::Trouble, &[(trouble, 5)], None),
        );
        let (outcome, text) = says(&report, rule);
        assert_eq!(outcome, Outcome::Warning, "{rule}");
        assert!(text.contains(words), "{text}");
        // What would have come later is not judged.
        for later in [RuleId::Sshd, RuleId::CloudInit, RuleId::DatasourceOrder] {
            assert_eq!(
                finding(&report, later).basis,
                Basis::Inferred,
                "{rule} {later}"
            );
        }
    }
    let report = proven(Guest::debian().report(), &record(End::TimeLimit, &[], None));
    let (outcome, text) = says(&report, RuleId::Kernel);
    assert_eq!(outcome, Outcome::Warning);
    assert!(text.contains("90 seconds"), "{text}");
    let report = proven(
        Guest::debian().report(),
        &record(End::PoweredOff, &[], None),
    );
    let (outcome, text) = says(&report, RuleId::Kernel);
    assert_eq!(outcome, Outcome::Warning);
    assert!(text.contains("switched itself off"), "{text}");
}
