//! `/v2/droplets`: the machines. [`create`] makes them, [`act`] does something to them, [`view`]
//! shows them; each change is a row and an action, which a worker carries out (`crate::machine`).

pub mod act;
pub mod create;
mod forward;
mod rescue;
mod view;

use std::sync::Arc;

use abbild_api::{DropletList, DropletOne};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use super::{ApiError, ApiResult, Language, Paging, PathId};
use crate::Service;
use crate::auth::{Caller, Reader};
use crate::db::droplet::{self, DropletRow};
use crate::db::image::Filter;
use crate::db::tag::{self, Kind};
use crate::db::{self, Executor, Tx};
use crate::machine;
pub use view::find;

/// Lists the machines
#[utoipa::path(
    get,
    path = "/v2/droplets",
    tag = "Droplets",
    params(
        Paging,
        Language,
        ("type" = Option<String>, Query, description = "`droplets`; there are none of any other type"),
        ("name" = Option<String>, Query, description = "Only those with exactly this name"),
        ("tag_name" = Option<String>, Query, description = "Only those with this tag"),
    ),
    responses((status = 200, description = "A page of machines", body = DropletList)),
)]
pub async fn list(
    State(service): State<Arc<Service>>,
    Reader { account, mut db }: Reader,
    Language(lang): Language,
    paging: Paging,
) -> ApiResult<Json<DropletList>> {
    // There are no machines of any other type.
    let (rows, total) = match paging.filter("type") {
        None | Some("droplets") => {
            let filter = Filter {
                name: paging.filter("name"),
                tag: super::tag::filter(&mut *db, account.id, paging.filter("tag_name")).await?,
                ..Filter::default()
            };
            droplet::list(&mut db, account.id, filter, paging.window()).await?
        }
        Some(_) => (Vec::new(), 0),
    };
    let (links, meta) = paging.links(total);
    let droplets = view::many(&service, db, rows, lang).await?;
    Ok(Json(DropletList {
        droplets,
        links,
        meta,
    }))
}

/// Shows a machine
#[utoipa::path(
    get,
    path = "/v2/droplets/{id}",
    tag = "Droplets",
    params(PathId, Language),
    responses((status = 200, description = "The machine", body = DropletOne)),
)]
pub async fn show(
    State(service): State<Arc<Service>>,
    Reader { account, db }: Reader,
    Language(lang): Language,
    PathId(id): PathId,
) -> ApiResult<Json<DropletOne>> {
    let droplet = find(&service, db, account.id, id, lang).await?;
    let droplet = droplet.ok_or_else(ApiError::not_found)?;
    Ok(Json(DropletOne { droplet }))
}

/// Deletes a machine and its disk
#[utoipa::path(
    delete,
    path = "/v2/droplets/{id}",
    tag = "Droplets",
    params(PathId),
    responses((status = 204, description = "It is gone")),
)]
pub async fn delete(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    PathId(id): PathId,
) -> ApiResult<StatusCode> {
    destroy(&service, account.id, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Hides a droplet from its owner and has it removed from its host.
pub async fn destroy(service: &Service, account: i64, id: i64) -> ApiResult<()> {
    let mut tx = service.db.write().await?;
    let row = live(&mut *tx, account, id).await?;
    destroy_row(&mut tx, &row).await?;
    tx.commit().await?;
    service.announce("droplet");
    Ok(())
}

async fn destroy_row(tx: &mut Tx, row: &DropletRow) -> db::Result<()> {
    droplet::delete(tx, row.id).await?;
    tag::unlink_all(tx, Kind::Droplet, row.id).await?;
    machine::insert_action(tx, row, "destroy", None).await?;
    Ok(())
}

/// Deletes all machines with a tag
#[utoipa::path(
    delete,
    path = "/v2/droplets",
    tag = "Droplets",
    params(("tag_name" = String, Query, description = "The tag")),
    responses(
        (status = 204, description = "They are gone"),
        (status = 422, description = "`tag_name` is missing"),
    ),
)]
pub async fn delete_tagged(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    paging: Paging,
) -> ApiResult<StatusCode> {
    let mut tx = service.db.write().await?;
    for row in tagged(&mut tx, account.id, &paging).await? {
        destroy_row(&mut tx, &row).await?;
    }
    tx.commit().await?;
    service.announce("droplet");
    Ok(StatusCode::NO_CONTENT)
}

/// A machine that its owner has not deleted.
///
/// # Errors
/// 404
pub async fn live(db: impl Executor<'_>, account: i64, id: i64) -> ApiResult<DropletRow> {
    droplet::find(db, account, id)
        .await?
        .ok_or_else(ApiError::not_found)
}

/// The droplets with the tag `tag_name`, without which nothing is done to several at once.
async fn tagged(tx: &mut Tx, account: i64, paging: &Paging) -> ApiResult<Vec<DropletRow>> {
    let name = paging
        .filter("tag_name")
        .filter(|name| !name.is_empty())
        .ok_or_else(|| ApiError::unprocessable("`tag_name` is missing"))?;
    match tag::find(&mut **tx, account, name).await? {
        Some(tag) => Ok(droplet::tagged(tx, account, tag.id).await?),
        None => Ok(Vec::new()),
    }
}
