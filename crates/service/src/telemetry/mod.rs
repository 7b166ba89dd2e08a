//! What operators measure: the metrics of this process, in Prometheus' text format.
//!
//! Counters and durations are recorded where things happen ([`Requests`](crate::http), jobs,
//! stages). Everything that is a state, such as the length of a queue, is looked up when it is
//! asked for ([`gauges`]). Names end in their unit, as Prometheus' conventions want it
//! (<https://prometheus.io/docs/practices/naming/>), and no label holds anything that a customer
//! chooses.

mod gauges;
mod process;

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use metrics::{Unit, counter, describe_counter, describe_histogram, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::Service;

/// Requests by method, route and status.
pub const REQUESTS: &str = "abbild_http_requests_total";
/// Seconds until the head of the answer.
pub const REQUEST_SECONDS: &str = "abbild_http_request_duration_seconds";
/// Bytes of uploads and fetches that are safe on disk.
pub const RECEIVED_BYTES: &str = "abbild_upload_received_bytes_total";
const JOB_SECONDS: &str = "abbild_job_duration_seconds";
const STAGE_SECONDS: &str = "abbild_import_stage_duration_seconds";
const STAGE_BYTES: &str = "abbild_import_stage_bytes_total";

/// Requests take from below a millisecond to the length of an upload.
const REQUEST_BUCKETS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0,
];
/// Jobs take from a moment to hours.
const JOB_BUCKETS: &[f64] = &[
    0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0,
];

/// How often what was recorded is sorted into buckets.
const UPKEEP: Duration = Duration::from_secs(5);

/// A process has one recorder, however many services run in it one after the other.
static RECORDER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// Begins to record.
///
/// # Errors
/// When something else in this process records already.
pub fn start() -> anyhow::Result<()> {
    RECORDER
        .get_or_init(install)
        .as_ref()
        .map(drop)
        .ok_or_else(|| anyhow!("the recorder of metrics could not be installed"))
}

fn install() -> Option<PrometheusHandle> {
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Full(REQUEST_SECONDS.to_owned()), REQUEST_BUCKETS)
        .and_then(|b| b.set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), JOB_BUCKETS))
        .ok()?
        .build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).ok()?;
    describe_counter!(REQUESTS, "Requests by method, route and status");
    describe_histogram!(
        REQUEST_SECONDS,
        Unit::Seconds,
        "Time until the head of the answer"
    );
    describe_counter!(
        RECEIVED_BYTES,
        Unit::Bytes,
        "Bytes of uploads and fetches that are safe on disk"
    );
    describe_histogram!(
        JOB_SECONDS,
        Unit::Seconds,
        "Time that jobs took, by kind and outcome"
    );
    describe_histogram!(
        STAGE_SECONDS,
        Unit::Seconds,
        "Time that the stages of imports took"
    );
    describe_counter!(
        STAGE_BYTES,
        Unit::Bytes,
        "Bytes that the stages of imports went through"
    );
    gauges::describe();
    process::describe();
    Some(handle)
}

/// Keeps the memory of what was recorded small; runs as long as the service.
pub async fn upkeep() {
    loop {
        tokio::time::sleep(UPKEEP).await;
        if let Some(Some(handle)) = RECORDER.get() {
            handle.run_upkeep();
        }
    }
}

/// Everything, as text.
///
/// # Errors
/// When the database cannot be asked.
pub async fn render(service: &Service) -> anyhow::Result<String> {
    gauges::collect(service).await?;
    process::collect();
    let handle = RECORDER.get().and_then(Option::as_ref);
    Ok(handle.map_or_else(String::new, PrometheusHandle::render))
}

/// Records that a job has ended: `kind` such as `image.create`, `outcome` such as `done`.
pub fn job(kind: String, outcome: &'static str, took: Duration) {
    histogram!(JOB_SECONDS, "kind" => kind, "outcome" => outcome).record(took);
}

/// The stage of an import that runs.
#[derive(Debug)]
pub struct StageClock {
    stage: String,
    begun: Instant,
}

impl StageClock {
    /// Begins now.
    pub fn begin(stage: String) -> Self {
        Self {
            stage,
            begun: Instant::now(),
        }
    }

    /// Records the stage, which went through `bytes`.
    pub fn end(self, bytes: u64) {
        histogram!(STAGE_SECONDS, "stage" => self.stage.clone()).record(self.begun.elapsed());
        counter!(STAGE_BYTES, "stage" => self.stage).increment(bytes);
    }
}
