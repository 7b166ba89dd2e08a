//! Tags, and lists that are limited by them.

use serde_json::{Value, json};

use crate::service::{Service, body, raw_disk, wait_for};

fn names(list: &Value, key: &str) -> Vec<String> {
    let all = list[key].as_array().unwrap().iter();
    all.map(|o| o["name"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_tag_is_made_by_its_first_use_and_found_in_any_spelling() {
    let service = Service::start();
    let one = service.import("one", "hal1", &raw_disk(4, b"x"));
    service.import("two", "hal1", &raw_disk(4, b"x"));
    let targets = |id: Value, kind: &str| json!({"resources": [{"resource_id": id.to_string(), "resource_type": kind}]});
    let link = targets(one["id"].clone(), "image");
    // As Packer does: link, and create the tag when that is 404.
    let unknown = service.call("POST", "/v2/tags/Web/resources", &link);
    assert_eq!(unknown.status(), 404);
    for bad in ["", "a b", "ä", &"x".repeat(256)] {
        let answer = service.call("POST", "/v2/tags", &json!({"name": bad}));
        assert_eq!(answer.status(), 422, "{bad}");
    }
    let created = service.call("POST", "/v2/tags", &json!({"name": "Web"}));
    assert_eq!(created.status(), 201, "{}", created.body());
    assert_eq!(body(&created)["tag"]["resources"]["count"], 0);
    let again = service.call("POST", "/v2/tags", &json!({"name": "wEB"}));
    assert_eq!(
        body(&again)["tag"]["name"],
        "Web",
        "the first spelling wins"
    );
    let linked = service.call("POST", "/v2/tags/web/resources", &link);
    assert_eq!(
        (linked.status().as_u16(), linked.body().as_str()),
        (204, "")
    );
    for (target, status) in [
        (targets(json!(77), "image"), 404),
        (targets(json!(77), "droplet"), 404),
        (targets(json!(1), "volume"), 422),
    ] {
        let answer = service.call("POST", "/v2/tags/web/resources", &target);
        assert_eq!(answer.status(), status, "{}", answer.body());
    }

    let path = format!("/v2/images/{}", one["id"]);
    assert_eq!(service.json(&path)["image"]["tags"], json!(["Web"]));
    let tag = service.json("/v2/tags/WEB")["tag"].clone();
    assert_eq!(tag["resources"]["images"]["count"], 1);
    let uri = format!("{}{path}", service.url);
    assert_eq!(tag["resources"]["last_tagged_uri"], uri);
    assert_eq!(service.json("/v2/tags")["meta"]["total"], 1);

    let listed = service.json("/v2/images?tag_name=web&private=true");
    assert_eq!(names(&listed, "images"), ["one"]);
    assert_eq!(listed["meta"]["total"], 1);
    let listed = service.json("/v2/images?tag_name=none");
    assert_eq!(listed["images"], json!([]));
    let listed = service.json("/v2/images?name=TWO");
    assert_eq!(names(&listed, "images"), ["two"]);

    let unlinked = service.call("DELETE", "/v2/tags/web/resources", &link);
    assert_eq!(unlinked.status(), 204);
    assert_eq!(service.json(&path)["image"]["tags"], json!([]));
    service.call("POST", "/v2/tags/web/resources", &link);
    assert_eq!(
        service.send("DELETE", "/v2/tags/web", &[], b"").status(),
        204
    );
    assert_eq!(service.get("/v2/tags/web").status(), 404);
    assert_eq!(service.json(&path)["image"]["tags"], json!([]));
}

#[test]
fn droplets_are_listed_moved_and_deleted_by_tag() {
    let service = Service::start();
    let image = service.import("one", "hal1", &raw_disk(4, b"x"));
    let request = json!({
        "names": ["a", "b"], "size": "s-1vcpu-512mb-10gb", "image": image["id"],
        "region": "hal1", "tags": ["web", "Blue"],
    });
    let created = service.call("POST", "/v2/droplets", &request);
    assert_eq!(created.status(), 202, "{}", created.body());
    assert_eq!(
        body(&created)["droplets"][1]["tags"],
        json!(["web", "Blue"])
    );
    let other = json!({
        "name": "c", "size": "s-1vcpu-512mb-10gb", "image": image["id"], "tags": ["WEB"],
    });
    let other = body(&service.call("POST", "/v2/droplets", &other));
    assert_eq!(other["droplet"]["tags"], json!(["web"]));
    let wrong = json!({
        "name": "d", "size": "s-1vcpu-512mb-10gb", "image": image["id"], "tags": ["not this"],
    });
    assert_eq!(service.call("POST", "/v2/droplets", &wrong).status(), 422);

    let listed = service.json("/v2/droplets?tag_name=blue&type=droplets");
    assert_eq!(names(&listed, "droplets"), ["b", "a"]);
    assert_eq!(
        service.json("/v2/droplets?type=gpus")["droplets"],
        json!([])
    );
    assert_eq!(
        names(&service.json("/v2/droplets?name=C"), "droplets"),
        ["c"]
    );
    let tag = service.json("/v2/tags/web")["tag"].clone();
    assert_eq!(tag["resources"]["droplets"]["count"], 3);

    // One thing at a time, and what cannot be done to one is done to none.
    let act = json!({"type": "power_off"});
    wait_for(|| {
        let droplets = service.json("/v2/droplets")["droplets"].clone();
        let mut droplets = droplets.as_array().unwrap().iter();
        droplets.all(|d| d["locked"] == false).then_some(())
    });
    let acted = service.call("POST", "/v2/droplets/actions?tag_name=blue", &act);
    assert_eq!(acted.status(), 201, "{}", acted.body());
    assert_eq!(body(&acted)["actions"].as_array().unwrap().len(), 2);
    let all = service.call("POST", "/v2/droplets/actions", &act);
    assert_eq!(all.status(), 422, "never all at once by mistake");
    assert_eq!(
        service.send("DELETE", "/v2/droplets", &[], b"").status(),
        422
    );
    let deleted = service.send("DELETE", "/v2/droplets?tag_name=BLUE", &[], b"");
    assert_eq!(
        (deleted.status().as_u16(), deleted.body().as_str()),
        (204, "")
    );
    assert_eq!(names(&service.json("/v2/droplets"), "droplets"), ["c"]);
}
