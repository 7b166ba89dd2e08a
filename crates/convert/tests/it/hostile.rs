//! Every compressed stream that `fixtures/hostile/generate.py` makes ends in the error that it
//! promises.

use std::path::Path;
use std::process::Command;

use abbild_convert::{Control, ErrorKind, StagingOptions, decode_to_staging};
use abbild_disk::FileSource;

fn kind_name(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Unsupported => "unsupported",
        ErrorKind::Corrupt => "corrupt",
        ErrorKind::Refused => "refused",
        _ => "unknown",
    }
}

#[test]
fn every_hostile_stream_ends_in_its_error() {
    let dir = tempfile::tempdir().unwrap();
    let generator =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/hostile/generate.py");
    let made = Command::new("python3")
        .arg(generator)
        .args(["--no-bombs".as_ref(), dir.path().as_os_str()])
        .status();
    let Ok(status) = made else {
        eprintln!("SKIPPED: python3 is not installed");
        return;
    };
    assert!(status.success());
    let expected = std::fs::read(dir.path().join("expected.json")).unwrap();
    let expected: serde_json::Value = serde_json::from_slice(&expected).unwrap();
    let streams = expected
        .as_object()
        .unwrap()
        .iter()
        .filter(|(_, case)| case["step"] == "decode");
    let mut wrong = Vec::new();
    let mut count = 0;
    for (name, case) in streams {
        count += 1;
        let source = FileSource::open(&dir.path().join(name)).unwrap();
        let out = tempfile::tempfile().unwrap();
        let options = StagingOptions { limit: 1 << 30 };
        match decode_to_staging(&source, &out, options, &Control::none()) {
            Ok(_) => wrong.push(format!("{name} was accepted")),
            Err(error) => {
                let promised = (&case["code"], &case["kind"]);
                if promised != (&error.code().into(), &kind_name(error.kind()).into()) {
                    wrong.push(format!(
                        "{name}: {} instead of {case}: {error}",
                        error.code()
                    ));
                }
                let text = error.to_string();
                assert!(
                    text.chars().all(|c| !c.is_control()) && text.len() < 300,
                    "{name}: {text:?}"
                );
            }
        }
    }
    assert!(count > 30, "the generator made {count} streams");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
