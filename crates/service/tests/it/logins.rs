//! Users: logging in with a password, sessions, and what a role allows.

use serde_json::{Value, json};

use crate::service::{Answer, Service, body};

const PASSWORD: &str = "correct horse battery";

fn add_user(service: &Service, email: &str, role: &str) -> i64 {
    let request = json!({"email": email, "role": role, "password": PASSWORD});
    let answer = service.call("POST", "/v2/account/users", &request);
    assert_eq!(answer.status(), 201, "{}", answer.body());
    body(&answer)["user"]["id"].as_i64().unwrap()
}

/// A request without a token.
fn bare(
    service: &Service,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    content: &Value,
) -> Answer {
    let mut all = vec![("authorization", "")];
    all.extend(headers);
    service.send(method, path, &all, content.to_string().as_bytes())
}

fn log_in(service: &Service, email: &str, password: &str) -> Answer {
    let request = json!({"email": email, "password": password});
    bare(service, "POST", "/v2/session", &[], &request)
}

/// The cookie of somebody who logs in, as a browser sends it back.
fn cookie(service: &Service, email: &str) -> String {
    let answer = log_in(service, email, PASSWORD);
    assert_eq!(answer.status(), 201, "{}", answer.body());
    let set = answer.headers()["set-cookie"].to_str().unwrap();
    assert!(set.contains("; HttpOnly; SameSite=Strict; Path=/"), "{set}");
    assert!(!set.contains("Secure"), "{set}");
    set.split(';').next().unwrap().to_owned()
}

/// A request from a page of the service.
fn page(service: &Service, cookie: &str, method: &str, path: &str, content: &Value) -> Answer {
    let headers = [("cookie", cookie), ("sec-fetch-site", "same-origin")];
    bare(service, method, path, &headers, content)
}

#[test]
fn a_user_logs_in_sees_their_sessions_and_logs_out() {
    let service = Service::start();
    let none = json!({});
    let id = add_user(&service, "Me@Example.org", "owner");
    let mine = cookie(&service, " me@example.ORG ");
    let other = cookie(&service, "me@example.org");

    let who = body(&page(&service, &mine, "GET", "/v2/session", &none));
    assert_eq!(
        (&who["user"]["id"], &who["user"]["email"]),
        (&json!(id), &json!("me@example.org"))
    );
    assert_eq!(who["scopes"], json!(["read", "images", "vms", "admin"]));
    assert_eq!(who["session"]["address"], "127.0.0.1");
    assert_eq!(
        page(&service, &mine, "GET", "/v2/images", &none).status(),
        200
    );

    let list = body(&page(&service, &mine, "GET", "/v2/account/sessions", &none));
    assert_eq!(list["meta"]["total"], 2);
    let further = &list["sessions"][1];
    assert_eq!(
        (&list["sessions"][0]["current"], &further["current"]),
        (&json!(true), &json!(false))
    );
    let path = format!("/v2/account/sessions/{}", further["id"]);
    assert_eq!(page(&service, &mine, "DELETE", &path, &none).status(), 204);
    assert_eq!(
        page(&service, &other, "GET", "/v2/session", &none).status(),
        401
    );

    let out = page(&service, &mine, "DELETE", "/v2/session", &none);
    assert_eq!(out.status(), 204);
    assert!(
        out.headers()["set-cookie"]
            .to_str()
            .unwrap()
            .contains("Max-Age=0")
    );
    assert_eq!(
        page(&service, &mine, "GET", "/v2/images", &none).status(),
        401
    );
}

#[test]
fn other_sites_cannot_use_the_cookie() {
    let service = Service::start();
    add_user(&service, "me@example.org", "owner");
    let cookie = cookie(&service, "me@example.org");
    let tag = json!({"name": "x"});
    let from = |headers: &[(&str, &str)]| {
        let mut all = vec![("cookie", cookie.as_str())];
        all.extend(headers);
        bare(&service, "POST", "/v2/tags", &all, &tag)
            .status()
            .as_u16()
    };
    assert_eq!(from(&[("sec-fetch-site", "cross-site")]), 403);
    assert_eq!(from(&[("sec-fetch-site", "same-site")]), 403);
    assert_eq!(from(&[("origin", "https://evil.example")]), 403);
    assert_eq!(from(&[]), 403);
    assert_eq!(from(&[("origin", &service.url)]), 201);
    let console = [
        ("cookie", cookie.as_str()),
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("origin", "https://evil.example"),
    ];
    let answer = bare(
        &service,
        "GET",
        "/v2/droplets/1/console",
        &console,
        &json!({}),
    );
    assert_eq!(answer.status(), 403);
    let login = json!({"email": "me@example.org", "password": PASSWORD});
    let evil = [("origin", "https://evil.example")];
    assert_eq!(
        bare(&service, "POST", "/v2/session", &evil, &login).status(),
        403
    );
}

#[test]
fn failed_logins_tell_nothing_have_to_wait_and_are_logged() {
    let service = Service::start();
    let id = add_user(&service, "me@example.org", "owner");
    let wrong = log_in(&service, "me@example.org", "wrong");
    let nobody = log_in(&service, "nobody@example.org", "wrong");
    assert_eq!(
        (wrong.status().as_u16(), nobody.status().as_u16()),
        (401, 401)
    );
    assert_eq!(body(&wrong)["message"], body(&nobody)["message"]);

    let entry = &service.json("/v2/account/audit")["audit"][0];
    assert_eq!(entry["action"], "session.create");
    assert_eq!(
        (&entry["outcome"], &entry["actor"]["type"]),
        (&json!("denied"), &json!("anonymous"))
    );
    assert_eq!(
        (&entry["object_type"], &entry["object_id"]),
        (&json!("user"), &json!(id.to_string()))
    );

    // The machine may be so slow that a wait is over before the next attempt.
    let refused = (0..8).any(|_| log_in(&service, "me@example.org", "wrong").status() == 429);
    assert!(refused);
    let answer = log_in(&service, "me@example.org", PASSWORD);
    assert_eq!(answer.status(), 429, "{}", answer.body());
    assert!(answer.headers().contains_key("retry-after"));
    // Nobody else is kept out by that.
    add_user(&service, "second@example.org", "member");
    cookie(&service, "second@example.org");
}

#[test]
fn roles_count_at_once_and_for_tokens_too() {
    let service = Service::start();
    let none = json!({});
    let owner = add_user(&service, "owner@example.org", "owner");
    let member = add_user(&service, "member@example.org", "member");
    let path = format!("/v2/account/users/{member}");
    let cookie = cookie(&service, "member@example.org");
    let tag = json!({"name": "x"});

    // Without `admin`, their own tokens only.
    let request = json!({"name": "laptop", "scopes": ["read", "images"]});
    let made = page(&service, &cookie, "POST", "/v2/account/tokens", &request);
    assert_eq!(made.status(), 201, "{}", made.body());
    assert_eq!(body(&made)["token"]["user_id"], member);
    let token = format!("Bearer {}", body(&made)["token"]["token"].as_str().unwrap());
    let as_token = [("authorization", token.as_str())];
    let tokens = body(&page(&service, &cookie, "GET", "/v2/account/tokens", &none));
    assert_eq!(tokens["meta"]["total"], 1);
    assert_eq!(
        page(&service, &cookie, "GET", "/v2/account/tokens/1", &none).status(),
        404
    );
    assert_eq!(
        page(&service, &cookie, "GET", "/v2/account/users", &none).status(),
        403
    );
    let more = json!({"name": "x", "scopes": ["admin"]});
    assert_eq!(
        page(&service, &cookie, "POST", "/v2/account/tokens", &more).status(),
        422
    );
    assert_eq!(
        service
            .send("POST", "/v2/tags", &as_token, tag.to_string().as_bytes())
            .status(),
        201
    );

    service.call("PUT", &path, &json!({"role": "read-only"}));
    assert_eq!(
        page(&service, &cookie, "POST", "/v2/tags", &tag).status(),
        403
    );
    assert_eq!(
        service.send("POST", "/v2/tags", &as_token, b"{}").status(),
        403
    );
    assert_eq!(
        service.send("GET", "/v2/tags", &as_token, b"").status(),
        200
    );

    service.call("PUT", &path, &json!({"disabled": true}));
    assert_eq!(
        page(&service, &cookie, "GET", "/v2/images", &none).status(),
        401
    );
    let answer = service.send("GET", "/v2/tags", &as_token, b"");
    assert_eq!(answer.status(), 403);
    assert!(
        body(&answer)["message"]
            .as_str()
            .unwrap()
            .contains("disabled")
    );
    assert_eq!(
        log_in(&service, "member@example.org", PASSWORD).status(),
        403
    );

    assert_eq!(service.send("DELETE", &path, &[], b"").status(), 204);
    assert_eq!(
        service.send("GET", "/v2/tags", &as_token, b"").status(),
        401
    );

    let last = format!("/v2/account/users/{owner}");
    for change in [json!({"role": "member"}), json!({"disabled": true})] {
        assert_eq!(service.call("PUT", &last, &change).status(), 422);
    }
    assert_eq!(service.send("DELETE", &last, &[], b"").status(), 422);
}

#[test]
fn passwords_are_changed_by_their_owner_and_end_other_sessions() {
    let service = Service::start();
    add_user(&service, "me@example.org", "read-only");
    let (mine, other) = (
        cookie(&service, "me@example.org"),
        cookie(&service, "me@example.org"),
    );
    let change = |current: &str, new: &str| {
        let request = json!({"current": current, "new": new});
        page(&service, &mine, "POST", "/v2/account/password", &request)
            .status()
            .as_u16()
    };
    assert_eq!(change("wrong", "staple battery horse"), 422);
    assert_eq!(change(PASSWORD, "short"), 422);
    assert_eq!(change(PASSWORD, "staple battery horse"), 204);
    assert_eq!(
        page(&service, &mine, "GET", "/v2/session", &json!({})).status(),
        200
    );
    assert_eq!(
        page(&service, &other, "GET", "/v2/session", &json!({})).status(),
        401
    );
    assert_eq!(log_in(&service, "me@example.org", PASSWORD).status(), 401);
    assert_eq!(
        log_in(&service, "me@example.org", "staple battery horse").status(),
        201
    );
    let again = json!({"email": "ME@example.org", "role": "member"});
    assert_eq!(
        service.call("POST", "/v2/account/users", &again).status(),
        422
    );
}
