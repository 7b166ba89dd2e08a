//! What operators see: health, metrics and request ids.

use std::collections::BTreeMap;

use crate::service::{Answer, Service, body, raw_disk, wait_for};

/// Metrics by name and labels, as they are written.
fn scrape(answer: &Answer) -> BTreeMap<String, f64> {
    assert_eq!(answer.status(), 200, "{}", answer.body());
    assert_eq!(
        answer.headers()["content-type"],
        "text/plain; version=0.0.4; charset=utf-8"
    );
    let samples = answer
        .body()
        .lines()
        .filter(|l| !l.starts_with('#') && !l.is_empty());
    samples
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap())
        })
        .collect()
}

#[test]
fn the_metrics_tell_of_an_import() {
    let service = Service::start();
    let image = service.import("counted", "hal1", &raw_disk(4, b"counted"));
    assert_eq!(image["status"], "available", "{image}");
    service.get("/v2/images/4711");
    service.get("/no/such/path/of/a/scanner");
    let stored = image["size_gigabytes"].as_f64().unwrap();
    assert!(stored >= 0.0);

    // A job is counted a moment after everybody can see what it did.
    let job = r#"abbild_job_duration_seconds_count{kind="image.create",outcome="done"}"#;
    let metrics = wait_for(|| {
        let metrics = scrape(&service.get("/metrics"));
        metrics.contains_key(job).then_some(metrics)
    });
    let value = |name: &str| {
        *metrics
            .get(name)
            .unwrap_or_else(|| panic!("{name} in {metrics:#?}"))
    };
    let requests = |labels: &str| value(&format!("abbild_http_requests_total{{{labels}}}"));
    assert_eq!(
        requests(r#"method="GET",route="/v2/images/{id}",status="404""#),
        1.0
    );
    assert_eq!(requests(r#"method="GET",route="none",status="404""#), 1.0);
    assert_eq!(
        requests(r#"method="POST",route="/v2/images",status="202""#),
        1.0
    );
    let seconds = "abbild_http_request_duration_seconds_count";
    assert_eq!(
        value(&format!(r#"{seconds}{{method="POST",route="/v2/images"}}"#)),
        1.0
    );
    for stage in ["checking", "encoding"] {
        let count = "abbild_import_stage_duration_seconds_count";
        assert_eq!(value(&format!("{count}{{stage=\"{stage}\"}}")), 1.0);
    }
    assert!(value(r#"abbild_import_stage_bytes_total{stage="encoding"}"#) > 0.0);
    assert_eq!(value(job), 1.0);
    for (state, count) in [("ready", 0.0), ("leased", 0.0), ("waiting", 0.0)] {
        let name = format!(r#"abbild_jobs{{kind="image",state="{state}"}}"#);
        assert_eq!(value(&name), count, "{name}");
    }
    assert_eq!(
        value(r#"abbild_jobs_oldest_ready_seconds{kind="image"}"#),
        0.0
    );
    assert_eq!(value(r#"abbild_store_objects{region="hal1"}"#), 1.0);
    assert_eq!(value(r#"abbild_store_objects{region="nbg1"}"#), 0.0);
    assert!(value(r#"abbild_store_bytes{region="hal1"}"#) > 0.0);
    if service.s3.is_none() {
        assert!(value(r#"abbild_store_free_bytes{region="hal1"}"#) > 0.0);
    }
    assert_eq!(value(r#"abbild_vms{region="hal1",state="active"}"#), 0.0);
    assert_eq!(value("abbild_uploads_active"), 0.0);
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        value(&format!(r#"abbild_build_info{{version="{version}"}}"#)),
        1.0
    );
    for name in [
        "abbild_staging_free_bytes",
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_max_fds",
        "process_threads",
    ] {
        assert!(value(name) > 0.0, "{name}");
    }
    for line in service.get("/metrics").body().lines() {
        assert!(
            !line.contains("counted") && !line.contains("4711"),
            "{line}"
        );
    }
}

#[test]
fn metrics_have_a_listener_or_a_token() {
    let service = Service::start_with("[metrics]\nlisten = \"127.0.0.1:0\"\ntoken = \"sesame\"");
    assert_eq!(service.get("/metrics").status(), 404);
    let bearer = [("authorization", "Bearer sesame")];
    scrape(&service.send("GET", "/metrics", &bearer, b""));
    let own = service.addresses.unwrap().metrics.unwrap();
    let mut answer = ureq::get(format!("http://{own}/metrics")).call().unwrap();
    assert!(
        answer
            .body_mut()
            .read_to_string()
            .unwrap()
            .contains("abbild_build_info")
    );
    let api = ureq::get(format!("http://{own}/v2/account")).call();
    assert!(api.is_err());
}

#[test]
fn a_proxys_requests_see_no_metrics() {
    let service = Service::start();
    assert_eq!(service.get("/metrics").status(), 200);
    let via = [("x-forwarded-for", "192.0.2.1")];
    assert_eq!(service.send("GET", "/metrics", &via, b"").status(), 404);
}

#[test]
fn health_needs_no_token() {
    let service = Service::start();
    let nobody = [("authorization", "")];
    assert_eq!(service.send("GET", "/healthz", &nobody, b"").status(), 200);
    let ready = service.send("GET", "/readyz", &nobody, b"");
    assert_eq!(ready.status(), 200, "{}", ready.body());
    let checks = body(&ready)["checks"].clone();
    let names: Vec<_> = checks
        .as_array()
        .unwrap()
        .iter()
        .map(|check| check["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        ["database", "staging", "serving", "store.hal1", "store.nbg1"]
    );
}

#[test]
fn a_store_that_is_gone_makes_the_service_unready() {
    let service = Service::start();
    let images = service.data().join("regions/nbg1/images");
    std::fs::rename(&images, images.with_extension("away")).unwrap();
    let ready = service.get("/readyz");
    assert_eq!(ready.status(), 503);
    let answer = body(&ready);
    assert_eq!(answer["ready"], false);
    let failed: Vec<_> = answer["checks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|check| check["ok"] == false)
        .map(|check| check["name"].as_str().unwrap())
        .collect();
    assert_eq!(failed, ["store.nbg1"]);
    assert_eq!(service.get("/healthz").status(), 200);
}

#[test]
fn a_sane_request_id_is_kept() {
    let service = Service::start();
    let id = |given: &str| {
        let answer = service.send("GET", "/v2/images/1", &[("x-request-id", given)], b"");
        let header = answer.headers()["x-request-id"]
            .to_str()
            .unwrap()
            .to_owned();
        assert_eq!(body(&answer)["request_id"], header.as_str());
        header
    };
    assert_eq!(id("req-7_a.b"), "req-7_a.b");
    assert_ne!(id("two words"), "two words");
    let long = "x".repeat(129);
    assert_ne!(id(&long), long);
}

#[test]
fn before_it_stops_the_service_says_so() {
    let mut service = Service::start_with("[limits]\ndrain_notice_seconds = 3");
    let url = service.url.clone();
    let asking = std::thread::spawn(move || {
        wait_for(|| {
            let ready = ureq::get(format!("{url}/readyz")).call();
            matches!(ready, Err(ureq::Error::StatusCode(503))).then_some(())
        });
        // It works as always.
        ureq::get(format!("{url}/healthz")).call().unwrap();
    });
    service.stop();
    asking.join().unwrap();
}
