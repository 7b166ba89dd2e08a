//! The schema, both ways: on a database that an earlier release made, with rows in every table.

use std::collections::BTreeMap;

use abbild_service::{Schema, schema, schema_back};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Column, Row};

use crate::service::{Service, block_on};

const SQLITE: &str = include_str!("../data/release-5862e94.sqlite.sql");
const POSTGRES: &str = include_str!("../data/release-5862e94.postgres.sql");
const TOKEN: &str = "abb_of_the_first_release";
/// The tables of the first migration.
const TABLES: [&str; 8] = [
    "accounts",
    "tokens",
    "ssh_keys",
    "uploads",
    "images",
    "image_regions",
    "actions",
    "droplets",
];
/// What a customer sees that must not change.
const VIEWS: [&str; 8] = [
    "/v2/account/keys",
    "/v2/images?private=true",
    "/v2/images/1",
    "/v2/images/1/actions",
    "/v2/actions",
    "/v2/droplets",
    "/v2/tags",
    "/v2/images?tag_name=blue:green",
];

#[test]
fn a_database_of_an_earlier_release_goes_up_down_and_up_again() {
    let mut service = of_earlier_release();
    let released = rows(&service);

    service.resume();
    service.token = TOKEN.to_owned();
    let seen = views(&service);
    assert_images(&seen);
    service.stop();
    let up = structure(&service);
    let state = run(schema(&service.config()));
    assert_eq!(state.applied, state.known);

    let state = run(schema_back(&service.config(), 1));
    assert_eq!(state.applied, [1]);
    assert_same(&released, &rows(&service));
    // They were in a table of their own, which the first schema does not have.
    assert_eq!(tags_of_image(&service, 1), ["blue:green", "web"]);

    service.resume();
    for (path, view) in views(&service) {
        assert_eq!(view, seen[path], "{path}");
    }
    service.stop();
    assert_eq!(structure(&service), up);
}

#[test]
fn every_version_can_be_returned_to() {
    let mut service = of_earlier_release();
    let released = rows(&service);
    service.resume();
    service.stop();
    let up = structure(&service);
    let versions = run(schema(&service.config())).known;
    for (position, version) in versions.iter().enumerate().rev() {
        let state = run(schema_back(&service.config(), *version));
        assert_eq!(state.applied, versions[..=position]);
        assert_same(&released, &rows(&service));
        service.resume();
        service.stop();
        assert_eq!(structure(&service), up, "after version {version}");
    }
}

#[test]
fn the_schema_is_left_alone_when_it_cannot_be_changed() {
    let mut service = of_earlier_release();
    let refused = |service: &Service, to| {
        let result = block_on(schema_back(&service.config(), to));
        format!("{:#}", result.unwrap_err())
    };
    let error = refused(&service, 4);
    assert_eq!(
        error,
        "the database never was at version 4; it has 1, 2, 5, 6, 7"
    );
    service.resume();
    let error = refused(&service, 1);
    assert!(error.contains("another service is using"), "{error}");
    service.stop();

    // As a later release would leave it.
    service.execute(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         SELECT 9999, 'later', success, checksum, 0 FROM _sqlx_migrations WHERE version = 1",
    );
    let known = run(schema(&service.config())).known;
    let newest = known.last().unwrap();
    let error = refused(&service, 1);
    let expected = format!("`abbild admin schema --to {newest}`");
    assert!(
        error.contains("schema version 9999") && error.contains(&expected),
        "{error}"
    );
    service.execute("DELETE FROM _sqlx_migrations WHERE version = 9999");
}

#[test]
fn an_image_whose_upload_an_older_schema_cannot_keep_fails() {
    let mut service = Service::start();
    let headers = [("tus-resumable", "1.0.0"), ("upload-defer-length", "1")];
    let answer = service.send("POST", "/v2/uploads", &headers, b"");
    assert_eq!(answer.status(), 201, "{}", answer.body());
    let location = answer.headers()["location"].to_str().unwrap();
    let upload = location.rsplit('/').next().unwrap();
    let request = json!({"name": "waiting", "upload": upload, "region": "hal1"});
    let answer = service.call("POST", "/v2/images", &request);
    assert_eq!(answer.status(), 202, "{}", answer.body());
    service.stop();
    run(schema_back(&service.config(), 3));
    service.resume();
    let image = service.json("/v2/images/1")["image"].clone();
    let reason = image["error_message"].as_str().unwrap();
    assert!(reason.contains("upload it again"), "{image}");
    let actions = service.json("/v2/images/1/actions");
    assert_eq!(actions["actions"][0]["status"], "errored", "{actions}");
    service.nothing_left();
}

/// A stopped service on the database of an earlier release.
fn of_earlier_release() -> Service {
    // What is in it is old.
    let mut service = Service::start_with("[retention]\nfailed_image_days = 0\naction_days = 0\n");
    service.stop();
    if service.database_url().starts_with("sqlite") {
        for suffix in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(service.data().join(format!("abbild.db{suffix}")));
        }
        std::fs::File::create(service.data().join("abbild.db")).unwrap();
        service.execute(SQLITE);
    } else {
        service.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public");
        service.execute(POSTGRES);
    }
    // Otherwise they would be old enough to be removed.
    let now = jiff::Timestamp::now().as_second();
    let recent = format!("UPDATE uploads SET updated_at = {now}");
    service.execute(&recent);
    service
}

fn views(service: &Service) -> BTreeMap<&'static str, Value> {
    // The port is another one each time.
    let relative = |value: Value| value.to_string().replace(&service.url, "");
    VIEWS
        .map(|path| {
            let text = relative(service.json(path));
            (path, serde_json::from_str(&text).unwrap())
        })
        .into()
}

fn assert_images(seen: &BTreeMap<&str, Value>) {
    let images = seen["/v2/images?private=true"]["images"]
        .as_array()
        .unwrap();
    let names: Vec<_> = images.iter().map(|image| &image["name"]).collect();
    assert_eq!(
        names,
        ["broken", "arriving", "debian"].map(Value::from).each_ref()
    );
    let image = &seen["/v2/images/1"]["image"];
    assert_eq!(image["status"], "available");
    assert_eq!(image["regions"], json!(["nbg1"]));
    assert_eq!(image["description"], "ours, with „Umlauten“");
    let tagged = seen["/v2/images?tag_name=blue:green"]["images"].as_array();
    assert_eq!(tagged.unwrap().len(), 1);
    assert_eq!(seen["/v2/account/keys"]["ssh_keys"][0]["name"], "me");
    assert_eq!(seen["/v2/droplets"]["droplets"][0]["name"], "web");
    assert_eq!(seen["/v2/actions"]["actions"].as_array().unwrap().len(), 6);
}

/// By table, the rows with their columns as text.
type Rows = BTreeMap<&'static str, Vec<BTreeMap<String, Option<String>>>>;

fn rows(service: &Service) -> Rows {
    service.with_database(async |pool| {
        let mut tables = Rows::new();
        for table in TABLES {
            let all = format!("SELECT * FROM {table}");
            let first = sqlx::query(AssertSqlSafe(all))
                .fetch_one(pool)
                .await
                .unwrap();
            let names: Vec<_> = first
                .columns()
                .iter()
                .map(|c| c.name().to_owned())
                .collect();
            let texts: Vec<_> = names
                .iter()
                .map(|name| format!("CAST({name} AS TEXT)"))
                .collect();
            let text = format!("SELECT {} FROM {table} ORDER BY 1, 2", texts.join(", "));
            let rows = sqlx::query(AssertSqlSafe(text))
                .fetch_all(pool)
                .await
                .unwrap();
            let rows = rows.iter().map(|row| {
                let value = |(n, name): (usize, &String)| (name.clone(), row.get(n));
                names.iter().enumerate().map(value).collect()
            });
            tables.insert(table, rows.collect());
        }
        tables
    })
}

/// What both have columns for is the same, but for the tags.
fn assert_same(before: &Rows, after: &Rows) {
    for (table, rows) in after {
        assert_eq!(rows.len(), before[table].len(), "{table}");
        for (row, was) in rows.iter().zip(&before[table]) {
            for (column, value) in row.iter().filter(|(column, _)| *column != "tags") {
                if let Some(was) = was.get(column) {
                    assert_eq!(value, was, "{table}.{column} of {row:?}");
                }
            }
        }
    }
}

fn tags_of_image(service: &Service, image: usize) -> Vec<String> {
    let image = &rows(service)["images"][image - 1];
    let mut tags: Vec<String> = serde_json::from_str(image["tags"].as_ref().unwrap()).unwrap();
    tags.sort();
    tags
}

/// The names of all columns, indexes and triggers.
fn structure(service: &Service) -> Vec<String> {
    let text = if service.database_url().starts_with("sqlite") {
        "SELECT m.name || '.' || p.name AS name FROM sqlite_master m, pragma_table_info(m.name) p \
         WHERE m.type = 'table' \
         UNION SELECT name FROM sqlite_master \
         WHERE type IN ('index', 'trigger') ORDER BY name"
    } else {
        "SELECT CAST(table_name || '.' || column_name AS TEXT) AS name \
         FROM information_schema.columns WHERE table_schema = 'public' \
         UNION SELECT CAST(indexname AS TEXT) FROM pg_indexes WHERE schemaname = 'public' \
         UNION SELECT CAST(event_object_table || '.' || trigger_name AS TEXT) \
         FROM information_schema.triggers \
         ORDER BY name"
    };
    service.with_database(async |pool| sqlx::query_scalar(text).fetch_all(pool).await.unwrap())
}

fn run(work: impl Future<Output = anyhow::Result<Schema>>) -> Schema {
    block_on(work).unwrap()
}
