//! Regions as operators see them, and one that is given up.

use serde_json::json;

use crate::service::{Service, operate, raw_disk, wait_for};

#[test]
fn a_region_that_left_the_configuration_is_given_up() {
    let service = Service::start();
    let only = service.import("only", "nbg1", &raw_disk(2, b"only"))["id"].clone();
    let both = service.import("both", "hal1", &raw_disk(2, b"both"))["id"].clone();
    let transfer = json!({"type": "transfer", "region": "nbg1"});
    let path = format!("/v2/images/{both}/actions");
    assert_eq!(service.call("POST", &path, &transfer).status(), 201);
    wait_for(|| {
        let image = service.json(&format!("/v2/images/{both}"));
        let regions = image["image"]["regions"].as_array().unwrap().len();
        (regions == 2).then_some(())
    });
    let upload = service.upload(4000);
    let request = json!({"name": "waiting", "upload": upload, "region": "nbg1"});
    assert_eq!(service.call("POST", "/v2/images", &request).status(), 202);

    let mut config = service.config();
    let regions = operate(&config, async |operator| operator.regions().await.unwrap());
    assert_eq!((regions[0].images, regions[1].images), (1, 3));
    assert_eq!(regions[1].stored_images, Some(2));
    let refused = operate(&config, async |operator| operator.drop_region("nbg1").await);
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("is configured"), "{refused}");

    config.regions.retain(|region| region.slug == "hal1");
    let regions = operate(&config, async |operator| operator.regions().await.unwrap());
    assert_eq!(regions[1].obstacle.as_deref(), Some("not configured"));
    let dropped = operate(&config, async |operator| operator.drop_region("nbg1").await).unwrap();
    assert_eq!((dropped.images.len(), dropped.failed.len()), (3, 2));
    let image = |id: &serde_json::Value| service.json(&format!("/v2/images/{id}"))["image"].clone();
    assert_eq!(image(&both)["regions"], json!(["hal1"]));
    let lost = image(&only);
    let reason = lost["error_message"].as_str().unwrap();
    assert!(reason.contains("region nbg1 was given up"), "{lost}");
    let again = operate(&config, async |operator| operator.drop_region("nbg1").await);
    assert!(
        again
            .unwrap_err()
            .to_string()
            .contains("nothing is in region")
    );
    let elsewhere = service.import("elsewhere", "hal1", &raw_disk(2, b"elsewhere"));
    assert_eq!(elsewhere["status"], "available");
}
