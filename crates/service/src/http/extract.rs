//! What handlers take from a request, read as leniently as existing clients need it: unknown
//! query parameters and body fields are ignored, and every mistake becomes a JSON error.

use std::convert::Infallible;
use std::sync::Arc;

use abbild_api::{IdOrName, Links, Meta, Pages};
use abbild_guest::Lang;
use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::StatusCode;
use axum::http::header::{ACCEPT_LANGUAGE, HOST};
use axum::http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{ApiError, ApiResult, MAX_BODY_BYTES, peer};
use crate::Service;
use crate::db::Window;

/// Objects on a page when the request does not say.
pub const DEFAULT_PER_PAGE: i64 = 20;
/// The most objects on a page.
pub const MAX_PER_PAGE: i64 = 200;
/// The highest page that may be asked for.
pub const MAX_PAGE: i64 = u32::MAX as i64;

/// A JSON object as body, whatever its content type says.
#[derive(Debug)]
pub struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let bytes = axum::body::Bytes::from_request(request, state)
            .await
            .map_err(|e| match e.status() {
                StatusCode::PAYLOAD_TOO_LARGE => {
                    ApiError::too_large(format!("a body may have at most {MAX_BODY_BYTES} bytes"))
                }
                _ => ApiError::bad_request(e.body_text()),
            })?;
        // serde would take the members of a structure from a list as well.
        if bytes.trim_ascii_start().first() == Some(&b'[') {
            return Err(ApiError::unprocessable("the body must be a JSON object"));
        }
        match Json::from_bytes(&bytes) {
            Ok(Json(value)) => Ok(Self(value)),
            Err(JsonRejection::JsonDataError(e)) => Err(ApiError::unprocessable(e.body_text())),
            Err(e) => Err(ApiError::bad_request(e.body_text())),
        }
    }
}

/// The query, whose mistakes are 422.
#[derive(Debug)]
pub struct Parameters<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Parameters<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let Query(query) =
            Query::try_from_uri(&parts.uri).map_err(|e| ApiError::unprocessable(e.body_text()))?;
        Ok(Self(query))
    }
}

/// The numeric id in the path; anything else does not exist.
#[derive(Debug, Clone, Copy)]
pub struct PathId(pub i64);

impl<S: Send + Sync> FromRequestParts<S> for PathId {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match Which::from_request_parts(parts, state).await? {
            Which(IdOrName::Id(id)) => Ok(Self(id)),
            Which(IdOrName::Name(_)) => Err(ApiError::not_found()),
        }
    }
}

/// The id or name in the path.
#[derive(Debug, Clone)]
pub struct Which(pub IdOrName);

impl<S: Send + Sync> FromRequestParts<S> for Which {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Path(text) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|_| ApiError::not_found())?;
        Ok(Self(IdOrName::parse(&text)))
    }
}

/// The language of texts for people: `?lang=`, or the first of `Accept-Language`.
#[derive(Debug, Clone, Copy)]
pub struct Language(pub Lang);

impl<S: Send + Sync> FromRequestParts<S> for Language {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        #[derive(Deserialize)]
        struct Wanted {
            lang: Option<String>,
        }
        let wanted = Query::<Wanted>::try_from_uri(&parts.uri)
            .ok()
            .and_then(|q| q.0.lang);
        let accepted = parts
            .headers
            .get(ACCEPT_LANGUAGE)
            .and_then(|v| v.to_str().ok());
        let locale = wanted.as_deref().or(accepted).unwrap_or("en");
        let first = locale.split([',', ';']).next().unwrap_or("en");
        Ok(Self(Lang::from_locale(first.trim())))
    }
}

/// The base URL under which the client reached us, without a slash at the end.
#[derive(Debug, Clone)]
pub struct BaseUrl(pub String);

impl FromRequestParts<Arc<Service>> for BaseUrl {
    type Rejection = ApiError;

    async fn from_request_parts(
        parts: &mut Parts,
        service: &Arc<Service>,
    ) -> Result<Self, ApiError> {
        if let Some(url) = &service.config.public_url {
            return Ok(Self(url.trim_end_matches('/').to_owned()));
        }
        // HTTP/2 has the host in the URI.
        let header = parts.headers.get(HOST).and_then(|v| v.to_str().ok());
        let host = header
            .or_else(|| parts.uri.authority().map(|authority| authority.as_str()))
            .map_or_else(|| service.config.listen.to_string(), str::to_owned);
        let secure = peer::is_secure(&service.config, &parts.extensions, &parts.headers);
        let scheme = if secure { "https" } else { "http" };
        Ok(Self(format!("{scheme}://{host}")))
    }
}

/// The beginning of a WebSocket.
#[derive(Debug)]
pub struct Handshake(Result<WebSocketUpgrade, WebSocketUpgradeRejection>);

impl Handshake {
    /// For messages of at most `max_bytes`; several may wait in memory.
    ///
    /// # Errors
    /// 400 when it is none.
    pub fn upgrade(self, max_bytes: usize) -> ApiResult<WebSocketUpgrade> {
        let upgrade = self.0.map_err(|e| ApiError::bad_request(e.body_text()))?;
        Ok(upgrade
            .max_message_size(max_bytes)
            .max_frame_size(max_bytes))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Handshake {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        Ok(Self(
            WebSocketUpgrade::from_request_parts(parts, state).await,
        ))
    }
}

/// A name for people, without white space around it.
///
/// # Errors
/// 422 when it is empty or longer than 255 bytes, white space included.
pub fn checked_name(name: &str) -> Result<&str, ApiError> {
    let trimmed = name.trim();
    if trimmed.is_empty() || name.len() > 255 {
        return Err(ApiError::unprocessable(
            "`name` must have 1 to 255 characters",
        ));
    }
    Ok(trimmed)
}

/// Which page of a list is wanted.
#[derive(Debug, Clone)]
pub struct Paging {
    page: i64,
    per_page: i64,
    path: String,
    /// All other query parameters, to be repeated in links.
    filters: Vec<(String, String)>,
    base: String,
}

impl FromRequestParts<Arc<Service>> for Paging {
    type Rejection = ApiError;

    async fn from_request_parts(
        parts: &mut Parts,
        service: &Arc<Service>,
    ) -> Result<Self, ApiError> {
        let BaseUrl(base) = BaseUrl::from_request_parts(parts, service).await?;
        let mut paging = Self {
            page: 1,
            per_page: DEFAULT_PER_PAGE,
            path: parts.uri.path().to_owned(),
            filters: Vec::new(),
            base,
        };
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
            .map_err(|e| ApiError::bad_request(e.body_text()))?;
        for (name, value) in pairs {
            match name.as_str() {
                "page" => paging.page = number(&name, &value, MAX_PAGE)?,
                "per_page" => paging.per_page = number(&name, &value, MAX_PER_PAGE)?,
                _ => paging.filters.push((name, value)),
            }
        }
        Ok(paging)
    }
}

fn number(name: &str, value: &str, max: i64) -> Result<i64, ApiError> {
    match value.parse::<i64>() {
        Ok(n) if (1..=max).contains(&n) => Ok(n),
        _ => Err(ApiError::bad_request(format!(
            "`{name}` must be a whole number from 1 to {max}"
        ))),
    }
}

impl Paging {
    /// The rows of the page.
    pub fn window(&self) -> Window {
        Window {
            limit: self.per_page,
            offset: (self.page - 1) * self.per_page,
        }
    }

    /// The value of another query parameter.
    pub fn filter(&self, name: &str) -> Option<&str> {
        self.filters
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// `links` and `meta` for a list of `total` objects.
    pub fn links(&self, total: i64) -> (Links, Meta) {
        let last = ((total + self.per_page - 1) / self.per_page).max(1);
        let before = self.page > 1;
        let after = self.page < last;
        let pages = (last > 1).then(|| Pages {
            first: before.then(|| self.url(1)),
            prev: before.then(|| self.url((self.page - 1).min(last))),
            next: after.then(|| self.url(self.page + 1)),
            last: after.then(|| self.url(last)),
        });
        (Links { pages }, Meta { total })
    }

    /// One page of a list that is short and in memory.
    pub fn cut<T>(&self, all: Vec<T>) -> (Vec<T>, Links, Meta) {
        let total = i64::try_from(all.len()).unwrap_or(i64::MAX);
        let window = self.window();
        let skip = usize::try_from(window.offset).unwrap_or(usize::MAX);
        let take = usize::try_from(window.limit).unwrap_or(0);
        let (links, meta) = self.links(total);
        (all.into_iter().skip(skip).take(take).collect(), links, meta)
    }

    fn url(&self, page: i64) -> String {
        let mut query: Vec<(&str, String)> = vec![
            ("page", page.to_string()),
            ("per_page", self.per_page.to_string()),
        ];
        query.extend(self.filters.iter().map(|(k, v)| (k.as_str(), v.clone())));
        let query = serde_urlencoded::to_string(query).unwrap_or_default();
        format!("{}{}?{query}", self.base, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paging(page: i64) -> Paging {
        Paging {
            page,
            per_page: 2,
            path: "/v2/images".into(),
            filters: vec![("name".into(), "a&b".into())],
            base: "http://h".into(),
        }
    }

    #[test]
    fn links_name_the_other_pages() {
        let pages = paging(2).links(6).0.pages.unwrap();
        assert_eq!(
            pages.first.unwrap(),
            "http://h/v2/images?page=1&per_page=2&name=a%26b"
        );
        assert_eq!(
            pages.last.unwrap(),
            "http://h/v2/images?page=3&per_page=2&name=a%26b"
        );
        let pages = paging(1).links(6).0.pages.unwrap();
        assert!(pages.first.is_none() && pages.prev.is_none() && pages.next.is_some());
        let pages = paging(3).links(6).0.pages.unwrap();
        assert!(pages.next.is_none() && pages.last.is_none() && pages.prev.is_some());
        assert_eq!(paging(1).links(2).0, Links::default());
        assert_eq!(paging(1).links(0).0, Links::default());
    }
}
