//! What clients of the original API read beside droplets and images, and what is not offered here:
//! snapshots, backups, kernels, firewalls. Every list is empty, and an unknown droplet is still 404.
//!
//! Also `destroy_with_associated_resources`: nothing else belongs to a droplet, so each of its
//! forms destroys the droplet alone.

use std::sync::Arc;

use abbild_api::{
    AssociatedResources, BackupList, DestroyStatus, DestroyedDroplet, FirewallList, Id, KernelList,
    NeighborList, SnapshotList,
};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};

use super::action::timestamp;
use super::{ApiError, ApiResult, PathId};
use crate::Service;
use crate::auth::Caller;
use crate::db::{action, droplet};

/// Fails unless the account has the droplet.
async fn exists(service: &Service, account: i64, id: i64) -> ApiResult<()> {
    droplet::find(service.db.read(), account, id)
        .await?
        .map(drop)
        .ok_or_else(ApiError::not_found)
}

/// `GET /v2/droplets/{id}/snapshots`
pub async fn snapshots_of(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    PathId(id): PathId,
) -> ApiResult<Json<SnapshotList>> {
    exists(&service, account.id, id).await?;
    Ok(Json(SnapshotList::default()))
}

/// `GET /v2/droplets/{id}/backups`
pub async fn backups_of(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    PathId(id): PathId,
) -> ApiResult<Json<BackupList>> {
    exists(&service, account.id, id).await?;
    Ok(Json(BackupList::default()))
}

/// `GET /v2/droplets/{id}/kernels`
pub async fn kernels_of(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    PathId(id): PathId,
) -> ApiResult<Json<KernelList>> {
    exists(&service, account.id, id).await?;
    Ok(Json(KernelList::default()))
}

/// `GET /v2/droplets/{id}/neighbors`
pub async fn neighbors_of(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    PathId(id): PathId,
) -> ApiResult<Json<NeighborList>> {
    exists(&service, account.id, id).await?;
    Ok(Json(NeighborList::default()))
}

/// `GET /v2/droplets/{id}/firewalls`
pub async fn firewalls_of(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    PathId(id): PathId,
) -> ApiResult<Json<FirewallList>> {
    exists(&service, account.id, id).await?;
    Ok(Json(FirewallList::default()))
}

/// `GET /v2/snapshots`
pub async fn snapshots(_: Caller) -> Json<SnapshotList> {
    Json(SnapshotList::default())
}

/// `GET` and `DELETE /v2/snapshots/{id}`: there is none.
pub async fn no_snapshot(_: Caller) -> ApiError {
    ApiError::not_found()
}

/// `GET /v2/firewalls`
pub async fn firewalls(_: Caller) -> Json<FirewallList> {
    Json(FirewallList::default())
}

/// `GET /v2/droplets/{id}/destroy_with_associated_resources`
pub async fn associated(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    PathId(id): PathId,
) -> ApiResult<Json<AssociatedResources>> {
    exists(&service, account.id, id).await?;
    Ok(Json(AssociatedResources::default()))
}

/// `DELETE /v2/droplets/{id}/destroy_with_associated_resources/selective`
pub async fn destroy_selective(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    PathId(id): PathId,
) -> ApiResult<StatusCode> {
    super::droplet::destroy(&service, account.id, id).await?;
    Ok(StatusCode::ACCEPTED)
}

/// `DELETE /v2/droplets/{id}/destroy_with_associated_resources/dangerous`, which wants to be
/// confirmed by a header.
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

/// `GET /v2/droplets/{id}/destroy_with_associated_resources/status`
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
    let failed = destroy.and_then(|action| action.reason);
    let completed_at = ended.map(timestamp);
    Ok(Json(DestroyStatus {
        droplet: DestroyedDroplet {
            id: Id(id),
            name: row.name,
            destroyed_at: completed_at.clone().filter(|_| failed.is_none()),
            error_message: failed.clone(),
        },
        resources: AssociatedResources::default(),
        completed_at,
        failures: i64::from(failed.is_some()),
    }))
}

/// `POST /v2/droplets/{id}/destroy_with_associated_resources/retry`: begins a destruction that
/// failed once more.
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
    if last.is_some_and(|action| action.reason.is_some()) {
        super::droplet::insert_action(&mut tx, &row, "destroy").await?;
    }
    tx.commit().await?;
    service.announce("droplet");
    Ok(StatusCode::ACCEPTED)
}
