//! Ansible's community.digitalocean: `digital_ocean_sshkey` and `digital_ocean_droplet`.

use serde_json::{Value, json};

use super::{FINGERPRINT, KEY, SIZE, assert_droplet, poll, start};
use crate::service::{Answer, Service, body, raw_disk};

/// The status and the body of a request, which it always reads as JSON.
fn call(service: &Service, method: &str, path: &str, request: Option<&Value>) -> (u16, Value) {
    let headers = [("content-type", "application/json")];
    let request = request.map_or(String::new(), Value::to_string);
    let answer: Answer = service.send(method, path, &headers, request.as_bytes());
    let status = answer.status().as_u16();
    (
        status,
        if status == 204 {
            Value::Null
        } else {
            body(&answer)
        },
    )
}

/// How every module begins: 401 is a failed login.
fn log_in(service: &Service) -> Result<(), String> {
    match call(service, "GET", "/v2/account", None) {
        (401, error) => Err(format!(
            "Failed to login: {}",
            error["message"].as_str().unwrap()
        )),
        (status, _) => {
            assert_eq!(status, 200);
            Ok(())
        }
    }
}

#[test]
fn a_wrong_token_is_a_failed_login() {
    let mut service = start();
    log_in(&service).unwrap();
    service.token = "wrong".to_owned();
    assert_eq!(
        log_in(&service).unwrap_err(),
        "Failed to login: Unable to authenticate you."
    );
}

#[test]
fn a_key_is_looked_up_by_fingerprint_before_it_is_created() {
    let service = start();
    log_in(&service).unwrap();
    let path = format!("/v2/account/keys/{FINGERPRINT}");
    assert_eq!(call(&service, "GET", &path, None).0, 404);
    let request = json!({"name": "me", "public_key": KEY});
    assert_eq!(
        call(&service, "POST", "/v2/account/keys", Some(&request)).0,
        201
    );
    let (status, shown) = call(&service, "GET", &path, None);
    assert_eq!((status, &shown["ssh_key"]["name"]), (200, &json!("me")));
    let (status, _) = call(&service, "PUT", &path, Some(&json!({"name": "you"})));
    assert_eq!(status, 200);
    assert_eq!(call(&service, "DELETE", &path, None).0, 204);
}

/// The droplet module asks for firewalls on every run, whether one is wanted or not.
fn no_firewalls(service: &Service) {
    let (status, answer) = call(service, "GET", "/v2/firewalls", None);
    assert_eq!((status, &answer["firewalls"]), (200, &json!([])));
}

/// `unique_name`: all pages are searched, by a link that must be indexable.
fn by_name(service: &Service, name: &str) -> Option<Value> {
    for page in 1.. {
        let (status, answer) = call(service, "GET", &format!("/v2/droplets?page={page}"), None);
        assert_eq!(status, 200);
        let found = answer["droplets"].as_array().unwrap().iter();
        if let Some(droplet) = found.into_iter().find(|droplet| droplet["name"] == name) {
            return Some(droplet.clone());
        }
        let links = answer["links"].as_object().expect("links can be indexed");
        links.get("pages").and_then(|pages| pages.get("next"))?;
    }
    None
}

#[test]
fn a_droplet_is_made_active_whatever_it_is() {
    let service = start();
    let image = service.import("vm", "hal1", &raw_disk(4, b"vm"));
    let key = json!({"name": "me", "public_key": KEY});
    let (_, key) = call(&service, "POST", "/v2/account/keys", Some(&key));

    log_in(&service).unwrap();
    no_firewalls(&service);
    assert!(by_name(&service, "web").is_none());
    // All of the module's parameters, its own and those of the connection; ids as strings.
    let request = json!({
        "state": "present", "name": "web", "unique_name": true, "region": "hal1", "size": SIZE,
        "image": image["id"].to_string(), "ssh_keys": [key["ssh_key"]["id"].to_string()],
        "private_networking": false, "vpc_uuid": null, "user_data": null, "tags": null,
        "volumes": null, "backups": false, "monitoring": false, "ipv6": false, "wait": true,
        "wait_timeout": 120, "sleep_interval": 10, "baseurl": service.url, "timeout": 30,
        "firewall": null, "project_name": "", "resize_disk": false, "id": null, "active": true,
        "validate_certs": true,
    });
    let (status, answer) = call(&service, "POST", "/v2/droplets", Some(&request));
    assert_eq!(status, 202, "{answer}");
    let id = answer["droplet"]["id"].as_i64().unwrap();
    let path = format!("/v2/droplets/{id}");
    poll(|| {
        let droplet = call(&service, "GET", &path, None).1["droplet"].clone();
        assert_droplet(&droplet);
        ["active", "off"]
            .contains(&droplet["status"].as_str().unwrap())
            .then_some(())
    });
    // It is always switched on, running or not, and the action waited for at the droplet's path.
    let actions = format!("{path}/actions");
    let (status, answer) = call(
        &service,
        "POST",
        &actions,
        Some(&json!({"type": "power_on"})),
    );
    assert_eq!(status, 201, "{answer}");
    let action = answer["action"]["id"].as_i64().unwrap();
    poll(|| {
        let (status, answer) = call(&service, "GET", &format!("{actions}/{action}"), None);
        assert_eq!(status, 200);
        (answer["action"]["status"] == "completed").then_some(())
    });
    no_firewalls(&service);
    assert_eq!(by_name(&service, "web").unwrap()["id"], id);
    assert_eq!(call(&service, "DELETE", &path, None).0, 204);
}
