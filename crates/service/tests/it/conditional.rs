//! Entity tags: who knows an image as it is gets no second copy, and who does not changes nothing.

use serde_json::json;

use crate::service::{Answer, Service, body, raw_disk};

fn tag(answer: &Answer) -> String {
    answer.headers()["etag"].to_str().unwrap().to_owned()
}

#[test]
fn an_image_that_is_known_is_not_sent_again() {
    let service = Service::start();
    let image = service.import("one", "hal1", &raw_disk(4, b"x"));
    let path = format!("/v2/images/{}", image["id"]);
    let first = service.get(&path);
    let known = tag(&first);
    assert!(known.starts_with('"'), "a strong one: {known}");
    assert_eq!(first.headers()["vary"], "accept-language");

    for version in [known.as_str(), "*", &format!("\"other\", {known}")] {
        let again = service.send("GET", &path, &[("if-none-match", version)], b"");
        assert_eq!(again.status(), 304, "{version}");
        assert_eq!(again.body(), "");
        assert_eq!(tag(&again), known);
    }
    let other = service.send("GET", &path, &[("if-none-match", "\"other\"")], b"");
    assert_eq!(other.status(), 200);

    let renamed = service.call("PUT", &path, &json!({"name": "two"}));
    assert_ne!(tag(&renamed), known);
    assert_eq!(
        tag(&renamed),
        tag(&service.get(&path)),
        "the answer to PUT is what GET says"
    );
    let again = service.send("GET", &path, &[("if-none-match", &known)], b"");
    assert_eq!(body(&again)["image"]["name"], "two");
}

#[test]
fn nobody_overwrites_what_he_has_not_seen() {
    let service = Service::start();
    let image = service.import("one", "hal1", &raw_disk(4, b"x"));
    let path = format!("/v2/images/{}", image["id"]);
    let old = tag(&service.get(&path));
    service.call("PUT", &path, &json!({"description": "changed"}));
    let new = tag(&service.get(&path));

    let rename = json!({"name": "mine"}).to_string();
    let transfer = json!({"type": "transfer", "region": "nbg1"}).to_string();
    let actions = format!("{path}/actions");
    for (method, target, request) in [
        ("PUT", path.as_str(), rename.as_str()),
        ("POST", &actions, &transfer),
        ("DELETE", &path, ""),
    ] {
        for wrong in [old.as_str(), &format!("W/{new}")] {
            let answer = service.send(method, target, &[("if-match", wrong)], request.as_bytes());
            assert_eq!(answer.status(), 412, "{method} {wrong}: {}", answer.body());
            assert_eq!(body(&answer)["id"], "precondition_failed");
        }
    }
    assert_eq!(tag(&service.get(&path)), new, "nothing happened");

    let answer = service.send("PUT", &path, &[("if-match", &new)], rename.as_bytes());
    assert_eq!(answer.status(), 200, "{}", answer.body());
    let listed = format!("{old}, {}", tag(&answer));
    let answer = service.send(
        "POST",
        &actions,
        &[("if-match", &listed)],
        transfer.as_bytes(),
    );
    assert_eq!(answer.status(), 201, "{}", answer.body());
    let answer = service.send("DELETE", &path, &[("if-match", "*")], b"");
    assert_eq!(answer.status(), 204, "{}", answer.body());
}

/// The sentences in an image differ by language, so its tags may: both sides use the same one.
#[test]
fn a_version_is_that_of_the_language() {
    let service = Service::start();
    let image = service.import("one", "hal1", &raw_disk(4, b"x"));
    let path = format!("/v2/images/{}", image["id"]);
    let german = [("accept-language", "de")];
    let tag_de = tag(&service.send("GET", &path, &german, b""));
    let answer = service.send(
        "PUT",
        &path,
        &[("accept-language", "de"), ("if-match", &tag_de)],
        br#"{"name":"zwei"}"#,
    );
    assert_eq!(answer.status(), 200, "{}", answer.body());
}
