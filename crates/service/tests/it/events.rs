//! Events: who follows sees what changes, in order, once, and only his own.

use serde_json::{Value, json};

use crate::accounts::second_account;
use crate::service::{Service, body, raw_disk, wait_for};

/// An event: its number, name and data.
#[derive(Debug)]
pub struct Event {
    id: i64,
    name: String,
    pub data: Value,
}

/// The events of a stream, as they come.
pub struct Stream(Box<dyn Iterator<Item = String>>);

impl Stream {
    pub fn open(service: &Service, query: &str, headers: &[(&str, &str)]) -> Self {
        let mut stream = Self(Box::new(
            service.lines(&format!("/v2/events{query}"), headers),
        ));
        assert_eq!(stream.next().unwrap().name, "ready");
        stream
    }

    /// The next event that satisfies `wanted`.
    pub fn until(&mut self, wanted: impl Fn(&Event) -> bool) -> Event {
        self.find(|event| wanted(event)).expect("the stream ended")
    }
}

impl Iterator for Stream {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        let mut event = Event {
            id: 0,
            name: String::new(),
            data: Value::Null,
        };
        for line in self.0.by_ref() {
            match line.split_once(": ") {
                Some(("id", id)) => event.id = id.parse().unwrap(),
                Some(("event", name)) => event.name = name.to_owned(),
                Some(("data", data)) => event.data = serde_json::from_str(data).unwrap(),
                _ if line.is_empty() && !event.name.is_empty() => return Some(event),
                _ => {}
            }
        }
        None
    }
}

#[test]
fn an_image_is_followed_from_its_first_byte_to_its_end() {
    let service = Service::start();
    let mut stream = Stream::open(&service, "?types=image", &[]);
    let disk = raw_disk(4, b"x");
    let upload = service.upload(disk.len());
    let request = json!({"name": "one", "upload": upload, "region": "hal1"});
    let image = body(&service.call("POST", "/v2/images", &request))["image"]["id"].clone();
    let first = stream.next().unwrap();
    assert_eq!(first.data["image"]["id"], image);
    assert_eq!(first.data["image"]["abbild"]["stage"], "receiving");

    service.patch(&upload, 0, &disk[..1 << 20]);
    let half = stream.until(|event| event.data["image"]["abbild"]["progress"]["done"] == 1 << 20);
    assert!(half.id > first.id);
    service.patch(&upload, 1 << 20, &disk[1 << 20..]);
    let end = stream.until(|event| event.data["image"]["status"] == "available");
    assert_eq!(end.name, "image");
    let path = format!("/v2/images/{image}");
    assert_eq!(end.data, service.json(&path), "as GET shows it");

    service.call("PUT", &path, &json!({"name": "two"}));
    assert_eq!(
        stream
            .until(|event| event.data["image"]["name"] == "two")
            .data["image"]["id"],
        image
    );
    let tag = json!({"resources": [{"resource_id": image, "resource_type": "image"}]});
    service.call("POST", "/v2/tags", &json!({"name": "mine"}));
    service.call("POST", "/v2/tags/mine/resources", &tag);
    stream.until(|event| event.data["image"]["tags"] == json!(["mine"]));
    let actions = format!("{path}/actions");
    service.call(
        "POST",
        &actions,
        &json!({"type": "transfer", "region": "nbg1"}),
    );
    stream.until(|event| event.data["image"]["regions"] == json!(["hal1", "nbg1"]));
    service.send("DELETE", &format!("{path}/regions/nbg1"), &[], b"");
    stream.until(|event| event.data["image"]["regions"] == json!(["hal1"]));
    assert_eq!(service.send("DELETE", &path, &[], b"").status(), 204);
    let gone = stream.until(|event| event.name == "image.deleted");
    assert_eq!(gone.data, json!({"id": image}));
}

#[test]
fn actions_and_machines_are_followed_too() {
    let service = Service::start();
    let image = service.import("one", "hal1", &raw_disk(4, b"x"));
    let mut stream = Stream::open(&service, "", &[]);
    let request =
        json!({"name": "m", "region": "hal1", "size": "s-1vcpu-1gb", "image": image["id"]});
    let droplet = body(&service.call("POST", "/v2/droplets", &request));
    let id = droplet["droplet"]["id"].clone();
    // In which order is not said: what changes at once comes as one event for each object.
    let (mut told, mut ended) = (false, false);
    while !(told && ended) {
        let event = stream.next().unwrap();
        assert_ne!(event.name, "image.deleted");
        if event.name == "action" && event.data["action"]["status"] != "in-progress" {
            assert_eq!(event.data["action"]["resource_id"], id);
            ended = true;
        }
        told |= event.name == "droplet" && event.data["droplet"]["id"] == id;
    }
    service.send("DELETE", &format!("/v2/droplets/{id}"), &[], b"");
    let gone = stream.until(|event| event.name == "droplet.deleted");
    assert_eq!(gone.data, json!({"id": id}));
}

#[test]
fn a_stream_goes_on_where_the_last_one_ended_even_over_a_restart() {
    let mut service = Service::start();
    let mut stream = Stream::open(&service, "?types=image", &[]);
    let one = service.import("one", "hal1", &raw_disk(4, b"1"));
    let last = stream
        .until(|event| event.data["image"]["status"] == "available")
        .id;
    service.stop();
    assert!(
        stream.next().is_none_or(|event| event.name == "image"),
        "it ends with the service"
    );
    drop(stream);
    service.resume();
    let two = service.import("two", "hal1", &raw_disk(4, b"2"));
    service.call(
        "PUT",
        &format!("/v2/images/{}", one["id"]),
        &json!({"name": "uno"}),
    );

    let since = last.to_string();
    for (query, headers) in [
        (
            "?types=image".to_owned(),
            vec![("last-event-id", since.as_str())],
        ),
        (format!("?types=image&since={last}"), vec![]),
    ] {
        let stream = Stream::open(&service, &query, &headers);
        let missed: Vec<Event> = stream.take(2).collect();
        // Each object once, as it is now.
        assert_eq!(missed[0].data["image"]["id"], two["id"], "{missed:?}");
        assert_eq!(missed[0].data["image"]["status"], "available");
        assert_eq!(missed[1].data["image"]["name"], "uno");
        assert!(last < missed[0].id && missed[0].id < missed[1].id);
    }
}

#[test]
fn nobody_sees_what_is_not_his() {
    let service = Service::start();
    let other = second_account(&service);
    let authorization = format!("Bearer {other}");
    let foreign = service.lines("/v2/events?since=0", &[("authorization", &authorization)]);
    let mut foreign = Stream(Box::new(foreign));
    assert_eq!(foreign.next().unwrap().name, "ready");
    service.import("secret", "hal1", &raw_disk(4, b"x"));
    // Something of his own, which comes after it.
    let request = json!({"name": "own"}).to_string();
    let headers = [("authorization", authorization.as_str())];
    service.send("POST", "/v2/tags", &headers, request.as_bytes());
    let upload = service.send(
        "POST",
        "/v2/uploads",
        &[
            headers[0],
            ("tus-resumable", "1.0.0"),
            ("upload-length", "10"),
        ],
        b"",
    );
    let upload = upload.headers()["location"]
        .to_str()
        .unwrap()
        .rsplit('/')
        .next()
        .unwrap()
        .to_owned();
    let request = json!({"name": "own", "upload": upload, "region": "hal1"}).to_string();
    let answer = service.send("POST", "/v2/images", &headers, request.as_bytes());
    assert_eq!(answer.status(), 202, "{}", answer.body());
    // Its creation is an action, which comes with it.
    let seen: Vec<Event> = foreign.take(2).collect();
    let text = format!("{seen:?}");
    assert!(text.contains("own") && !text.contains("secret"), "{text}");
}

#[test]
fn a_wrong_request_is_told_and_streams_are_limited() {
    let service = Service::start();
    let answer = service.get("/v2/events?types=image,volume");
    assert_eq!(answer.status(), 422);
    assert!(
        answer
            .body()
            .contains("`volume`; there are image, droplet, action"),
        "{}",
        answer.body()
    );
    let streams: Vec<_> = (0..32).map(|_| Stream::open(&service, "", &[])).collect();
    let answer = service.get("/v2/events");
    assert_eq!(answer.status(), 429, "{}", answer.body());
    drop(streams);
    wait_for(|| {
        let lines = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            service.lines("/v2/events", &[])
        }));
        lines.ok().map(drop)
    });
}
