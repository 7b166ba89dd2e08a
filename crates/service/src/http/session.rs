//! `/v2/session`: logging in with a browser, and out; `/v2/account/sessions` and `/password`: what
//! somebody who is logged in does with their own.

use std::sync::Arc;

use abbild_api::{ChangePassword, Id, Login, LoginMethods, Session, SessionList, SessionOne};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum_extra::extract::CookieJar;
use axum_extra::extract::cookie::Cookie;

use super::action::timestamp;
use super::peer::Peer;
use super::{
    ApiError, ApiResult, BaseUrl, Body, NO_STORE, NoStore, Paging, PathId, account, user as users,
};
use crate::Service;
use crate::audit::{Event, Origin};
use crate::auth::session::{self as cookies, Method};
use crate::auth::{self, Identity, password, throttle};
use crate::db::account::AccountRow;
use crate::db::session::{self, SessionRow};
use crate::db::user::{self, UserRow};

fn to_api(row: SessionRow, current: i64) -> Session {
    Session {
        id: Id(row.id),
        user_id: Id(row.user_id),
        method: row.method,
        address: row.address,
        user_agent: row.user_agent,
        created_at: timestamp(row.created_at),
        last_used_at: timestamp(row.last_used_at),
        expires_at: timestamp(row.expires_at),
        current: row.id == current,
    }
}

async fn one(
    service: &Service,
    row: SessionRow,
    user: UserRow,
    account: AccountRow,
) -> ApiResult<Json<SessionOne>> {
    let current = row.id;
    let scopes = user.role()?.scopes().to_vec();
    Ok(Json(SessionOne {
        scopes: scopes.clone(),
        session: to_api(row, current),
        user: users::to_api(user)?,
        account: account::to_api(service, account, scopes).await?,
    }))
}

/// The session and user of somebody who is logged in.
fn logged_in(identity: Identity) -> ApiResult<(SessionRow, UserRow, AccountRow)> {
    let account = identity.account;
    match (identity.proof, identity.user) {
        (auth::Proof::Session(row), Some(user)) => Ok((row, user, account)),
        _ => Err(ApiError::forbidden("A token is not a session.")),
    }
}

/// Logs in with e-mail and password
///
/// The answer sets a cookie that takes the place of a token for the pages of this service. After
/// some failures in a row each further attempt has to wait; whether an address is anybody's is not
/// told.
#[utoipa::path(
    post,
    path = "/v2/session",
    tag = "Session",
    request_body = Login,
    security(()),
    responses(
        (status = 201, description = "The session", body = SessionOne),
        (status = 401, description = "Address or password is wrong"),
        (status = 403, description = "User or account is disabled, or another site asks"),
    ),
)]
pub async fn create(
    State(service): State<Arc<Service>>,
    Peer(address): Peer,
    base: BaseUrl,
    origin: Origin,
    headers: HeaderMap,
    Body(request): Body<Login>,
) -> ApiResult<Response> {
    cookies::check_login_site(&headers, &base)?;
    let email = users::checked_email(&request.email).map_err(ApiError::unprocessable)?;
    throttle::attempt(&service, &email, address).await?;
    let found = user::by_email(service.db.read(), &email).await?;
    let phc = found.as_ref().and_then(|user| user.password.clone());
    let right = password::verify(request.password, phc).await?;
    let user = match found {
        Some(user) if right => user,
        found => return Err(failed(&service, origin, found.as_ref(), &email).await?),
    };
    let account = admitted(&service, &user).await?;
    let mut tx = service.db.write().await?;
    throttle::succeeded(&mut tx, &email, address).await?;
    let from = (address, &headers);
    let method = Method::Password;
    let (row, cookie) =
        cookies::begin(&service, &mut tx, &user, method, from, origin, &base).await?;
    tx.commit().await?;
    let body = one(&service, row, user, account).await?;
    Ok((StatusCode::CREATED, no_store(cookie), body).into_response())
}

/// Writes down a login that failed, in the log of the account that it was meant for.
async fn failed(
    service: &Service,
    origin: Origin,
    user: Option<&UserRow>,
    email: &str,
) -> ApiResult<ApiError> {
    let mut event = Event::new("session.create").denied().detail(email);
    // Whoever it was, they did not prove to be this user.
    let mut origin = origin.anonymously();
    if let Some(user) = user {
        event = event.on("user", user.id);
        origin = origin.in_account(user.account_id);
    }
    origin.record_alone(service, event).await?;
    Ok(ApiError::unauthorized_because(
        "The e-mail address or the password is wrong.",
    ))
}

/// The account of somebody who proved who they are.
///
/// # Errors
/// 403 when user or account is disabled.
pub async fn admitted(service: &Service, user: &UserRow) -> ApiResult<AccountRow> {
    let account = crate::db::account::find(service.db.read(), user.account_id).await?;
    let account = account.ok_or_else(ApiError::unauthorized)?;
    auth::check_enabled(&account, Some(user))?;
    Ok(account)
}

/// Sets a cookie that nothing on the way may keep.
fn no_store(cookie: Cookie<'static>) -> (CookieJar, NoStore) {
    (CookieJar::new().add(cookie), NO_STORE)
}

/// Shows who is logged in, and what they may do
#[utoipa::path(
    get,
    path = "/v2/session",
    tag = "Session",
    security(("session" = [])),
    responses((status = 200, description = "The session", body = SessionOne)),
)]
pub async fn show(
    State(service): State<Arc<Service>>,
    identity: Identity,
) -> ApiResult<Json<SessionOne>> {
    let (row, user, account) = logged_in(identity)?;
    one(&service, row, user, account).await
}

/// Logs out
#[utoipa::path(
    delete,
    path = "/v2/session",
    tag = "Session",
    security(("session" = [])),
    responses((status = 204, description = "The session has ended")),
)]
pub async fn delete(
    State(service): State<Arc<Service>>,
    identity: Identity,
    origin: Origin,
    base: BaseUrl,
) -> ApiResult<Response> {
    let (row, user, _) = logged_in(identity)?;
    let mut tx = service.db.write().await?;
    session::end(&mut tx, user.id, row.id).await?;
    let event = Event::new("session.delete").on("session", row.id);
    origin.record(&mut tx, event).await?;
    tx.commit().await?;
    let cookie = cookies::removal(&base);
    Ok((StatusCode::NO_CONTENT, no_store(cookie)).into_response())
}

/// Says how one can log in here
#[utoipa::path(
    get,
    path = "/v2/session/methods",
    tag = "Session",
    security(()),
    responses((status = 200, description = "The ways to log in", body = LoginMethods)),
)]
pub async fn methods(State(service): State<Arc<Service>>) -> Json<LoginMethods> {
    let oidc = &service.config.oidc;
    Json(LoginMethods {
        password: true,
        oidc: oidc.issuer.as_ref().map(|_| oidc.name.clone()),
    })
}

/// Lists the own sessions
///
/// Only somebody who is logged in can do this.
#[utoipa::path(
    get,
    path = "/v2/account/sessions",
    tag = "Session",
    security(("session" = [])),
    params(Paging),
    responses((status = 200, description = "A page of sessions", body = SessionList)),
)]
pub async fn list(
    State(service): State<Arc<Service>>,
    identity: Identity,
    paging: Paging,
) -> ApiResult<Json<SessionList>> {
    let (current, user, _) = logged_in(identity)?;
    let idle_since = cookies::idle_since(&service);
    let (rows, total) =
        session::list(service.db.read(), user.id, idle_since, paging.window()).await?;
    let (links, meta) = paging.links(total);
    let sessions = rows.into_iter().map(|row| to_api(row, current.id));
    Ok(Json(SessionList {
        sessions: sessions.collect(),
        links,
        meta,
    }))
}

/// Ends one of the own sessions
///
/// Only somebody who is logged in can do this.
#[utoipa::path(
    delete,
    path = "/v2/account/sessions/{id}",
    tag = "Session",
    security(("session" = [])),
    params(PathId),
    responses((status = 204, description = "It has ended")),
)]
pub async fn revoke(
    State(service): State<Arc<Service>>,
    identity: Identity,
    origin: Origin,
    PathId(id): PathId,
) -> ApiResult<StatusCode> {
    let (_, user, _) = logged_in(identity)?;
    let mut tx = service.db.write().await?;
    if !session::end(&mut tx, user.id, id).await? {
        return Err(ApiError::not_found());
    }
    let event = Event::new("session.delete").on("session", id);
    origin.record(&mut tx, event).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Changes the own password
///
/// Ends all other sessions. Only somebody who is logged in can do this.
#[utoipa::path(
    post,
    path = "/v2/account/password",
    tag = "Session",
    security(("session" = [])),
    request_body = ChangePassword,
    responses((status = 204, description = "It is changed")),
)]
pub async fn change_password(
    State(service): State<Arc<Service>>,
    Peer(address): Peer,
    identity: Identity,
    origin: Origin,
    Body(request): Body<ChangePassword>,
) -> ApiResult<StatusCode> {
    let (row, user, _) = logged_in(identity)?;
    if user.password.is_some() {
        // A cookie that was stolen must not be good for guessing.
        throttle::attempt(&service, &user.email, address).await?;
        if !password::verify(request.current, user.password.clone()).await? {
            return Err(ApiError::unprocessable("`current` is not the password"));
        }
    }
    let phc = users::hashed(request.new, &user.email).await?;
    let mut tx = service.db.write().await?;
    if user.password.is_some() {
        throttle::succeeded(&mut tx, &user.email, address).await?;
    }
    user::set_password(&mut tx, user.id, &phc).await?;
    session::end_all(&mut tx, user.id, Some(row.id)).await?;
    let event = Event::new("user.password").on("user", user.id);
    origin.record(&mut tx, event).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
