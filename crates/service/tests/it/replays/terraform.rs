//! The Terraform provider: `digitalocean_custom_image`, `_ssh_key` and `_droplet`.

use serde_json::{Value, json};

use super::{
    FINGERPRINT, Godo, KEY, SIZE, assert_droplet, assert_image, image_request, int, poll, start,
};
use crate::service::{Service, raw_disk};

fn client(service: &Service) -> Godo<'_> {
    Godo {
        service,
        agent: "Terraform/1.9.0 terraform-provider-digitalocean/2.60.0 godo/1.201.0",
    }
}

/// Waits with `NEW` and `pending` as the only states that may be seen before `available`; a
/// failure is `deleted`, whose message is shown.
fn wait_for_image(client: &Godo<'_>, id: i64) -> Result<Value, String> {
    poll(|| {
        let answer = client.get(&format!("/v2/images/{id}")).unwrap();
        let image = &answer["image"];
        assert_image(image);
        match image["status"].as_str().unwrap() {
            "available" => Some(Ok(image.clone())),
            "NEW" | "pending" => None,
            "deleted" => Some(Err(image["error_message"].as_str().unwrap().to_owned())),
            other => panic!("unexpected state '{other}'"),
        }
    })
}

/// Waits on the account's path, and takes `completed_at` alone for the end; `errored` is a state
/// that nobody expects.
fn wait_for_action(client: &Godo<'_>, id: i64) -> Result<(), String> {
    poll(|| {
        let action = client.get(&format!("/v2/actions/{id}")).unwrap()["action"].clone();
        match action["status"].as_str().unwrap() {
            "errored" => Some(Err("unexpected state 'errored'".to_owned())),
            _ if !action["completed_at"].is_null() => Some(Ok(())),
            _ => None,
        }
    })
}

/// `regions` is a set: the first of it goes into the create, each further one is a transfer.
fn create_image(client: &Godo<'_>, request: &Value, more: &[&str]) -> Result<Value, String> {
    let answer = client.call("POST", "/v2/images", Some(request))?;
    assert_image(&answer["image"]);
    let id = int(&answer["image"]["id"]);
    wait_for_image(client, id)?;
    add_regions(client, id, more)?;
    Ok(client.get(&format!("/v2/images/{id}"))?["image"].clone())
}

fn add_regions(client: &Godo<'_>, id: i64, regions: &[&str]) -> Result<(), String> {
    for region in regions {
        let request = json!({"type": "transfer", "region": region});
        let path = format!("/v2/images/{id}/actions");
        let action = client.call("POST", &path, Some(&request))?["action"].clone();
        wait_for_action(client, int(&action["id"]))?;
    }
    Ok(())
}

/// Only this text says that a gone image is no error.
fn delete_image(client: &Godo<'_>, id: i64) -> Result<(), String> {
    match client.call("DELETE", &format!("/v2/images/{id}"), None) {
        Err(error) if error.contains("Image Can not delete an already deleted image.") => Ok(()),
        other => other.map(drop),
    }
}

#[test]
fn an_image_is_created_in_two_regions_changed_and_destroyed() {
    let service = start();
    let client = client(&service);
    let request = image_request(raw_disk(4, b"flatcar"), "flatcar", "Unknown");
    let image = create_image(&client, &request, &["nbg1"]).unwrap();
    let id = int(&image["id"]);
    // What differs from the configuration is a change to be made, every time.
    for field in ["name", "description", "distribution", "tags"] {
        assert_eq!(image[field], request[field], "{field}");
    }
    assert_eq!(image["regions"], json!(["hal1", "nbg1"]));

    let change = json!({"name": "new", "distribution": "Debian", "description": "other"});
    let path = format!("/v2/images/{id}");
    client.call("PUT", &path, Some(&change)).unwrap();
    let image = &client.get(&path).unwrap()["image"];
    for field in ["name", "distribution", "description"] {
        assert_eq!(image[field], change[field], "{field}");
    }
    // An apply that was interrupted asks for a region again.
    add_regions(&client, id, &["nbg1"]).unwrap();

    delete_image(&client, id).unwrap();
    delete_image(&client, id).unwrap();
    // The next plan reads it: `deleted` takes it from the state, 404 would be an error.
    assert_eq!(client.get(&path).unwrap()["image"]["status"], "deleted");
}

#[test]
fn a_failed_import_shows_its_reason() {
    let service = start();
    let client = client(&service);
    let mut request = image_request(vec![0x5a; 1 << 20], "noise", "Unknown");
    let reason = create_image(&client, &request, &[]).unwrap_err();
    assert!(reason.contains("partition table"), "{reason}");
    request["region"] = json!("mars");
    let reason = create_image(&client, &request, &[]).unwrap_err();
    assert!(
        reason.contains("422") && reason.contains("no region `mars`"),
        "{reason}"
    );
}

#[test]
fn a_key_is_created_read_renamed_and_forgotten() {
    let service = start();
    let client = client(&service);
    let request = json!({"name": "me", "public_key": format!("{KEY}\n")});
    let key = client
        .call("POST", "/v2/account/keys", Some(&request))
        .unwrap()["ssh_key"]
        .clone();
    let path = format!("/v2/account/keys/{}", int(&key["id"]));
    let shown = client.get(&path).unwrap()["ssh_key"].clone();
    assert_eq!(shown["fingerprint"], FINGERPRINT);
    assert_eq!(shown["public_key"].as_str().unwrap().trim(), KEY);
    client
        .call("PUT", &path, Some(&json!({"name": "you"})))
        .unwrap();
    client.call("DELETE", &path, None).unwrap();
    // 404 on read: it is gone from the state.
    assert!(client.get(&path).unwrap_err().contains("404"));
}

/// While the machine is made only `new` may be seen; then it must be unlocked.
fn wait_for_droplet(client: &Godo<'_>, id: i64) -> Value {
    poll(|| {
        let droplet = client.get(&format!("/v2/droplets/{id}")).unwrap()["droplet"].clone();
        assert_droplet(&droplet);
        match droplet["status"].as_str().unwrap() {
            "new" => None,
            "active" => (droplet["locked"] == false).then_some(droplet),
            other => panic!("unexpected state '{other}'"),
        }
    })
}

/// While it is destroyed `active` and `off` may be seen until it is not found.
fn destroy_droplet(client: &Godo<'_>, id: i64) {
    let path = format!("/v2/droplets/{id}");
    poll(|| (client.get(&path).unwrap()["droplet"]["locked"] == false).then_some(()));
    client.call("DELETE", &path, None).unwrap();
    poll(|| match client.get(&path) {
        Ok(answer) => {
            let status = answer["droplet"]["status"].as_str().unwrap();
            assert!(
                ["active", "off"].contains(&status),
                "unexpected state '{status}'"
            );
            None
        }
        Err(error) => {
            assert!(error.contains("404"), "{error}");
            Some(())
        }
    });
}

#[test]
fn a_droplet_is_created_and_destroyed() {
    let service = start();
    let client = client(&service);
    let image = create_image(
        &client,
        &image_request(raw_disk(4, b"vm"), "vm", "Unknown"),
        &[],
    )
    .unwrap();
    let request = json!({
        "name": "web", "region": "hal1", "size": SIZE, "image": image["id"], "ssh_keys": null,
        "backups": false, "ipv6": false, "private_networking": false, "monitoring": false,
        "tags": null, "volumes": null, "user_data": "#cloud-config\n",
    });
    let answer = client.call("POST", "/v2/droplets", Some(&request)).unwrap();
    let droplet = wait_for_droplet(&client, int(&answer["droplet"]["id"]));
    // Without a public address `public_networking` would turn to false.
    let public = &droplet["networks"]["v4"][0];
    assert_eq!(public["type"], "public");
    assert!(!public["ip_address"].as_str().unwrap().is_empty());
    for feature in ["backups", "ipv6", "private_networking", "monitoring"] {
        let features = droplet["features"].as_array().unwrap();
        assert!(
            !features.contains(&json!(feature)),
            "{feature} was not asked for"
        );
    }
    assert!(droplet["size"]["price_hourly"].is_number());
    destroy_droplet(&client, int(&droplet["id"]));
}
