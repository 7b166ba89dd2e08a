//! `/v2/images`: creating an image from an upload, looking at it, giving it further regions.

use std::sync::Arc;

use abbild_api::{
    ActionOne, ImageAction, ImageList, ImageOne, Quota, RegionCopyStatus, Stage, UpdateImage,
    distribution_or_unknown,
};
use abbild_guest::Lang;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::Value;

use super::conditional::{self, IfMatch};
use super::image_source;
use super::probe;
use super::{ApiError, ApiResult, Body, Language, Paging, PathId, checked_name, image_view};
use crate::auth::{Caller, Reader};
use crate::db::Executor;
use crate::db::action::{ActionRow, NewAction};
use crate::db::image::{self, Filter, ImageRow, Origin};
use crate::db::tag::{self, Kind};
use crate::db::upload;
use crate::db::{self, Tx};
use crate::{Service, quota, removal};

/// Lists the images, newest first
///
/// There are no public images, so lists of them are empty.
#[utoipa::path(
    get,
    path = "/v2/images",
    tag = "Images",
    params(
        Paging,
        Language,
        ("type" = Option<String>, Query, description = "`snapshot`: made of machines' disks; `custom`: all others; `distribution` and `application`: public images"),
        ("private" = Option<String>, Query, description = "Changes nothing: all images are private"),
        ("name" = Option<String>, Query, description = "Only those with exactly this name"),
        ("tag_name" = Option<String>, Query, description = "Only those with this tag"),
        ("digest" = Option<String>, Query, pattern = "^sha256:[0-9a-fA-F]{64}$", description = "Only those that are available and have this content: `sha256:HEX` of the canonical image, or of the file that the image was made from if its `checksum` was given (*ours*)"),
    ),
    responses(
        (status = 200, description = "A page of images", body = ImageList),
        (status = 422, description = "`digest` is none"),
    ),
)]
pub async fn list(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    Language(lang): Language,
    paging: Paging,
) -> ApiResult<Json<ImageList>> {
    // There are no images of any other kind, so lists of them are empty.
    let (rows, total) = match paging.filter("type") {
        kind @ (None | Some("custom" | "user" | "snapshot")) => {
            let digest = paging.filter("digest").map(image_source::sha256);
            let digest = digest.transpose()?;
            let filter = Filter {
                name: paging.filter("name"),
                tag: super::tag::filter(service.db.read(), account.id, paging.filter("tag_name"))
                    .await?,
                digest: digest.as_deref(),
                origin: match kind {
                    Some("snapshot") => Origin::Snapshot,
                    Some("custom") => Origin::Import,
                    _ => Origin::Any,
                },
            };
            image::list(service.db.read(), account.id, filter, paging.window()).await?
        }
        Some(_) => (Vec::new(), 0),
    };
    let (links, meta) = paging.links(total);
    let images = image_view::many(&service, rows, lang).await?;
    Ok(Json(ImageList {
        images,
        links,
        meta,
    }))
}

/// Shows an image
///
/// A deleted image answers with the status `deleted` for a while, an hour unless the operator decided
/// otherwise, so that clients that poll it see that it is gone.
#[utoipa::path(
    get,
    path = "/v2/images/{id}",
    tag = "Images",
    params(PathId, Language, ("if-none-match" = Option<String>, Header, description = "The entity tag of the answer that the client has")),
    responses(
        (status = 200, description = "The image, with an `ETag`", body = ImageOne),
        (status = 304, description = "The client has it"),
    ),
)]
pub async fn show(
    State(service): State<Arc<Service>>,
    Reader { account, mut db }: Reader,
    Language(lang): Language,
    PathId(id): PathId,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let mut rows = image::shown(&mut db, account.id, &[id]).await?;
    let keep = i64::from(service.config.limits.tombstone_minutes) * 60;
    let is_over = |at| at + keep <= db::now();
    rows.retain(|shown| !shown.row.deleted_at.is_some_and(is_over));
    let images = image_view::many_by(&mut db, rows, lang).await?;
    let image = images.into_iter().next().ok_or_else(ApiError::not_found)?;
    conditional::answer(&headers, &ImageOne { image })
}

/// Refuses to change an image that is not as the client knows it, if it says so. The write lock is
/// held, so that the image stays as it is.
///
/// # Errors
/// 412.
pub async fn check_match(
    service: &Service,
    wanted: &IfMatch,
    row: &ImageRow,
    lang: Lang,
) -> ApiResult<()> {
    if !wanted.is_given() {
        return Ok(());
    }
    let image = image_view::one(service, row.account_id, row.id, lang).await?;
    wanted.check(&conditional::tag_of(&ImageOne { image })?)
}

/// Shows what the check found in an image
///
/// *Ours.* Every requirement with its outcome, the evidence for it, why it matters, and how to fix it;
/// and all that is known of the system inside. The `basis` of a finding is `inferred` from the files of the
/// image, or `proven` by the newest boot probe; then `inferred` is the outcome that the files had led to.
#[utoipa::path(
    get,
    path = "/v2/images/{id}/report",
    tag = "Images",
    params(PathId, Language),
    responses(
        (status = 200, description = "The report", body = Value),
        (status = 409, description = "The image has not been checked yet"),
    ),
)]
pub async fn report(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    Language(lang): Language,
    PathId(id): PathId,
) -> ApiResult<Json<Value>> {
    let row = live(service.db.read(), account.id, id).await?;
    let report = crate::probe::report(&service, row.id)
        .await?
        .ok_or_else(|| ApiError::conflict("the image has not been checked yet"))?;
    Ok(Json(report.to_json(lang)))
}

/// An image that its owner has not deleted.
pub async fn live(db: impl Executor<'_>, account: i64, id: i64) -> ApiResult<ImageRow> {
    image::find(db, account, id)
        .await?
        .filter(|row| row.deleted_at.is_none())
        .ok_or_else(ApiError::not_found)
}

/// Makes sure that there is a region of this name.
///
/// # Errors
/// 422 with those that there are.
pub fn known_region(service: &Service, slug: &str) -> ApiResult<()> {
    let slugs: Vec<_> = service.regions.iter().map(|r| r.slug.as_str()).collect();
    if slugs.contains(&slug) {
        return Ok(());
    }
    Err(ApiError::unprocessable(format!(
        "there is no region `{slug}`; there are {}",
        slugs.join(", ")
    )))
}

/// Changes the name, description or distribution of an image
#[utoipa::path(
    put,
    path = "/v2/images/{id}",
    tag = "Images",
    params(PathId, Language, IfMatch),
    request_body = UpdateImage,
    responses(
        (status = 200, description = "The image, with an `ETag`", body = ImageOne),
        (status = 412, description = "It is not as `If-Match` says"),
    ),
)]
pub async fn update(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    Language(lang): Language,
    PathId(id): PathId,
    if_match: IfMatch,
    Body(request): Body<UpdateImage>,
) -> ApiResult<Response> {
    let mut tx = service.db.write().await?;
    let mut row = live(&mut *tx, account.id, id).await?;
    check_match(&service, &if_match, &row, lang).await?;
    if let Some(name) = request.name {
        row.name = checked_name(&name)?.to_owned();
    }
    row.description = request.description.unwrap_or(row.description);
    if let Some(distribution) = request.distribution {
        row.distribution = distribution_or_unknown(&distribution).to_owned();
    }
    image::update(&mut tx, &row).await?;
    tx.commit().await?;
    let image = image_view::one(&service, account.id, id, lang).await?;
    conditional::answer(&HeaderMap::new(), &ImageOne { image })
}

/// Deletes an image from all regions
///
/// What is under way for it ends. Machines made from it keep their disks.
#[utoipa::path(
    delete,
    path = "/v2/images/{id}",
    tag = "Images",
    params(PathId, IfMatch),
    responses(
        (status = 204, description = "It is gone"),
        (status = 412, description = "It is not as `If-Match` says"),
        (status = 422, description = "It is deleted already"),
    ),
)]
pub async fn delete(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    Language(lang): Language,
    PathId(id): PathId,
    if_match: IfMatch,
) -> ApiResult<StatusCode> {
    let mut tx = service.db.write().await?;
    let row = image::find(&mut *tx, account.id, id).await?;
    let row = row.ok_or_else(ApiError::not_found)?;
    if row.deleted_at.is_some() {
        return Err(ApiError::unprocessable(
            "Image Can not delete an already deleted image.",
        ));
    }
    check_match(&service, &if_match, &row, lang).await?;
    remove(&service, tx, row).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Deletes an image that is not deleted, and ends what is under way for it.
///
/// # Errors
/// Those of the database and of removing its upload.
pub async fn remove(service: &Arc<Service>, mut tx: Tx, row: ImageRow) -> ApiResult<()> {
    let id = row.id;
    if let Some(upload) = &row.upload_id {
        upload::delete(&mut tx, upload).await?;
    }
    image::delete(&mut tx, id).await?;
    tag::unlink_all(&mut tx, Kind::Image, id).await?;
    let running = db::action::open(&mut *tx, "image", id).await?;
    db::action::fail_open(&mut tx, "image", id, "the image was deleted").await?;
    tx.commit().await?;
    for action in &running {
        service.cancel(action.id);
    }
    if let Some(upload) = &row.upload_id {
        service
            .uploads
            .remove_file(upload)
            .map_err(ApiError::internal)?;
    }
    removal::remove_later(service, row.digest);
    Ok(())
}

/// Copies an image to a further region, or boots it
///
/// `transfer` copies the image to `region`; it stays where it is, too. For a region that has it already
/// the action is completed at once. `convert` changes nothing, and is completed at once. `probe`, *ours*,
/// boots the image once, on a machine of its own that reaches nobody, in `region` or any that has it; what it
/// shows is at `/v2/images/{id}/probe`.
#[utoipa::path(
    post,
    path = "/v2/images/{id}/actions",
    tag = "Image actions",
    operation_id = "create",
    params(PathId, IfMatch),
    request_body = ImageAction,
    responses(
        (status = 201, description = "The action", body = ActionOne),
        (status = 409, description = "The image cannot be probed there, or now"),
        (status = 412, description = "The image is not as `If-Match` says"),
    ),
)]
pub async fn act(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    Language(lang): Language,
    PathId(id): PathId,
    if_match: IfMatch,
    Body(request): Body<ImageAction>,
) -> ApiResult<(StatusCode, Json<ActionOne>)> {
    let mut tx = service.db.write().await?;
    let row = live(&mut *tx, account.id, id).await?;
    check_match(&service, &if_match, &row, lang).await?;
    if row.stage()? == Stage::Failed {
        return Err(ApiError::unprocessable(format!(
            "nothing can be done with the image, because its import failed: {}",
            row.error_message
        )));
    }
    let action = match (request.kind.as_str(), request.region) {
        ("transfer", Some(region)) => {
            known_region(&service, &region)?;
            transfer(&service, &mut tx, &row, &region).await?
        }
        ("transfer", None) => return Err(ApiError::unprocessable("`region` is missing")),
        ("probe", region) => {
            if let Some(region) = &region {
                known_region(&service, region)?;
            }
            probe::begin(&service, &mut tx, &row, region.as_deref()).await?
        }
        ("convert", _) => convert(&mut tx, &row).await?,
        (other, _) => {
            return Err(ApiError::unprocessable(format!(
                "`type` is `{other}`; images know `transfer`, `probe` and `convert`"
            )));
        }
    };
    tx.commit().await?;
    service.announce(if action.kind == "probe" {
        "probe"
    } else {
        "image"
    });
    let action = super::action::to_api(&service, action)?;
    Ok((StatusCode::CREATED, Json(ActionOne { action })))
}

/// In the original API this makes a snapshot of a backup. Every image can be used as it is here, so
/// that it is done at once.
async fn convert(tx: &mut Tx, row: &ImageRow) -> ApiResult<ActionRow> {
    let new = NewAction {
        account: row.account_id,
        kind: "convert",
        resource_type: "image",
        resource: row.id,
        region: None,
        parameters: None,
        ready: false,
    };
    let action = db::action::insert(tx, &new).await?;
    Ok(db::action::complete(tx, action.id).await?)
}

/// A transfer that is under way or done already is not begun twice.
async fn transfer(
    service: &Service,
    tx: &mut Tx,
    row: &ImageRow,
    region: &str,
) -> ApiResult<ActionRow> {
    let present = image::region(tx, row.id, region).await?;
    let status = present.map(|copy| copy.status()).transpose()?;
    let underway = matches!(
        status,
        Some(RegionCopyStatus::Pending | RegionCopyStatus::Copying)
    );
    if underway {
        let open = db::action::open(&mut **tx, "image", row.id).await?;
        if let Some(action) = open
            .into_iter()
            .find(|a| a.region.as_deref() == Some(region))
        {
            return Ok(action);
        }
    }
    let done = status == Some(RegionCopyStatus::Available);
    if !done {
        let wanted = [(Quota::StoredBytes, row.stored_bytes.unwrap_or(0))];
        quota::check(&service.config.quotas, tx, row.account_id, &wanted).await?;
        image::set_region(tx, row.id, region, RegionCopyStatus::Pending, None).await?;
    }
    let new = NewAction {
        account: row.account_id,
        kind: "transfer",
        resource_type: "image",
        resource: row.id,
        region: Some(region),
        parameters: None,
        ready: row.stage()? == Stage::Available,
    };
    let action = db::action::insert(tx, &new).await?;
    if done {
        return Ok(db::action::complete(tx, action.id).await?);
    }
    Ok(action)
}
