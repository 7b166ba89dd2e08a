//! Several processes on one database, one set of buckets and one directory of uploads. They are
//! services of this process here; `tests/crash` kills real ones. SQLite takes one process only.

use std::io::Write;
use std::net::TcpStream;

use serde_json::json;

use crate::events::Stream;
use crate::service::{Service, body, raw_disk, wait_for};

fn two() -> Option<(Service, Service)> {
    let first = Service::start();
    let second = first.sibling()?;
    Some((first, second))
}

fn offset(service: &Service, upload: &str) -> usize {
    let headers = [("tus-resumable", "1.0.0")];
    let answer = service.send("HEAD", &format!("/v2/uploads/{upload}"), &headers, b"");
    assert_eq!(answer.status(), 200);
    let offset = answer.headers()["upload-offset"].to_str().unwrap();
    offset.parse().unwrap()
}

#[test]
fn an_upload_goes_on_with_another_process_and_both_show_the_image() {
    let Some((first, second)) = two() else { return };
    let disk = raw_disk(8, b"two processes");
    let upload = first.upload(disk.len());
    let request = json!({"name": "n", "upload": upload, "regions": ["hal1", "nbg1"]});
    let answer = second.call("POST", "/v2/images", &request);
    assert_eq!(answer.status(), 202, "{}", answer.body());
    let id = body(&answer)["image"]["id"].as_i64().unwrap();

    let half = disk.len() / 2;
    assert_eq!(first.patch(&upload, 0, &disk[..half]).status(), 204);
    assert_eq!(offset(&second, &upload), half);
    assert_eq!(second.patch(&upload, 0, &disk).status(), 409);
    assert_eq!(second.patch(&upload, half, &disk[half..]).status(), 204);
    for service in [&first, &second] {
        let image = service.ended(id);
        assert_eq!(image["status"], "available", "{image}");
    }
    wait_for(|| (first.stored("nbg1") == 1).then_some(()));
    first.nothing_left();

    let path = format!("/v2/images/{id}");
    assert_eq!(second.send("DELETE", &path, &[], b"").status(), 204);
    wait_for(|| (first.stored("hal1") + first.stored("nbg1") == 0).then_some(()));
}

#[test]
fn a_connection_that_hangs_lets_go_for_another_process() {
    let Some((first, second)) = two() else { return };
    let bytes = [7; 3000];
    let upload = first.upload(bytes.len());
    let host = first.url.strip_prefix("http://").unwrap();
    let mut hanging = TcpStream::connect(host).unwrap();
    write!(
        hanging,
        "PATCH /v2/uploads/{upload} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {}\r\n\
         Tus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\nContent-Length: 3000\r\n\
         Content-Type: application/offset+octet-stream\r\n\r\n",
        first.token
    )
    .unwrap();
    hanging.write_all(&bytes[..1000]).unwrap();
    // What had arrived is kept, and another process goes on behind it.
    wait_for(|| {
        let offset = offset(&second, &upload);
        let answer = second.patch(&upload, offset, &bytes[offset..]);
        (answer.status() == 204).then_some(())
    });
    assert_eq!(offset(&first, &upload), bytes.len());
    let file = first.data().join("uploads").join(&upload);
    assert!(std::fs::read(file).unwrap() == bytes);
    assert_eq!(
        std::fs::read_dir(first.data().join("locks"))
            .unwrap()
            .count(),
        0
    );
}

#[test]
fn starting_takes_nothing_from_another_process() {
    let Some((first, second)) = two() else { return };
    let upload = first.upload(3000);
    assert_eq!(first.patch(&upload, 0, &[1; 1000]).status(), 204);
    drop(second);
    let second = first.sibling().unwrap();
    assert_eq!(second.patch(&upload, 1000, &[1; 1000]).status(), 204);
    let headers = [("tus-resumable", "1.0.0")];
    let answer = second.send("DELETE", &format!("/v2/uploads/{upload}"), &headers, b"");
    assert_eq!(answer.status(), 204);
    first.nothing_left();
}

#[test]
fn events_tell_what_another_process_changes() {
    let Some((first, second)) = two() else { return };
    let mut stream = Stream::open(&first, "?types=image", &[]);
    let image = second.import("n", "hal1", &raw_disk(4, b"seen elsewhere"));
    let end = stream.until(|event| event.data["image"]["status"] == "available");
    assert_eq!(end.data["image"]["id"], image["id"]);
}

#[test]
fn a_removal_that_was_interrupted_is_ended_by_others() {
    let service = Service::start();
    let digest = "ab".repeat(32);
    let image = service.import("n", "hal1", &raw_disk(4, b"a neighbour"));
    let neighbour = service.objects("hal1").pop().unwrap();
    let left = neighbour.with_file_name(format!("{digest}.qcow2"));
    std::fs::copy(&neighbour, &left).unwrap();
    begin_removal(&service, "hal1", &digest, 1);
    wait_for(|| (!left.exists()).then_some(()));
    assert_eq!(service.ended(image["id"].as_i64().unwrap()), image);
    assert_eq!(service.stored("hal1"), 1);
}

#[test]
fn what_another_process_removes_is_waited_for() {
    let service = Service::start();
    let image = service.import("n", "hal1", &raw_disk(4, b"coming back"));
    let digest = image["abbild"]["digest"].as_str().unwrap();
    let digest = digest.strip_prefix("sha256:").unwrap().to_owned();
    let until = jiff::Timestamp::now().as_second() + 3;
    begin_removal(&service, "nbg1", &digest, until);

    let request = json!({"type": "transfer", "region": "nbg1"});
    let path = format!("/v2/images/{}/actions", image["id"]);
    let answer = service.call("POST", &path, &request);
    assert_eq!(answer.status(), 201, "{}", answer.body());
    let action = format!("/v2/actions/{}", body(&answer)["action"]["id"]);
    wait_for(|| (service.json(&action)["action"]["status"] == "completed").then_some(()));
    assert!(jiff::Timestamp::now().as_second() > until, "it waited");
    assert_eq!(service.stored("nbg1"), 1);
}

/// As a process that was killed while it removed an image.
fn begin_removal(service: &Service, region: &str, digest: &str, until: i64) {
    service.with_database(async |pool| {
        let insert = sqlx::query(
            "INSERT INTO removals (region, digest, lease_owner, lease_until) \
             VALUES ($1, $2, 'another/process', $3)",
        );
        let insert = insert.bind(region).bind(digest).bind(until);
        insert.execute(pool).await.unwrap();
    });
}
