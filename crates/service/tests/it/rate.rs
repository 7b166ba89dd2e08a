//! Rate limits, as clients see them.

use crate::service::{Answer, Service, body, raw_disk};

fn number(answer: &Answer, header: &str) -> i64 {
    let value = answer
        .headers()
        .get(header)
        .unwrap_or_else(|| panic!("no {header}"));
    value.to_str().unwrap().parse().unwrap()
}

#[test]
fn every_answer_says_how_many_requests_are_left() {
    let service =
        Service::start_with("[limits]\nrequests_per_hour = 100\nrequests_per_minute = 50");
    let tus = [("tus-resumable", "1.0.0")];
    let answers = [
        service.get("/v2/account"),
        service.get("/v2/nothing"),
        service.send("PUT", "/v2/regions", &[], b""),
        service.send("POST", "/v2/images", &[], b"{"),
        service.send("DELETE", "/v2/uploads/x", &tus, b""),
    ];
    for (answer, remaining) in answers.iter().zip((0..100).rev()) {
        assert_eq!(number(answer, "ratelimit-limit"), 100);
        assert_eq!(number(answer, "ratelimit-remaining"), remaining);
        let reset = number(answer, "ratelimit-reset");
        assert_eq!(
            reset,
            number(&answers[0], "ratelimit-reset"),
            "the window stands still"
        );
    }

    // Without a token, or with one that nobody knows, the address is counted.
    for (header, remaining) in [("Bearer guess", 99), ("Bearer again", 98), ("Basic x", 97)] {
        let answer = service.send("GET", "/v2/account", &[("authorization", header)], b"");
        assert_eq!(answer.status(), 401);
        assert_eq!(number(&answer, "ratelimit-remaining"), remaining);
    }
    let mine = service.get("/v2/account");
    assert_eq!(number(&mine, "ratelimit-remaining"), 94);
}

#[test]
fn beyond_the_limit_a_request_is_refused_until_the_window_ends() {
    let service = Service::start_with("[limits]\nrequests_per_hour = 100\nrequests_per_minute = 3");
    // An upload's bytes are one request, however many they are.
    let upload = service.upload(3 << 20);
    assert_eq!(
        service.patch(&upload, 0, &raw_disk(3, b"rate")).status(),
        204
    );
    assert_eq!(service.get("/v2/account").status(), 200);
    let refused = service.get("/v2/account");
    assert_eq!(refused.status(), 429);
    assert_eq!(body(&refused)["id"], "too_many_requests");
    assert!(
        body(&refused)["message"]
            .as_str()
            .unwrap()
            .contains("3 requests")
    );
    let wait = number(&refused, "retry-after");
    assert!((1..=60).contains(&wait), "{wait}");
    assert_eq!(number(&refused, "ratelimit-limit"), 3);
    assert_eq!(number(&refused, "ratelimit-remaining"), 0);
    let other = service.send("GET", "/v2/account", &[("authorization", "Bearer x")], b"");
    assert_eq!(other.status(), 401, "others are not affected");

    // A page of another origin must be able to read all of this.
    let origin = [("origin", "https://console.example")];
    let refused = service.send("GET", "/v2/account", &origin, b"");
    assert_eq!(refused.headers()["access-control-allow-origin"], "*");
}

#[test]
fn behind_a_trusted_proxy_each_client_is_counted_for_itself() {
    let limits = "[limits]\nrequests_per_hour = 100\nrequests_per_minute = 50";
    let proxied = Service::start_with(&format!("trusted_proxies = [\"127.0.0.1/32\"]\n{limits}"));
    let direct = Service::start_with(limits);
    let ask = |service: &Service, client: &str| {
        let headers = [("authorization", "Basic x"), ("x-forwarded-for", client)];
        number(
            &service.send("GET", "/v2/account", &headers, b""),
            "ratelimit-remaining",
        )
    };
    assert_eq!(ask(&proxied, "192.0.2.1"), 99);
    assert_eq!(ask(&proxied, "192.0.2.2"), 99);
    assert_eq!(ask(&proxied, "192.0.2.2, 192.0.2.1"), 98);
    assert_eq!(ask(&direct, "192.0.2.1"), 99);
    assert_eq!(ask(&direct, "192.0.2.2"), 98);
}
