//! A machine's life as the API shows it. The image has no operating system: the BIOS says so on
//! the console, which is enough to know that the machine runs.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use crate::service::{Service, body, raw_disk, wait_for};

fn droplet(service: &Service, id: i64) -> Value {
    service.json(&format!("/v2/droplets/{id}"))["droplet"].clone()
}

fn until(service: &Service, id: i64, status: &str) -> Value {
    wait_for(|| {
        let droplet = droplet(service, id);
        (droplet["status"] == status && droplet["locked"] == false).then_some(droplet)
    })
}

fn act(service: &Service, id: i64, kind: &str) {
    let answer = service.call(
        "POST",
        &format!("/v2/droplets/{id}/actions"),
        &json!({"type": kind}),
    );
    assert_eq!(answer.status(), 201, "{}", answer.body());
    assert_eq!(body(&answer)["action"]["resource_type"], "droplet");
}

/// The process of the machine, by the file in which QEMU keeps its number.
fn process(service: &Service, id: i64) -> Option<i32> {
    let pid = service
        .data()
        .join(format!("regions/hal1/vms/{id}/qemu.pid"));
    std::fs::read_to_string(pid).ok()?.trim().parse().ok()
}

#[test]
fn user_data_reaches_the_config_drive_whatever_it_is() {
    let service = Service::start();
    let image = service.import("one", "hal1", &raw_disk(4, b"x"));
    let whole = |seed: u8| (0..64 << 10).map(move |i: u32| (i / 7) as u8 ^ seed);
    let binary: Vec<u8> = [0x1f, 0x8b, 0, 0xff]
        .into_iter()
        .chain(whole(3))
        .take(64 << 10)
        .collect();
    let text = "#!/bin/sh\n# \u{1F600} \0 in it\n";
    for (field, sent, expected) in [
        (
            "user_data_base64",
            BASE64.encode(&binary),
            binary.as_slice(),
        ),
        ("user_data", text.to_owned(), text.as_bytes()),
    ] {
        let request = json!({
            "name": "web", "size": "s-1vcpu-512mb-10gb", "image": image["id"], "region": "hal1",
            field: sent,
        });
        let answer = service.call("POST", "/v2/droplets", &request);
        assert_eq!(answer.status(), 202, "{}", answer.body());
        let id = body(&answer)["droplet"]["id"].as_i64().unwrap();
        until(&service, id, "active");
        let drive = format!("regions/hal1/vms/{id}/config.iso");
        let drive = std::fs::read(service.data().join(drive)).unwrap();
        assert!(
            drive
                .chunks(2048)
                .enumerate()
                .any(|(sector, _)| drive[sector * 2048..].starts_with(expected)),
            "{field}"
        );
    }
}

#[test]
fn a_machine_is_made_stopped_started_and_deleted() {
    let mut service = Service::start();
    let image = service.import("one", "hal1", &raw_disk(4, b"x"));
    let request = json!({
        "name": "web.example.org", "size": "s-1vcpu-512mb-10gb", "image": image["id"].to_string(),
        "region": "hal", "ssh_keys": null, "user_data": null, "baseurl": "ignored",
        "ipv6": true, "backups": null, "monitoring": false, "private_networking": true,
    });
    let answer = service.call("POST", "/v2/droplets?per_page=200", &request);
    assert_eq!(answer.status(), 202, "{}", answer.body());
    let created = body(&answer);
    let id = created["droplet"]["id"].as_i64().unwrap();
    let action = &created["links"]["actions"][0];
    assert_eq!(action["rel"], "create");
    assert!(action["href"].as_str().unwrap().starts_with(&service.url));
    let features = json!(["ipv6", "private_networking"]);
    assert_eq!(created["droplet"]["features"], features);
    for field in ["region", "image", "size", "networks"] {
        assert!(created["droplet"][field].is_object(), "{field}");
    }

    let vm = until(&service, id, "active");
    assert_eq!(vm["networks"]["v4"][0]["type"], "public");
    assert_eq!(vm["abbild"]["acceleration"], "tcg");
    assert!(
        vm["abbild"]["acceleration_note"]
            .as_str()
            .unwrap()
            .contains("configuration")
    );
    wait_for(|| {
        let log = service.get(&format!("/v2/droplets/{id}/console/log?tail=4096"));
        log.body().contains("SeaBIOS").then_some(())
    });

    act(&service, id, "power_on"); // running already: no change, no error
    act(&service, id, "power_off");
    until(&service, id, "off");
    act(&service, id, "power_on");
    until(&service, id, "active");

    // It outlives the service, and its end is noticed by the next one.
    service.stop();
    service.resume();
    let vm = until(&service, id, "active");
    assert!(vm["abbild"]["reason"].is_null());
    let pid = process(&service, id).unwrap();
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(pid).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    let vm = until(&service, id, "off");
    assert!(!vm["abbild"]["reason"].as_str().unwrap().is_empty());

    // The image may go first; the file stays until the machine is gone.
    let path = format!("/v2/images/{}", image["id"]);
    assert_eq!(service.send("DELETE", &path, &[], b"").status(), 204);
    act(&service, id, "power_on");
    until(&service, id, "active");
    let deleted = service.send("DELETE", &format!("/v2/droplets/{id}"), &[], b"");
    assert_eq!(deleted.status(), 204);
    assert_eq!(service.get(&format!("/v2/droplets/{id}")).status(), 404);
    let machines = service.data().join("regions/hal1/vms");
    wait_for(|| (std::fs::read_dir(&machines).unwrap().count() == 0).then_some(()));
    wait_for(|| (service.stored("hal1") == 0).then_some(()));
}
