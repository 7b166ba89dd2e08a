//! A machine's disk becomes an image. What a guest would have written is written by `qemu-io` while the
//! machine is off.

use std::process::Command;

use serde_json::{Value, json};

use crate::droplet_actions::{done, machine, post, refused, show, until};
use crate::service::{Service, body, raw_disk, wait_for};

const PATTERN: u8 = 0xa7;

/// Fills the third MiB of the disk of a machine that is off; `false` where there is no `qemu-io`.
fn write(service: &Service, id: i64) -> bool {
    let directory = service.data().join(format!("regions/hal1/vms/{id}"));
    let command = format!("write -P {PATTERN} 2M 1M");
    let output = Command::new("qemu-io")
        .args(["-f", "qcow2", "-c", &command, "disk.qcow2"])
        .current_dir(directory)
        .output();
    let Ok(output) = output else {
        eprintln!("SKIPPED: qemu-io (package qemu-utils) is not installed");
        return false;
    };
    assert!(output.status.success(), "{output:?}");
    true
}

/// The image that a snapshot made.
fn snapshot(service: &Service, id: i64, name: &str) -> Value {
    let action = done(service, id, &json!({"type": "snapshot", "name": name}));
    assert_eq!(action["status"], "completed", "{action}");
    let images = service.json(&format!("/v2/images?type=snapshot&name={name}"));
    images["images"][0].clone()
}

/// The beginning of an image's disk.
fn content(service: &Service, image: &Value) -> Vec<u8> {
    let path = format!("/v2/images/{}/export?format=raw", image["id"]);
    let range = [("range", "bytes=0-4194303")];
    let answer = service.download(&path, &range);
    assert_eq!(answer.status(), 206);
    answer.into_body()
}

fn left_over(service: &Service, id: i64) -> bool {
    let copy = format!("regions/hal1/vms/{id}/snapshot.qcow2");
    service.data().join(copy).exists()
}

#[test]
fn a_disk_becomes_an_image_and_a_machine_again() {
    let service = Service::start();
    let image = service.import("one", "hal1", &raw_disk(4, b"of the image"));
    let id = machine(&service, &image, "web");
    let first = snapshot(&service, id, "running");
    assert_eq!(first["type"], "snapshot");
    assert_eq!(first["status"], "available");
    assert_eq!(first["regions"], json!(["hal1"]));
    assert_eq!(first["min_disk_size"], 10);
    assert_eq!(first["abbild"]["verdict"], image["abbild"]["verdict"]);
    assert_eq!(
        until(&service, id, "active")["snapshot_ids"],
        json!([first["id"]])
    );
    assert!(!left_over(&service, id));

    done(&service, id, &json!({"type": "power_off"}));
    if !write(&service, id) {
        return;
    }
    let second = snapshot(&service, id, "off");
    assert!(!left_over(&service, id));
    let disk = content(&service, &second);
    assert!(disk[1 << 20..].starts_with(b"of the image"));
    assert!(disk[2 << 20..3 << 20].iter().all(|&byte| byte == PATTERN));
    assert!(disk[3 << 20..].iter().all(|&byte| byte == 0));
    let before = content(&service, &first);
    assert!(before[1 << 20..].starts_with(b"of the image"));
    assert!(before[2 << 20..].iter().all(|&byte| byte == 0));

    // A copy of a running machine is the same as of one that is off.
    done(&service, id, &json!({"type": "power_on"}));
    let third = snapshot(&service, id, "again");
    assert_eq!(third["abbild"]["digest"], second["abbild"]["digest"]);

    // It outlives its machine, and makes new ones.
    let path = format!("/v2/droplets/{id}");
    assert_eq!(service.send("DELETE", &path, &[], b"").status(), 204);
    let other = machine(&service, &second, "other");
    let restored = done(
        &service,
        other,
        &json!({"type": "restore", "image": first["id"]}),
    );
    assert_eq!(restored["status"], "completed", "{restored}");
    assert_eq!(show(&service, other)["image"]["name"], "running");
    service.nothing_left();
}

#[test]
fn a_machine_that_is_being_rescued_gives_its_own_disk() {
    let service = Service::start_with("[vm]\nshutdown_grace_seconds = 1");
    let own = service.import("own", "hal1", &raw_disk(4, b"its own"));
    let other = service.import("other", "hal1", &raw_disk(4, b"the other"));
    let id = machine(&service, &own, "web");
    let rescue = json!({"type": "rescue", "image": other["id"]});
    assert_eq!(done(&service, id, &rescue)["status"], "completed");
    let copy = snapshot(&service, id, "before-repair");
    assert!(content(&service, &copy)[1 << 20..].starts_with(b"its own"));
    assert_eq!(show(&service, id)["abbild"]["rescue"]["image"], other["id"]);
    assert!(!left_over(&service, id));
}

#[test]
fn snapshots_are_listed_where_clients_look_for_them() {
    let service = Service::start();
    let image = service.import("one", "hal1", &raw_disk(4, b"x"));
    let id = machine(&service, &image, "web");
    let action = done(&service, id, &json!({"type": "snapshot"}));
    assert_eq!(action["status"], "completed", "{action}");
    let of_machine = service.json(&format!("/v2/droplets/{id}/snapshots"));
    assert_eq!(of_machine["meta"]["total"], 1);
    let snapshot = &of_machine["snapshots"][0];
    assert!(snapshot["name"].as_str().unwrap().starts_with("web-20"));
    let number = snapshot["id"].as_i64().unwrap();
    for (query, total) in [
        ("", 2),
        ("?private=true", 2),
        ("?type=snapshot", 1),
        ("?type=custom", 1),
        ("?type=distribution", 0),
    ] {
        let images = service.json(&format!("/v2/images{query}"));
        assert_eq!(images["meta"]["total"], total, "{query}");
    }
    let all = service.json("/v2/snapshots?resource_type=droplet");
    assert_eq!(all["snapshots"][0]["id"], number.to_string());
    assert_eq!(all["snapshots"][0]["resource_id"], id.to_string());
    let none = service.json("/v2/snapshots?resource_type=volume");
    assert_eq!(none["snapshots"], json!([]));
    let path = format!("/v2/snapshots/{number}");
    assert_eq!(service.json(&path)["snapshot"], all["snapshots"][0]);
    let imported = format!("/v2/snapshots/{}", image["id"]);
    assert_eq!(service.get(&imported).status(), 404, "it is no snapshot");
    assert_eq!(service.send("DELETE", &imported, &[], b"").status(), 404);
    assert_eq!(service.send("DELETE", &path, &[], b"").status(), 204);
    assert_eq!(service.get(&path).status(), 404);
    assert_eq!(show(&service, id)["snapshot_ids"], json!([]));
    wait_for(|| (service.stored("hal1") == 1).then_some(()));
}

#[test]
fn a_snapshot_begins_again_after_a_restart_and_leaves_nothing() {
    let mut service = Service::start();
    let image = service.import("one", "hal1", &raw_disk(4, b"x"));
    let id = machine(&service, &image, "web");
    let answer = post(&service, id, &json!({"type": "snapshot", "name": "s"}));
    assert_eq!(answer.status(), 201, "{}", answer.body());
    let begun = body(&answer)["action"]["id"].clone();
    service.stop();
    // As if the process had been killed while QEMU copied.
    let copy = format!("regions/hal1/vms/{id}/snapshot.qcow2");
    std::fs::write(service.data().join(copy), "half of it").unwrap();
    let reopened = format!(
        "UPDATE actions SET status = 'in-progress', completed_at = NULL WHERE id = {begun}; \
         UPDATE images SET stage = 'checking' WHERE droplet_id = {id}"
    );
    service.execute(&reopened);
    service.resume();
    wait_for(|| {
        let snapshots = service.json(&format!("/v2/droplets/{id}/snapshots"));
        (snapshots["meta"]["total"] == 1).then_some(())
    });
    until(&service, id, "active");
    assert!(!left_over(&service, id));
    service.nothing_left();
}

#[test]
fn a_snapshot_counts_and_is_called_off_with_its_image() {
    let service = Service::start_with("[quotas]\nimages = 2");
    let image = service.import("one", "hal1", &raw_disk(4, b"x"));
    let id = machine(&service, &image, "web");
    let long = "x".repeat(1000);
    refused(&post(
        &service,
        id,
        &json!({"type": "snapshot", "name": long}),
    ));
    let first = snapshot(&service, id, "first");
    let message = refused(&post(&service, id, &json!({"type": "snapshot"})));
    assert!(message.contains("`images`"), "{message}");
    let path = format!("/v2/images/{}", first["id"]);
    assert_eq!(service.send("DELETE", &path, &[], b"").status(), 204);

    // Its disk is gone: the reason is told, and the image does not wait for ever.
    done(&service, id, &json!({"type": "power_off"}));
    let disk = format!("regions/hal1/vms/{id}/disk.qcow2");
    std::fs::write(service.data().join(disk), "no disk").unwrap();
    let failed = done(&service, id, &json!({"type": "snapshot", "name": "broken"}));
    assert_eq!(failed["status"], "errored", "{failed}");
    let reason = failed["abbild"]["reason"].as_str().unwrap();
    assert!(reason.contains("qcow2"), "{reason}");
    let images = service.json("/v2/images?name=broken");
    assert_eq!(images["images"][0]["status"], "deleted");
    assert_eq!(images["images"][0]["error_message"], reason);
    assert_eq!(show(&service, id)["locked"], false);
}
