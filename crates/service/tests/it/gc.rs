//! What goes when it is old, and what stays because something refers to it.

use abbild_service::operator::Garbage;
use serde_json::{Value, json};

use crate::service::{Service, operate, raw_disk};

const DAY: i64 = 86_400;

fn gc(service: &Service, dry_run: bool) -> Garbage {
    service.operate(async |operator| operator.gc(dry_run).await.unwrap())
}

fn count(service: &Service, table: &str) -> i64 {
    let text = sqlx::AssertSqlSafe(format!("SELECT COUNT(*) FROM {table}"));
    service.with_database(async |pool| sqlx::query_scalar(text).fetch_one(pool).await.unwrap())
}

/// Everything happened `days` earlier than it did.
fn pass(service: &Service, days: i64) {
    let seconds = days * DAY;
    for (table, columns) in [
        ("images", ["created_at", "deleted_at"]),
        ("actions", ["started_at", "completed_at"]),
        ("droplets", ["created_at", "deleted_at"]),
    ] {
        for column in columns {
            service.execute(&format!(
                "UPDATE {table} SET {column} = {column} - {seconds}"
            ));
        }
    }
}

fn names(service: &Service) -> Vec<String> {
    let images = service.json("/v2/images?private=true");
    let images = images["images"].as_array().unwrap();
    let name = |image: &Value| image["name"].as_str().unwrap().to_owned();
    images.iter().map(name).collect()
}

#[test]
fn what_is_old_goes_and_what_is_referred_to_stays() {
    let service = Service::start();
    let kept = service.import("kept", "hal1", &raw_disk(2, b"kept"));
    let failed = service.import("failed", "hal1", &[7; 4096]);
    assert!(!failed["error_message"].as_str().unwrap().is_empty());
    let deleted = service.import("deleted", "hal1", &raw_disk(2, b"deleted"));
    let path = format!("/v2/images/{}", deleted["id"]);
    assert_eq!(service.call("DELETE", &path, &json!({})).status(), 204);
    let used = service.import("used", "hal1", &raw_disk(2, b"used"));
    // A machine that was deleted, of an image that failed later and of one that was deleted.
    for (name, image) in [("m1", &failed), ("m2", &deleted)] {
        service.execute(&format!(
            "INSERT INTO droplets (account_id, name, region, size, image_id, digest, address, \
                 ssh_port, ssh_keys, tags, created_at, status, on_host, deleted_at) \
                 VALUES (1, '{name}', 'hal1', 's-1vcpu-1gb', {}, 'none', '{name}', 22, '[]', \
                 '[]', 0, 'off', 0, {})",
            image["id"],
            jiff::Timestamp::now().as_second()
        ));
    }
    assert_eq!(gc(&service, false).rows, Default::default());

    pass(&service, 31);
    let planned = gc(&service, true);
    assert_eq!((planned.rows.failed_images, planned.rows.actions), (1, 0));
    assert_eq!(names(&service), ["used", "failed", "kept"]);
    assert_eq!(gc(&service, false).rows, planned.rows);
    assert_eq!(names(&service), ["used", "kept"]);
    assert_eq!(gc(&service, true).rows, Default::default());
    assert_eq!(count(&service, "images"), 4);

    // Now a machine that is alive refers to `used`, and an action that runs to `kept`.
    service.execute(&format!(
        "UPDATE droplets SET deleted_at = NULL, image_id = {} WHERE name = 'm1'; \
             UPDATE images SET stage = 'failed' WHERE name = 'used'; \
             UPDATE images SET deleted_at = 1, stage = 'deleted' WHERE name = 'kept'; \
             DELETE FROM image_regions WHERE image_id = {}; \
             UPDATE actions SET status = 'in-progress', ready = 0, completed_at = NULL \
             WHERE resource_id = {}",
        used["id"], kept["id"], kept["id"]
    ));
    pass(&service, 91);
    let removed = gc(&service, false).rows;
    assert_eq!((removed.droplets, removed.failed_images), (1, 0));
    assert_eq!((removed.actions, removed.images), (3, 2));
    assert_eq!(names(&service), ["used"]);
    assert_eq!(count(&service, "images"), 2);
    assert_eq!(count(&service, "actions"), 1);
    // Changes are numbered on.
    let next = service.import("next", "hal1", &raw_disk(2, b"next"));
    assert!(next["id"].as_i64() > used["id"].as_i64());
}

#[test]
fn nothing_goes_that_is_kept_for_ever() {
    let settings = "[retention]\nfailed_image_days = 0\naction_days = 0\n";
    let service = Service::start_with(settings);
    service.import("failed", "hal1", &[7; 4096]);
    pass(&service, 4000);
    let mut config = service.config();
    config.retention = toml::from_str("failed_image_days = 0\naction_days = 0").unwrap();
    let rows = operate(&config, async |operator| {
        operator.gc(false).await.unwrap().rows
    });
    assert_eq!(rows, Default::default());
    assert_eq!(names(&service), ["failed"]);
}
