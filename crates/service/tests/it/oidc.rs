//! Logging in with OpenID Connect, at a provider that does what it should or not.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::extract::{Form, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use openidconnect::core::{
    CoreIdToken, CoreIdTokenClaims, CoreJwsSigningAlgorithm, CoreRsaPrivateSigningKey,
};
use openidconnect::{AccessToken, JsonWebKeyId, PrivateSigningKey as _};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::service::{Answer, Service, body};

/// What the provider says of somebody who logs in.
#[derive(Clone)]
struct Grant {
    claims: Value,
    challenge: String,
}

/// An OpenID Connect provider at which everybody who comes has logged in already.
struct Provider {
    url: String,
    grants: Grants,
}

type Grants = Arc<Mutex<HashMap<String, Grant>>>;

impl Provider {
    fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let grants = Grants::default();
        let state = (url.clone(), grants.clone(), Arc::new(key()));
        let app = Router::new()
            .route("/.well-known/openid-configuration", get(metadata))
            .route("/keys", get(keys))
            .route("/token", post(token))
            .with_state(state);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                axum::serve(listener, app).await.unwrap();
            });
        });
        Self { url, grants }
    }

    fn service(&self, settings: &str) -> Service {
        let url = &self.url;
        Service::start_with(&format!(
            "[oidc]\nissuer = \"{url}\"\nclient_id = \"abbild\"\nclient_secret = \"s\"\n{settings}"
        ))
    }

    /// What it would say of somebody, in answer to the login that began with `parameters`.
    fn claims(&self, parameters: &HashMap<String, String>, subject: &str, email: &str) -> Value {
        let now = jiff::Timestamp::now().as_second();
        json!({
            "iss": self.url, "aud": ["abbild"], "sub": subject, "iat": now, "exp": now + 60,
            "nonce": parameters["nonce"], "email": email, "email_verified": true, "name": "Some One",
        })
    }

    /// Lets somebody log in; the code is for the browser.
    fn grant(&self, parameters: &HashMap<String, String>, claims: Value) -> String {
        let challenge = parameters["code_challenge"].clone();
        let mut grants = self.grants.lock().unwrap();
        let code = format!("code{}", grants.len());
        grants.insert(code.clone(), Grant { claims, challenge });
        code
    }
}

type Shared = (String, Grants, Arc<CoreRsaPrivateSigningKey>);

fn key() -> CoreRsaPrivateSigningKey {
    let made = std::process::Command::new("openssl")
        .args(["genrsa", "-traditional", "2048"])
        .output()
        .unwrap();
    let pem = String::from_utf8(made.stdout).unwrap();
    CoreRsaPrivateSigningKey::from_pem(&pem, Some(JsonWebKeyId::new("1".to_owned()))).unwrap()
}

async fn metadata(State((url, ..)): State<Shared>) -> Json<Value> {
    Json(json!({
        "issuer": url, "authorization_endpoint": format!("{url}/authorize"),
        "token_endpoint": format!("{url}/token"), "jwks_uri": format!("{url}/keys"),
        "response_types_supported": ["code"], "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
    }))
}

async fn keys(State((_, _, key)): State<Shared>) -> Json<Value> {
    Json(json!({"keys": [key.as_verification_key()]}))
}

/// Each code is good once, for whoever knows what its challenge was made of.
async fn token(
    State((_, grants, key)): State<Shared>,
    headers: HeaderMap,
    Form(form): Form<HashMap<String, String>>,
) -> (StatusCode, Json<Value>) {
    let basic = format!("Basic {}", STANDARD.encode("abbild:s"));
    assert_eq!(headers["authorization"], basic);
    let grant = grants.lock().unwrap().remove(&form["code"]);
    let digest = URL_SAFE_NO_PAD.encode(Sha256::digest(&form["code_verifier"]));
    let Some(grant) = grant.filter(|grant| grant.challenge == digest) else {
        let error = json!({"error": "invalid_grant"});
        return (StatusCode::BAD_REQUEST, Json(error));
    };
    let claims: CoreIdTokenClaims = serde_json::from_value(grant.claims).unwrap();
    let access = AccessToken::new("access".to_owned());
    let algorithm = CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256;
    let id_token = CoreIdToken::new(claims, &*key, algorithm, Some(&access), None).unwrap();
    let answer = json!({
        "access_token": "access", "token_type": "Bearer", "id_token": id_token.to_string(),
    });
    (StatusCode::OK, Json(answer))
}

/// A browser that has begun a login.
struct Browser<'s> {
    service: &'s Service,
    cookie: String,
    parameters: HashMap<String, String>,
}

impl<'s> Browser<'s> {
    fn begin(service: &'s Service, path: &str) -> Self {
        let answer = service.send("GET", path, &[("authorization", "")], b"");
        assert_eq!(answer.status(), 303, "{}", answer.body());
        let to = answer.headers()["location"].to_str().unwrap();
        let url = reqwest::Url::parse(to).unwrap();
        let set = answer.headers()["set-cookie"].to_str().unwrap();
        assert!(
            set.contains("HttpOnly; SameSite=Lax; Path=/v2/session/oidc"),
            "{set}"
        );
        Self {
            service,
            cookie: set.split(';').next().unwrap().to_owned(),
            parameters: url.query_pairs().into_owned().collect(),
        }
    }

    fn back(&self, query: &str) -> Answer {
        let path = format!("/v2/session/oidc/callback?{query}");
        let headers = [("authorization", ""), ("cookie", &*self.cookie)];
        self.service.send("GET", &path, &headers, b"")
    }

    fn back_with(&self, code: &str) -> Answer {
        self.back(&format!("state={}&code={code}", self.parameters["state"]))
    }
}

/// Logs in as somebody whom the provider knows.
fn log_in(provider: &Provider, service: &Service, subject: &str, email: &str) -> Answer {
    let browser = Browser::begin(service, "/v2/session/oidc");
    let claims = provider.claims(&browser.parameters, subject, email);
    let code = provider.grant(&browser.parameters, claims);
    browser.back_with(&code)
}

/// Who is logged in by an answer.
fn who(service: &Service, answer: &Answer) -> Value {
    assert_eq!(answer.status(), 303, "{}", answer.body());
    let cookies = answer.headers().get_all("set-cookie");
    let session = cookies
        .iter()
        .filter_map(|value| value.to_str().ok()?.split(';').next())
        .find(|cookie| cookie.starts_with("abbild_session="));
    let headers = [("authorization", ""), ("cookie", session.unwrap())];
    body(&service.send("GET", "/v2/session", &headers, b""))
}

fn add_user(service: &Service, email: &str) -> Value {
    let request = json!({"email": email, "role": "owner"});
    body(&service.call("POST", "/v2/account/users", &request))["user"].clone()
}

#[test]
fn a_user_comes_in_by_their_verified_address_and_then_by_their_subject() {
    let provider = Provider::start();
    let service = provider.service("name = \"Ours\"");
    let methods = service.json("/v2/session/methods");
    assert_eq!(methods, json!({"password": true, "oidc": "Ours"}));
    let user = add_user(&service, "me@example.org");

    let browser = Browser::begin(&service, "/v2/session/oidc?return_to=/images%3Fpage=2");
    let callback = format!("{}/v2/session/oidc/callback", service.url);
    assert_eq!(browser.parameters["redirect_uri"], callback);
    assert_eq!(browser.parameters["scope"], "openid email profile");
    let claims = provider.claims(&browser.parameters, "7", "Me@Example.org");
    let code = provider.grant(&browser.parameters, claims);
    let answer = browser.back_with(&code);
    assert_eq!(answer.headers()["location"], "/images?page=2");
    let session = who(&service, &answer);
    assert_eq!(session["user"]["id"], user["id"]);
    assert_eq!(session["session"]["method"], "oidc");

    // Another address does not make them another; the address alone does not make anybody them.
    let answer = log_in(&provider, &service, "7", "married@example.org");
    assert_eq!(who(&service, &answer)["user"]["id"], user["id"]);
    let answer = log_in(&provider, &service, "8", "me@example.org");
    assert_eq!(answer.status(), 403, "{}", answer.body());

    let path = format!("/v2/account/users/{}", user["id"]);
    add_user(&service, "another-owner@example.org");
    service.call("PUT", &path, &json!({"disabled": true}));
    let answer = log_in(&provider, &service, "7", "me@example.org");
    assert_eq!(answer.status(), 403, "{}", answer.body());
    let log = service.json("/v2/account/audit")["audit"].to_string();
    assert!(log.contains("\"oidc\""), "{log}");
}

#[test]
fn strangers_join_only_where_that_is_allowed() {
    let provider = Provider::start();
    let service = provider.service("");
    let answer = log_in(&provider, &service, "1", "new@example.org");
    assert_eq!(answer.status(), 403);
    assert!(
        answer.body().contains("`new@example.org` is no user"),
        "{}",
        answer.body()
    );

    let settings = "join_account = \"1\"\njoin_role = \"read-only\"\ndomains = [\"Example.org\"]";
    let service = provider.service(settings);
    let answer = log_in(&provider, &service, "1", "new@example.org");
    let session = who(&service, &answer);
    assert_eq!(session["user"]["role"], "read-only");
    assert_eq!(session["user"]["name"], "Some One");
    assert_eq!(session["scopes"], json!(["read"]));
    let answer = log_in(&provider, &service, "2", "new@example.org.evil.example");
    assert_eq!(answer.status(), 403, "{}", answer.body());
    let users = service.json("/v2/account/users");
    assert_eq!(users["meta"]["total"], 1);
}

#[test]
fn what_a_provider_does_not_prove_is_refused() {
    let provider = Provider::start();
    let service = provider.service("");
    add_user(&service, "me@example.org");
    let status = |field: &str, value: Value| {
        let browser = Browser::begin(&service, "/v2/session/oidc");
        let mut claims = provider.claims(&browser.parameters, "1", "me@example.org");
        claims[field] = value;
        let code = provider.grant(&browser.parameters, claims);
        browser.back_with(&code).status().as_u16()
    };
    let past = jiff::Timestamp::now().as_second() - 60;
    assert_eq!(status("nonce", json!("another")), 401);
    assert_eq!(status("nonce", Value::Null), 401);
    assert_eq!(status("aud", json!(["another"])), 401);
    assert_eq!(status("iss", json!("https://another.example")), 401);
    assert_eq!(status("exp", json!(past)), 401);
    assert_eq!(status("email_verified", json!(false)), 403);
    assert_eq!(status("email_verified", Value::Null), 403);
    assert_eq!(status("name", Value::Null), 303);
}

#[test]
fn a_login_is_one_browsers_and_good_once() {
    let provider = Provider::start();
    let service = provider.service("");
    add_user(&service, "me@example.org");
    let mut browser = Browser::begin(&service, "/v2/session/oidc");
    let own = browser.cookie.clone();
    let claims = provider.claims(&browser.parameters, "1", "me@example.org");
    let code = provider.grant(&browser.parameters, claims.clone());
    for cookie in ["", "abbild_oidc=another"] {
        cookie.clone_into(&mut browser.cookie);
        assert_eq!(browser.back_with(&code).status(), 401);
    }
    browser.cookie = own;
    assert_eq!(browser.back(&format!("code={code}")).status(), 401);
    assert_eq!(
        browser.back(&format!("state=another&code={code}")).status(),
        401
    );
    assert_eq!(browser.back_with(&code).status(), 303);
    let code = provider.grant(&browser.parameters, claims);
    assert_eq!(browser.back_with(&code).status(), 401, "it is spent");

    let browser = Browser::begin(&service, "/v2/session/oidc");
    assert_eq!(browser.back_with("unknown").status(), 401);
    let browser = Browser::begin(&service, "/v2/session/oidc");
    let state = &browser.parameters["state"];
    let answer = browser.back(&format!(
        "state={state}&error=access_denied&error_description=no"
    ));
    assert_eq!(answer.status(), 401);
    assert!(
        answer.body().contains("access_denied: no"),
        "{}",
        answer.body()
    );
    for away in ["https://evil.example", "//evil.example", "/%5Cevil.example"] {
        let path = format!("/v2/session/oidc?return_to={away}");
        assert_eq!(service.get(&path).status(), 422, "{away}");
    }
}

#[test]
fn without_a_provider_that_answers_there_is_no_such_login() {
    let service = Service::start();
    assert_eq!(service.get("/v2/session/oidc").status(), 404);
    assert_eq!(service.get("/v2/session/oidc/callback").status(), 404);
    let methods = service.json("/v2/session/methods");
    assert_eq!(methods, json!({"password": true, "oidc": null}));
    let settings = "[oidc]\nissuer = \"http://127.0.0.1:1\"\nclient_id = \"abbild\"";
    let service = Service::start_with(settings);
    assert_eq!(service.get("/v2/session/oidc").status(), 503);
}
