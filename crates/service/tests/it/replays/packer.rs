//! Packer's `digitalocean-import` post-processor, but for its transport of the bytes.

use serde_json::{Value, json};

use super::{Godo, assert_image, image_request, int, poll, start};
use crate::service::{Service, raw_disk};

fn client(service: &Service) -> Godo<'_> {
    Godo {
        service,
        agent: "Packer/1.11 godo/1.99.0",
    }
}

/// Any `error_message` ends it, in any state; `deleted` alone does not.
fn wait_for_image(client: &Godo<'_>, id: i64) -> Result<Value, String> {
    poll(|| {
        let image = client.get(&format!("/v2/images/{id}")).unwrap()["image"].clone();
        assert_image(&image);
        match image["error_message"].as_str().unwrap() {
            "" => (image["status"] == "available").then_some(Ok(image)),
            message => Some(Err(message.to_owned())),
        }
    })
}

/// It asks at the image's path, until `completed`, and knows nothing of `errored`.
fn wait_for_transfer(client: &Godo<'_>, image: i64, action: i64) {
    poll(|| {
        let answer = client
            .get(&format!("/v2/images/{image}/actions/{action}"))
            .unwrap();
        (answer["action"]["status"] == "completed").then_some(())
    });
}

#[test]
fn an_image_is_imported_into_two_regions_and_destroyed() {
    let service = start();
    let client = client(&service);
    // The misspelt word is its default.
    let request = image_request(raw_disk(4, b"packer"), "packer", "Unkown");
    let answer = client.call("POST", "/v2/images", Some(&request)).unwrap();
    let id = int(&answer["image"]["id"]);
    let image = wait_for_image(&client, id).unwrap();
    assert_eq!(image["distribution"], "Unknown");
    let transfer = json!({"type": "transfer", "region": "nbg1"});
    let path = format!("/v2/images/{id}/actions");
    let action = client.call("POST", &path, Some(&transfer)).unwrap();
    wait_for_transfer(&client, id, int(&action["action"]["id"]));
    client
        .call("DELETE", &format!("/v2/images/{id}"), None)
        .unwrap();
}

#[test]
fn a_failed_import_ends_the_waiting() {
    let service = start();
    let client = client(&service);
    let request = image_request(vec![0x5a; 1 << 20], "noise", "Unkown");
    let answer = client.call("POST", "/v2/images", Some(&request)).unwrap();
    let message = wait_for_image(&client, int(&answer["image"]["id"])).unwrap_err();
    assert!(message.contains("partition table"), "{message}");
}
