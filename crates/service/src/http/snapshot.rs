//! Snapshots: images that were made of machines' disks. They are images like others, and `/v2/images`
//! has them too; clients of the original API look for them here.

use std::sync::Arc;

use abbild_api::{DropletSnapshotList, Id, Image, Snapshot, SnapshotList, SnapshotOne};
use abbild_guest::Lang;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use super::{ApiError, ApiResult, Language, Paging, PathId, image as http_image, image_view};
use crate::Service;
use crate::auth::Caller;
use crate::db::Executor;
use crate::db::image::{self, Filter, ImageRow, Origin};

/// A page of the images of one origin, and how many there are.
async fn page(
    service: &Service,
    account: i64,
    origin: Origin,
    paging: &Paging,
    lang: Lang,
) -> ApiResult<(Vec<(Option<i64>, Image)>, i64)> {
    let filter = Filter {
        origin,
        ..Filter::default()
    };
    let (rows, total) = image::list(service.db.read(), account, filter, paging.window()).await?;
    let droplets: Vec<Option<i64>> = rows.iter().map(|shown| shown.row.droplet_id).collect();
    let images = image_view::many(service, rows, lang).await?;
    Ok((droplets.into_iter().zip(images).collect(), total))
}

fn to_api(droplet: Option<i64>, image: Image) -> Snapshot {
    Snapshot {
        id: image.id.to_string(),
        name: image.name,
        created_at: image.created_at,
        regions: image.regions,
        resource_id: droplet.map(|id| Id(id).to_string()).unwrap_or_default(),
        resource_type: "droplet".to_owned(),
        min_disk_size: image.min_disk_size,
        size_gigabytes: image.size_gigabytes,
        tags: image.tags,
    }
}

/// Lists the snapshots of a machine
///
/// The images that were made of its disk and are available.
#[utoipa::path(
    get,
    path = "/v2/droplets/{id}/snapshots",
    tag = "Droplets",
    operation_id = "snapshots",
    params(PathId, Paging, Language),
    responses((status = 200, description = "A page of images", body = DropletSnapshotList)),
)]
pub async fn of_droplet(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    Language(lang): Language,
    PathId(id): PathId,
    paging: Paging,
) -> ApiResult<Json<DropletSnapshotList>> {
    super::droplet::live(service.db.read(), account.id, id).await?;
    let origin = Origin::Available(Some(id));
    let (found, total) = page(&service, account.id, origin, &paging, lang).await?;
    let (links, meta) = paging.links(total);
    Ok(Json(DropletSnapshotList {
        snapshots: found.into_iter().map(|(_, image)| image).collect(),
        links,
        meta,
    }))
}

/// Lists the snapshots of the account
///
/// Those of machines; there are no volumes.
#[utoipa::path(
    get,
    path = "/v2/snapshots",
    tag = "Snapshots and firewalls",
    operation_id = "list_snapshots",
    params(
        Paging,
        Language,
        ("resource_type" = Option<String>, Query, description = "`droplet`, or `volume`, of which there are none"),
    ),
    responses((status = 200, description = "A page of snapshots", body = SnapshotList)),
)]
pub async fn list(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    Language(lang): Language,
    paging: Paging,
) -> ApiResult<Json<SnapshotList>> {
    let (found, total) = match paging.filter("resource_type") {
        None | Some("droplet") => {
            page(&service, account.id, Origin::Available(None), &paging, lang).await?
        }
        Some(_) => (Vec::new(), 0),
    };
    let (links, meta) = paging.links(total);
    let snapshots = found.into_iter();
    Ok(Json(SnapshotList {
        snapshots: snapshots
            .map(|(droplet, image)| to_api(droplet, image))
            .collect(),
        links,
        meta,
    }))
}

/// A snapshot that its owner has not deleted.
async fn live(db: impl Executor<'_>, account: i64, id: i64) -> ApiResult<ImageRow> {
    let row = http_image::live(db, account, id).await?;
    match row.droplet_id {
        Some(_) => Ok(row),
        None => Err(ApiError::not_found()),
    }
}

/// Shows a snapshot
#[utoipa::path(
    get,
    path = "/v2/snapshots/{id}",
    tag = "Snapshots and firewalls",
    operation_id = "show_snapshot",
    params(PathId, Language),
    responses((status = 200, description = "The snapshot", body = SnapshotOne)),
)]
pub async fn show(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    Language(lang): Language,
    PathId(id): PathId,
) -> ApiResult<Json<SnapshotOne>> {
    let row = live(service.db.read(), account.id, id).await?;
    let droplet = row.droplet_id;
    let image = image_view::one(&service, account.id, id, lang).await?;
    let snapshot = to_api(droplet, image);
    Ok(Json(SnapshotOne { snapshot }))
}

/// Deletes a snapshot
///
/// As deleting its image does. Machines made from it keep their disks.
#[utoipa::path(
    delete,
    path = "/v2/snapshots/{id}",
    tag = "Snapshots and firewalls",
    operation_id = "delete_snapshot",
    params(PathId),
    responses((status = 204, description = "It is gone")),
)]
pub async fn delete(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    PathId(id): PathId,
) -> ApiResult<StatusCode> {
    let mut tx = service.db.write().await?;
    let row = live(&mut *tx, account.id, id).await?;
    http_image::remove(&service, tx, row).await?;
    Ok(StatusCode::NO_CONTENT)
}
