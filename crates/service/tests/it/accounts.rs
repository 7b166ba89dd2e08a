//! What belongs to one account does not exist for another.

use abbild_service::operator::NewOperatorToken;
use serde_json::json;

use crate::service::{Service, body, raw_disk};

/// Makes a second account, and returns a token of it.
pub fn second_account(service: &Service) -> String {
    service.operate(async |operator| {
        let account = operator.create_account("b", "b@c").await.unwrap();
        let token = NewOperatorToken {
            account: Some(account.uuid),
            name: "t".to_owned(),
            scopes: Vec::new(),
            expires_in: None,
        };
        operator.create_token(token).await.unwrap().token.unwrap()
    })
}

#[test]
fn another_account_sees_and_reaches_nothing() {
    let mut service = Service::start();
    let image = service.import("mine", "hal1", &raw_disk(4, b"mine"));
    let upload = service.upload(10);
    let owner = service.token.clone();
    service.token = second_account(&service);

    let tus = [("tus-resumable", "1.0.0")];
    for (method, path) in [
        ("GET", "/v2/images/1"),
        ("PUT", "/v2/images/1"),
        ("DELETE", "/v2/images/1"),
        ("GET", "/v2/images/1/report"),
        ("GET", "/v2/images/1/actions"),
        ("GET", "/v2/images/1/actions/1"),
        ("GET", "/v2/actions/1"),
    ] {
        assert_eq!(
            service.send(method, path, &[], b"{}").status(),
            404,
            "{method} {path}"
        );
    }
    let transfer = json!({"type": "transfer", "region": "nbg1"});
    assert_eq!(
        service
            .call("POST", "/v2/images/1/actions", &transfer)
            .status(),
        404
    );
    for method in ["HEAD", "DELETE"] {
        let answer = service.send(method, &format!("/v2/uploads/{upload}"), &tus, b"");
        assert_eq!(answer.status(), 404);
    }
    assert_eq!(service.patch(&upload, 0, b"x").status(), 404);
    for list in ["images", "actions", "droplets", "account/keys"] {
        assert_eq!(
            service.json(&format!("/v2/{list}"))["meta"]["total"],
            0,
            "{list}"
        );
    }
    let steal = json!({"name": "x", "upload": upload, "region": "hal1"});
    assert_eq!(service.call("POST", "/v2/images", &steal).status(), 422);
    let boot = json!({"name": "x", "size": "s-1vcpu-1gb", "image": 1, "region": "hal1"});
    let answer = service.call("POST", "/v2/droplets", &boot);
    assert_eq!(answer.status(), 422);
    assert!(
        body(&answer)["message"]
            .as_str()
            .unwrap()
            .contains("no image `1`")
    );

    service.token = owner;
    assert_eq!(service.json("/v2/images/1")["image"]["name"], image["name"]);
}
