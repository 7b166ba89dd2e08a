//! `/v2/account/users`: who can log in to the account. All of it demands the scope `admin`.

use std::sync::Arc;

use abbild_api::{CreateUser, Id, Role, UpdateUser, User, UserList, UserOne};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use super::action::timestamp;
use super::{ApiError, ApiResult, Body, Paging, PathId, checked_name};
use crate::Service;
use crate::audit::{Event, Origin};
use crate::auth::{self, Caller, password};
use crate::db::user::{self, NewUser, UserRow};
use crate::db::{self, Tx, now, session, token};

/// `row` on the wire.
pub fn to_api(row: UserRow) -> db::Result<User> {
    Ok(User {
        id: Id(row.id),
        role: row.role()?,
        email: row.email,
        name: row.name,
        disabled: row.disabled_at.is_some(),
        has_password: row.password.is_some(),
        created_at: timestamp(row.created_at),
        last_login_at: row.last_login_at.map(timestamp),
    })
}

/// An e-mail address as it is kept: without white space around it and in lower case.
///
/// # Errors
/// With what is wrong. Whether it is anybody's is not known.
pub fn checked_email(text: &str) -> Result<String, String> {
    let text = text.trim().to_lowercase();
    let parts = text.split_once('@');
    let plain = |c: char| !c.is_whitespace() && !c.is_control();
    let ok = text.len() <= 254
        && text.chars().all(plain)
        && parts.is_some_and(|(local, domain)| {
            !local.is_empty() && !domain.is_empty() && !domain.contains('@')
        });
    if !ok {
        return Err("`email` must be an e-mail address".to_owned());
    }
    Ok(text)
}

/// Lists the users, oldest first
#[utoipa::path(
    get,
    path = "/v2/account/users",
    tag = "Users",
    params(Paging),
    responses((status = 200, description = "A page of users", body = UserList)),
)]
pub async fn list(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    paging: Paging,
) -> ApiResult<Json<UserList>> {
    let (rows, total) = user::list(service.db.read(), account.id, paging.window()).await?;
    let (links, meta) = paging.links(total);
    let users = rows.into_iter().map(to_api).collect::<db::Result<_>>()?;
    Ok(Json(UserList { users, links, meta }))
}

/// Adds a user
///
/// Without a password they can log in with OpenID Connect only. An e-mail address is one user's in
/// the whole service.
#[utoipa::path(
    post,
    path = "/v2/account/users",
    tag = "Users",
    request_body = CreateUser,
    responses((status = 201, description = "The user", body = UserOne)),
)]
pub async fn create(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    origin: Origin,
    Body(request): Body<CreateUser>,
) -> ApiResult<(StatusCode, Json<UserOne>)> {
    let email = checked_email(&request.email).map_err(ApiError::unprocessable)?;
    let name = match request.name.trim() {
        "" => &email,
        _ => checked_name(&request.name)?,
    };
    let phc = match request.password {
        Some(word) => Some(hashed(word, &email).await?),
        None => None,
    };
    let mut tx = service.db.write().await?;
    let new = NewUser {
        account: account.id,
        email: &email,
        name,
        role: request.role,
        password: phc.as_deref(),
    };
    let row = auth::enrol(&mut tx, &new, &origin, "")
        .await?
        .ok_or_else(|| ApiError::unprocessable(format!("`{email}` cannot be added again")))?;
    tx.commit().await?;
    let user = to_api(row)?;
    Ok((StatusCode::CREATED, Json(UserOne { user })))
}

/// The PHC string of a password that may be chosen.
///
/// # Errors
/// 422 with what is wrong with it.
pub async fn hashed(word: String, email: &str) -> ApiResult<String> {
    password::check(&word, email).map_err(ApiError::unprocessable)?;
    Ok(password::hash(word).await?)
}

/// Shows a user
#[utoipa::path(
    get,
    path = "/v2/account/users/{id}",
    tag = "Users",
    params(PathId),
    responses((status = 200, description = "The user", body = UserOne)),
)]
pub async fn show(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    PathId(id): PathId,
) -> ApiResult<Json<UserOne>> {
    let row = user::find(service.db.read(), account.id, id).await?;
    let user = to_api(row.ok_or_else(ApiError::not_found)?)?;
    Ok(Json(UserOne { user }))
}

/// Changes name, role or password of a user, or keeps them out
///
/// A new role counts at once, for their tokens too. Somebody who is kept out has no sessions any
/// more, and their tokens are refused. The last owner who can log in stays one.
#[utoipa::path(
    put,
    path = "/v2/account/users/{id}",
    tag = "Users",
    params(PathId),
    request_body = UpdateUser,
    responses((status = 200, description = "The user", body = UserOne)),
)]
pub async fn update(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    origin: Origin,
    PathId(id): PathId,
    Body(request): Body<UpdateUser>,
) -> ApiResult<Json<UserOne>> {
    let row = user::find(service.db.read(), account.id, id).await?;
    let email = row.ok_or_else(ApiError::not_found)?.email;
    let phc = match request.password {
        Some(word) => Some(hashed(word, &email).await?),
        None => None,
    };
    let mut tx = service.db.write().await?;
    let row = user::find(&mut *tx, account.id, id).await?;
    let mut row = row.ok_or_else(ApiError::not_found)?;
    let mut changes = Vec::new();
    if let Some(name) = &request.name {
        row.name = checked_name(name)?.to_owned();
        changes.push("name".to_owned());
    }
    let role = request.role.unwrap_or(row.role()?);
    if request.role.is_some() {
        changes.push(format!("role {role}"));
    }
    if let Some(disabled) = request.disabled {
        row.disabled_at = disabled.then(|| row.disabled_at.unwrap_or_else(now));
        changes.push(if disabled { "disabled" } else { "enabled" }.to_owned());
    }
    if role != Role::Owner || row.disabled_at.is_some() {
        keep_an_owner(&mut tx, account.id, id).await?;
    }
    user::update(&mut tx, &row, role).await?;
    if let Some(phc) = &phc {
        user::set_password(&mut tx, id, phc).await?;
        changes.push("password".to_owned());
    }
    if phc.is_some() || row.disabled_at.is_some() {
        session::end_all(&mut tx, id, None).await?;
    }
    let event = Event::new("user.update").on("user", id);
    origin
        .record(&mut tx, event.detail(changes.join(", ")))
        .await?;
    let row = user::find(&mut *tx, account.id, id).await?;
    tx.commit().await?;
    let user = to_api(row.ok_or_else(ApiError::not_found)?)?;
    Ok(Json(UserOne { user }))
}

/// Refuses a change after which nobody could administer an account that has an owner now.
async fn keep_an_owner(tx: &mut Tx, account: i64, user: i64) -> ApiResult<()> {
    let row = user::find(&mut **tx, account, user).await?;
    let owns = match row {
        Some(row) => row.role()? == Role::Owner && row.disabled_at.is_none(),
        None => false,
    };
    if owns && user::other_owners(tx, account, user).await? == 0 {
        return Err(ApiError::unprocessable(
            "this is the last owner of the account; make somebody else an owner first",
        ));
    }
    Ok(())
}

/// Removes a user, with their sessions and tokens
#[utoipa::path(
    delete,
    path = "/v2/account/users/{id}",
    tag = "Users",
    params(PathId),
    responses(
        (status = 204, description = "They are removed"),
        (status = 422, description = "They are the last owner"),
    ),
)]
pub async fn delete(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    origin: Origin,
    PathId(id): PathId,
) -> ApiResult<StatusCode> {
    let mut tx = service.db.write().await?;
    let row = user::find(&mut *tx, account.id, id).await?;
    let row = row.ok_or_else(ApiError::not_found)?;
    keep_an_owner(&mut tx, account.id, id).await?;
    token::revoke_of_user(&mut tx, id).await?;
    session::end_all(&mut tx, id, None).await?;
    user::delete(&mut tx, account.id, id).await?;
    let event = Event::new("user.delete").on("user", id).detail(row.email);
    origin.record(&mut tx, event).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_kept_in_lower_case() {
        assert_eq!(
            checked_email(" Me@Example.ORG "),
            Ok("me@example.org".into())
        );
        for bad in ["", "me", "@x", "me@", "a@b@c", "a b@c", "a@b\u{7}"] {
            assert!(checked_email(bad).is_err(), "{bad:?}");
        }
    }
}
