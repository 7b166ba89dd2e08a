//! What clients of the original API read beside droplets and images, and what is not offered here:
//! backups, kernels, firewalls. Every list is empty, and an unknown droplet is still 404.
//!
//! Also `destroy_with_associated_resources`: nothing else belongs to a droplet, so each of its
//! forms destroys the droplet alone.

use std::sync::Arc;

use abbild_api::{
    AssociatedResources, BackupList, DestroyStatus, DestroyedDroplet, FirewallList, Id, KernelList,
    NeighborList,
};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};

use super::action::timestamp;
use super::droplet::live;
use super::{ApiError, ApiResult, PathId};
use crate::Service;
use crate::auth::Caller;
use crate::db::{action, droplet};
use crate::machine;

/// Lists the backups of a machine
///
/// Always empty: there are none.
#[utoipa::path(
    get,
    path = "/v2/droplets/{id}/backups",
    tag = "Droplets",
    operation_id = "backups",
    params(PathId),
    responses((status = 200, description = "An empty list", body = BackupList)),
)]
pub async fn backups_of(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    PathId(id): PathId,
) -> ApiResult<Json<BackupList>> {
    live(service.db.read(), account.id, id).await?;
    Ok(Json(BackupList::default()))
}

/// Lists the kernels of a machine
///
/// Always empty: a machine boots the kernel of its image.
#[utoipa::path(
    get,
    path = "/v2/droplets/{id}/kernels",
    tag = "Droplets",
    operation_id = "kernels",
    params(PathId),
    responses((status = 200, description = "An empty list", body = KernelList)),
)]
pub async fn kernels_of(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    PathId(id): PathId,
) -> ApiResult<Json<KernelList>> {
    live(service.db.read(), account.id, id).await?;
    Ok(Json(KernelList::default()))
}

/// Lists the neighbors of a machine
///
/// Always empty: which machines share a host is not told.
#[utoipa::path(
    get,
    path = "/v2/droplets/{id}/neighbors",
    tag = "Droplets",
    operation_id = "neighbors",
    params(PathId),
    responses((status = 200, description = "An empty list", body = NeighborList)),
)]
pub async fn neighbors_of(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    PathId(id): PathId,
) -> ApiResult<Json<NeighborList>> {
    live(service.db.read(), account.id, id).await?;
    Ok(Json(NeighborList::default()))
}

/// Lists the firewalls of a machine
///
/// Always empty: there are none.
#[utoipa::path(
    get,
    path = "/v2/droplets/{id}/firewalls",
    tag = "Droplets",
    operation_id = "firewalls",
    params(PathId),
    responses((status = 200, description = "An empty list", body = FirewallList)),
)]
pub async fn firewalls_of(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    PathId(id): PathId,
) -> ApiResult<Json<FirewallList>> {
    live(service.db.read(), account.id, id).await?;
    Ok(Json(FirewallList::default()))
}

/// Lists the firewalls of the account
///
/// Always empty: there are none.
#[utoipa::path(
    get,
    path = "/v2/firewalls",
    tag = "Snapshots and firewalls",
    operation_id = "list_firewalls",
    responses((status = 200, description = "An empty list", body = FirewallList)),
)]
pub async fn firewalls(_: Caller) -> Json<FirewallList> {
    Json(FirewallList::default())
}

/// Lists what would be destroyed together with a machine
///
/// Nothing: nothing else belongs to a machine.
#[utoipa::path(
    get,
    path = "/v2/droplets/{id}/destroy_with_associated_resources",
    tag = "Droplets",
    operation_id = "associated_resources",
    params(PathId),
    responses((status = 200, description = "Empty lists", body = AssociatedResources)),
)]
pub async fn associated(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    PathId(id): PathId,
) -> ApiResult<Json<AssociatedResources>> {
    live(service.db.read(), account.id, id).await?;
    Ok(Json(AssociatedResources::default()))
}

/// Destroys a machine with some of what belongs to it
///
/// Nothing else belongs to a machine, so this destroys the machine alone.
#[utoipa::path(
    delete,
    path = "/v2/droplets/{id}/destroy_with_associated_resources/selective",
    tag = "Droplets",
    params(PathId),
    responses((status = 202, description = "It is being destroyed")),
)]
pub async fn destroy_selective(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    PathId(id): PathId,
) -> ApiResult<StatusCode> {
    super::droplet::destroy(&service, account.id, id).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Destroys a machine with all that belongs to it
///
/// Nothing else belongs to a machine, so this destroys the machine alone.
#[utoipa::path(
    delete,
    path = "/v2/droplets/{id}/destroy_with_associated_resources/dangerous",
    tag = "Droplets",
    params(PathId, ("x-dangerous" = String, Header, description = "`true`, to confirm it")),
    responses((status = 202, description = "It is being destroyed")),
)]
pub async fn destroy_dangerous(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    PathId(id): PathId,
    headers: HeaderMap,
) -> ApiResult<StatusCode> {
    if headers.get("x-dangerous").is_none_or(|v| v != "true") {
        return Err(ApiError::bad_request(
            "the header `X-Dangerous: true` is required",
        ));
    }
    super::droplet::destroy(&service, account.id, id).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Shows how far the destruction of a machine is
#[utoipa::path(
    get,
    path = "/v2/droplets/{id}/destroy_with_associated_resources/status",
    tag = "Droplets",
    params(PathId),
    responses((status = 200, description = "How far it is", body = DestroyStatus)),
)]
pub async fn destroy_status(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    PathId(id): PathId,
) -> ApiResult<Json<DestroyStatus>> {
    let row = droplet::find_deleted(service.db.read(), account.id, id)
        .await?
        .ok_or_else(ApiError::not_found)?;
    let destroy = action::last(service.db.read(), "droplet", id, "destroy").await?;
    let ended = destroy.as_ref().and_then(|action| action.completed_at);
    let trouble = destroy.and_then(|action| action.reason);
    let completed_at = ended.map(timestamp);
    Ok(Json(DestroyStatus {
        droplet: DestroyedDroplet {
            id: Id(id),
            name: row.name,
            destroyed_at: completed_at.clone().filter(|_| trouble.is_none()),
            error_message: trouble.clone(),
        },
        resources: AssociatedResources::default(),
        failures: i64::from(trouble.is_some() && completed_at.is_some()),
        completed_at,
    }))
}

/// Begins a destruction that failed once more, at once
#[utoipa::path(
    post,
    path = "/v2/droplets/{id}/destroy_with_associated_resources/retry",
    tag = "Droplets",
    params(PathId),
    responses((status = 202, description = "It is being destroyed")),
)]
pub async fn destroy_retry(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    PathId(id): PathId,
) -> ApiResult<StatusCode> {
    let mut tx = service.db.write().await?;
    let row = droplet::find_deleted(&mut *tx, account.id, id)
        .await?
        .ok_or_else(ApiError::not_found)?;
    let last = action::last(&mut *tx, "droplet", id, "destroy").await?;
    match last {
        Some(open) if open.completed_at.is_none() => action::hasten(&mut tx, open.id).await?,
        Some(failed) if failed.reason.is_some() => {
            machine::insert_action(&mut tx, &row, "destroy", None).await?;
        }
        _ => {}
    }
    tx.commit().await?;
    service.announce("droplet");
    Ok(StatusCode::ACCEPTED)
}
