//! Tokens with scopes, and the log of who did what.

use serde_json::{Value, json};

use crate::service::{Answer, Service, body, wait_for};

/// A token with `scopes`.
fn token(service: &Service, scopes: &[&str]) -> (i64, String) {
    let request = json!({"name": "t", "scopes": scopes});
    let answer = service.call("POST", "/v2/account/tokens", &request);
    assert_eq!(answer.status(), 201, "{}", answer.body());
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let token = &body(&answer)["token"];
    (
        token["id"].as_i64().unwrap(),
        token["token"].as_str().unwrap().to_owned(),
    )
}

fn with(service: &Service, token: &str, method: &str, path: &str, content: &Value) -> Answer {
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str())];
    service.send(method, path, &headers, content.to_string().as_bytes())
}

fn message(answer: &Answer) -> String {
    body(answer)["message"].as_str().unwrap().to_owned()
}

#[test]
fn a_token_can_do_what_its_scopes_say_and_no_more() {
    let service = Service::start();
    let tag = json!({"name": "x"});
    let tus = json!({});
    let (_, read) = token(&service, &["read"]);
    let (_, images) = token(&service, &["images"]);
    let (_, vms) = token(&service, &["vms"]);
    let (_, admin) = token(&service, &["admin"]);
    // 403 comes before anything else is looked at; any other answer means that it may.
    let cases = [
        ("GET", "/v2/account", &tus, [true, true, true, true]),
        ("GET", "/v2/images", &tus, [true, false, false, false]),
        ("GET", "/v2/droplets/1", &tus, [true, false, false, false]),
        (
            "GET",
            "/v2/droplets/1/console",
            &tus,
            [false, false, true, false],
        ),
        ("POST", "/v2/images", &tus, [false, true, false, false]),
        ("DELETE", "/v2/images/1", &tus, [false, true, false, false]),
        ("HEAD", "/v2/uploads/x", &tus, [true, true, false, false]),
        ("POST", "/v2/uploads", &tus, [false, true, false, false]),
        ("POST", "/v2/droplets", &tus, [false, false, true, false]),
        (
            "POST",
            "/v2/account/keys",
            &tus,
            [false, false, true, false],
        ),
        ("POST", "/v2/tags", &tag, [false, true, true, false]),
        (
            "GET",
            "/v2/account/tokens",
            &tus,
            [false, false, false, true],
        ),
        (
            "GET",
            "/v2/account/users",
            &tus,
            [false, false, false, true],
        ),
        (
            "GET",
            "/v2/account/audit",
            &tus,
            [false, false, false, true],
        ),
        ("GET", "/v2/account/sessions", &tus, [false; 4]),
    ];
    for (method, path, content, allowed) in cases {
        for (token, allowed) in [&read, &images, &vms, &admin].into_iter().zip(allowed) {
            let answer = with(&service, token, method, path, content);
            assert_eq!(answer.status() != 403, allowed, "{method} {path} {allowed}");
            if !allowed && method != "HEAD" {
                assert_eq!(body(&answer)["id"], "forbidden");
            }
        }
    }
    let answer = with(&service, &read, "POST", "/v2/images", &tus);
    assert_eq!(
        message(&answer),
        "This token lacks the scope `images`; make one that has it."
    );
}

#[test]
fn tokens_are_shown_once_listed_used_and_revoked() {
    let service = Service::start();
    let (id, secret) = token(&service, &["vms", "read", "read"]);
    let path = format!("/v2/account/tokens/{id}");
    let shown = &service.json(&path)["token"];
    assert_eq!(shown["scopes"], json!(["read", "vms"]));
    assert!(shown["last_used_at"].is_null() && shown["expires_at"].is_null());
    assert!(shown.get("token").is_none());
    assert_eq!(service.json("/v2/account/tokens")["meta"]["total"], 2);

    assert_eq!(
        with(&service, &secret, "GET", "/v2/images", &json!({})).status(),
        200
    );
    wait_for(|| {
        service.json(&path)["token"]["last_used_at"]
            .is_string()
            .then_some(())
    });

    assert_eq!(service.send("DELETE", &path, &[], b"").status(), 204);
    let answer = with(&service, &secret, "GET", "/v2/images", &json!({}));
    assert_eq!(
        (answer.status().as_u16(), message(&answer).as_str()),
        (401, "Unable to authenticate you.")
    );
    assert_eq!(service.get(&path).status(), 404);
    assert_eq!(service.send("DELETE", &path, &[], b"").status(), 404);
}

#[test]
fn a_token_cannot_make_one_that_can_more_or_lives_longer() {
    let service = Service::start();
    let make =
        |token: &str, request: &Value| with(&service, token, "POST", "/v2/account/tokens", request);
    let owner = service.token.clone();
    let answer = make(
        &owner,
        &json!({"name": "a", "scopes": ["read", "admin"], "expires_in": 2}),
    );
    let short = body(&answer)["token"]["token"].as_str().unwrap().to_owned();
    for (request, word) in [
        (
            json!({"name": "b", "scopes": ["images"], "expires_in": 1}),
            "`images`",
        ),
        (
            json!({"name": "b", "scopes": ["read"], "expires_in": 60}),
            "outlives",
        ),
        (json!({"name": "b", "scopes": ["read"]}), "outlives"),
        (json!({"name": "b", "scopes": []}), "`scopes` is missing"),
        (json!({"name": "b", "scopes": ["all"]}), "all"),
        (json!({"name": "", "scopes": ["read"]}), "`name`"),
        (
            json!({"name": "b", "scopes": ["read"], "expires_in": 0}),
            "`expires_in`",
        ),
    ] {
        let answer = make(&short, &request);
        assert_eq!(answer.status(), 422, "{request}: {}", answer.body());
        assert!(message(&answer).contains(word), "{}", answer.body());
    }
    wait_for(|| (make(&short, &json!({})).status() == 401).then_some(()));
}

#[test]
fn the_log_says_who_did_what_from_where() {
    let service = Service::start_with("trusted_proxies = [\"127.0.0.1/32\"]");
    let (id, secret) = token(&service, &["images", "read"]);
    let bearer = format!("Bearer {secret}");
    let from = [
        ("authorization", bearer.as_str()),
        ("x-forwarded-for", "192.0.2.7"),
    ];
    let tag = service.send("POST", "/v2/tags", &from, br#"{"name": "web"}"#);
    assert_eq!(tag.status(), 201);
    let denied = service.send("DELETE", "/v2/droplets/9", &from, b"");
    assert_eq!(denied.status(), 403);
    // Nothing happened here.
    service.send("DELETE", "/v2/images/9", &from, b"");
    service.send("GET", "/v2/images", &from, b"");

    let log = service.json("/v2/account/audit");
    let entries = log["audit"].as_array().unwrap();
    assert_eq!(entries.len(), 4, "{log}");
    let [denied_entry, tag_entry, made, first] = &entries[..] else {
        panic!("{log}")
    };
    assert_eq!(denied_entry["action"], "DELETE /v2/droplets/{id}");
    assert_eq!(denied_entry["outcome"], "denied");
    assert_eq!(
        (&denied_entry["object_type"], &denied_entry["object_id"]),
        (&json!("droplet"), &json!("9"))
    );
    assert_eq!(tag_entry["action"], "POST /v2/tags");
    assert_eq!(tag_entry["outcome"], "done");
    assert_eq!(tag_entry["address"], "192.0.2.7");
    assert_eq!(
        tag_entry["actor"],
        json!({"type": "token", "name": "t", "user_id": null, "token_id": id})
    );
    let request_id = tag.headers()["x-request-id"].to_str().unwrap();
    assert_eq!(tag_entry["request_id"], request_id);
    assert_eq!(made["action"], "token.create");
    assert_eq!(made["object_id"], id.to_string());
    assert_eq!(
        (&first["action"], &first["actor"]["type"]),
        (&json!("token.create"), &json!("system"))
    );
    assert_eq!(
        service.json("/v2/account/audit?per_page=1&page=2")["audit"][0],
        *tag_entry
    );
}
