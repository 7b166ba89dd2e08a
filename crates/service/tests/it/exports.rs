//! Downloads: the five formats, continued anywhere, and what cannot be had.

use std::path::Path;
use std::process::Command;

use serde_json::json;
use sha2::{Digest, Sha256};

use crate::service::{Service, body, raw_disk};

/// Not only zeros, and not a multiple of anything.
fn disk() -> Vec<u8> {
    let mut disk = raw_disk(12, b"content");
    for (index, byte) in disk[5 << 20..7 << 20].iter_mut().enumerate() {
        *byte = (index * 7 + index / 251) as u8;
    }
    disk[11 << 20..][..3].copy_from_slice(b"end");
    disk
}

fn qemu_img(arguments: &[&str]) -> String {
    let output = Command::new("qemu-img").args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {text}");
    String::from_utf8(output.stdout).unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn every_format_is_what_was_uploaded() {
    let service = Service::start();
    let image = service.import("My image/ä", "hal1", &disk());
    let raw = service.directory.path().join("original");
    std::fs::write(&raw, disk()).unwrap();
    let path = format!("/v2/images/{}/export", image["id"]);

    for (query, format) in [
        ("format=raw", "raw"),
        ("format=qcow2", "qcow2"),
        ("format=qcow2&compress=false", "qcow2"),
        ("format=vhdx", "vhdx"),
        ("format=vdi&compress=false", "vdi"),
        ("format=vmdk", "vmdk"),
        ("format=vmdk&compress=true", "vmdk"),
    ] {
        let answer = service.download(&format!("{path}?{query}"), &[]);
        assert_eq!(answer.status(), 200, "{query}");
        let headers = answer.headers();
        assert_eq!(headers["content-type"], "application/octet-stream");
        let name = headers["content-disposition"].to_str().unwrap();
        let expected = format!(
            "attachment; filename=\"My_image__.{format}\"; filename*=UTF-8''My%20image%2F%C3%A4.{format}"
        );
        assert_eq!(name, expected);
        let file = service.directory.path().join(format!("file.{format}"));
        std::fs::write(&file, answer.body()).unwrap();
        qemu_img(&[
            "compare",
            "-f",
            format,
            "-F",
            "raw",
            text(&file),
            text(&raw),
        ]);
        if format != "raw" {
            let info = qemu_img(&["info", "--output=json", "-f", format, text(&file)]);
            assert!(info.contains("12582912"), "{info}");
        }
        // Again, and from the middle on, it is the same file.
        if !query.contains("vmdk&compress=true") {
            let length = answer.body().len();
            assert_eq!(headers["content-length"], length.to_string().as_str());
            let tag = headers["etag"].to_str().unwrap();
            let middle = length / 3;
            let range = format!("bytes={middle}-");
            let rest = [("range", range.as_str()), ("if-range", tag)];
            let rest = service.download(&format!("{path}?{query}"), &rest);
            assert_eq!(rest.status(), 206, "{query}");
            let content_range = format!("bytes {middle}-{}/{length}", length - 1);
            assert_eq!(rest.headers()["content-range"], content_range.as_str());
            assert!(rest.body()[..] == answer.body()[middle..], "{query}");
        }
    }
}

#[test]
fn the_canonical_image_has_the_digest_as_its_name() {
    let service = Service::start();
    let image = service.import("one", "hal1", &disk());
    let digest = image["abbild"]["digest"].as_str().unwrap();
    let digest = digest.strip_prefix("sha256:").unwrap();
    let path = format!("/v2/images/{}/export", image["id"]);
    let answer = service.download(&path, &[]);
    assert_eq!(hex::encode(Sha256::digest(answer.body())), digest);
    let tag = format!("\"{digest}\"");
    assert_eq!(answer.headers()["etag"], tag.as_str());
    let again = service.download(&path, &[("if-none-match", &tag)]);
    assert_eq!(again.status(), 304);

    let head = service.send("HEAD", &path, &[], b"");
    assert_eq!(head.status(), 200);
    let length = answer.body().len().to_string();
    assert_eq!(head.headers()["content-length"], length.as_str());
    assert_eq!(head.headers()["accept-ranges"], "bytes");
}

#[test]
fn ranges_are_those_of_the_standard() {
    let service = Service::start();
    let image = service.import("one", "hal1", &disk());
    let path = format!("/v2/images/{}/export?format=raw", image["id"]);
    let whole = disk();
    let end = whole.len();
    for (range, status, span) in [
        ("bytes=0-0", 206, 0..1),
        ("bytes=5242880-6291457", 206, 5242880..6291458),
        ("bytes=-3", 206, end - 3..end),
        ("bytes=12582911-99999999999", 206, end - 1..end),
        // Several at once are not worth the trouble, and need not be served.
        ("bytes=0-1,5-6", 200, 0..end),
        ("lines=1-2", 200, 0..end),
    ] {
        let answer = service.download(&path, &[("range", range)]);
        assert_eq!(answer.status(), status, "{range}");
        assert!(answer.body()[..] == whole[span], "{range}");
    }
    let behind = service.download(&path, &[("range", "bytes=12582912-")]);
    assert_eq!(behind.status(), 416);
    assert_eq!(behind.headers()["content-range"], "bytes */12582912");
    // The file that the client has begun is another one.
    let other = [("range", "bytes=5-9"), ("if-range", "\"other\"")];
    let answer = service.download(&path, &other);
    assert_eq!((answer.status().as_u16(), answer.body().len()), (200, end));
}

#[test]
fn what_cannot_be_had_is_said() {
    let service = Service::start();
    let image = service.import("one", "hal1", &disk());
    let path = format!("/v2/images/{}/export", image["id"]);
    for (query, words) in [
        ("format=iso", "`iso`; there are raw, qcow2, vhdx, vdi, vmdk"),
        ("format=vdi&compress=true", "a vdi has no compression"),
        ("compress=maybe", "compress"),
    ] {
        let answer = service.get(&format!("{path}?{query}"));
        assert_eq!(answer.status(), 422, "{}", answer.body());
        assert!(answer.body().contains(words), "{}", answer.body());
    }
    let upload = service.upload(1 << 20);
    let request = json!({"name": "late", "upload": upload, "region": "hal1"});
    let late = body(&service.call("POST", "/v2/images", &request));
    let answer = service.get(&format!("/v2/images/{}/export", late["image"]["id"]));
    assert_eq!(answer.status(), 409, "{}", answer.body());
    let failed = service.import("bad", "hal1", &vec![0x5a; 1 << 20]);
    let answer = service.get(&format!("/v2/images/{}/export", failed["id"]));
    assert_eq!(answer.status(), 422, "{}", answer.body());
    assert!(
        answer.body().contains("partition table"),
        "{}",
        answer.body()
    );
}
