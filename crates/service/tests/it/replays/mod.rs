//! What clients that cannot run here ask, in their order, and what they make of the answers.
//!
//! Each file is one client. Its functions follow that client's source: they send what it sends,
//! wait as it waits, and fail where it would fail. The tests use nothing else.

mod ansible;
mod doctl;
mod packer;
mod terraform;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::fetch_web::{SETTINGS, Web, file};
use crate::service::{Answer, Service, body};

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKRIfHhx7irOOW813Mw0Ua82TJ/3x74mXrn7VEpnn7wF a@b";
const FINGERPRINT: &str = "04:e0:f8:2c:1b:cd:ce:34:32:bc:54:d5:94:4a:7c:4e";
const SIZE: &str = "s-1vcpu-512mb-10gb";

/// How godo, which doctl, Terraform and Packer are built on, sends and reads.
struct Godo<'a> {
    service: &'a Service,
    agent: &'static str,
}

impl Godo<'_> {
    fn send(&self, method: &str, path: &str, request: Option<&Value>) -> Answer {
        let headers = [
            ("accept", "application/json"),
            ("content-type", "application/json"),
            ("user-agent", self.agent),
        ];
        let request = request.map_or(String::new(), |request| format!("{request}\n"));
        self.service
            .send(method, path, &headers, request.as_bytes())
    }

    /// Any 2xx, decoded; other answers are errors with the message and the request id.
    fn call(&self, method: &str, path: &str, request: Option<&Value>) -> Result<Value, String> {
        let answer = self.send(method, path, request);
        if answer.status().is_success() {
            return Ok(match answer.body().as_str() {
                "" => Value::Null,
                _ => body(&answer),
            });
        }
        let error = body(&answer);
        Err(format!(
            "{method} {path}: {} (request \"{}\") {}",
            answer.status().as_u16(),
            error["request_id"].as_str().unwrap(),
            error["message"].as_str().unwrap()
        ))
    }

    fn get(&self, path: &str) -> Result<Value, String> {
        self.call("GET", path, None)
    }
}

/// Asks until there is a value; the clients' pauses are left out.
fn poll<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(value) = ask() {
            return value;
        }
        assert!(Instant::now() < deadline, "the client would time out");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Go's `int`: no fraction and no string, or the whole answer is an error.
fn int(value: &Value) -> i64 {
    value
        .as_i64()
        .unwrap_or_else(|| panic!("Go cannot decode {value} into an int"))
}

/// The image object as godo decodes it.
fn assert_image(image: &Value) {
    int(&image["id"]);
    for field in ["name", "type", "distribution", "created_at", "status"] {
        assert!(image[field].is_string(), "{field} of {image}");
    }
    assert!(image["public"].is_boolean() && image["error_message"].is_string());
    assert!(image["regions"].is_array() && image["tags"].is_array());
    int(&image["min_disk_size"]);
    assert!(image["size_gigabytes"].is_number());
}

/// The droplet object, with what Terraform and doctl dereference without a look.
fn assert_droplet(droplet: &Value) {
    for field in ["id", "memory", "vcpus", "disk"] {
        int(&droplet[field]);
    }
    for field in ["region", "image", "size", "networks"] {
        assert!(droplet[field].is_object(), "{field} is nil: {droplet}");
    }
    assert!(droplet["size_slug"].is_string() && droplet["locked"].is_boolean());
    assert!(droplet["networks"]["v4"].is_array() && droplet["networks"]["v6"].is_array());
    for field in [
        "features",
        "backup_ids",
        "snapshot_ids",
        "volume_ids",
        "tags",
    ] {
        assert!(droplet[field].is_array(), "{field} of {droplet}");
    }
}

/// A service that may fetch images from the server of the test.
fn start() -> Service {
    Service::start_with(SETTINGS)
}

/// What all of them send to make an image of `content`, which lies on a web server.
fn image_request(content: Vec<u8>, name: &str, distribution: &str) -> Value {
    let web = Web::start(move |asked, stream| file(asked, stream, &content, "\"1\"", usize::MAX));
    json!({
        "name": name,
        "url": format!("{}/{name}.img.gz?X-Amz-Signature=s", web.url),
        "region": "hal1",
        "distribution": distribution,
        "description": "made by a replay",
        "tags": [],
    })
}
