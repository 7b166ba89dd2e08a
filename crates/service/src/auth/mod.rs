//! Who a request is from, and what they may do.
//!
//! A request carries a token (`Authorization: Bearer`) or the cookie of a session; [`identify`]
//! finds out whose it is. Handlers that serve a customer take a [`Caller`], or an [`Identity`] where
//! they need to know more, and both of them look up in [`scope`] what the route demands: a route
//! cannot forget it, and one that is not listed there can be read with `read` and changed with
//! `admin` only. What everybody may do, such as logging in, takes neither.

pub mod oidc;
pub mod password;
mod recent;
mod scope;
pub mod session;
pub mod throttle;

use std::sync::Arc;

use abbild_api::Scope;
use axum::extract::{FromRequestParts, MatchedPath};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use rand::TryRngCore;
use sha2::{Digest, Sha256};

use crate::audit::{Event, Origin};
use crate::db::Tx;
use crate::db::account::{self, AccountRow};
use crate::db::session::SessionRow;
use crate::db::token::{self, NewToken, TokenRow};
use crate::db::user::{self, NewUser, UserRow};
use crate::http::{ApiError, ApiResult};
use crate::{Service, db};

pub use recent::Recent;

/// The account that the request is for. What the route demands has been checked.
#[derive(Debug, Clone)]
pub struct Caller(pub AccountRow);

/// Who the request is from. What the route demands has been checked.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Their account, which is not disabled.
    pub account: AccountRow,
    /// The user who is logged in, or whose the token is; neither is disabled.
    pub user: Option<UserRow>,
    /// What proves it.
    pub proof: Proof,
    /// What they may do.
    pub scopes: Vec<Scope>,
}

/// What proves who somebody is.
#[derive(Debug, Clone)]
pub enum Proof {
    /// A token.
    Token(TokenRow),
    /// The cookie of a session.
    Session(SessionRow),
}

impl Identity {
    /// Whether all of `scopes` are theirs.
    pub fn has(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }

    /// The session, if they logged in.
    pub fn session(&self) -> Option<&SessionRow> {
        match &self.proof {
            Proof::Session(session) => Some(session),
            Proof::Token(_) => None,
        }
    }
}

impl FromRequestParts<Arc<Service>> for Identity {
    type Rejection = ApiError;

    async fn from_request_parts(
        parts: &mut Parts,
        service: &Arc<Service>,
    ) -> Result<Self, ApiError> {
        let identity = identify(parts, service).await?;
        let route = parts.extensions.get::<MatchedPath>();
        let route = route.map_or(parts.uri.path(), MatchedPath::as_str);
        scope::check(&parts.method, route, &identity)?;
        Ok(identity)
    }
}

impl FromRequestParts<Arc<Service>> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(
        parts: &mut Parts,
        service: &Arc<Service>,
    ) -> Result<Self, ApiError> {
        let identity = Identity::from_request_parts(parts, service).await?;
        Ok(Self(identity.account))
    }
}

/// Who the request is from, whatever its route demands. It is looked up once for each request.
///
/// # Errors
/// 401 when that is not known, and 403 when they are kept out, or a page of another site asks in
/// their name.
pub async fn identify(parts: &mut Parts, service: &Arc<Service>) -> ApiResult<Identity> {
    if let Some(known) = parts.extensions.get::<Identity>() {
        return Ok(known.clone());
    }
    let identity = match bearer(&parts.headers) {
        Some(token) => by_token(service, token).await?,
        None => by_session(parts, service).await?,
    };
    if identity.account.disabled_at.is_some() {
        return Err(disabled_account(&identity.account));
    }
    if identity
        .user
        .as_ref()
        .is_some_and(|u| u.disabled_at.is_some())
    {
        return Err(disabled_user());
    }
    service.recent.touch(service, &identity.proof);
    parts.extensions.insert(identity.clone());
    Ok(identity)
}

/// 403, to somebody who proved that they belong to it.
pub fn disabled_account(account: &AccountRow) -> ApiError {
    let reason = match account.disabled_reason.as_str() {
        "" => String::new(),
        reason => format!(": {reason}"),
    };
    ApiError::forbidden(format!(
        "This account is disabled{reason}. Its operator can enable it again; its machines go on."
    ))
}

/// 403, to somebody who proved who they are.
pub fn disabled_user() -> ApiError {
    ApiError::forbidden("This user is disabled; an owner of the account can enable it again.")
}

async fn by_token(service: &Service, text: &str) -> ApiResult<Identity> {
    // One connection for all of it: to take another costs as much as a query.
    let mut db = service.db.read().acquire().await?;
    let token = token::valid(&mut *db, &hash(text)).await?;
    let token = token.ok_or_else(ApiError::unauthorized)?;
    let account = account::find(&mut *db, token.account_id).await?;
    let account = account.ok_or_else(ApiError::unauthorized)?;
    let mut scopes = token.scopes()?;
    let user = match token.user_id {
        Some(id) => Some(user::get(&mut *db, id).await?),
        None => None,
    };
    if let Some(user) = &user {
        let allowed = user.role()?.scopes();
        scopes.retain(|scope| allowed.contains(scope));
    }
    Ok(Identity {
        account,
        user,
        proof: Proof::Token(token),
        scopes,
    })
}

async fn by_session(parts: &mut Parts, service: &Arc<Service>) -> ApiResult<Identity> {
    let secret = session::secret(parts, service).await?;
    let secret = secret.ok_or_else(ApiError::unauthorized)?;
    let mut db = service.db.read().acquire().await?;
    let idle_since = session::idle_since(service);
    let row = db::session::valid(&mut *db, &hash(&secret), idle_since).await?;
    let row = row.ok_or_else(ApiError::unauthorized)?;
    session::check_same_site(parts, service).await?;
    let user = user::get(&mut *db, row.user_id).await?;
    let account = account::find(&mut *db, user.account_id).await?;
    Ok(Identity {
        account: account.ok_or_else(ApiError::unauthorized)?,
        scopes: user.role()?.scopes().to_vec(),
        user: Some(user),
        proof: Proof::Session(row),
    })
}

/// The SHA-256 of what a request proves itself with, known or not.
pub async fn proof_digest(parts: &mut Parts, service: &Arc<Service>) -> Option<[u8; 32]> {
    if let Some(token) = bearer(&parts.headers) {
        return Some(digest(token));
    }
    let secret = session::secret(parts, service).await.ok().flatten();
    secret.map(|secret| digest(&secret))
}

/// The token that a request carries, known or not.
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
}

/// A new random token, with a prefix by which scanners and people know it.
///
/// # Errors
/// When the system has no randomness to give.
pub fn generate() -> anyhow::Result<String> {
    Ok(format!("abb_{}", random()?))
}

/// Adds a token, and an entry to the audit log of its account.
///
/// # Errors
/// Those of the database.
pub async fn issue(tx: &mut Tx, new: &NewToken<'_>, origin: &Origin) -> db::Result<TokenRow> {
    let row = token::insert(tx, new).await?;
    let event = Event::new("token.create").on("token", row.id);
    let origin = origin.clone().in_account(new.account);
    origin.record(tx, event.detail(new.name)).await?;
    Ok(row)
}

/// Adds a user, and an entry to the audit log of their account, which ends with `how`. `None` when
/// the address is taken.
///
/// # Errors
/// Those of the database.
pub async fn enrol(
    tx: &mut Tx,
    new: &NewUser<'_>,
    origin: &Origin,
    how: &str,
) -> db::Result<Option<UserRow>> {
    let row = user::insert(tx, new).await?;
    if let Some(row) = &row {
        let detail = format!("{} as {}{how}", new.email, new.role);
        let event = Event::new("user.create").on("user", row.id).detail(detail);
        let origin = origin.clone().in_account(new.account);
        origin.record(tx, event).await?;
    }
    Ok(row)
}

/// 256 random bits, in hexadecimal.
///
/// # Errors
/// When the system has no randomness to give.
pub fn random() -> anyhow::Result<String> {
    let mut bytes = [0; 32];
    rand::rngs::OsRng.try_fill_bytes(&mut bytes)?;
    Ok(hex::encode(bytes))
}

/// What the database keeps of a token.
pub fn hash(token: &str) -> String {
    hex::encode(digest(token))
}

/// The SHA-256 of a token.
pub fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}
