//! A `POST` with an `Idempotency-Key` has its effect once, however often it is sent.

use serde_json::{Value, json};

use crate::service::{Answer, Service, body};

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKRIfHhx7irOOW813Mw0Ua82TJ/3x74mXrn7VEpnn7wF a@b";

fn post(service: &Service, path: &str, key: &str, request: &Value) -> Answer {
    let headers = [("idempotency-key", key)];
    service.send("POST", path, &headers, request.to_string().as_bytes())
}

fn add_key(service: &Service, key: &str) -> Answer {
    let request = json!({"name": "me", "public_key": KEY});
    post(service, "/v2/account/keys", key, &request)
}

fn replayed(answer: &Answer) -> bool {
    answer.headers().contains_key("idempotency-replayed")
}

#[test]
fn the_first_answer_is_repeated_also_after_a_restart() {
    let mut service = Service::start();
    let first = add_key(&service, "a");
    assert_eq!((first.status().as_u16(), replayed(&first)), (201, false));
    let again = add_key(&service, "a");
    assert_eq!((again.status().as_u16(), replayed(&again)), (201, true));
    assert_eq!(again.body(), first.body());
    for header in ["content-type", "ratelimit-limit"] {
        assert_eq!(again.headers().get(header), first.headers().get(header));
    }
    assert_ne!(
        again.headers()["x-request-id"],
        first.headers()["x-request-id"]
    );
    service.stop();
    service.resume();
    assert_eq!(add_key(&service, "a").body(), first.body());
    assert_eq!(service.json("/v2/account/keys")["meta"]["total"], 1);
    // Without the key, or with another, it is another request.
    assert_eq!(add_key(&service, "b").status(), 422);
}

#[test]
fn a_key_belongs_to_one_request() {
    let service = Service::start();
    assert_eq!(add_key(&service, "a").status(), 201);
    let other = json!({"name": "other", "public_key": KEY});
    for (path, request) in [
        ("/v2/account/keys", &other),
        ("/v2/images", &json!({"name": "me", "public_key": KEY})),
    ] {
        let answer = post(&service, path, "a", request);
        assert_eq!(answer.status(), 422, "{}", answer.body());
        let message = body(&answer)["message"].as_str().unwrap().to_owned();
        assert!(message.contains("another request"), "{message}");
    }
    for key in ["", &"x".repeat(256)] {
        assert_eq!(add_key(&service, key).status(), 400);
    }
}

#[test]
fn an_error_frees_the_key() {
    let service = Service::start();
    let wrong = json!({"name": "me", "public_key": "nonsense"});
    let answer = post(&service, "/v2/account/keys", "a", &wrong);
    assert_eq!(answer.status(), 422);
    assert_eq!(body(&answer)["id"], "unprocessable_entity");
    assert_eq!(add_key(&service, "a").status(), 201);
    let nobody = [("authorization", "Bearer x"), ("idempotency-key", "a")];
    let answer = service.send("POST", "/v2/account/keys", &nobody, b"{}");
    assert_eq!(answer.status(), 401);
}

#[test]
fn an_upload_is_made_once() {
    let service = Service::start();
    let create = |length: &str| {
        let headers = [
            ("tus-resumable", "1.0.0"),
            ("upload-length", length),
            ("idempotency-key", "a"),
        ];
        service.send("POST", "/v2/uploads", &headers, b"")
    };
    let first = create("10");
    assert_eq!(first.status(), 201);
    let again = create("10");
    assert_eq!((again.status().as_u16(), replayed(&again)), (201, true));
    for header in ["location", "tus-resumable", "upload-expires"] {
        assert_eq!(again.headers()[header], first.headers()[header], "{header}");
    }
    assert_eq!(create("11").status(), 422);
}

#[test]
fn of_requests_at_once_one_has_the_effect() {
    let service = Service::start();
    let request =
        |name: &str| json!({"name": name, "upload": service.upload(10), "region": "hal1"});
    let request = request("once");
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| post(&service, "/v2/images", "a", &request)))
            .collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    for answer in &answers {
        match answer.status().as_u16() {
            202 => assert_eq!(body(answer)["image"]["id"], 1),
            409 => assert_eq!(answer.headers()["retry-after"], "1"),
            other => panic!("{other}: {}", answer.body()),
        }
    }
    let first = answers.iter().filter(|a| a.status() == 202 && !replayed(a));
    assert_eq!(first.count(), 1);
    assert_eq!(service.json("/v2/images")["meta"]["total"], 1);
}
