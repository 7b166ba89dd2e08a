//! TLS: uploads by HTTP/2, with the certificate that the service made.

use reqwest::{Certificate, Client, Version};
use serde_json::Value;

use crate::service::{Service, raw_disk};

/// Trusts the authority of the service, and nobody else.
fn client(service: &Service) -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let pem = std::fs::read(service.data().join("tls/ca.pem")).unwrap();
    Client::builder()
        .tls_certs_only([Certificate::from_pem(&pem).unwrap()])
        .no_proxy()
        .build()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_by_http_2_gets_links_that_work() {
    let service =
        tokio::task::spawn_blocking(|| Service::start_with("[tls]\nlisten = \"127.0.0.1:0\""));
    let service = service.await.unwrap();
    let client = client(&service);
    let port = service.addresses.unwrap().tls.unwrap().port();
    for host in ["localhost", "127.0.0.1"] {
        let base = format!("https://{host}:{port}");
        let bytes = raw_disk(3, b"over TLS");
        let created = client
            .post(format!("{base}/v2/uploads"))
            .bearer_auth(&service.token)
            .header("tus-resumable", "1.0.0")
            .header("upload-length", bytes.len())
            .send()
            .await
            .unwrap();
        assert_eq!(created.version(), Version::HTTP_2);
        assert_eq!(created.status(), 201);
        let location = created.headers()["location"].to_str().unwrap().to_owned();
        assert!(location.starts_with(&base), "{location}");
        let sent = client
            .patch(&location)
            .bearer_auth(&service.token)
            .header("tus-resumable", "1.0.0")
            .header("upload-offset", 0)
            .header("content-type", "application/offset+octet-stream")
            .body(bytes)
            .send()
            .await
            .unwrap();
        assert_eq!(sent.status(), 204);
        assert_eq!(sent.headers()["upload-offset"], "3145728");
    }
    // Metrics are not for those who come by TLS from elsewhere; the links of lists say https, too.
    let list = client
        .get(format!("https://localhost:{port}/v2/sizes?per_page=1"))
        .bearer_auth(&service.token)
        .send()
        .await
        .unwrap();
    let list: Value = serde_json::from_str(&list.text().await.unwrap()).unwrap();
    let next = list["links"]["pages"]["next"].as_str().unwrap();
    assert!(next.starts_with("https://localhost:"), "{next}");
    tokio::task::spawn_blocking(move || drop(service))
        .await
        .unwrap();
}
