//! Packer's plugin for the original: its builder `digitalocean`, but for what happens inside the guest,
//! and its post-processor `digitalocean-import`, but for its transport of the bytes.

use serde_json::{Value, json};

use super::{Godo, KEY, SIZE, assert_droplet, assert_image, image_request, int, poll, start};
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

/// What a build has: the machine whose disk it wants, and what else it must clear away.
struct Build<'a> {
    client: Godo<'a>,
    key: i64,
    droplet: i64,
}

impl<'a> Build<'a> {
    /// Makes a temporary key, and a machine that has it.
    fn start(service: &'a Service, image: &Value) -> Self {
        let client = client(service);
        let request = json!({"name": "packer-6567a2c4-4d1b", "public_key": format!("{KEY}\n")});
        let answer = client.call("POST", "/v2/account/keys", Some(&request));
        let key = int(&answer.unwrap()["ssh_key"]["id"]);
        let request = json!({
            "name": "packer-build", "region": "hal1", "size": SIZE, "image": image["id"],
            "ssh_keys": [key], "backups": false, "ipv6": false, "private_networking": false,
            "monitoring": false, "tags": ["packer", "build"],
        });
        let answer = client.call("POST", "/v2/droplets", Some(&request)).unwrap();
        assert_droplet(&answer["droplet"]);
        let droplet = int(&answer["droplet"]["id"]);
        Self {
            client,
            key,
            droplet,
        }
    }

    fn path(&self) -> String {
        format!("/v2/droplets/{}", self.droplet)
    }

    fn show(&self) -> Value {
        let droplet = self.client.get(&self.path()).unwrap()["droplet"].clone();
        assert_droplet(&droplet);
        droplet
    }

    fn act(&self, request: &Value) -> Result<i64, String> {
        let path = format!("{}/actions", self.path());
        let answer = self.client.call("POST", &path, Some(request))?;
        Ok(int(&answer["action"]["id"]))
    }

    /// Any other state, whatever it is, is waited out.
    fn wait_for_state(&self, state: &str) {
        poll(|| (self.show()["status"] == state).then_some(()));
    }

    fn wait_for_unlock(&self) {
        poll(|| (self.show()["locked"] == false).then_some(()));
    }

    /// Where the guest is reached: the first public address.
    fn address(&self) -> String {
        let droplet = self.show();
        let mut networks = droplet["networks"]["v4"].as_array().unwrap().iter();
        let public = networks.find(|network| network["type"] == "public");
        public.unwrap()["ip_address"].as_str().unwrap().to_owned()
    }

    /// It asks the guest to shut down, and at once again and again until the machine is off: only the
    /// first answer may not be an error. The plug is pulled when it is not off by then.
    fn shut_down(&self) {
        let shutdown = json!({"type": "shutdown"});
        self.act(&shutdown).unwrap();
        poll(|| {
            let _ = self.act(&shutdown);
            (self.show()["status"] == "off").then_some(())
        });
        self.wait_for_unlock();
        if self.show()["status"] != "off" {
            self.act(&json!({"type": "power_off"})).unwrap();
            self.wait_for_state("off");
            self.wait_for_unlock();
        }
    }

    /// Waits on the machine's own path until `completed`, and knows nothing of `errored`. Then the
    /// machine has one snapshot: with none or a second one, it does not know which is its own.
    fn snapshot(&self, name: &str) -> Value {
        let action = self
            .act(&json!({"type": "snapshot", "name": name}))
            .unwrap();
        let path = format!("{}/actions/{action}", self.path());
        poll(|| {
            let answer = self.client.get(&path).unwrap();
            (answer["action"]["status"] == "completed").then_some(())
        });
        self.wait_for_unlock();
        let answer = self.client.get(&format!("{}/snapshots", self.path()));
        let snapshots = answer.unwrap()["snapshots"].as_array().unwrap().clone();
        assert_eq!(snapshots.len(), 1, "Couldn't find snapshot. Bug?");
        assert_image(&snapshots[0]);
        snapshots[0].clone()
    }

    /// A tag that is not found is made, and then put on the image.
    fn tag(&self, image: i64, tag: &str) {
        let resource = json!({"resource_id": image.to_string(), "resource_type": "image"});
        let request = json!({"resources": [resource]});
        let path = format!("/v2/tags/{tag}/resources");
        if let Err(error) = self.client.call("POST", &path, Some(&request)) {
            assert!(error.contains("404"), "{error}");
            let tag = json!({"name": tag});
            self.client.call("POST", "/v2/tags", Some(&tag)).unwrap();
            self.client.call("POST", &path, Some(&request)).unwrap();
        }
    }

    /// The last step first.
    fn clean_up(&self) {
        self.client.call("DELETE", &self.path(), None).unwrap();
        let key = format!("/v2/account/keys/{}", self.key);
        self.client.call("DELETE", &key, None).unwrap();
    }
}

#[test]
fn an_image_is_built_in_a_machine_and_copied_to_further_regions() {
    // There is nobody in the guest who could answer.
    let service = Service::start_with("[vm]\nshutdown_grace_seconds = 1");
    let base = service.import("base", "hal1", &raw_disk(4, b"base"));
    let known = client(&service).get("/v2/regions?page=1&per_page=200");
    let known = known.unwrap()["regions"].as_array().unwrap().clone();
    for region in ["hal1", "nbg1"] {
        let is_known = known.iter().any(|known| known["slug"] == region);
        assert!(is_known, "Invalid region, {region}");
    }

    let build = Build::start(&service, &base);
    build.wait_for_state("active");
    assert!(build.address().starts_with("127."));
    build.shut_down();
    let image = build.snapshot("built-1");
    let id = int(&image["id"]);
    assert_eq!(
        (&image["name"], &image["type"]),
        (&json!("built-1"), &json!("snapshot"))
    );
    for tag in ["golden", "packer"] {
        build.tag(id, tag);
    }
    let transfer = json!({"type": "transfer", "region": "nbg1"});
    let path = format!("/v2/images/{id}/actions");
    let action = build.client.call("POST", &path, Some(&transfer)).unwrap();
    wait_for_transfer(&build.client, id, int(&action["action"]["id"]));
    build.clean_up();

    // What was built is all there is: in both regions, with its tags, and without its machine.
    let path = format!("/v2/images/{id}");
    poll(|| build.client.get(&build.path()).is_err().then_some(()));
    let built = build.client.get(&path).unwrap()["image"].clone();
    assert_eq!(built["regions"], json!(["hal1", "nbg1"]));
    assert_eq!(built["tags"], json!(["golden", "packer"]));
    assert_eq!(service.json("/v2/account/keys")["meta"]["total"], 0);
    // The artifact's destruction.
    build.client.call("DELETE", &path, None).unwrap();
    assert_eq!(service.json("/v2/snapshots")["meta"]["total"], 0);
}
