//! A backup while the service runs, and a service that goes on from it.

use std::fs;

use abbild_service::operator::backup::{BackupReport, Restored, restore};
use abbild_service::operator::fsck::Options;
use serde_json::json;

use crate::service::{Service, block_on, raw_disk, wait_for};

fn backup(service: &Service, directory: &std::path::Path, images: bool) -> BackupReport {
    service.operate(async |operator| {
        let report = operator.backup(directory, images, &|_| {}).await;
        report.unwrap()
    })
}

fn put_back(service: &Service, directory: &std::path::Path) -> Result<Restored, String> {
    let config = service.config();
    block_on(restore(&config, directory, &|_| {})).map_err(|error| format!("{error:#}"))
}

/// A service that was never started.
fn nothing_yet() -> Service {
    let mut service = Service::start();
    service.stop();
    if service.database_url().starts_with("postgres") {
        service.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public");
    }
    fs::remove_dir_all(service.data()).unwrap();
    service
}

#[test]
fn a_service_goes_on_from_a_backup() {
    let service = Service::start();
    let first = service.import("first", "hal1", &raw_disk(2, b"first"));
    let directory = service.directory.path().join("backup");
    let report = backup(&service, &directory, true);
    assert_eq!((report.copied, report.missing.len()), (1, 0));
    assert_eq!(backup(&service, &directory, true).copied, 0);

    let path = format!("/v2/images/{}", first["id"]);
    assert_eq!(service.call("DELETE", &path, &json!({})).status(), 204);
    let request = json!({"type": "transfer", "region": "nbg1"});
    let kept = service.import("kept", "hal1", &raw_disk(2, b"kept"))["id"].clone();
    let path = format!("/v2/images/{kept}/actions");
    assert_eq!(service.call("POST", &path, &request).status(), 201);
    wait_for(|| {
        let image = service.json(&format!("/v2/images/{kept}"));
        let regions = image["image"]["regions"].as_array().unwrap().len();
        (regions == 2).then_some(())
    });
    let upload = service.upload(4000);
    let request = json!({"name": "waiting", "upload": upload, "region": "hal1"});
    assert_eq!(service.call("POST", "/v2/images", &request).status(), 202);
    service.execute(&format!(
            "INSERT INTO droplets (account_id, name, region, size, image_id, digest, address, \
             ssh_port, ssh_keys, tags, created_at, status, on_host, node) VALUES (1, 'web', 'hal1', \
             's-1vcpu-1gb', {kept}, 'none', '127.99.0.2', 22, '[]', '[]', 0, 'active', 1, 'n')"
        ),
    );
    let report = backup(&service, &directory, true);
    assert_eq!((report.copied, report.manifest.images.len()), (1, 1));
    let files = fs::read_dir(directory.join("images")).unwrap().count();
    assert_eq!(files, 1, "what only an earlier backup had is gone");

    let mut other = nothing_yet();
    let restored = put_back(&other, &directory).unwrap();
    assert_eq!((restored.images, restored.missing.len()), (2, 0));
    assert_eq!((restored.uploads, restored.droplets), (1, 1));
    let again = put_back(&other, &directory).unwrap_err();
    assert!(again.contains("a restore begins with nothing"), "{again}");

    other.token.clone_from(&service.token);
    other.resume();
    other.execute("UPDATE droplets SET digest = (SELECT digest FROM images WHERE name = 'kept')");
    let deep = Options {
        deep: true,
        repair: false,
    };
    let fsck = other.operate(async |operator| operator.fsck(deep, &|_| {}).await.unwrap());
    assert!(fsck.problems.is_empty(), "{fsck:#?}");
    let image = other.json(&format!("/v2/images/{kept}"))["image"].clone();
    assert_eq!(image["regions"], json!(["hal1", "nbg1"]));
    let images = other.json("/v2/images?private=true")["images"].clone();
    assert_eq!(images[0]["name"], "waiting");
    let reason = images[0]["error_message"].as_str().unwrap();
    assert!(reason.contains("restored from a backup"), "{reason}");
    let droplet = other.json("/v2/droplets")["droplets"][0].clone();
    assert_eq!(droplet["status"], "off");
    // Both go on, each for itself.
    let more = other.import("more", "nbg1", &raw_disk(2, b"more"));
    assert_eq!(more["status"], "available");
}

#[test]
fn a_damaged_backup_is_not_put_back() {
    let service = Service::start();
    service.import("kept", "hal1", &raw_disk(2, b"kept"));
    let directory = service.directory.path().join("backup");
    backup(&service, &directory, true);
    let database = fs::read_dir(&directory).unwrap().map(|e| e.unwrap().path());
    let is_database = |path: &std::path::PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.starts_with("abbild-")
    };
    let database = database.into_iter().find(is_database).unwrap();
    let whole = fs::read(&database).unwrap();
    fs::write(&database, &whole[..whole.len() - 1]).unwrap();
    let other = nothing_yet();
    let error = put_back(&other, &directory).unwrap_err();
    assert!(error.contains("is damaged"), "{error}");

    // Without an image the rest is put back, and it is said.
    fs::write(&database, &whole).unwrap();
    for image in fs::read_dir(directory.join("images")).unwrap() {
        fs::remove_file(image.unwrap().path()).unwrap();
    }
    let restored = put_back(&other, &directory).unwrap();
    assert_eq!((restored.images, restored.missing.len()), (0, 1));
}

#[test]
fn a_directory_with_something_else_is_left_alone() {
    let service = Service::start();
    let directory = service.directory.path().join("home");
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("thesis"), b"mine").unwrap();
    let error = service.operate(async |operator| {
        let report = operator.backup(&directory, false, &|_| {}).await;
        format!("{:#}", report.unwrap_err())
    });
    assert!(error.contains("name another directory"), "{error}");
}
