//! tus 1.0.0, rule by rule of its specification.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::json;

use crate::service::{Answer, Service, body, raw_disk, wait_for};

const TUS: (&str, &str) = ("tus-resumable", "1.0.0");
const OCTETS: (&str, &str) = ("content-type", "application/offset+octet-stream");

fn create(service: &Service, headers: &[(&str, &str)], bytes: &[u8]) -> Answer {
    let headers: Vec<_> = std::iter::once(&TUS).chain(headers).copied().collect();
    service.send("POST", "/v2/uploads", &headers, bytes)
}

/// Makes an upload and returns its path.
#[track_caller]
fn created(service: &Service, headers: &[(&str, &str)], bytes: &[u8]) -> String {
    let answer = create(service, headers, bytes);
    assert_eq!(answer.status(), 201, "{}", answer.body());
    let location = answer.headers()["location"].to_str().unwrap();
    assert!(location.starts_with(&service.url), "{location}");
    location[service.url.len()..].to_owned()
}

fn patch(service: &Service, path: &str, at: &str, more: &[(&str, &str)], bytes: &[u8]) -> Answer {
    let mut headers = vec![TUS, OCTETS, ("upload-offset", at)];
    headers.extend(more);
    service.send("PATCH", path, &headers, bytes)
}

fn head(service: &Service, path: &str) -> Answer {
    service.send("HEAD", path, &[TUS], b"")
}

fn stored(service: &Service, path: &str) -> Vec<u8> {
    let id = path.rsplit('/').next().unwrap();
    std::fs::read(service.data().join("uploads").join(id)).unwrap()
}

fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    answer.headers().get(name).map(|v| v.to_str().unwrap())
}

#[test]
fn the_version_is_named_everywhere_and_must_be_right() {
    let service = Service::start();
    let path = created(&service, &[("upload-length", "5")], b"");
    for (method, path) in [
        ("POST", "/v2/uploads"),
        ("PATCH", &*path),
        ("HEAD", &*path),
        ("DELETE", &*path),
    ] {
        for headers in [&[][..], &[("tus-resumable", "0.2.2")]] {
            let answer = service.send(method, path, headers, b"");
            assert_eq!(answer.status(), 412, "{method} {headers:?}");
            assert_eq!(header(&answer, "tus-version"), Some("1.0.0"), "{method}");
            assert_eq!(header(&answer, "tus-resumable"), Some("1.0.0"), "{method}");
        }
    }
    let missing = head(&service, "/v2/uploads/none");
    assert_eq!(missing.status(), 404);
    assert_eq!(header(&missing, "tus-resumable"), Some("1.0.0"));
    assert_eq!(header(&missing, "upload-offset"), None);
    assert_eq!(
        patch(&service, "/v2/uploads/none", "0", &[], b"x").status(),
        404
    );
}

#[test]
fn a_length_is_given_or_deferred_and_never_changes() {
    let service = Service::start();
    for wrong in [
        &[][..],
        &[("upload-length", "-1")],
        &[("upload-length", "+1")],
        &[("upload-length", "many")],
        &[("upload-defer-length", "2")],
        &[("upload-defer-length", "1"), ("upload-length", "5")],
    ] {
        assert_eq!(create(&service, wrong, b"").status(), 400, "{wrong:?}");
    }
    let path = created(&service, &[("upload-defer-length", "1")], b"");
    let answer = head(&service, &path);
    assert_eq!(header(&answer, "upload-defer-length"), Some("1"));
    assert_eq!(header(&answer, "upload-length"), None);
    assert_eq!(patch(&service, &path, "0", &[], b"01234").status(), 204);
    let length = |n| [("upload-length", n)];
    assert_eq!(patch(&service, &path, "5", &length("4"), b"").status(), 400);
    let huge = length("999999999999999");
    assert_eq!(patch(&service, &path, "5", &huge, b"").status(), 413);
    assert_eq!(
        patch(&service, &path, "5", &length("8"), b"5").status(),
        204
    );
    let answer = head(&service, &path);
    assert_eq!(header(&answer, "upload-defer-length"), None);
    assert_eq!(header(&answer, "upload-length"), Some("8"));
    assert_eq!(
        patch(&service, &path, "6", &length("9"), b"6").status(),
        400
    );
    assert_eq!(
        patch(&service, &path, "6", &length("8"), b"67").status(),
        204
    );
    assert_eq!(stored(&service, &path), b"01234567");
    // An empty upload is complete at once.
    let path = created(&service, &[("upload-length", "0")], b"");
    assert_eq!(header(&head(&service, &path), "upload-offset"), Some("0"));
}

#[test]
fn a_creation_may_bring_the_first_bytes() {
    let service = Service::start();
    let headers = [TUS, OCTETS, ("upload-length", "10")];
    let answer = service.send("POST", "/v2/uploads", &headers, b"01234");
    assert_eq!(answer.status(), 201);
    assert_eq!(header(&answer, "upload-offset"), Some("5"));
    assert!(answer.headers().contains_key("upload-expires"));
    let path = created(&service, &[OCTETS, ("upload-length", "3")], b"abc");
    assert_eq!(stored(&service, &path), b"abc");
    // Bytes of another type are not part of the upload.
    let path = created(
        &service,
        &[("upload-length", "3"), ("content-type", "text/plain")],
        b"abc",
    );
    assert_eq!(header(&head(&service, &path), "upload-offset"), Some("0"));
}

#[test]
fn metadata_is_kept_as_it_came_and_must_be_well_formed() {
    let service = Service::start();
    let length = ("upload-length", "3");
    let good = "filename aW1hZ2U=,is_confidential";
    let path = created(&service, &[length, ("upload-metadata", good)], b"");
    assert_eq!(
        header(&head(&service, &path), "upload-metadata"),
        Some(good)
    );
    for bad in [
        "filename ###",
        "a YQ==,a Yg==",
        "a YQ==,,b Yg==",
        // "short", which is no SHA-256.
        "sha256 c2hvcnQ=",
    ] {
        let answer = create(&service, &[length, ("upload-metadata", bad)], b"");
        assert_eq!(answer.status(), 400, "{bad}");
    }
}

#[test]
fn a_chunk_counts_only_if_its_checksum_is_right() {
    let service = Service::start();
    let path = created(&service, &[("upload-length", "22")], b"");
    let checksum = |value| [("upload-checksum", value)];
    let wrong = checksum("sha1 AAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    let answer = patch(&service, &path, "0", &wrong, b"hello world");
    assert_eq!(answer.status(), 460);
    assert_eq!(body(&answer)["id"], "checksum_mismatch");
    assert_eq!(header(&head(&service, &path), "upload-offset"), Some("0"));
    assert_eq!(stored(&service, &path), b"");
    for bad in ["sha3 AAAA", "sha1", "sha1 ###"] {
        let answer = patch(&service, &path, "0", &checksum(bad), b"hello world");
        assert_eq!(answer.status(), 400, "{bad}");
    }
    let right = checksum("sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=");
    assert_eq!(
        patch(&service, &path, "0", &right, b"hello world").status(),
        204
    );
    let right = checksum("sha256 uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek=");
    assert_eq!(
        patch(&service, &path, "11", &right, b"hello world").status(),
        204
    );
    assert_eq!(stored(&service, &path), b"hello worldhello world");
}

/// One request by hand, because ordinary clients send no trailers, and its answer.
fn raw(service: &Service, head: &str, body: &[u8]) -> String {
    let host = service.url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(host).unwrap();
    let head = format!(
        "{head}\r\nhost: {host}\r\nauthorization: Bearer {}\r\ntus-resumable: 1.0.0\r\n\
         connection: close\r\n\r\n",
        service.token
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_checksum_may_follow_its_chunk() {
    let service = Service::start();
    let path = created(&service, &[("upload-length", "11")], b"");
    let head_lines = format!(
        "PATCH {path} HTTP/1.1\r\ncontent-type: application/offset+octet-stream\r\n\
         upload-offset: 0\r\ntransfer-encoding: chunked\r\ntrailer: Upload-Checksum"
    );
    let wrong = b"b\r\nhello world\r\n0\r\nupload-checksum: md5 AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    let answer = raw(&service, &head_lines, wrong);
    assert!(answer.starts_with("HTTP/1.1 460"), "{answer}");
    let none = b"b\r\nhello world\r\n0\r\n\r\n";
    let answer = raw(&service, &head_lines, none);
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert_eq!(header(&head(&service, &path), "upload-offset"), Some("0"));
    let right = b"b\r\nhello world\r\n0\r\nupload-checksum: md5 XrY7u+Ae7tCTyyK7j1rNww==\r\n\r\n";
    let answer = raw(&service, &head_lines, right);
    assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    assert_eq!(header(&head(&service, &path), "upload-offset"), Some("11"));
}

#[test]
fn what_arrived_before_a_connection_broke_is_kept() {
    let service = Service::start();
    let path = created(&service, &[("upload-length", "1000")], b"");
    let host = service.url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(host).unwrap();
    let request = format!(
        "PATCH {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {}\r\n\
         tus-resumable: 1.0.0\r\ncontent-type: application/offset+octet-stream\r\n\
         upload-offset: 0\r\ncontent-length: 1000\r\n\r\n0123456789",
        service.token
    );
    stream.write_all(request.as_bytes()).unwrap();
    drop(stream);
    wait_for(|| {
        let answer = head(&service, &path);
        (header(&answer, "upload-offset") == Some("10")).then_some(())
    });
    assert_eq!(
        patch(&service, &path, "10", &[], &[b'x'; 990]).status(),
        204
    );
}

#[test]
fn a_newer_request_goes_on_where_an_older_one_hangs() {
    let service = Service::start();
    let path = created(&service, &[("upload-length", "1000")], b"");
    let host = service.url.trim_start_matches("http://");
    let request = format!(
        "PATCH {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {}\r\n\
         tus-resumable: 1.0.0\r\ncontent-type: application/offset+octet-stream\r\n\
         upload-offset: 0\r\ncontent-length: 1000\r\n\r\n0123456789",
        service.token
    );
    // On a busy machine the newer request may come before the older one has any byte, and ends it
    // all the same: then both are sent anew.
    let hanging = wait_for(|| {
        let mut hanging = TcpStream::connect(host).unwrap();
        hanging.write_all(request.as_bytes()).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(300));
        let answer = patch(&service, &path, "10", &[], b"abc");
        (answer.status() == 204).then_some(hanging)
    });
    assert_eq!(stored(&service, &path), b"0123456789abc");
    drop(hanging);
}

#[test]
fn parts_become_one_upload() {
    let service = Service::start();
    let disk = raw_disk(4, b"parts");
    let partial = ("upload-concat", "partial");
    let cuts = [0, 1 << 20, 3_000_001, disk.len()];
    let mut parts = Vec::new();
    for range in cuts.windows(2) {
        let length = (range[1] - range[0]).to_string();
        let part = created(&service, &[partial, ("upload-length", &length)], b"");
        assert_eq!(
            header(&head(&service, &part), "upload-concat"),
            Some("partial")
        );
        parts.push(part);
    }
    // One URL absolute, the others relative.
    let concat = format!(
        "final;{}{} {} {}",
        service.url, parts[0], parts[1], parts[2]
    );
    let unfinished = create(&service, &[("upload-concat", &concat)], b"");
    assert_eq!(unfinished.status(), 400, "the parts are not complete");
    for (part, range) in parts.iter().zip(cuts.windows(2)) {
        let bytes = &disk[range[0]..range[1]];
        assert_eq!(patch(&service, part, "0", &[], bytes).status(), 204);
    }
    let id = parts[0].rsplit('/').next().unwrap();
    let request = json!({"name": "part", "upload": id, "region": "hal1"});
    assert_eq!(service.call("POST", "/v2/images", &request).status(), 422);

    let whole = created(&service, &[("upload-concat", &concat)], b"");
    let answer = head(&service, &whole);
    assert_eq!(header(&answer, "upload-concat"), Some(&*concat));
    assert_eq!(
        header(&answer, "upload-length"),
        Some(&*disk.len().to_string())
    );
    assert_eq!(patch(&service, &whole, "0", &[], b"x").status(), 403);
    wait_for(|| {
        let answer = head(&service, &whole);
        (header(&answer, "upload-offset") == header(&answer, "upload-length")).then_some(())
    });
    assert!(stored(&service, &whole) == disk);
    let again = create(&service, &[("upload-concat", &concat)], b"");
    assert!(
        matches!(again.status().as_u16(), 400 | 409),
        "parts are used once"
    );

    let id = whole.rsplit('/').next().unwrap();
    let request = json!({"name": "whole", "upload": id, "region": "hal1"});
    let image = body(&service.call("POST", "/v2/images", &request))["image"]["id"].clone();
    let image = service.ended(image.as_i64().unwrap());
    assert_eq!(image["status"], "available", "{image}");
    service.nothing_left();
}

#[test]
fn a_concatenation_that_makes_no_sense_is_refused() {
    let service = Service::start();
    let whole = created(&service, &[("upload-length", "3")], b"");
    let not_a_part = format!("final;{whole}");
    for bad in [
        "final;",
        "final;/v2/images/1",
        "final;/v2/uploads/none",
        "whole",
        &*not_a_part,
    ] {
        let answer = create(&service, &[("upload-concat", bad)], b"");
        assert_eq!(answer.status(), 400, "{bad}: {}", answer.body());
    }
}

#[test]
fn a_concatenation_goes_on_after_a_restart() {
    let mut service = Service::start();
    let partial = [("upload-concat", "partial"), ("upload-length", "3"), OCTETS];
    let parts = [
        created(&service, &partial, b"abc"),
        created(&service, &partial, b"def"),
    ];
    // As a crash before the first step would leave it: the parts are claimed, nothing is joined.
    let concat = format!("final;{} {}", parts[0], parts[1]);
    let whole = created(&service, &[("upload-concat", &concat)], b"");
    service.stop();
    service.resume();
    wait_for(|| {
        let answer = head(&service, &whole);
        (header(&answer, "upload-offset") == Some("6")).then_some(())
    });
    assert_eq!(stored(&service, &whole), b"abcdef");
}

#[test]
fn deleting_ends_an_upload_for_good() {
    let service = Service::start();
    let path = created(&service, &[("upload-length", "5"), OCTETS], b"ab");
    assert_eq!(service.send("DELETE", &path, &[TUS], b"").status(), 204);
    assert_eq!(head(&service, &path).status(), 404);
    assert_eq!(patch(&service, &path, "2", &[], b"c").status(), 404);
    assert_eq!(service.send("DELETE", &path, &[TUS], b"").status(), 404);
}

#[test]
fn pages_of_other_origins_may_use_every_header() {
    let service = Service::start();
    let ask = [
        ("origin", "https://console.example"),
        ("access-control-request-method", "PATCH"),
        ("access-control-request-headers", "upload-checksum"),
    ];
    let answer = service.send("OPTIONS", "/v2/uploads/x", &ask, b"");
    let allowed = header(&answer, "access-control-allow-headers").unwrap();
    for name in [
        "tus-resumable",
        "upload-offset",
        "upload-length",
        "upload-defer-length",
        "upload-metadata",
        "upload-checksum",
        "upload-concat",
    ] {
        assert!(allowed.contains(name), "{name}");
    }
}
