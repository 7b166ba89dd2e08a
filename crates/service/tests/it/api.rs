//! What existing clients rely on whatever the resource: errors, pages, keys.

use serde_json::json;

use crate::service::{Service, body};

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKRIfHhx7irOOW813Mw0Ua82TJ/3x74mXrn7VEpnn7wF a@b";
/// What `ssh-keygen -E md5 -l` says of it.
const FINGERPRINT: &str = "04:e0:f8:2c:1b:cd:ce:34:32:bc:54:d5:94:4a:7c:4e";

#[test]
fn every_error_is_json_with_id_message_and_request_id() {
    let service = Service::start();
    let nobody = [("authorization", "Bearer nonsense")];
    let cases = [
        (
            service.send("GET", "/v2/account", &nobody, b""),
            401,
            "unauthorized",
        ),
        (
            service.send("GET", "/v2/images", &[("authorization", "Basic x")], b""),
            401,
            "unauthorized",
        ),
        (service.get("/v2/nothing"), 404, "not_found"),
        (service.get("/v2/images/77"), 404, "not_found"),
        (service.get("/v2/images/debian-12-x64"), 404, "not_found"),
        (service.get("/v2/droplets/1"), 404, "not_found"),
        (service.get("/v2/actions/1"), 404, "not_found"),
        (service.get("/v2/images/1/actions/x"), 404, "not_found"),
        (
            service.send("PUT", "/v2/regions", &[], b""),
            405,
            "method_not_allowed",
        ),
        (
            service.send("POST", "/v2/images", &[], b"{"),
            400,
            "bad_request",
        ),
        (
            service.send("POST", "/v2/images", &[], b"[]"),
            422,
            "unprocessable_entity",
        ),
        (service.get("/v2/images?page=0"), 400, "bad_request"),
        (service.get("/v2/images?per_page=201"), 400, "bad_request"),
    ];
    for (answer, status, id) in cases {
        assert_eq!(answer.status(), status, "{}", answer.body());
        let error = body(&answer);
        assert_eq!(error["id"], id);
        assert!(!error["message"].as_str().unwrap().is_empty());
        let request_id = answer.headers()["x-request-id"].to_str().unwrap();
        assert_eq!(error["request_id"], request_id);
        assert_eq!(
            answer.headers()["content-type"],
            "application/json; charset=utf-8"
        );
    }
    let message = &body(&service.send("GET", "/v2/account", &nobody, b""))["message"];
    assert_eq!(message, "Unable to authenticate you.");
}

#[test]
fn account_regions_and_sizes_have_every_field_of_the_contract() {
    let service = Service::start();
    let account = &service.json("/v2/account")["account"];
    for field in [
        "droplet_limit",
        "floating_ip_limit",
        "email",
        "uuid",
        "status",
        "status_message",
    ] {
        assert!(!account[field].is_null(), "{field}");
    }
    let regions = service.json("/v2/regions?per_page=200&unknown=1");
    assert_eq!(regions["links"], json!({}));
    assert_eq!(regions["meta"]["total"], 2);
    assert_eq!(regions["regions"][1]["name"], "Nürnberg");
    assert_eq!(regions["regions"][0]["available"], true);
    let sizes = service.json("/v2/sizes");
    assert_eq!(sizes["sizes"][1]["slug"], "s-1vcpu-1gb");
    for field in ["memory", "vcpus", "disk"] {
        assert!(sizes["sizes"][1][field].is_i64(), "{field}");
    }
    let page = service.json("/v2/sizes?per_page=2&page=2");
    let expected = format!("{}/v2/sizes?page=3&per_page=2", service.url);
    assert_eq!(page["links"]["pages"]["next"], expected);
    assert_eq!(page["links"]["pages"]["last"], expected);
    assert_eq!(page["sizes"].as_array().unwrap().len(), 2);
}

#[test]
fn keys_are_found_by_id_and_by_fingerprint() {
    let service = Service::start();
    let request = json!({"name": "me", "public_key": KEY});
    let created = service.call("POST", "/v2/account/keys", &request);
    assert_eq!(created.status(), 201, "{}", created.body());
    let key = body(&created)["ssh_key"].clone();
    assert_eq!(key["public_key"], KEY);
    let fingerprint = key["fingerprint"].as_str().unwrap();
    assert_eq!(fingerprint, FINGERPRINT);

    let again = service.call("POST", "/v2/account/keys", &request);
    assert_eq!(again.status(), 422);
    assert_eq!(
        body(&again)["message"],
        "SSH Key is already in use on your account"
    );
    let private = json!({"name": "x", "public_key": "-----BEGIN OPENSSH PRIVATE KEY-----"});
    assert_eq!(
        service.call("POST", "/v2/account/keys", &private).status(),
        422
    );

    let encoded = fingerprint.replace(':', "%3A");
    assert_eq!(
        service.json(&format!("/v2/account/keys/{encoded}"))["ssh_key"],
        key
    );
    let renamed = service.call(
        "PUT",
        &format!("/v2/account/keys/{}", key["id"]),
        &json!({"name": "you"}),
    );
    assert_eq!(body(&renamed)["ssh_key"]["name"], "you");
    let deleted = service.send(
        "DELETE",
        &format!("/v2/account/keys/{fingerprint}?per_page=200"),
        &[],
        b"",
    );
    assert_eq!(
        (deleted.status().as_u16(), deleted.body().as_str()),
        (204, "")
    );
    assert_eq!(service.json("/v2/account/keys")["ssh_keys"], json!([]));
}

#[test]
fn droplets_are_refused_with_the_reason() {
    let service = Service::start();
    let base = json!({"name": "web", "size": "s-1vcpu-1gb", "image": 1, "region": "hal1"});
    let cases = [
        (json!({"name": "bad name"}), "droplet's name"),
        (json!({"names": ["a", "b"]}), "either `name` or `names`"),
        (json!({"size": "huge"}), "no size `huge`"),
        (
            json!({"image": "debian-12-x64"}),
            "no image `debian-12-x64`",
        ),
        (json!({"image": "1"}), "no image `1`"),
        (json!({"ssh_keys": [7]}), "no SSH key `7`"),
        (json!({"user_data": "x".repeat((64 << 10) + 1)}), "64 KiB"),
        (json!({"user_data_base64": "no base64"}), "not Base64"),
        (
            json!({"user_data": "a", "user_data_base64": "YQ=="}),
            "either",
        ),
        (json!({"volumes": [{"id": "x"}]}), "volumes"),
        (json!({"vpc_uuid": "x"}), "VPC"),
    ];
    for (change, reason) in cases {
        let mut request = base.clone();
        for (key, value) in change.as_object().unwrap() {
            request[key] = value.clone();
        }
        let answer = service.call("POST", "/v2/droplets", &request);
        assert_eq!(answer.status(), 422, "{request}");
        let message = body(&answer)["message"].as_str().unwrap().to_owned();
        assert!(message.contains(reason), "{message}");
    }
    assert_eq!(service.json("/v2/droplets")["meta"]["total"], 0);
}
