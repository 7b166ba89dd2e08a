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
use sqlx::Any;
use sqlx::pool::PoolConnection;

use crate::audit::{Event, Origin};
use crate::db::account::{self, AccountRow};
use crate::db::session::SessionRow;
use crate::db::token::{self, NewToken, TokenRow};
use crate::db::user::{self, NewUser, UserRow};
use crate::db::{Connection, Tx};
use crate::http::{ApiError, ApiResult};
use crate::{Service, db};

pub use recent::Recent;

/// The account that the request is for. What the route demands has been checked.
#[derive(Debug, Clone)]
pub struct Caller(pub AccountRow);

/// A [`Caller`] who only reads, and the connection by which they were found: to take another costs as much
/// as a query. It is for handlers without a body, because it is held while one comes.
#[derive(Debug)]
pub struct Reader {
    /// Whom the request is for.
    pub account: AccountRow,
    /// A connection that no transaction is open on.
    pub db: PoolConnection<Any>,
}

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
        check_scope(parts, &identity)?;
        Ok(identity)
    }
}

impl FromRequestParts<Arc<Service>> for Reader {
    type Rejection = ApiError;

    async fn from_request_parts(
        parts: &mut Parts,
        service: &Arc<Service>,
    ) -> Result<Self, ApiError> {
        let (identity, db) = identify_and_keep(parts, service).await?;
        check_scope(parts, &identity)?;
        let account = identity.account;
        Ok(Self { account, db })
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
    let (identity, _) = identify_and_keep(parts, service).await?;
    Ok(identity)
}

/// The same with the connection by which that was looked up.
async fn identify_and_keep(
    parts: &mut Parts,
    service: &Arc<Service>,
) -> ApiResult<(Identity, PoolConnection<Any>)> {
    let claim = claim(parts, service).await?;
    let mut db = service.db.read().acquire().await?;
    if let Some(known) = parts.extensions.get::<Identity>() {
        return Ok((known.clone(), db));
    }
    let identity = match claim {
        Claim::Token(text) => by_token(&mut db, &text).await?,
        Claim::Session(secret) => by_session(&mut db, parts, service, &secret).await?,
    };
    check_enabled(&identity.account, identity.user.as_ref())?;
    service.recent.touch(service, &identity.proof);
    parts.extensions.insert(identity.clone());
    Ok((identity, db))
}

fn check_scope(parts: &Parts, identity: &Identity) -> ApiResult<()> {
    let route = parts.extensions.get::<MatchedPath>();
    let route = route.map_or(parts.uri.path(), MatchedPath::as_str);
    scope::check(&parts.method, route, identity)
}

/// That neither account nor user is disabled.
///
/// # Errors
/// 403 when one of them is, to somebody who proved who they are.
pub fn check_enabled(account: &AccountRow, user: Option<&UserRow>) -> ApiResult<()> {
    if account.disabled_at.is_some() {
        return Err(disabled_account(account));
    }
    match user.is_some_and(|user| user.disabled_at.is_some()) {
        true => Err(disabled_user()),
        false => Ok(()),
    }
}

fn disabled_account(account: &AccountRow) -> ApiError {
    let reason = match account.disabled_reason.as_str() {
        "" => String::new(),
        reason => format!(": {reason}"),
    };
    ApiError::forbidden(format!(
        "This account is disabled{reason}. Its operator can enable it again; its machines go on."
    ))
}

fn disabled_user() -> ApiError {
    ApiError::forbidden("This user is disabled; an owner of the account can enable it again.")
}

/// What a request carries to prove who it is from, known or not.
enum Claim {
    Token(String),
    Session(String),
}

/// 401 when it carries nothing.
async fn claim(parts: &mut Parts, service: &Arc<Service>) -> ApiResult<Claim> {
    if let Some(token) = bearer(&parts.headers) {
        return Ok(Claim::Token(token.to_owned()));
    }
    let secret = session::secret(parts, service).await?;
    secret
        .map(Claim::Session)
        .ok_or_else(ApiError::unauthorized)
}

async fn by_token(db: &mut Connection, text: &str) -> ApiResult<Identity> {
    let found = token::valid(&mut *db, &hash(text)).await?;
    let (token, account) = found.ok_or_else(ApiError::unauthorized)?;
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

async fn by_session(
    db: &mut Connection,
    parts: &mut Parts,
    service: &Arc<Service>,
    secret: &str,
) -> ApiResult<Identity> {
    let idle_since = session::idle_since(service);
    let row = db::session::valid(&mut *db, &hash(secret), idle_since).await?;
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
    match claim(parts, service).await.ok()? {
        Claim::Token(text) | Claim::Session(text) => Some(digest(&text)),
    }
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
