//! The description of the API says what the API does.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::service::{Service, body};

const METHODS: [&str; 6] = ["get", "head", "post", "put", "patch", "delete"];

/// One operation of the description.
pub struct Operation {
    /// In capitals.
    pub method: String,
    /// With its parameters in braces.
    pub path: String,
    /// What the description says of it.
    pub says: Value,
}

impl Operation {
    /// Its parameters in one place: `path`, `query` or `header`.
    pub fn parameters(&self, place: &str) -> Vec<&Value> {
        let all = self.says["parameters"].as_array();
        all.into_iter()
            .flatten()
            .filter(|parameter| parameter["in"] == place)
            .collect()
    }

    /// Whether nobody needs to prove who they are.
    pub fn is_public(&self) -> bool {
        self.says["security"] == json!([{}])
    }

    /// Whether only somebody who is logged in can do it.
    pub fn needs_session(&self) -> bool {
        self.says["security"] == json!([{"session": []}])
    }
}

pub fn document() -> Value {
    serde_json::from_str(&abbild_service::openapi().unwrap()).unwrap()
}

pub fn operations(document: &Value) -> Vec<Operation> {
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in METHODS {
            if let Some(says) = item.get(method) {
                found.push(Operation {
                    method: method.to_uppercase(),
                    path: path.clone(),
                    says: says.clone(),
                });
            }
        }
    }
    found
}

#[test]
fn the_committed_description_is_the_present_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
    let committed = std::fs::read_to_string(path).unwrap();
    assert!(
        committed.trim_end() == abbild_service::openapi().unwrap(),
        "docs/openapi.json is out of date; write it anew:\n\
         cargo run -p abbild-service --example openapi > docs/openapi.json"
    );
}

#[test]
fn every_operation_is_described_in_full() {
    let document = document();
    let tags: Vec<_> = document["tags"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tag| &tag["name"])
        .collect();
    let mut ids = HashSet::new();
    for operation in operations(&document) {
        let Operation { method, path, says } = &operation;
        let at = format!("{method} {path}");
        let id = says["operationId"].as_str().unwrap();
        assert!(ids.insert(id.to_owned()), "{at}: `{id}` is used twice");
        assert!(
            !says["summary"].as_str().unwrap_or("").is_empty(),
            "{at}: no summary"
        );
        assert!(
            tags.contains(&&says["tags"][0]),
            "{at}: {} is not in the list of tags",
            says["tags"]
        );
        let named: HashSet<_> = operation
            .parameters("path")
            .iter()
            .map(|parameter| parameter["name"].as_str().unwrap())
            .collect();
        let wanted: HashSet<_> = path
            .split('/')
            .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
            .collect();
        assert_eq!(named, wanted, "{at}: parameters of the path");
        for parameter in says["parameters"].as_array().into_iter().flatten() {
            assert!(parameter["description"].is_string(), "{at}: {parameter}");
        }
        let answers = says["responses"].as_object().unwrap();
        assert!(
            path == "/v2/snapshots/{id}"
                || answers
                    .keys()
                    .any(|status| status.starts_with(['1', '2', '3'])),
            "{at}: no success"
        );
        example(&document, &operation);
    }
}

/// The example of an operation's JSON body, if it takes one.
pub fn example<'a>(document: &'a Value, operation: &'a Operation) -> Option<&'a Value> {
    let schema = operation.says["requestBody"]["content"]
        .get("application/json")?
        .get("schema")?;
    let schema = match schema["$ref"].as_str() {
        Some(reference) => document.pointer(reference.trim_start_matches('#')).unwrap(),
        None => schema,
    };
    let example = schema.get("example");
    assert!(
        example.is_some(),
        "{} {}: its body has no example",
        operation.method,
        operation.path
    );
    example
}

#[test]
fn every_operation_exists_and_demands_a_token() {
    let service = Service::start();
    let nobody = [("authorization", "Bearer nonsense")];
    for operation in operations(&document()) {
        if operation.is_public() {
            continue;
        }
        let path = operation.path.replace(['{', '}'], "");
        let answer = service.send(&operation.method, &path, &nobody, b"");
        // An unknown path would be answered with 404, an unknown method with 405.
        assert_eq!(answer.status(), 401, "{} {path}", operation.method);
    }
}

#[test]
fn the_description_and_its_page_are_served() {
    let service = Service::start();
    let nobody = [("authorization", "")];
    let served = service.send("GET", "/v2/openapi.json", &nobody, b"");
    assert_eq!(served.status(), 200);
    assert_eq!(body(&served), document());
    let page = service.send("GET", "/docs/", &nobody, b"");
    assert_eq!(page.status(), 200);
    assert!(page.body().contains("swagger-ui"));
    for line in page
        .body()
        .lines()
        .filter(|line| line.contains("src=") || line.contains("href="))
    {
        assert!(
            !line.contains("//"),
            "the page loads from elsewhere: {line}"
        );
    }
    let start = service.send("GET", "/docs/swagger-initializer.js", &nobody, b"");
    assert!(
        start.body().contains("/v2/openapi.json"),
        "{}",
        start.body()
    );
}
