//! Import by URL: what is fetched from proper servers, how it goes on after interruptions, and
//! what is refused at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::fetch_web::{SETTINGS, Web, file, reply};
use crate::service::{Service, body, raw_disk, wait_for};

fn post(service: &Service, request: &Value) -> Value {
    let answer = service.call("POST", "/v2/images", request);
    assert_eq!(answer.status(), 202, "{}", answer.body());
    body(&answer)["image"].clone()
}

fn import(service: &Service, url: &str) -> Value {
    let image = post(
        service,
        &json!({"name": "fetched", "url": url, "region": "hal1"}),
    );
    service.ended(image["id"].as_i64().unwrap())
}

/// The digest that the canonical image of `disk` has.
fn digest_of(service: &Service, disk: &[u8]) -> Value {
    service.import("reference", "hal1", disk)["abbild"]["digest"].clone()
}

#[test]
fn a_presigned_url_becomes_an_image_in_all_its_regions() {
    let service = Service::start_with(SETTINGS);
    let disk = Arc::new(raw_disk(8, b"fetched"));
    let served = disk.clone();
    let web = Web::start(move |asked, stream| file(asked, stream, &served, "\"1\"", usize::MAX));
    let checksum = format!("sha256:{}", hex::encode(Sha256::digest(&*disk)));
    let url = format!("{}/get?file=x&X-Amz-Signature=secret#part", web.url);
    let image = post(
        &service,
        &json!({
            "name": "terraform", "url": url, "region": "nbg1", "regions": ["hal1"],
            "distribution": "Unkown", "description": "", "tags": null, "checksum": checksum,
        }),
    );
    assert_eq!(image["status"], "NEW");
    assert_eq!(image["abbild"]["stage"], "receiving");
    assert_eq!(image["abbild"]["url"], format!("{}/get", web.url));
    assert!(image["abbild"]["upload"].is_null());
    let id = image["id"].as_i64().unwrap();
    let image = service.ended(id);
    assert_eq!(image["status"], "available", "{image}");
    assert_eq!(image["distribution"], "Unknown");
    assert_eq!(image["abbild"]["digest"], digest_of(&service, &disk));
    assert!(image["abbild"]["url"].is_null());
    wait_for(|| {
        let image = service.json(&format!("/v2/images/{id}"))["image"].clone();
        (image["regions"] == json!(["nbg1", "hal1"])).then_some(())
    });
    service.nothing_left();

    let asked = web.asked();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert_eq!(asked[0].method, "GET");
    assert_eq!(asked[0].target, "/get?file=x&X-Amz-Signature=secret");
    assert_eq!(asked[0].header("accept-encoding"), Some("identity"));
    for name in ["range", "cookie", "referer", "authorization"] {
        assert_eq!(asked[0].header(name), None);
    }
    let actions = service.json(&format!("/v2/images/{id}/actions"))["actions"].clone();
    assert_eq!(actions.as_array().unwrap().len(), 2);
    assert!(!actions.to_string().contains("secret"));
}

#[test]
fn what_can_be_known_is_refused_at_once() {
    let service = Service::start_with(SETTINGS);
    let good = "https://example.org/x";
    for (request, reason) in [
        (json!({}), "`url` or `upload`"),
        (json!({"url": good, "upload": "x"}), "not from several"),
        (json!({"url": "image.qcow2"}), "not a URL"),
        (json!({"url": "file:///etc/passwd"}), "`file:`"),
        (
            json!({"url": "http://169.254.169.254/latest"}),
            "link-local",
        ),
        (json!({"url": "http://127.0.0.1:8080/v2"}), "loopback"),
        (json!({"url": "http://0x7f.1/"}), "loopback"),
        (json!({"url": "http://[::ffff:10.0.0.1]/"}), "private"),
        (json!({"url": "https://u:p@example.org/x"}), "password"),
        (json!({"url": "http://example.org:25/"}), "port 25"),
        (json!({"url": good, "checksum": "md5:00"}), "proves nothing"),
        (json!({"url": good, "checksum": "sha256:00"}), "64"),
        (json!({"url": good, "region": "mars"}), "no region"),
    ] {
        let mut whole = json!({"name": "x", "region": "hal1"});
        for (key, value) in request.as_object().unwrap() {
            whole[key] = value.clone();
        }
        let answer = service.call("POST", "/v2/images", &whole);
        assert_eq!(answer.status(), 422, "{whole}");
        let message = body(&answer)["message"].as_str().unwrap().to_owned();
        assert!(message.contains(reason), "{whole}: {message}");
    }
    assert_eq!(service.json("/v2/images")["meta"]["total"], 0);
    service.nothing_left();

    let closed = Service::start_with("[fetch]\nenabled = false");
    let request = json!({"name": "x", "region": "hal1", "url": good});
    let answer = closed.call("POST", "/v2/images", &request);
    assert_eq!(answer.status(), 422);
    assert!(answer.body().contains("/v2/uploads"), "{}", answer.body());
}

#[test]
fn a_broken_connection_is_continued_where_it_broke() {
    let service = Service::start_with(SETTINGS);
    let disk = Arc::new(raw_disk(8, b"broken"));
    let served = disk.clone();
    let web = Web::start(move |asked, stream| file(asked, stream, &served, "\"1\"", 3 << 20));
    let image = import(&service, &web.url);
    assert_eq!(image["status"], "available", "{image}");
    assert_eq!(image["abbild"]["digest"], digest_of(&service, &disk));
    let asked = web.asked();
    let from: Vec<_> = asked.iter().map(|asked| asked.from()).collect();
    assert_eq!(from, [None, Some(3 << 20), Some(6 << 20)]);
    assert_eq!(asked[1].header("if-range"), Some("\"1\""));
}

#[test]
fn a_fetch_goes_on_after_a_restart_from_the_synced_byte() {
    let disk = Arc::new(raw_disk(8, b"restart"));
    let served = disk.clone();
    let web = Web::start(move |asked, stream| {
        let first = asked.number == 0;
        file(
            asked,
            stream,
            &served,
            "\"1\"",
            if first { 5 << 20 } else { usize::MAX },
        );
        if first {
            std::thread::sleep(Duration::from_secs(60)); // the connection stands, and is silent
        }
    });
    let mut service = Service::start_with("[fetch]\nallow = [\"127.0.0.2/32\"]");
    let request = json!({"name": "x", "url": web.url, "region": "hal1"});
    let id = post(&service, &request)["id"].as_i64().unwrap();
    let path = format!("/v2/images/{id}");
    // Seen while it runs, and made safe after a few seconds although nothing more comes.
    wait_for(|| {
        let progress = service.json(&path)["image"]["abbild"]["progress"].clone();
        (progress == json!({"done": 5 << 20, "total": 8 << 20})).then_some(())
    });
    wait_for(|| (service.received() == 5 << 20).then_some(()));
    service.stop();

    let uploads: Vec<_> = service.leftovers();
    let mut bytes = std::fs::read(&uploads[0]).unwrap();
    bytes.extend_from_slice(b"never counted");
    std::fs::write(&uploads[0], bytes).unwrap();
    service.resume();
    let image = service.ended(id);
    assert_eq!(image["status"], "available", "{image}");
    assert_eq!(image["abbild"]["digest"], digest_of(&service, &disk));
    let asked = web.asked();
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[1].from(), Some(5 << 20));
}

#[test]
fn compressed_content_is_taken_as_it_lies_there() {
    let service = Service::start_with(SETTINGS);
    let disk = raw_disk(8, b"zipped");
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gz, &disk).unwrap();
    let gz = gz.finish().unwrap();
    let checksum = format!("sha256:{}", hex::encode(Sha256::digest(&gz)));
    // Without a length, and decoded by nobody.
    let web = Web::start(move |_, stream| {
        let headers = [("Content-Encoding", "gzip"), ("Content-Type", "text/html")];
        reply(stream, "200 OK", &headers, &gz);
    });
    let request = json!({"name": "x", "url": web.url, "region": "hal1", "checksum": checksum});
    let id = post(&service, &request)["id"].as_i64().unwrap();
    let image = service.ended(id);
    assert_eq!(image["status"], "available", "{image}");
    assert_eq!(image["abbild"]["format"], "raw+gzip");
    assert_eq!(image["abbild"]["digest"], digest_of(&service, &disk));
}

#[test]
fn a_checksum_that_differs_is_told_with_both_digests() {
    let service = Service::start_with(SETTINGS);
    let disk = raw_disk(4, b"x");
    let found = format!("sha256:{}", hex::encode(Sha256::digest(&disk)));
    let expected = format!("sha256:{}", "0".repeat(64));
    let served = disk.clone();
    let web = Web::start(move |asked, stream| file(asked, stream, &served, "\"1\"", usize::MAX));
    let upload = service.upload(disk.len());
    assert_eq!(service.patch(&upload, 0, &disk).status(), 204);
    for source in [("url", &web.url), ("upload", &upload)] {
        let mut request = json!({"name": "x", "region": "hal1", "checksum": expected});
        request[source.0] = json!(source.1);
        let image = service.ended(post(&service, &request)["id"].as_i64().unwrap());
        assert_eq!(image["status"], "deleted", "{image}");
        let message = image["error_message"].as_str().unwrap();
        assert!(
            message.contains(&found) && message.contains(&expected),
            "{message}"
        );
    }
    service.nothing_left();
}

#[test]
fn deleting_the_image_ends_the_fetch() {
    let service = Service::start_with(SETTINGS);
    let web = Web::start(|_, stream| {
        reply(stream, "200 OK", &[("Content-Length", "9999999")], b"begin");
        std::thread::sleep(Duration::from_secs(60));
    });
    let request = json!({"name": "x", "url": web.url, "region": "hal1"});
    let id = post(&service, &request)["id"].as_i64().unwrap();
    wait_for(|| (!web.asked().is_empty()).then_some(()));
    let path = format!("/v2/images/{id}");
    assert_eq!(service.send("DELETE", &path, &[], b"").status(), 204);
    assert_eq!(service.json(&path)["image"]["status"], "deleted");
    // Its worker is free for the next.
    let disk = raw_disk(4, b"next");
    let next = Web::start(move |asked, stream| file(asked, stream, &disk, "\"1\"", usize::MAX));
    for _ in 0..4 {
        assert_eq!(import(&service, &next.url)["status"], "available");
    }
    assert_eq!(service.json(&path)["image"]["error_message"], "");
    service.nothing_left();
}

#[test]
fn an_account_has_so_many_fetches_at_once_and_no_upload_of_them() {
    let service = Service::start_with(SETTINGS);
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (running, high) = (now.clone(), most.clone());
    let disk = raw_disk(4, b"many");
    let web = Web::start(move |asked, stream| {
        high.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(700));
        running.fetch_sub(1, Ordering::SeqCst);
        file(asked, stream, &disk, "\"1\"", usize::MAX);
    });
    let request = json!({"name": "x", "url": web.url, "region": "hal1"});
    let ids: Vec<_> = (0..5)
        .map(|_| post(&service, &request)["id"].as_i64().unwrap())
        .collect();
    // The file of a fetch is nobody's to append to.
    let tus = [("tus-resumable", "1.0.0")];
    for file in service.leftovers() {
        let id = file.file_name().unwrap().to_str().unwrap();
        assert_eq!(
            service
                .send("HEAD", &format!("/v2/uploads/{id}"), &tus, b"")
                .status(),
            404
        );
    }
    for id in ids {
        assert_eq!(service.ended(id)["status"], "available");
    }
    assert_eq!(most.load(Ordering::SeqCst), 2);
}
