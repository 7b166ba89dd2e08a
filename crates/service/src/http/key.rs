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

/// `GET /v2/account/keys`
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

/// `POST /v2/account/keys`
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

/// `GET /v2/account/keys/{id or fingerprint}`
pub async fn show(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    Which(which): Which,
) -> ApiResult<Json<KeyOne>> {
    let row = key::find(service.db.read(), account.id, &which).await?;
    let ssh_key = to_api(row.ok_or_else(ApiError::not_found)?);
    Ok(Json(KeyOne { ssh_key }))
}

/// `PUT /v2/account/keys/{id or fingerprint}`
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

/// `DELETE /v2/account/keys/{id or fingerprint}`
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
