//! Import by URL from servers that misbehave, and towards places that are closed.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::fetch_web::{Asked, SETTINGS, Web, file, reply};
use crate::service::{Service, body, raw_disk};

fn import(service: &Service, url: &str) -> Value {
    let request = json!({"name": "fetched", "url": url, "region": "hal1"});
    let answer = service.call("POST", "/v2/images", &request);
    assert_eq!(answer.status(), 202, "{}", answer.body());
    service.ended(body(&answer)["image"]["id"].as_i64().unwrap())
}

/// Fails to import `url`, for a reason with these words in it.
fn fails(service: &Service, url: &str, words: &[&str]) {
    let image = import(service, url);
    assert_eq!(image["status"], "deleted", "{image}");
    assert_eq!(image["abbild"]["stage"], "failed");
    let message = image["error_message"].as_str().unwrap();
    for word in words {
        assert!(message.contains(word), "{word}: {message}");
    }
    assert!(!message.contains("secret"), "{message}");
    service.nothing_left();
}

fn succeeds(service: &Service, url: &str, disk: &[u8]) {
    let image = import(service, url);
    assert_eq!(image["status"], "available", "{image}");
    let reference = service.import("reference", "hal1", disk);
    assert_eq!(image["abbild"]["digest"], reference["abbild"]["digest"]);
}

/// Serves `disk` by `answer`, which is also given the disk.
fn serving(
    disk: &[u8],
    answer: impl Fn(&Asked, &mut TcpStream, &[u8]) + Send + Sync + 'static,
) -> Web {
    let disk = disk.to_owned();
    Web::start(move |asked, stream| answer(asked, stream, &disk))
}

#[test]
fn a_hopeless_file_is_not_fetched_to_its_end() {
    let service = Service::start_with(SETTINGS);
    let mut iso = vec![0; 1 << 20];
    iso[32_769..32_774].copy_from_slice(b"CD001");
    let web = serving(&iso, |_, stream, iso| {
        let headers = [("Content-Length", "536870912"), ("ETag", "\"1\"")];
        reply(stream, "200 OK", &headers, iso);
        // The rest never comes.
        std::thread::sleep(Duration::from_secs(60));
    });
    fails(
        &service,
        &web.url,
        &["the image does not meet", "image-format", "ISO 9660"],
    );
    let image = &service.json("/v2/images")["images"][0];
    let report = service.json(&format!("/v2/images/{}/report", image["id"]));
    assert_eq!(report["verdict"], "refused");
    assert_eq!(web.asked().len(), 1);
}

#[test]
fn a_file_for_which_there_is_no_room_is_not_fetched() {
    let settings = SETTINGS.replace("retries = 3", "retries = 0");
    let service = Service::start_with(&format!(
        "[limits]\nstaging_reserve = \"4096 TiB\"\n{settings}"
    ));
    let web = serving(&raw_disk(4, b"room"), |asked, stream, disk| {
        file(asked, stream, disk, "\"1\"", usize::MAX);
    });
    fails(&service, &web.url, &["no room left"]);
    assert_eq!(service.received(), 0);
}

#[test]
fn a_server_that_ignores_ranges_begins_again() {
    let service = Service::start_with(SETTINGS);
    let disk = raw_disk(8, b"ranges");
    let web = serving(&disk, |asked, stream, disk| {
        let len = disk.len().to_string();
        let sent = if asked.number == 0 {
            3 << 20
        } else {
            disk.len()
        };
        let headers = [("Content-Length", len.as_str()), ("ETag", "\"1\"")];
        reply(stream, "200 OK", &headers, &disk[..sent]);
    });
    succeeds(&service, &web.url, &disk);
    assert_eq!(web.asked()[1].from(), Some(3 << 20));
}

#[test]
fn a_server_without_validators_begins_again_and_is_not_asked_for_ranges() {
    let service = Service::start_with(SETTINGS);
    let disk = raw_disk(8, b"validators");
    let web = serving(&disk, |asked, stream, disk| {
        let len = disk.len().to_string();
        let sent = if asked.number == 0 {
            3 << 20
        } else {
            disk.len()
        };
        let headers = [("Content-Length", len.as_str()), ("ETag", "W/\"1\"")];
        reply(stream, "200 OK", &headers, &disk[..sent]);
    });
    succeeds(&service, &web.url, &disk);
    assert_eq!(web.asked()[1].header("range"), None);
}

#[test]
fn a_range_that_was_not_asked_for_is_not_used() {
    let service = Service::start_with(SETTINGS);
    let disk = raw_disk(8, b"wrong range");
    let web = serving(&disk, |asked, stream, disk| match asked.from() {
        // Off by one, which would shift everything that follows.
        Some(from) => {
            let range = format!("bytes {}-{}/{}", from + 1, disk.len() - 1, disk.len());
            let headers = [("Content-Range", range.as_str()), ("ETag", "\"1\"")];
            reply(stream, "206 Partial Content", &headers, &disk[from + 1..]);
        }
        None => {
            let sent = if asked.number == 0 {
                3 << 20
            } else {
                disk.len()
            };
            file(asked, stream, disk, "\"1\"", sent);
        }
    });
    succeeds(&service, &web.url, &disk);
    let from: Vec<_> = web.asked().iter().map(Asked::from).collect();
    assert_eq!(from, [None, Some(3 << 20), None]);
}

#[test]
fn a_file_that_changes_on_its_way_is_fetched_anew() {
    let service = Service::start_with(SETTINGS);
    let (old, new) = (raw_disk(8, b"old"), Arc::new(raw_disk(9, b"new")));
    let served = new.clone();
    let web = serving(&old, move |asked, stream, old| match asked.number {
        0 => file(asked, stream, old, "\"old\"", 5 << 20),
        _ => file(asked, stream, &served, "\"new\"", 4 << 20),
    });
    succeeds(&service, &web.url, &new);
    let asked = web.asked();
    assert_eq!(asked[1].header("if-range"), Some("\"old\""));
    assert_eq!(asked[2].header("if-range"), Some("\"new\""));

    // One that ignores If-Range is found out by its ETag.
    let served = new.clone();
    let web = serving(&old, move |asked, stream, old| {
        if asked.number == 0 {
            return file(asked, stream, old, "\"old\"", 5 << 20);
        }
        let mut deaf = asked.clone();
        deaf.headers.remove("if-range");
        file(&deaf, stream, &served, "\"new\"", usize::MAX);
    });
    succeeds(&service, &web.url, &new);
}

#[test]
fn redirections_are_followed_where_they_may_lead_and_not_for_ever() {
    let service = Service::start_with(SETTINGS);
    let disk = raw_disk(4, b"redirected");
    // Nobody may knock here.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    closed.set_nonblocking(true).unwrap();
    let port = closed.local_addr().unwrap().port();
    let web = serving(&disk, move |asked, stream, disk| {
        let to = match asked.target.as_str() {
            "/relative?secret" => "deep/er".to_owned(),
            "/deep/er" => "/file?x=y".to_owned(),
            "/loop" => "/loop".to_owned(),
            "/inside" => format!("http://127.0.0.1:{port}/secret"),
            "/decimal" => format!("http://2130706433:{port}/"),
            "/mapped" => format!("http://[::ffff:127.0.0.1]:{port}/"),
            "/name" => format!("http://localhost:{port}/"),
            "/file-url" => "file:///etc/passwd".to_owned(),
            "/password" => format!("http://user:secret@{}/", asked.headers["host"]),
            "/port" => "http://127.0.0.2:25/".to_owned(),
            "/nowhere" => return reply(stream, "302 Found", &[], b""),
            _ => return file(asked, stream, disk, "\"1\"", usize::MAX),
        };
        let cookie = ("Set-Cookie", "a=b");
        reply(stream, "302 Found", &[("Location", &to), cookie], b"");
    });
    succeeds(&service, &format!("{}/relative?secret", web.url), &disk);
    let targets: Vec<_> = web
        .asked()
        .iter()
        .map(|asked| asked.target.clone())
        .collect();
    assert_eq!(targets, ["/relative?secret", "/deep/er", "/file?x=y"]);
    assert!(
        web.asked()
            .iter()
            .all(|asked| asked.header("cookie").is_none())
    );
    for (path, why) in [
        ("/loop", "more than 5 times"),
        ("/inside", "loopback"),
        ("/decimal", "loopback"),
        ("/mapped", "loopback"),
        ("/name", "loopback"),
        ("/file-url", "`file:`"),
        ("/password", "password"),
        ("/port", "port 25"),
        ("/nowhere", "where to"),
    ] {
        fails(&service, &format!("{}{path}", web.url), &[why]);
    }
    assert!(closed.accept().is_err(), "somebody knocked");
    let answer = service.call(
        "POST",
        "/v2/images",
        &json!({"name": "x", "region": "hal1", "url": format!("http://localhost:{port}/")}),
    );
    let image = service.ended(body(&answer)["image"]["id"].as_i64().unwrap());
    let message = image["error_message"].as_str().unwrap();
    assert!(
        message.contains("localhost") && message.contains("loopback"),
        "{message}"
    );
    assert!(!message.contains("127.0.0.1"), "{message}");
    assert!(closed.accept().is_err(), "somebody knocked");
}

#[test]
fn refusals_are_told_as_they_were_said() {
    let service = Service::start_with(SETTINGS);
    let web = Web::start(|asked, stream| match asked.target.as_str() {
        "/page?secret" => {
            let headers = [("Content-Type", "text/html; charset=utf-8")];
            reply(
                stream,
                "403 Forbidden",
                &headers,
                b"<html><title>Please log in</title>",
            );
        }
        "/s3" => {
            let said = b"<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code>\
                         <Message>Request has expired</Message><Key>secret</Key></Error>";
            reply(
                stream,
                "403 Forbidden",
                &[("Content-Type", "application/xml")],
                said,
            );
        }
        "/gone" => reply(stream, "404 Not Found", &[], b""),
        "/range" => reply(stream, "206 Partial Content", &[], b"x"),
        _ => reply(stream, "204 No Content", &[], b""),
    });
    for (path, words) in [
        (
            "/page?secret",
            &["403 Forbidden", "web page “Please log in”"][..],
        ),
        ("/s3", &["403", "AccessDenied: Request has expired"]),
        ("/gone", &["404 Not Found"]),
        ("/range", &["206"]),
        ("/empty", &["204"]),
    ] {
        fails(&service, &format!("{}{path}", web.url), words);
    }
    assert_eq!(
        web.asked().len(),
        5,
        "final answers are not asked for again"
    );
}

#[test]
fn what_may_pass_is_tried_again_and_not_for_ever() {
    let service = Service::start_with("[fetch]\nallow = [\"127.0.0.2/32\"]\nretries = 1");
    let disk = raw_disk(4, b"busy");
    let web = serving(&disk, |asked, stream, disk| match asked.number {
        0 => reply(
            stream,
            "503 Service Unavailable",
            &[("Retry-After", "0")],
            b"",
        ),
        _ => file(asked, stream, disk, "\"1\"", usize::MAX),
    });
    succeeds(&service, &web.url, &disk);

    let busy = Web::start(|_, stream| reply(stream, "500 Internal Server Error", &[], b""));
    fails(&service, &busy.url, &["500", "attempt 2"]);
    assert_eq!(busy.asked().len(), 2);
    let rude = Web::start(|_, _| {});
    fails(&service, &rude.url, &["connection", "attempt 2"]);
    let not_http = Web::start(|_, stream| stream.write_all(b"SSH-2.0-OpenSSH_9\r\n").unwrap());
    fails(&service, &not_http.url, &["attempt 2"]);
    let listener = TcpListener::bind("127.0.0.2:0").unwrap();
    let gone = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    fails(&service, &gone, &["connecting to 127.0.0.2", "attempt 2"]);
    fails(
        &service,
        "http://does-not-exist.invalid/x",
        &["does-not-exist.invalid"],
    );
}

#[test]
fn a_drip_and_a_silence_are_given_up() {
    let service =
        Service::start_with("[fetch]\nallow = [\"127.0.0.2/32\"]\nstall_seconds = 1\nretries = 1");
    let drip = Web::start(|_, stream| {
        reply(stream, "200 OK", &[("Content-Length", "9999999")], b"");
        while stream.write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    fails(&service, &drip.url, &["sent only", "bytes in 1 seconds"]);
    let silent = Web::start(|_, _| std::thread::sleep(Duration::from_secs(60)));
    fails(&service, &silent.url, &["did not answer within 1 seconds"]);
}

#[test]
fn too_much_is_refused_before_it_comes_or_when_it_has_come() {
    let limited = "[limits]\nmax_upload_size = 3000000\n";
    let service = Service::start_with(&format!("{limited}{SETTINGS}"));
    let large = Web::start(|_, stream| {
        reply(stream, "200 OK", &[("Content-Length", "3000001")], b"");
        std::thread::sleep(Duration::from_secs(60));
    });
    fails(&service, &large.url, &["3000000 bytes"]);
    let endless = Web::start(|_, stream| {
        // What begins like an image.
        reply(stream, "200 OK", &[], &raw_disk(2, b"endless"));
        while stream.write_all(&[0x5a; 65536]).is_ok() {}
    });
    fails(&service, &endless.url, &["3000000 bytes"]);
    let chunked = Web::start(|_, stream| {
        let mut chunk = b"200000\r\n".to_vec();
        chunk.extend(raw_disk(2, b"endless"));
        chunk.extend_from_slice(b"\r\n");
        let headers = [("Transfer-Encoding", "chunked")];
        reply(stream, "200 OK", &headers, &chunk);
        while stream.write_all(b"4\r\nabcd\r\n").is_ok() {}
    });
    fails(&service, &chunked.url, &["3000000 bytes"]);
}

#[test]
fn a_length_that_is_wrong_does_no_harm() {
    let settings = "[fetch]\nallow = [\"127.0.0.2/32\"]\nretries = 1";
    let service = Service::start_with(settings);
    let disk = raw_disk(4, b"length");
    // More is promised than ever comes.
    let long = serving(&disk, |_, stream, disk| {
        let len = (disk.len() + 1).to_string();
        reply(stream, "200 OK", &[("Content-Length", len.as_str())], disk);
    });
    fails(&service, &long.url, &["attempt"]);
    // Less is promised than is sent: what was promised is what there is.
    let short = serving(&disk, |_, stream, disk| {
        let len = (disk.len() / 2).to_string();
        reply(stream, "200 OK", &[("Content-Length", len.as_str())], disk);
    });
    fails(&service, &short.url, &["cut off"]);
    // All is here when the connection breaks; the server has no more.
    let end = serving(&disk, |asked, stream, disk| {
        if asked.from() == Some(disk.len()) {
            let range = format!("bytes */{}", disk.len());
            let headers = [("Content-Range", range.as_str())];
            return reply(stream, "416 Range Not Satisfiable", &headers, b"");
        }
        let headers = [("Transfer-Encoding", "chunked"), ("ETag", "\"1\"")];
        let mut chunk = format!("{:x}\r\n", disk.len()).into_bytes();
        chunk.extend_from_slice(disk);
        chunk.extend_from_slice(b"\r\n"); // and no last chunk
        reply(stream, "200 OK", &headers, &chunk);
    });
    succeeds(&service, &end.url, &disk);
}
