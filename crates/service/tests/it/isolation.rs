//! What belongs to one account does not exist for another, whatever operation is tried. The
//! operations come from the description of the API, so a new one is tried by itself; one whose
//! parameters are not known here fails the test until they are added to [`Objects`].

use serde_json::{Value, json};

use crate::accounts::second_account;
use crate::openapi::{Operation, document, example, operations};
use crate::service::{Answer, Service, body, raw_disk, wait_for};

/// In every name that the owner chooses, so that it is recognised wherever it leaks.
const MARK: &str = "the-owners";
const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKRIfHhx7irOOW813Mw0Ua82TJ/3x74mXrn7VEpnn7wF";
/// Lists of what all accounts share, or of what the other one has by asking.
const NOT_EMPTY: [&str; 4] = [
    "/v2/regions",
    "/v2/sizes",
    "/v2/account/tokens",
    "/v2/account/audit",
];

/// One object of each kind, all of one account.
struct Objects {
    image: i64,
    image_action: i64,
    droplet: i64,
    droplet_action: i64,
    /// It has been destroyed.
    former_droplet: i64,
    snapshot: i64,
    key: i64,
    upload: String,
    token: i64,
    user: i64,
}

impl Objects {
    fn create(service: &Service) -> Self {
        let image = service.import(MARK, "hal1", &raw_disk(4, b"x"));
        let key = json!({"name": MARK, "public_key": KEY});
        let key = body(&service.call("POST", "/v2/account/keys", &key));
        let droplet = machine(service, &image["id"]);
        let former = machine(service, &image["id"]);
        let image = id(&image["id"]);
        let token = json!({"name": MARK, "scopes": ["read"]});
        let token = body(&service.call("POST", "/v2/account/tokens", &token));
        let user = json!({"email": format!("{MARK}@example.org"), "role": "member"});
        let user = body(&service.call("POST", "/v2/account/users", &user));
        let tagged = json!({"resources": [
            {"resource_id": image, "resource_type": "image"},
            {"resource_id": droplet["droplet"]["id"], "resource_type": "droplet"},
        ]});
        service.call("POST", "/v2/tags", &json!({"name": MARK}));
        let answer = service.call("POST", &format!("/v2/tags/{MARK}/resources"), &tagged);
        assert_eq!(answer.status(), 204, "{}", answer.body());
        let mut objects = Self {
            image,
            image_action: id(
                &service.json(&format!("/v2/images/{image}/actions"))["actions"][0]["id"],
            ),
            droplet: id(&droplet["droplet"]["id"]),
            droplet_action: id(&droplet["links"]["actions"][0]["id"]),
            former_droplet: id(&former["droplet"]["id"]),
            snapshot: 0,
            key: id(&key["ssh_key"]["id"]),
            upload: service.upload(10),
            token: id(&token["token"]["id"]),
            user: id(&user["user"]["id"]),
        };
        let former = format!("/v2/droplets/{}", objects.former_droplet);
        assert_eq!(service.send("DELETE", &former, &[], b"").status(), 204);
        objects.settle(service);
        // Its log grows while it runs.
        let off = json!({"type": "power_off"});
        let path = format!("/v2/droplets/{}/actions", objects.droplet);
        assert_eq!(service.call("POST", &path, &off).status(), 201);
        objects.settle(service);
        let snapshot = json!({"type": "snapshot", "name": MARK});
        assert_eq!(service.call("POST", &path, &snapshot).status(), 201);
        objects.settle(service);
        let probe = json!({"type": "probe"});
        let path = format!("/v2/images/{image}/actions");
        assert_eq!(service.call("POST", &path, &probe).status(), 201);
        objects.settle(service);
        objects.snapshot = id(&service.json("/v2/images?type=snapshot")["images"][0]["id"]);
        objects
    }

    /// Waits until nothing changes any more by itself.
    fn settle(&self, service: &Service) {
        wait_for(|| {
            let actions = service.json("/v2/actions?per_page=200");
            let mut actions = actions["actions"].as_array().unwrap().iter();
            actions
                .all(|action| action["status"] != "in-progress")
                .then_some(())
        });
    }

    /// The value of the parameter that ends `path`, in an operation on `whole`.
    fn parameter(&self, path: &str, whole: &str) -> String {
        let former = [
            "/v2/droplets/{id}/destroy_with_associated_resources/status",
            "/v2/droplets/{id}/destroy_with_associated_resources/retry",
        ];
        match path {
            "/v2/droplets/{id}" if former.contains(&whole) => self.former_droplet.to_string(),
            "/v2/account/keys/{which}" => self.key.to_string(),
            "/v2/account/tokens/{id}" => self.token.to_string(),
            "/v2/account/users/{id}" => self.user.to_string(),
            "/v2/actions/{id}" | "/v2/images/{id}/actions/{action}" => {
                self.image_action.to_string()
            }
            "/v2/droplets/{id}" => self.droplet.to_string(),
            "/v2/droplets/{id}/actions/{action}" => self.droplet_action.to_string(),
            "/v2/images/{id}" => self.image.to_string(),
            "/v2/images/{id}/regions/{slug}" => "hal1".to_owned(),
            "/v2/snapshots/{id}" => self.snapshot.to_string(),
            "/v2/tags/{name}" => MARK.to_owned(),
            "/v2/uploads/{id}" => self.upload.clone(),
            _ => panic!("whose is `{path}`? Objects::parameter does not know"),
        }
    }

    /// `path` with the owner's objects in it.
    fn fill(&self, path: &str) -> String {
        let mut filled = String::new();
        let mut so_far = String::new();
        for part in path.split('/').skip(1) {
            so_far = format!("{so_far}/{part}");
            filled.push('/');
            if part.starts_with('{') {
                filled += &self.parameter(&so_far, path);
            } else {
                filled += part;
            }
        }
        filled
    }
}

fn id(value: &Value) -> i64 {
    value.as_i64().unwrap_or_else(|| panic!("{value}"))
}

fn machine(service: &Service, image: &Value) -> Value {
    let request = json!({
        "name": MARK, "image": image, "size": "s-1vcpu-512mb-10gb", "region": "hal1",
    });
    body(&service.call("POST", "/v2/droplets", &request))
}

/// A good value of a header.
fn header(name: &str) -> Option<&'static str> {
    Some(match name {
        "connection" => "upgrade",
        "sec-websocket-key" => "dGhlIHNhbXBsZSBub25jZQ==",
        "sec-websocket-version" => "13",
        "tus-resumable" => "1.0.0",
        "upgrade" => "websocket",
        "upload-length" => "10",
        "upload-offset" => "0",
        "x-dangerous" => "true",
        "x-http-method-override" => "PATCH",
        _ => return None,
    })
}

/// The parameters of a query that an operation cannot do without.
fn query(operation: &Operation) -> String {
    let mut query = String::from("?");
    for parameter in operation.parameters("query") {
        let name = parameter["name"].as_str().unwrap();
        match name {
            "tag_name" => query += &format!("tag_name={MARK}&"),
            _ if parameter["required"] == true => {
                panic!("what is a good parameter `{name}`? query() does not know")
            }
            _ => {}
        }
    }
    query
}

/// Sends a request that nothing is wrong with but whose objects it names.
fn request(service: &Service, document: &Value, operation: &Operation, path: &str) -> Answer {
    let mut headers = Vec::new();
    for parameter in operation.parameters("header") {
        let name = parameter["name"].as_str().unwrap();
        match header(name) {
            Some(value) => headers.push((name, value)),
            None => assert!(
                parameter["required"] != true,
                "what is a good header `{name}`? header() does not know"
            ),
        }
    }
    let content = operation.says["requestBody"]["content"].as_object();
    if let Some((content_type, _)) = content.and_then(|content| content.iter().next()) {
        headers.push(("content-type", content_type));
    }
    let bytes = match example(document, operation) {
        Some(example) => example.to_string(),
        None if content.is_some() => "x".to_owned(),
        None => String::new(),
    };
    let path = format!("{path}{}", query(operation));
    service.send(&operation.method, &path, &headers, bytes.as_bytes())
}

/// All that the owner can read, to be compared.
fn everything(
    service: &Service,
    document: &Value,
    objects: &Objects,
) -> Vec<(String, u16, String)> {
    let mut seen = Vec::new();
    for operation in operations(document) {
        if operation.method != "GET"
            || operation.is_public()
            || operation.needs_session()
            || streams(&operation)
        {
            continue;
        }
        let path = objects.fill(&operation.path);
        let answer = request(service, document, &operation, &path);
        let status = answer.status().as_u16();
        assert_eq!(
            status / 100,
            2,
            "GET {path}, by the owner: {}",
            answer.body()
        );
        // When a token was used is written down beside the request.
        let lines = answer.body().split(',');
        let lines: Vec<_> = lines.filter(|l| !l.contains("last_used_at")).collect();
        seen.push((path, status, lines.join(",")));
    }
    seen
}

/// Whether the answer has no end that could be waited for.
fn streams(operation: &Operation) -> bool {
    let answers = &operation.says["responses"];
    answers.get("101").is_some() || answers["200"]["content"].get("text/event-stream").is_some()
}

/// Whether the path names something of the caller's own, which is made if need be, whoever else has
/// one of that name.
fn makes(operation: &Operation) -> bool {
    operation.method == "PUT" && operation.path == "/v2/uploads/{id}"
}

#[test]
fn no_operation_reaches_what_belongs_to_another_account() {
    let document = document();
    let mut service = Service::start_with("[probe]\nmemory = '64 MiB'\ntime_limit_seconds = 1\n");
    let objects = Objects::create(&service);
    let before = everything(&service, &document, &objects);
    let owner = service.token.clone();
    service.token = second_account(&service);

    for operation in operations(&document) {
        let Operation { method, path, .. } = &operation;
        let passed_over = operation.is_public() || operation.needs_session() || makes(&operation);
        if !path.contains('{') || passed_over {
            continue;
        }
        let path = objects.fill(path);
        let answer = request(&service, &document, &operation, &path);
        assert_eq!(answer.status(), 404, "{method} {path}: {}", answer.body());
    }

    let (reading, changing): (Vec<_>, Vec<_>) = operations(&document)
        .into_iter()
        .filter(|operation| !operation.path.contains('{'))
        .filter(|operation| !operation.is_public() && !operation.needs_session())
        .filter(|operation| !streams(operation))
        .partition(|operation| operation.method == "GET");
    for operation in reading {
        let path = &operation.path;
        let answer = request(&service, &document, &operation, path);
        assert_eq!(answer.status(), 200, "GET {path}: {}", answer.body());
        assert!(
            !answer.body().contains(MARK),
            "GET {path}: {}",
            answer.body()
        );
        let total = &body(&answer)["meta"]["total"];
        let empty = total.is_null() || total == 0 || NOT_EMPTY.contains(&path.as_str());
        assert!(empty, "GET {path}: {}", answer.body());
    }
    for operation in changing {
        request(&service, &document, &operation, &operation.path);
    }
    for operation in operations(&document).iter().filter(|o| makes(o)) {
        let path = objects.fill(&operation.path);
        let answer = request(&service, &document, operation, &path);
        assert_eq!(answer.status(), 201, "{path}: {}", answer.body());
    }

    service.token = owner;
    let after = everything(&service, &document, &objects);
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before, after);
    }
    assert_eq!(before.len(), after.len());
}
