//! Tokens: who a request is from.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use rand::TryRngCore;
use sha2::{Digest, Sha256};

use crate::Service;
use crate::db::account::{self, AccountRow};
use crate::http::ApiError;

/// The account whose token the request carries.
#[derive(Debug, Clone)]
pub struct Caller(pub AccountRow);

impl FromRequestParts<Arc<Service>> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(
        parts: &mut Parts,
        service: &Arc<Service>,
    ) -> Result<Self, ApiError> {
        let token = bearer(&parts.headers).ok_or_else(ApiError::unauthorized)?;
        account::by_token(service.db.read(), &hash(token))
            .await?
            .map(Self)
            .ok_or_else(ApiError::unauthorized)
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

/// A new random token: 256 bits, with a prefix by which scanners and people know it.
///
/// # Errors
/// When the system has no randomness to give.
pub fn generate() -> anyhow::Result<String> {
    let mut bytes = [0; 32];
    rand::rngs::OsRng.try_fill_bytes(&mut bytes)?;
    Ok(format!("abb_{}", hex::encode(bytes)))
}

/// What the database keeps of a token.
pub fn hash(token: &str) -> String {
    hex::encode(digest(token))
}

/// The SHA-256 of a token.
pub fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}
