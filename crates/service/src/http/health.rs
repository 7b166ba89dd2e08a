//! `/healthz` and `/readyz`: for those who watch the process, without a token.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;

use crate::Service;
use crate::db::census;
use crate::drain::Phase;
use crate::uploads::capacity;

/// How long a check may take before it counts as failed.
const PATIENCE: Duration = Duration::from_secs(5);

/// What `/readyz` says.
#[derive(Debug, Serialize)]
pub struct Readiness {
    /// Whether requests should be sent here.
    ready: bool,
    checks: Vec<Check>,
}

/// One thing that requests need.
#[derive(Debug, Serialize)]
struct Check {
    name: String,
    ok: bool,
    /// What is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

impl Check {
    fn new(name: impl Into<String>, result: Result<(), String>) -> Self {
        Self {
            name: name.into(),
            ok: result.is_ok(),
            problem: result.err(),
        }
    }
}

/// `GET /healthz`: the process answers. It depends on nothing else, because a restart would not
/// mend what is elsewhere.
pub async fn alive() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: 200 when requests can be served, 503 otherwise, with each check.
pub async fn ready(State(service): State<Arc<Service>>) -> (StatusCode, Json<Readiness>) {
    let mut checks = vec![
        Check::new("database", database(&service).await),
        Check::new("staging", staging(&service)),
        Check::new("serving", serving(&service)),
    ];
    for region in &service.regions {
        checks.push(store(&region.slug, region.store.clone()).await);
    }
    let ready = checks.iter().all(|check| check.ok);
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(Readiness { ready, checks }))
}

/// The causes go to the log: who asks here need not know where what lies.
async fn database(service: &Service) -> Result<(), String> {
    match tokio::time::timeout(PATIENCE, census::ping(service.db.read())).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => {
            tracing::warn!(%error, "the database does not answer");
            Err("the database does not answer".to_owned())
        }
        Err(_) => Err(format!(
            "the database did not answer in {} s",
            PATIENCE.as_secs()
        )),
    }
}

fn staging(service: &Service) -> Result<(), String> {
    let free = capacity::free(service.uploads.directory()).map_err(|error| {
        tracing::warn!(%error, "the filesystem of uploads cannot be asked");
        "the filesystem of uploads cannot be asked".to_owned()
    })?;
    let reserve = service.config.limits.staging_reserve;
    if free < reserve {
        return Err(format!(
            "{free} bytes are free for uploads, less than the reserve of {reserve}"
        ));
    }
    Ok(())
}

fn serving(service: &Service) -> Result<(), String> {
    match service.drain.phase() {
        Phase::Serving => Ok(()),
        Phase::Leaving | Phase::Draining => Err("the service is being stopped".to_owned()),
    }
}

async fn store(slug: &str, store: crate::store::Store) -> Check {
    let result = match tokio::time::timeout(PATIENCE, store.probe()).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => {
            let error = format!("{error:#}");
            tracing::warn!(region = slug, error, "a store cannot be reached");
            Err("the store cannot be reached".to_owned())
        }
        Err(_) => Err(format!(
            "the store did not answer in {} s",
            PATIENCE.as_secs()
        )),
    };
    Check::new(format!("store.{slug}"), result)
}
