//! Actions, account-wide and per resource: existing clients wait on any of these paths.

use std::sync::Arc;

use abbild_api::{Action, ActionExtra, ActionList, ActionOne, Id, Progress};
use axum::Json;
use axum::extract::{Path, State};

use super::{ApiError, ApiResult, Paging, PathId};
use crate::Service;
use crate::auth::Caller;
use crate::db::action::{self, ActionRow, Of};
use crate::db::{self, from_sql_size};

/// `row` on the wire.
pub fn to_api(service: &Service, row: ActionRow) -> ApiResult<Action> {
    let status = row.status()?;
    let region = row
        .region
        .as_deref()
        .and_then(|slug| service.region(slug).ok());
    let progress = row
        .progress_done
        .zip(row.progress_total)
        .map(|(done, total)| Progress {
            done: from_sql_size(done),
            total: from_sql_size(total),
        });
    Ok(Action {
        id: Id(row.id),
        status,
        kind: row.kind,
        started_at: timestamp(row.started_at),
        completed_at: row.completed_at.map(timestamp),
        resource_id: Some(Id(row.resource_id)),
        resource_type: row.resource_type,
        region: region.map(|region| region.to_api()),
        region_slug: row.region,
        extra: Some(ActionExtra {
            reason: row.reason,
            progress,
            password: None,
        }),
    })
}

/// RFC 3339 in UTC, to the second.
pub fn timestamp(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds)
        .unwrap_or_default()
        .to_string()
}

/// Lists all actions of the account, newest first
#[utoipa::path(
    get,
    path = "/v2/actions",
    tag = "Actions",
    params(Paging),
    responses((status = 200, description = "A page of actions", body = ActionList)),
)]
pub async fn list(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    paging: Paging,
) -> ApiResult<Json<ActionList>> {
    page(&service, account.id, Of::Account, &paging).await
}

/// Lists the actions of an image, newest first
#[utoipa::path(
    get,
    path = "/v2/images/{id}/actions",
    tag = "Image actions",
    operation_id = "list",
    params(PathId, Paging),
    responses((status = 200, description = "A page of actions", body = ActionList)),
)]
pub async fn of_image(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    PathId(id): PathId,
    paging: Paging,
) -> ApiResult<Json<ActionList>> {
    db::image::find(service.db.read(), account.id, id)
        .await?
        .ok_or_else(ApiError::not_found)?;
    page(&service, account.id, Of::Resource("image", id), &paging).await
}

/// Lists the actions of a droplet, newest first
#[utoipa::path(
    get,
    path = "/v2/droplets/{id}/actions",
    tag = "Droplet actions",
    operation_id = "list",
    params(PathId, Paging),
    responses((status = 200, description = "A page of actions", body = ActionList)),
)]
pub async fn of_droplet(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    PathId(id): PathId,
    paging: Paging,
) -> ApiResult<Json<ActionList>> {
    super::droplet::live(service.db.read(), account.id, id).await?;
    page(&service, account.id, Of::Resource("droplet", id), &paging).await
}

async fn page(
    service: &Service,
    account: i64,
    of: Of<'_>,
    paging: &Paging,
) -> ApiResult<Json<ActionList>> {
    let (rows, total) = action::list(service.db.read(), account, of, paging.window()).await?;
    let (links, meta) = paging.links(total);
    let actions = rows
        .into_iter()
        .map(|row| to_api(service, row))
        .collect::<ApiResult<_>>()?;
    Ok(Json(ActionList {
        actions,
        links,
        meta,
    }))
}

/// Shows an action
///
/// Its `completed_at` is null exactly while it is unfinished.
#[utoipa::path(
    get,
    path = "/v2/actions/{id}",
    tag = "Actions",
    params(PathId),
    responses((status = 200, description = "The action", body = ActionOne)),
)]
pub async fn show(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    PathId(id): PathId,
) -> ApiResult<Json<ActionOne>> {
    one(&service, account.id, id, None).await
}

/// Shows an action of an image
#[utoipa::path(
    get,
    path = "/v2/images/{id}/actions/{action}",
    tag = "Image actions",
    operation_id = "show",
    params(
        ("id" = i64, Path, description = "Its identifier", minimum = 1),
        ("action" = i64, Path, description = "The action's identifier", minimum = 1)),
    responses((status = 200, description = "The action", body = ActionOne)),
)]
pub async fn of_image_one(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    Path((image, id)): Path<(String, String)>,
) -> ApiResult<Json<ActionOne>> {
    of_resource(&service, account.id, "image", &image, &id).await
}

/// Shows an action of a droplet
#[utoipa::path(
    get,
    path = "/v2/droplets/{id}/actions/{action}",
    tag = "Droplet actions",
    operation_id = "show",
    params(
        ("id" = i64, Path, description = "Its identifier", minimum = 1),
        ("action" = i64, Path, description = "The action's identifier", minimum = 1)),
    responses((status = 200, description = "The action", body = ActionOne)),
)]
pub async fn of_droplet_one(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    Path((droplet, id)): Path<(String, String)>,
) -> ApiResult<Json<ActionOne>> {
    of_resource(&service, account.id, "droplet", &droplet, &id).await
}

async fn of_resource(
    service: &Service,
    account: i64,
    kind: &str,
    resource: &str,
    id: &str,
) -> ApiResult<Json<ActionOne>> {
    let number = |text: &str| text.parse::<i64>().map_err(|_| ApiError::not_found());
    one(
        service,
        account,
        number(id)?,
        Some((kind, number(resource)?)),
    )
    .await
}

async fn one(
    service: &Service,
    account: i64,
    id: i64,
    of: Option<(&str, i64)>,
) -> ApiResult<Json<ActionOne>> {
    let row = action::find(service.db.read(), account, id)
        .await?
        .filter(|row| of.is_none_or(|of| of == (row.resource_type.as_str(), row.resource_id)))
        .ok_or_else(ApiError::not_found)?;
    let action = to_api(service, row)?;
    Ok(Json(ActionOne { action }))
}
