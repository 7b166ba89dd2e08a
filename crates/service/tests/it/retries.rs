//! What is the service's own fault costs no upload and fails no image while it may pass.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::s3::Mood;
use crate::service::{Service, body, raw_disk, wait_for};

/// Where a region's store writes what is not whole yet.
fn incoming(service: &Service, region: &str) -> PathBuf {
    service.data().join("regions").join(region).join("incoming")
}

/// Makes a store one that nothing can be written to.
fn break_store(service: &Service, region: &str) {
    std::fs::remove_dir_all(incoming(service, region)).unwrap();
    std::fs::write(incoming(service, region), b"").unwrap();
    if let Some(s3) = &service.s3 {
        s3.set_mood(Mood::Erring);
    }
}

fn mend_store(service: &Service, region: &str) {
    std::fs::remove_file(incoming(service, region)).unwrap();
    std::fs::create_dir(incoming(service, region)).unwrap();
    if let Some(s3) = &service.s3 {
        s3.set_mood(Mood::Well);
    }
}

fn begin_import(service: &Service, bytes: &[u8]) -> i64 {
    let upload = service.upload(bytes.len());
    assert_eq!(service.patch(&upload, 0, bytes).status(), 204);
    let request = json!({"name": "patient", "upload": upload, "region": "hal1"});
    let answer = service.call("POST", "/v2/images", &request);
    assert_eq!(answer.status(), 202, "{}", answer.body());
    body(&answer)["image"]["id"].as_i64().unwrap()
}

/// The image, once an attempt to import it has failed.
fn set_back(service: &Service, id: i64) -> Value {
    wait_for(|| {
        let image = service.json(&format!("/v2/images/{id}"))["image"].clone();
        image["abbild"]["setback"].is_string().then_some(image)
    })
}

#[test]
fn an_import_waits_for_its_store_over_a_restart() {
    let mut service = Service::start();
    break_store(&service, "hal1");
    let id = begin_import(&service, &raw_disk(4, b"kept"));
    let image = set_back(&service, id);
    assert_eq!(image["status"], "pending", "{image}");
    assert_eq!(image["error_message"], "");
    let reason = image["abbild"]["setback"].as_str().unwrap();
    assert!(
        reason.contains("creating a file in the region's store"),
        "{reason}"
    );
    let upload = image["abbild"]["upload"].as_str().unwrap();
    assert!(service.data().join("uploads").join(upload).is_file());
    let actions = service.json(&format!("/v2/images/{id}/actions"));
    assert_eq!(actions["actions"][0]["status"], "in-progress");
    assert_eq!(actions["actions"][0]["abbild"]["reason"], reason);

    service.stop();
    mend_store(&service, "hal1");
    service.resume();
    let image = service.ended(id);
    assert_eq!(image["status"], "available", "{image}");
    assert_eq!(image["abbild"]["setback"], Value::Null);
    service.nothing_left();
}

#[test]
fn patience_has_an_end() {
    let service = Service::start_with("[limits]\njob_retries = 1");
    break_store(&service, "hal1");
    let id = begin_import(&service, &raw_disk(4, b"given up"));
    let image = service.ended(id);
    assert_eq!(image["status"], "deleted", "{image}");
    let reason = image["error_message"].as_str().unwrap();
    assert!(reason.ends_with("(tried 2 times)"), "{reason}");
    mend_store(&service, "hal1");
    service.nothing_left();
}

#[test]
fn an_image_that_waits_can_be_deleted() {
    let service = Service::start();
    break_store(&service, "hal1");
    let id = begin_import(&service, &raw_disk(4, b"deleted"));
    set_back(&service, id);
    let answer = service.send("DELETE", &format!("/v2/images/{id}"), &[], b"");
    assert_eq!(answer.status(), 204, "{}", answer.body());
    mend_store(&service, "hal1");
    service.nothing_left();
    let actions = service.json("/v2/actions");
    assert_eq!(actions["actions"][0]["status"], "errored");
}

#[test]
fn a_copy_to_a_region_is_tried_again() {
    let service = Service::start();
    let image = service.import("copied", "hal1", &raw_disk(4, b"copied"));
    let id = image["id"].as_i64().unwrap();
    break_store(&service, "nbg1");
    let request = json!({"type": "transfer", "region": "nbg1"});
    let path = format!("/v2/images/{id}/actions");
    assert_eq!(service.call("POST", &path, &request).status(), 201);
    let copy =
        || service.json(&format!("/v2/images/{id}"))["image"]["abbild"]["regions"][1].clone();
    let waiting = wait_for(|| Some(copy()).filter(|copy| copy["reason"].is_string()));
    assert_eq!(waiting["status"], "pending", "{waiting}");
    mend_store(&service, "nbg1");
    wait_for(|| (copy()["status"] == "available").then_some(()));
    assert_eq!(copy()["reason"], Value::Null);
    assert_eq!(service.stored("nbg1"), 1);
}
