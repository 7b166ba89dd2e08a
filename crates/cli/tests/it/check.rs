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
