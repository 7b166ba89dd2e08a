//! What an operator finds out and repairs when files and rows do not agree.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use abbild_service::operator::fsck::{Kind, Options, Report, State};
use serde_json::json;

use crate::service::{Service, raw_disk, wait_for};

fn check(service: &Service) -> Report {
    fsck(service, Options::default())
}

fn repair(service: &Service, deep: bool) -> Report {
    fsck(service, Options { repair: true, deep })
}

fn fsck(service: &Service, options: Options) -> Report {
    service.operate(async |operator| operator.fsck(options, &|_| {}).await.unwrap())
}

#[track_caller]
fn assert_clean(service: &Service) {
    let options = Options {
        deep: true,
        repair: false,
    };
    let report = fsck(service, options);
    assert!(
        report.problems.is_empty() && report.unchecked.is_empty(),
        "{report:#?}"
    );
}

#[track_caller]
fn assert_repaired(report: &Report, kinds: &[Kind]) {
    let found: Vec<_> = report.problems.iter().map(|p| p.kind).collect();
    assert_eq!(found, kinds, "{report:#?}");
    assert_eq!(report.repaired(), kinds.len(), "{report:#?}");
    assert!(report.unchecked.is_empty(), "{report:#?}");
}

/// In both regions.
fn import(service: &Service, name: &str) -> i64 {
    let image = service.import(name, "hal1", &raw_disk(2, name.as_bytes()));
    let id = image["id"].as_i64().unwrap();
    let transfer = json!({"type": "transfer", "region": "nbg1"});
    let path = format!("/v2/images/{id}/actions");
    assert_eq!(service.call("POST", &path, &transfer).status(), 201);
    wait_for(|| (regions(service, id).len() == 2).then_some(()));
    id
}

fn regions(service: &Service, id: i64) -> Vec<String> {
    let image = service.json(&format!("/v2/images/{id}"));
    let regions = image["image"]["regions"].as_array().unwrap().clone();
    regions
        .iter()
        .map(|r| r.as_str().unwrap().to_owned())
        .collect()
}

/// What is written now was written long ago.
fn age(path: &Path) {
    let file = File::open(path).unwrap();
    let old = SystemTime::now() - Duration::from_secs(7200);
    file.set_modified(old).unwrap();
}

/// Bit rot: a byte in the middle changes.
fn rot(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_lost_image_comes_from_another_region() {
    let mut service = Service::start();
    let id = import(&service, "lost");
    assert_clean(&service);
    let all = service.objects("hal1").into_iter();
    for path in all.chain(service.copies("hal1")) {
        let _ = fs::remove_file(path);
    }
    // Another one is left, so that the store is not empty.
    import(&service, "other");

    let found = check(&service);
    assert_eq!(found.problems[0].kind, Kind::MissingImage);
    assert_eq!(found.problems[0].images, [id]);
    assert_eq!(found.problems[0].state, State::Found);
    let report = repair(&service, false);
    assert_repaired(&report, &[Kind::MissingImage]);
    assert_eq!(report.problems[0].outcome, "copied from nbg1");
    assert_clean(&service);
    service.stop();
    assert_clean(&service);
}

#[test]
fn what_is_lost_everywhere_fails_with_the_reason() {
    let service = Service::start();
    let other = import(&service, "other");
    let id = import(&service, "lost");
    let image = service.json(&format!("/v2/images/{id}"))["image"].clone();
    let digest = image["abbild"]["digest"]
        .as_str()
        .unwrap()
        .replace("sha256:", "");
    for region in ["hal1", "nbg1"] {
        let all = service.objects(region).into_iter();
        for path in all.chain(service.copies(region)) {
            if path.to_str().unwrap().contains(&digest) && path.exists() {
                fs::remove_file(path).unwrap();
            }
        }
    }
    let report = repair(&service, false);
    assert_repaired(&report, &[Kind::MissingImage, Kind::MissingImage]);
    let image = service.json(&format!("/v2/images/{id}"))["image"].clone();
    assert_eq!(image["regions"], json!([]));
    let reason = image["error_message"].as_str().unwrap();
    assert!(reason.contains("is lost; upload it again"), "{image}");
    assert_eq!(regions(&service, other).len(), 2);
    assert_clean(&service);
    // The same content can be uploaded again.
    let again = service.import("again", "hal1", &raw_disk(2, b"lost"));
    assert_eq!(again["status"], "available", "{again}");
    assert_clean(&service);
}

#[test]
fn an_empty_store_is_taken_for_the_wrong_one() {
    let service = Service::start();
    let image = service.import("only", "hal1", &raw_disk(2, b"only"));
    let id = image["id"].as_i64().unwrap();
    for path in service
        .objects("hal1")
        .iter()
        .chain(&service.copies("hal1"))
    {
        let _ = fs::remove_file(path);
    }
    let report = repair(&service, false);
    assert_eq!(report.problems[0].state, State::Remains, "{report:#?}");
    assert_eq!(regions(&service, id), ["hal1"]);
}

#[test]
fn a_rotten_image_is_found_by_reading_it() {
    let service = Service::start();
    let id = import(&service, "rotten");
    rot(&service.objects("nbg1")[0]);
    assert!(check(&service).problems.is_empty());
    let report = repair(&service, true);
    assert_repaired(&report, &[Kind::DamagedImage]);
    assert_eq!(report.problems[0].outcome, "copied from hal1");
    assert_eq!(report.problems[0].images, [id]);
    assert_clean(&service);

    // Cut off, which its size shows.
    let path = &service.objects("hal1")[0];
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    let file = File::options().write(true).open(path).unwrap();
    file.set_len(1000).unwrap();
    let report = repair(&service, false);
    assert_repaired(&report, &[Kind::DamagedImage]);
    assert_clean(&service);
}

#[test]
fn what_is_rotten_everywhere_fails() {
    let service = Service::start();
    let id = import(&service, "rotten");
    for region in ["hal1", "nbg1"] {
        rot(&service.objects(region)[0]);
        for path in service.copies(region) {
            if service.s3.is_some() {
                fs::remove_file(path).unwrap();
            }
        }
    }
    let report = repair(&service, true);
    assert_repaired(&report, &[Kind::DamagedImage, Kind::DamagedImage]);
    assert_eq!(service.stored("hal1") + service.stored("nbg1"), 0);
    let image = service.json(&format!("/v2/images/{id}"))["image"].clone();
    let reason = image["error_message"].as_str().unwrap();
    assert!(reason.contains("is damaged; upload it again"), "{image}");
}

#[test]
fn what_is_nobodys_is_removed_and_machines_are_put_aside() {
    let service = Service::start();
    let id = import(&service, "kept");
    let upload = service.upload(4000);
    assert_eq!(service.patch(&upload, 0, &[7; 1000]).status(), 204);
    let hal1 = service.data().join("regions/hal1");
    let name = format!("{}.qcow2", "ab".repeat(32));
    let image = service.objects("hal1")[0].with_file_name(name);
    let files = [
        service.data().join("uploads/forgotten"),
        service.data().join("staging/4711"),
        hal1.join("incoming/.tmpabc"),
    ];
    fs::write(&image, b"nobody's").unwrap();
    for file in &files {
        fs::write(file, b"nobody's").unwrap();
    }
    // Young, and so perhaps about to get their rows.
    let report = check(&service);
    let kinds: Vec<_> = report.problems.iter().map(|p| p.kind).collect();
    assert_eq!(kinds, [Kind::OrphanImage]);
    files.iter().for_each(|file| age(file));
    fs::create_dir(hal1.join("vms/4711")).unwrap();
    fs::write(hal1.join("vms/4711/disk.qcow2"), b"somebody's").unwrap();

    let report = repair(&service, false);
    let kinds = [
        Kind::OrphanUpload,
        Kind::OrphanFile,
        Kind::OrphanImage,
        Kind::OrphanFile,
        Kind::OrphanMachine,
    ];
    assert_repaired(&report, &kinds);
    assert!(!image.exists() && files.iter().all(|file| !file.exists()));
    assert!(hal1.join("lost/4711/disk.qcow2").exists());
    assert_clean(&service);
    assert_eq!(regions(&service, id).len(), 2);
    assert_eq!(service.patch(&upload, 1000, &[7; 1000]).status(), 204);
}

#[test]
fn an_upload_that_lost_acknowledged_bytes_fails() {
    let service = Service::start();
    let upload = service.upload(4 << 20);
    let request = json!({"name": "short", "upload": upload, "region": "hal1"});
    assert_eq!(service.call("POST", "/v2/images", &request).status(), 202);
    let disk = raw_disk(4, b"short");
    assert_eq!(service.patch(&upload, 0, &disk[..3 << 20]).status(), 204);
    let path = service.data().join("uploads").join(&upload);
    let file = File::options().write(true).open(path).unwrap();
    file.set_len(1 << 20).unwrap();

    assert_eq!(check(&service).problems[0].kind, Kind::ShortUpload);
    assert_repaired(&repair(&service, false), &[Kind::ShortUpload]);
    let answer = service.patch(&upload, 3 << 20, &disk[3 << 20..]);
    assert_eq!(answer.status(), 422, "{}", answer.body());
    let image = service.json("/v2/images/1")["image"].clone();
    let reason = image["error_message"].as_str().unwrap();
    assert!(reason.contains("send the file again"), "{image}");
    assert_clean(&service);
}

#[test]
fn a_store_that_is_away_is_no_loss() {
    let mut service = Service::start_on(None, "");
    service.import("there", "hal1", &raw_disk(2, b"there"));
    service.stop();
    let images = service.data().join("regions/hal1/images");
    fs::rename(&images, images.with_file_name("away")).unwrap();
    let report = repair(&service, true);
    assert!(report.problems.is_empty(), "{report:#?}");
    assert!(report.unchecked[0].reason.contains("is it mounted?"));
    fs::rename(images.with_file_name("away"), &images).unwrap();
    assert_clean(&service);
}
