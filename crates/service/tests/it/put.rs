//! `PUT /v2/uploads/{name}`, and what curl makes of it.

use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::service::{Service, body, raw_disk};

fn curl(service: &Service, arguments: &[&str]) -> Output {
    Command::new("curl")
        .args(["--silent", "--show-error", "--header"])
        .arg(format!("Authorization: Bearer {}", service.token))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[track_caller]
fn json(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text)
        .unwrap_or_else(|e| panic!("{e}: {text}{}", String::from_utf8_lossy(&output.stderr)))
}

fn file(service: &Service, name: &str, bytes: &[u8]) -> String {
    let path = service.directory.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn curl_uploads_a_file_and_makes_an_image_of_it() {
    let service = Service::start();
    let disk = file(&service, "disk.img", &raw_disk(4, b"curl"));
    let url = format!(
        "{}/v2/uploads/debian?region=hal1&region=nbg1&tag=a&description=d",
        service.url
    );
    let image = json(&curl(&service, &["-T", &disk, &url]))["image"].clone();
    assert_eq!(image["name"], "debian");
    assert_eq!(image["tags"][0], "a");
    let image = service.ended(image["id"].as_i64().unwrap());
    assert_eq!(image["status"], "available", "{image}");
    assert_eq!(image["abbild"]["regions"][1]["slug"], "nbg1");
    service.nothing_left();
    // The name is free again.
    let again = json(&curl(&service, &["-T", &disk, &url]));
    assert_eq!(again["image"]["name"], "debian");
}

#[test]
fn curl_sends_what_it_does_not_know_the_length_of() {
    let service = Service::start();
    let disk = file(&service, "disk.img", &raw_disk(4, b"chunked"));
    let url = format!("{}/v2/uploads/piped", service.url);
    let output = Command::new("curl")
        .args(["--silent", "--header"])
        .arg(format!("Authorization: Bearer {}", service.token))
        .args(["-T", "-", &url])
        .stdin(std::fs::File::open(&disk).unwrap())
        .output()
        .unwrap();
    let upload = json(&output)["upload"].clone();
    assert_eq!(upload["complete"], true);
    assert_eq!(upload["length"], 4 << 20);
    assert_eq!(upload["name"], "piped");
}

#[test]
fn curl_continues_where_it_was_interrupted() {
    let service = Service::start();
    let bytes = raw_disk(8, b"interrupted");
    let disk = file(&service, "disk.img", &bytes);
    let url = format!("{}/v2/uploads/half?region=hal1", service.url);
    let slowly = ["-T", &disk, &url, "--limit-rate", "2M", "--max-time", "1"];
    assert_eq!(curl(&service, &slowly).status.code(), Some(28), "a timeout");
    let ask = [
        "-I",
        "-o",
        "/dev/null",
        "-w",
        "%header{upload-offset}",
        &url,
    ];
    let offset = crate::service::wait_for(|| {
        let output = String::from_utf8(curl(&service, &ask).stdout).unwrap();
        (!output.is_empty() && output != "0").then_some(output)
    });
    assert!(offset.parse::<usize>().unwrap() < bytes.len(), "{offset}");
    let wrong = curl(&service, &["-C", "7", "-T", &disk, &url]);
    let message = json(&wrong)["message"].as_str().unwrap().to_owned();
    assert!(
        message.contains(&format!("continues at {offset}")),
        "{message}"
    );
    let image = json(&curl(&service, &["-C", &offset, "-T", &disk, &url]))["image"].clone();
    let image = service.ended(image["id"].as_i64().unwrap());
    assert_eq!(image["status"], "available", "{image}");
}

#[test]
fn a_put_without_a_range_begins_anew() {
    let service = Service::start();
    let path = "/v2/uploads/again";
    let first = [("content-range", "bytes 0-4/10")];
    let answer = service.send("PUT", path, &first, b"01234");
    assert_eq!(answer.status(), 201, "{}", answer.body());
    assert_eq!(body(&answer)["upload"]["received"], 5);
    assert_eq!(body(&answer)["upload"]["complete"], false);
    for (range, bytes, status) in [
        ("bytes 6-9/10", &b"6789"[..], 409),
        ("bytes 5-9/11", b"56789", 400),
        ("bytes 5-9/10", b"567", 400),
        ("bytes nonsense", b"56789", 400),
    ] {
        let answer = service.send("PUT", path, &[("content-range", range)], bytes);
        assert_eq!(answer.status(), status, "{range}: {}", answer.body());
    }
    let answer = service.send("PUT", path, &[], b"other");
    assert_eq!(body(&answer)["upload"]["length"], 5);
    assert_eq!(body(&answer)["upload"]["complete"], true);
    let id = body(&answer)["upload"]["id"].as_str().unwrap().to_owned();
    let stored = service.data().join("uploads").join(id);
    assert_eq!(std::fs::read(stored).unwrap(), b"other");
    let none = service.send(
        "PUT",
        "/v2/uploads/none",
        &[("content-range", "bytes 5-9/10")],
        b"56789",
    );
    assert_eq!(none.status(), 409);
    assert_eq!(service.send("DELETE", path, &[], b"").status(), 204);
}

#[test]
fn a_put_that_is_hopeless_is_told_so() {
    let service = Service::start();
    let garbage: Vec<u8> = (0..1_u32 << 20).flat_map(|n| n.to_le_bytes()).collect();
    let garbage = file(&service, "garbage", &garbage);
    let url = format!("{}/v2/uploads/garbage?region=hal1", service.url);
    let answer = json(&curl(&service, &["-T", &garbage, &url]));
    let message = answer["message"].as_str().unwrap();
    assert!(message.contains("no partition table"), "{message}");
    let images = service.json("/v2/images");
    assert_eq!(images["images"][0]["status"], "deleted");
    assert_eq!(images["images"][0]["error_message"], message);
    let unknown = format!("{}/v2/uploads/x?region=nowhere", service.url);
    let answer = json(&curl(&service, &["-T", &garbage, &unknown]));
    assert!(answer["message"].as_str().unwrap().contains("nowhere"));
}
