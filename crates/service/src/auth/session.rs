//! The cookie of a session: how it is set, found again, and kept from being used by other sites.
//!
//! The cookie is HttpOnly and SameSite=Strict (Lax after OpenID Connect, because the browser comes
//! from the provider's site then). Where the service is reached by TLS it is Secure and bound to the
//! host by the prefix `__Host-`. In addition, whatever changes something, and every WebSocket, must
//! come from a page of ours: the browser says so in `Sec-Fetch-Site` or `Origin`.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header::{ORIGIN, UPGRADE, USER_AGENT};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};
use axum_extra::extract::CookieJar;
use axum_extra::extract::cookie::{Cookie, SameSite};

use crate::Service;
use crate::audit::{Event, Origin};
use crate::db::session::{self, NewSession, SessionRow};
use crate::db::user::{self, UserRow};
use crate::db::{Tx, now};
use crate::http::{ApiError, ApiResult, BaseUrl};

const NAME: &str = "abbild_session";
const SECURE_NAME: &str = "__Host-abbild_session";
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// As much as is kept of what a browser calls itself, in characters.
const MAX_USER_AGENT: usize = 200;

/// How somebody logged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// With e-mail and password.
    Password,
    /// With OpenID Connect.
    Oidc,
}

impl Method {
    fn word(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Oidc => "oidc",
        }
    }

    fn same_site(self) -> SameSite {
        match self {
            Self::Password => SameSite::Strict,
            // The browser comes from the provider's site with the answer that sets it.
            Self::Oidc => SameSite::Lax,
        }
    }
}

/// Begins a session, and records it. Returns it and the cookie for the browser.
///
/// # Errors
/// 500 when the system has no randomness to give, or the database fails.
pub async fn begin(
    service: &Service,
    tx: &mut Tx,
    user: &UserRow,
    method: Method,
    from: (IpAddr, &HeaderMap),
    origin: Origin,
    BaseUrl(base): &BaseUrl,
) -> ApiResult<(SessionRow, Cookie<'static>)> {
    let secret = super::random()?;
    let user_agent: String = from
        .1
        .get(USER_AGENT)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("")
        .chars()
        .take(MAX_USER_AGENT)
        .collect();
    let row = session::insert(
        tx,
        &NewSession {
            user: user.id,
            sha256: &super::hash(&secret),
            method: method.word(),
            address: &from.0.to_string(),
            user_agent: &user_agent,
            expires_at: now() + i64::from(service.config.sessions.max_hours) * 3600,
        },
    )
    .await?;
    user::logged_in(tx, user.id).await?;
    let event = Event::new("session.create").on("session", row.id);
    let event = event.detail(method.word());
    origin.by_user(user).record(tx, event).await?;
    Ok((row, cookie(base, secret, method.same_site())))
}

fn cookie(base: &str, secret: String, same_site: SameSite) -> Cookie<'static> {
    Cookie::build((name(base), secret))
        .path("/")
        .http_only(true)
        .secure(is_secure(base))
        .same_site(same_site)
        .build()
}

/// What makes the browser forget the cookie.
pub fn removal(BaseUrl(base): &BaseUrl) -> Cookie<'static> {
    let mut cookie = cookie(base, String::new(), SameSite::Strict);
    cookie.make_removal();
    cookie
}

fn is_secure(base: &str) -> bool {
    base.starts_with("https://")
}

fn name(base: &str) -> &'static str {
    if is_secure(base) { SECURE_NAME } else { NAME }
}

/// What the cookie of a request says, known or not.
///
/// # Errors
/// Those of finding out how the service is reached.
pub async fn secret(parts: &mut Parts, service: &Arc<Service>) -> ApiResult<Option<String>> {
    let BaseUrl(base) = BaseUrl::from_request_parts(parts, service).await?;
    let jar = CookieJar::from_headers(&parts.headers);
    Ok(jar.get(name(&base)).map(|cookie| cookie.value().to_owned()))
}

/// Sessions that were not used since then have ended.
pub fn idle_since(service: &Service) -> i64 {
    now() - i64::from(service.config.sessions.idle_minutes) * 60
}

/// Refuses what a page of another site asks for, if it changes something or is a WebSocket.
///
/// # Errors
/// 403
pub async fn check_same_site(parts: &mut Parts, service: &Arc<Service>) -> ApiResult<()> {
    if parts.method.is_safe() && !parts.headers.contains_key(UPGRADE) {
        return Ok(());
    }
    let base = BaseUrl::from_request_parts(parts, service).await?;
    if is_ours(&parts.headers, &base, false) {
        return Ok(());
    }
    Err(foreign_site())
}

/// Refuses a login that a page of another site asks for: it would log its visitors in as somebody
/// else. Programs that are no browsers say nothing of sites.
///
/// # Errors
/// 403
pub fn check_login_site(headers: &HeaderMap, base: &BaseUrl) -> ApiResult<()> {
    if is_ours(headers, base, true) {
        return Ok(());
    }
    Err(foreign_site())
}

fn is_ours(headers: &HeaderMap, BaseUrl(base): &BaseUrl, otherwise: bool) -> bool {
    let text = |name| headers.get(name).map(|v| v.to_str().unwrap_or(""));
    match (text(SEC_FETCH_SITE), text(ORIGIN)) {
        (Some(site), _) => matches!(site, "same-origin" | "none"),
        (None, Some(origin)) => origin.eq_ignore_ascii_case(base),
        (None, None) => otherwise,
    }
}

fn foreign_site() -> ApiError {
    ApiError::forbidden(
        "A session's cookie only counts for requests from this service's own pages: `Sec-Fetch-Site` must be `same-origin`, or `Origin` this service. Programs use a token.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_closed_and_secure_where_tls_is() {
        let plain = cookie("http://127.0.0.1:8080", "s".into(), SameSite::Strict).to_string();
        assert_eq!(plain, "abbild_session=s; HttpOnly; SameSite=Strict; Path=/");
        let secure = cookie("https://images.example.org", "s".into(), SameSite::Lax).to_string();
        assert_eq!(
            secure,
            "__Host-abbild_session=s; HttpOnly; SameSite=Lax; Secure; Path=/"
        );
    }

    #[test]
    fn only_our_own_pages_are_believed() {
        let base = BaseUrl("https://a.example".into());
        let ours = |pairs: &[(&'static str, &'static str)], otherwise| {
            let headers = pairs
                .iter()
                .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
            is_ours(&headers.collect(), &base, otherwise)
        };
        assert!(ours(&[("sec-fetch-site", "same-origin")], false));
        assert!(ours(&[("origin", "https://a.example")], false));
        for site in ["cross-site", "same-site", "?"] {
            assert!(!ours(&[("sec-fetch-site", site)], true));
        }
        assert!(!ours(
            &[
                ("sec-fetch-site", "cross-site"),
                ("origin", "https://a.example")
            ],
            true
        ));
        for origin in ["https://b.example", "http://a.example", "null"] {
            assert!(!ours(&[("origin", origin)], true), "{origin}");
        }
        assert!(!ours(&[], false));
        assert!(ours(&[], true));
    }
}
