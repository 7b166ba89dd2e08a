//! The three forms of one made-up report, and what becomes of a hostile one.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use abbild_guest::Origin;
use quick_junit::{Report as Junit, TestCaseStatus};
use serde_json::{Value, json};

use super::*;
use crate::print::Style;

/// A report with a requirement that is met, one that is not, and two further findings.
fn view() -> View {
    serde_json::from_value(json!({
        "verdict": "accepted_with_warnings",
        "verdict_text": "accepted with warnings",
        "lang": "en",
        "findings": [
            {
                "rule": "operating-system", "title": "operating system", "outcome": "pass",
                "message_id": "operating-system-found",
                "message": "Debian GNU/Linux 12 (bookworm)\u{1b}[2J",
                "evidence": [
                    {"text": "only a value"},
                    {"path": "/usr/lib/os-release", "line": 1, "text": "PRETTY_NAME=\"Debian\""},
                    {"path": "/second"},
                    {"path": "/third, which is one too many"}
                ],
                "why": "never shown", "remedies": []
            },
            {
                "rule": "sshd", "title": "SSH server", "outcome": "warning",
                "message_id": "sshd-disabled",
                "message": "an SSH server is installed, but nothing starts it when the system boots",
                "evidence": [
                    {"path": "/etc/systemd/system/ssh.service", "text":
                        "a line of a file that does not fit into what is left of eighty columns"},
                    {"offset": 512}
                ],
                "why": "keys are of no use without it",
                "remedies": [{"where": "guest", "text": "unmask it", "commands": [
                    "systemctl unmask a-very-long-unit-name-that-does-not-fit-into-one-line-of-eighty.service"
                ]}]
            },
            {
                "rule": "serial-console", "title": "serial console", "outcome": "note",
                "message_id": "serial-console-none", "message": "there is none", "why": "w"
            },
            {
                "rule": "of-a-later-version", "title": "new", "outcome": "warning",
                "message_id": "m", "message": "something new", "why": "w"
            }
        ],
        "facts": {"from": "another version"}
    }))
    .unwrap()
}

fn text(view: &View, name: &str) -> String {
    let mut out = Vec::new();
    view.write(&mut out, name, Style::plain(), 80).unwrap();
    String::from_utf8(out).unwrap()
}

fn junit(view: &View, name: &str, error: Option<&str>) -> (String, Junit) {
    let mut out = Vec::new();
    view.junit(&mut out, name, error).unwrap();
    let xml = String::from_utf8(out).unwrap();
    let report = Junit::deserialize_from_str(&xml).unwrap();
    (xml, report)
}

#[test]
fn findings_show_evidence_reason_and_remedy() {
    let expected = "\
a.qcow2: accepted with warnings

Requirements

ok       operating system: Debian GNU/Linux 12 (bookworm)[2J
           /usr/lib/os-release:1: PRETTY_NAME=\"Debian\"
           /second
warning  SSH server (sshd): an SSH server is installed, but nothing starts it
         when the system boots
           /etc/systemd/system/ssh.service
             a line of a file that does not fit into what is left of eighty
             columns
           byte 512
         why: keys are of no use without it
         remedy in the guest, as root: unmask it
             systemctl unmask a-very-long-unit-name-that-does-not-fit-into-one-line-of-eighty.service

Further findings

warning  new (of-a-later-version): something new
         why: w
note     serial console (serial-console): there is none
         why: w

more about a rule: abbild check --explain sshd
";
    assert_eq!(text(&view(), "a\x07.qcow2"), expected);
}

#[test]
fn what_a_boot_has_proven_is_marked_and_says_where_it_was_seen() {
    let mut view = view();
    view.findings[1].basis = Basis::Proven;
    view.findings[1].inferred = Some(Outcome::Pass);
    view.findings[1].evidence = vec![
        Evidence {
            from: Some(Origin::SerialLog),
            ..Evidence::text("Reached target").at_line(17)
        },
        Evidence {
            from: Some(Origin::Network),
            ..Evidence::text("SSH-2.0-x")
        },
        Evidence {
            from: Some(Origin::BootedDisk),
            ..Evidence::path("/etc/passwd").at_line(3).saying("debian:x")
        },
    ];
    let places = [
        "serial log:17: Reached target",
        "port 22: SSH-2.0-x",
        "/etc/passwd:3 (after the boot): debian:x",
    ];
    let text = text(&view, "a");
    let (xml, _) = junit(&view, "a", None);
    let log = view.sarif(Path::new("a"), None);
    valid(&log);
    for place in places {
        assert!(text.contains(place), "{text}");
        assert!(xml.contains(place), "{xml}");
        assert!(log.to_string().contains(place), "{log}");
    }
    assert!(text.contains("when the system boots (proven)"), "{text}");
    assert!(xml.contains("when the system boots (proven)"), "{xml}");
    let result = &log["runs"][0]["results"][0];
    assert_eq!(
        result["properties"],
        json!({"basis": "proven", "inferred": "pass"})
    );
}

#[test]
fn the_summary_shows_what_the_image_is() {
    let facts = json!({
        "container": {"format": "qcow2", "layers": ["gzip"], "virtual_size": 4294967296_u64, "file_size": 536870912},
        "partition_table": {"kind": "gpt", "partitions": [
            {"number": 1, "offset": 0, "length": 1, "type_code": "x", "name": null, "uuid": null,
                "filesystem": {"kind": "ext4", "label": null, "uuid": null, "evidence": {}}},
            {"number": 14, "offset": 0, "length": 1, "name": null, "uuid": null, "filesystem": null,
                "type_code": "21686148-6449-6e6f-744e-656564454649"}
        ]},
        "boot": {"bios": true, "uefi": true},
        "root": {"partition": 1, "filesystem": "ext4", "evidence": [], "readable": true},
        "os": {"family": "linux", "id": "debian", "name": "Debian 12", "version": "12", "evidence": []},
        "architecture": {"value": "x86_64", "evidence": []},
        "init": null,
        "serial_console": {"value": "ttyS0,115200", "evidence": []},
        "cloud_init": {
            "installed": {}, "version": {"value": "22.4.2", "evidence": []},
            "enablement": {"value": "enabled", "evidence": []},
            "datasource_list": {"value": ["ConfigDrive", "None"], "evidence": []},
            "default_user": null, "growpart": null
        },
        "sshd": {
            "server": {"value": "openssh", "evidence": []},
            "enablement": {"value": "disabled", "evidence": []},
            "port": {"value": "2222", "evidence": []},
            "permit_root_login": null, "password_authentication": null
        }
    });
    let mut view = view();
    view.facts = facts;
    view.lang = Lang::De;
    let text = text(&view, "a");
    let summary: Vec<_> = text
        .lines()
        .skip(1)
        .take_while(|line| !line.is_empty())
        .collect();
    let expected = [
        "System       Debian 12, x86_64",
        "Abbild       qcow2+gzip, 4,0 GiB in 512,0 MiB",
        "Partitionen  GPT: 1 ext4, 14 BIOS-Start",
        "Wurzel       ext4 auf Partition 1",
        "Start        BIOS, UEFI, Konsole ttyS0,115200",
        "cloud-init   22.4.2, startet mit dem System, [ConfigDrive, None]",
        "SSH          openssh, startet nicht, Port 2222",
    ];
    assert_eq!(summary, expected);
}

/// The schema of the standard, as the crate `serde-sarif` brings it along, with what Errata 01
/// corrected since: a pattern that is no regular expression, and what a region must have.
fn schema() -> Value {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version=1", "--locked", "--offline"])
        .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let metadata: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    let packages = metadata["packages"].as_array().unwrap();
    let package = packages
        .iter()
        .find(|package| package["name"] == "serde-sarif")
        .unwrap();
    let manifest = Path::new(package["manifest_path"].as_str().unwrap());
    let schema = std::fs::read(manifest.with_file_name("src/schema.json")).unwrap();
    let mut schema: Value = serde_json::from_slice(&schema).unwrap();
    for holder in ["run", "toolComponent"] {
        schema["definitions"][holder]["properties"]["language"]["pattern"] =
            "^[a-zA-Z]{2}(-[a-zA-Z]{2})?$".into();
    }
    schema["definitions"]["region"]["anyOf"] = ["startLine", "charOffset", "byteOffset"]
        .map(|field| json!({"required": [field]}))
        .into_iter()
        .collect();
    schema
}

/// Prints what is wrong with `log`. Python's validator, because building one in Rust would take
/// longer than all other tests of this crate.
const VALIDATE: &str = r#"
import json, sys, jsonschema
both = json.load(sys.stdin)
validator = jsonschema.Draft7Validator(both["schema"])
for error in validator.iter_errors(both["log"]):
    print("/".join(map(str, error.absolute_path)), error.message)
"#;

/// A log that the standard admits.
#[track_caller]
fn valid(log: &Value) -> serde_sarif::sarif::Sarif {
    let mut validator = Command::new("/usr/bin/python3")
        .args(["-c", VALIDATE])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let both = json!({"schema": schema(), "log": log}).to_string();
    let mut input = validator.stdin.take().unwrap();
    input.write_all(both.as_bytes()).unwrap();
    drop(input);
    let output = validator.wait_with_output().unwrap();
    let errors = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && errors.is_empty(), "{errors}");
    serde_json::from_value(log.clone()).unwrap()
}

#[test]
fn a_sarif_log_is_valid_and_leaves_out_what_is_met() {
    let log = view().sarif(Path::new("images/a b.qcow2"), None);
    let run = valid(&log).runs.pop().unwrap();
    let rules = run.tool.driver.rules.unwrap();
    assert_eq!(rules.len(), RuleId::ALL.len());
    for rule in &rules {
        assert!(rule.full_description.is_some(), "{}", rule.id);
        assert!(rule.help_uri.is_none(), "{}", rule.id);
    }
    let results = &log["runs"][0]["results"];
    let told: Vec<_> = results
        .as_array()
        .unwrap()
        .iter()
        .map(|result| {
            (
                result["ruleId"].as_str().unwrap(),
                result["level"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("sshd", "warning"),
            ("serial-console", "note"),
            ("of-a-later-version", "warning")
        ]
    );
    let index = usize::try_from(results[0]["ruleIndex"].as_u64().unwrap()).unwrap();
    assert_eq!(rules[index].id, "sshd");
    assert!(results[2]["ruleIndex"].is_null());
    let location = &results[0]["locations"][0];
    assert_eq!(
        location["physicalLocation"]["artifactLocation"]["uri"],
        "images/a%20b.qcow2"
    );
    assert_eq!(
        location["logicalLocations"][0]["fullyQualifiedName"],
        "/etc/systemd/system/ssh.service"
    );
    let message = results[0]["message"]["text"].as_str().unwrap();
    assert!(message.starts_with(
        "an SSH server is installed, but nothing starts it when the system boots.\n\nwhy: "
    ));
    assert!(message.contains("\n    systemctl unmask a-very-long"));
}

#[test]
fn a_sarif_log_says_when_nothing_could_be_said() {
    let mut view = view();
    view.verdict = None;
    view.findings.truncate(2);
    view.findings[1].outcome = Outcome::Failure;
    view.findings[0].outcome = Outcome::Unknown;
    let log = view.sarif(Path::new("/a/{b}"), Some("the file is empty"));
    valid(&log);
    let run = &log["runs"][0];
    assert_eq!(run["invocations"][0]["executionSuccessful"], false);
    assert_eq!(
        run["invocations"][0]["toolExecutionNotifications"][0]["message"]["text"],
        "the file is empty"
    );
    assert_eq!(run["artifacts"][0]["location"]["uri"], "file:///a/%7Bb%7D");
    assert_eq!(run["results"][0]["kind"], "open");
    assert_eq!(run["results"][1]["level"], "error");
    // Offsets are those of the file, because no disk was opened.
    assert_eq!(
        run["results"][1]["locations"][1]["physicalLocation"]["region"]["byteOffset"],
        512
    );
}

#[test]
fn junit_has_a_case_for_every_rule() {
    let mut view = view();
    view.findings[2].outcome = Outcome::Failure;
    let (_, report) = junit(&view, "a", None);
    // One more for the rule that only the service knows.
    assert_eq!(report.tests, RuleId::ALL.len() + 1);
    assert_eq!((report.failures, report.errors), (1, 0));
    let suite = &report.test_suites[0];
    assert_eq!(suite.name.as_str(), "a");
    let case = |name: &str| {
        let mut cases = suite.test_cases.iter();
        cases.find(|case| case.name.as_str() == name).unwrap()
    };
    assert!(matches!(
        case("sshd").status,
        TestCaseStatus::Success { .. }
    ));
    let output = case("sshd").system_out.as_ref().unwrap().as_str();
    assert!(
        output.starts_with("warning: an SSH server is installed"),
        "{output}"
    );
    assert!(output.contains("\n    systemctl unmask"), "{output}");
    let TestCaseStatus::NonSuccess { message, .. } = &case("serial-console").status else {
        panic!("a failure passes");
    };
    assert_eq!(message.as_ref().unwrap().as_str(), "there is none");
    // The root filesystem was not read, so nobody knows about its kernel.
    assert!(matches!(
        case("kernel").status,
        TestCaseStatus::Skipped { .. }
    ));
    let (_, report) = junit(&view, "a", Some("damaged"));
    assert_eq!((report.failures, report.errors), (0, 1));
    let error = report.test_suites[0].system_err.as_ref().unwrap();
    assert_eq!(error.as_str(), "damaged");
}

/// Terminal commands in every form, bidirectional marks, markup, and the syntax of SARIF messages.
const HOSTILE: &str = "\u{1b}[31m\u{1b}]0;x\u{7}\u{9b}2J\r\u{8}\u{202e}\u{2066}\u{200b}\u{61c}\u{e0041}\u{fffe}\
    ]]></system-out><!-- & \"' {0} [click](https://example.org/)";

#[test]
fn nothing_hostile_gets_through() {
    let mut view = view();
    for finding in &mut view.findings {
        for field in [
            &mut finding.title,
            &mut finding.message,
            &mut finding.message_id,
            &mut finding.why,
        ] {
            field.push_str(HOSTILE);
        }
        finding
            .evidence
            .push(Evidence::path(HOSTILE).saying(HOSTILE));
        finding.remedies.push(Remedy {
            place: Place::Host,
            text: HOSTILE.to_owned(),
            commands: vec![HOSTILE.to_owned()],
        });
    }
    view.verdict_text = HOSTILE.to_owned();
    view.findings[2].rule = HOSTILE.to_owned();
    view.facts["os"] = json!({"family": "linux", "name": HOSTILE, "evidence": []});
    view.facts["container"] = json!({"format": HOSTILE});

    let log = view.sarif(Path::new(HOSTILE), Some(HOSTILE));
    valid(&log);
    let mut sarif = Vec::new();
    crate::print::json(&mut sarif, &log).unwrap();
    let (xml, _) = junit(&view, HOSTILE, Some(HOSTILE));
    let sarif = String::from_utf8(sarif).unwrap();
    for (form, text) in [
        ("text", text(&view, HOSTILE)),
        ("sarif", sarif),
        ("junit", xml),
    ] {
        let left: Vec<_> = text
            .chars()
            .filter(|&c| c != '\n' && clean(c.encode_utf8(&mut [0; 4])).is_empty())
            .collect();
        assert!(left.is_empty(), "{form}: {left:?}");
    }
    // No text is a link or a placeholder of SARIF.
    for result in log["runs"][0]["results"].as_array().unwrap() {
        let text = result["message"]["text"].as_str().unwrap();
        assert!(
            text.contains("{{0}}") && text.contains("[click] (https"),
            "{text}"
        );
    }
}
