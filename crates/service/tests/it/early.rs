//! Uploads that end before their last byte: hopeless ones, and those for which there is no room.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::service::{Service, body};

/// So large that nobody sends all of it in vain; the machine must have room for it all the same.
const LARGE: usize = 512 << 20;
const TUS: (&str, &str) = ("tus-resumable", "1.0.0");

fn iso(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    bytes[32_769..32_774].copy_from_slice(b"CD001");
    bytes
}

#[test]
fn a_hopeless_upload_is_refused_by_its_first_bytes() {
    let service = Service::start();
    let upload = service.upload(LARGE);
    let request = json!({"name": "iso", "upload": upload, "regions": ["hal1", "nbg1"]});
    let image = body(&service.call("POST", "/v2/images", &request))["image"]["id"].clone();
    let answer = service.patch(&upload, 0, &iso(1 << 20));
    assert_eq!(answer.status(), 422);
    let reason = body(&answer)["message"].as_str().unwrap().to_owned();
    assert!(reason.contains("image-format"), "{reason}");
    assert!(reason.contains("ISO 9660"), "{reason}");

    let image = service.ended(image.as_i64().unwrap());
    assert_eq!(image["status"], "deleted");
    assert_eq!(image["error_message"], reason.as_str());
    assert_eq!(image["abbild"]["verdict"], "refused");
    let report = service.json(&format!("/v2/images/{}/report", image["id"]));
    assert_eq!(report["verdict"], "refused");
    service.nothing_left();
    // The upload is remembered as refused.
    let path = format!("/v2/uploads/{upload}");
    assert_eq!(service.send("HEAD", &path, &[TUS], b"").status(), 410);
    let again = service.patch(&upload, 0, b"more");
    assert_eq!(again.status(), 422);
    assert_eq!(body(&again)["message"], reason.as_str());
    let answer = service.call("POST", "/v2/images", &request);
    assert_eq!(answer.status(), 422);
    assert!(body(&answer)["message"].as_str().unwrap().contains("ISO"));
    assert_eq!(service.send("DELETE", &path, &[TUS], b"").status(), 204);
}

#[test]
fn the_reason_is_the_one_that_the_import_would_give() {
    let service = Service::start();
    let bytes = iso(1 << 20);
    let upload = service.upload(bytes.len());
    let early = body(&service.patch(&upload, 0, &bytes))["message"].clone();
    // So small that nobody looks before it is complete.
    let late = service.import("small", "hal1", &iso(40_000))["error_message"].clone();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    assert_eq!(text(&early), text(&late));
}

#[test]
fn a_client_that_still_sends_reads_the_refusal() {
    let service = Service::start();
    let upload = service.upload(LARGE);
    let host = service.url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(host).unwrap();
    let request = format!(
        "PATCH /v2/uploads/{upload} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {}\r\n\
         tus-resumable: 1.0.0\r\ncontent-type: application/offset+octet-stream\r\n\
         upload-offset: 0\r\ncontent-length: {}\r\n\r\n",
        service.token, LARGE
    );
    stream.write_all(request.as_bytes()).unwrap();
    // Like a client that does not read before it has sent everything: it goes on until writing
    // fails, and only then looks for an answer.
    let bytes = iso(1 << 20);
    let mut sent = 0;
    while sent < LARGE && stream.write_all(&bytes).is_ok() {
        sent += bytes.len();
    }
    assert!(sent < LARGE / 2, "{sent} bytes were taken");
    let mut answer = vec![0; 4096];
    let read = stream.read(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer[..read]);
    assert!(answer.starts_with("HTTP/1.1 422"), "{answer}");
    assert!(answer.contains("ISO 9660"), "{answer}");
}

#[test]
fn an_upload_that_cannot_fit_is_refused_with_the_numbers() {
    let service = Service::start_with("[limits]\nmax_upload_size = 4000000000000000000");
    let length = (1_u64 << 60).to_string();
    let headers = [TUS, ("upload-length", &*length)];
    let answer = service.send("POST", "/v2/uploads", &headers, b"");
    assert_eq!(answer.status(), 507, "{}", answer.body());
    let message = body(&answer)["message"].as_str().unwrap().to_owned();
    assert!(message.contains(&length), "{message}");
    assert!(message.contains("reserve"), "{message}");

    // What is promised to one is not there for another, until it is given up.
    let free = rustix::fs::statvfs(service.data()).unwrap();
    let most = (free.f_bavail * free.f_frsize * 2 / 3).to_string();
    let headers = [TUS, ("upload-length", &*most)];
    let first = service.send("POST", "/v2/uploads", &headers, b"");
    assert_eq!(first.status(), 201, "{}", first.body());
    let second = service.send("POST", "/v2/uploads", &headers, b"");
    assert_eq!(second.status(), 507, "{}", second.body());
    let path = &first.headers()["location"].to_str().unwrap()[service.url.len()..];
    assert_eq!(service.send("DELETE", path, &[TUS], b"").status(), 204);
    let third = service.send("POST", "/v2/uploads", &headers, b"");
    assert_eq!(third.status(), 201);
}

#[test]
fn uploads_at_once_are_limited() {
    let service = Service::start_with("[quotas]\nuploads = 2");
    let headers = [TUS, ("upload-length", "2")];
    let first = service.upload(2);
    service.upload(2);
    let answer = service.send("POST", "/v2/uploads", &headers, b"");
    assert_eq!(answer.status(), 429, "{}", answer.body());
    assert_eq!(service.patch(&first, 0, b"ab").status(), 204);
    service.upload(2);

    let service = Service::start_with("[limits]\nuploads_total = 1");
    service.upload(2);
    let answer = service.send("POST", "/v2/uploads", &headers, b"");
    assert_eq!(answer.status(), 503, "{}", answer.body());
}
