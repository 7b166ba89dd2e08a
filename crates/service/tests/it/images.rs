//! An image's life: import, regions, failure, deletion.

use serde_json::{Value, json};

use crate::service::{Service, body, raw_disk, wait_for};

const FIELDS: [&str; 8] = [
    "id",
    "name",
    "distribution",
    "slug",
    "public",
    "regions",
    "created_at",
    "min_disk_size",
];

fn id(image: &Value) -> i64 {
    image["id"].as_i64().unwrap()
}

#[test]
fn an_import_ends_in_the_canonical_image_and_leaves_nothing_else() {
    let service = Service::start();
    let image = service.import("one", "hal1", &raw_disk(8, b"content"));
    assert_eq!(image["status"], "available", "{image}");
    for field in FIELDS {
        assert!(image.get(field).is_some(), "{field}");
    }
    assert_eq!(image["type"], "custom");
    assert_eq!(image["regions"], json!(["hal1"]));
    assert_eq!(image["error_message"], "");
    assert_eq!(image["min_disk_size"], 1);
    let digest = image["abbild"]["digest"].as_str().unwrap();
    let digest = digest.strip_prefix("sha256:").unwrap();
    let file = service
        .data()
        .join(format!("regions/hal1/images/{digest}.qcow2"));
    assert!(file.is_file());
    service.nothing_left();

    let report = service.json(&format!("/v2/images/{}/report?lang=de", id(&image)));
    assert_eq!(report["lang"], "de");
    assert_eq!(report["findings"].as_array().unwrap().len(), 7);

    // The same disk, however it comes, is stored once; another is not.
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gz, &raw_disk(8, b"content")).unwrap();
    let same = service.import("two", "hal1", &gz.finish().unwrap());
    assert_eq!(same["abbild"]["digest"], image["abbild"]["digest"]);
    assert_eq!(same["abbild"]["format"], "raw+gzip");
    assert_eq!(service.stored("hal1"), 1);
    service.import("three", "hal1", &raw_disk(8, b"other"));
    assert_eq!(service.stored("hal1"), 2);

    let page = service.json("/v2/images?per_page=2&private=true");
    assert_eq!(page["meta"]["total"], 3);
    assert_eq!(page["images"][0]["name"], "three");
    assert!(
        page["links"]["pages"]["next"]
            .as_str()
            .unwrap()
            .contains("private=true")
    );
    assert_eq!(
        service.json("/v2/images?type=distribution")["images"],
        json!([])
    );
}

#[test]
fn a_failed_import_says_why_and_stays_listed() {
    let service = Service::start();
    for (name, bytes, reason) in [
        ("noise", vec![0x5a; 1 << 20], "partition table"),
        ("empty", Vec::new(), "empty"),
        ("cut", raw_disk(4, b"")[..2 << 20].to_vec(), "cut off"),
        (
            "gzip",
            b"\x1f\x8b\x08\x00\0\0\0\0\0\x03garbage".to_vec(),
            "gzip",
        ),
    ] {
        let image = service.import(name, "hal1", &bytes);
        assert_eq!(image["status"], "deleted", "{image}");
        assert_eq!(image["abbild"]["stage"], "failed");
        let message = image["error_message"].as_str().unwrap();
        assert!(message.contains(reason), "{name}: {message}");
        assert_eq!(image["regions"], json!([]));
        let actions = service.json(&format!("/v2/images/{}/actions", id(&image)));
        assert_eq!(actions["actions"][0]["status"], "errored");
        assert_eq!(actions["actions"][0]["abbild"]["reason"], message);
        let transfer = json!({"type": "transfer", "region": "nbg1"});
        let answer = service.call(
            "POST",
            &format!("/v2/images/{}/actions", id(&image)),
            &transfer,
        );
        assert_eq!(answer.status(), 422);
    }
    assert_eq!(service.json("/v2/images")["meta"]["total"], 4);
    service.nothing_left();
    assert_eq!(service.stored("hal1"), 0);
}

#[test]
fn regions_are_added_at_once_or_later_and_only_once() {
    let service = Service::start();
    let image = service.import("one", "hal1", &raw_disk(8, b"content"));
    let path = format!("/v2/images/{}/actions", id(&image));
    let elsewhere = json!({"type": "transfer", "region": "mars"});
    assert_eq!(service.call("POST", &path, &elsewhere).status(), 422);
    let unknown = json!({"type": "frobnicate", "region": "nbg1"});
    assert_eq!(service.call("POST", &path, &unknown).status(), 422);

    let transfer = json!({"type": "transfer", "region": "nbg1"});
    let answer = service.call("POST", &path, &transfer);
    assert_eq!(answer.status(), 201);
    let action = body(&answer)["action"].clone();
    assert_eq!(action["type"], "transfer");
    assert_eq!(action["region"]["slug"], "nbg1");
    let done = wait_for(|| {
        let action = service.json(&format!("/v2/actions/{}", action["id"]))["action"].clone();
        (!action["completed_at"].is_null()).then_some(action)
    });
    assert_eq!(done["status"], "completed");
    let shown = service.json(&format!("/v2/images/{}", id(&image)))["image"].clone();
    assert_eq!(shown["regions"], json!(["hal1", "nbg1"]));
    assert_eq!(service.stored("nbg1"), 1);

    let again = body(&service.call("POST", &path, &transfer))["action"].clone();
    assert_eq!(again["status"], "completed", "present already");
    assert!(!again["completed_at"].is_null());

    let upload = service.upload(8 << 20);
    let both = json!({"name": "both", "upload": upload, "regions": ["nbg1", "hal1"]});
    let both = id(&body(&service.call("POST", "/v2/images", &both))["image"]);
    service.patch(&upload, 0, &raw_disk(8, b"both"));
    wait_for(|| {
        let image = service.json(&format!("/v2/images/{both}"))["image"].clone();
        (image["regions"] == json!(["nbg1", "hal1"])).then_some(())
    });
}

#[test]
fn a_deleted_image_is_a_tombstone_and_its_file_goes_with_the_last_user() {
    let service = Service::start();
    let disk = raw_disk(8, b"content");
    let first = service.import("first", "hal1", &disk);
    let second = service.import("second", "hal1", &disk);
    let path = format!("/v2/images/{}", id(&first));
    let renamed = service.call(
        "PUT",
        &path,
        &json!({"name": "new", "distribution": "Unkown"}),
    );
    assert_eq!(body(&renamed)["image"]["name"], "new");
    assert_eq!(body(&renamed)["image"]["distribution"], "Unknown");

    let deleted = service.send("DELETE", &path, &[], b"");
    assert_eq!(
        (deleted.status().as_u16(), deleted.body().as_str()),
        (204, "")
    );
    let tombstone = service.json(&path)["image"].clone();
    assert_eq!(tombstone["status"], "deleted");
    assert_eq!(tombstone["error_message"], "");
    let again = service.send("DELETE", &path, &[], b"");
    assert_eq!(again.status(), 422);
    assert_eq!(
        body(&again)["message"],
        "Image Can not delete an already deleted image."
    );
    assert_eq!(service.json("/v2/images")["meta"]["total"], 1);
    assert_eq!(service.stored("hal1"), 1, "the second image needs the file");
    service.send("DELETE", &format!("/v2/images/{}", id(&second)), &[], b"");
    wait_for(|| (service.stored("hal1") == 0).then_some(()));
}

#[test]
fn an_import_that_was_interrupted_begins_again() {
    let mut service = Service::start();
    let disk = raw_disk(8, b"content");
    let upload = service.upload(disk.len());
    assert_eq!(service.patch(&upload, 0, &disk).status(), 204);
    service.stop();
    // As after a crash in the middle: the job is leased, and its files are half written.
    std::fs::write(service.data().join("staging/1"), b"half").unwrap();
    std::fs::write(service.data().join("regions/hal1/incoming/half"), b"half").unwrap();
    service.resume();
    let request = json!({"name": "late", "upload": upload, "region": "hal1"});
    let image = body(&service.call("POST", "/v2/images", &request))["image"].clone();
    assert_eq!(image["status"], "pending");
    assert_eq!(service.ended(id(&image))["status"], "available");
    service.nothing_left();
}
