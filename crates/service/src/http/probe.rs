//! Boot probes: beginning one, and what the newest of an image has shown.

use std::sync::Arc;

use abbild_api::{
    Id, Probe, ProbeMilestone, ProbeOne, ProbeStatus, ProbeTraces, RegionCopyStatus, Stage,
};
use abbild_guest::{Lang, Milestone, Traces};
use axum::Json;
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::action::timestamp;
use super::image::live;
use super::{ApiError, ApiResult, Language, PathId};
use crate::Service;
use crate::auth::Caller;
use crate::db::action::ActionRow;
use crate::db::image::{self, ImageRow};
use crate::db::probe::ProbeRow;
use crate::db::{self, Tx, from_json};
use crate::probe::Record;

/// Has an image booted in `region`, or in one that has it. A probe that is under way is not begun twice.
///
/// # Errors
/// When it cannot be booted there, or at all.
pub async fn begin(
    service: &Service,
    tx: &mut Tx,
    row: &ImageRow,
    region: Option<&str>,
) -> ApiResult<ActionRow> {
    if !service.config.probe.is_enabled() {
        return Err(ApiError::conflict(
            "the operator of this service has switched probes off (`probe.concurrent`)",
        ));
    }
    if row.stage()? != Stage::Available {
        return Err(ApiError::conflict(format!(
            "image {} is still being imported; probe it when it is available",
            row.id
        )));
    }
    let open = db::action::open(&mut **tx, "image", row.id).await?;
    if let Some(action) = open.into_iter().find(|action| action.kind == "probe") {
        return Ok(action);
    }
    let mut copies = image::regions_of(tx, row.id).await?;
    copies.sort_by(|a, b| a.region.cmp(&b.region));
    for copy in copies {
        let wanted = region.is_none_or(|region| region == copy.region);
        // A region of an earlier configuration has no machines.
        let there = service.region(&copy.region).is_ok();
        if wanted && there && copy.status()? == RegionCopyStatus::Available {
            let probe = db::action::insert_probe(tx, row.account_id, row.id, &copy.region).await?;
            return Ok(probe);
        }
    }
    Err(ApiError::conflict(format!(
        "image {} is not available in {}; add the region first",
        row.id,
        region.unwrap_or("any region")
    )))
}

/// Shows how an image boots
///
/// *Ours.* The newest probe of the image, which may still run: the action `probe` boots the image on a
/// machine of its own that reaches nobody, and records how far it comes and when. What it proves is part
/// of the report.
#[utoipa::path(
    get,
    path = "/v2/images/{id}/probe",
    tag = "Images",
    operation_id = "probe",
    params(PathId, Language),
    responses(
        (status = 200, description = "The probe", body = ProbeOne),
        (status = 409, description = "The image has not been probed"),
    ),
)]
pub async fn show(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    Language(lang): Language,
    PathId(id): PathId,
) -> ApiResult<Json<ProbeOne>> {
    live(service.db.read(), account.id, id).await?;
    let row = db::probe::newest(service.db.read(), account.id, id).await?;
    let probe = to_api(row.ok_or_else(not_probed)?, lang)?;
    Ok(Json(ProbeOne { probe }))
}

/// Shows what an image printed when it was probed
///
/// *Ours.* The serial console as plain text, without control characters; of a long log the beginning and the
/// end.
#[utoipa::path(
    get,
    path = "/v2/images/{id}/probe/log",
    tag = "Images",
    operation_id = "probe_log",
    params(PathId),
    responses(
        (status = 200, description = "The log", body = String, content_type = "text/plain"),
        (status = 409, description = "No probe of the image has come to its end"),
    ),
)]
pub async fn log(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    PathId(id): PathId,
) -> ApiResult<Response> {
    live(service.db.read(), account.id, id).await?;
    let log = db::probe::log(service.db.read(), account.id, id).await?;
    let log = log.ok_or_else(not_probed)?;
    Ok(([(CONTENT_TYPE, "text/plain; charset=utf-8")], log).into_response())
}

/// Shows the screen of an image when it was probed
///
/// *Ours.* As it was at the end of the probe.
#[utoipa::path(
    get,
    path = "/v2/images/{id}/probe/screenshot",
    tag = "Images",
    operation_id = "probe_screenshot",
    params(PathId),
    responses(
        (status = 200, description = "A PNG", body = Vec<u8>, content_type = "image/png"),
        (status = 409, description = "There is no picture of the image's screen"),
    ),
)]
pub async fn screenshot(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    PathId(id): PathId,
) -> ApiResult<Response> {
    live(service.db.read(), account.id, id).await?;
    let screenshot = db::probe::screenshot(service.db.read(), account.id, id).await?;
    let screenshot = screenshot.ok_or_else(|| {
        ApiError::conflict(
            "there is no picture of the image's screen: it has not been probed to the end, or its \
             machine was off by then",
        )
    })?;
    let png = STANDARD.decode(screenshot).map_err(ApiError::internal)?;
    let headers = [
        (CONTENT_TYPE, "image/png"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    Ok((headers, png).into_response())
}

fn not_probed() -> ApiError {
    ApiError::conflict("the image has not been probed to the end; the action `probe` does it")
}

fn to_api(row: ProbeRow, lang: Lang) -> ApiResult<Probe> {
    let record: Record = from_json(&row.record)?;
    let boot = record.boot;
    Ok(Probe {
        screenshot: row.has_screenshot(),
        image_id: Id(row.image_id),
        action_id: Id(row.action_id),
        region: row.region,
        status: match row.finished_at {
            Some(_) => ProbeStatus::Done,
            None => ProbeStatus::Running,
        },
        started_at: timestamp(row.started_at),
        completed_at: row.finished_at.map(timestamp),
        acceleration: record.acceleration,
        hardware: record.hardware,
        time_limit_seconds: record.time_limit_seconds,
        seconds: seconds(boot.milliseconds),
        end: boot.end.map(|end| end.as_str().to_owned()),
        end_text: boot.end.map(|end| end.text(lang)),
        milestones: boot
            .milestones
            .into_iter()
            .map(|milestone| milestone_to_api(milestone, lang))
            .collect(),
        traces: boot.traces.map(traces_to_api),
    })
}

fn milestone_to_api(milestone: Milestone, lang: Lang) -> ProbeMilestone {
    ProbeMilestone {
        name: milestone.step.as_str().to_owned(),
        title: milestone.step.title(lang),
        seconds: seconds(milestone.milliseconds),
        trouble: milestone.step.is_trouble(),
        line: milestone.evidence.line,
        text: milestone.evidence.text.unwrap_or_default(),
    }
}

fn traces_to_api(traces: Traces) -> ProbeTraces {
    ProbeTraces {
        cloud_init_finished: traces.finished.is_some(),
        datasource: traces.datasource.map(|source| source.value),
        errors: traces
            .errors
            .into_iter()
            .filter_map(|error| error.text)
            .collect(),
        user: traces.user.map(|user| user.value),
        key: traces.key.is_some(),
    }
}

/// To the tenth, which is what watching can tell apart.
fn seconds(milliseconds: u64) -> f64 {
    let tenths = u32::try_from(milliseconds / 100).unwrap_or(u32::MAX);
    f64::from(tenths) / 10.0
}
