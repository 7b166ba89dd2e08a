//! Images in buckets of an S3 service.

use std::fs;
use std::path::Path;

use serde_json::json;
use sha2::{Digest, Sha256};

use crate::s3::{Mood, S3};
use crate::service::{Service, body, raw_disk, wait_for};

fn start() -> Service {
    Service::start_on(Some(S3::start()), "")
}

fn s3(service: &Service) -> &S3 {
    service.s3.as_ref().unwrap()
}

fn sha256(path: &Path) -> String {
    hex::encode(Sha256::digest(fs::read(path).unwrap()))
}

fn transfer(service: &Service, image: i64, region: &str) -> serde_json::Value {
    let request = json!({"type": "transfer", "region": region});
    let answer = service.call("POST", &format!("/v2/images/{image}/actions"), &request);
    assert_eq!(answer.status(), 201, "{}", answer.body());
    let action = body(&answer)["action"]["id"].as_i64().unwrap();
    wait_for(|| {
        let action = service.json(&format!("/v2/actions/{action}"))["action"].clone();
        (action["status"] != "in-progress").then_some(action)
    })
}

/// A disk whose canonical form takes several parts.
fn large_disk() -> Vec<u8> {
    let noise = std::iter::repeat_with(rand::random::<u128>).take((34 << 20) / 16);
    raw_disk(36, &noise.flat_map(u128::to_ne_bytes).collect::<Vec<_>>())
}

#[test]
fn images_go_to_the_bucket_and_from_bucket_to_bucket_unchanged() {
    let service = start();
    let image = service.import("large", "hal1", &large_disk());
    assert_eq!(image["status"], "available", "{image}");
    let id = image["id"].as_i64().unwrap();
    let digest = image["abbild"]["digest"].as_str().unwrap();
    let digest = digest.strip_prefix("sha256:").unwrap();
    assert_eq!(service.objects("hal1").len(), 1);
    assert_eq!(sha256(&service.objects("hal1")[0]), digest);
    assert!(service.objects("hal1")[0].ends_with(format!("{digest}.qcow2")));

    let action = transfer(&service, id, "nbg1");
    assert_eq!(action["status"], "completed", "{action}");
    assert_eq!(sha256(&service.objects("nbg1")[0]), digest);
    assert!(service.copies("nbg1").is_empty(), "not by way of this host");

    let answer = service.call("DELETE", &format!("/v2/images/{id}"), &json!({}));
    assert_eq!(answer.status(), 204);
    wait_for(|| (service.stored("hal1") + service.stored("nbg1") == 0).then_some(()));
    assert!(service.copies("hal1").is_empty());
    service.nothing_left();
}

#[test]
fn a_region_that_has_the_digest_gets_no_bytes() {
    let service = start();
    let disk = raw_disk(4, b"same");
    let first = service.import("first", "hal1", &disk);
    transfer(&service, first["id"].as_i64().unwrap(), "nbg1");
    let writes = s3(&service).writes();
    let second = service.import("second", "hal1", &disk);
    let action = transfer(&service, second["id"].as_i64().unwrap(), "nbg1");
    assert_eq!(action["status"], "completed", "{action}");
    assert_eq!(s3(&service).writes(), writes);
    assert_eq!(service.stored("nbg1"), 1);
}

#[test]
fn a_damaged_object_is_not_copied() {
    let service = start();
    let image = service.import("damaged", "hal1", &raw_disk(4, b"whole"));
    let object = &service.objects("hal1")[0];
    let mut bytes = fs::read(object).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(object, bytes).unwrap();
    let action = transfer(&service, image["id"].as_i64().unwrap(), "nbg1");
    assert_eq!(action["status"], "errored");
    let image = service.json(&format!("/v2/images/{}", image["id"]));
    assert!(image.to_string().contains("damaged"), "{image}");
    assert_eq!(service.stored("nbg1"), 0);
}

#[test]
fn a_machine_gets_its_image_from_the_bucket() {
    let service = start();
    let image = service.import("boot", "hal1", &raw_disk(4, b"boot"));
    for copy in service.copies("hal1") {
        fs::remove_file(copy).unwrap();
    }
    let request =
        json!({"name": "vm", "region": "hal1", "size": "s-1vcpu-1gb", "image": image["id"]});
    let answer = service.call("POST", "/v2/droplets", &request);
    assert_eq!(answer.status(), 202, "{}", answer.body());
    let id = body(&answer)["droplet"]["id"].as_i64().unwrap();
    wait_for(|| {
        let droplet = service.json(&format!("/v2/droplets/{id}"))["droplet"].clone();
        (droplet["status"] == "active").then_some(())
    });
    assert_eq!(service.copies("hal1").len(), 1);
}

#[test]
fn a_service_that_errs_for_a_while_is_borne_with() {
    let service = start();
    s3(&service).set_mood(Mood::Erring);
    let disk = raw_disk(4, b"patience");
    let upload = service.upload(disk.len());
    let request = json!({"name": "patience", "upload": upload, "region": "hal1"});
    let answer = service.call("POST", "/v2/images", &request);
    let id = body(&answer)["image"]["id"].as_i64().unwrap();
    let requests = s3(&service).requests();
    service.patch(&upload, 0, &disk);
    wait_for(|| (s3(&service).requests() > requests + 2).then_some(()));
    s3(&service).set_mood(Mood::Well);
    assert_eq!(service.ended(id)["status"], "available");
}

#[test]
fn a_service_that_stalls_fails_the_import_with_the_reason() {
    let service = Service::start_on(Some(S3::start()), "[limits]\njob_retries = 0\n");
    s3(&service).set_mood(Mood::Stalling);
    let image = service.import("stalled", "hal1", &raw_disk(4, b"stalled"));
    assert_eq!(image["status"], "deleted");
    let reason = image["error_message"].as_str().unwrap();
    assert!(reason.contains("storing the image"), "{reason}");
    assert!(reason.contains("bucket"), "{reason}");
    s3(&service).set_mood(Mood::Well);
    service.nothing_left();
    assert_eq!(service.stored("hal1"), 0);
}
