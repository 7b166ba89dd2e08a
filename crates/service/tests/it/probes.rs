//! Boot probes, of a guest that is one boot sector: it prints what a test wants, and waits or switches the
//! machine off. What real guests print, and leave on their disks, is tested elsewhere.

use serde_json::{Value, json};

use crate::service::{Service, body, raw_disk, wait_for};

const MEMORY: &str = "[probe]\nmemory = '64 MiB'\n";

/// A disk whose boot sector prints `text` on the serial port and then waits for ever, or switches off.
#[rustfmt::skip]
fn printing(text: &str, switches_off: bool) -> Vec<u8> {
    let mut code = vec![
        0xfa, // cli
        0x31, 0xc0, // xor ax,ax
        0x8e, 0xd8, // mov ds,ax
        0x8e, 0xd0, // mov ss,ax
        0xbc, 0x00, 0x7c, // mov sp,0x7c00
        0xbe, 0x2f, 0x7c, // mov si,text
        0xfc, // cld
        // .next:
        0xac, // lodsb
        0x84, 0xc0, // test al,al
        0x74, 0x12, // jz .end
        0x88, 0xc4, // mov ah,al
        0xba, 0xfd, 0x03, // mov dx,0x3fd
        // .wait:
        0xec, // in al,dx
        0xa8, 0x20, // test al,0x20
        0x74, 0xfb, // jz .wait
        0x88, 0xe0, // mov al,ah
        0xba, 0xf8, 0x03, // mov dx,0x3f8
        0xee, // out dx,al
        0xeb, 0xe9, // jmp .next
        // .end:
    ];
    code.extend(match switches_off {
        // mov dx,0x604; mov ax,0x2000; out dx,ax
        true => [0xba, 0x04, 0x06, 0xb8, 0x00, 0x20, 0xef],
        false => [0x90; 7],
    });
    code.extend([
        0xf4, // .halt: hlt
        0xeb, 0xfd, // jmp .halt
    ]);
    // The BIOS does not end its line.
    code.extend(b"\r\n");
    code.extend(text.as_bytes());
    code.push(0);
    assert!(code.len() <= 440, "the text is too long");
    let mut disk = raw_disk(4, b"");
    disk[..code.len()].copy_from_slice(&code);
    disk
}

fn begin(service: &Service, image: &Value) -> i64 {
    let path = format!("/v2/images/{}/actions", image["id"]);
    let answer = service.call("POST", &path, &json!({"type": "probe"}));
    assert_eq!(answer.status(), 201, "{}", answer.body());
    let action = body(&answer)["action"].clone();
    assert_eq!(
        (&action["type"], &action["region_slug"]),
        (&json!("probe"), &json!("hal1"))
    );
    action["id"].as_i64().unwrap()
}

/// The action, once it has ended.
fn ended(service: &Service, action: i64) -> Value {
    wait_for(|| {
        let action = service.json(&format!("/v2/actions/{action}"))["action"].clone();
        (action["status"] != "in-progress").then_some(action)
    })
}

fn probed(service: &Service, image: &Value) -> Value {
    let action = ended(service, begin(service, image));
    assert_eq!(action["status"], "completed", "{action}");
    service.json(&format!("/v2/images/{}/probe", image["id"]))["probe"].clone()
}

fn names(probe: &Value) -> Vec<&str> {
    let milestones = probe["milestones"].as_array().unwrap();
    milestones
        .iter()
        .map(|seen| seen["name"].as_str().unwrap())
        .collect()
}

/// The machines of probes that there are.
fn machines(service: &Service) -> usize {
    let probes = service.data().join("regions/hal1/probes");
    std::fs::read_dir(probes).unwrap().count()
}

fn finding(service: &Service, image: &Value, rule: &str) -> Value {
    let report = service.json(&format!("/v2/images/{}/report", image["id"]));
    let mut findings = report["findings"].as_array().unwrap().iter();
    let found = findings.find(|finding| finding["rule"] == rule);
    found.cloned().unwrap_or_default()
}

#[test]
fn a_probe_says_how_far_an_image_comes() {
    let service = Service::start_with(MEMORY);
    let text = "GRUB loading.\r\nLinux version 6.1\r\nWelcome to Tiny Linux 1!\r\n\
        \x1b[31mKernel panic - not syncing: it is over\r\n";
    let image = service.import("tiny", "hal1", &printing(text, false));
    let path = format!("/v2/images/{}", image["id"]);
    for what in ["/probe", "/probe/log", "/probe/screenshot"] {
        assert_eq!(
            service.get(&format!("{path}{what}")).status(),
            409,
            "{what}"
        );
    }
    assert_eq!(finding(&service, &image, "kernel"), Value::Null);

    let probe = probed(&service, &image);
    assert_eq!(
        names(&probe),
        ["firmware", "boot-loader", "kernel", "init", "kernel-panic"]
    );
    assert_eq!(
        (&probe["status"], &probe["end"]),
        (&json!("done"), &json!("trouble"))
    );
    let last = &probe["milestones"][4];
    assert_eq!(last["text"], "Kernel panic - not syncing: it is over");
    assert_eq!(last["trouble"], true);
    assert_eq!(probe["acceleration"], "tcg");
    assert_eq!(probe["traces"], Value::Null);

    let log = service.get(&format!("{path}/probe/log"));
    assert!(
        log.body()
            .contains("Linux version 6.1\nWelcome to Tiny Linux 1!\nKernel"),
        "{log:?}"
    );
    let picture = service.download(&format!("{path}/probe/screenshot"), &[]);
    assert_eq!(picture.headers()["content-type"], "image/png");
    assert!(picture.body().starts_with(b"\x89PNG"));

    let kernel = finding(&service, &image, "kernel");
    assert_eq!(
        (&kernel["basis"], &kernel["outcome"]),
        (&json!("proven"), &json!("warning"))
    );
    assert_eq!(kernel["evidence"][0]["from"], "serial-log");
    assert_eq!(finding(&service, &image, "boot-loader")["outcome"], "pass");
    let image = service.json(&path)["image"].clone();
    assert_eq!(image["status"], "available");
    assert_eq!(image["abbild"]["verdict"], "accepted_with_warnings");
    let findings = image["abbild"]["findings"].to_string();
    assert!(findings.contains("gave up"), "{findings}");

    // Nobody's machine, and nothing of it is left.
    assert_eq!(service.json("/v2/droplets")["meta"]["total"], 0);
    assert_eq!(machines(&service), 0);
    assert_eq!(service.send("DELETE", &path, &[], b"").status(), 204);
    assert_eq!(service.get(&format!("{path}/probe")).status(), 404);
}

#[test]
fn a_machine_may_switch_itself_off_or_show_nothing() {
    let service = Service::start_with(&format!("{MEMORY}time_limit_seconds = 4\n"));
    let image = service.import("off", "hal1", &printing("INIT: version 1\r\n", true));
    let probe = probed(&service, &image);
    assert_eq!(
        (&probe["end"], &probe["screenshot"]),
        (&json!("powered-off"), &json!(false))
    );
    assert_eq!(names(&probe), ["firmware", "init"]);
    let path = format!("/v2/images/{}/probe/screenshot", image["id"]);
    assert_eq!(service.get(&path).status(), 409);

    let image = service.import("silent", "hal1", &printing("", false));
    let probe = probed(&service, &image);
    assert_eq!(probe["end"], "time-limit");
    assert!(probe["seconds"].as_f64().unwrap() >= 4.0, "{probe}");
    let kernel = finding(&service, &image, "kernel");
    let message = kernel["message"].as_str().unwrap();
    assert!(
        message.contains("no kernel showed itself in the"),
        "{kernel}"
    );
}

#[test]
fn what_cannot_be_probed_is_refused_with_the_reason() {
    let service = Service::start();
    let image = service.import("x", "hal1", &raw_disk(4, b""));
    let path = format!("/v2/images/{}/actions", image["id"]);
    for (region, status, words) in [
        ("nowhere", 422, "there is no region"),
        ("nbg1", 409, "is not available in nbg1"),
    ] {
        let answer = service.call("POST", &path, &json!({"type": "probe", "region": region}));
        assert_eq!(answer.status(), status, "{}", answer.body());
        assert!(answer.body().contains(words), "{}", answer.body());
    }
    let waiting = service.upload(4 << 20);
    let request = json!({"name": "w", "upload": waiting, "region": "hal1"});
    let waiting = body(&service.call("POST", "/v2/images", &request));
    let path = format!("/v2/images/{}/actions", waiting["image"]["id"]);
    let answer = service.call("POST", &path, &json!({"type": "probe"}));
    assert_eq!(answer.status(), 409, "{}", answer.body());

    let service = Service::start_with("[probe]\nconcurrent = 0\n");
    let image = service.import("x", "hal1", &raw_disk(4, b""));
    let path = format!("/v2/images/{}/actions", image["id"]);
    let answer = service.call("POST", &path, &json!({"type": "probe"}));
    assert_eq!(answer.status(), 409);
    assert!(
        answer.body().contains("switched probes off"),
        "{}",
        answer.body()
    );
}

#[test]
fn a_probe_ends_with_its_image_and_holds_up_nothing() {
    let service = Service::start_with(MEMORY);
    let image = service.import("x", "hal1", &printing("GRUB loading.\r\n", false));
    let action = begin(&service, &image);
    // It is not begun twice.
    assert_eq!(begin(&service, &image), action);
    let path = format!("/v2/images/{}", image["id"]);
    let probe = wait_for(|| {
        let answer = service.get(&format!("{path}/probe"));
        let probe = (answer.status() == 200).then(|| body(&answer)["probe"].clone())?;
        names(&probe).contains(&"boot-loader").then_some(probe)
    });
    assert_eq!(
        (&probe["status"], &probe["end"]),
        (&json!("running"), &Value::Null)
    );
    let progress = service.json(&format!("/v2/actions/{action}"));
    assert_eq!(progress["action"]["status"], "in-progress");

    let transfer = json!({"type": "transfer", "region": "nbg1"});
    let answer = service.call("POST", &format!("{path}/actions"), &transfer);
    let transfer = body(&answer)["action"]["id"].as_i64().unwrap();
    assert_eq!(ended(&service, transfer)["status"], "completed");

    assert_eq!(machines(&service), 1);
    assert_eq!(service.send("DELETE", &path, &[], b"").status(), 204);
    let action = ended(&service, action);
    assert_eq!(action["abbild"]["reason"], "the image was deleted");
    wait_for(|| (machines(&service) == 0).then_some(()));
}

#[test]
fn a_probe_begins_again_after_a_restart() {
    let mut service = Service::start_with(&format!("{MEMORY}time_limit_seconds = 6\n"));
    let image = service.import("x", "hal1", &printing("GRUB loading.\r\n", false));
    let action = begin(&service, &image);
    wait_for(|| (machines(&service) == 1).then_some(()));
    service.stop();
    assert_eq!(machines(&service), 0);
    // As a machine of a process that was killed.
    std::fs::create_dir(service.data().join("regions/hal1/probes/77")).unwrap();
    service.resume();
    assert_eq!(ended(&service, action)["status"], "completed");
    assert_eq!(machines(&service), 0);
    let probe = service.json(&format!("/v2/images/{}/probe", image["id"]));
    assert_eq!(probe["probe"]["end"], "time-limit");
}

#[test]
fn every_import_is_probed_if_the_operator_wants_it() {
    let service = Service::start_with(&format!("{MEMORY}automatic = true\n"));
    let text = "Kernel panic - not syncing: x\r\n";
    let image = service.import("x", "hal1", &printing(text, false));
    let actions = service.json(&format!("/v2/images/{}/actions", image["id"]));
    let action = &actions["actions"][0];
    assert_eq!(action["type"], "probe");
    let action = ended(&service, action["id"].as_i64().unwrap());
    assert_eq!(action["status"], "completed", "{action}");
    assert_eq!(finding(&service, &image, "kernel")["basis"], "proven");
}
