//! Every file that `fixtures/hostile/generate.py` makes ends in the error that it promises.

use std::path::{Path, PathBuf};
use std::process::Command;

use abbild_disk::{Disk, Error, ErrorKind, FileSource, Result, open};

fn generator() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/hostile/generate.py")
}

fn kind_name(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Io => "io",
        ErrorKind::NotRecognised => "not-recognised",
        ErrorKind::Unsupported => "unsupported",
        ErrorKind::Corrupt => "corrupt",
        ErrorKind::Refused => "refused",
        _ => "unknown",
    }
}

/// Opens, verifies and reads the file; the error and the step at which it came.
fn outcome(path: &Path) -> std::result::Result<(), (&'static str, Error)> {
    let source = FileSource::open(path).unwrap();
    let disk = open(source).map_err(|error| ("open", error))?;
    disk.verify().map_err(|error| ("verify", error))?;
    read_data(&disk).map_err(|error| ("read", error))
}

fn read_data(disk: &impl Disk) -> Result<()> {
    let mut offset = 0;
    while offset < disk.virtual_size() {
        let extent = disk.extent_at(offset)?;
        let mut buf = vec![0; extent.len.min(1 << 16) as usize];
        disk.read_at(offset, &mut buf)?;
        offset += extent.len;
    }
    Ok(())
}

#[test]
fn every_hostile_file_ends_in_its_error() {
    let dir = tempfile::tempdir().unwrap();
    let made = Command::new("python3")
        .arg(generator())
        .args(["--no-bombs".as_ref(), dir.path().as_os_str()])
        .status();
    let Ok(status) = made else {
        eprintln!("SKIPPED: python3 is not installed");
        return;
    };
    assert!(status.success());
    let expected = std::fs::read(dir.path().join("expected.json")).unwrap();
    let expected: serde_json::Value = serde_json::from_slice(&expected).unwrap();
    let expected = expected.as_object().unwrap();
    assert!(
        expected.len() > 30,
        "the generator made {} files",
        expected.len()
    );
    let mut wrong = Vec::new();
    // What is compressed is not for this crate.
    for (name, case) in expected.iter().filter(|(_, case)| case["step"] != "decode") {
        let Err((step, error)) = outcome(&dir.path().join(name)) else {
            wrong.push(format!("{name} was accepted"));
            continue;
        };
        let found = (error.code(), kind_name(error.kind()), step);
        let promised = (
            case["code"].as_str().unwrap(),
            case["kind"].as_str().unwrap(),
            case["step"].as_str().unwrap(),
        );
        if found != promised {
            wrong.push(format!(
                "{name}: {found:?} instead of {promised:?}: {error}"
            ));
        }
        let text = error.to_string();
        assert!(text.chars().all(|c| !c.is_control()), "{name}: {text:?}");
        assert!(text.len() < 300, "{name}: {text}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
