//! Machines that run something else while they are repaired. The real rescue system, and what can be
//! done in it, is in the end-to-end tests.

use serde_json::{Value, json};

use crate::service::{Answer, Service, body, raw_disk, wait_for};

const SETTINGS: &str = "[vm]\nshutdown_grace_seconds = 1\nrescue = \"no-such-directory\"";

fn show(service: &Service, id: i64) -> Value {
    service.json(&format!("/v2/droplets/{id}"))["droplet"].clone()
}

fn machine(service: &Service, image: &Value) -> i64 {
    let request = json!({
        "name": "web", "size": "s-1vcpu-512mb-10gb", "image": image["id"], "region": "hal1",
        "user_data": "#cloud-config\n",
    });
    let answer = service.call("POST", "/v2/droplets", &request);
    assert_eq!(answer.status(), 202, "{}", answer.body());
    let id = body(&answer)["droplet"]["id"].as_i64().unwrap();
    wait_for(|| (show(service, id)["status"] == "active").then_some(()));
    id
}

fn post(service: &Service, id: i64, action: &Value) -> Answer {
    service.call("POST", &format!("/v2/droplets/{id}/actions"), action)
}

/// Does it, and waits for its success.
fn done(service: &Service, id: i64, action: &Value) {
    let answer = post(service, id, action);
    assert_eq!(answer.status(), 201, "{}", answer.body());
    let path = format!("/v2/actions/{}", body(&answer)["action"]["id"]);
    wait_for(|| {
        let action = service.json(&path)["action"].clone();
        assert_ne!(action["status"], "errored", "{action}");
        (action["status"] == "completed").then_some(())
    });
}

fn refused(answer: &Answer) -> String {
    assert_eq!(answer.status(), 422, "{}", answer.body());
    body(answer)["message"].as_str().unwrap().to_owned()
}

/// Options of the machine's QEMU.
fn options(service: &Service, id: i64) -> String {
    let directory = service.data().join(format!("regions/hal1/vms/{id}"));
    let pid = std::fs::read_to_string(directory.join("qemu.pid")).unwrap();
    let line = std::fs::read(format!("/proc/{}/cmdline", pid.trim())).unwrap();
    String::from_utf8_lossy(&line).replace('\0', " ")
}

#[test]
fn a_rescue_lasts_until_it_is_ended() {
    let mut service = Service::start_with(SETTINGS);
    let own = service.import("own", "hal1", &raw_disk(4, b"own"));
    let other = service.import("other", "hal1", &raw_disk(4, b"other"));
    let id = machine(&service, &own);
    assert!(show(&service, id)["abbild"]["rescue"].is_null());

    let begin = json!({"type": "rescue", "image": other["id"]});
    done(&service, id, &begin);
    let vm = show(&service, id);
    assert_eq!(vm["status"], "active");
    assert_eq!(vm["abbild"]["rescue"]["image"], other["id"]);
    let line = options(&service, id);
    assert!(line.contains("drive=rescue,bootindex=0"), "{line}");
    assert!(line.contains("drive=disk,serial=machine"), "{line}");
    // What the customer wants done in the machine is not done in what rescues it.
    let directory = service.data().join(format!("regions/hal1/vms/{id}"));
    let drive = std::fs::read(directory.join("config.iso")).unwrap();
    assert!(!drive.windows(13).any(|bytes| bytes == b"#cloud-config"));

    // The image stays for as long as it is needed, even if its owner deletes it.
    let deleted = service.call(
        "DELETE",
        &format!("/v2/images/{}", other["id"]),
        &Value::Null,
    );
    assert_eq!(deleted.status(), 204, "{}", deleted.body());
    done(&service, id, &json!({"type": "power_off"}));
    service.stop();
    service.resume();
    done(&service, id, &json!({"type": "power_on"}));
    assert!(options(&service, id).contains("drive=rescue"), "it is over");
    assert!(refused(&post(&service, id, &begin)).contains("rescued already"));

    done(&service, id, &json!({"type": "unrescue"}));
    let vm = show(&service, id);
    assert_eq!(vm["status"], "active");
    assert!(vm["abbild"]["rescue"].is_null());
    assert!(!options(&service, id).contains("rescue"));
    assert!(!directory.join("rescue.qcow2").exists());
    let drive = std::fs::read(directory.join("config.iso")).unwrap();
    assert!(drive.windows(13).any(|bytes| bytes == b"#cloud-config"));
    let images = service.data().join("regions/hal1/images");
    wait_for(|| (std::fs::read_dir(&images).unwrap().count() == 1).then_some(()));
    assert!(refused(&post(&service, id, &json!({"type": "unrescue"}))).contains("not being"));
}

#[test]
fn a_rescue_that_cannot_be_is_refused_with_the_reason() {
    let service = Service::start_with(SETTINGS);
    let own = service.import("own", "hal1", &raw_disk(4, b"own"));
    let id = machine(&service, &own);
    let rescue = |image: Value| {
        refused(&post(
            &service,
            id,
            &json!({"type": "rescue", "image": image}),
        ))
    };
    let message = rescue(Value::Null);
    assert!(message.contains("make rescue"), "{message}");
    let message = rescue(own["id"].clone());
    assert!(message.contains("confuse them"), "{message}");
    // Their filesystems have the same UUID, though they are not the same image.
    let [original, copy] = [b'1', b'2'].map(|content| {
        let mut filesystem = vec![0; 4096];
        filesystem[1080..1082].copy_from_slice(&[0x53, 0xef]);
        filesystem[1128..1144].fill(0x5a);
        filesystem[4095] = content;
        service.import("copy", "hal1", &raw_disk(4, &filesystem))
    });
    let of_original = machine(&service, &original);
    let begin = json!({"type": "rescue", "image": copy["id"]});
    let message = refused(&post(&service, of_original, &begin));
    assert!(message.contains("UUID 5a5a5a5a-5a5a"), "{message}");
    let path = format!("/v2/droplets/{of_original}");
    service.call("DELETE", &path, &Value::Null);
    let message = rescue(json!(4711));
    assert!(message.contains("no image `4711`"), "{message}");
    let far = service.import("far", "nbg1", &raw_disk(4, b"far"));
    let message = rescue(far["id"].clone());
    assert!(message.contains("transfer it there first"), "{message}");
    assert!(show(&service, id)["abbild"]["rescue"].is_null());
    assert_eq!(show(&service, id)["locked"], false);

    // It can be deleted while it is rescued.
    let other = service.import("other", "hal1", &raw_disk(4, b"other"));
    done(
        &service,
        id,
        &json!({"type": "rescue", "image": other["id"]}),
    );
    let deleted = service.call("DELETE", &format!("/v2/droplets/{id}"), &Value::Null);
    assert_eq!(deleted.status(), 204, "{}", deleted.body());
    let machines = service.data().join("regions/hal1/vms");
    wait_for(|| (std::fs::read_dir(&machines).unwrap().count() == 0).then_some(()));
}
