//! `/v2/account/tokens`: what programs prove themselves with.
//!
//! With the scope `admin` these are all tokens of the account; somebody who is logged in without it
//! sees and makes their own.

use std::sync::Arc;

use abbild_api::{CreateToken, Id, Scope, Token, TokenList, TokenOne};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::action::timestamp;
use super::{ApiError, ApiResult, Body, NO_STORE, Paging, PathId, checked_name};
use crate::audit::{Event, Origin};
use crate::auth::{self, Identity, Proof};
use crate::db::now;
use crate::db::token::{self, NewToken, TokenRow};
use crate::{Service, db};

/// More than anybody can keep apart.
const MAX_TOKENS: i64 = 500;
/// Ten years.
const MAX_SECONDS: i64 = 315_360_000;

/// `row` on the wire, with the token itself if this is the answer that shows it.
pub fn to_api(row: TokenRow, secret: Option<String>) -> db::Result<Token> {
    Ok(Token {
        id: Id(row.id),
        scopes: row.scopes()?,
        name: row.name,
        user_id: row.user_id.map(Id),
        created_at: timestamp(row.created_at),
        expires_at: row.expires_at.map(timestamp),
        last_used_at: row.last_used_at.map(timestamp),
        token: secret,
    })
}

/// Whose tokens somebody sees: `None` for all of the account.
fn whose(identity: &Identity) -> Option<i64> {
    if identity.has(Scope::Admin) {
        return None;
    }
    identity.user.as_ref().map(|user| user.id)
}

async fn find(service: &Service, identity: &Identity, id: i64) -> ApiResult<TokenRow> {
    token::find(service.db.read(), identity.account.id, id)
        .await?
        .filter(|row| whose(identity).is_none_or(|user| row.user_id == Some(user)))
        .ok_or_else(ApiError::not_found)
}

/// Lists the tokens, without what makes them tokens
///
/// All of the account with the scope `admin`; otherwise those of the user who is logged in.
#[utoipa::path(
    get,
    path = "/v2/account/tokens",
    tag = "Tokens",
    params(Paging),
    responses((status = 200, description = "A page of tokens", body = TokenList)),
)]
pub async fn list(
    State(service): State<Arc<Service>>,
    identity: Identity,
    paging: Paging,
) -> ApiResult<Json<TokenList>> {
    let window = paging.window();
    let (rows, total) = token::list(
        service.db.read(),
        identity.account.id,
        whose(&identity),
        window,
    )
    .await?;
    let (links, meta) = paging.links(total);
    let tokens = rows.into_iter().map(|row| to_api(row, None));
    Ok(Json(TokenList {
        tokens: tokens.collect::<db::Result<_>>()?,
        links,
        meta,
    }))
}

/// Makes a token
///
/// The answer holds the token itself, and no other answer does. It can have no scope that whoever
/// makes it lacks. Made by a user, or with a user's token, it is that user's: it can do no more than
/// their role at any time, and ends with them.
#[utoipa::path(
    post,
    path = "/v2/account/tokens",
    tag = "Tokens",
    request_body = CreateToken,
    responses((status = 201, description = "The token", body = TokenOne)),
)]
pub async fn create(
    State(service): State<Arc<Service>>,
    identity: Identity,
    origin: Origin,
    Body(request): Body<CreateToken>,
) -> ApiResult<Response> {
    let name = checked_name(&request.name)?;
    let mut scopes = request.scopes;
    scopes.sort_unstable();
    scopes.dedup();
    check_scopes(&scopes, &identity)?;
    let expires_at = expiry(request.expires_in, &identity)?;
    let secret = auth::generate()?;
    let account = identity.account.id;
    let mut tx = service.db.write().await?;
    if token::count(&mut tx, account).await? >= MAX_TOKENS {
        return Err(ApiError::unprocessable(format!(
            "the account has {MAX_TOKENS} tokens; revoke some that are no longer used"
        )));
    }
    let new = NewToken {
        account,
        user: identity.user.as_ref().map(|user| user.id),
        name,
        sha256: &auth::hash(&secret),
        scopes: &scopes,
        expires_at,
    };
    let row = auth::issue(&mut tx, &new, &origin).await?;
    tx.commit().await?;
    let token = to_api(row, Some(secret))?;
    Ok((StatusCode::CREATED, NO_STORE, Json(TokenOne { token })).into_response())
}

fn check_scopes(scopes: &[Scope], identity: &Identity) -> ApiResult<()> {
    if scopes.is_empty() {
        return Err(ApiError::unprocessable(
            "`scopes` is missing; there are `read`, `images`, `vms` and `admin`",
        ));
    }
    match scopes.iter().find(|scope| !identity.has(**scope)) {
        Some(scope) => Err(ApiError::unprocessable(format!(
            "`scopes` holds `{scope}`, which whoever makes the token does not have"
        ))),
        None => Ok(()),
    }
}

/// When a new token expires; not after the token that makes it.
fn expiry(seconds: Option<i64>, identity: &Identity) -> ApiResult<Option<i64>> {
    if let Some(seconds) = seconds
        && !(1..=MAX_SECONDS).contains(&seconds)
    {
        return Err(ApiError::unprocessable(format!(
            "`expires_in` must be a whole number of seconds from 1 to {MAX_SECONDS}"
        )));
    }
    let wanted = seconds.map(|seconds| now() + seconds);
    let latest = match &identity.proof {
        Proof::Token(row) => row.expires_at,
        Proof::Session(_) => None,
    };
    match latest {
        Some(latest) if wanted.is_none_or(|wanted| wanted > latest) => {
            Err(ApiError::unprocessable(format!(
                "`expires_in` must be at most {}: a token cannot make one that outlives it",
                latest - now()
            )))
        }
        _ => Ok(wanted),
    }
}

/// Shows a token, without what makes it one
#[utoipa::path(
    get,
    path = "/v2/account/tokens/{id}",
    tag = "Tokens",
    params(PathId),
    responses((status = 200, description = "The token", body = TokenOne)),
)]
pub async fn show(
    State(service): State<Arc<Service>>,
    identity: Identity,
    PathId(id): PathId,
) -> ApiResult<Json<TokenOne>> {
    let row = find(&service, &identity, id).await?;
    let token = to_api(row, None)?;
    Ok(Json(TokenOne { token }))
}

/// Revokes a token
///
/// It is useless from then on.
#[utoipa::path(
    delete,
    path = "/v2/account/tokens/{id}",
    tag = "Tokens",
    params(PathId),
    responses((status = 204, description = "It is revoked")),
)]
pub async fn delete(
    State(service): State<Arc<Service>>,
    identity: Identity,
    origin: Origin,
    PathId(id): PathId,
) -> ApiResult<StatusCode> {
    let row = find(&service, &identity, id).await?;
    let mut tx = service.db.write().await?;
    if !token::revoke(&mut tx, identity.account.id, id).await? {
        return Err(ApiError::not_found());
    }
    let event = Event::new("token.revoke").on("token", id).detail(row.name);
    origin.record(&mut tx, event).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
