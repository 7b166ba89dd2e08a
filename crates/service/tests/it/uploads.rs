//! tus 1.0.0 as its specification has it, and what survives a restart.

use serde_json::json;

use crate::service::{Service, body, raw_disk, wait_for};

const TUS: (&str, &str) = ("tus-resumable", "1.0.0");

#[test]
fn the_server_says_what_it_can_do() {
    let service = Service::start();
    let answer = service.send("OPTIONS", "/v2/uploads", &[], b"");
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["tus-version"], "1.0.0");
    assert_eq!(
        answer.headers()["tus-extension"],
        "creation,creation-with-upload,creation-defer-length,checksum,checksum-trailer,\
         expiration,termination,concatenation"
    );
    assert!(answer.headers().contains_key("tus-max-size"));
    let algorithms = answer.headers()["tus-checksum-algorithm"].to_str().unwrap();
    assert_eq!(algorithms, "sha256,sha1,sha512,md5,crc32c");
}

#[test]
fn an_upload_is_appended_to_only_at_its_end() {
    let service = Service::start();
    assert_eq!(service.send("POST", "/v2/uploads", &[], b"").status(), 412);
    assert_eq!(
        service.send("POST", "/v2/uploads", &[TUS], b"").status(),
        400
    );
    let too_long = [TUS, ("upload-length", "999999999999999")];
    assert_eq!(
        service.send("POST", "/v2/uploads", &too_long, b"").status(),
        413
    );

    let id = service.upload(10);
    let path = format!("/v2/uploads/{id}");
    let wrong_type = [TUS, ("upload-offset", "0"), ("content-type", "text/plain")];
    assert_eq!(
        service.send("PATCH", &path, &wrong_type, b"x").status(),
        415
    );
    assert_eq!(service.patch(&id, 5, b"x").status(), 409);
    let first = service.patch(&id, 0, b"01234");
    assert_eq!(first.status(), 204);
    assert_eq!(first.headers()["upload-offset"], "5");
    assert!(first.headers().contains_key("upload-expires"));
    assert_eq!(service.patch(&id, 0, b"0").status(), 409);
    assert_eq!(service.patch(&id, 5, b"567890").status(), 413);

    let head = service.send("HEAD", &path, &[TUS], b"");
    assert_eq!(head.headers()["upload-offset"], "5");
    assert_eq!(head.headers()["upload-length"], "10");
    assert_eq!(head.headers()["cache-control"], "no-store");
    let overridden = [
        TUS,
        ("upload-offset", "5"),
        ("content-type", "application/offset+octet-stream"),
        ("x-http-method-override", "PATCH"),
    ];
    assert_eq!(
        service.send("POST", &path, &overridden, b"56789").status(),
        204
    );
    let file = service.data().join("uploads").join(&id);
    assert_eq!(std::fs::read(&file).unwrap(), b"0123456789");

    assert_eq!(service.send("DELETE", &path, &[TUS], b"").status(), 204);
    assert_eq!(service.send("HEAD", &path, &[TUS], b"").status(), 404);
    assert!(!file.exists());
}

#[test]
fn an_upload_goes_on_after_a_restart_and_its_image_with_it() {
    let mut service = Service::start();
    let disk = raw_disk(4, b"restart");
    let upload = service.upload(disk.len());
    let request = json!({"name": "slow", "upload": upload, "region": "hal1"});
    let image = body(&service.call("POST", "/v2/images", &request))["image"].clone();
    assert_eq!(image["status"], "NEW");
    assert_eq!(image["abbild"]["stage"], "receiving");
    let half = disk.len() / 2;
    assert_eq!(service.patch(&upload, 0, &disk[..half]).status(), 204);
    service.stop();

    // What a crash may leave behind the counted bytes, and files of forgotten uploads.
    let file = service.data().join("uploads").join(&upload);
    let mut bytes = std::fs::read(&file).unwrap();
    bytes.extend_from_slice(b"never acknowledged");
    std::fs::write(&file, bytes).unwrap();
    std::fs::write(service.data().join("uploads/forgotten"), b"x").unwrap();
    service.resume();
    wait_for(|| (!service.data().join("uploads/forgotten").exists()).then_some(()));

    let id = image["id"].as_i64().unwrap();
    let progress = service.json(&format!("/v2/images/{id}"))["image"]["abbild"]["progress"].clone();
    assert_eq!(progress, json!({"done": half, "total": disk.len()}));
    assert_eq!(service.patch(&upload, half, &disk[half..]).status(), 204);
    let image = service.ended(id);
    assert_eq!(image["status"], "available", "{image}");
    service.nothing_left();
}

#[test]
fn giving_up_an_upload_fails_the_image_that_waits_for_it() {
    let service = Service::start();
    let upload = service.upload(100);
    let request = json!({"name": "n", "upload": upload, "regions": ["hal1", "nbg1"]});
    let image = body(&service.call("POST", "/v2/images", &request))["image"].clone();
    let taken = service.call("POST", "/v2/images", &request);
    assert_eq!(taken.status(), 422, "an upload makes one image");
    let path = format!("/v2/uploads/{upload}");
    assert_eq!(service.send("DELETE", &path, &[TUS], b"").status(), 204);
    let image = service.ended(image["id"].as_i64().unwrap());
    assert_eq!(image["status"], "deleted");
    assert_eq!(image["error_message"], "its upload was given up");
    let actions = service.json(&format!("/v2/images/{}/actions", image["id"]));
    for action in actions["actions"].as_array().unwrap() {
        assert_eq!(action["status"], "errored");
        assert!(!action["completed_at"].is_null());
    }
}
