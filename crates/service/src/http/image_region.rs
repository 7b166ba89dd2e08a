//! `/v2/images/{id}/regions/{slug}`: taking an image out of one region.
//!
//! The row goes at once, and the file once nothing else refers to it ([`removal`]), so this
//! takes no time that a customer would have to follow. Adding the region again works as ever.

use std::sync::Arc;

use abbild_api::{RegionCopyStatus, Stage};
use axum::extract::{Path, State};
use axum::http::StatusCode;

use super::{ApiError, ApiResult};
use crate::auth::Caller;
use crate::db::action::{ActionRow, NewAction};
use crate::db::droplet::DropletRow;
use crate::db::image::{self, ImageRow};
use crate::db::{self, Tx, droplet};
use crate::{Service, removal};

/// How many machines an error names.
const NAMED: usize = 5;

/// Takes an image out of a region
///
/// *Ours.* The region can be added again at any time. The last region of an image is not removed: delete
/// the image instead.
#[utoipa::path(
    delete,
    path = "/v2/images/{id}/regions/{slug}",
    tag = "Images",
    operation_id = "remove_region",
    params(
        ("id" = i64, Path, description = "Its identifier", minimum = 1),
        ("slug" = String, Path, description = "The region"),
    ),
    responses(
        (status = 204, description = "It is gone from there"),
        (status = 409, description = "Machines use it there, it is being imported there, or it is nowhere else"),
    ),
)]
pub async fn remove(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    Path((id, slug)): Path<(String, String)>,
) -> ApiResult<StatusCode> {
    let id = id.parse().map_err(|_| ApiError::not_found())?;
    let mut tx = service.db.write().await?;
    let row = super::image::live(&mut *tx, account.id, id).await?;
    image::region(&mut tx, id, &slug)
        .await?
        .ok_or_else(ApiError::not_found)?;
    let users = droplet::using(&mut tx, id, &slug).await?;
    if !users.is_empty() {
        return Err(ApiError::conflict(in_use(&row, &slug, &users)));
    }
    check_others(&mut tx, &row, &slug).await?;
    let open = db::action::open(&mut *tx, "image", id).await?;
    let running = open
        .into_iter()
        .find(|action| action.region.as_deref() == Some(slug.as_str()));
    call_off(&mut tx, running.as_ref()).await?;
    image::remove_region(&mut tx, id, &slug).await?;
    record(&mut tx, &row, &slug).await?;
    tx.commit().await?;
    if let Some(action) = running {
        service.cancel(action.id);
    }
    removal::remove_later(&service, row.digest);
    Ok(StatusCode::NO_CONTENT)
}

fn in_use(row: &ImageRow, slug: &str, users: &[DropletRow]) -> String {
    let mut names: Vec<_> = users
        .iter()
        .take(NAMED)
        .map(|user| format!("{} `{}`", user.id, user.name))
        .collect();
    if users.len() > NAMED {
        names.push(format!("and {} more", users.len() - NAMED));
    }
    format!(
        "image {} is used in {slug} by droplet {}; delete what was made from it there first",
        row.id,
        names.join(", ")
    )
}

/// An image must be left somewhere, because nothing else has its bytes.
async fn check_others(tx: &mut Tx, row: &ImageRow, slug: &str) -> ApiResult<()> {
    let available = row.stage()? == Stage::Available;
    let mut others = 0;
    for copy in image::regions_of(tx, row.id).await? {
        let counts = !available || copy.status()? == RegionCopyStatus::Available;
        if copy.region != slug && counts {
            others += 1;
        }
    }
    if others == 0 {
        return Err(ApiError::conflict(format!(
            "image {} would be in no region without {slug}; delete the image instead, or add another region first",
            row.id
        )));
    }
    Ok(())
}

/// Ends a copy to the region that is under way. The import itself cannot go on elsewhere.
async fn call_off(tx: &mut Tx, running: Option<&ActionRow>) -> ApiResult<()> {
    let Some(action) = running else {
        return Ok(());
    };
    if action.kind == "create" {
        return Err(ApiError::conflict(
            "the image is being imported in this region; wait for the import, or delete the image",
        ));
    }
    db::action::finish(tx, action.id, Some("the region was removed")).await?;
    Ok(())
}

/// Leaves a trace among the image's actions.
async fn record(tx: &mut Tx, row: &ImageRow, slug: &str) -> ApiResult<()> {
    let new = NewAction {
        account: row.account_id,
        kind: "remove_region",
        resource_type: "image",
        resource: row.id,
        region: Some(slug),
        parameters: None,
        ready: false,
    };
    let action = db::action::insert(tx, &new).await?;
    db::action::finish(tx, action.id, None).await?;
    Ok(())
}
