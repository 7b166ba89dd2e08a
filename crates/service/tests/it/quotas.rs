//! How much an account may have, by configuration and by its operator's word.

use abbild_api::Quota;
use abbild_service::config::Limit;
use serde_json::{Value, json};

use crate::accounts::second_account;
use crate::service::{Service, body, raw_disk};

fn used(service: &Service, quota: &str) -> (Value, Value) {
    let account = service.json("/v2/account")["account"].clone();
    let all = account["abbild"]["quotas"].as_array().unwrap().clone();
    let one = all.iter().find(|one| one["quota"] == quota).unwrap();
    (one["used"].clone(), one["limit"].clone())
}

fn allow(service: &Service, quota: Quota, limit: Option<Limit>) {
    service.operate(async |operator| {
        let limits = [(quota, limit)];
        operator.set_quotas(None, &limits).await.unwrap();
    });
}

/// Asks for an image of a new upload.
fn image(service: &Service) -> (u16, Value) {
    let upload = service.upload(512);
    let request = json!({"name": "one", "upload": upload, "region": "hal1"});
    let answer = service.call("POST", "/v2/images", &request);
    (answer.status().as_u16(), body(&answer))
}

#[test]
fn images_are_counted_unless_they_failed() {
    let mut service = Service::start_with("[quotas]\nimages = 1");
    let failed = service.import("no disk", "hal1", &[0; 512]);
    assert_eq!(failed["abbild"]["stage"], "failed");
    assert_eq!(image(&service).0, 202);
    let (status, answer) = image(&service);
    assert_eq!(status, 422);
    let message = answer["message"].as_str().unwrap();
    assert!(
        message.contains("quota `images` is 1; 1 are used"),
        "{message}"
    );
    assert_eq!(used(&service, "images"), (json!(1), json!(1)));
    let url = json!({"name": "one", "url": "http://192.0.2.1/x", "region": "hal1"});
    let files = || {
        std::fs::read_dir(service.data().join("uploads"))
            .unwrap()
            .count()
    };
    let before = files();
    assert_eq!(service.call("POST", "/v2/images", &url).status(), 422);
    assert_eq!(files(), before, "nothing is left of what was refused");

    allow(&service, Quota::Images, Some(Limit(Some(2))));
    assert_eq!(image(&service).0, 202);
    assert_eq!(image(&service).0, 422);
    allow(&service, Quota::Images, Some(Limit(None)));
    assert_eq!(image(&service).0, 202);
    assert_eq!(used(&service, "images"), (json!(3), Value::Null));
    allow(&service, Quota::Images, None);
    assert_eq!(used(&service, "images"), (json!(3), json!(1)));
    assert_eq!(image(&service).0, 422);

    let log = service.json("/v2/account/audit")["audit"].clone();
    let entry = &log
        .as_array()
        .unwrap()
        .iter()
        .find(|e| e["action"] == "quota.set");
    assert_eq!(entry.unwrap()["detail"], "images=default");
    assert_eq!(entry.unwrap()["actor"]["type"], "operator");

    // The others' limits and use are their own.
    service.token = second_account(&service);
    assert_eq!(used(&service, "images"), (json!(0), json!(1)));
    assert_eq!(image(&service).0, 202);
}

#[test]
fn stored_bytes_are_counted_in_every_region() {
    let service = Service::start();
    let disk = raw_disk(4, b"stored");
    let first = service.import("first", "hal1", &disk);
    let (stored, _) = used(&service, "stored_bytes");
    let stored = u64::try_from(stored.as_i64().unwrap()).unwrap();
    assert!(stored > 0);

    allow(
        &service,
        Quota::StoredBytes,
        Some(Limit(Some(stored * 2 - 1))),
    );
    let transfer = json!({"type": "transfer", "region": "nbg1"});
    let path = format!("/v2/images/{}/actions", first["id"]);
    let answer = service.call("POST", &path, &transfer);
    assert_eq!(answer.status(), 422, "{}", answer.body());
    let known = json!({"name": "known", "digest": first["abbild"]["digest"], "region": "hal1"});
    let answer = service.call("POST", "/v2/images", &known);
    assert_eq!(answer.status(), 422, "{}", answer.body());
    // How small it becomes is known when it is encoded.
    let other = service.import("second", "hal1", &raw_disk(4, b"others"));
    assert_eq!(other["abbild"]["stage"], "failed");
    let reason = other["error_message"].as_str().unwrap();
    assert!(reason.contains("quota `stored_bytes`"), "{reason}");
    assert_eq!(service.stored("hal1"), 1);
    service.nothing_left();

    allow(&service, Quota::StoredBytes, Some(Limit(Some(stored * 2))));
    let answer = service.call("POST", &path, &transfer);
    assert_eq!(answer.status(), 201, "{}", answer.body());
    assert_eq!(used(&service, "stored_bytes").0, stored * 2);
    assert_eq!(image(&service).0, 422, "something must fit");
}

#[test]
fn machines_are_counted_with_what_they_take() {
    let service =
        Service::start_with("[quotas]\ndroplets = 3\nvcpus = 3\nmemory_bytes = \"3 GiB\"");
    assert_eq!(service.json("/v2/account")["account"]["droplet_limit"], 3);
    let image = service.import("one", "hal1", &raw_disk(4, b"x"));
    let create = |names: &[&str], size: &str| {
        let request = json!({
            "names": names, "size": size, "image": image["id"], "region": "hal1",
        });
        let answer = service.call("POST", "/v2/droplets", &request);
        let message = body(&answer)["message"].as_str().map(str::to_owned);
        (answer.status().as_u16(), message.unwrap_or_default())
    };
    let refused = |names: &[&str], size: &str, quota: &str| {
        let (status, message) = create(names, size);
        assert_eq!(status, 422);
        assert!(message.contains(&format!("quota `{quota}`")), "{message}");
    };
    refused(&["a", "b", "c", "d"], "s-1vcpu-512mb-10gb", "droplets");
    refused(&["a", "b"], "s-2vcpu-2gb", "vcpus");
    refused(&["a", "b"], "s-1vcpu-2gb", "memory_bytes");
    assert_eq!(create(&["a"], "s-1vcpu-512mb-10gb").0, 202);
    assert_eq!(used(&service, "vcpus").0, 1);
    assert_eq!(used(&service, "memory_bytes").0, 512 << 20);
    refused(&["b"], "s-2vcpu-4gb", "memory_bytes");
    allow(&service, Quota::Droplets, Some(Limit(None)));
    let limit = &service.json("/v2/account")["account"]["droplet_limit"];
    assert_eq!(*limit, i64::from(i32::MAX));
    let id = service.json("/v2/droplets")["droplets"][0]["id"].clone();
    service.send("DELETE", &format!("/v2/droplets/{id}"), &[], b"");
    assert_eq!(used(&service, "droplets").0, 0);
}
