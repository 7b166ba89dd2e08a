//! Logging in, and what is said when something is missing.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::Home;
use crate::service::{Service, TOKEN};

#[test]
fn without_a_login_the_way_to_one_is_told() {
    let ran = Home::new().run(&["image", "list"]).expect(1);
    assert_eq!(ran.out, "");
    assert!(ran.err.contains("hint: `abbild login"), "{}", ran.err);
}

#[test]
fn wrong_usage_has_status_two() {
    let home = Home::new();
    home.run(&["image", "frobnicate"]).expect(2);
    home.run(&["check"]).expect(2);
    home.run(&["check", "x", "--max-size", "much"]).expect(2);
}

#[test]
fn login_keeps_a_token_that_works() {
    let service = Service::start();
    let home = Home::new();
    let file = home.0.path().join(".config/abbild/credentials.toml");
    let wrong = home
        .run(&["login", &service.url, "--token", "wrong"])
        .expect(1);
    assert!(
        wrong.err.contains("does not know this token"),
        "{}",
        wrong.err
    );
    assert!(!file.exists());
    let right = home
        .run(&["login", &service.url, "--token", TOKEN])
        .expect(0);
    assert!(right.out.contains("logged in to"), "{}", right.out);
    assert!(!right.out.contains(TOKEN) && !right.err.contains(TOKEN));
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    home.run(&["image", "list", "--json"]).expect(0);
}

#[test]
fn a_service_that_is_not_there_is_asked_for() {
    let home = Home::new();
    // A port that was free a moment ago.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let ran = home.run(&["login", &url, "--token", "x"]).expect(1);
    assert!(ran.err.contains("make run"), "{}", ran.err);
}

#[test]
fn errors_of_the_service_arrive_with_their_request_id() {
    let service = Service::start();
    let home = Home::new();
    home.run(&["login", &service.url, "--token", TOKEN])
        .expect(0);
    let ran = home.run(&["region", "list"]).expect(1);
    assert!(
        ran.err
            .contains("no such page (HTTP 404, request id req-1)"),
        "{}",
        ran.err
    );
    assert!(!ran.err.contains('\x1b'), "{}", ran.err);
}

#[test]
fn a_name_that_is_taken_twice_needs_an_id() {
    let service = Service::start();
    service.add_image(5, "debian");
    service.add_image(6, "debian");
    let home = Home::new();
    home.run(&["login", &service.url, "--token", TOKEN])
        .expect(0);
    let ran = home.run(&["image", "show", "debian"]).expect(1);
    assert!(ran.err.contains("5, 6"), "{}", ran.err);
    let ran = home.run(&["image", "show", "6"]).expect(0);
    assert!(ran.out.contains("debian"), "{}", ran.out);
}

#[test]
fn a_private_key_never_leaves() {
    let service = Service::start();
    let home = Home::new();
    home.run(&["login", &service.url, "--token", TOKEN])
        .expect(0);
    let path = home.0.path().join("id");
    fs::write(&path, "-----BEGIN OPENSSH PRIVATE KEY-----\nx\n").unwrap();
    let before = service.requests();
    let ran = home
        .run(&["key", "add", "me", path.to_str().unwrap()])
        .expect(1);
    assert!(ran.err.contains("id.pub"), "{}", ran.err);
    assert_eq!(service.requests(), before);
}
