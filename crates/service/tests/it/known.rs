//! Images from content that the account has already.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::accounts::second_account;
use crate::service::{Service, body, raw_disk};

fn import_with_checksum(service: &Service, disk: &[u8]) -> (Value, String) {
    let digest = format!("sha256:{}", hex::encode(Sha256::digest(disk)));
    let upload = service.upload(disk.len());
    let request = json!({
        "name": "first", "upload": upload, "region": "hal1", "checksum": digest,
    });
    let image = body(&service.call("POST", "/v2/images", &request));
    assert_eq!(service.patch(&upload, 0, disk).status(), 204);
    (
        service.ended(image["image"]["id"].as_i64().unwrap()),
        digest,
    )
}

fn total(service: &Service, digest: &str) -> Value {
    service.json(&format!("/v2/images?digest={digest}"))["meta"]["total"].clone()
}

#[test]
fn known_content_is_not_sent_again() {
    let service = Service::start();
    let (first, of_file) = import_with_checksum(&service, &raw_disk(4, b"known"));
    let canonical = first["abbild"]["digest"].as_str().unwrap();
    for digest in [
        canonical,
        &of_file,
        &of_file.to_uppercase().replace("SHA", "sha"),
    ] {
        assert_eq!(total(&service, digest), 1);
        let request = json!({"name": "again", "digest": digest, "regions": ["nbg1", "hal1"]});
        let answer = service.call("POST", "/v2/images", &request);
        assert_eq!(answer.status(), 202, "{}", answer.body());
        let image = service.ended(body(&answer)["image"]["id"].as_i64().unwrap());
        assert_eq!(image["status"], "available", "{image}");
        assert_eq!(image["name"], "again");
        for same in ["digest", "format", "virtual_size", "verdict"] {
            assert_eq!(image["abbild"][same], first["abbild"][same], "{same}");
        }
        let path = format!("/v2/images/{}", image["id"]);
        crate::service::wait_for(|| {
            let image = service.json(&path)["image"].clone();
            (image["regions"] == json!(["nbg1", "hal1"])).then_some(())
        });
        service.json(&format!("{path}/report"));
        assert_eq!(service.send("DELETE", &path, &[], b"").status(), 204);
    }
    // It is that of the first one alone again.
    crate::service::wait_for(|| (service.stored("nbg1") == 0).then_some(()));
    assert_eq!(service.stored("hal1"), 1);
    service.nothing_left();
}

#[test]
fn a_copy_outlives_the_image_that_it_was_made_from() {
    let service = Service::start();
    let (first, digest) = import_with_checksum(&service, &raw_disk(4, b"outlives"));
    let request = json!({"name": "second", "digest": digest, "region": "nbg1"});
    let second = body(&service.call("POST", "/v2/images", &request));
    let first = format!("/v2/images/{}", first["id"]);
    assert_eq!(service.send("DELETE", &first, &[], b"").status(), 204);
    let second = service.ended(second["image"]["id"].as_i64().unwrap());
    assert_eq!(second["status"], "available", "{second}");
    crate::service::wait_for(|| (service.stored("hal1") == 0).then_some(()));
    assert_eq!(service.stored("nbg1"), 1);
}

#[test]
fn what_another_account_has_is_not_known() {
    let mut service = Service::start();
    let (first, of_file) = import_with_checksum(&service, &raw_disk(4, b"secret"));
    let canonical = first["abbild"]["digest"].as_str().unwrap().to_owned();
    service.token = second_account(&service);
    let nowhere = format!("sha256:{}", "0".repeat(64));
    let mut answers = Vec::new();
    for digest in [&canonical, &of_file, &nowhere] {
        assert_eq!(total(&service, digest), 0);
        let request = json!({"name": "x", "digest": digest, "region": "hal1"});
        let answer = service.call("POST", "/v2/images", &request);
        assert_eq!(answer.status(), 422);
        let message = body(&answer)["message"].as_str().unwrap().to_owned();
        answers.push(message.replace(digest.as_str(), ""));
    }
    assert_eq!(answers[0], answers[2]);
    assert_eq!(answers[1], answers[2]);
    assert_eq!(total(&service, &nowhere), 0);
}

#[test]
fn a_digest_is_one_source_and_well_formed() {
    let service = Service::start();
    let good = format!("sha256:{}", "a".repeat(64));
    for (request, word) in [
        (json!({"digest": "sha256:00"}), "64"),
        (json!({"digest": "md5:00"}), "sha256"),
        (json!({"digest": good, "upload": "x"}), "several"),
        (json!({"digest": good, "url": "http://a/"}), "several"),
        (json!({"digest": good, "checksum": good}), "checksum"),
    ] {
        let mut request = request;
        request["name"] = "x".into();
        request["region"] = "hal1".into();
        let answer = service.call("POST", "/v2/images", &request);
        assert_eq!(answer.status(), 422, "{}", answer.body());
        assert!(answer.body().contains(word), "{}", answer.body());
    }
    assert_eq!(service.get("/v2/images?digest=00").status(), 422);
}
