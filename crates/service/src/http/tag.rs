//! `/v2/tags`: tags, and what has them.

use std::sync::Arc;

use abbild_api::{CreateTag, Tag, TagCount, TagList, TagOne, TagResources, TagTarget, TagTargets};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;

use super::{ApiError, ApiResult, BaseUrl, Body, Paging};
use crate::Service;
use crate::auth::Caller;
use crate::db::tag::{self, Kind, TagRow, UseRow};
use crate::db::{Executor, Tx};

const MAX_NAME: usize = 255;

/// Fails unless `name` can be a tag's.
pub fn check(name: &str) -> ApiResult<()> {
    let ok = (1..=MAX_NAME).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b':' | b'-'));
    if ok {
        return Ok(());
    }
    Err(ApiError::unprocessable(
        "a tag's name may only hold a-z, A-Z, 0-9, _, : and -, and has 1 to 255 characters",
    ))
}

/// Gives a new object its tags, making those that are missing.
pub async fn set(
    tx: &mut Tx,
    account: i64,
    kind: Kind,
    id: i64,
    names: &[String],
) -> ApiResult<()> {
    for name in names {
        check(name)?;
        let tag = tag::ensure(tx, account, name).await?;
        tag::link(tx, tag.id, kind, id).await?;
    }
    Ok(())
}

/// The id of the tag that a list is limited to; 0, which no tag has, for one that does not exist.
pub async fn filter(
    db: impl Executor<'_>,
    account: i64,
    name: Option<&str>,
) -> ApiResult<Option<i64>> {
    let Some(name) = name else { return Ok(None) };
    let tag = tag::find(db, account, name).await?;
    Ok(Some(tag.map_or(0, |tag| tag.id)))
}

/// Lists the tags
#[utoipa::path(
    get,
    path = "/v2/tags",
    tag = "Tags",
    params(Paging),
    responses((status = 200, description = "A page of tags", body = TagList)),
)]
pub async fn list(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    BaseUrl(base): BaseUrl,
    paging: Paging,
) -> ApiResult<Json<TagList>> {
    let (rows, total) = tag::list(service.db.read(), account.id, paging.window()).await?;
    let (links, meta) = paging.links(total);
    let tags = many(&service, rows, &base).await?;
    Ok(Json(TagList { tags, links, meta }))
}

/// Makes a tag
///
/// One that is there already is answered as it is.
#[utoipa::path(
    post,
    path = "/v2/tags",
    tag = "Tags",
    request_body = CreateTag,
    responses((status = 201, description = "The tag", body = TagOne)),
)]
pub async fn create(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    BaseUrl(base): BaseUrl,
    Body(request): Body<CreateTag>,
) -> ApiResult<(StatusCode, Json<TagOne>)> {
    check(&request.name)?;
    let mut tx = service.db.write().await?;
    let row = tag::ensure(&mut tx, account.id, &request.name).await?;
    tx.commit().await?;
    let tag = one(&service, row, &base).await?;
    Ok((StatusCode::CREATED, Json(TagOne { tag })))
}

/// Shows a tag and what has it
#[utoipa::path(
    get,
    path = "/v2/tags/{name}",
    tag = "Tags",
    params(("name" = String, Path, description = "The tag, in any case")),
    responses((status = 200, description = "The tag", body = TagOne)),
)]
pub async fn show(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    BaseUrl(base): BaseUrl,
    Path(name): Path<String>,
) -> ApiResult<Json<TagOne>> {
    let row = tag::find(service.db.read(), account.id, &name).await?;
    let tag = one(&service, row.ok_or_else(ApiError::not_found)?, &base).await?;
    Ok(Json(TagOne { tag }))
}

/// Deletes a tag, from everything that has it
#[utoipa::path(
    delete,
    path = "/v2/tags/{name}",
    tag = "Tags",
    params(("name" = String, Path, description = "The tag, in any case")),
    responses((status = 204, description = "It is gone")),
)]
pub async fn delete(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    Path(name): Path<String>,
) -> ApiResult<StatusCode> {
    let mut tx = service.db.write().await?;
    let row = tag::find(&mut *tx, account.id, &name).await?;
    tag::delete(&mut tx, row.ok_or_else(ApiError::not_found)?.id).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Tags images and droplets
///
/// All of them or, when one does not exist, none.
#[utoipa::path(
    post,
    path = "/v2/tags/{name}/resources",
    tag = "Tags",
    params(("name" = String, Path, description = "The tag, in any case")),
    request_body = TagTargets,
    responses((status = 204, description = "They have the tag")),
)]
pub async fn link(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    Path(name): Path<String>,
    Body(request): Body<TagTargets>,
) -> ApiResult<StatusCode> {
    let mut tx = service.db.write().await?;
    let row = tag::find(&mut *tx, account.id, &name).await?;
    let row = row.ok_or_else(ApiError::not_found)?;
    for target in &request.resources {
        let kind = target_kind(&mut tx, account.id, target).await?;
        tag::link(&mut tx, row.id, kind, target.resource_id.0).await?;
    }
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Takes a tag from images and droplets
///
/// From all of them or, when one does not exist, from none.
#[utoipa::path(
    delete,
    path = "/v2/tags/{name}/resources",
    tag = "Tags",
    params(("name" = String, Path, description = "The tag, in any case")),
    request_body = TagTargets,
    responses((status = 204, description = "They do not have the tag")),
)]
pub async fn unlink(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    Path(name): Path<String>,
    Body(request): Body<TagTargets>,
) -> ApiResult<StatusCode> {
    let mut tx = service.db.write().await?;
    let row = tag::find(&mut *tx, account.id, &name).await?;
    let row = row.ok_or_else(ApiError::not_found)?;
    for target in &request.resources {
        let kind = target_kind(&mut tx, account.id, target).await?;
        tag::unlink(&mut tx, row.id, kind, target.resource_id.0).await?;
    }
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What kind of object it is that the account has.
async fn target_kind(tx: &mut Tx, account: i64, target: &TagTarget) -> ApiResult<Kind> {
    let id = target.resource_id.0;
    match target.resource_type.as_str() {
        "image" => {
            super::image::live(&mut **tx, account, id).await?;
            Ok(Kind::Image)
        }
        "droplet" => {
            super::droplet::live(&mut **tx, account, id).await?;
            Ok(Kind::Droplet)
        }
        other => Err(ApiError::unprocessable(format!(
            "`resource_type` is `{other}`; an `image` or a `droplet` can have tags"
        ))),
    }
}

async fn one(service: &Service, row: TagRow, base: &str) -> ApiResult<Tag> {
    let mut tags = many(service, vec![row], base).await?;
    tags.pop()
        .ok_or_else(|| ApiError::internal("a tag vanished while it was shown"))
}

async fn many(service: &Service, rows: Vec<TagRow>, base: &str) -> ApiResult<Vec<Tag>> {
    let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
    let uses = tag::uses(service.db.read(), &ids).await?;
    let tags = rows.into_iter().map(|row| Tag {
        resources: resources(uses.iter().filter(|usage| usage.tag_id == row.id), base),
        name: row.name,
    });
    Ok(tags.collect())
}

fn resources<'a>(uses: impl Iterator<Item = &'a UseRow>, base: &str) -> TagResources {
    let mut all = TagResources::default();
    let mut last = 0;
    for usage in uses {
        let kind = &usage.resource_type;
        let count = TagCount {
            count: usage.count,
            last_tagged_uri: format!("{base}/v2/{kind}s/{}", usage.last_resource),
        };
        all.count += usage.count;
        if usage.last_link > last {
            last = usage.last_link;
            all.last_tagged_uri.clone_from(&count.last_tagged_uri);
        }
        match kind == Kind::Image.word() {
            true => all.images = count,
            false => all.droplets = count,
        }
    }
    all
}
