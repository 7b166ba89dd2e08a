//! What existing clients read beside images and droplets, and what an account uses.

use serde_json::{Value, json};

use crate::droplet_actions;
use crate::service::{Service, body, raw_disk, wait_for};

/// A machine that nobody starts is enough to be asked about.
fn machine(service: &Service, image: &Value, region: &str) -> i64 {
    let request = json!({
        "name": "web", "size": "s-1vcpu-512mb-10gb", "image": image["id"], "region": region,
    });
    let answer = service.call("POST", "/v2/droplets", &request);
    assert_eq!(answer.status(), 202, "{}", answer.body());
    body(&answer)["droplet"]["id"].as_i64().unwrap()
}

#[test]
fn lists_of_what_is_not_offered_are_empty_and_still_know_whose_they_are() {
    let service = Service::start();
    let image = service.import("one", "hal1", &raw_disk(4, b"x"));
    let id = machine(&service, &image, "hal1");
    for (name, key) in [
        ("backups", "backups"),
        ("kernels", "kernels"),
        ("neighbors", "droplets"),
        ("firewalls", "firewalls"),
    ] {
        let list = service.json(&format!("/v2/droplets/{id}/{name}?page=1&per_page=200"));
        assert_eq!(list, json!({key: [], "links": {}, "meta": {"total": 0}}));
        let unknown = service.get(&format!("/v2/droplets/77/{name}"));
        assert_eq!(unknown.status(), 404, "{name}");
    }
    let list = service.json("/v2/firewalls?resource_type=droplet");
    assert_eq!(
        list,
        json!({"firewalls": [], "links": {}, "meta": {"total": 0}})
    );
}

#[test]
fn a_droplet_goes_with_everything_that_belongs_to_it() {
    let service = Service::start();
    let image = service.import("one", "hal1", &raw_disk(4, b"x"));
    let id = machine(&service, &image, "hal1");
    let path = format!("/v2/droplets/{id}/destroy_with_associated_resources");
    assert_eq!(service.json(&path)["volumes"], json!([]));
    assert_eq!(service.get(&format!("{path}/status")).status(), 404);
    let dangerous = format!("{path}/dangerous");
    let unsure = service.send("DELETE", &dangerous, &[], b"");
    assert_eq!(unsure.status(), 400);
    let sure = service.send("DELETE", &dangerous, &[("x-dangerous", "true")], b"");
    assert_eq!((sure.status().as_u16(), sure.body().as_str()), (202, ""));
    let ended = wait_for(|| {
        let status = service.json(&format!("{path}/status"));
        (!status["completed_at"].is_null()).then_some(status)
    });
    assert_eq!(ended["failures"], 0, "{ended}");
    assert_eq!(ended["droplet"]["name"], "web");
    assert_eq!(ended["droplet"]["destroyed_at"], ended["completed_at"]);
    let retry = service.send("POST", &format!("{path}/retry"), &[], b"");
    assert_eq!(retry.status(), 202);
    assert_eq!(service.json(&format!("{path}/status")), ended);
    let selective = service.send("DELETE", &format!("{path}/selective"), &[], b"{}");
    assert_eq!(selective.status(), 404, "gone already");
}

#[test]
fn a_machine_that_cannot_be_removed_is_removed_when_it_can_be() {
    let service = Service::start();
    let image = service.import("one", "hal1", &raw_disk(4, b"x"));
    let id = droplet_actions::machine(&service, &image, "web");
    droplet_actions::done(&service, id, &json!({"type": "power_off"}));
    let machine = service.data().join(format!("regions/hal1/vms/{id}"));
    // As if a QEMU lived that nobody can end.
    let lock = std::fs::File::open(machine.join("lock")).unwrap();
    lock.lock().unwrap();
    let gone = service.send("DELETE", &format!("/v2/droplets/{id}"), &[], b"");
    assert_eq!(gone.status(), 204);
    let path = format!("/v2/droplets/{id}/destroy_with_associated_resources");
    let status = || service.json(&format!("{path}/status"));
    let trouble = wait_for(|| {
        status()["droplet"]["error_message"]
            .as_str()
            .map(str::to_owned)
    });
    assert!(trouble.contains("does not end"), "{trouble}");
    assert_eq!(status()["completed_at"], json!(null));
    assert_eq!(status()["failures"], 0);
    lock.unlock().unwrap();
    let retry = service.send("POST", &format!("{path}/retry"), &[], b"");
    assert_eq!(retry.status(), 202);
    let ended = wait_for(|| {
        let status = status();
        (!status["completed_at"].is_null()).then_some(status)
    });
    assert_eq!(ended["droplet"]["error_message"], json!(null), "{ended}");
    assert!(!machine.exists());
}

#[test]
fn usage_counts_every_image_and_says_what_is_stored_once() {
    let service = Service::start();
    let first = service.import("first", "hal1", &raw_disk(4, b"x"));
    service.import("second", "hal1", &raw_disk(4, b"x"));
    service.import("broken", "hal1", &[0x5a; 4096]);
    let transfer = json!({"type": "transfer", "region": "nbg1"});
    let path = format!("/v2/images/{}/actions", first["id"]);
    assert_eq!(service.call("POST", &path, &transfer).status(), 201);
    wait_for(|| {
        let image = service.json(&format!("/v2/images/{}", first["id"]))["image"].clone();
        (image["regions"] == json!(["hal1", "nbg1"])).then_some(())
    });
    machine(&service, &first, "nbg1");
    let upload = service.upload(4096);
    service.patch(&upload, 0, &[0; 1024]);

    let usage = service.json("/v2/account/usage")["usage"].clone();
    assert_eq!(usage["images"], 3);
    let size = service.objects("hal1")[0].metadata().unwrap().len();
    let expected = json!([
        {"slug": "hal1", "images": 2, "stored_bytes": 2 * size, "unique_bytes": size, "droplets": 0},
        {"slug": "nbg1", "images": 1, "stored_bytes": size, "unique_bytes": size, "droplets": 1},
    ]);
    assert_eq!(usage["regions"], expected);
    assert_eq!(usage["stored_bytes"], 3 * size);
    assert_eq!(usage["unique_bytes"], 2 * size);
    let uploads = json!({"count": 1, "received_bytes": 1024, "announced_bytes": 4096});
    assert_eq!(usage["uploads"], uploads);
    assert_eq!(usage["droplets"]["count"], 1);
    assert_eq!(usage["droplets"]["memory"], 512);
}

#[test]
fn an_image_leaves_a_region_but_never_its_last_and_never_under_a_machine() {
    let service = Service::start();
    let image = service.import("one", "hal1", &raw_disk(4, b"x"));
    let path = format!("/v2/images/{}", image["id"]);
    let remove = |slug: &str| service.send("DELETE", &format!("{path}/regions/{slug}"), &[], b"");
    let add = || {
        let transfer = json!({"type": "transfer", "region": "nbg1"});
        let answer = service.call("POST", &format!("{path}/actions"), &transfer);
        assert_eq!(answer.status(), 201, "{}", answer.body());
        wait_for(|| {
            let image = service.json(&path)["image"].clone();
            (image["regions"] == json!(["hal1", "nbg1"])).then_some(())
        });
    };
    let message = |answer: &crate::service::Answer| body(answer)["message"].to_string();

    assert_eq!(remove("mars").status(), 404);
    assert_eq!(remove("nbg1").status(), 404, "it is not there");
    let last = remove("hal1");
    assert_eq!(last.status(), 409);
    assert!(message(&last).contains("delete the image instead"));

    add();
    let machine = machine(&service, &image, "nbg1");
    let used = remove("nbg1");
    assert_eq!(used.status(), 409);
    let named = format!("droplet {machine} `web`");
    assert!(message(&used).contains(&named), "{}", message(&used));
    assert_eq!(service.stored("nbg1"), 1);

    service.send("DELETE", &format!("/v2/droplets/{machine}"), &[], b"");
    let removed = remove("nbg1");
    assert_eq!(
        (removed.status().as_u16(), removed.body().as_str()),
        (204, "")
    );
    assert_eq!(service.json(&path)["image"]["regions"], json!(["hal1"]));
    wait_for(|| (service.stored("nbg1") == 0).then_some(()));
    let action = service.json(&format!("{path}/actions"))["actions"][0].clone();
    assert_eq!(action["type"], "remove_region");
    assert_eq!(action["status"], "completed");
    assert_eq!(action["region_slug"], "nbg1");

    add();
    assert_eq!(service.stored("nbg1"), 1);
    let convert = service.call(
        "POST",
        &format!("{path}/actions"),
        &json!({"type": "convert"}),
    );
    assert_eq!(convert.status(), 201);
    assert_eq!(body(&convert)["action"]["status"], "completed");
}

#[test]
fn a_copy_that_was_called_off_does_not_come_back() {
    let service = Service::start();
    let upload = service.upload(4 << 20);
    let request = json!({"name": "both", "upload": upload, "regions": ["hal1", "nbg1"]});
    let image = body(&service.call("POST", "/v2/images", &request))["image"].clone();
    let path = format!("/v2/images/{}", image["id"]);
    let import = service.send("DELETE", &format!("{path}/regions/hal1"), &[], b"");
    assert_eq!(import.status(), 409, "the import happens there");
    let waiting = service.send("DELETE", &format!("{path}/regions/nbg1"), &[], b"");
    assert_eq!(waiting.status(), 204, "{}", waiting.body());
    service.patch(&upload, 0, &raw_disk(4, b"x"));
    let image = service.ended(image["id"].as_i64().unwrap());
    assert_eq!(image["regions"], json!(["hal1"]));
    assert_eq!(image["abbild"]["regions"].as_array().unwrap().len(), 1);
    let actions = service.json(&format!("{path}/actions"));
    let transfer = actions["actions"].as_array().unwrap();
    let transfer = transfer.iter().find(|a| a["type"] == "transfer").unwrap();
    assert_eq!(transfer["status"], "errored");
    assert_eq!(transfer["abbild"]["reason"], "the region was removed");
}
