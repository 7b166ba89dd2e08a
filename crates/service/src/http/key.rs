//! `/v2/account/keys`: the public keys that machines are made with.

use std::sync::Arc;

use abbild_api::{CreateKey, Id, Key, KeyList, KeyOne, UpdateKey};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use md5::{Digest, Md5};
use ssh_key::PublicKey;

use super::{ApiError, ApiResult, Body, Paging, Which, checked_name};
use crate::Service;
use crate::auth::Caller;
use crate::db::key::{self, KeyRow};

fn to_api(row: KeyRow) -> Key {
    Key {
        id: Id(row.id),
        fingerprint: row.fingerprint,
        public_key: row.public_key,
        name: row.name,
    }
}

/// Lists the SSH keys, oldest first
#[utoipa::path(
    get,
    path = "/v2/account/keys",
    tag = "SSH keys",
    params(Paging),
    responses((status = 200, description = "A page of keys", body = KeyList)),
)]
pub async fn list(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    paging: Paging,
) -> ApiResult<Json<KeyList>> {
    let (rows, total) = key::list(service.db.read(), account.id, paging.window()).await?;
    let (links, meta) = paging.links(total);
    Ok(Json(KeyList {
        ssh_keys: rows.into_iter().map(to_api).collect(),
        links,
        meta,
    }))
}

/// Adds an SSH key
///
/// The key is refused when the account has it already.
#[utoipa::path(
    post,
    path = "/v2/account/keys",
    tag = "SSH keys",
    request_body = CreateKey,
    responses((status = 201, description = "The key", body = KeyOne)),
)]
pub async fn create(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    Body(request): Body<CreateKey>,
) -> ApiResult<(StatusCode, Json<KeyOne>)> {
    let name = checked_name(&request.name)?;
    let fingerprint = fingerprint(&request.public_key)?;
    let mut tx = service.db.write().await?;
    let id = key::insert(&mut tx, account.id, name, &fingerprint, &request.public_key)
        .await?
        .ok_or_else(|| ApiError::unprocessable("SSH Key is already in use on your account"))?;
    tx.commit().await?;
    let key = Key {
        id: Id(id),
        fingerprint,
        public_key: request.public_key.clone(),
        name: name.to_owned(),
    };
    Ok((StatusCode::CREATED, Json(KeyOne { ssh_key: key })))
}

/// Shows an SSH key, by its id or its fingerprint
#[utoipa::path(
    get,
    path = "/v2/account/keys/{which}",
    tag = "SSH keys",
    params(Which),
    responses((status = 200, description = "The key", body = KeyOne)),
)]
pub async fn show(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    Which(which): Which,
) -> ApiResult<Json<KeyOne>> {
    let row = key::find(service.db.read(), account.id, &which).await?;
    let ssh_key = to_api(row.ok_or_else(ApiError::not_found)?);
    Ok(Json(KeyOne { ssh_key }))
}

/// Renames an SSH key
#[utoipa::path(
    put,
    path = "/v2/account/keys/{which}",
    tag = "SSH keys",
    params(Which),
    request_body = UpdateKey,
    responses((status = 200, description = "The key", body = KeyOne)),
)]
pub async fn update(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    Which(which): Which,
    Body(request): Body<UpdateKey>,
) -> ApiResult<Json<KeyOne>> {
    let row = key::find(service.db.read(), account.id, &which).await?;
    let mut row = row.ok_or_else(ApiError::not_found)?;
    row.name = checked_name(&request.name)?.to_owned();
    let mut tx = service.db.write().await?;
    key::rename(&mut tx, account.id, row.id, &row.name).await?;
    tx.commit().await?;
    let ssh_key = to_api(row);
    Ok(Json(KeyOne { ssh_key }))
}

/// Removes an SSH key
///
/// Machines that were made with it keep it.
#[utoipa::path(
    delete,
    path = "/v2/account/keys/{which}",
    tag = "SSH keys",
    params(Which),
    responses((status = 204, description = "It is gone")),
)]
pub async fn delete(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    Which(which): Which,
) -> ApiResult<StatusCode> {
    let row = key::find(service.db.read(), account.id, &which).await?;
    let row = row.ok_or_else(ApiError::not_found)?;
    let mut tx = service.db.write().await?;
    key::delete(&mut tx, account.id, row.id).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// MD5 of the key blob as colon-separated pairs: not for security, but the name of a key in this
/// API.
fn fingerprint(public_key: &str) -> ApiResult<String> {
    let invalid = |what: &str| ApiError::unprocessable(format!("`public_key` {what}"));
    if public_key.contains("PRIVATE KEY") {
        return Err(invalid(
            "holds a private key; send the .pub file, and consider this key exposed",
        ));
    }
    let key = PublicKey::from_openssh(public_key.trim())
        .map_err(|e| invalid(&format!("is not one line of an OpenSSH .pub file: {e}")))?;
    let blob = key.to_bytes().map_err(ApiError::internal)?;
    let pairs: Vec<_> = Md5::digest(blob)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    Ok(pairs.join(":"))
}
