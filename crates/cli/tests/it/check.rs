//! `abbild check`.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::images;
use crate::{Home, Ran};

fn check(content: &[u8], options: &[&str]) -> Ran {
    let home = Home::new();
    let path = home.0.path().join("image");
    fs::write(&path, content).unwrap();
    let mut args = vec!["check", path.to_str().unwrap()];
    args.extend(options);
    home.run(&args)
}

/// What is promised to scripts in every language: rules and outcomes.
fn outcomes(report: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let findings = report["findings"].as_array().unwrap().iter();
    findings
        .map(|finding| (text(&finding["rule"]), text(&finding["outcome"])))
        .collect()
}

const RULES: [&str; 7] = [
    "operating-system",
    "image-format",
    "virtual-size",
    "root-filesystem",
    "cloud-init",
    "datasource-order",
    "sshd",
];

#[test]
fn an_empty_disk_is_refused_with_all_seven_requirements() {
    let report = check(&images::raw(), &["--json"]).expect(1).json();
    assert_eq!(report["verdict"], "refused");
    assert_eq!(report["facts"]["container"]["format"], "raw");
    let outcomes = outcomes(&report);
    let rules: Vec<_> = outcomes.iter().map(|(rule, _)| rule.as_str()).collect();
    assert_eq!(rules, RULES);
    assert_eq!(outcomes[0].1, "failure");
    assert_eq!(outcomes[1].1, "pass");
    assert_eq!(outcomes[2].1, "pass");
    assert!(report.get("error").is_none());
}

#[test]
fn text_fits_eighty_columns_and_has_no_colour() {
    let ran = check(&images::raw(), &[]).expect(1);
    assert!(ran.err.is_empty(), "{}", ran.err);
    assert!(!ran.out.contains('\x1b'), "{}", ran.out);
    // Commands and the path of the file are for copying and stay whole.
    let prose = ran
        .out
        .lines()
        .skip(1)
        .filter(|line| !line.starts_with("             "));
    for line in prose {
        assert!(line.chars().count() <= 80, "{line}");
    }
}

#[test]
fn the_language_is_that_of_the_flag() {
    let german = check(&images::raw(), &["--lang", "de", "--json"])
        .expect(1)
        .json();
    let english = check(&images::raw(), &["--json"]).expect(1).json();
    assert_eq!(
        (&german["lang"], &english["lang"]),
        (&json!("de"), &json!("en"))
    );
    assert_eq!(outcomes(&german), outcomes(&english));
    assert_ne!(
        german["findings"][0]["message"],
        english["findings"][0]["message"]
    );
}

#[test]
fn a_compressed_image_gets_the_same_findings() {
    let plain = check(&images::raw(), &["--json"]).expect(1).json();
    let packed = check(&images::gzip(&images::raw()), &["--json"])
        .expect(1)
        .json();
    assert_eq!(outcomes(&plain), outcomes(&packed));
    assert_eq!(packed["facts"]["container"]["layers"], json!(["gzip"]));
}

#[test]
fn a_backing_file_is_refused_by_name_and_never_opened() {
    let report = check(&images::qcow2(Some("/etc/passwd")), &["--json"])
        .expect(1)
        .json();
    assert_eq!(report["verdict"], "refused");
    let (rule, outcome) = &outcomes(&report)[1];
    assert_eq!(
        (rule.as_str(), outcome.as_str()),
        ("image-format", "failure")
    );
    let text = check(&images::qcow2(Some("/etc/passwd")), &[]).expect(1);
    assert!(text.out.contains("backing file"), "{}", text.out);
    assert!(!text.out.contains("root:x:0"), "{}", text.out);
}

#[test]
fn a_disk_over_the_limit_is_refused_and_still_looked_into() {
    let report = check(&images::qcow2(None), &["--json", "--max-size", "512KiB"])
        .expect(1)
        .json();
    let outcomes = outcomes(&report);
    assert_eq!(
        outcomes[2],
        ("virtual-size".to_owned(), "failure".to_owned())
    );
    assert_eq!(outcomes[1].1, "pass");
}

#[test]
fn what_unpacks_to_more_than_the_limit_is_refused() {
    let bomb = images::gzip(&vec![0; 8 << 20]);
    let ran = check(&bomb, &["--json", "--max-size", "1MiB"]).expect(1);
    assert_eq!(ran.json()["verdict"], "refused");
}

#[test]
fn what_cannot_be_read_has_no_verdict() {
    let packed = images::gzip(&images::raw());
    let cases: [(&str, &[u8]); 4] = [
        ("empty", b""),
        ("noise", &images::noise(5000)),
        ("truncated gzip", &packed[..packed.len() / 2]),
        ("truncated qcow2", &images::qcow2(None)[..60]),
    ];
    for (name, content) in cases {
        let ran = check(content, &["--json"]);
        assert_eq!(ran.code, 2, "{name}: {}{}", ran.out, ran.err);
        let report = ran.json();
        assert_eq!(report["verdict"], Value::Null, "{name}");
        assert!(report["error"]["code"].is_string(), "{name}: {report}");
        let text = check(content, &[]).expect(2);
        assert!(text.err.contains("error: "), "{name}: {}", text.err);
        assert_eq!(text.out, "", "{name}");
    }
}

#[test]
fn pipelines_get_sarif_and_junit_with_the_same_status() {
    let log = check(&images::raw(), &["--sarif"]).expect(1).json();
    assert_eq!(log["version"], "2.1.0");
    let result = &log["runs"][0]["results"][0];
    assert_eq!(
        (&result["ruleId"], &result["level"]),
        (&json!("operating-system"), &json!("error"))
    );
    let xml = check(&images::raw(), &["--junit"]).expect(1).out;
    let report = quick_junit::Report::deserialize_from_str(&xml).unwrap();
    assert_eq!((report.failures, report.errors), (2, 0));

    let log = check(b"", &["--sarif"]).expect(2).json();
    let invocation = &log["runs"][0]["invocations"][0];
    assert_eq!(invocation["executionSuccessful"], false);
    let xml = check(b"", &["--junit"]).expect(2).out;
    let report = quick_junit::Report::deserialize_from_str(&xml).unwrap();
    assert_eq!((report.failures, report.errors), (0, 1));
}

#[test]
fn one_form_at_a_time() {
    let home = Home::new();
    for options in [
        ["--json", "--sarif"],
        ["--json", "--junit"],
        ["--sarif", "--junit"],
    ] {
        let [first, second] = options;
        for args in [["check", "x", first, second], [first, "check", "x", second]] {
            let ran = home.run(&args).expect(2);
            assert_eq!(ran.out, "", "{args:?}");
        }
    }
}

#[test]
fn a_hostile_file_name_is_not_obeyed() {
    let home = Home::new();
    let name = "a\u{1b}[2J\u{202e}<&>{0}.img";
    let path = home.0.path().join(name);
    fs::write(&path, images::raw()).unwrap();
    for options in [&[][..], &["--json"], &["--sarif"], &["--junit"]] {
        let mut args = vec!["check", path.to_str().unwrap()];
        args.extend(options);
        let ran = home.run(&args).expect(1);
        let commands = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!ran.out.contains(commands), "{options:?}: {:?}", ran.out);
    }
    let missing = home.run(&["check", "no\u{1b}[2J\u{202e}"]).expect(2);
    assert!(
        !missing.err.contains(['\u{1b}', '\u{202e}']),
        "{:?}",
        missing.err
    );
}

#[test]
fn rules_are_listed_and_explained_without_an_image() {
    let home = Home::new();
    let rules = home.run(&["rules", "--json"]).expect(0).json();
    let rules = rules.as_array().unwrap();
    assert!(rules.len() > RULES.len());
    let names: Vec<_> = rules.iter().take(7).map(|rule| &rule["rule"]).collect();
    assert_eq!(names, RULES);
    let table = home.run(&["rules"]).expect(0).out;
    assert_eq!(table.lines().count(), rules.len() + 1);
    for rule in rules {
        let name = rule["rule"].as_str().unwrap();
        for lang in ["de", "en"] {
            let text = home
                .run(&["check", "--explain", name, "--lang", lang])
                .expect(0)
                .out;
            assert!(text.starts_with(&format!("{name}: ")), "{text}");
            let prose = text.lines().filter(|line| !line.starts_with("    "));
            for line in prose {
                assert!(line.chars().count() <= 80, "{line}");
            }
        }
    }
    let json = home
        .run(&["check", "--explain", "sshd", "--json"])
        .expect(0)
        .json();
    assert_eq!(json["default_severity"], "warning");
    assert!(!json["remedies"].as_array().unwrap().is_empty());
    let typo = home
        .run(&["check", "--explain", "datasource-oder"])
        .expect(2);
    assert!(typo.err.contains("'datasource-order'"), "{}", typo.err);
}

#[test]
fn paths_that_are_no_files_are_named() {
    let home = Home::new();
    let missing = home.run(&["check", "/nonexistent/image"]).expect(2);
    assert!(
        missing.err.contains("/nonexistent/image"),
        "{}",
        missing.err
    );
    // Opening a pipe that nobody writes to would wait for ever.
    let pipe = home.0.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    for path in ["/", pipe.to_str().unwrap()] {
        let ran = home.run(&["check", path]).expect(2);
        assert!(ran.err.contains("not a regular file"), "{}", ran.err);
    }
}

#[test]
fn unpacking_leaves_nothing_behind() {
    let home = Home::new();
    let path = home.0.path().join("image.gz");
    fs::write(&path, images::gzip(&images::raw())).unwrap();
    let temporary: PathBuf = home.0.path().join("tmp");
    fs::create_dir(&temporary).unwrap();
    let mut command = home.abbild(&["check", path.to_str().unwrap()]);
    Ran::new(command.env("TMPDIR", &temporary).output().unwrap()).expect(1);
    assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0);
}
