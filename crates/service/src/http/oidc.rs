//! `/v2/session/oidc`: logging in with an account at the configured OpenID Connect provider.
//!
//! The browser follows a link here, goes to the provider, and comes back with a code. Those whom the
//! provider names are let in as the user that they were before; else as the user with their
//! verified address, who is theirs from then on; else they join the configured account, if there is
//! one and their address is of a domain that may.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum_extra::extract::CookieJar;
use axum_extra::extract::cookie::{Cookie, SameSite};
use serde::Deserialize;
use utoipa::IntoParams;

use super::extract::Parameters;
use super::peer::Peer;
use super::session::admitted;
use super::{ApiError, ApiResult, BaseUrl, NO_STORE, checked_email};
use crate::Service;
use crate::audit::{Event, Origin};
use crate::auth;
use crate::auth::oidc::{Begun, Claimed, Oidc};
use crate::auth::session::{self as cookies, Method};
use crate::db::oidc::{self, LoginRow};
use crate::db::user::{self, NewUser, UserRow};
use crate::db::{Tx, account};

const PATH: &str = "/v2/session/oidc";
/// Which browser began a login.
const COOKIE: &str = "abbild_oidc";
/// Seconds that a login may take.
const PATIENCE: i64 = 600;
const MAX_NAME_CHARACTERS: usize = 255;

/// Where to go after the login.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Destination {
    /// A path of this service; `/` when absent.
    return_to: Option<String>,
}

/// Begins a login with OpenID Connect
///
/// *Ours.* For browsers: the answer leads to the provider, and from there back to `return_to`, with
/// the cookie of a session.
#[utoipa::path(
    get,
    path = "/v2/session/oidc",
    tag = "Session",
    operation_id = "begin_oidc",
    security(()),
    params(Destination),
    responses(
        (status = 303, description = "To the provider"),
        (status = 404, description = "There is no provider"),
        (status = 503, description = "The provider does not answer"),
    ),
)]
pub async fn begin(
    State(service): State<Arc<Service>>,
    base: BaseUrl,
    Parameters(destination): Parameters<Destination>,
) -> ApiResult<Response> {
    let oidc = provider(&service)?;
    let return_to = destination.return_to.unwrap_or_else(|| "/".to_owned());
    if !is_ours(&return_to) {
        return Err(ApiError::unprocessable(
            "`return_to` must be a path of this service, such as `/images`",
        ));
    }
    let Begun {
        url,
        state,
        nonce,
        verifier: pkce_verifier,
    } = oidc.begin(&callback_url(&base)).await?;
    let browser = auth::random()?;
    let login = LoginRow {
        nonce,
        pkce_verifier,
        return_to,
    };
    let mut tx = service.db.write().await?;
    let (state, browser_sha256) = (auth::hash(&state), auth::hash(&browser));
    oidc::insert(&mut tx, &state, &browser_sha256, &login, PATIENCE).await?;
    tx.commit().await?;
    Ok(redirect(&url, CookieJar::new().add(cookie(&base, browser))))
}

/// What the browser brings back from the provider.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Answer {
    /// What the login began with.
    state: Option<String>,
    /// For which the provider tells who it was.
    code: Option<String>,
    /// Why there is no code.
    error: Option<String>,
    /// The same, for people.
    error_description: Option<String>,
}

/// Ends a login with OpenID Connect
///
/// *Ours.* The provider sends browsers here.
#[utoipa::path(
    get,
    path = "/v2/session/oidc/callback",
    tag = "Session",
    operation_id = "end_oidc",
    security(()),
    params(Answer),
    responses(
        (status = 303, description = "The session has begun; to where the login was begun"),
        (status = 401, description = "The provider did not say who it was, or to another browser"),
        (status = 403, description = "They may not come in"),
        (status = 404, description = "There is no provider"),
        (status = 503, description = "The provider does not answer"),
    ),
)]
pub async fn end(
    State(service): State<Arc<Service>>,
    Peer(address): Peer,
    base: BaseUrl,
    origin: Origin,
    headers: HeaderMap,
    Parameters(answer): Parameters<Answer>,
) -> ApiResult<Response> {
    let oidc = provider(&service)?;
    let login = begun(&service, &headers, answer.state.as_deref()).await?;
    let code = match (answer.code, answer.error) {
        (Some(code), None) => code,
        (_, error) => return Err(refused(error, answer.error_description)),
    };
    let claimed = oidc
        .finish(&callback_url(&base), code, login.nonce, login.pkce_verifier)
        .await?;
    let origin = origin.anonymously();
    let mut tx = service.db.write().await?;
    let Some(user) = who(&service, &mut tx, &origin, &claimed).await? else {
        drop(tx);
        return Err(stranger(&service, &origin, &claimed).await?);
    };
    admitted(&service, &user).await?;
    let (from, method) = ((address, &headers), Method::Oidc);
    let (_, session) =
        cookies::begin(&service, &mut tx, &user, method, from, origin, &base).await?;
    tx.commit().await?;
    let mut spent = cookie(&base, String::new());
    spent.make_removal();
    Ok(redirect(
        &login.return_to,
        CookieJar::new().add(session).add(spent),
    ))
}

fn provider(service: &Service) -> ApiResult<&Oidc> {
    service.oidc.as_ref().ok_or_else(ApiError::not_found)
}

/// The login that this browser began with `state`, which is spent now.
async fn begun(service: &Service, headers: &HeaderMap, state: Option<&str>) -> ApiResult<LoginRow> {
    let jar = CookieJar::from_headers(headers);
    let browser = jar.get(COOKIE).map(|cookie| auth::hash(cookie.value()));
    let mut tx = service.db.write().await?;
    let login = match (state, browser) {
        (Some(state), Some(browser)) => oidc::take(&mut tx, &auth::hash(state), &browser).await?,
        _ => None,
    };
    tx.commit().await?;
    login.ok_or_else(|| {
        ApiError::unauthorized_because(
            "This login was not begun by this browser, is over, or took too long; begin it again.",
        )
    })
}

fn refused(error: Option<String>, description: Option<String>) -> ApiError {
    let words = [error, description];
    let words: Vec<_> = words.into_iter().flatten().collect();
    ApiError::unauthorized_because(&format!(
        "The login provider refused: {}",
        if words.is_empty() {
            "it sent no code".to_owned()
        } else {
            words.join(": ")
        }
    ))
}

/// The user whom the provider means; `None` when there is none and they may not join.
async fn who(
    service: &Service,
    tx: &mut Tx,
    origin: &Origin,
    claimed: &Claimed,
) -> ApiResult<Option<UserRow>> {
    let Claimed {
        issuer, subject, ..
    } = claimed;
    if let Some(user) = user::by_subject(tx, issuer, subject).await? {
        return Ok(Some(user));
    }
    let email = claimed.email.as_deref().map(checked_email);
    let Some(Ok(email)) = email else {
        return Ok(None);
    };
    if !service.config.oidc.admits(&email) {
        return Ok(None);
    }
    let user = match user::by_email(&mut **tx, &email).await? {
        Some(user) => Some(user),
        None => join(service, tx, origin, &email, claimed.name.as_deref()).await?,
    };
    // Whoever has the address of somebody whom the provider knew before is somebody else.
    let Some(user) = user.filter(|user| user.oidc_subject.is_none()) else {
        return Ok(None);
    };
    user::set_subject(tx, user.id, issuer, subject).await?;
    Ok(Some(user))
}

/// Adds somebody to the account that such people join, if there is one.
async fn join(
    service: &Service,
    tx: &mut Tx,
    origin: &Origin,
    email: &str,
    name: Option<&str>,
) -> ApiResult<Option<UserRow>> {
    let config = &service.config.oidc;
    let Some(wanted) = &config.join_account else {
        return Ok(None);
    };
    let found = account::named(&mut **tx, wanted).await?;
    let [account] = found.as_slice() else {
        tracing::error!(
            account = wanted,
            "`oidc.join_account` names no account, or several"
        );
        return Ok(None);
    };
    let name: String = name
        .unwrap_or(email)
        .chars()
        .take(MAX_NAME_CHARACTERS)
        .collect();
    let new = NewUser {
        account: account.id,
        email,
        name: &name,
        role: config.join_role,
        password: None,
    };
    Ok(auth::enrol(tx, &new, origin, ", by OpenID Connect").await?)
}

/// 403, for somebody who proved who they are but is no user here.
async fn stranger(service: &Service, origin: &Origin, claimed: &Claimed) -> ApiResult<ApiError> {
    let email = claimed.email.as_deref();
    let event = Event::new("session.create").denied();
    let event = event.detail(email.unwrap_or("no verified address"));
    origin.record_alone(service, event).await?;
    Ok(ApiError::forbidden(match email {
        Some(email) => format!(
            "`{email}` is no user of this service; an owner of an account can add them as one."
        ),
        None => "The login provider has not verified your e-mail address; have it do so first."
            .to_owned(),
    }))
}

/// Whether a browser that goes there stays here.
fn is_ours(path: &str) -> bool {
    path.starts_with('/')
        && !path.starts_with("//")
        && path.bytes().all(|b| b.is_ascii_graphic() && b != b'\\')
}

fn callback_url(BaseUrl(base): &BaseUrl) -> String {
    format!("{base}{PATH}/callback")
}

/// It comes back from another site, so it cannot be strict.
fn cookie(BaseUrl(base): &BaseUrl, value: String) -> Cookie<'static> {
    Cookie::build((COOKIE, value))
        .path(PATH)
        .http_only(true)
        .secure(base.starts_with("https://"))
        .same_site(SameSite::Lax)
        .build()
}

fn redirect(to: &str, cookies: CookieJar) -> Response {
    let location = [(LOCATION, to.to_owned())];
    (StatusCode::SEE_OTHER, cookies, NO_STORE, location).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_led_away() {
        for path in ["/", "/images?page=2", "/a/b#c"] {
            assert!(is_ours(path), "{path}");
        }
        for path in [
            "",
            "images",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "/a\nb",
        ] {
            assert!(!is_ours(path), "{path}");
        }
    }
}
