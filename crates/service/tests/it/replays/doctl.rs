//! doctl: `compute image …`, `compute image-action transfer --wait`, `compute droplet create
//! --wait`, `compute ssh-key …`, `account get`.

use serde_json::{Value, json};

use super::{Godo, KEY, SIZE, assert_droplet, assert_image, image_request, int, poll, start};
use crate::service::{Service, raw_disk};

fn client(service: &Service) -> Godo<'_> {
    Godo {
        service,
        agent: "doctl/1.150.0 (linux amd64) godo/1.201.0",
    }
}

/// Every list: the first page, then as many as the link `last` counts; pages of 200.
fn list(client: &Godo<'_>, path: &str, key: &str) -> Vec<Value> {
    list_by(client, path, key, 200)
}

fn list_by(client: &Godo<'_>, path: &str, key: &str, per_page: usize) -> Vec<Value> {
    let page = |number: u64| {
        client
            .get(&format!("{path}?page={number}&per_page={per_page}"))
            .unwrap()
    };
    let first = page(1);
    let last = first["links"]["pages"]["last"].as_str().map_or(1, |last| {
        let (_, query) = last.split_once('?').unwrap();
        let number = query.split('&').find_map(|pair| pair.strip_prefix("page="));
        number.unwrap().parse().unwrap()
    });
    let mut all = first[key].as_array().unwrap().clone();
    for number in 2..=last {
        all.extend(page(number)[key].as_array().unwrap().iter().cloned());
    }
    assert_eq!(
        first["meta"]["total"],
        all.len(),
        "doctl drops pages silently"
    );
    all
}

/// `--wait`: until the status is another than `in-progress`. The region's slug is printed.
fn wait_for_action(client: &Godo<'_>, id: i64) -> Value {
    poll(|| {
        let action = client.get(&format!("/v2/actions/{id}")).unwrap()["action"].clone();
        assert!(action["region"].is_null() || action["region"]["slug"].is_string());
        (action["status"] != "in-progress").then_some(action)
    })
}

#[test]
fn images_are_created_listed_transferred_and_deleted() {
    let service = start();
    let client = client(&service);
    let account = client.get("/v2/account").unwrap()["account"].clone();
    int(&account["droplet_limit"]);
    let request = image_request(raw_disk(4, b"created"), "created", "");
    let created = client.call("POST", "/v2/images", Some(&request)).unwrap()["image"].clone();
    assert_image(&created);
    let id = int(&created["id"]);
    service.ended(id);

    service.import("second", "hal1", &raw_disk(4, b"second"));
    service.import("third", "hal1", &raw_disk(4, b"third"));
    for images in [
        list(&client, "/v2/images", "images"),
        list_by(&client, "/v2/images", "images", 1),
    ] {
        let names: Vec<_> = images.iter().map(|image| &image["name"]).collect();
        assert_eq!(names, ["third", "second", "created"]);
        // `image list` hides public images unless told otherwise.
        assert!(images.iter().all(|image| image["public"] == false));
    }

    let path = format!("/v2/images/{id}");
    let renamed = client
        .call("PUT", &path, Some(&json!({"name": "renamed"})))
        .unwrap();
    assert_eq!(renamed["image"]["description"], "made by a replay");
    let transfer = json!({"type": "transfer", "region": "nbg1"});
    let action = client
        .call("POST", &format!("{path}/actions"), Some(&transfer))
        .unwrap()["action"]
        .clone();
    let done = wait_for_action(&client, int(&action["id"]));
    assert_eq!(
        (&done["status"], &done["region"]["slug"]),
        (&json!("completed"), &json!("nbg1"))
    );
    let same = client
        .get(&format!("{path}/actions/{}", done["id"]))
        .unwrap();
    assert_eq!(same["action"], done);
    assert_eq!(client.call("DELETE", &path, None), Ok(Value::Null));
}

#[test]
fn keys_are_imported_listed_and_deleted() {
    let service = start();
    let client = client(&service);
    let request = json!({"name": "me", "public_key": KEY});
    let key = client
        .call("POST", "/v2/account/keys", Some(&request))
        .unwrap()["ssh_key"]
        .clone();
    assert_eq!(
        list(&client, "/v2/account/keys", "ssh_keys"),
        std::slice::from_ref(&key)
    );
    let fingerprint = key["fingerprint"].as_str().unwrap();
    let path = format!("/v2/account/keys/{fingerprint}");
    assert_eq!(client.call("DELETE", &path, None), Ok(Value::Null));
    let error = client.get(&path).unwrap_err();
    // How godo words it, and doctl prints it.
    assert!(error.contains("404 (request \""), "{error}");
}

#[test]
fn droplets_are_created_with_wait() {
    let service = start();
    let client = client(&service);
    let image = service.import("vm", "hal1", &raw_disk(4, b"vm"));
    let request = json!({
        "name": "web", "region": "hal1", "size": SIZE, "image": image["id"], "ssh_keys": [],
        "backups": false, "ipv6": false, "private_networking": false, "monitoring": false,
        "volumes": null, "tags": [],
    });
    let answer = client.call("POST", "/v2/droplets", Some(&request)).unwrap();
    assert_droplet(&answer["droplet"]);
    // It takes the path of the first link that says `create`, without a look whether there is one.
    let link = &answer["links"]["actions"][0];
    assert_eq!(link["rel"], "create");
    int(&link["id"]);
    let path = link["href"]
        .as_str()
        .unwrap()
        .strip_prefix(&service.url)
        .unwrap();
    poll(|| (client.get(path).unwrap()["action"]["status"] == "completed").then_some(()));
    let id = int(&answer["droplet"]["id"]);
    let droplet = client.get(&format!("/v2/droplets/{id}")).unwrap()["droplet"].clone();
    assert_droplet(&droplet);
    assert_eq!(droplet["status"], "active");
    assert_eq!(list(&client, "/v2/droplets", "droplets").len(), 1);

    // `droplet-action power-off --wait`
    let actions = format!("/v2/droplets/{id}/actions");
    let action = client
        .call("POST", &actions, Some(&json!({"type": "power_off"})))
        .unwrap();
    let done = wait_for_action(&client, int(&action["action"]["id"]));
    assert_eq!(done["status"], "completed");
    client
        .call("DELETE", &format!("/v2/droplets/{id}"), None)
        .unwrap();
}
