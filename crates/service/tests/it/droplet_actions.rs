//! What can be done to a machine, one thing at a time. The guest has no operating system, so it never
//! answers the power button: what a real one does is in the end-to-end tests.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};

use crate::service::{Answer, Service, body, raw_disk, wait_for};

/// A service with an image, whose guests are given a second to shut down.
fn service() -> (Service, Value) {
    let service = Service::start_with("[vm]\nshutdown_grace_seconds = 1");
    let image = service.import("one", "hal1", &raw_disk(4, b"x"));
    (service, image)
}

/// A machine that runs.
pub fn machine(service: &Service, image: &Value, name: &str) -> i64 {
    let request = json!({
        "name": name, "size": "s-1vcpu-512mb-10gb", "image": image["id"], "region": "hal1",
        "tags": ["all"],
    });
    let answer = service.call("POST", "/v2/droplets", &request);
    assert_eq!(answer.status(), 202, "{}", answer.body());
    let id = body(&answer)["droplet"]["id"].as_i64().unwrap();
    until(service, id, "active");
    id
}

pub fn show(service: &Service, id: i64) -> Value {
    service.json(&format!("/v2/droplets/{id}"))["droplet"].clone()
}

pub fn until(service: &Service, id: i64, status: &str) -> Value {
    wait_for(|| {
        let droplet = show(service, id);
        (droplet["status"] == status && droplet["locked"] == false).then_some(droplet)
    })
}

pub fn post(service: &Service, id: i64, action: &Value) -> Answer {
    service.call("POST", &format!("/v2/droplets/{id}/actions"), action)
}

/// Does it, and returns the action once it has ended.
pub fn done(service: &Service, id: i64, action: &Value) -> Value {
    let answer = post(service, id, action);
    assert_eq!(answer.status(), 201, "{}", answer.body());
    let begun = body(&answer)["action"].clone();
    assert_eq!(begun["type"], action["type"]);
    let path = format!("/v2/droplets/{id}/actions/{}", begun["id"]);
    wait_for(|| {
        let action = service.json(&path)["action"].clone();
        (action["status"] != "in-progress").then_some(action)
    })
}

pub fn refused(answer: &Answer) -> String {
    assert_eq!(answer.status(), 422, "{}", answer.body());
    body(answer)["message"].as_str().unwrap().to_owned()
}

/// The process of a machine.
fn process(service: &Service, id: i64) -> i32 {
    let pid = format!("regions/hal1/vms/{id}/qemu.pid");
    let pid = std::fs::read_to_string(service.data().join(pid)).unwrap();
    pid.trim().parse().unwrap()
}

#[test]
fn one_thing_is_done_at_a_time() {
    let (service, image) = service();
    let id = machine(&service, &image, "web");
    let kind = |kind: &str| json!({"type": kind});
    let shutdown = post(&service, id, &kind("shutdown"));
    assert_eq!(shutdown.status(), 201, "{}", shutdown.body());
    assert_eq!(show(&service, id)["locked"], true);
    let message = refused(&post(&service, id, &kind("power_on")));
    assert!(
        message.starts_with("Droplet already has a pending event."),
        "{message}"
    );
    assert!(message.contains("`shutdown`"), "{message}");
    let message = refused(&service.call(
        "POST",
        "/v2/droplets/actions?tag_name=all",
        &kind("power_off"),
    ));
    assert!(message.contains("`web`"), "{message}");

    // The guest does not answer, so it is switched off, and that is told.
    let vm = until(&service, id, "off");
    let reason = vm["abbild"]["reason"].as_str().unwrap();
    assert!(reason.contains("within 1 seconds"), "{reason}");
    for off in ["shutdown", "power_off"] {
        let again = done(&service, id, &kind(off));
        assert_eq!(again["status"], "completed", "{again}");
        let vm = show(&service, id);
        assert_eq!(vm["abbild"]["reason"], reason, "nothing new has ended it");
    }
    let message = refused(&post(&service, id, &kind("reboot")));
    assert!(message.contains("`power_on`"), "{message}");

    let cycled = done(&service, id, &kind("power_cycle"));
    assert_eq!(cycled["status"], "completed", "{cycled}");
    let first = process(&service, id);
    let vm = until(&service, id, "active");
    assert!(vm["abbild"]["reason"].is_null(), "{vm}");
    let rebooted = done(&service, id, &kind("reboot"));
    assert_eq!(rebooted["status"], "completed", "{rebooted}");
    until(&service, id, "active");
    let second = process(&service, id);
    assert_ne!(first, second);
    done(&service, id, &kind("power_cycle"));
    assert_ne!(second, process(&service, id));
    // What is the case already is done at once.
    let answer = post(&service, id, &kind("power_on"));
    assert_eq!(body(&answer)["action"]["status"], "completed");
}

#[test]
fn a_machine_is_renamed_and_its_next_start_knows_it() {
    let (service, image) = service();
    let id = machine(&service, &image, "before");
    let drive = service
        .data()
        .join(format!("regions/hal1/vms/{id}/config.iso"));
    let names = |name: &str| {
        let bytes = std::fs::read(&drive).unwrap();
        let json = format!("\"hostname\":\"{name}\"");
        bytes.windows(json.len()).any(|w| w == json.as_bytes())
    };
    assert!(names("before"));
    for name in ["", "not this", "-x", &"x".repeat(256)] {
        refused(&post(
            &service,
            id,
            &json!({"type": "rename", "name": name}),
        ));
    }
    refused(&post(&service, id, &json!({"type": "rename"})));
    let rename = json!({"type": "rename", "name": "after.example.org"});
    let answer = post(&service, id, &rename);
    assert_eq!(body(&answer)["action"]["status"], "completed");
    assert_eq!(show(&service, id)["name"], "after.example.org");
    assert!(names("before"), "it runs");
    assert_eq!(
        done(&service, id, &json!({"type": "power_cycle"}))["status"],
        "completed"
    );
    assert!(names("after.example.org") && !names("before"));
}

/// How large the guest finds its disk: what QEMU was told, and did.
fn disk_bytes(service: &Service, id: i64) -> u64 {
    let disk = format!("regions/hal1/vms/{id}/disk.qcow2");
    let bytes = std::fs::read(service.data().join(disk)).unwrap();
    u64::from_be_bytes(bytes[24..32].try_into().unwrap())
}

fn memory(service: &Service, id: i64) -> i64 {
    let launch = format!("regions/hal1/vms/{id}/launch.json");
    let launch = std::fs::read(service.data().join(launch)).unwrap();
    let launch: Value = serde_json::from_slice(&launch).unwrap();
    launch["memory_mib"].as_i64().unwrap()
}

#[test]
fn a_machine_is_resized_and_its_disk_only_grows() {
    let (service, image) = service();
    let id = machine(&service, &image, "web");
    let resize = |size: &str, disk: bool| {
        let action = json!({"type": "resize", "size": size, "disk": disk});
        post(&service, id, &action)
    };
    assert!(refused(&resize("s-1vcpu-1gb", true)).contains("powered off"));
    done(&service, id, &json!({"type": "power_off"}));
    assert!(refused(&resize("s-huge", true)).contains("`s-huge`"));
    refused(&post(&service, id, &json!({"type": "resize"})));

    // Only more memory.
    let answer = resize("s-1vcpu-1gb", false);
    assert_eq!(answer.status(), 201, "{}", answer.body());
    assert_eq!(body(&answer)["action"]["status"], "completed");
    let vm = show(&service, id);
    assert_eq!((&vm["memory"], &vm["disk"]), (&json!(1024), &json!(10)));
    assert_eq!(vm["size_slug"], "s-1vcpu-1gb");
    done(&service, id, &json!({"type": "power_on"}));
    assert_eq!(memory(&service, id), 1024);
    assert_eq!(disk_bytes(&service, id), 10 << 30);

    // And back: the disk still fits. Then more disk, from which there is no way back.
    done(&service, id, &json!({"type": "power_off"}));
    assert_eq!(resize("s-1vcpu-512mb-10gb", true).status(), 201);
    assert_eq!(resize("s-1vcpu-1gb", true).status(), 201);
    let message = refused(&resize("s-1vcpu-512mb-10gb", false));
    assert!(
        message.contains("25 GB") && message.contains("has 10"),
        "{message}"
    );
    done(&service, id, &json!({"type": "power_on"}));
    assert_eq!(disk_bytes(&service, id), 25 << 30);
    assert_eq!(show(&service, id)["disk"], 25);
}

#[test]
fn a_larger_size_is_a_matter_of_the_quotas() {
    let service = Service::start_with("[quotas]\nmemory_bytes = \"1 GiB\"");
    let image = service.import("one", "hal1", &raw_disk(4, b"x"));
    let id = machine(&service, &image, "web");
    done(&service, id, &json!({"type": "power_off"}));
    let resize = |size: &str| post(&service, id, &json!({"type": "resize", "size": size}));
    let message = refused(&resize("s-1vcpu-2gb"));
    assert!(message.contains("memory_bytes"), "{message}");
    assert_eq!(show(&service, id)["memory"], 512);
    assert_eq!(resize("s-1vcpu-1gb").status(), 201);
}

#[test]
fn a_machine_gets_a_new_disk_from_another_image() {
    let (service, first) = service();
    let second = service.import("two", "hal1", &raw_disk(5, b"y"));
    let elsewhere = service.import("three", "nbg1", &raw_disk(4, b"z"));
    let id = machine(&service, &first, "web");
    let address = show(&service, id)["networks"].clone();
    let rebuild = |image: &Value| json!({"type": "rebuild", "image": image});
    let message = refused(&post(&service, id, &rebuild(&elsewhere["id"])));
    assert!(message.contains("`hal1`"), "{message}");
    refused(&post(&service, id, &rebuild(&json!(77))));
    refused(&post(&service, id, &rebuild(&json!("debian-12"))));

    let disk = format!("regions/hal1/vms/{id}/disk.qcow2");
    let disk = service.data().join(disk);
    let base = |digest: &Value| {
        let bytes = std::fs::read(&disk).unwrap();
        let digest = digest.as_str().unwrap().trim_start_matches("sha256:");
        bytes.windows(digest.len()).any(|w| w == digest.as_bytes())
    };
    assert!(base(&first["abbild"]["digest"]));
    let action = done(&service, id, &rebuild(&second["id"]));
    assert_eq!(action["status"], "completed", "{action}");
    let vm = until(&service, id, "active");
    assert_eq!(vm["image"]["name"], "two");
    assert_eq!(vm["networks"], address);
    assert!(base(&second["abbild"]["digest"]));

    // Nobody needs the first image any longer, and a machine that is off is started.
    done(&service, id, &json!({"type": "power_off"}));
    let path = format!("/v2/images/{}", first["id"]);
    assert_eq!(service.send("DELETE", &path, &[], b"").status(), 204);
    wait_for(|| (service.stored("hal1") == 1).then_some(()));
    let restore = json!({"type": "restore", "image": second["id"].to_string()});
    let action = done(&service, id, &restore);
    assert_eq!(action["status"], "completed", "{action}");
    until(&service, id, "active");
    let machines = service.data().join("regions/hal1/vms");
    assert_eq!(std::fs::read_dir(machines).unwrap().count(), 1);
}

#[test]
fn a_guest_without_an_agent_gets_no_password_and_the_way_in_is_named() {
    let (service, image) = service();
    let id = machine(&service, &image, "web");
    let answer = post(&service, id, &json!({"type": "password_reset"}));
    assert_eq!(answer.status(), 201, "{}", answer.body());
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let begun = body(&answer)["action"].clone();
    assert_eq!(begun["abbild"]["password"].as_str().unwrap().len(), 16);
    let path = format!("/v2/droplets/{id}/actions/{}", begun["id"]);
    let action = wait_for(|| {
        let action = service.json(&path)["action"].clone();
        (action["status"] == "errored").then_some(action)
    });
    assert_eq!(action["abbild"]["password"], json!(null));
    let reason = action["abbild"]["reason"].as_str().unwrap();
    for expected in ["no guest agent", "qemu-guest-agent", "abbild vm console"] {
        assert!(reason.contains(expected), "{expected} in {reason}");
    }
    let vm = until(&service, id, "active");
    assert_eq!(vm["abbild"]["reason"], json!(null));
    done(&service, id, &json!({"type": "power_off"}));
    let message = refused(&post(&service, id, &json!({"type": "password_reset"})));
    assert!(message.contains("power_on"), "{message}");
}

#[test]
fn a_job_whose_lease_ran_out_is_not_begun_beside_itself() {
    let (service, image) = service();
    let id = machine(&service, &image, "web");
    // It waits for an agent that there is not.
    let answer = post(&service, id, &json!({"type": "password_reset"}));
    let action = body(&answer)["action"]["id"].clone();
    let attempts = format!("SELECT attempts FROM actions WHERE id = {action}");
    let attempts = || {
        let text = sqlx::AssertSqlSafe(attempts.clone());
        service.with_database(async |pool| {
            let attempts: i64 = sqlx::query_scalar(text).fetch_one(pool).await.unwrap();
            attempts
        })
    };
    wait_for(|| (attempts() == 1).then_some(()));
    // As after a database that was away for long.
    for _ in 0..10 {
        service.execute(&format!(
            "UPDATE actions SET lease_until = 0 WHERE id = {action}"
        ));
        std::thread::sleep(std::time::Duration::from_millis(400));
    }
    assert_eq!(attempts(), 1);
    until(&service, id, "active");
}

#[test]
fn machines_that_ran_when_the_host_went_down_are_started_again() {
    let (mut service, image) = service();
    let [on, off, killed] = ["on", "off", "killed"].map(|name| machine(&service, &image, name));
    done(&service, off, &json!({"type": "power_off"}));
    let before = process(&service, on);
    service.stop();
    for id in [on, killed] {
        let pid = rustix::process::Pid::from_raw(process(&service, id)).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }
    // Another boot of the host, but not for the one whose hypervisor only died.
    for id in [on, off] {
        let boot = format!("regions/hal1/vms/{id}/boot");
        std::fs::write(service.data().join(boot), "an earlier one").unwrap();
    }
    // A guest makes QEMU say this by a ping.
    let log = service
        .data()
        .join(format!("regions/hal1/vms/{on}/qemu.log"));
    std::fs::write(log, "Slirp: external icmpv6 not supported yet\n").unwrap();
    service.resume();
    let vm = until(&service, killed, "off");
    assert!(vm["abbild"]["reason"].as_str().unwrap().contains("killed"));
    wait_for(|| {
        let actions = service.json(&format!("/v2/droplets/{on}/actions"));
        let last = &actions["actions"][0];
        (last["type"] == "power_on" && last["status"] == "completed").then_some(())
    });
    until(&service, on, "active");
    assert_ne!(process(&service, on), before);
    assert_eq!(show(&service, off)["status"], "off");
    let actions = service.json(&format!("/v2/droplets/{off}/actions"));
    assert_eq!(actions["meta"]["total"], 2, "nobody touched it");
}

#[test]
fn what_is_not_offered_is_refused_by_name() {
    let (service, image) = service();
    let id = machine(&service, &image, "web");
    for kind in ["explode", "enable_backups", "change_kernel", ""] {
        let message = refused(&post(&service, id, &json!({"type": kind})));
        assert!(message.contains(&format!("`{kind}`")), "{message}");
        assert!(message.contains("`power_on`"), "{message}");
    }
    refused(&post(&service, id, &json!({})));
    assert_eq!(post(&service, 77, &json!({"type": "reboot"})).status(), 404);
}

#[test]
fn what_was_asked_for_is_done_after_a_restart_and_a_deletion_does_not_wait() {
    let mut service = Service::start_with("[vm]\nshutdown_grace_seconds = 600");
    let image = service.import("one", "hal1", &raw_disk(4, b"x"));
    let other = service.import("two", "hal1", &raw_disk(4, b"y"));
    let id = machine(&service, &image, "web");
    post(
        &service,
        id,
        &json!({"type": "rebuild", "image": other["id"]}),
    );
    service.stop();
    service.resume();
    wait_for(|| (show(&service, id)["image"]["name"] == "two").then_some(()));
    until(&service, id, "active");
    post(&service, id, &json!({"type": "shutdown"}));
    // Stopping the service does not wait for the guest either.
    service.stop();
    service.resume();
    let droplet = show(&service, id);
    assert_eq!(
        (&droplet["status"], &droplet["locked"]),
        (&json!("active"), &json!(true))
    );
    let deleted = service.send("DELETE", &format!("/v2/droplets/{id}"), &[], b"");
    assert_eq!(deleted.status(), 204);
    let machines = service.data().join("regions/hal1/vms");
    wait_for(|| (std::fs::read_dir(&machines).unwrap().count() == 0).then_some(()));
    let actions = service.json("/v2/actions")["actions"].clone();
    let shutdown = actions.as_array().unwrap().iter();
    let shutdown = shutdown.clone().find(|a| a["type"] == "shutdown").unwrap();
    assert_eq!(shutdown["status"], "errored");
    assert_eq!(
        shutdown["abbild"]["reason"],
        "the machine was deleted meanwhile"
    );
}

#[test]
fn a_paused_machine_is_switched_off_and_says_so() {
    let (service, image) = service();
    let id = machine(&service, &image, "paused");
    let socket = format!("regions/hal1/vms/{id}/run/qmp.sock");
    let mut qmp = UnixStream::connect(service.data().join(socket)).unwrap();
    qmp.write_all(br#"{"execute":"qmp_capabilities"}{"execute":"stop"}"#)
        .unwrap();
    let mut said = String::new();
    let mut answers = BufReader::new(&qmp);
    while !said.contains(r#""event": "STOP""#) {
        assert_ne!(answers.read_line(&mut said).unwrap(), 0, "{said}");
    }
    drop(qmp);
    let vm = until(&service, id, "off");
    assert_eq!(vm["abbild"]["reason"], "paused by an operator");
    done(&service, id, &json!({"type": "shutdown"}));
    let reason = show(&service, id)["abbild"]["reason"].clone();
    assert!(reason.as_str().unwrap().contains("was paused"), "{reason}");
    done(&service, id, &json!({"type": "power_on"}));
    until(&service, id, "active");
}

#[test]
fn a_removal_that_an_earlier_release_gave_up_is_made_good() {
    let (mut service, image) = service();
    let id = machine(&service, &image, "left");
    service.stop();
    service.execute(&format!(
        "UPDATE droplets SET deleted_at = 1 WHERE id = {id}"
    ));
    service.resume();
    let directory = service.data().join(format!("regions/hal1/vms/{id}"));
    wait_for(|| (!directory.exists()).then_some(()));
}
